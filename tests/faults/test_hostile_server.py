"""GUARANTEES rows 30, 31: a server, or someone before it, that means no good."""
import hashlib
import json
import subprocess

import pytest

from harness import hostile
from harness.deployment import BUILD, DATA, EXECUTOR, MEMORY_COUNTS, Process, wait_until


def with_another_authority(folder):
    """The right authority and, behind or before it, the attacker's own."""
    def behind(path, body):
        if not path.endswith("/authority"):
            return body
        answer = json.loads(body)
        answer["certificate"] += (folder / "ca.pem").read_text()
        return json.dumps(answer).encode()

    def before(path, body):
        if not path.endswith("/authority"):
            return body
        answer = json.loads(body)
        answer["certificate"] = (folder / "ca.pem").read_text() + answer["certificate"]
        return json.dumps(answer).encode()
    return [behind, before]


@pytest.mark.parametrize("which", [0, 1])
def test_someone_in_the_middle_gets_neither_invitation_nor_token(rounds, tmp_path, which):
    folder = tmp_path / "middle"
    middle = hostile.middle(rounds.port, folder, with_another_authority(folder)[which])
    invitation = rounds.api.post("/invitations", {"site": "a"})["invitation"]
    joined = subprocess.run([BUILD / "client/rounds-site", "join", middle.url, "--state-dir", tmp_path / "a"],
                            input=invitation, capture_output=True, text=True)
    assert joined.returncode != 0 and not (tmp_path / "a/ca.pem").exists(), joined.stderr
    login = rounds.rounds("login", middle.url, "--ca-fingerprint", rounds.fingerprint, stdin=rounds.token, check=False)
    assert login.returncode != 0 and not (rounds.home / "operator/default.pem").exists(), login.stderr
    assert len(middle.seen) == 2, "it was asked for the authority twice and for nothing else"
    secret = rounds.token.strip()
    assert all(secret not in str(seen) and invitation.split(".")[0] not in str(seen) for seen in middle.seen)
    middle.close()


GOOD = {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "job": "01890a5d-ac96-774b-bcce-b302099a8058", "kind": "initialize",
        "job_name": "n", "round": 0, "rounds": 1, "seed": 1, "model": None, "control": None, "algorithm": None, "share": ["*"],
        "dataset": "none", "executor": "puppet", "trainer": {}, "lease_seconds": 60, "timeout_seconds": 0}
PATHS = {"id": "../../../victim", "job": "../../outside/made-by-server", "model": "sha256:../../../../site/precious.json"}


def start_victim(server, home, **settings):
    """The real daemon, joined to a hostile server; what is beside its state directory is what it must not touch."""
    config = {"state_dir": str(server.joined(home / "site/state")), "executors": {"puppet": {"command": EXECUTOR}},
              "datasets": {"none": {"path": str(DATA / "wdbc/test.csv")}}, **settings}
    (home / "site.json").write_text(json.dumps(config))
    return Process([BUILD / "client/rounds-site", "--config", home / "site.json"], home / "site.log")


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_no_name_of_the_servers_becomes_a_path(tmp_path):
    """One wrong name of each member, then a right order: the site says so, touches nothing else, and goes on."""
    orders = [{**GOOD, member: path} for member, path in PATHS.items()]
    server = hostile.Tasks(tmp_path / "server", orders + [GOOD])
    for folder in ("victim/deep", "site"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "victim/deep/records.csv").write_text("patients")
    for name in ("precious.json", "site/precious.json", "site/victim.json"):
        (tmp_path / name).write_text("{}")
    before = everything(tmp_path)
    site = start_victim(server, tmp_path)
    wait_until(lambda: server.heard("result"), 30, "the right order to be done")
    assert site.stop() == 0
    after = everything(tmp_path)
    assert {path: after.get(path, "gone") for path in before if path.parts[0] != "server"} == {
        path: value for path, value in before.items() if path.parts[0] != "server"}
    assert {path.parts[0] for path in after} == {"server", "victim", "precious.json", "site", "site.json", "site.log"}
    assert {path.name for path in (tmp_path / "site/state").iterdir()} == {
        "ca.pem", "site.pem", "site.key", "site.keys", "site.name", "server", "lock", "spool", "cache", "own"}
    assert [path.name for path in (tmp_path / "site/state/own").iterdir()] == [GOOD["job"]]
    assert site.text().count("is not touched") == len(orders), site.text()
    server.close()


MODEL = "sha256:" + "ab" * 32


def endless():
    while True:
        yield bytes(1 << 16)


@pytest.mark.parametrize("order, settings, sent, words", [
    ({"model_size": 1000}, {}, 8 << 20, "more than the 1000 bytes"),
    ({"model_size": 1 << 50}, {}, 0, "larger than site.json's cache_mb"),
    ({}, {"cache_mb": 1}, 8 << 20, "more than the 1048576 bytes"),
    ({"model": None, "control": MODEL}, {"cache_mb": 1}, 8 << 20, "more than the 1048576 bytes"),
])
def test_a_model_without_end_ends_where_it_was_announced(tmp_path, order, settings, sent, words):
    server = hostile.Tasks(tmp_path / "server", [{**GOOD, "kind": "train", "model": MODEL, **order}],
                           answers={"/blobs/": lambda: (200, endless())})
    site = start_victim(server, tmp_path, **settings)
    wait_until(lambda: server.heard("failure"), 30, "the failure")
    assert words in site.text(), site.text()
    assert server.sent <= sent, "what is in the socket's buffers, and no more"
    assert not list((tmp_path / "site/state/cache").iterdir())
    assert site.stop() == 0
    server.close()


def test_the_cache_holds_no_more_than_it_may(tmp_path):
    """Five models of 400 KB one after the other, in a cache of 1 MB: never more, while one comes as little as afterwards."""
    blobs = {}
    for i in range(5):
        data = bytes([i]) * 400_000
        blobs["sha256:" + hashlib.sha256(data).hexdigest()] = data
    orders = [{**GOOD, "id": f"01890a5d-ac96-774b-bcce-b302099a80{i:02}", "kind": "train", "model": digest, "model_size": 400_000}
              for i, digest in enumerate(blobs)]
    seen = []

    class Blobs(hostile.Tasks):
        def _answer(self, method, path, body, headers):
            if "/blobs/" not in path:
                return super()._answer(method, path, body, headers)
            seen.append(sum(p.stat().st_size for p in (tmp_path / "site/state/cache").iterdir()))
            return 200, blobs[path.rsplit("/", 1)[1]]
    server = Blobs(tmp_path / "server", orders)
    site = start_victim(server, tmp_path, cache_mb=1)
    wait_until(lambda: len(server.heard("result")) + len(server.heard("failure")) == 5, 60, "five tasks")
    assert site.stop() == 0
    assert len(seen) == 5 and max(seen) + 400_000 <= 1 << 20, seen
    server.close()


def test_an_answer_without_end_costs_no_memory(tmp_path):
    server = hostile.Hostile(tmp_path / "server", lambda method, path, body, headers: (200, endless()))
    site = start_victim(server, tmp_path)
    wait_until(lambda: server.sent > 16 << 20, 60, "some answers")
    assert "has more than" in site.text() and (not MEMORY_COUNTS or site.own_memory() < 40 << 20)
    assert site.stop() == 0
    server.close()
