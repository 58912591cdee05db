"""Blobs leave in steps (doomed, unlinked, forgotten) and appear in steps (renamed, entered): a crash after any of them loses nothing.

The steps are a millisecond apart: the states that a kill would leave are made by hand in a stopped server's directory, and the
next start must put them right. That no interleaving loses anything is `unit/server/test_retention.c`.
"""
import contextlib
import sqlite3

import pytest

from harness.deployment import wait_until
from harness.weights import digest_of


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

