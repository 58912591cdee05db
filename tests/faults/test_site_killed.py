"""GUARANTEES rows 2, 3, 4, 13: a site dies, loses its network, or has no space."""
import subprocess
import time

import pytest

from harness.deployment import runs, wait_until
from harness.proxy import Proxy

MB = 1 << 20


def log_of(path, kind="train"):
    return [line for line in path.read_text().splitlines() if f" {kind} " in line] if path.exists() else []


def test_killed_in_training_the_task_comes_back_when_the_site_does(rounds, tmp_path):
    log, once = tmp_path / "log", tmp_path / "once"
    a, b = rounds.start_site("a"), rounds.start_site("b")
    job = rounds.submit(sites=["a", "b"], params={"rounds": 2}, lease_seconds=2,
                        trainer={"do": "hang", "only": "a", "once": str(once), "log": str(log)})
    wait_until(once.exists, what="the site to be in mid-training")
    a.kill()
    wait_until(lambda: any("lease ran out" in e["message"] for e in rounds.events(job)), what="the lease to run out")
    task = [t for t in rounds.tasks(job, round=1) if t["site"] == "a"][0]
    assert task["state"] == "pending" and task["failures"] == 1
    a.again()
    done = rounds.wait_for(job, "completed")
    assert done["round"] == 2
    assert {(t["site"], t["state"]) for t in rounds.tasks(job, round=1)} == {("a", "done"), ("b", "done")}


def test_killed_children_do_not_outlive_their_site(rounds, tmp_path):
    a = rounds.start_site("a")
    once = tmp_path / "once"
    rounds.submit(params={"rounds": 1}, trainer={"do": "hang", "once": str(once)})
    wait_until(once.exists, what="training")
    child = int(subprocess.check_output(["pgrep", "-P", str(a.pid)], text=True).split()[0])
    a.kill()
    wait_until(lambda: not runs(child), what="the executor to die with its site")


def test_killed_in_mid_upload_it_goes_on_where_the_server_has_it(rounds, tmp_path):
    size = 24 * MB
    proxy = Proxy(rounds.port, rate=8 * MB)
    log = tmp_path / "log"
    a = rounds.start_site("a", url=proxy.url)
    job = rounds.submit(params={"rounds": 1, "evaluate_last": False}, lease_seconds=60,
                        trainer={"size": size // 4, "log": str(log)})
    wait_until(lambda: log_of(log), 60, "the training")
    uploads = rounds.data / "uploads"
    sent_before = proxy.sent_up

    def in_the_middle():
        return any(size / 4 < path.stat().st_size < size / 2 for path in uploads.iterdir())
    wait_until(in_the_middle, 60, "a part of the upload", pause=0.01)
    a.kill()
    a.again()
    rounds.wait_for(job, "completed", seconds=90)
    assert len(log_of(log)) == 1, "what was trained once is not trained again"
    sent = proxy.sent_up - sent_before
    assert size <= sent < size + 6 * MB, f"{sent / MB:.1f} MB were sent for a file of {size / MB} MB"
    proxy.close()


@pytest.mark.parametrize("back_in_time, size", [(True, 16), (False, 16), (False, 10000)])  # 40 KB are uploaded, not told
def test_cut_for_longer_than_a_lease(rounds, tmp_path, back_in_time, size):
    """Back in time, the result counts without a second training; too late, it is refused and the job goes on."""
    proxy = Proxy(rounds.port)
    log = tmp_path / "log"
    a, b = rounds.start_site("a", url=proxy.url), rounds.start_site("b")
    rounds.connected("a", "b")
    params = {"rounds": 3} if back_in_time else {"rounds": 3, "quorum": 1, "deadline_seconds": 5}
    job = rounds.submit(sites=["a", "b"], params=params, lease_seconds=1, max_attempts=10,
                        trainer={"seconds": 1.5, "log": str(log), "size": size})
    wait_until(lambda: any(line.startswith("a train 1") for line in log_of(log)), what="a to train")
    proxy.cut()
    if back_in_time:
        wait_until(lambda: any("lease ran out" in e["message"] for e in rounds.events(job)), what="the lease to run out")
        wait_until(lambda: list((a.state / "spool").iterdir()), what="a to have its result")
    else:
        wait_until(lambda: rounds.job(job)["round"] >= 2, 30, "the round to close without a")
    proxy.restore()
    rounds.wait_for(job, "completed", seconds=90)
    assert len([line for line in log_of(log) if line.startswith("a train 1")]) == 1
    first = {t["site"]: t["state"] for t in rounds.tasks(job, round=1)}
    if back_in_time:
        assert first == {"a": "done", "b": "done"}
    else:
        assert first == {"a": "cancelled", "b": "done"}
        wait_until(lambda: "refused the result" in a.text() or "called off" in a.text(), what="a to say so")
    proxy.close()


def test_a_full_disk_at_the_site_is_the_tasks_failure_not_the_daemons(rounds, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    try:
        rounds.join("a").rename(tmp_path / "a.kept")
        subprocess.run(["cp", "-a", f"{tmp_path}/a.kept/.", disk], check=True)
        (rounds.home / "a").symlink_to(disk)
        a = rounds.start_site("a")
        job = rounds.submit(params={"rounds": 1}, max_attempts=2, trainer={"size": 2 * MB})
        row = rounds.wait_for(job, "failed")
        assert "the site's disk is full" in row["reason"], row["reason"]
        assert a.alive()
        assert rounds.wait_for(rounds.submit(params={"rounds": 1}), "completed")
        a.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_asked_to_stop_it_gives_its_task_back(rounds, tmp_path):
    log = tmp_path / "log"
    a = rounds.start_site("a")
    job = rounds.submit(params={"rounds": 1}, trainer={"seconds": 3, "log": str(log)})
    wait_until(lambda: log_of(log), what="the training")
    assert a.stop() == 0
    task = [t for t in rounds.tasks(job, round=1)][0]
    assert (task["state"], task["failures"]) == ("pending", 0)
    rounds.start_site("a")
    rounds.wait_for(job, "completed")


def test_one_that_stops_is_away_at_once_and_one_that_is_killed_when_it_has_been_silent(rounds):
    a, b = rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    assert a.stop() == 0 and not rounds.api.get("/sites/a")["connected"]
    b.kill()
    assert rounds.api.get("/sites/b")["connected"], "it may only be slow"
    job = rounds.submit(params={"rounds": 1}, sites=["a"])
    assert rounds.job(job)["state"] == "queued"
    a = rounds.start_site("a")
    rounds.wait_for(job, "completed")
    # With no server there to hear it, it stops all the same.
    rounds.server.kill()
    assert a.stop(10) == 0 and "could not say that this site stops" in a.text()
