"""A receiver of webhooks."""
import http.server
import json
import ssl
import threading


class Receiver:
    """Answers what `answer(message)` says (200 at first) and keeps what came."""

    def __init__(self, deployment, tls=True, endless=False):
        self.got, self.answer, self.sent = [], lambda message: 200, 0  # sent: bytes of endless answers that were taken
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answer(json.loads(body))
                receiver.got.append((dict(self.headers.items()), body, status))
                self.send_response(status)
                self.send_header("Content-Length", str(1 << 50 if endless else 0))
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                while endless:
                    self.wfile.write(bytes(1 << 14))
                    receiver.sent += 1 << 14

            def log_message(self, *words):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *request: None  # the other end may be killed
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(deployment.data / "server.pem", deployment.data / "server.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if tls else ''}://localhost:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self):
        return [json.loads(body) for _, body, status in self.got if status == 200]

    def kinds(self, job=None):
        return [m["type"] for m in self.taken() if m["data"] and job in (None, m["data"]["job"])]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
