"""What the dashboard is fed with: Server-Sent Events, columns for plots, summaries of tensors."""
import json
import re
import threading
import time

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import EXECUTOR, TOP, Problem, SiteClient, wait_until


class Stream(threading.Thread):
    """Reads a stream of Server-Sent Events until it is closed: (event, id, data) in order."""

    def __init__(self, api, path="/api/v1/events", last=None):
        super().__init__(daemon=True)
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": str(last)} if last is not None else {})}
        self.response = api.raw("GET", path, headers=headers, stream=True)
        assert self.response.headers["Content-Type"] == "text/event-stream"
        self.messages, self.ended = [], False
        self.start()
        wait_until(lambda: self.messages, what="hello")

    def run(self):
        kind = number = None
        try:
            for line in self.response.iter_lines(chunk_size=1, decode_unicode=True):
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    number = int(value)
                elif name == "data":
                    self.messages.append((kind, number, json.loads(value)))
                elif not line:
                    kind = number = None
        except Exception:
            pass
        self.ended = True

    def of(self, kind):
        return [data for what, _, data in self.messages if what == kind]

    def close(self):
        self.response.raw.shutdown()  # wakes the reader, which would hold what close() needs until the next word comes
        self.join()
        self.response.close()


def test_a_job_is_seen_live_and_nothing_is_missed_after_a_break(rounds):
    first = Stream(rounds.api)
    assert first.messages[0][0] == "hello"
    rounds.start_site("a")
    wait_until(lambda: {"name": "a", "connected": True} in first.of("site"), what="the site")
    job = rounds.submit(params={"rounds": 6}, trainer={"seconds": 0.3})
    wait_until(lambda: any(e["kind"] == "aggregated" for e in first.of("event")), what="a round")
    assert any(t["state"] == "leased" for j in first.of("job") for t in j["tasks"])
    first.close()
    seen = max(number for _, number, _ in first.messages if number)
    rounds.restart()
    second = Stream(rounds.api, last=seen)
    rounds.wait_for(job, "completed")
    wait_until(lambda: any(j["state"] == "completed" for j in second.of("job")), what="the end")
    assert rounds.events(job)[-1]["id"] == second.of("event")[-1]["id"]
    told = [e["id"] for s in (first, second) for e in s.of("event") if e["job"] == job]
    assert told == [e["id"] for e in rounds.events(job)], "each once, in order"
    second.close()


def test_one_jobs_stream_has_nothing_of_others(rounds):
    rounds.start_site("a")
    mine = rounds.submit(params={"rounds": 2})
    stream = Stream(rounds.api, f"/api/v1/jobs/{mine}/events", last=0)
    other = rounds.submit(params={"rounds": 2})
    rounds.wait_for(other, "completed")
    wait_until(lambda: any(e["kind"] == "completed" for e in stream.of("event")), what="the end")
    time.sleep(0.5)
    assert {e["job"] for e in stream.of("event")} == {mine} and {j["id"] for j in stream.of("job")} <= {mine}
    stream.close()
    with pytest.raises(Problem) as problem:
        rounds.api.get("/jobs/nothing/events", headers={"Accept": "text/event-stream"})
    assert problem.value.status == 404


def test_a_stream_ends_when_a_right_is_taken_away(rounds):
    token = rounds.api.post("/tokens", {"name": "eve", "role": "viewer"})
    eve = type(rounds.api)(rounds.url, rounds.data / "ca.pem", token["token"])
    stream = Stream(eve)
    rounds.api.call("DELETE", f"/tokens/{token['id']}")
    wait_until(lambda: stream.ended, seconds=10, what="the end of the stream, though nothing happens")
    with pytest.raises(Problem) as problem:
        eve.get("/events", headers={"Accept": "text/event-stream"})
    assert problem.value.status == 401


def test_a_stop_ends_streams(rounds):
    streams = [Stream(rounds.api) for _ in range(20)]
    assert "\nrounds_live_watchers 20\n" in rounds.api.raw("GET", "/metrics").text
    began = time.monotonic()
    assert rounds.server.stop() == 0
    assert time.monotonic() - began < 5
    wait_until(lambda: all(s.ended for s in streams), what="the ends")


def test_the_newest_events_of_all_jobs(rounds):
    rounds.start_site("a")
    for _ in range(3):
        rounds.wait_for(rounds.submit(params={"rounds": 2}), "completed")
    page = rounds.api.get("/events?limit=5")
    ids = [e["id"] for e in page["items"]]
    assert ids == sorted(ids, reverse=True) and len(ids) == 5 and page["items"][0]["kind"] == "completed"
    assert page["items"][0]["job_name"] == "test"
    older = rounds.api.get(f"/events?limit=5&cursor={page['next']}")["items"]
    assert older[0]["id"] < ids[-1]


def test_columns_say_what_rows_say(rounds):
    for name in ("a", "b"):
        rounds.start_site(name)
    rounds.connected("a", "b")
    job = rounds.submit(params={"rounds": 3}, min_sites=2, trainer={"seconds": 0.2})
    rounds.wait_for(job, "completed")
    timeline = rounds.api.get(f"/jobs/{job}/timeline")
    assert timeline["sites"] == ["a", "b"]
    tasks = {(t["round"], t["kind"], t["site"]): t for t in rounds.tasks(job)}
    assert len(timeline["tasks"]) == len(tasks)
    for number, site, kind, state, issued, leased, finished, download, train, upload, attempts, weight in timeline["tasks"]:
        task = tasks[(number, kind, timeline["sites"][site])]
        assert state == task["state"] == "done" and attempts == task["attempts"] and weight == task["weight"]
        assert 0 <= issued <= leased <= finished
        assert download + train + upload <= finished - leased + 50
        if kind == "train":
            assert train >= 190 and task["timings"]["train"] == pytest.approx(train / 1000, abs=1e-3)
            assert task["timings"]["uploaded"] > 0
    assert [r[0] for r in timeline["rounds"]] == [r["number"] for r in rounds.api.get(f"/jobs/{job}/rounds")["items"]]
    assert {t[0] for t in rounds.api.get(f"/jobs/{job}/timeline?from=2")["tasks"]} == {2, 3}

    rows = rounds.api.get(f"/jobs/{job}/metrics")["items"]
    curves = rounds.api.get(f"/jobs/{job}/curves")
    points = {(s["name"], s["site"], r): v for s in curves["series"] for r, v in zip(s["rounds"], s["values"])}
    assert points == {(m["name"], m["site"], m["round"]): pytest.approx(m["value"]) for m in rows}
    assert curves["names"] == sorted({m["name"] for m in rows})
    site = rounds.api.get("/sites/a")
    assert site["sent_bytes"] > 0 and site["received_bytes"] > 0 and 0 < site["rtt_seconds"] < 1


def test_a_tensors_summary_is_numpys(rounds):
    generator = np.random.default_rng(7)
    tensors = {"normal": generator.normal(3, 2, (300, 50)).astype(np.float32), "constant": np.full(10, 2.5),
               "whole": generator.integers(-5, 5, 1000), "empty": np.zeros((0, 3), np.float32),
               "odd": np.array([1, np.inf, np.nan, 3], np.float32)}
    digest = rounds.api.upload(safetensors.numpy.save(tensors))
    told = {t["name"]: t["summary"] for t in rounds.api.get(f"/blobs/{digest}/tensors?histogram=20")["items"]}
    for name, values in tensors.items():
        finite = values[np.isfinite(values)].astype(np.float64)
        assert told[name]["count"] == values.size and told[name]["not_finite"] == values.size - finite.size
        if not finite.size:
            assert told[name]["min"] is None and told[name]["mean"] is None
            continue
        assert told[name]["min"] == finite.min() and told[name]["max"] == finite.max()
        assert told[name]["mean"] == pytest.approx(finite.mean()) and told[name]["sd"] == pytest.approx(finite.std(), abs=1e-12)
        if finite.min() < finite.max():
            expected = np.histogram(finite, 20)[0]
            assert np.abs(np.array(told[name]["histogram"]) - expected).sum() <= 2  # an edge rounds either way
    large = {"large": generator.normal(0, 1, 5_000_000).astype(np.float32)}
    summary = rounds.api.get(f"/blobs/{rounds.api.upload(safetensors.numpy.save(large))}/tensors?histogram=10")["items"][0]["summary"]
    assert 2 ** 20 - 4096 < summary["looked_at"] <= 2 ** 20 and summary["sd"] == pytest.approx(1, abs=0.01)
    for bad in ("0", "101", "x"):
        with pytest.raises(Problem) as problem:
            rounds.api.get(f"/blobs/{digest}/tensors?histogram={bad}")
        assert problem.value.status == 400


def test_jobs_in_any_order_page_by_page(rounds):
    names = ["delta", "alpha", "charlie", "bravo", "alpha"]
    ids = [rounds.submit(name=n, priority=i % 2) for i, n in enumerate(names)]

    def walk(sort):
        found, cursor = [], ""
        while True:
            page = rounds.api.get(f"/jobs?limit=2&sort={sort}{cursor}")
            found += page["items"]
            if not page["next"]:
                return found
            cursor = f"&cursor={page['next']}"
    assert [j["name"] for j in walk("name")] == sorted(names)
    assert [j["name"] for j in walk("-name")] == sorted(names, reverse=True)
    assert [j["id"] for j in walk("created")] == ids and [j["id"] for j in walk("-created")] == ids[::-1]
    assert [j["priority"] for j in walk("-priority")] == [1, 1, 0, 0, 0]
    assert len({j["id"] for j in walk("state")}) == 5
    with pytest.raises(Problem) as problem:
        rounds.api.get("/jobs?sort=secret")
    assert problem.value.body["field"] == "sort"


def test_a_site_that_drains_takes_no_new_job(rounds):
    rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    # What runs goes on, with the site that drains.
    running = rounds.submit(params={"rounds": 6, "failure_policy": "fail"}, min_sites=2, trainer={"seconds": 0.5})
    rounds.wait_until_round(running, 1)
    assert rounds.api.call("PATCH", "/sites/a", json={"state": "draining"})["state"] == "draining"
    rounds.wait_for(running, "completed")
    assert {t["site"] for t in rounds.tasks(running, round=6)} == {"a", "b"}
    assert all(t["state"] == "done" for t in rounds.tasks(running))
    job = rounds.submit(params={"rounds": 2})
    rounds.wait_for(job, "completed")
    assert {t["site"] for t in rounds.tasks(job)} == {"b"}
    rounds.api.call("PATCH", "/sites/a", json={"state": "active"})
    job = rounds.submit(params={"rounds": 2}, min_sites=2)
    rounds.wait_for(job, "completed")
    with pytest.raises(Problem) as problem:
        rounds.api.call("PATCH", "/sites/a", json={"state": "removed"})
    assert problem.value.body["field"] == "state"
    rounds.api.call("DELETE", "/sites/a")
    with pytest.raises(Problem) as problem:
        rounds.api.call("PATCH", "/sites/a", json={"state": "active"})
    assert problem.value.status == 409


def test_a_trace_goes_from_who_submits_to_the_trainer(rounds):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    site = SiteClient(rounds, "a")
    spec = {"name": "t", "dataset": "none", "executor": "puppet"}
    job = rounds.api.call("POST", "/jobs", json=spec, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert rounds.job(job["id"])["trace"] == trace
    task = site.claim()
    assert task["traceparent"] == f"00-{trace}-{task['id'].replace('-', '')[-16:]}-01"
    for bad in ("00-xyz", "", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{trace}-00f067aa0ba902b7-01", f"00-{trace}-{'0' * 16}-01"):
        job = rounds.api.call("POST", "/jobs", json=spec, headers={"traceparent": bad})
        assert rounds.job(job["id"])["trace"] == job["id"].replace("-", "")


def test_traces_and_csv_say_what_the_server_says(rounds, tmp_path):
    import csv
    rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    rounds.login()
    job = rounds.submit(name="=1+1", params={"rounds": 3}, min_sites=2, trainer={"seconds": 0.1})
    rounds.wait_for(job, "completed")
    trace = json.loads(rounds.rounds("job", "trace", job).stdout)
    lines = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"}
    assert lines == {0: "server", 1: "a", 2: "b"}
    slices = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    trained = [e for e in slices if e["name"] == "train"]
    assert len(trained) == 6 and all(e["dur"] >= 90e3 for e in trained)
    assert len([e for e in slices if e["name"] == "aggregating" and e["tid"] == 0]) == 3
    rounds.rounds("job", "trace", job, "--to", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == trace
    rounds.rounds("job", "export", job, "--csv", tmp_path / "out")
    rows = {name: list(csv.DictReader(open(tmp_path / f"out/{name}.csv", newline=""))) for name in ("metrics", "rounds", "tasks")}
    told = rounds.api.get(f"/jobs/{job}/metrics")["items"]
    assert sorted((int(r["round"]), r["site"], r["name"], float(r["value"])) for r in rows["metrics"]) == sorted(
        (m["round"], m["site"], m["name"], m["value"]) for m in told)
    assert len(rows["tasks"]) == len(rounds.tasks(job)) and rows["rounds"][-1]["model"] == rounds.job(job)["model"]
    assert "--tensorboard" in rounds.rounds("job", "export", job, check=False).stderr
    for words in (["export", job, "--csv", tmp_path / "out", "--experiment", "x"], ["download", job, "--round", "1", "--best"]):
        done = rounds.rounds("job", *words, check=False)
        assert done.returncode == 2 and "does nothing with" in done.stderr, "a flag without an effect is a mistake"


def test_event_files_are_whole_records(rounds, tmp_path):
    """That TensorBoard itself opens them is shown in the long run."""
    import struct
    rounds.start_site("a")
    rounds.connected("a")
    rounds.login()
    job = rounds.submit(name="../x", params={"rounds": 3})
    rounds.wait_for(job, "completed")
    rounds.rounds("job", "export", job, "--tensorboard", tmp_path / "out")
    # A viewer may look, at all but the weights.
    viewer = rounds.api.post("/tokens", {"name": "v", "role": "viewer"})["token"]
    rounds.rounds("login", rounds.url, "--context", "viewer", "--ca-fingerprint", rounds.fingerprint, stdin=viewer)
    rounds.rounds("job", "export", job, "--tensorboard", tmp_path / "seen", "--context", "viewer")
    whole, seen = (next((tmp_path / folder).rglob(f"*-{job[-6:]}/events*")).read_bytes() for folder in ("out", "seen"))
    assert b"value" in seen and len(seen) < len(whole)
    files = sorted((tmp_path / "out").rglob("events.out.tfevents.*"))
    assert [str(f.parent.relative_to(tmp_path)) for f in files] == [f"out/_._x-{job[-6:]}", f"out/_._x-{job[-6:]}/sites/a"]
    for file in files:
        left, records = file.read_bytes(), []
        while left:
            length, _ = struct.unpack_from("<QI", left)
            records.append(left[12:12 + length])
            assert len(records[-1]) == length and len(left) >= 16 + length
            left = left[16 + length:]
        assert b"brain.Event:2" in records[0]
        values = [v for v in rounds.api.get(f"/jobs/{job}/metrics?site={'' if file is files[0] else 'a'}")["items"]]
        for item in values:
            wanted = item["name"].encode() + b"\x15" + struct.pack("<f", item["value"])
            assert any(wanted in record for record in records), item
    assert not any(b"_hparams_" in record for record in records)  # only the whole has settings


def test_an_export_sends_its_credentials_and_tells_a_refusal(rounds):
    """As MLflow's clients do, from the environment; the words of the other server are told, no secret is."""
    import http.server
    seen = []

    class Refuser(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers["Authorization"])
            body = b'{"error_code": "PERMISSION_DENIED", "message": "not for you"}'
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuser)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rounds.login()
    job = rounds.submit()
    for credentials in ({"MLFLOW_TRACKING_TOKEN": "t0ken"}, {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "s3cret"}):
        before = dict(rounds.environment)
        rounds.environment.update(credentials)
        done = rounds.rounds("job", "export", job, "--mlflow", f"http://127.0.0.1:{server.server_port}", check=False)
        rounds.environment = before
        assert done.returncode == 1 and "not for you" in done.stderr and "s3cret" not in done.stderr
    assert seen == ["Bearer t0ken", "Basic bWU6czNjcmV0"]
    server.shutdown()
    server.server_close()


def test_log_lines_go_only_where_the_site_lets_them(rounds, tmp_path):
    """A site's administrator decides whether the server hears what executors say; the amount is bounded."""
    puppet = {"command": EXECUTOR}
    rounds.start_site("open", executors={"puppet": {**puppet, "share_log": True}})
    rounds.start_site("shut", executors={"puppet": puppet})
    rounds.connected("open", "shut")
    lines = ["epoch 1 <script>", "ä" * 400, "line\nbreak", ""]
    job = rounds.submit(params={"rounds": 2}, min_sites=2, trainer={"says": lines})
    rounds.wait_for(job, "completed")
    logs = [e for e in rounds.events(job) if e["kind"] == "log"]
    assert {e["site"] for e in logs} == {"open"} and {e["round"] for e in logs} == {1, 2}
    assert [e["message"] for e in logs if e["round"] == 1][:4] == [lines[0], "ä" * 250, lines[2], ""]
    assert not [e for e in rounds.api.get("/events")["items"] if e["kind"] == "log"], "routine is not activity"
    assert "epoch 1" in next(p for p in rounds.processes if getattr(p, "name", "") == "shut").text()
    # A failure's last lines come, too; of too many the last hundred.
    job = rounds.submit(sites=["open"], max_attempts=1, trainer={"says": [f"line {i}" for i in range(150)], "do": "crash"})
    rounds.wait_for(job, "failed")
    assert [e["message"] for e in rounds.events(job) if e["kind"] == "log"] == [f"line {i}" for i in range(50, 150)]
    # What a site could send by itself.
    site = SiteClient(rounds, "own")
    job = rounds.submit(sites=["own"])
    task = site.claim()
    for bad in ("x", [1], ["x" * 1001], ["a\u0000b"], ["x"] * 101, {"a": "b"}):
        site.post(f"/tasks/{task['id']}/heartbeat", {"log": bad})
    assert [e["message"] for e in every_event(rounds, job) if e["kind"] == "log"] == ["x" * 1000, *["x"] * 100]
    for _ in range(12):
        site.post(f"/tasks/{task['id']}/heartbeat", {"log": ["again"] * 100})
    kept = [e["message"] for e in every_event(rounds, job) if e["kind"] == "log"]
    assert len(kept) == 1000 and "not kept" in kept[-1]


def every_event(rounds, job):
    cursor, events = 0, []
    while page := rounds.api.get(f"/jobs/{job}/events?limit=1000&cursor={cursor}")["items"]:
        events += page
        cursor = page[-1]["id"]
    return events


def version_1():
    """A database as the first release made it."""
    import sqlite3
    text = (TOP / "server/store/migrations.c").read_text()
    first = text[text.index("/* 1 */"):text.index("/* 2")]
    db = sqlite3.connect(":memory:")
    db.executescript("".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', re.sub(r"/\*.*?\*/", "", first, flags=re.S))))
    return db


def schema_of(db):
    tables = [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]
    indexes = [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")]
    return {table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")] for table in tables}, indexes


def test_a_data_directory_of_version_1_goes_on(rounds):
    """What later migrations brought is taken out again, and what they dropped put back: the server does it again, and the job's
    history is as it was."""
    import sqlite3
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 3})
    rounds.wait_for(job, "completed")

    def history():  # what was thought of a job when it was submitted is later than version 1
        row = {name: value for name, value in rounds.job(job).items() if name not in ("min_sites_effective", "warnings")}
        return row, rounds.api.get(f"/jobs/{job}/rounds"), rounds.api.get(f"/jobs/{job}/metrics")
    before = history()
    assert rounds.server.stop() == 0
    db = sqlite3.connect(rounds.data / "rounds.db")
    (old, old_indexes), (new, new_indexes) = schema_of(version_1()), schema_of(db)
    later = [f"DROP INDEX {index}" for index in new_indexes if index not in old_indexes]
    later += [f"DROP TABLE {table}" for table in ("session", *new) if table in new and table not in old]
    later += [f"ALTER TABLE {table} DROP COLUMN {column}" for table in old for column in new[table] if column not in old[table]]
    dropped = {(table, column) for table in old for column in old[table] if column not in new[table]}
    assert dropped == {("job", "progress"), ("task", "model"), ("task", "control"), ("task", "update_digest")}
    db.executescript("""ALTER TABLE job ADD COLUMN progress TEXT NOT NULL DEFAULT '{}';
        ALTER TABLE task ADD COLUMN model TEXT; ALTER TABLE task ADD COLUMN control TEXT; ALTER TABLE task ADD COLUMN update_digest TEXT;
        UPDATE task SET model = json_extract(files, '$.model.digest'), control = json_extract(files, '$.control.digest'),
            update_digest = json_extract(result_files, '$.update.digest')""")
    db.executescript("; ".join(dict.fromkeys(later)) + "; PRAGMA user_version = 1;")
    db.close()
    rounds.start()
    assert before == history()
    rounds.wait_for(rounds.submit(params={"rounds": 3}), "completed")
    assert rounds.api.post("/users", {"name": "ann", "role": "admin"})["setup_link"]
