"""GUARANTEES rows 12, 17, 19: the server's disk is full, its clock jumps, certificates near their end."""
import pathlib
import subprocess
import time

import pytest

from harness.deployment import Api, Problem, SiteClient, wait_until
from harness.weights import save

import numpy as np

MB = 1 << 20
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@pytest.fixture
def small_disk(stopped, tmp_path):
    """A server whose data directory is a disk of 24 MB."""
    stopped.data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", stopped.data], check=True)
    stopped.data.chmod(0o700)
    stopped.start()
    yield stopped
    stopped.close()
    subprocess.run(["umount", "-l", stopped.data], check=True)


def fill(deployment, leave):
    """A file that leaves so many bytes free."""
    stat = __import__("os").statvfs(deployment.data)
    ballast = deployment.data / "ballast"
    ballast.write_bytes(b"\0" * max(0, stat.f_bavail * stat.f_frsize - leave))
    return ballast


def blobs_are_whole(deployment):
    import hashlib
    for path in (deployment.data / "blobs").glob("*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name + path.name


def test_full_while_uploading(small_disk):
    rounds = small_disk
    data = save({"w": np.zeros(2 * MB // 4, np.float32)})
    created = rounds.api.raw("POST", "/api/v1/uploads", headers={
        "Tus-Resumable": "1.0.0", "Upload-Length": str(len(data))})
    ballast = fill(rounds, MB)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    full = rounds.api.raw("PATCH", created.headers["Location"], headers=headers, data=data)
    assert full.status_code == 507 and full.json()["type"].endswith("no-space")
    with pytest.raises(Problem) as problem:
        rounds.api.download("sha256:" + __import__("hashlib").sha256(data).hexdigest())
    assert problem.value.status == 404
    again = rounds.api.raw("POST", "/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data))})
    assert again.status_code == 507, "a new upload is refused before a byte is sent"
    ballast.unlink()
    offset = rounds.api.raw("HEAD", created.headers["Location"], headers={"Tus-Resumable": "1.0.0"})
    at = int(offset.headers["Upload-Offset"])
    done = rounds.api.raw("PATCH", created.headers["Location"], data=data[at:], headers={**headers, "Upload-Offset": str(at)})
    assert done.status_code == 204
    blobs_are_whole(rounds)


def test_full_people_still_come_in_and_look_and_no_weights_leave_unrecorded(small_disk):
    rounds = small_disk
    digest = rounds.api.upload(save({"w": np.zeros(1000, np.float32)}))
    link = rounds.api.post("/users", {"name": "ann", "role": "admin"})["setup_link"]
    who = {"name": "ann", "password": "correct horse battery"}
    Api(rounds.url, rounds.data / "ca.pem").post("/session/setup", {"setup": link.rsplit("/", 1)[1], "password": who["password"]})
    ballast = fill(rounds, 0)

    def refused():
        return rounds.api.raw("GET", f"/api/v1/blobs/{digest}").status_code == 507
    wait_until(refused, seconds=60, what="the log to find no space", pause=0)
    assert rounds.api.raw("GET", f"/api/v1/blobs/{digest}/tensors").status_code == 507
    with pytest.raises(Problem) as problem:
        rounds.api.post("/tokens", {"name": "t"})
    assert problem.value.status == 507, "what cannot be recorded is not done"

    ann = Api(rounds.url, rounds.data / "ca.pem")
    csrf = ann.post("/session", who)["csrf"]
    assert ann.get("/session")["role"] == "admin" and ann.get("/jobs")["items"] == []
    state = ann.get("/audit")["state"]
    assert not state["writable"] and state["unrecorded"] > 0
    assert "rounds_audit_unrecorded" in rounds.api.raw("GET", "/metrics").text
    other = Api(rounds.url, rounds.data / "ca.pem")
    other_csrf = other.post("/session", who)["csrf"]
    assert other.raw("DELETE", "/api/v1/session", headers={"Rounds-CSRF": other_csrf}).status_code == 204

    ballast.unlink()
    wait_until(lambda: rounds.api.get("/audit")["state"]["writable"], seconds=30, what="what was missed to be said")
    gap = rounds.api.get("/audit?kind=audit.gap")["items"][0]["record"]
    assert gap["count"] >= state["unrecorded"]
    assert rounds.api.raw("GET", f"/api/v1/blobs/{digest}").status_code == 200
    late = ann.raw("POST", "/api/v1/tokens", headers={"Rounds-CSRF": csrf}, json={"name": "t"})
    assert late.status_code == 401, "a session that the store never saw changes nothing"


def test_full_while_aggregating_the_job_pauses_and_goes_on(small_disk):
    rounds = small_disk
    site = SiteClient(rounds, "a")
    assert site.claim(wait=0) is None
    model = np.zeros(4 * MB // 4, np.float32)
    job = rounds.submit(sites=["a"], initial_model=rounds.api.upload(save({"w": model})),
                        params={"rounds": 1, "evaluate_last": False})
    task = site.claim()
    update = site.upload(save({"w": model + 1}))
    ballast = fill(rounds, MB)
    site.result(task, update)
    row = rounds.wait_for(job, "paused")
    assert "space" in row["reason"].lower() and row["held"]
    blobs_are_whole(rounds)
    ballast.unlink()
    assert rounds.wait_for(job, "completed", seconds=30)["model"] == update
    blobs_are_whole(rounds)


def test_the_servers_clock_jumps_a_day_either_way(stopped, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    rounds = stopped
    rounds.start(env={"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
                      "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"})
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 8, "deadline_seconds": 60}, lease_seconds=30, trainer={"seconds": 0.5})
    for jump in ("+1d", "-1d", "+0"):
        at = rounds.job(job)["round"]
        clock.write_text(jump)
        wait_until(lambda: rounds.job(job)["round"] > at, 20, "a round under the changed clock")
    row = rounds.wait_for(job, "completed")
    assert row["round"] == 8
    assert [t["failures"] for t in rounds.tasks(job)] == [0] * len(rounds.tasks(job))
    days = {e["time"][:10] for e in rounds.events(job)}
    assert len(days) >= 3, "the clock did jump"


def test_a_certificate_of_another_time_says_so(stopped, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    rounds = stopped
    rounds.start(env={"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
                      "DONT_FAKE_MONOTONIC": "1"})
    site = rounds.start_site("a", env={"LD_PRELOAD": FAKETIME, "FAKETIME": "+3650d", "DONT_FAKE_MONOTONIC": "1"})
    wait_until(lambda: "certificate has expired" in site.text(), 20, "the site to say that it is the certificate")
    assert site.alive()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_a_certificate_near_its_end_renews_itself(stopped, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
             "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    rounds = stopped
    rounds.start(env=faked)
    path = rounds.join("a") / "site.pem"
    first, ends = path.read_text(), rounds.api.get("/sites/a")["certificate_expires"]
    clock.write_text("+345d")
    site = rounds.start_site("a", env=faked)
    job = rounds.submit(params={"rounds": 30}, trainer={"seconds": 0.1})
    rounds.wait_until_round(job, 2)
    second = path.read_text()
    assert second != first and "the certificate was renewed" in site.text()
    assert rounds.api.get("/sites/a")["certificate_expires"][:4] > ends[:4]
    # Killed before it was written down: the old one still serves, and is renewed again.
    site.kill()
    path.write_text(first)
    site = rounds.start_site("a", env=faked)
    wait_until(lambda: path.read_text() not in (first, second), 20, "another renewal")
    rounds.wait_until_round(job, rounds.job(job)["round"] + 2)
    # Near the end of the server's own: it shows a new one, and nothing stops.
    clock.write_text("+385d")
    wait_until(lambda: "the server's certificate was renewed" in rounds.server.text(), 20, "the server's new certificate")
    site.close()
    clock.write_text("+400d")  # past the end of what both began with
    site = rounds.start_site("a", env=faked)
    rounds.api.session.verify = False  # this test lives a year before the server's new certificate
    rounds.wait_for(job, "completed")
    assert [t["failures"] for t in rounds.tasks(job)] == [0] * len(rounds.tasks(job))
    # Removed, neither is good.
    rounds.api.call("DELETE", "/sites/a")
    for certificate in (path.read_text(), second, first):
        path.write_text(certificate)
        asker = Api(rounds.url, path.parent / "ca.pem", cert=(str(path), str(path.parent / "site.key")))
        asker.session.verify = False
        with pytest.raises(Problem) as problem:
            asker.post("/tasks/claim", {})
        assert problem.value.status in (401, 403)
