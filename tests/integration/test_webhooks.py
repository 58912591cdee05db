"""Webhooks: a real HTTPS receiver gets every event once, in order and signed; outages on either side lose none."""
import base64
import hashlib
import hmac
import json
import threading
import time

import pytest

from harness.deployment import Problem, wait_until
from harness.receiver import Receiver


@pytest.fixture
def hooks(stopped):
    """A server that trusts receivers which have its own certificate."""
    stopped.init()
    stopped.options = ["--webhook-ca-file", str(stopped.data / "ca.pem")]
    stopped.start(*stopped.options)
    return stopped


@pytest.fixture
def receiver(hooks):
    made = Receiver(hooks)
    yield made
    made.close()


def is_signed(secret, headers, body):
    """By hand: tests/long does it with the library that receivers use."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == "v1," + wanted and abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_every_event_once_in_order_and_signed(hooks, receiver):
    hooks.start_site("a")
    hooks.connected("a")
    enum = hooks.api.get("/openapi.json")["components"]["schemas"]["Webhook"]["properties"]["events"]["items"]["enum"]
    all_kinds = hooks.api.post("/webhooks", {"url": receiver.url, "events": enum})
    job = hooks.submit(name="<b> \u202e", params={"rounds": 3})
    hooks.wait_for(job, "completed")
    wait_until(lambda: "completed" in receiver.kinds(job), what="the last event")
    events = hooks.events(job)
    assert [m["data"]["id"] for m in receiver.taken()] == [e["id"] for e in events]
    for (headers, body, _), event in zip(receiver.got, events):
        message = json.loads(body)
        assert is_signed(all_kinds["secret"], headers, body) and headers["Content-Type"] == "application/json"
        assert message["type"] == event["kind"] and message["timestamp"] == event["time"]
        assert message["data"]["job"] == job and message["data"]["job_name"] == "<b> \u202e"
    assert len({headers["webhook-id"] for headers, _, _ in receiver.got}) == len(events)
    # A receiver has a delivery before the server has written down that it has.
    row = wait_until(lambda: next((w for w in hooks.api.get("/webhooks")["items"] if w["deliveries"] == len(events)), None), what="the count")
    assert row["failures"] == 0 and row["tried_status"] == 200 and row["tried_fault"] is None
    assert "secret" not in json.dumps(row) and all_kinds["secret"] not in hooks.server.text()
    # By default: what changes a job's state, and failures.
    hooks.api.call("DELETE", f"/webhooks/{row['id']}")
    receiver.got.clear()
    hooks.api.post("/webhooks", {"url": receiver.url})
    job = hooks.submit(params={"rounds": 2}, max_attempts=1, trainer={"do": "crash"})
    hooks.wait_for(job, "failed")
    wait_until(lambda: "failed" in receiver.kinds(job), what="the last event")
    assert receiver.kinds(job) == ["running", "task_failed", "failed"]


def test_outages_lose_nothing_and_a_slow_receiver_keeps_no_other_waiting(hooks, receiver):
    hooks.start_site("a")
    hooks.connected("a")
    other = Receiver(hooks)
    release = threading.Event()
    other.answer = lambda message: release.wait(60) and 200
    hooks.api.post("/webhooks", {"url": receiver.url, "events": ["result", "completed"]})
    hooks.api.post("/webhooks", {"url": other.url, "events": ["completed"]})
    # A refusal is tried again with the same id; redirects are not followed.
    statuses, looked = iter([500, 302]), threading.Event()

    def answer(message):
        return looked.wait(60) and next(statuses, 200) if receiver.got else next(statuses)
    receiver.answer = answer
    job = hooks.submit(params={"rounds": 3})
    hooks.wait_for(job, "completed")
    wait_until(lambda: len(receiver.got) == 1, what="the first try")
    row = wait_until(lambda: next((w for w in hooks.api.get("/webhooks")["items"] if w["failures"] == 1), None))
    assert row["tried_fault"] == "answered with status 500" and row["failing_since"]
    looked.set()
    wait_until(lambda: len(receiver.got) >= 2, what="the second try")
    # Killed meanwhile: what was not taken comes after the start, at once.
    hooks.server.kill()
    hooks.start(*hooks.options)
    wait_until(lambda: receiver.kinds(job)[-1:] == ["completed"], what="all events")
    assert receiver.kinds(job) == [e["kind"] for e in hooks.events(job) if e["kind"] in ("result", "completed")]
    assert len({headers["webhook-id"] for headers, _, _ in receiver.got[:3]}) == 1
    release.set()
    # It was asked anew after each kill: a receiver knows by the id that it is the same event.
    wait_until(lambda: hooks.api.get("/webhooks")["items"][1]["deliveries"] == 1, what="the slow one")
    assert len({headers["webhook-id"] for headers, _, _ in other.got}) == 1
    other.close()
    # A receiver that was away gets what it has missed; one that is paused gets it on resuming.
    for hook in hooks.api.get("/webhooks")["items"]:
        if hook["url"] == other.url:
            hooks.api.call("DELETE", f"/webhooks/{hook['id']}")
        else:
            hooks.api.call("PATCH", f"/webhooks/{hook['id']}", json={"state": "paused"})
    later = hooks.submit(params={"rounds": 2})
    hooks.wait_for(later, "completed")
    time.sleep(0.5)
    assert not receiver.kinds(later)
    hook, = hooks.api.get("/webhooks")["items"]
    hooks.api.call("PATCH", f"/webhooks/{hook['id']}", json={"state": "active"})
    wait_until(lambda: receiver.kinds(later)[-1:] == ["completed"], what="what was missed")
    assert len(receiver.kinds(later)) == 1 + len([e for e in hooks.events(later) if e["kind"] == "result"])


def test_given_up_pinged_removed(hooks, receiver):
    hooks.login()
    secret = hooks.rounds("webhook", "add", receiver.url, "--events", "queued,aborted").stdout.strip()
    hook, = hooks.api.get("/webhooks")["items"]
    assert hook["events"] == ["queued", "aborted"] and hook["created_by"] == "admin"
    assert "took it" in hooks.rounds("webhook", "ping", hook["id"][-6:]).stdout
    headers, body, _ = receiver.got[-1]
    assert json.loads(body)["type"] == "ping" and is_signed(secret, headers, body)
    assert not is_signed("whsec_" + base64.b64encode(bytes(32)).decode(), headers, body)
    # 410 ends it; active again, it goes on with what was not taken.
    receiver.answer = lambda message: 410
    job = hooks.submit()
    row = wait_until(lambda: next((w for w in hooks.api.get("/webhooks")["items"] if w["state"] == "failed"), None))
    assert "410" in row["reason"]
    receiver.answer = lambda message: 200
    assert "failed" in hooks.rounds("webhook", "list").stdout
    hooks.rounds("webhook", "resume", hook["id"][:36])
    wait_until(lambda: receiver.kinds(job) == ["queued"], what="the event again")
    # Somebody else's certificate is nobody's.
    hooks.restart()
    told = hooks.rounds("webhook", "ping", hook["id"], check=False)
    assert told.returncode == 1 and "certificate" in told.stderr
    hooks.rounds("webhook", "pause", hook["id"])
    hooks.rounds("webhook", "remove", hook["id"])
    assert hooks.rounds("webhook", "ping", hook["id"], check=False).returncode == 3
    assert hooks.api.get("/webhooks")["items"] == []
    assert 'rounds_webhook_deliveries_total{result="failed"} 1' in hooks.api.raw("GET", "/metrics").text


def test_bad_webhooks_are_refused(hooks):
    good = {"url": "https://example.org/hook"}
    for body, field in [
        ({}, "url"), ({"url": 5}, "url"), ({"url": "ftp://example.org"}, "url"), ({"url": "https://me:pw@example.org"}, "url"),
        ({"url": "http://example.org"}, "url"), ({"url": "file:///etc/passwd"}, "url"), ({"url": "not a url"}, "url"),
        ({"url": "https://" + "x" * 3000}, "url"), ({**good, "events": ["complete"]}, "events"), ({**good, "events": []}, "events"),
        ({**good, "events": "completed"}, "events"), ({**good, "secret": "x"}, "secret"), ({**good, "state": "failed"}, "state"),
    ]:
        with pytest.raises(Problem) as problem:
            hooks.api.post("/webhooks", body)
        assert problem.value.status == 400 and field in json.dumps(problem.value.body), body
    assert hooks.api.get("/webhooks")["items"] == []


def test_an_answer_without_end_is_left_at_64_kb(hooks):
    receiver = Receiver(hooks, endless=True)
    hook = hooks.api.post("/webhooks", {"url": receiver.url, "events": ["aborted"]})
    hooks.api.post(f"/jobs/{hooks.submit()}/abort")
    wait_until(lambda: hooks.api.get(f"/webhooks/{hook['id']}")["tried"], 20, "the event to be taken")
    row = hooks.api.get(f"/webhooks/{hook['id']}")
    assert row["failures"] == 0 and len(receiver.got) == 1, row
    assert receiver.sent < 8 << 20, "what is in the socket's buffers, and no more"
    receiver.close()
