"""GUARANTEES rows 28, 29: whatever happens to one job, the next one starts; long jobs stay small."""
import os
import pathlib

import pytest

from harness.deployment import wait_until


@pytest.mark.parametrize("what", ["crash", "garbage", "nothing", "big_line", "nan"])
def test_a_job_whose_executor_misbehaves_fails_and_frees_its_site(rounds, what):
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 3}, trainer={"do": what}, max_attempts=2)
    if what == "nan":
        assert "not finite" in rounds.wait_for(job, "failed")["reason"]
    else:
        kind, words = {"crash": ("signal", "killed by signal 6"), "garbage": ("output", "not JSON"),
                       "nothing": ("no_update", "wrote no file"), "big_line": ("output", "a line of more than")}[what]
        rounds.fails_in_private(job, words, kind)
    if what == "crash":
        rounds.fails_in_private(job, "out of luck")
    rounds.wait_for(rounds.submit(params={"rounds": 1}), "completed", seconds=20)


def test_a_hanging_executor_is_ended_at_the_tasks_limit(rounds):
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 1}, trainer={"do": "hang"}, task_timeout_seconds=1)
    assert "longer than its limit" in rounds.fails_in_private(job, "limit of 1 s", "timeout")["reason"]
    rounds.wait_for(rounds.submit(params={"rounds": 1}), "completed", seconds=20)


@pytest.mark.parametrize("state", ["queued", "training", "paused"])
def test_an_aborted_job_frees_its_site_within_a_lease(rounds, tmp_path, state):
    once = tmp_path / "once"
    job = None
    if state == "queued":
        job = rounds.submit(params={"rounds": 1})
        rounds.api.post(f"/jobs/{job}/abort")
    a = rounds.start_site("a")
    if state != "queued":
        job = rounds.submit(params={"rounds": 3}, lease_seconds=2, trainer={"do": "hang", "once": str(once)})
        wait_until(once.exists, what="the training")
        if state == "paused":
            rounds.api.post(f"/jobs/{job}/pause")
        rounds.api.post(f"/jobs/{job}/abort")
    assert rounds.job(job)["state"] == "aborted"
    assert all(t["state"] in ("done", "cancelled") for t in rounds.tasks(job))
    rounds.wait_for(rounds.submit(params={"rounds": 1}), "completed", seconds=15)
    assert a.alive()


def test_paused_it_rests_and_resumed_it_goes_on(rounds):
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 4, "deadline_seconds": 3}, trainer={"seconds": 0.3})
    wait_until(lambda: rounds.job(job)["round"] >= 2, what="round 2")
    rounds.api.post(f"/jobs/{job}/pause")
    wait_until(lambda: not [t for t in rounds.tasks(job) if t["state"] == "leased"], what="the site to finish")
    at = rounds.job(job)["round"]
    import time
    time.sleep(4)  # longer than the deadline, which does not count while it rests
    row = rounds.job(job)
    assert (row["state"], row["round"]) == ("paused", at)
    rounds.api.post(f"/jobs/{job}/resume")
    assert rounds.wait_for(job, "completed")["round"] == 4


def test_a_removed_site_fails_its_task_and_is_refused(rounds, tmp_path):
    once = tmp_path / "once"
    a, b = rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    job = rounds.submit(sites=["a", "b"], params={"rounds": 2, "quorum": 1},
                        trainer={"do": "hang", "only": "a", "once": str(once)})
    wait_until(once.exists, what="a to train")
    rounds.api.call("DELETE", "/sites/a")
    rounds.wait_for(job, "failed", "completed")
    assert [t["state"] for t in rounds.tasks(job, round=1) if t["site"] == "a"] in (["failed"], ["cancelled"])
    wait_until(lambda: "removed" in a.text(), 20, "the site to say why it is refused")


def test_jobs_wait_in_order_of_priority_and_say_why(rounds):
    a = rounds.start_site("a")
    rounds.connected("a")
    first = rounds.submit(name="first", params={"rounds": 2}, trainer={"seconds": 0.5})
    low = rounds.submit(name="low", params={"rounds": 1})
    high = rounds.submit(name="high", params={"rounds": 1}, priority=5)
    absent = rounds.submit(name="absent", sites=["nobody"], params={"rounds": 1}, priority=50)
    wait_until(lambda: rounds.job(low)["reason"], what="a reason")
    assert "busy" in rounds.job(low)["reason"]
    for job in (first, low, high):
        rounds.wait_for(job, "completed")
    assert rounds.job(high)["started"] < rounds.job(low)["started"]
    assert rounds.job(absent)["state"] == "queued" and "0 of at least 1 sites" in rounds.job(absent)["reason"]
    other = rounds.submit(dataset="no-such-data", params={"rounds": 1})
    wait_until(lambda: "does not offer the dataset" in (rounds.job(other)["reason"] or ""), what="the reason")


def test_a_job_starts_with_the_sites_that_it_needs(rounds):
    a = rounds.start_site("a")
    rounds.connected("a")
    pair = rounds.submit(name="pair", min_sites=2, params={"rounds": 1})
    with_c = rounds.submit(name="with c", required_sites=["c"], params={"rounds": 1})
    alone = rounds.submit(name="alone", min_sites=1, params={"rounds": 1})
    rounds.wait_for(alone, "completed")
    wait_until(lambda: rounds.job(pair)["reason"] and rounds.job(with_c)["reason"], what="the reasons")
    assert "1 of at least 2 sites" in rounds.job(pair)["reason"] and "cannot do without c" in rounds.job(with_c)["reason"]
    rounds.start_site("b")
    rounds.wait_for(pair, "completed")
    assert {t["site"] for t in rounds.tasks(pair)} == {"a", "b"}
    assert rounds.job(with_c)["state"] == "queued"
    rounds.start_site("c")
    assert rounds.wait_for(with_c, "completed")
    assert a.alive() and not list((a.state / "work").glob("slot-*/*-*")), "scratch directories are removed"


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_thousands_of_rounds_leave_no_trace(rounds):
    """Memory, database, disk and open files after the last rounds are what they were after the first hundreds; "long" does ten thousand."""
    rounds_wanted = int(os.environ.get("ROUNDS_TEST_LONG", "3000"))
    a = rounds.start_site("a", log_level="warn")
    job = rounds.submit(params={"rounds": rounds_wanted}, trainer={"size": 64, "step": 0},
                        retention={"updates": 5, "models": 5, "history": 100})

    def measure():
        database = sum(path.stat().st_size for path in rounds.data.glob("rounds.db*"))
        return {"server": rounds.server.own_memory(), "site": a.own_memory(), "database": database,
                "files": descriptors(rounds.server), "site_files": descriptors(a)}
    wait_until(lambda: rounds.job(job)["round"] >= 500, 300, "the first rounds")
    early = measure()
    rounds.wait_for(job, "completed", seconds=900)
    late = measure()
    assert late["server"] < early["server"] * 1.2 + (2 << 20), (early, late)
    assert late["site"] < early["site"] * 1.2 + (1 << 20), (early, late)
    assert late["database"] < early["database"] * 1.3 + (1 << 20), (early, late)
    assert late["files"] <= early["files"] + 4 and late["site_files"] <= early["site_files"] + 2, (early, late)
    assert len(rounds.tasks(job)) <= 110
    assert not list((pathlib.Path(a.state) / "spool").iterdir())
