"""What was taken away acts no more: also not in a request whose body was still to come, nor in a wait that is woken."""
import json
import socket
import ssl
import threading

import pytest

from harness.deployment import Problem, SiteClient, wait_until


class Held:
    """A request of which the last byte is kept back."""

    def __init__(self, rounds, method, path, body, headers=(), cert=None):
        context = ssl.create_default_context(cafile=str(rounds.data / "ca.pem"))
        if cert:
            context.load_cert_chain(*cert)
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", rounds.port), timeout=20), server_hostname="localhost")
        head = [f"{method} /api/v1{path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}",
                "Expect: 100-continue", *headers]
        self.socket.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
        assert self.socket.recv(4096).startswith(b"HTTP/1.1 100"), "the headers were looked at, and found good"
        self.socket.sendall(body[:-1])
        self.last = body[-1:]

    def finish(self):
        self.socket.sendall(self.last)
        answer = b""
        while piece := self.socket.recv(65536):
            answer += piece
        return int(answer.split()[1]), answer


def test_a_token_removed_while_the_body_is_still_to_come(rounds):
    made = rounds.api.post("/tokens", {"name": "soon-gone", "role": "admin"})
    headers = [f"Authorization: Bearer {made['token']}", "Content-Type: application/json"]
    held = Held(rounds, "POST", "/tokens", b'{"name":"backdoor","role":"admin"}', headers)
    kept = Held(rounds, "POST", "/tokens", b'{"name":"kept","role":"viewer"}',
                [f"Authorization: Bearer {rounds.token}", "Content-Type: application/json"])
    rounds.api.call("DELETE", f"/tokens/{made['id']}")
    assert held.finish()[0] == 401
    assert kept.finish()[0] == 201
    assert {t["name"] for t in rounds.api.get("/tokens")["items"]} == {"admin", "kept"}


def test_a_site_removed_in_mid_upload_in_mid_renewal_and_while_it_waits(rounds):
    site = SiteClient(rounds, "gone")
    cert = site.session.cert
    upload = Held(rounds, "POST", "/uploads", b"x" * 100, ["Tus-Resumable: 1.0.0", "Upload-Length: 100",
                                                       "Content-Type: application/offset+octet-stream"], cert)
    renewal = Held(rounds, "POST", "/certificate", json.dumps({"request": "x"}).encode(), ["Content-Type: application/json"], cert)
    ended = []

    def poll():
        with pytest.raises(Problem) as problem:
            site.claim(wait=30)
        ended.append(problem.value.status)

    waiting = threading.Thread(target=poll)
    waiting.start()
    wait_until(lambda: rounds.api.get("/sites/gone")["connected"])
    rounds.api.call("DELETE", "/sites/gone")
    waiting.join(10)
    assert ended == [403]
    assert upload.finish()[0] == 403
    assert renewal.finish()[0] == 403


def test_removals_among_many_changes(rounds):
    """Four clients make tokens as fast as they can; what is removed meanwhile is refused from the answer on."""
    stop = threading.Event()

    def churn(number):
        other = rounds.api.__class__(rounds.url, rounds.data / "ca.pem", rounds.token)
        while not stop.is_set():
            other.post("/tokens", {"name": f"churn{number}"})

    threads = [threading.Thread(target=churn, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            made = rounds.api.post("/tokens", {"name": "victim", "role": "admin"})
            victim = {"Authorization": f"Bearer {made['token']}"}
            assert rounds.api.raw("GET", "/api/v1/whoami", headers=victim).status_code == 200
            rounds.api.call("DELETE", f"/tokens/{made['id']}")
            for _ in range(3):
                assert rounds.api.raw("GET", "/api/v1/whoami", headers=victim).status_code == 401
    finally:
        stop.set()
        for thread in threads:
            thread.join()
