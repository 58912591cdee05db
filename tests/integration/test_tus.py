"""tus 1.0.0: by the official client from npm, and rule by rule."""
import base64
import hashlib
import json
import os
import pathlib
import resource
import subprocess
import threading

import pytest

from harness.deployment import TOP, SiteClient, wait_until
from harness.weights import digest_of

VERSION = {"Tus-Resumable": "1.0.0"}
PART = {**VERSION, "Content-Type": "application/offset+octet-stream"}


def test_the_official_client_uploads_stops_and_resumes(rounds, tmp_path):
    data = os.urandom((8 << 20) + 12345)
    (tmp_path / "file").write_bytes(data)
    done = subprocess.run(["node", TOP / "tests/integration/tus_client.mjs", rounds.url, rounds.token, tmp_path / "file",
                           digest_of(data)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "NODE_EXTRA_CA_CERTS": str(rounds.data / "ca.pem")})
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["resumedAt"] >= 3 << 20, "it went on where it had stopped"
    assert rounds.api.download(digest_of(data)) == data


def test_a_large_one_is_hashed_while_it_is_written(rounds):
    """Large enough that the server has threads beside it; the second half begins anew, in a file whose first half is there."""
    data = os.urandom((48 << 20) + 7)
    place = create(rounds, len(data)).headers["Location"]
    half = 20 << 20
    first = rounds.api.raw("PATCH", place, headers={**PART, "Upload-Offset": "0"}, data=data[:half])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, str(half))
    last = rounds.api.raw("PATCH", place, headers={**PART, "Upload-Offset": str(half)}, data=data[half:])
    assert last.status_code == 204 and rounds.api.download(digest_of(data)) == data


def create(rounds, length, by=None, data=None, **headers):
    return (by or rounds.api).raw("POST", "/api/v1/uploads", headers={**VERSION, "Upload-Length": str(length), **headers}, data=data)


def test_what_it_speaks(rounds):
    options = rounds.api.raw("OPTIONS", "/api/v1/uploads")
    assert options.status_code == 204 and options.headers["Tus-Version"] == "1.0.0"
    assert set(options.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "checksum", "expiration", "termination"}
    assert rounds.api.raw("POST", "/api/v1/uploads", headers={"Upload-Length": "1"}).status_code == 412
    assert create(rounds, "x").status_code == 400
    assert create(rounds, 1 << 40).status_code == 413
    created = create(rounds, 3)
    assert created.status_code == 201 and "Upload-Expires" in created.headers


def test_offsets_checksums_and_the_end(rounds):
    data = b"0123456789"
    created = create(rounds, len(data), **{"Upload-Metadata": "digest " + base64.b64encode(digest_of(data).encode()).decode()})
    at = created.headers["Location"]
    assert rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "5"}, data=data[5:]).status_code == 409
    assert rounds.api.raw("PATCH", at, headers={**VERSION, "Upload-Offset": "0"}, data=data).status_code == 415
    right = "sha256 " + base64.b64encode(hashlib.sha256(data[:5]).digest()).decode()
    wrong = "sha1 " + base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    refused = rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "0", "Upload-Checksum": wrong}, data=data[:5])
    assert refused.status_code == 460
    head = rounds.api.raw("HEAD", at, headers=VERSION)
    assert head.headers["Upload-Offset"] == "0" and head.headers["Upload-Length"] == "10"
    for bad in ("md5 AAAA", "sha256", "sha256 !!!"):
        assert rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "0", "Upload-Checksum": bad}, data=b"x").status_code == 400
    sent = rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "0", "Upload-Checksum": right}, data=data[:5])
    assert sent.status_code == 204 and sent.headers["Upload-Offset"] == "5"
    assert rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "5"}, data=data[5:]).status_code == 204
    assert rounds.api.download(digest_of(data)) == data
    assert rounds.api.raw("HEAD", at, headers=VERSION).headers["Upload-Offset"] == "10"
    assert rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "10"}, data=b"").status_code == 409


def test_a_wrong_digest_is_discarded(rounds):
    meta = "digest " + base64.b64encode(digest_of(b"other").encode()).decode()
    at = create(rounds, 4, **{"Upload-Metadata": meta}).headers["Location"]
    assert rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "0"}, data=b"this").status_code == 460
    assert rounds.api.raw("HEAD", at, headers=VERSION).status_code == 404
    assert not list((rounds.data / "uploads").iterdir())


def test_all_in_one_request(rounds):
    data = b"small enough"
    done = rounds.api.raw("POST", "/api/v1/uploads", headers={**PART, "Upload-Length": str(len(data))}, data=data)
    assert done.status_code == 201 and done.headers["Upload-Offset"] == str(len(data))
    assert rounds.api.download(digest_of(data)) == data
    empty = create(rounds, 0)
    assert empty.status_code == 201 and rounds.api.download(digest_of(b"")) == b""


def test_given_up(rounds):
    at = create(rounds, 4).headers["Location"]
    assert rounds.api.raw("DELETE", at, headers=VERSION).status_code == 204
    assert rounds.api.raw("HEAD", at, headers=VERSION).status_code == 404


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_anothers_upload_is_unknown(rounds, method):
    at = create(rounds, 4).headers["Location"]
    other = rounds.api.post("/tokens", {"name": "other", "role": "admin"})["token"]
    seen = rounds.api.raw(method, at, headers={**PART, "Upload-Offset": "0", "Authorization": f"Bearer {other}"})
    assert seen.status_code == 404


def test_deleted_while_it_is_written(rounds):
    """The one that writes is told; nothing is left, neither on disk nor open."""
    size = 4 << 20
    at = create(rounds, size).headers["Location"]
    half = threading.Event()

    def body():
        yield b"\1" * (size // 2)
        half.wait(20)
        yield b"\1" * (size // 2)
    answer = []
    writer = threading.Thread(target=lambda: answer.append(
        rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "0"}, data=body())))
    writer.start()
    wait_until(lambda: any(path.stat().st_size for path in (rounds.data / "uploads").iterdir()), what="bytes to arrive")
    assert rounds.api.raw("DELETE", at, headers=VERSION).status_code == 204
    half.set()
    writer.join()
    assert answer[0].status_code == 404
    assert rounds.api.raw("HEAD", at, headers=VERSION).status_code == 404
    assert not list((rounds.data / "uploads").iterdir())
    assert not [link for link in open_files(rounds) if "uploads/" in link]


def open_files(rounds):
    links = []
    for path in pathlib.Path(f"/proc/{rounds.server.pid}/fd").iterdir():
        try:
            links.append(os.readlink(path))
        except FileNotFoundError:
            pass
    return links


def test_a_thousand_unfinished_uploads_leave_everyone_else_served(rounds):
    rounds.restart("--owner-uploads", "1000")
    site, other = SiteClient(rounds, "a"), SiteClient(rounds, "b")
    resource.prlimit(rounds.server.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    before = len(open_files(rounds))
    for _ in range(1000):
        assert create(rounds, 2, by=site, data=b"x", **PART).status_code == 201
    assert len(open_files(rounds)) < before + 50
    refused = create(rounds, 2, by=site)
    assert refused.status_code == 429 and "DELETE" in refused.json()["detail"]
    data = os.urandom(3 << 20)
    assert other.upload(data) == digest_of(data) and other.claim(wait=0) is None
    assert rounds.api.get("/version")
    rounds.login()
    loads = {row["owner"]: row for row in json.loads(rounds.rounds("upload", "list", "-o", "json").stdout)}
    assert loads["site:a"] == {"owner": "site:a", "uploads": 1000, "announced_bytes": 2000, "unused_blobs": 0, "unused_bytes": 0}
    assert loads["site:b"]["unused_blobs"] == 1 and loads["site:b"]["unused_bytes"] == len(data)
    assert "rounds_uploads_unfinished 1000" in rounds.api.raw("GET", "/metrics").text


def test_what_was_announced_counts(rounds):
    rounds.restart("--owner-upload-bytes", "2000")
    first = create(rounds, 1200)
    assert first.status_code == 201
    refused = create(rounds, 1200)
    assert refused.status_code == 429 and "2000 bytes" in refused.json()["detail"]
    assert create(rounds, 3, by=SiteClient(rounds, "a")).status_code == 201, "another's limit is its own"
    assert rounds.api.raw("DELETE", first.headers["Location"], headers=VERSION).status_code == 204
    assert create(rounds, 1200).status_code == 201


def test_unfinished_uploads_outlive_a_restart(rounds):
    data = os.urandom(5 << 20)
    at = create(rounds, len(data)).headers["Location"]
    sent = rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": "0"}, data=data[:3 << 20])
    assert sent.status_code == 204
    (rounds.data / "uploads" / "00000000-0000-7000-8000-000000000000").write_bytes(b"of a request that was cut")
    rounds.server.kill()
    rounds.start()
    assert len(list((rounds.data / "uploads").iterdir())) == 1
    head = rounds.api.raw("HEAD", at, headers=VERSION)
    offset = int(head.headers["Upload-Offset"])
    done = rounds.api.raw("PATCH", at, headers={**PART, "Upload-Offset": str(offset)}, data=data[offset:])
    assert done.status_code == 204 and rounds.api.download(digest_of(data)) == data
