"""GUARANTEES row 34: an abort or a removal reaches a program at work within 10 s, whatever the lease; and what that costs the server."""
import os
import pathlib
import re
import subprocess
import time

import numpy as np
import pytest

from harness.deployment import BUILD, SiteClient, wait_until
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
    else:
        rounds.api.call("DELETE", "/sites/a")


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: "older" if build != BUILD else "today")
@pytest.mark.parametrize("how", ["abort", "removal"])
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
