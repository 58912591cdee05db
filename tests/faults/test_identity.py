"""GUARANTEES row 40: two programs with one identity. The one that was there goes on, the other waits, and both sides are told."""
import concurrent.futures
import re
import shutil
import time

import numpy as np
import pytest

from harness.deployment import Problem, Site, SiteClient, wait_until
from harness.older import OlderSite
from harness.weights import save

W = np.arange(8, dtype=np.float32)
FIRST, SECOND = (f"0190f6a4-0000-4000-8000-00000000000{n}" for n in (1, 2))


def copy_of(rounds, site):
    """The site's state directory and settings, copied to another machine and started there."""
    state = rounds.home / f"{site.name}-copy"
    shutil.copytree(site.state, state, ignore=shutil.ignore_patterns("lock", "work"))
    made = Site(rounds, f"{site.name}-copy", {**site.config, "state_dir": str(state)})
    rounds.processes.append(made)
    return made


def claims(rounds):
    text = rounds.api.raw("GET", "/metrics").text
    return sum(float(n) for n in re.findall(r'^rounds_http_requests_total\{.*route="/api/v1/tasks/claim".*\} (\S+)', text, re.M))


def told(rounds, name):
    return rounds.api.get(f"/sites/{name}")["doubled"]


def test_of_a_copied_identity_the_one_that_was_there_goes_on(rounds, tmp_path):
    log = tmp_path / "log"
    a = rounds.start_site("a")
    rounds.connected("a")
    wait_until(lambda: a.text().count("ready"), what="the first to be ready")
    copy = copy_of(rounds, a)
    wait_until(lambda: "another rounds-site" in copy.text(), 20, "the copy to be told")
    wait_until(lambda: told(rounds, "a"), what="the operator to be told")
    assert "two programs have one site's identity" in rounds.server.text()
    before = claims(rounds)
    time.sleep(5)
    assert claims(rounds) - before < 40, "and not 3,500 a second"
    job = rounds.submit(params={"rounds": 2}, trainer={"log": str(log), "seconds": 1})
    assert rounds.wait_for(job, "completed", seconds=60)["round"] == 2
    assert "task begins" in a.text() and "task begins" not in copy.text(), "whose data trains is no chance"
    assert a.stop() == 0
    wait_until(lambda: copy.text().count("server answers again") or rounds.api.get("/sites/a")["connected"], 60, "the copy")
    rounds.wait_for(rounds.submit(params={"rounds": 1}), "completed", seconds=90)
    assert "task begins" in copy.text(), "once the first is gone the copy is the site"


def test_while_the_first_is_at_work_a_copy_waits(rounds, tmp_path):
    once = tmp_path / "once"
    a = rounds.start_site("a")
    job = rounds.submit(params={"rounds": 1}, lease_seconds=600, trainer={"do": "hang", "once": str(once)})
    wait_until(once.exists, what="the program to be at work")
    copy = copy_of(rounds, a)
    wait_until(lambda: "another rounds-site" in copy.text(), 30, "the copy to be told")
    assert [t["attempts"] for t in rounds.tasks(job) if t["kind"] == "train"] == [1], "its task was not given to another"
    assert "task begins" not in copy.text()
    rounds.api.post(f"/jobs/{job}/abort")


def test_killed_and_started_anew_a_site_is_back_soon(rounds, tmp_path):
    a = rounds.start_site("a")
    rounds.connected("a")
    a.kill()
    a = a.again()
    begun = time.monotonic()
    rounds.wait_for(rounds.submit(params={"rounds": 1}), "completed", seconds=30)
    assert time.monotonic() - begun < 15
    assert told(rounds, "a") is None, "a restart is no second program"


def as_two(rounds):
    first, second = SiteClient(rounds, "a"), SiteClient(rounds, "a")
    first.facts |= {"protocol": 2, "instance": FIRST}
    second.facts |= {"protocol": 2, "instance": SECOND, "datasets": ["other"]}
    return first, second


def test_a_copy_is_refused_and_what_it_says_of_itself_does_not_count(rounds):
    first, second = as_two(rounds)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        poll = pool.submit(first.claim, 30)
        rounds.connected("a")
        refused = pool.submit(second.claim, 30)
        assert poll.result(10) is None, "the first one's poll is ended"
        poll = pool.submit(first.claim, 30)
        with pytest.raises(Problem) as problem:
            refused.result(10)
        assert problem.value.status == 409 and "identity" in problem.value.body["detail"]
        assert told(rounds, "a")
        assert rounds.api.get("/sites/a")["datasets"] == first.facts["datasets"]
        job = rounds.submit(sites=["a"], initial_model=rounds.api.upload(save({"w": W})), params={"rounds": 1})
        assert poll.result(10)["job"] == job


def test_a_newer_process_takes_over_from_one_that_does_not_come_again(rounds):
    first, second = as_two(rounds)
    assert first.claim(wait=0) is None
    begun = time.monotonic()
    assert second.claim(wait=30) is None and 4.5 < time.monotonic() - begun < 9
    assert second.claim(wait=0) is None
    assert rounds.api.get("/sites/a")["datasets"] == ["other"] and told(rounds, "a") is None
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # now the first is the copy
        refused = pool.submit(first.claim, 30)
        wait_until(lambda: refused.done() or second.claim(wait=0) is not None, 20, "the refusal", pause=0.5)
        with pytest.raises(Problem):
            refused.result(1)


def test_two_older_daemons_do_not_end_each_others_polls(rounds):
    """Protocol 1 names no instance: whoever claimed last gets the work, and nobody is answered before its time."""
    first, second = OlderSite(rounds, "a"), OlderSite(rounds, "a")

    def poll(site, until):
        count = 0
        while time.monotonic() < until:
            site.claim(wait=2)
            count += 1
        return count
    until = time.monotonic() + 5
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(poll, [first, second], [until, until]))
    assert sum(counts) <= 10, counts
