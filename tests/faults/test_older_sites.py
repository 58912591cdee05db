"""GUARANTEES row 25, and hospitals that have not updated: old data directories go on, older sites are served in their own words."""
import json
import os
import pathlib
import shutil
import sqlite3
import tarfile

import pytest

from harness.deployment import DATA, Problem, SiteClient, wait_until
from harness.older import OlderSite, work_until

# A build of the first release (ROUNDS_OLDER_BUILD): its real daemon is tried where there is one.
OLDER_BUILD = os.environ.get("ROUNDS_OLDER_BUILD")
TABLES = {"none": {"columns": ["age", "Größe"], "rows": 120}, "wdbc": {}}


@pytest.fixture
def older(stopped):
    """A new server on the data directory that the first release left, with a token of today; and what is expected of it."""
    stopped.init()
    with tarfile.open(DATA / "older/first.tar.gz") as archive:
        archive.extractall(stopped.home / "older")
    left = stopped.home / "older"
    database = sqlite3.connect(left / "rounds.db")
    database.execute("ATTACH ? AS today", [str(stopped.data / "rounds.db")])
    database.execute("INSERT INTO token(id, name, role, hash, created_us)"
                     " SELECT id, name, role, hash, created_us FROM today.token")
    database.commit()
    database.close()
    for path in stopped.data.glob("rounds.db*"):
        path.unlink()
    shutil.copytree(left, stopped.data, dirs_exist_ok=True)
    stopped.start()
    return stopped, json.loads((left / "expected.json").read_text())


def test_a_data_directory_of_the_first_release_goes_on_to_the_same_bits(older):
    rounds, expected = older
    states = {name: rounds.job(entry["job"])["state"] for name, entry in expected.items()}
    assert states == {"over": "completed", "paused": "paused", "midway": "running"}
    delivered = {name: [t["site"] for t in rounds.tasks(entry["job"], round=2) if t["state"] == "done"]
                 for name, entry in expected.items()}
    assert delivered == {"over": ["a", "b"], "paused": ["a"], "midway": ["a"]}, "what was delivered is there"
    for name in "ab":
        rounds.join(name, replace=True)
    sites = [OlderSite(rounds, name) for name in "ab"]
    for site in sites:
        site.facts["slots"] = 2
    rounds.api.post(f"/jobs/{expected['paused']['job']}/resume")
    work_until(sites, lambda: all(rounds.job(entry["job"])["state"] == "completed" for entry in expected.values()))
    for name, entry in expected.items():
        assert rounds.job(entry["job"])["model"] == entry["model"], name
        report = rounds.rounds_verify(entry["job"])
        assert report["good"], (name, report)
        assert [t["attempts"] for t in rounds.tasks(entry["job"], round=2) if t["site"] == "a"] == [1], "nothing was done twice"


def test_both_versions_are_answered_in_their_own_words(rounds):
    a, b = OlderSite(rounds, "a"), SiteClient(rounds, "b")
    b.facts |= {"protocol": 2, "instance": "0190f6a4-0000-4000-8000-000000000001", "tables": TABLES}
    assert a.claim_older(wait=0) is None and b.claim(wait=0) is None
    told = {site["name"]: (site["protocol"], site["tables"]) for site in rounds.api.get("/sites")["items"]}
    assert told == {"a": (1, None), "b": (2, {"none": {"columns": ["age", "Größe"], "rows": 120, "label": None},
                                              "wdbc": {"columns": None, "rows": None, "label": None}})}
    assert rounds.api.get("/sites/b")["tables"] == told["b"][1]
    for changes, field in [({"instance": b.facts["instance"]}, "instance"), ({"tables": {}}, "tables"), ({"x": 1}, "x")]:
        with pytest.raises(Problem) as problem:
            a.claim(wait=0, **changes)
        assert (problem.value.status, problem.value.body["field"]) == (400, field), "no word of a later version"
    assert b.claim(wait=0, tables={"none": {"label": "y"}}) is None
    assert rounds.api.get("/sites/b")["tables"] == {"none": {"columns": None, "rows": None, "label": "y"}}


@pytest.mark.parametrize("changes, field", [
    ({"instance": "x" * 36}, "instance"), ({"instance": 7}, "instance"), ({"tables": []}, "tables"),
    ({"tables": {"elsewhere": {}}}, "tables"), ({"tables": {"none": {"rows": -1}}}, "tables.none.rows"),
    ({"tables": {"none": {"columns": [1]}}}, "tables.none.columns"), ({"tables": {"none": {"path": "/x"}}}, "tables.none.path"),
    ({"tables": {"none": {"columns": ["c" * 70000]}}}, "tables"),
])
def test_what_a_site_may_tell_is_bounded(rounds, changes, field):
    a = SiteClient(rounds, "a")
    with pytest.raises(Problem) as problem:
        a.claim(wait=0, protocol=2, **changes)
    assert (problem.value.status, problem.value.body["field"]) == (400, field), problem.value.body


@pytest.mark.parametrize("version", [0, 3])
def test_a_version_that_is_not_spoken_is_told_which_is(rounds, version):
    with pytest.raises(Problem) as problem:
        SiteClient(rounds, "a").claim(wait=0, protocol=version)
    assert problem.value.status == 426 and "versions 1 to 2" in problem.value.body["detail"]


@pytest.mark.parametrize("build", [OLDER_BUILD] if OLDER_BUILD else [])
def test_the_first_releases_daemon_works_for_a_new_server(rounds, build):
    for name in "ab":
        rounds.start_site(name, build=pathlib.Path(build))
    job = rounds.submit(sites=["a", "b"], params={"rounds": 3}, trainer={"start": 0.0})
    assert rounds.wait_for(job, "completed")["round"] == 3
    assert {site["protocol"] for site in rounds.api.get("/sites")["items"]} == {1}
    assert rounds.rounds_verify(job)["good"]
    wait_until(lambda: all(site["connected"] for site in rounds.api.get("/sites")["items"]))
