"""Raw bytes over TLS, for what no HTTP client would send."""
import email.parser
import socket
import ssl
from collections import namedtuple

BODY = b'{"name":"s1"}'
Answer = namedtuple("Answer", "status fields body")


def post(token, fields, body):
    """POST /tokens with an administrator's token, these fields, and this body."""
    lines = [b"POST /api/v1/tokens HTTP/1.1", b"Host: localhost", b"Authorization: Bearer " + token,
             b"Content-Type: application/json", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def answers(text):
    """The answers in what came back, each with its Content-Length."""
    found = []
    while text:
        head, _, text = text.partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        fields = {k.lower(): v for k, v in email.parser.BytesParser().parsebytes(fields).items()}
        length = int(fields.get("content-length", 0))
        found.append(Answer(int(line.split()[1]), fields, text[:length]))
        text = text[length:]
    return found


class Wire:
    def __init__(self, rounds, timeout=6, certificate=None):
        context = ssl.create_default_context(cafile=rounds.data / "ca.pem")
        if certificate:
            context.load_cert_chain(*certificate)
        plain = socket.create_connection(("127.0.0.1", rounds.port), timeout=timeout)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def exchange(self, raw, step=None):
        """Sends bytes, `step` at a time, and returns what comes until the server closes or is silent."""
        try:
            for at in range(0, len(raw), step or len(raw)):
                self.socket.sendall(raw[at:at + (step or len(raw))])
        except OSError:
            pass  # the server has said enough
        got = b""
        try:
            while piece := self.socket.recv(65536):
                got += piece
            self.ended = True
        except TimeoutError:
            pass
        except OSError:
            self.ended = True
        return got

    def status(self, raw):
        return answers(self.exchange(raw))[0].status
