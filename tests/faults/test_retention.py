"""Blobs leave in steps (doomed, unlinked, forgotten) and appear in steps (renamed, entered): a crash after any of them loses nothing.

The steps are a millisecond apart: the states that a kill would leave are made by hand in a stopped server's directory, and the
next start must put them right. That no interleaving loses anything is `unit/server/test_retention.c`.
"""
import contextlib
import fcntl
import sqlite3

import numpy as np
import pytest

from harness.deployment import SiteClient, wait_until
from harness.weights import digest_of, save


@contextlib.contextmanager
def database(rounds):
    connection = sqlite3.connect(rounds.data / "rounds.db")
    with connection:
        yield connection
    connection.close()


def file_of(rounds, digest):
    return rounds.data / "blobs" / digest[7:9] / digest[9:]


def row_of(rounds, digest):
    with database(rounds) as db:
        return db.execute("SELECT used, doomed FROM blob WHERE digest = ?", [digest]).fetchone()


def doom(rounds, digest):
    with database(rounds) as db:
        db.execute("UPDATE blob SET doomed = 1 WHERE digest = ?", [digest])


@pytest.mark.parametrize("unlinked", [False, True])
def test_killed_after_dooming_or_after_unlinking(rounds, unlinked):
    digest = rounds.api.upload(b"doomed")
    rounds.server.kill()
    doom(rounds, digest)
    if unlinked:
        file_of(rounds, digest).unlink()
    rounds.start()
    assert rounds.api.raw("GET", f"/api/v1/blobs/{digest}").status_code == 404, "what is doomed is gone for everyone"
    wait_until(lambda: row_of(rounds, digest) is None and not file_of(rounds, digest).exists(), 90, "the sweep")


def test_killed_between_a_blobs_name_and_its_entry(rounds):
    kept = rounds.api.upload(b"kept")
    rounds.server.kill()
    stray = digest_of(b"stray")
    file_of(rounds, stray).parent.mkdir(exist_ok=True)
    file_of(rounds, stray).write_bytes(b"stray")
    rounds.start()
    assert not file_of(rounds, stray).exists() and rounds.api.download(kept) == b"kept"
    assert rounds.api.upload(b"stray") == stray and rounds.api.download(stray) == b"stray"


@pytest.mark.parametrize("unlinked", [False, True])
def test_an_upload_revives_what_is_doomed(rounds, unlinked):
    digest = rounds.api.upload(b"again")
    rounds.server.kill()
    doom(rounds, digest)
    if unlinked:
        file_of(rounds, digest).unlink()
    rounds.start()
    assert rounds.api.upload(b"again") == digest
    assert row_of(rounds, digest) == (0, 0) and rounds.api.download(digest) == b"again"


def test_a_doomed_model_begins_no_job(rounds):
    rounds.start_site("a")
    rounds.connected("a")
    digest = rounds.api.upload(b"model")
    rounds.server.kill()
    doom(rounds, digest)
    rounds.start()
    refused = rounds.api.raw("POST", "/api/v1/jobs", json={"name": "t", "dataset": "none", "executor": "puppet", "initial_model": digest})
    assert refused.status_code in (400, 422) and "initial_model" in refused.text


def finished_job(rounds, marker, model):
    site = SiteClient(rounds, "a")
    site.claim(wait=0)
    job = rounds.submit(sites=["a"], initial_model=rounds.api.upload(model), trainer={"say": marker},
                        params={"rounds": 1, "evaluate_last": False})
    update = site.upload(model[:-1] + b"\1")
    site.result(site.claim(), update, metrics={marker + ".metric": 1})
    rounds.wait_for(job, "completed")
    return job, update


def on_disk(rounds, marker):
    return [path.name for path in rounds.data.rglob("*") if path.is_file() and marker.encode() in path.read_bytes()]


def test_a_deleted_job_is_gone_from_disk_and_log(rounds):
    """Row 54: rows are overwritten, the database's log is emptied, weights unlinked; what remains is named."""
    model = save({"w": np.zeros(5, np.float32)})
    job, update = finished_job(rounds, "marker-of-this-job", model)
    other, shared = finished_job(rounds, "marker-of-another", model)
    assert shared == update and on_disk(rounds, "marker-of-this-job")
    rounds.login()
    said = rounds.rounds("job", "delete", job, "--yes").stdout
    assert "What remains:" in said and "backups" in said and "audit log" in said
    assert not on_disk(rounds, "marker-of-this-job")
    assert rounds.api.download(update), "the other job uses it, too"
    answer = rounds.api.raw("DELETE", f"/api/v1/jobs/{other}").json()
    assert answer["gone"] and len(answer["remains"]) == 3
    assert not on_disk(rounds, "marker-of-another")
    assert not [path for path in (rounds.data / "blobs").glob("*/*")] and not list((rounds.data / "removed").iterdir())


def test_what_a_backup_holds_goes_after_it(rounds):
    job, update = finished_job(rounds, "marker-of-this-job", save({"w": np.zeros(5, np.float32)}))
    with open(rounds.data / "removal.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert rounds.api.raw("DELETE", f"/api/v1/jobs/{job}").json()["gone"] is False
        assert file_of(rounds, update).exists()
    wait_until(lambda: not file_of(rounds, update).exists() and not on_disk(rounds, "marker-of-this-job"), 60, "the next sweep")
