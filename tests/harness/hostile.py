"""A server that means no good, as a site meets one: its own authority, any answer to any call."""
import http.client
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import time


def openssl(folder, *words):
    subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)


def make_authority(folder):
    """ca.pem, server.pem for localhost and site.pem in the folder, each with its key."""
    folder.mkdir(parents=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "900")
    for name, extension in (("server", "subjectAltName=DNS:localhost"), ("site", "extendedKeyUsage=clientAuth")):
        (folder / "extension").write_text(extension + "\n")
        openssl(folder, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-extfile", "extension", "-days", "800")


class Hostile:
    """HTTPS on loopback. `answer(method, path, body, headers)` gives a status and bytes, or a generator of an endless body."""

    def __init__(self, folder, answer):
        self.folder = pathlib.Path(folder)
        make_authority(self.folder)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, reply = answer(self.command, self.path, body, self.headers)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if isinstance(reply, bytes):
                    self.send_header("Content-Length", str(len(reply)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(reply)
                    return
                self.send_header("Content-Length", str(1 << 50))
                self.end_headers()
                self.close_connection = True
                try:
                    for block in reply:
                        self.wfile.write(block)
                        outer.sent += len(block)
                except OSError:
                    pass
            do_GET = do_POST = do_PATCH = do_DELETE = do_HEAD = any

            def log_message(self, *words):
                pass
        self.sent = 0  # bytes of endless answers that were taken
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *request: None  # the other end may be killed
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def joined(self, state):
        """The state directory of a site that has joined this server."""
        state.mkdir(parents=True)
        for name in ("ca.pem", "site.pem", "site.key"):
            (state / name).write_bytes((self.folder / name).read_bytes())
        (state / "site.name").write_text("victim")
        (state / "server").write_text(self.url)
        return state


class Tasks(Hostile):
    """Hands out tasks one by one and notes what a site says of them."""

    def __init__(self, folder, tasks=(), lease=60, answers=None):
        self.tasks = list(tasks)
        self.claims = []
        self.said = []  # (call, body): of results, failures, heartbeats
        self.answers = answers or {}  # {call: (status, bytes)} in place of a friendly one
        super().__init__(folder, self._answer)

    def _answer(self, method, path, body, headers):
        call = path.split("?")[0].rsplit("/", 1)[1]
        if call == "claim":
            self.claims.append(json.loads(body))
            if not self.tasks:
                time.sleep(0.3)
            return 200, json.dumps({"task": self.tasks.pop(0) if self.tasks else None}).encode()
        self.said.append((call, json.loads(body) if body[:1] == b"{" else body))
        for name, reply in self.answers.items():
            if name in path:
                return reply() if callable(reply) else reply
        return 200, b"{}"

    def heard(self, call):
        return [body for name, body in self.said if name == call]


def middle(real_port, folder, change):
    """Someone in the middle: passes every call on and gives each answer through `change(path, body)`; notes what it sees."""
    def answer(method, path, body, headers):
        seen.append((path, dict(headers), body))
        far = http.client.HTTPSConnection("localhost", real_port, context=ssl._create_unverified_context())
        far.request(method, path, body, {k: v for k, v in headers.items() if k.lower() not in ("host", "expect")})
        reply = far.getresponse()
        return reply.status, change(path, reply.read())
    seen = []
    hostile = Hostile(folder, answer)
    hostile.seen = seen
    return hostile
