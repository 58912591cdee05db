"""A server with a long history: 100,000 finished jobs, 1,000 sites, 2,000 open tasks. How long claims, lists and the overview take.

    PYTHONPATH=tests .venv/bin/python tests/bench/long_history.py [JOBS]     (a minute to fill, half a GB of disk)

One small job is run by a real site; the rest are copies of its rows. Prints of each request, one after the other to an otherwise
idle server, the 50th and the 95th percentile and the server's processor time, in milliseconds.
"""
import json
import os
import pathlib
import shutil
import sqlite3
import sys
import tempfile
import time

import numpy as np

from harness.deployment import Deployment, SiteClient
from harness.weights import save

SITES, OPEN, TURNS = 1000, 2, 100
COPIED = ("job", "round", "task", "event", "metric", "job_progress", "verification")
NUMBERED = "printf('00000000-%04x-7000-8000-%012x', n / 65536, n)"


def columns(database, table, **changed):
    """What to select in order to copy a row: its columns, but for some that are made anew."""
    return ", ".join(changed.get(row[1], f'x."{row[1]}"') for row in database.execute(f"PRAGMA table_info({table})"))


def copy_rows(database, model, count):
    """`count` jobs like one."""
    anew = {"job": {"id": NUMBERED, "name": "'study ' || n", "idempotency_key": "NULL"}, "task": {"id": "x.id || n"},
            "event": {"id": "NULL"}, "verification": {"id": "x.id || n"}}
    database.execute("CREATE TEMP TABLE numbers AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
                     " SELECT n FROM c", [count])
    for table in COPIED:
        key = "id" if table == "job" else "job"
        values = columns(database, table, **{"job": NUMBERED, **anew.get(table, {})})
        database.execute(f"INSERT INTO {table} SELECT {values} FROM numbers CROSS JOIN {table} x WHERE x.{key} = ? ORDER BY n", [model])


def open_work(database, model, number):
    """A running job with an open task at every site."""
    job = f"ffffffff-0000-7000-8000-{number:012x}"
    values = columns(database, "job", id="?2", name="'open ' || ?2", idempotency_key="NULL", state="'running'", finished_us="NULL")
    database.execute(f"INSERT INTO job SELECT {values} FROM job x WHERE id = ?1", [model, job])
    database.execute("INSERT INTO job_site SELECT ?, name FROM site", [job])
    values = columns(database, "task", id="printf('ffffffff-0000-7000-9%03x-%012x', ?3, site.rowid_)", job="?2", site="site.name",
                     state="'pending'", result="NULL", finished_us="NULL", kind="'train'")
    database.execute(f"INSERT INTO task SELECT {values} FROM (SELECT * FROM task WHERE job = ?1 AND kind = 'train' LIMIT 1) x,"
                     " (SELECT name, row_number() OVER () AS rowid_ FROM site) site", [model, job, number])


def fill(path, model, jobs):
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous=OFF")
    values = columns(database, "site", name="printf('hospital-%04d', n)", serial="'serial-' || n")
    copy_rows(database, model, max(jobs, SITES))
    database.execute(f"INSERT INTO site SELECT {values} FROM numbers CROSS JOIN site x WHERE name = 'a' AND n < ?", [SITES])
    for number in range(OPEN):
        open_work(database, model, number)
    database.commit()
    counts = {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("job", "site", "task", "event")}
    database.close()
    return counts


def processor_ms(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def figures(server, act):
    times, before = [], processor_ms(server)
    for _ in range(TURNS):
        begun = time.monotonic()
        act()
        times.append((time.monotonic() - begun) * 1000)
    times.sort()
    return times[TURNS // 2], times[TURNS * 95 // 100], (processor_ms(server) - before) / TURNS


def claim(site):
    """A claim that gets work; what it got goes back."""
    def act():
        task = site.claim(wait=0)
        assert task
        site.post(f"/tasks/{task['id']}/release")
    return act


def measure(rounds, site, job):
    get = rounds.api.get
    listed = get("/jobs?limit=100")
    paths = {"overview: jobs": "/jobs?limit=100", "overview: sites": "/sites", "overview: events": "/events?limit=30",
             "overview: health": "/health", "the next page": f"/jobs?limit=100&cursor={listed['next']}",
             "jobs: failed": "/jobs?limit=100&state=failed", "jobs: running": "/jobs?limit=100&state=running",
             "jobs: completed": "/jobs?limit=100&state=completed", "jobs: by name": "/jobs?limit=100&sort=name",
             "jobs: by finish": "/jobs?limit=100&sort=-finished", "jobs: of a site": "/jobs?limit=100&site=hospital-0007",
             "jobs: by words": "/jobs?limit=8&q=study%2099", "jobs: no such words": "/jobs?limit=8&q=nothing",
             "a job": f"/jobs/{job}", "its tasks": f"/jobs/{job}/tasks", "its events": f"/jobs/{job}/events"}
    acts = {"claim and release": claim(site), **{name: lambda path=path: get(path) for name, path in paths.items()}}
    for name, act in acts.items():
        median, most, processor = figures(rounds.server, act)
        print(f"{name:20} {median:8.1f} {most:8.1f} {processor:8.1f}", flush=True)


def main(jobs=100_000):
    home = pathlib.Path(tempfile.mkdtemp(prefix="rounds-long-history-"))
    rounds = Deployment(home)
    try:
        rounds.start()
        a = SiteClient(rounds, "a")
        a.claim(wait=0)
        model = save({"w": np.zeros(250, np.float32)})
        initial = rounds.api.upload(model)
        job = rounds.submit(sites=["a"], initial_model=initial, params={"rounds": 1})
        for _ in range(2):
            task = a.claim()
            a.result(task, a.upload(model) if task["kind"] == "train" else None, metrics={"auc": 0.5})
        rounds.wait_for(job, "completed")
        assert rounds.server.stop() == 0
        print(json.dumps(fill(rounds.data / "rounds.db", job, jobs)))
        rounds.start()
        a = SiteClient(rounds, "a")
        measure(rounds, a, job)
    finally:
        rounds.close()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
