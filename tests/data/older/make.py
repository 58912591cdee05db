#!/usr/bin/env python3
"""Makes first.tar.gz: a data directory as the first release (database version 3, site protocol 1) left it when it was killed.

    ROUNDS_BUILD=BUILD_OF_THAT_RELEASE python tests/data/older/make.py

Sites a and b (harness/older.py) have a job that is over, one in the middle of a round - a has delivered, b has a lease -
and one that was paused there. The release then finishes a copy: the models that a newer server must come to as well.
Certificates, keys and tokens are left out: some end, none belongs here, and each test makes its own.
"""
import json
import pathlib
import shutil
import sqlite3
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import numpy as np  # noqa: E402

from harness.deployment import Deployment, wait_until  # noqa: E402
from harness.older import OlderSite, work_until  # noqa: E402
from harness.weights import save  # noqa: E402

KEPT = ["rounds.db", "rounds.db-wal", "blobs"]


def half_a_round(sites, job):
    """Round 1 is over; in round 2 a has delivered and b has a lease."""
    for number in (1, 2):
        tasks = [wait_until(site.claim_older) for site in sites]
        assert all((task["job"], task["round"]) == (job, number) for task in tasks)
        if number == 1:
            for site, task in zip(sites, tasks):
                site.do(task)
    of_a, of_b = tasks
    sites[0].do(of_a)
    assert sites[1].beat(of_b)
    sites[1].held.append(of_b["id"])


def main():
    home = pathlib.Path(tempfile.mkdtemp())
    deployment = Deployment(home)
    deployment.start()
    sites = [OlderSite(deployment, name) for name in "ab"]
    for site in sites:
        assert site.claim_older(wait=0) is None
    initial = deployment.api.upload(save({"w": np.linspace(-1, 1, 40, dtype=np.float32)}))
    jobs = {}

    def submit(name, **params):
        jobs[name] = deployment.submit(name=name, sites=["a", "b"], initial_model=initial, params={"rounds": 3, **params})
        return jobs[name]
    over = submit("over")
    work_until(sites, lambda: deployment.job(over)["state"] == "completed")
    half_a_round(sites, submit("paused", aggregator="median"))
    deployment.api.post(f"/jobs/{jobs['paused']}/pause")
    for site in sites:
        site.facts["slots"] = 2
        assert site.claim_older(wait=0) is None
    half_a_round(sites, submit("midway"))
    deployment.server.kill()
    left = home / "left"
    shutil.copytree(deployment.data, left, ignore=lambda folder, names: [
        name for name in names if pathlib.Path(folder) == deployment.data and name not in KEPT])
    database = sqlite3.connect(left / "rounds.db", isolation_level=None)
    for statement in ("DELETE FROM token", "DELETE FROM user", "DELETE FROM invitation", "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM",
                      "PRAGMA wal_checkpoint(TRUNCATE)"):
        database.execute(statement).fetchall()
    database.close()
    sites[1].held.clear()
    deployment.start()
    deployment.api.post(f"/jobs/{jobs['paused']}/resume")
    work_until(sites, lambda: all(deployment.job(job)["state"] == "completed" for job in jobs.values()))
    expected = {name: {"job": job, "model": deployment.job(job)["model"]} for name, job in jobs.items()}
    deployment.close()
    (left / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    with tarfile.open(HERE / "first.tar.gz", "w:gz") as archive:
        for path in sorted(left.iterdir()):
            archive.add(path, path.name)
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
