"""GUARANTEES rows 30, 31: a server, or someone before it, that means no good."""
import json
import subprocess

import pytest

from harness import hostile
from harness.deployment import BUILD, DATA, EXECUTOR, Process, wait_until


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
        "ca.pem", "site.pem", "site.key", "site.name", "server", "lock", "spool", "cache", "own"}
    assert [path.name for path in (tmp_path / "site/state/own").iterdir()] == [GOOD["job"]]
    assert site.text().count("is not touched") == len(orders), site.text()
    server.close()
