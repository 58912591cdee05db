"""Whoever holds an old invitation is nobody; the place of a site that is there is taken only where the operator said so."""
import subprocess

import jsonschema
import pytest

from harness.deployment import BUILD, Api, Problem, SiteClient, wait_until
from test_api import OPENAPI, resolve


def invite(rounds, site, **more):
    return rounds.api.post("/invitations", {"site": site, **more})["invitation"]


def join(rounds, invitation, folder):
    """A machine of its own: returns what it says if it is refused, else its way to the server."""
    state = rounds.home / folder
    done = subprocess.run([BUILD / "client/rounds-site", "join", rounds.url, "--state-dir", state], input=invitation,
                          capture_output=True, text=True)
    if done.returncode:
        return done.stderr
    return Api(rounds.url, state / "ca.pem", cert=(str(state / "site.pem"), str(state / "site.key")))


def states(rounds):
    return [(i["site"], i["state"]) for i in rounds.api.get("/invitations")["items"]]


def test_a_newer_invitation_voids_the_older_ones(rounds):
    old, new = invite(rounds, "a"), invite(rounds, "a")
    assert states(rounds) == [("a", "open"), ("a", "void")]
    assert "unknown, used, taken back or expired" in join(rounds, old, "one")
    assert isinstance(join(rounds, new, "two"), Api)
    assert "unknown, used, taken back or expired" in join(rounds, new, "three")
    listed = rounds.api.get("/invitations")
    schema = OPENAPI["paths"]["/api/v1/invitations"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(resolve(schema)).validate(listed)
    assert states(rounds) == [("a", "used"), ("a", "void")]
    assert listed["items"][0]["by"] == "admin" and new[:64] not in str(listed)


def test_an_invitation_is_taken_back(rounds):
    rounds.login()
    made = invite(rounds, "a")
    assert "a  " in rounds.rounds("site", "invitations").stdout
    assert rounds.rounds("site", "uninvite", "a").returncode == 0
    assert "taken back" in join(rounds, made, "one")
    again = rounds.rounds("site", "uninvite", "a", check=False)
    assert again.returncode == 3 and "no open invitation" in again.stderr
    with pytest.raises(Problem) as problem:
        rounds.api.call("DELETE", f"/invitations/{rounds.api.get('/invitations')['items'][0]['id']}")
    assert problem.value.status == 404


def test_the_place_of_a_site_is_taken_only_with_leave(rounds):
    rounds.login()
    first = SiteClient(rounds, "a")
    job = rounds.submit(params={"rounds": 1})
    task = first.claim()
    with pytest.raises(Problem) as problem:
        invite(rounds, "a")
    assert problem.value.status == 409 and "--replace" in problem.value.body["detail"]
    refused = rounds.rounds("site", "invite", "a", check=False)
    assert refused.returncode == 2 and "--replace" in refused.stderr

    given = rounds.rounds("site", "invite", "a", "--replace").stdout.strip()
    assert first.claim(wait=0, holding=[task["id"]]) is None, "nothing has changed before somebody joins"
    second = join(rounds, given, "another-machine")
    with pytest.raises(Problem) as problem:
        first.claim(wait=0)
    assert problem.value.status == 403 and "join again" in problem.value.body["detail"]
    assert second.post("/tasks/claim?wait=5", first.facts)["task"]["id"] == task["id"], "the work goes on at the new machine"
    assert [e for e in rounds.events(job) if e["site"] == "a" and "joined anew" in e["message"]]
    assert "in the place of another" in rounds.server.text()


def test_a_wait_with_the_former_certificate_ends(rounds):
    rounds.start_site("a")
    wait_until(lambda: rounds.api.get("/sites/a")["connected"])
    second = join(rounds, invite(rounds, "a", replace=True), "another-machine")
    assert isinstance(second, Api)
    wait_until(lambda: not rounds.api.get("/sites/a")["connected"], what="the former machine to be refused")


def test_a_removed_site_takes_its_invitation_along(rounds):
    SiteClient(rounds, "a")
    given = invite(rounds, "a", replace=True)
    rounds.api.call("DELETE", "/sites/a")
    assert "taken back" in join(rounds, given, "one")
    assert isinstance(join(rounds, invite(rounds, "a"), "two"), Api), "a removed site is invited like a new one"
    rounds.api.call("PATCH", "/sites/a", json={"state": "draining"})
    join(rounds, invite(rounds, "a", replace=True), "three")
    assert rounds.api.get("/sites/a")["state"] == "draining", "another machine drains on"
