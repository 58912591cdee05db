"""Drives the real programs: one server, any number of sites, on loopback and free ports, in a temporary directory."""
import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import requests

from harness.weights import digest_of

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ROUNDS_BUILD", TOP / "build")).resolve()  # tests change directories
SANITIZED = "ROUNDS_SANITIZE:STRING=\n" not in (BUILD / "CMakeCache.txt").read_text()  # ten times as slow
MEMORY_COUNTS = not SANITIZED  # a sanitizer's allocator keeps what is freed
DATA = TOP / "tests/data"
EXECUTOR = [sys.executable, str(TOP / "tests/executors/puppet.py")]
HOSPITALS = ["hospital-a", "hospital-b", "hospital-c", "hospital-d"]
WDBC = {"label": "diagnosis", "classes": ["benign", "malignant"]}


def wdbc_table(name):
    """The features and the labels (0 or 1) of one of the data's files."""
    with open(DATA / f"wdbc/{name}.csv") as file:
        rows = list(csv.DictReader(file))
    features = [column for column in rows[0] if column != WDBC["label"]]
    return (np.array([[float(row[column]) for column in features] for row in rows]),
            np.array([WDBC["classes"].index(row[WDBC["label"]]) for row in rows], float))


def wait_until(condition, seconds=30, what="a condition", pause=0.02):
    """Returns the first true value of condition(), or fails."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s for {what}")


def runs(pid):
    """Whether a process still runs: one that is dead and waits for its parent to notice does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Process:
    """A program with its log in a file."""

    def __init__(self, command, log, env=None):
        self.log = pathlib.Path(log)
        self.file = open(log, "ab")
        self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.file, stderr=self.file,
                                      env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def stop(self, seconds=20):
        """SIGTERM; returns the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        finally:
            self.popen.kill()

    def close(self):
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        self.file.close()

    def text(self):
        return self.log.read_text(errors="replace")

    def own_memory(self):
        """Bytes of its own: anonymous memory, without the page cache's."""
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")

    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Problem(Exception):
    def __init__(self, response):
        self.status = response.status_code
        self.body = response.json()
        super().__init__(f"{self.status}: {self.body}")

    @property
    def kind(self):
        return self.body["type"].rsplit("/", 1)[1]


class Api:
    """The REST API, as a person with a token or as a site with its certificate."""

    def __init__(self, url, ca, token=None, cert=None):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy, no other authorities
        self.session.verify = str(ca)
        self.session.cert = cert
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def raw(self, method, path, **options):
        return self.session.request(method, self.url + path, timeout=options.pop("timeout", 90), **options)

    def call(self, method, path, **options):
        response = self.raw(method, "/api/v1" + path, **options)
        if response.status_code >= 400:
            raise Problem(response)
        return response.json() if response.content else None

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, json=body if body is not None else {}, **options)

    def upload(self, data, task=None):
        """A blob by one tus request (small) or two; returns its digest."""
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data))}
        if task:
            headers["Rounds-Task"] = task
        created = self.raw("POST", "/api/v1/uploads", headers=headers)
        assert created.status_code == 201, created.text
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        sent = self.raw("PATCH", created.headers["Location"], headers=headers, data=data)
        assert sent.status_code == 204, sent.text
        return digest_of(data)

    def download(self, digest):
        response = self.raw("GET", f"/api/v1/blobs/{digest}")
        if response.status_code >= 400:
            raise Problem(response)
        return response.content


class SiteClient(Api):
    """A site in any language: this one is Python. Its certificate comes from a real `rounds-site join`."""

    executors = ["puppet", "trainer"]

    def __init__(self, deployment, name, datasets=("none", "wdbc")):
        state = deployment.join(name)
        super().__init__(deployment.url, state / "ca.pem", cert=(str(state / "site.pem"), str(state / "site.key")))
        self.name = name
        self.facts = {"protocol": 1, "version": "test", "slots": 1, "datasets": list(datasets),
                      "executors": self.executors, "holding": []}

    def claim(self, wait=20, **changes):
        return self.post(f"/tasks/claim?wait={wait}", {**self.facts, **changes})["task"]

    def result(self, task, update=None, weight=1, metrics=None):
        body = {"weight": weight, "metrics": metrics or {}}
        if update:
            body["update"] = update
        return self.post(f"/tasks/{task['id']}/result", body)


class Site(Process):
    """The real daemon."""

    def __init__(self, deployment, name, config, env=None, prefix=(), build=BUILD):
        self.name = name
        self.deployment = deployment
        self.config = config
        self.state = pathlib.Path(config["state_dir"])
        path = deployment.home / f"{name}.json"
        path.write_text(json.dumps(config))
        super().__init__([*prefix, build / "client/rounds-site", "--config", path], deployment.home / f"{name}.log", env)

    def again(self, **changes):
        """The same site, started anew."""
        self.close()
        return self.deployment.start_site(self.name, **{**self.config, **changes})


class Deployment:
    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.data = self.home / "server"
        self.processes = []
        self.server = None
        self.url = None
        self.port = 0
        self.host = "127.0.0.1"  # where the server listens
        self.environment = {"ROUNDS_HOME": str(self.home / "operator")}

    def init(self):
        done = subprocess.run([BUILD / "server/rounds-server", "init", "--data-dir", self.data, *self.hosts()],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.token = (self.data / "admin.token").read_text()
        self.fingerprint = "sha256:" + done.stdout.split("sha256:")[1].split()[0]

    def hosts(self):
        return [] if self.host == "127.0.0.1" else ["--hosts", self.host]

    def start(self, *options, env=None, wait=True, prefix=()):
        """Starts the server; the port stays the same from one start to the next."""
        if not (self.data / "ca.key").exists():
            self.init()
        port_file = self.home / "port"
        port_file.unlink(missing_ok=True)
        self.server = Process([*prefix, BUILD / "server/rounds-server", "--data-dir", self.data, "--address", self.host,
                               "--port", str(self.port), "--port-file", port_file, *self.hosts(), *options],
                              self.home / "server.log", env)
        self.processes.append(self.server)
        if wait:
            wait_until(lambda: port_file.exists() or not self.server.alive(), what="the server")
            assert self.server.alive(), self.server.text()
            self.port = int(port_file.read_text())
            self.url = f"https://{'localhost' if self.host == '127.0.0.1' else self.host}:{self.port}"
            self.api = Api(self.url, self.data / "ca.pem", self.token)
        return self.server

    def restart(self, *options, env=None):
        assert self.server.stop() == 0, self.server.text()
        return self.start(*options, env=env)

    def join(self, name, url=None, replace=False):
        """A key and a certificate by the real `rounds-site join`; returns the state directory."""
        state = self.home / name
        if (state / "site.pem").exists():
            return state
        invitation = self.api.post("/invitations", {"site": name, **({"replace": True} if replace else {})})["invitation"]
        done = subprocess.run([BUILD / "client/rounds-site", "join", url or self.url, "--state-dir", state],
                              input=invitation, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return state

    def start_site(self, name, env=None, url=None, prefix=(), build=BUILD, **settings):
        """The real daemon. By default it offers the puppet executor, and wdbc where there is data of its name.

        `prefix` is a command that runs it, such as `ip netns exec NAME`; `build` may be that of an older release.
        """
        self.join(name)
        table = DATA / f"wdbc/{name}.csv"
        config = {
            "state_dir": str(self.home / name),
            "server": url or self.url,
            "executors": {"puppet": {"command": EXECUTOR}},
            "datasets": {"none": {"path": str(DATA / "wdbc/test.csv")},
                         "wdbc": {"path": str(table if table.exists() else DATA / "wdbc/test.csv"), **WDBC}},
            **settings,
        }
        site = Site(self, name, config, env, prefix, build)
        self.processes.append(site)
        return site

    def submit(self, **spec):
        """A job of puppets unless the test says otherwise; returns its id."""
        spec = {"name": "test", "dataset": "none", "executor": "puppet", **spec}
        return self.api.post("/jobs", spec)["id"]

    def job(self, job):
        return self.api.get(f"/jobs/{job}")

    def tasks(self, job, **query):
        return self.api.get(f"/jobs/{job}/tasks", params=query)["items"]

    def events(self, job):
        return self.api.get(f"/jobs/{job}/events?limit=1000")["items"]

    def wait_for(self, job, *states, seconds=60):
        """Waits until the job is in one of the states; another final state fails at once."""
        def there():
            row = self.job(job)
            if row["state"] in states:
                return row
            assert row["state"] not in ("completed", "failed", "aborted"), row
            return None
        return wait_until(there, seconds, f"job {states}", pause=0.05)

    def fails_in_private(self, job, words, kind=None):
        """The job fails; the program's words are in its site's log, where the reason's reference finds them, and only there."""
        row = self.wait_for(job, "failed")
        ref = re.search("the site's log: ([0-9a-f]{8})", row["reason"])
        assert ref and words not in row["reason"], row["reason"]
        lines = [line for site in self.processes if isinstance(site, Site) for line in site.text().splitlines() if ref[1] in line]
        assert words in "\n".join(lines).replace('\\"', '"'), lines
        assert kind is None or any(f"kind={kind} " in line for line in lines), lines
        for text in (row["reason"], json.dumps(self.events(job)), json.dumps(self.tasks(job))):
            assert words not in text, text
        return row

    def wait_until_round(self, job, number, seconds=60):
        def there():
            row = self.job(job)
            assert row["state"] in ("queued", "running"), row
            return row["round"] >= number
        wait_until(there, seconds, f"round {number}")

    def rounds_verify(self, job):
        """The report of a proof of the job's lineage."""
        made = self.api.post(f"/jobs/{job}/verifications")
        return wait_until(lambda: self.api.get(f"/jobs/{job}/verifications/{made['id']}")["report"], what="the proof")

    def connected(self, *names):
        wait_until(lambda: {s["name"] for s in self.api.get("/sites")["items"] if s["connected"]} >= set(names),
                   what=f"{names} to connect")

    def rounds(self, *words, stdin=None, check=True):
        """The operators' command."""
        done = subprocess.run([BUILD / "client/rounds", *map(str, words)], input=stdin, capture_output=True, text=True,
                              env={**os.environ, **self.environment}, timeout=120)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def login(self):
        self.rounds("login", self.url, "--ca-fingerprint", self.fingerprint, stdin=self.token)

    def close(self):
        for process in reversed(self.processes):
            process.close()
        for process in self.processes:
            text = process.text()
            for sign in ("ERROR: AddressSanitizer", "LeakSanitizer", "runtime error:", "ThreadSanitizer"):
                assert sign not in text, text[text.index(sign) - 200:][:5000]
