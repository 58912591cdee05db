"""A bad network between two honest programs: a TCP relay that limits the rate, adds latency, stalls, and can be cut."""
import collections
import selectors
import socket
import threading
import time


class Proxy:
    """Relays 127.0.0.1:port to the target. `rate` in bytes a second and `latency` in seconds hold each way."""

    def __init__(self, target_port, rate=None, latency=0.0):
        self.target_port, self.rate, self.latency = target_port, rate, latency
        self.sent_up = 0    # bytes that reached the target
        self.is_cut = False
        self.pairs = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    def cut(self):
        """Every connection breaks, and new ones are refused until restore()."""
        self.is_cut = True
        with self.lock:
            for pair in self.pairs:
                for end in pair:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            self.pairs.clear()

    def restore(self):
        self.is_cut = False

    def close(self):
        self.closed = True
        self.cut()
        self.listener.close()

    def _accept(self):
        while not self.closed:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.pairs.append((near, far))
            ended_ways = []
            for source, sink, up in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._relay, args=(source, sink, up, ended_ways), daemon=True).start()

    def _relay(self, source, sink, up, ended_ways):
        """Latency without lowering the rate: what arrives is queued with the time at which it may leave."""
        queue = collections.deque()
        selector = selectors.DefaultSelector()
        selector.register(source, selectors.EVENT_READ)
        ended, free_at = False, 0.0
        try:
            while not ended or queue:
                now = time.monotonic()
                if queue and queue[0][0] <= now:
                    _, data = queue.popleft()
                    sink.sendall(data)
                    if up:
                        self.sent_up += len(data)
                    continue
                pause = queue[0][0] - now if queue else 0.5
                if ended or len(queue) > 200:
                    time.sleep(min(pause, 0.05))
                    continue
                if not selector.select(min(pause, 0.5)):
                    continue
                data = source.recv(65536 if not self.rate else max(1024, min(65536, self.rate // 20)))
                if not data:
                    ended = True
                    continue
                now = time.monotonic()
                if self.rate:
                    free_at = max(free_at, now) + len(data) / self.rate
                    if free_at - now > 0.5:
                        time.sleep(free_at - now - 0.5)  # no more in flight than half a second's worth
                queue.append((max(now, free_at) + self.latency, data))
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        # Closed, too: who still sends into a connection that is over must hear of it.
        ended_ways.append(up)
        if len(ended_ways) == 2:
            source.close()
            sink.close()
