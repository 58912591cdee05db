"""GUARANTEES row 34: an abort, a removal or a drain reaches a program at work within 10 s, whatever the lease; and what that costs."""
import os
import pathlib
import re
import subprocess
import time

import numpy as np
import pytest

from harness.deployment import BUILD, Problem, SiteClient, runs, wait_until
from harness.older import OlderSite
from harness.weights import save

W = np.arange(8, dtype=np.float32)
OLDER_BUILD = os.environ.get("ROUNDS_OLDER_BUILD")  # of the first release: see test_older_sites.py
BUILDS = [BUILD, *([pathlib.Path(OLDER_BUILD)] if OLDER_BUILD else [])]


def writes(rounds):
    text = rounds.api.raw("GET", "/metrics").text
    return int(re.search(r"^rounds_store_writes_total (\d+)", text, re.M)[1])


def call_off(rounds, how, job):
    if how == "abort":
        rounds.api.post(f"/jobs/{job}/abort")
    elif how == "drain":
        rounds.api.call("PATCH", "/sites/a", json={"state": "draining", "now": True})
    else:
        rounds.api.call("DELETE", "/sites/a")


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: "older" if build != BUILD else "today")
@pytest.mark.parametrize("how", ["abort", "removal", "drain"])
def test_a_program_that_is_called_off_is_dead_within_ten_seconds(rounds, tmp_path, how, build):
    once = tmp_path / "once"
    a = rounds.start_site("a", build=build)
    job = rounds.submit(params={"rounds": 1}, lease_seconds=600, trainer={"do": "hang", "once": str(once)})
    wait_until(once.exists, what="the program to be at work")
    child = int(subprocess.check_output(["pgrep", "-P", str(a.pid)], text=True).split()[0])
    wait_until(lambda: [t for t in rounds.tasks(job) if t["stage"] == "training"], what="a first heartbeat")
    begun = time.monotonic()
    call_off(rounds, how, job)
    wait_until(lambda: not pathlib.Path(f"/proc/{child}").exists(), 20, "the program to end")
    assert time.monotonic() - begun < 10.5


def begin(rounds, site, **spec):
    assert site.claim(wait=0) is None
    rounds.submit(sites=[site.name], initial_model=rounds.api.upload(save({"w": W})), **spec)
    return wait_until(lambda: site.claim(wait=5), what="the task")


def test_an_older_site_is_told_a_short_lease_and_has_the_whole(rounds):
    a = OlderSite(rounds, "a")
    task = begin(rounds, a, lease_seconds=600)
    assert task["lease_seconds"] == 15
    answer = a.post(f"/tasks/{task['id']}/heartbeat", {"stage": "training", "fraction": 0.1})
    assert answer == {"state": "leased", "lease_seconds": 15}
    assert rounds.tasks(task["job"])[0]["lease_us"] == 600e6, "its silence for 15 seconds costs nothing"
    a.deliver(task, a.train(task))


def test_a_newer_site_is_told_the_whole_lease(rounds):
    a = SiteClient(rounds, "a")
    a.facts |= {"protocol": 2}
    task = begin(rounds, a, lease_seconds=600)
    assert task["lease_seconds"] == 600
    assert a.post(f"/tasks/{task['id']}/heartbeat", {})["lease_seconds"] == 600


def test_a_heartbeat_without_news_is_a_read(rounds):
    a = SiteClient(rounds, "a")
    task = begin(rounds, a, lease_seconds=600)
    beat = {"stage": "training", "fraction": 0.25, "metrics": {"loss": 1.0}}

    def send(**changes):
        before = writes(rounds)
        a.post(f"/tasks/{task['id']}/heartbeat", {**beat, **changes})
        return before
    send()
    quiet = writes(rounds)
    for _ in range(20):
        send(fraction=0.2501)
    assert writes(rounds) - quiet < 15, "the ticker writes, the heartbeats do not"
    due = rounds.tasks(task["job"])[0]["lease_due"]
    for news in ({"fraction": 0.5}, {"stage": "uploading"}, {"metrics": {"loss": 0.5}}):
        beat |= news
        send()
        row = rounds.tasks(task["job"])[0]
        assert row["lease_due"] > due and all(row[name] == value for name, value in beat.items())
        due = row["lease_due"]


def test_heartbeats_without_news_keep_a_lease(rounds):
    a = SiteClient(rounds, "a")
    task = begin(rounds, a, lease_seconds=3, max_attempts=1)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        a.post(f"/tasks/{task['id']}/heartbeat", {"stage": "training", "fraction": 0.5})
        time.sleep(0.4)
    assert [t["state"] for t in rounds.tasks(task["job"])] == ["leased"]
    assert not [e for e in rounds.events(task["job"]) if "lease ran out" in e["message"]]


def program_of(site):
    return int(subprocess.check_output(["pgrep", "-P", str(site.pid)], text=True).split()[0])


def at_work(rounds, tmp_path, site, **spec):
    """A job whose program hangs at one site; returns the job and the program's process."""
    once = tmp_path / f"once-{spec.get('name')}"
    job = rounds.submit(lease_seconds=600, trainer={"do": "hang", "only": site.name, "once": str(once)}, **spec)
    wait_until(once.exists, what="the program to be at work")
    return job, program_of(site)


def drain(rounds, now):
    rounds.login()
    return rounds.rounds("site", "drain", "a", *(["--now"] if now else [])).stdout


def test_a_drain_is_heard_of_with_the_next_beat_and_ends_nothing(rounds, tmp_path):
    a = rounds.start_site("a")
    job = rounds.submit(params={"rounds": 2, "failure_policy": "fail"}, lease_seconds=600, trainer={"seconds": 20})
    wait_until(lambda: [t for t in rounds.tasks(job) if t["stage"] == "training"], what="a first heartbeat")
    child = program_of(a)
    assert drain(rounds, now=False) == ""
    wait_until(lambda: "drained by the operator" in a.text(), 10, "the site to hear of it")
    far = rounds.tasks(job, round=1)[0]["fraction"]
    wait_until(lambda: rounds.tasks(job, round=1)[0]["fraction"] > far, 15, "another heartbeat")
    assert a.text().count("drained by the operator") == 1 and runs(child), "it is said once and ends nothing"
    assert rounds.job(job)["state"] == "running" and not [e for e in rounds.events(job) if "without" in e["message"]]
    rounds.rounds("site", "activate", "a")
    wait_until(lambda: "drained no more" in a.text(), 10, "the site to hear of that")
    assert runs(child)


def test_a_beat_tells_of_a_drain_and_writes_nothing(rounds):
    a, b = SiteClient(rounds, "a"), OlderSite(rounds, "b")
    a.facts |= {"protocol": 2}
    tasks = {site: begin(rounds, site, lease_seconds=600, trainer={"site": site.name}) for site in (a, b)}
    beat = {"stage": "training", "fraction": 0.5}
    for site in (a, b):
        site.post(f"/tasks/{tasks[site]['id']}/heartbeat", beat)
        rounds.api.call("PATCH", f"/sites/{site.name}", json={"state": "draining"})
    quiet = writes(rounds)
    for _ in range(20):
        told = a.post(f"/tasks/{tasks[a]['id']}/heartbeat", beat)
    assert told == {"state": "leased", "lease_seconds": 600, "draining": True}
    assert writes(rounds) - quiet < 15, "the ticker writes, the heartbeats do not"
    assert b.beat(tasks[b]), "which also looks at the words: an older site is told what it knows"
    assert a.post("/tasks/claim?wait=0", {**a.facts, "holding": [tasks[a]["id"]]}) == {"task": None, "draining": True}
    assert b.post("/tasks/claim?wait=0", {**b.facts, "holding": [tasks[b]["id"]]}) == {"task": None}


def test_a_drain_at_once_lets_rounds_go_on_without_the_site(rounds, tmp_path):
    a, b = rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    job, child = at_work(rounds, tmp_path, a, name="both", params={"rounds": 3}, min_sites=2)
    begun = time.monotonic()
    said = drain(rounds, now=True)
    assert "both" in said and job in said and "goes on without a" in said, said
    wait_until(lambda: not runs(child), 20, "the program to end")
    assert time.monotonic() - begun < 10.5
    rounds.wait_for(job, "completed")
    assert {t["site"] for t in rounds.tasks(job) if t["state"] == "done" and t["round"]} == {"b"}, "in later rounds, too"
    gone = [t for t in rounds.tasks(job) if t["site"] == "a" and t["kind"] == "train"]
    assert len(gone) == 3 and {t["state"] for t in gone} == {"cancelled"}
    assert "drained by admin" in gone[0]["reason"]
    row = rounds.api.get(f"/jobs/{job}/rounds")["items"][1]
    assert row["manifest"]["skipped"] == ["a"] and rounds.rounds_verify(job)["good"]
    record = [e["record"] for e in rounds.api.get("/audit")["items"] if e["record"]["kind"] == "site.edit"][0]
    assert record["about"] == {"kind": "site", "id": "a", "name": "called off"} and record["by"]["name"] == "admin"
    assert rounds.api.get("/sites/a")["now"] is True
    rounds.rounds("site", "activate", "a")
    again = rounds.submit(params={"rounds": 1}, min_sites=2)
    rounds.wait_for(again, "completed")
    assert {t["site"] for t in rounds.tasks(again, round=1) if t["state"] == "done"} == {"a", "b"}
    assert rounds.api.get("/sites/a")["now"] is False


def test_what_cannot_do_without_the_site_is_named_and_waits(rounds, tmp_path):
    a = rounds.start_site("a")
    job, child = at_work(rounds, tmp_path, a, name="alone", params={"rounds": 2})
    said = drain(rounds, now=True)
    assert "alone" in said and "cannot go on without a" in said and "round 1 has no site left" in said, said
    wait_until(lambda: not runs(child), 10.5, "the program to end all the same")
    assert "the site is drained" in a.text()
    assert rounds.api.get(f"/jobs/{job}/waiting")["sites"][0]["state"] == "draining"
    turns = writes(rounds)
    wait_until(lambda: writes(rounds) > turns + 3, what="turns of the ticker")
    row = rounds.job(job)
    assert row["state"] == "running" and [t["state"] for t in rounds.tasks(job, round=1)] == ["pending"], row
    assert len([e for e in rounds.events(job) if "waits for it" in e["message"]]) == 1
    rounds.rounds("site", "activate", "a")
    rounds.wait_for(job, "completed")
    assert [t["failures"] for t in rounds.tasks(job, round=1)] == [0]


def test_a_paused_job_is_called_off_as_well_and_now_is_for_drains(rounds, tmp_path):
    a, b = rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    job, child = at_work(rounds, tmp_path, a, name="paused", params={"rounds": 1}, min_sites=2)
    rounds.api.post(f"/jobs/{job}/pause")
    answer = rounds.api.call("PATCH", "/sites/a", json={"state": "draining", "now": True})
    assert [entry["job"] for entry in answer["skipped"]] == [job] and answer["waiting"] == []
    wait_until(lambda: not runs(child), 10.5, "the program to end")
    rounds.api.post(f"/jobs/{job}/resume")
    rounds.wait_for(job, "completed")
    with pytest.raises(Problem) as problem:
        rounds.api.call("PATCH", "/sites/a", json={"state": "active", "now": True})
    assert problem.value.body["field"] == "now"
