"""GUARANTEES rows 30, 31: a server, or someone before it, that means no good."""
import json
import subprocess

import pytest

from harness import hostile
from harness.deployment import BUILD


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
