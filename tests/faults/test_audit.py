"""Evidence that outlives what it speaks of: nothing of the audit log is changed, taken out or cut off without being named."""
import json
import re
import sqlite3
import subprocess
import time

import pytest
import requests

from harness.deployment import BUILD, Api, Problem, SiteClient, wait_until
from harness.weights import save

MINUTE = 60


def entries(rounds, **query):
    items = rounds.api.get("/audit?limit=1000" + "".join(f"&{k}={v}" for k, v in query.items()))["items"]
    return [item["record"] for item in items]


def of(rounds, **query):
    found = entries(rounds, **query)
    assert found, (query, [e["kind"] for e in entries(rounds)])
    return found[0]


def export(rounds, name="export.jsonl"):
    path = rounds.home / name
    path.write_text(rounds.rounds("audit", "export").stdout)
    return path


def verify(rounds, path, *more):
    return subprocess.run([BUILD / "client/rounds", "audit", "verify", path, "--key", rounds.home / "audit.pub", *more],
                          capture_output=True, text=True, env={"HOME": str(rounds.home / "nobody")})


@pytest.fixture
def log(rounds):
    rounds.login()
    (rounds.home / "audit.pub").write_text(rounds.rounds("audit", "key").stdout)
    return rounds


def test_each_change_names_who_what_and_from_where(log):
    assert of(log, kind="server.start")["by"] is None
    assert {e["about"]["kind"] for e in entries(log, kind="server.init")} == {"token", "user"}
    token = log.api.post("/tokens", {"name": "script", "role": "admin"})
    script = Api(log.url, log.data / "ca.pem", token["token"])
    made = of(log, kind="token.create")
    assert made["by"]["name"] == "admin" and made["by"]["credential"].startswith("token:") and made["from"] == "127.0.0.1"
    assert made["about"] == {"kind": "token", "id": token["id"], "name": "script"} and made["outcome"] == "done"

    initial = script.upload(save({}))
    job = script.post("/jobs", {"name": "Knie", "dataset": "none", "executor": "puppet", "initial_model": initial})["id"]
    assert of(log, kind="job.submit", by="script")["about"] == {"kind": "job", "id": job, "name": "Knie"}
    script.call("PATCH", f"/jobs/{job}", json={"priority": 3})
    script.post(f"/jobs/{job}/abort")
    script.download(initial)
    seen = of(log, kind="model.download")
    assert seen["about"]["id"] == initial and seen["uses"][0]["job"] == job
    script.get(f"/blobs/{initial}/tensors")
    script.call("DELETE", f"/jobs/{job}")
    with pytest.raises(Problem):
        log.api.get(f"/jobs/{job}")
    assert {e["kind"] for e in entries(log, about=job)} == {"job.submit", "job.edit", "job.abort", "job.delete"}, \
        "the job is gone, the evidence is not"
    assert entries(log, kind="model.view")

    log.join("clinic")
    assert [e["by"] and e["by"]["name"] for e in entries(log, about="clinic")] == [None, "admin"], "invited, joined"
    log.api.call("DELETE", "/sites/clinic")
    assert of(log, kind="site.remove")["about"]["id"] == "clinic"
    link = log.api.post("/users", {"name": "eve", "role": "viewer"})["setup_link"]
    eve = Api(log.url, log.data / "ca.pem")
    session = eve.post("/session/setup", {"setup": link.rsplit("/", 1)[1], "password": "correct horse battery"})
    assert of(log, kind="session.setup")["about"] == {"kind": "user", "id": "eve", "name": None}
    eve.post("/session", {"name": "eve", "password": "correct horse battery"})
    assert of(log, kind="session.open")["about"]["id"] == "eve"
    eve.raw("DELETE", "/api/v1/session", headers={"Rounds-CSRF": session["csrf"]})
    log.api.call("DELETE", f"/tokens/{token['id']}")

    text = export(log).read_text()
    for secret in (token["token"], log.token, link[-64:], "correct horse", session["csrf"]):
        assert secret not in text
    assert verify(log, export(log)).returncode == 0


def test_every_route_that_changes_something_is_recorded(log):
    routes = json.loads(subprocess.check_output([BUILD / "server/rounds-server", "routes"]))
    reading = {"/api/v1/jobs/check"}
    parts = {("PATCH", "/api/v1/uploads/{upload}")}  # an upload's pieces: its making is recorded
    for route in routes:
        changes = route["method"] in ("POST", "PATCH", "PUT", "DELETE") and route["permission"] != "task.do"
        if changes and route["path"] not in reading and (route["method"], route["path"]) not in parts:
            assert route["record"], route
    names = [route["record"] for route in routes if route["record"]]
    assert len(names) == len(set(names))
    assert {r["record"] for r in routes if "/blobs/" in r["path"]} == {"model.download", "model.view"}


def test_what_a_site_fetches_is_its_tasks_history(log):
    site = SiteClient(log, "a")
    initial = log.api.upload(save({"w": __import__("numpy").zeros(4, dtype="float32")}))
    log.submit(initial_model=initial, params={"rounds": 1})
    task = site.claim()
    site.download(initial)
    site.result(task, update=site.upload(save({"w": __import__("numpy").ones(4, dtype="float32")})))
    assert not entries(log, by="a") and not entries(log, kind="model.")
    with pytest.raises(Problem):
        site.get("/jobs")
    assert [p for p in log.api.get("/audit")["state"]["pending"] if p["by"] == "a" and p["status"] == 403]


def test_refusals_alike_are_one_entry_a_kind_and_minute(log):
    """Guessed passwords, tokens and invitations: a flood of them is a count."""
    nobody = requests.Session()
    nobody.verify, nobody.trust_env = str(log.data / "ca.pem"), False
    for i in range(20):
        nobody.get(log.url + "/api/v1/jobs", headers={"Authorization": f"Bearer rounds_{i}"})
    body = {"invitation": "0" * 64 + "." + "0" * 64, "request": "x"}
    refused = [nobody.post(log.url + "/api/v1/join", json=body).status_code for _ in range(8)]
    assert refused.count(401) == 5 and refused.count(429) == 3
    viewer = Api(log.url, log.data / "ca.pem", log.api.post("/tokens", {"name": "looker"})["token"])
    for _ in range(3):
        with pytest.raises(Problem):
            viewer.get("/users")
    before = log.api.get("/audit")["state"]
    counted = {(p["kind"], p["by"], p["status"]): p["count"] for p in before["pending"]}
    assert counted[("job.read", None, 401)] == 20 and counted[("site.join", None, 401)] == 5
    assert counted[("site.join", None, 429)] == 3 and counted[("account.manage", "looker", 403)] == 3
    assert not entries(log, outcome="refused")
    wait_until(lambda: len(entries(log, outcome="refused")) >= 4, seconds=MINUTE + 20, what="the minute to be over", pause=1)
    written = {(e["kind"], e["by"] and e["by"]["name"], e["status"]): e["count"] for e in entries(log, outcome="refused")}
    assert written == counted
    assert "rounds_7" not in export(log).read_text()


def test_what_was_counted_is_written_when_the_server_stops(log):
    for _ in range(3):
        requests.get(log.url + "/api/v1/jobs", verify=str(log.data / "ca.pem"))
    log.restart()
    assert of(log, kind="job.read")["count"] == 3


def spoil(rounds, sql):
    assert rounds.server.stop() == 0
    db = sqlite3.connect(rounds.data / "rounds.db")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(sql.split(";")[0])
    db.rollback()
    db.executescript("DROP TRIGGER audit_stays; DROP TRIGGER audit_is_as_it_was;" + sql)
    db.close()
    rounds.start()


@pytest.mark.parametrize("sql, place", [
    ("UPDATE audit SET record = replace(record, 'victim', 'nobody') WHERE n = 4", "entry 4 was changed"),
    ("DELETE FROM audit WHERE n = 5", "entry 5 is not there"),
    ("DELETE FROM audit WHERE n > 8", "the end is cut off: entries 9 to|entry 9 is not there")])
def test_the_database_is_changed_behind_the_servers_back(log, sql, place):
    for _ in range(10):
        log.api.post("/tokens", {"name": "victim"})
    spoil(log, sql)
    assert "the audit log is not as it was signed" in log.server.text()
    assert log.api.get("/audit")["state"]["fault"]
    assert "not as it was signed" in log.rounds("audit", "list").stderr
    done = verify(log, export(log, "later.jsonl"))
    assert done.returncode == 6 and re.search(place, done.stderr), done.stderr


def test_an_export_is_changed_and_cut(log):
    for _ in range(10):
        log.api.post("/tokens", {"name": "victim"})
    path = export(log)
    lines = path.read_text().splitlines(keepends=True)
    other = log.home / "other.jsonl"
    for wrong, place in ((lines[:4] + [lines[4].replace("victim", "nobody")] + lines[5:], "entry 4 was changed"),
                         (lines[:6] + lines[7:], "entry 6 is not there"),
                         (lines[:8], "end is cut off: no signed checkpoint stands behind entry 7"),
                         (lines[:-2] + lines[-1:], "end is cut off")):
        other.write_text("".join(wrong))
        done = verify(log, other)
        assert done.returncode == 6 and place in done.stderr, done.stderr
    log.api.post("/tokens", {"name": "one-more"})
    later = export(log, "later.jsonl")
    assert verify(log, later, "--since", path).returncode == 0
    done = verify(log, path, "--since", later)
    assert done.returncode == 6 and "end is cut off" in done.stderr, "an older export in the place of a newer one"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", log.home / "k"], check=True, capture_output=True)
    (log.home / "audit.pub").write_bytes(subprocess.check_output(["openssl", "pkey", "-in", log.home / "k", "-pubout"]))
    done = verify(log, path)
    assert done.returncode == 6 and "not signed with this key" in done.stderr


def test_what_fails_leaves_no_entry_and_what_is_there_was_done(log):
    """An entry and what it speaks of are one transaction: twenty kills later each has its entry and no more."""
    made = 0
    for _ in range(5):
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            log.api.post("/tokens", {"name": "t"})
            made += 1
        log.server.kill()
        log.start()
    there = {t["id"] for t in log.api.get("/tokens")["items"] if t["name"] == "t"}
    assert {e["about"]["id"] for e in entries(log, kind="token.create")} == there and len(there) >= min(made, 1000) - 5
    assert verify(log, export(log)).returncode == 0
