"""GUARANTEES row 37: what a site reports and the server refuses ends somewhere; what is wrong beside a result costs no training."""
import json
import time

import numpy as np
import pytest

from harness.deployment import Problem, SiteClient, wait_until
from harness.older import OlderSite
from harness.weights import digest_of, save

W = np.arange(8, dtype=np.float32)
GOOD = save({"w": W + 1})
SECRET = "Erika Mustermann, born 1980"


def begin(rounds, *names, client=SiteClient, **spec):
    sites = [client(rounds, name) for name in names]
    for site in sites:
        assert site.claim(wait=0) is None
    job = rounds.submit(sites=list(names), initial_model=rounds.api.upload(save({"w": W})),
                        **{"params": {"rounds": 1, "evaluate_last": False}, **spec})
    tasks = [site.claim() for site in sites]
    assert all(tasks)
    return sites, job, tasks


def task_of(rounds, job, site, round=1):
    return next(t for t in rounds.tasks(job, round=round) if t["site"] == site)


def said(rounds, job, kind):
    return [e["message"] for e in rounds.events(job) if e["kind"] == kind]


def send(site, task, call, data):
    return site.raw("POST", f"/api/v1/tasks/{task['id']}/{call}", data=data, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("body, words", [
    ({"weight": -1}, "weight must be how many samples"), ({"weight": "many"}, "weight must be"),
    ({"update": "md5:1"}, "update must be sha256:"), ({"update": None}, "update"),
    ({"update": digest_of(b"x"), "update_data": "eA=="}, "safetensors"),
    ('{"weight": NaN}', "must be a JSON object"), ("", "must be a JSON object"), ("[1]", "must be a JSON object"),
    (b'{"weight": "\xff"}', "must be a JSON object"),
])
def test_a_refused_result_fails_its_task_and_is_not_asked_for_again(rounds, body, words):
    (a, b), job, (of_a, of_b) = begin(rounds, "a", "b", params={"rounds": 1, "quorum": 1, "evaluate_last": False})
    if isinstance(body, dict):
        body = json.dumps({"update": a.upload(GOOD), "weight": 1, **body})
    response = send(a, of_a, "result", body)
    assert response.status_code in (400, 422), response.text
    task = task_of(rounds, job, "a")
    assert (task["state"], task["attempts"]) == ("failed", 1) and words in task["reason"], task
    assert "its result was refused" in task["reason"]
    assert a.claim(wait=0) is None
    assert said(rounds, job, "task_failed") == [f"a failed: {task['reason']}"]
    b.result(of_b, b.upload(GOOD))
    assert rounds.wait_for(job, "completed")["model"] == digest_of(GOOD)


def test_wrong_metrics_are_left_out_and_said_once_and_never_quoted(rounds):
    (a,), job, (task,) = begin(rounds, "a", params={"rounds": 2, "evaluate_last": False})
    metrics = {"dice": 0.5, SECRET: 1.0, "x" * 64: 1.0, "Größe/左": 2.0, "text": SECRET, "": 3, "missing": None}
    a.result(task, a.upload(GOOD), metrics=metrics)
    assert task_of(rounds, job, "a")["metrics"] == {"dice": 0.5, "Größe/左": 2.0, "missing": None}
    task = wait_until(lambda: a.claim(wait=1), what="round 2")
    a.result(task, a.upload(save({"w": W + 2})), metrics=metrics)
    rounds.wait_for(job, "completed")
    out = [m for m in said(rounds, job, "metric_missing") if "left out" in m]
    assert len(out) == 2 and any("63 letters" in m for m in out) and any("a number" in m for m in out), out
    assert SECRET not in json.dumps(rounds.events(job)) + json.dumps(rounds.tasks(job)), "whatever was in a name stays away"
    assert {m["name"] for m in rounds.api.get(f"/jobs/{job}/metrics")["items"]} >= {"dice", "Größe/左"}


@pytest.mark.parametrize("beside, words, kept", [
    ({"metrics": {f"icd/{i}": 0.1 for i in range(1001)}}, "at most 1000", 1000),
    ({"metrics": [1, 2]}, "an object of names and numbers", 0),
    ({"metrics": "none"}, "an object of names and numbers", 0),
    ({"timings": {"train": "long"}}, "timings are left out", None),
])
def test_what_is_wrong_beside_a_result_costs_no_training(rounds, beside, words, kept):
    (a,), job, (task,) = begin(rounds, "a")
    answer = a.post(f"/tasks/{task['id']}/result", {"update": a.upload(GOOD), "weight": 2, **beside})
    assert answer["accepted"]
    assert rounds.wait_for(job, "completed")["model"] == digest_of(GOOD)
    row = task_of(rounds, job, "a")
    assert len(row["metrics"] or {}) == (kept or 0)
    assert [m for m in said(rounds, job, "metric_missing") if words in m]


@pytest.mark.parametrize("body", [
    json.dumps({"stage": SECRET, "fraction": 7, "metrics": {SECRET: 1}, "log": 5}), json.dumps({"stage": 5, "metrics": 5}),
    json.dumps({"log": ["x" * 5000, 7, None, {"a": 1}] * 60}), "", "{", b'{"stage": "\xff"}',
])
def test_no_heartbeat_costs_the_training(rounds, body):
    (a,), job, (task,) = begin(rounds, "a")
    assert a.post(f"/tasks/{task['id']}/heartbeat", {"stage": "training", "fraction": 0.25})
    response = send(a, task, "heartbeat", body)
    assert response.status_code == 200, response.text
    row = task_of(rounds, job, "a")
    assert (row["state"], row["stage"], row["fraction"]) == ("leased", "training", 0.25)
    assert SECRET not in json.dumps(rounds.events(job))
    assert a.result(task, a.upload(GOOD))["accepted"]


@pytest.mark.parametrize("body", [{"reason": 5}, {}, {"kind": "unheard-of"}, {"kind": "cell", "row": "Mustermann"},
                                  {"kind": "cell", SECRET: 1}, "", "nothing", b'{"reason": "\xff'])
def test_a_failure_that_cannot_be_read_is_a_failure(rounds, body):
    (a,), job, (task,) = begin(rounds, "a", max_attempts=2)
    for attempt in (1, 2):
        assert task["id"]
        assert send(a, task, "failure", json.dumps(body) if isinstance(body, dict) else body).status_code == 200
        assert task_of(rounds, job, "a")["failures"] == attempt
        if attempt == 1:
            begun = time.monotonic()
            task = wait_until(lambda: a.claim(wait=5), 10, "the task to have rested")
            assert time.monotonic() - begun > 0.3, "it rests before it is tried again"
    row = rounds.wait_for(job, "failed")
    assert "its report of why could not be read" in row["reason"]
    assert "Mustermann" not in json.dumps(rounds.events(job)) + row["reason"]


def test_a_failure_is_stored_as_it_was_told_and_shown_as_a_sentence(rounds):
    (a,), job, (task,) = begin(rounds, "a", max_attempts=1)
    told = {"kind": "cell", "role": "path", "row": 18, "column": 3, "ref": "4f1c09ab", "retry": False}
    a.post(f"/tasks/{task['id']}/failure", told)
    sentence = "a cell of the table cannot be read as what its column holds (path, row 18, column 3); the site's log: 4f1c09ab"
    row = task_of(rounds, job, "a")
    assert row["failure"] == told and row["reason"] == sentence
    event = next(e for e in rounds.events(job) if e["kind"] == "task_failed")
    assert event["data"] == told and event["message"] == f"a failed: {sentence}"
    assert sentence in rounds.wait_for(job, "failed")["reason"]


def test_a_programs_own_words_are_shown_only_where_they_were_told(rounds):
    (a,), job, (task,) = begin(rounds, "a", max_attempts=2)
    a.post(f"/tasks/{task['id']}/failure", {"kind": "program", "retry": True, "text": "no column \"Größe\""})
    assert task_of(rounds, job, "a")["reason"] == "the executor's program failed: no column \"Größe\""
    assert [e["data"]["text"] for e in rounds.events(job) if e["kind"] == "task_retry"] == ["no column \"Größe\""]
    task = wait_until(lambda: a.claim(wait=5), 10, "another try")
    a.post(f"/tasks/{task['id']}/failure", {"kind": "program", "retry": True})
    assert task_of(rounds, job, "a")["reason"] == "the executor's program failed"


def test_an_older_sites_failures_are_in_its_own_words(rounds):
    (a,), job, (task,) = begin(rounds, "a", client=OlderSite, max_attempts=2)
    a.fail(task, "out of luck")
    assert said(rounds, job, "task_retry") == ["a: try 1 of 2 failed: out of luck"]
    a.fail(wait_until(lambda: a.claim_older(wait=5), 10, "another try"), "数据文件里缺少列" * 30, retry=False)
    row = task_of(rounds, job, "a")
    assert row["state"] == "failed" and row["failure"] is None and row["reason"].startswith("数据文件里缺少列")


def takes(site, seconds, then=lambda task: None):
    """How often the site is given a task in so many seconds, while it forgets each at once."""
    end, taken = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        task = site.claim(wait=1)
        if task:
            taken += 1
            then(task)
    return taken


def test_a_site_that_forgets_what_it_works_on_is_asked_as_often_as_tries_are_allowed(rounds):
    (a,), job, (task,) = begin(rounds, "a", max_attempts=3)
    beat = {"stage": "training", "fraction": 0.1}
    a.post(f"/tasks/{task['id']}/heartbeat", beat)
    assert takes(a, 4, lambda task: a.post(f"/tasks/{task['id']}/heartbeat", beat)) == 2
    assert "no longer knows of this task" in rounds.wait_for(job, "failed")["reason"]


def test_answers_that_are_lost_are_given_again_and_not_without_end(rounds):
    (a,), job, _ = begin(rounds, "a", max_attempts=2)
    assert a.claim(wait=0), "at once the first time"
    assert takes(a, 6) <= 4
    task = wait_until(lambda: a.claim(wait=5) or rounds.job(job)["state"] == "failed", 60, "an end")
    assert task is True or rounds.job(job)["state"] == "running"


def test_a_site_without_samples_has_answered_and_is_no_input(rounds):
    (a, b), job, (of_a, of_b) = begin(rounds, "a", "b", params={"rounds": 1, "evaluate_last": False, "key_metric": "m"})
    a.result(of_a, a.upload(save({"w": W + 100})), weight=0, metrics={"m": 0.0, "only_a": 1.0})
    b.result(of_b, b.upload(GOOD), weight=5, metrics={"m": 0.75})
    assert rounds.wait_for(job, "completed")["model"] == digest_of(GOOD)
    assert {t["site"]: (t["state"], t["weight"]) for t in rounds.tasks(job, round=1)} == {"a": ("done", 0), "b": ("done", 5)}
    manifest = rounds.api.get(f"/jobs/{job}/rounds")["items"][1]["manifest"]
    assert [entry["site"] for entry in manifest["inputs"]] == ["b"]
    means = {m["name"]: m["value"] for m in rounds.api.get(f"/jobs/{job}/metrics")["items"] if m["site"] == ""}
    assert means == {"m": 0.75}
    assert any("no samples" in m for m in said(rounds, job, "result"))
    assert rounds.rounds_verify(job)["good"]


@pytest.mark.parametrize("workflow, params", [
    ("fedavg", {"rounds": 1}), ("fedavg", {"rounds": 1, "aggregator": "median"}), ("scaffold", {"rounds": 1}),
    ("fedbuff", {"rounds": 1}), ("cyclic", {"rounds": 1}), ("kmeans", {"rounds": 1, "clusters": 1}),
])
def test_a_round_in_which_nobody_has_samples_fails_and_says_so(rounds, workflow, params):
    sites, job, tasks = begin(rounds, *(["a"] if workflow == "cyclic" else ["a", "b"]), workflow=workflow, params=params)
    for site, task in zip(sites, tasks):
        site.result(task, site.upload(GOOD), weight=0, metrics={"train_length": 1})
    row = rounds.wait_for(job, "failed")
    assert "samples" in row["reason"] or "no site could train" in row["reason"], row["reason"]


def test_the_real_daemon_ends_with_a_refused_result(rounds, tmp_path):
    log = tmp_path / "log"
    a = rounds.start_site("a")
    job = rounds.submit(params={"rounds": 1}, trainer={"weights": {"a": -1}, "log": str(log)})
    assert "weight" in rounds.wait_for(job, "failed")["reason"]
    trained = [line for line in log.read_text().splitlines() if " train " in line]
    assert 1 <= len(trained) <= 3, "and not thousands of times"
    assert a.alive()
