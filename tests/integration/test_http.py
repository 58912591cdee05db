"""HTTP on the wire: one reading of every request, or none; answers whole."""
import base64
import socket
import ssl

import pytest

from harness.deployment import SiteClient, wait_until
from harness.weights import digest_of
from harness.wire import BODY, Wire, answers, post

GET = b"GET /healthz HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
END = b"Connection: close\r\n\r\n"
SMUGGLED = b"GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
BOTH = [b"Transfer-Encoding: chunked", b"Content-Length: 4"]


@pytest.mark.parametrize("what, raw", [
    ("a length and chunks", lambda t: post(t, BOTH, CHUNKED + SMUGGLED)),
    ("chunks and a length", lambda t: post(t, BOTH[::-1], CHUNKED + SMUGGLED)),
    ("two lengths", lambda t: post(t, [b"Content-Length: %d" % len(BODY), b"Content-Length: 3"], BODY)),
    ("the same length twice", lambda t: post(t, [b"Content-Length: %d" % len(BODY)] * 2, BODY)),
    ("a list of lengths", lambda t: post(t, [b"Content-Length: %d, %d" % (len(BODY), len(BODY))], BODY)),
    ("a length with a sign", lambda t: post(t, [b"Content-Length: +%d" % len(BODY)], BODY)),
    ("a space before a colon", lambda t: post(t, [b"Transfer-Encoding : chunked", b"Content-Length: %d" % len(BODY)], BODY)),
    ("an unknown coding", lambda t: post(t, [b"Transfer-Encoding: xchunked", b"Content-Length: %d" % len(BODY)], BODY)),
    ("a coding that is none", lambda t: post(t, [b"Transfer-Encoding: identity"], BODY)),
    ("a folded field", lambda t: post(t, [b"X: 1\r\n Transfer-Encoding: chunked", b"Content-Length: %d" % len(BODY)], BODY)),
    ("a chunk that is longer than it says", lambda t: post(t, [BOTH[0]], b"%x\r\n%sXX0\r\n\r\n" % (len(BODY), BODY))),
    ("a chunk size that is none", lambda t: post(t, [BOTH[0]], b"zz\r\n" + BODY)),
    ("chunks with bare line feeds", lambda t: post(t, [BOTH[0]], CHUNKED.replace(b"\r\n", b"\n"))),
    ("bare line feeds", lambda _: b"GET /healthz HTTP/1.1\nHost: localhost\nConnection: close\n\n"),
    ("bare carriage returns", lambda _: b"GET /healthz HTTP/1.1\rHost: localhost\r\r"),
    ("no Host", lambda _: GET + END),
    ("two Hosts", lambda _: GET + HOST + HOST + END),
    ("NUL in a field", lambda _: GET + HOST + b"X: a\0b\r\n" + END),
    ("NUL in a token", lambda t: GET + HOST + b"Authorization: Bearer " + t + b"\0x\r\n" + END),
    ("NUL in the path", lambda _: b"GET /healthz%00/x HTTP/1.1\r\n" + HOST + END),
    ("a field without a name", lambda _: GET + HOST + b": x\r\n" + END),
    ("HTTP/2.0", lambda _: b"GET /healthz HTTP/2.0\r\n" + HOST + END),
    ("HTTP/0.9", lambda _: b"GET /healthz\r\n\r\n"),
])
def test_what_two_parsers_would_read_differently_is_refused_and_the_connection_closed(rounds, what, raw):
    with Wire(rounds) as wire:
        got = answers(wire.exchange(raw(rounds.token.encode())))
    assert [answer.status for answer in got] == [400], what
    assert got[0].fields["connection"].lower() == "close" and got[0].fields["content-type"] == "application/problem+json"
    assert wire.ended
    assert [token["name"] for token in rounds.api.get("/tokens")["items"]] == ["admin"], "nothing came of it"


def test_what_is_right_is_served(rounds):
    length = b"Content-Length: %d" % len(BODY)
    get = GET + HOST
    for what, raw, wanted in [
        ("a length", post(rounds.token.encode(), [length, b"Connection: close"], BODY), [201]),
        ("chunks", post(rounds.token.encode(), [BOTH[0], b"Connection: close"], CHUNKED), [201]),
        ("chunks with extensions and trailers", post(rounds.token.encode(), [BOTH[0], b"Connection: close"],
         b"%x;a=b\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(BODY), BODY)), [201]),
        ("many at once", (get + b"\r\n") * 99 + get + END, [200] * 100),
        ("a body and the next", post(rounds.token.encode(), [length], BODY) + get + END, [201, 200]),
        ("chunks and the next", post(rounds.token.encode(), [BOTH[0]], CHUNKED) + get + END, [201, 200]),
        ("an earlier version", b"GET /healthz HTTP/1.0\r\n\r\n", [200]),
        ("right, then wrong", get + b"\r\n" + GET + END, [200, 400]),
    ]:
        for step in (None, 1):
            with Wire(rounds) as wire:
                got = answers(wire.exchange(raw, step=step if len(raw) < 1000 else None))
            assert [answer.status for answer in got] == wanted, what


def test_many_arguments_fields_and_cookies_get_an_answer(rounds):
    with Wire(rounds) as wire:
        query = b"&".join(b"a%d=1" % i for i in range(1000))
        assert wire.status(b"GET /healthz?" + query + b" HTTP/1.1\r\n" + HOST + END) == 200
    for raw in (b"GET /healthz?" + b"&".join(b"a%d=1" % i for i in range(2000)) + b" HTTP/1.1\r\n" + HOST + END,
                b"GET /healthz?" + b"&".join(b"a%d=1" % i for i in range(10000)) + b" HTTP/1.1\r\n" + HOST + END,
                GET + HOST + b"".join(b"X%d: y\r\n" % i for i in range(20000)) + END,
                GET + HOST + b"Cookie: " + b"a=b; " * 20000 + b"\r\n" + END,
                GET + HOST + b"X: " + b"a" * 300000 + b"\r\n" + END):
        with Wire(rounds) as wire:
            assert wire.status(raw) == 431


def test_a_path_says_which_methods_it_has(rounds):
    answer = rounds.api.raw("PUT", "/healthz")
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD"
    answer = rounds.api.raw("PUT", "/api/v1/jobs/x")
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD, PATCH, DELETE"
    answer = rounds.api.raw("POST", "/api/v1/uploads/x", headers={"Tus-Resumable": "1.0.0"})
    assert answer.status_code == 405 and answer.headers["Allow"] == "HEAD, PATCH, DELETE"


def test_fields_of_an_answer_are_never_cut(rounds):
    site = SiteClient(rounds, "hospital-a")
    metadata = "note " + base64.b64encode(b"n" * 1450).decode()
    made = site.raw("POST", "/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "10",
                                                        "Upload-Metadata": metadata})
    assert made.status_code == 201 and len(metadata) > 1900
    told = site.raw("HEAD", made.headers["Location"], headers={"Tus-Resumable": "1.0.0"})
    assert told.headers["Upload-Metadata"] == metadata


def test_the_last_byte_of_nothing(rounds):
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "0"}
    assert rounds.api.raw("POST", "/api/v1/uploads", headers=headers).status_code == 201
    digest = digest_of(b"")
    answer = rounds.api.raw("GET", f"/api/v1/blobs/{digest}", headers={"Range": "bytes=-1"})
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")
    assert "Content-Range" not in answer.headers
    for beyond in ("bytes=0-0", "bytes=0-", "bytes=-0"):
        answer = rounds.api.raw("GET", f"/api/v1/blobs/{digest}", headers={"Range": beyond})
        assert answer.status_code == 416 and answer.headers["Content-Range"] == "bytes */0"


def test_a_large_body_goes_through_unharmed(rounds):
    data = bytes(range(256)) * 40000
    for chunked in (False, True):
        created = rounds.api.raw("POST", "/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data))})
        pieces = (data[at:at + 70001] for at in range(0, len(data), 70001))
        sent = rounds.api.raw("PATCH", created.headers["Location"], data=pieces if chunked else data, headers={
            "Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
        assert sent.status_code == 204, sent.text


def proxied(rounds, header):
    """/healthz through TLS behind what a proxy would put before it; None: the connection is cut."""
    context = ssl.create_default_context(cafile=rounds.data / "ca.pem")
    plain = socket.create_connection(("127.0.0.1", rounds.port), timeout=10)
    try:
        for at in range(0, len(header), 5):
            plain.sendall(header[at:at + 5])
        with context.wrap_socket(plain, server_hostname="localhost") as wire:
            body = b'{"name": "nobody", "password": "wrong wrong"}'
            wire.sendall(b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            return wire.recv(4000)
    except OSError:
        return None


def test_behind_a_proxy_that_says_so_the_real_address_counts(stopped):
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    v4 = signature + b"\x21\x11\x00\x0c" + socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + b"\x00" * 4
    v6 = signature + b"\x21\x21\x00\x27" + socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + b"\x00" * 4 + b"\x04\0\0"
    stopped.start("--proxies", "127.0.0.1", wait=False)
    port_file = stopped.home / "port"
    wait_until(port_file.exists, what="the server")
    stopped.port = int(port_file.read_text())
    assert b"401" in proxied(stopped, v4) and "address=192.0.2.7" in stopped.server.text()
    assert b"401" in proxied(stopped, v6) and "address=2001:db8::7" in stopped.server.text()
    assert b"401" in proxied(stopped, signature + b"\x20\x00\x00\x00") and "address=127.0.0.1" in stopped.server.text()
    assert proxied(stopped, b"") is None, "a proxy that says nothing is not let in"
    assert proxied(stopped, b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n") is None
    assert proxied(stopped, signature + b"\x21\x11\xff\xff") is None
    assert stopped.server.alive()
