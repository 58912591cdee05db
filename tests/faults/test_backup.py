"""GUARANTEES row 23: a backup that is taken while a job runs; a copy that leases nothing until its original is gone."""
import json
import shutil
import subprocess

import pytest

from harness.deployment import BUILD, HOSPITALS, Problem, SiteClient, wait_until


def server(*words, check=True):
    done = subprocess.run([BUILD / "server/rounds-server", *map(str, words)], capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def long_job(rounds):
    return rounds.submit(sites=HOSPITALS[:2], params={"rounds": 30}, trainer={"seconds": 0.1})


def test_a_running_jobs_backup_goes_on_elsewhere(rounds):
    for name in HOSPITALS[:2]:
        rounds.start_site(name)
    rounds.connected(*HOSPITALS[:2])
    job = long_job(rounds)
    rounds.wait_until_round(job, 5)
    backup = rounds.home / "backup"
    server("backup", backup, "--data-dir", rounds.data)
    rounds.wait_until_round(job, 12)
    token = rounds.token
    rounds.server.kill()
    shutil.rmtree(rounds.data)
    server("restore", backup, "--data-dir", rounds.data)

    rounds.start()
    row = rounds.job(job)
    assert row["state"] == "running" and row["round"] < 12
    assert rounds.api.get("/health")["copy"]
    with pytest.raises(Problem) as refused:
        rounds.api.post(f"/jobs/{job}/pause")
    assert refused.value.status == 503 and "--original-is-gone" in str(refused.value)
    assert rounds.job(job)["round"] == row["round"], "nothing moves in a copy"

    rounds.restart("--original-is-gone")
    assert not rounds.api.get("/health")["copy"]
    assert rounds.wait_for(job, "completed", seconds=120)["round"] == 30
    assert rounds.rounds_verify(job)["good"] and rounds.token == token
    rounds.restart()
    assert not rounds.api.get("/health")["copy"], "said once"


def test_a_backup_is_whole_while_blobs_come_and_go(rounds):
    """Retention keeps one round: models are doomed and removed all the time, and none that the copy names is missing in it."""
    for name in HOSPITALS[:2]:
        rounds.start_site(name)
    rounds.connected(*HOSPITALS[:2])
    job = rounds.submit(sites=HOSPITALS[:2], params={"rounds": 10000}, retention={"models": 1, "updates": 1, "history": 5})
    rounds.wait_until_round(job, 5)
    for i in range(5):
        server("backup", rounds.home / f"backup-{i}", "--data-dir", rounds.data)
        copy = rounds.home / f"copy-{i}"
        server("restore", rounds.home / f"backup-{i}", "--data-dir", copy)
    assert rounds.job(job)["state"] == "running"
    rounds.api.post(f"/jobs/{job}/abort")


def test_a_copied_directory_is_known_and_a_moved_one_too(rounds, tmp_path):
    rounds.restart()
    assert not rounds.api.get("/health")["copy"], "a restart makes no copy"
    assert rounds.server.stop() == 0
    copy = tmp_path / "copy"
    shutil.copytree(rounds.data, copy)
    rounds.start()
    assert not rounds.api.get("/health")["copy"]
    assert rounds.server.stop() == 0
    shutil.rmtree(rounds.data)
    copy.rename(rounds.data)
    rounds.start()
    assert rounds.api.get("/health")["copy"]
    with pytest.raises(Problem) as refused:
        rounds.api.post("/invitations", {"site": "a"})
    assert refused.value.status == 503


def test_a_copy_leases_nothing(rounds):
    site = SiteClient(rounds, "a")
    assert site.claim(wait=0) is None
    rounds.submit(sites=["a"])
    wait_until(lambda: rounds.api.get("/jobs")["items"][0]["state"] == "running", what="the job to start")
    assert rounds.server.stop() == 0
    copy = rounds.home / "copy"
    shutil.copytree(rounds.data, copy)
    shutil.rmtree(rounds.data)
    copy.rename(rounds.data)
    rounds.start()
    with pytest.raises(Problem) as refused:
        site.claim(wait=0)
    assert refused.value.status == 503
    rounds.restart("--original-is-gone")
    assert site.claim()


def test_what_is_refused(rounds, tmp_path):
    backup = tmp_path / "backup"
    done = server("backup", backup, "--data-dir", rounds.data)
    assert str(backup) in done.stdout and json.loads((backup / "backup.json").read_text())["blobs"] == 0
    assert "not empty" in server("backup", backup, "--data-dir", rounds.data, check=False).stderr
    assert "not empty" in server("restore", backup, "--data-dir", rounds.data, check=False).stderr
    (backup / "backup.json").unlink()
    half = server("restore", backup, "--data-dir", tmp_path / "new", check=False)
    assert half.returncode != 0 and "no whole backup" in half.stderr and not (tmp_path / "new").exists()
    assert server("backup", check=False).returncode == 2
    digest = rounds.api.upload(b"good bytes")
    (rounds.data / "blobs" / digest[7:9] / digest[9:]).write_bytes(b"bad! bytes")
    damaged = server("backup", tmp_path / "other", "--data-dir", rounds.data, check=False)
    assert damaged.returncode != 0 and digest in damaged.stderr and not (tmp_path / "other/backup.json").exists()
