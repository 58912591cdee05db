"""GUARANTEES row 38: text that is cut in a character, or is no UTF-8, reaches everyone whole or repaired."""
import pytest
from harness.deployment import SiteClient

EURO = "\u20ac"


@pytest.mark.parametrize("length", [497, 498, 499, 500])
def test_a_failure_that_is_cut_in_a_character_is_told(rounds, length):
    site = SiteClient(rounds, "a")
    assert site.claim(wait=0) is None
    job = rounds.submit(sites=["a"], max_attempts=1)
    task = site.claim()
    site.post(f"/tasks/{task['id']}/failure", {"reason": "a" * length + EURO * 200, "retry": False})
    job = rounds.wait_for(job, "failed")
    assert "a" * 400 in job["reason"]
    told = [event["message"] for event in rounds.events(job["id"]) if event["kind"] == "task_failed"]
    assert told and "a" * 400 in told[0]
    assert rounds.tasks(job["id"])[0]["reason"].startswith("a" * 400)
    assert rounds.api.get("/events")["items"]


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/jobs/%e2%82", None),
    ("DELETE", "/tokens/%ff", None),
    ("PATCH", "/sites/%ff", {"state": "active"}),
    ("POST", "/users/%ff/reset", {}),
    ("GET", "/webhooks/%ff", None),
    ("GET", "/jobs?text=%ff%e2%82", None),
    ("POST", "/jobs", {"name": "x", "dataset": "d", "workflow": "fedavg", "params": {"a" * 150 + EURO * 5: 1}}),
    ("POST", "/jobs", {"name": "x", "dataset": "d", "b" * 158 + EURO: 1}),
    ("POST", "/tokens", {"name": "x", "role": "\u20ac" * 300}),
])
def test_bytes_that_are_no_text_get_an_answer(rounds, method, path, body):
    answer = rounds.api.raw(method, "/api/v1" + path, json=body)
    assert answer.status_code in (200, 400, 404), answer.text
    assert answer.json()
    if "b" * 158 in str(body):
        assert "b" * 158 in answer.text
