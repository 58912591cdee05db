"""A bad network between two machines of their own: two network namespaces, and a link that loses, delays and paces packets."""
import collections
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import threading
import time

NEAR, FAR = "10.77.0.1", "10.77.0.2"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Link:
    """Real packets between NEAR and FAR: `rate` bytes a second, `latency` seconds and a share `loss` of packets, each way.

    Within the context this thread, and the processes that it starts, are at the NEAR end; processes started through
    `far` (a command's prefix) are at the FAR end. The link is two TUN devices and a thread that carries packets from one to
    the other. Needs root.
    """

    def __init__(self, rate, latency, loss, seed=1):
        self.rate, self.latency, self.loss = rate, latency, loss
        self.random = random.Random(seed)
        self.names = [f"rounds-{os.getpid()}-{end}" for end in ("near", "far")]
        self.far = ["ip", "netns", "exec", self.names[1]]
        self.carried = self.lost = 0
        self.ended = False

    def __enter__(self):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.ends = []
        for index, (name, own, other) in enumerate(zip(self.names, (NEAR, FAR), (FAR, NEAR))):
            device = f"rounds{index}"
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
            self.ends.append(end)
            ip("netns", "add", name)
            ip("link", "set", device, "netns", name)
            ip("-n", name, "addr", "add", own, "peer", other, "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
        self._enter(f"/run/netns/{self.names[0]}")
        self.thread = threading.Thread(target=self._carry)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()
        self._enter(f"/proc/self/fd/{self.home}")
        os.close(self.home)
        for end, name in zip(self.ends, self.names):
            os.close(end)
            ip("netns", "delete", name)

    @staticmethod
    def _enter(path):
        libc = ctypes.CDLL(None, use_errno=True)
        with open(path) as namespace:
            if libc.setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), "cannot enter a network namespace")

    def _carry(self):
        queues = [collections.deque(), collections.deque()]  # of (time to leave, packet), towards each end
        free_at = [0.0, 0.0]
        while not self.ended:
            now = time.monotonic()
            for end, queue in zip(self.ends, queues):
                while queue and queue[0][0] <= now:
                    os.write(end, queue.popleft()[1])
            due = min((queue[0][0] for queue in queues if queue), default=now + 0.1)
            for end in select.select(self.ends, [], [], max(0, min(due - now, 0.1)))[0]:
                self._take(os.read(end, 65536), 1 - self.ends.index(end), queues, free_at)

    def _take(self, packet, towards, queues, free_at):
        now = time.monotonic()
        self.carried += 1
        # What would wait for longer than half a second finds the router's buffer full.
        if self.random.random() < self.loss or free_at[towards] - now > 0.5:
            self.lost += 1
            return
        free_at[towards] = max(free_at[towards], now) + len(packet) / self.rate
        queues[towards].append((free_at[towards] + self.latency, packet))
