"""Accounts, browser sessions, roles: who may what, and how guessing is slowed."""
import re
import time

import jsonschema
import pytest
import requests

from harness.deployment import Api, Problem, SiteClient, wait_until
from test_api import OPENAPI, resolve, server_prints

PASSWORD = "correct horse battery"
# What DESIGN and the issues ask of each role, written down here once more.
MAY = {
    "admin": {"self", "job.read", "job.write", "site.read", "site.manage", "account.manage", "webhook.manage", "audit.read", "blob.read", "blob.write"},
    "viewer": {"self", "job.read", "site.read"},
    "site": {"task.do", "blob.read", "blob.write"},
}


class Browser:
    """A cookie jar, and the proof that changing requests need."""

    def __init__(self, deployment):
        self.api = Api(deployment.url, deployment.data / "ca.pem")
        self.csrf = None

    def sign_in(self, name, password=PASSWORD):
        return self.keep(self.api.post("/session", {"name": name, "password": password}))

    def set_up(self, link, password=PASSWORD):
        return self.keep(self.api.post("/session/setup", {"setup": link.rsplit("/", 1)[1], "password": password}))

    def keep(self, session):
        self.csrf = session["csrf"]
        return session

    def raw(self, method, path, proof=True, **options):
        headers = {**options.pop("headers", {}), **({"Rounds-CSRF": self.csrf} if proof else {})}
        return self.api.raw(method, path, headers=headers, **options)


@pytest.fixture
def admin(rounds):
    browser = Browser(rounds)
    link = rounds.api.post("/users", {"name": "ann", "role": "admin"})["setup_link"]
    assert link.startswith(rounds.url + "/#/setup/")
    browser.set_up(link)
    return browser


def test_from_a_set_up_link_to_signing_out(rounds, admin):
    session = admin.api.get("/session")
    jsonschema.Draft202012Validator(resolve({"$ref": "#/components/schemas/Session"})).validate(session)
    assert session["name"] == "ann" and set(session["may"]) == MAY["admin"]
    cookie = next(iter(admin.api.session.cookies))
    assert cookie.name == "__Host-rounds" and cookie.secure and cookie.path == "/"
    assert {"HttpOnly", "SameSite"} <= set(cookie._rest) and cookie._rest["SameSite"] == "Strict"
    assert {u["name"]: u["state"] for u in rounds.api.get("/users")["items"]} == {"admin": "invited", "ann": "active"}
    # A restart does not sign anybody out.
    rounds.restart()
    assert admin.api.get("/session")["name"] == "ann"
    assert admin.raw("DELETE", "/api/v1/session").status_code == 204
    assert [kept.name for kept in admin.api.session.cookies] == ["__Host-rounds-device"]
    other, third = Browser(rounds), Browser(rounds)
    other.sign_in("ann"), third.sign_in("ann")
    assert other.raw("DELETE", "/api/v1/session?everywhere=true").status_code == 204
    with pytest.raises(Problem) as problem:
        third.api.get("/session")
    assert problem.value.status == 401


def test_the_first_administrators_link(stopped):
    import subprocess
    from harness.deployment import BUILD
    said = subprocess.run([BUILD / "server/rounds-server", "init", "--data-dir", stopped.data], capture_output=True,
                          text=True, check=True).stdout
    link = re.search(r"https://\S+/#/setup/[0-9a-f]{64}", said)[0]
    stopped.token = (stopped.data / "admin.token").read_text()
    stopped.start()
    browser = Browser(stopped)
    assert browser.set_up(link)["role"] == "admin"
    with pytest.raises(Problem) as problem:
        Browser(stopped).set_up(link)
    assert problem.value.status == 401 and "used" in problem.value.body["detail"]


def test_a_change_needs_the_proof_of_our_own_page(rounds, admin):
    for headers in ({}, {"Rounds-CSRF": "x"}, {"Rounds-CSRF": "0" * 64}):
        refused = admin.raw("POST", "/api/v1/jobs", proof=False, headers=headers, json={"name": "x", "dataset": "d"})
        assert refused.status_code == 403 and "Rounds-CSRF" in refused.json()["detail"]
    assert admin.raw("POST", "/api/v1/jobs", json={"name": "x", "dataset": "d"}).status_code == 201
    assert admin.raw("GET", "/api/v1/jobs", proof=False).status_code == 200


def test_each_role_may_exactly_what_the_table_says(rounds, admin):
    """Every route, as nobody, with tokens and sessions of each role, and as a site."""
    rounds.api.post("/users", {"name": "eve", "role": "viewer"})
    link = rounds.api.post("/users/eve/reset")["setup_link"]
    viewer = Browser(rounds)
    viewer.set_up(link)
    tokens = {role: rounds.api.post("/tokens", {"name": "t", "role": role})["token"] for role in ("admin", "viewer")}
    site = SiteClient(rounds, "a")
    routes = server_prints("routes")
    assert {r["permission"] for r in routes} == set().union(*MAY.values()) | {"anyone"}
    for route in routes:
        path = re.sub(r"{\w+}", "00000000-0000-7000-8000-000000000000", route["path"])
        nobody = requests.request(route["method"], rounds.url + path, verify=str(rounds.data / "ca.pem"))
        assert (nobody.status_code == 401) == (route["permission"] not in ("anyone",)) or path.startswith("/api/v1/session"), route
        if route["permission"] == "anyone":
            continue
        assert nobody.status_code == 401, route
        for role, ask in {
            "viewer": lambda m, p: viewer.raw(m, p),
            "site": site.raw,
            "admin": lambda m, p: rounds.api.raw(m, p, headers={"Authorization": f"Bearer {tokens['admin']}"}),
        }.items():
            if role == "viewer" and path == "/api/v1/session" and route["method"] == "DELETE":
                continue
            answer = ask(route["method"], path)
            assert (answer.status_code == 403) == (route["permission"] not in MAY[role]), (role, route, answer.text)
            assert answer.status_code != 401, (role, route)
        by_token = rounds.api.raw(route["method"], path, headers={"Authorization": f"Bearer {tokens['viewer']}"})
        assert (by_token.status_code == 403) == (route["permission"] not in MAY["viewer"]), route
    wrong = rounds.api.raw("GET", "/api/v1/jobs", headers={"Authorization": "Bearer rounds_guess"})
    assert wrong.status_code == 401 and "rounds_guess" not in wrong.text


def test_a_role_or_an_account_that_is_taken_away_is_gone_at_once(rounds, admin):
    eve = Browser(rounds)
    eve.set_up(rounds.api.post("/users", {"name": "eve", "role": "admin"})["setup_link"])
    assert eve.raw("GET", "/api/v1/users").status_code == 200
    rounds.api.call("PATCH", "/users/eve", json={"role": "viewer"})
    assert eve.raw("GET", "/api/v1/users").status_code == 403
    rounds.api.call("DELETE", "/users/eve")
    assert eve.raw("GET", "/api/v1/jobs").status_code == 401
    for name in ("ann", "admin"):
        try:
            rounds.api.call("DELETE", f"/users/{name}")
        except Problem as problem:
            assert problem.status == 409 and "last administrator" in problem.body["detail"]
    assert len(rounds.api.get("/users")["items"]) == 1


@pytest.mark.parametrize("body, field", [
    ({"name": "a b", "role": "admin"}, "name"), ({"name": "x" * 64}, "name"), ({"name": "ok", "role": "site"}, "role"),
    ({"name": "ok", "role": "root"}, "role"), ({"role": "admin"}, "name")])
def test_accounts_that_cannot_be(rounds, body, field):
    with pytest.raises(Problem) as problem:
        rounds.api.post("/users", body)
    assert problem.value.status == 400 and problem.value.body["field"] == field


def test_guessing_is_slowed_by_account_and_by_address(rounds, admin):
    began = time.monotonic()
    seen = []
    for _ in range(7):
        try:
            Browser(rounds).sign_in("ann", "not the password")
        except Problem as problem:
            seen.append(problem.status)
            assert "password" not in problem.body["detail"] or "wrong" in problem.body["detail"]
    assert seen[:5] == [401] * 5 and 429 in seen[5:], seen

    def signed_in():
        try:
            return Browser(rounds).sign_in("ann")
        except Problem as problem:
            assert problem.status == 429
            return None
    ann = signed_in()  # the right one has to wait as well
    assert ann is None or time.monotonic() - began > 3
    assert (ann or wait_until(signed_in, what="the wait to be over", pause=1))["name"] == "ann"
    log = rounds.server.text()
    assert "sign-in refused" in log and "not the password" not in log and PASSWORD not in log


def guess_until_slowed(rounds, name):
    for _ in range(12):
        try:
            Browser(rounds).sign_in(name, "not the password")
        except Problem as problem:
            if problem.status == 429:
                return
    raise AssertionError("guesses are not slowed")


def test_guesses_of_strangers_do_not_keep_out_who_has_signed_in_before(rounds, admin):
    """Neither by account nor by address: a cookie of an earlier sign-in is counted for itself."""
    eve = Browser(rounds)
    eve.set_up(rounds.api.post("/users", {"name": "eve", "role": "viewer"})["setup_link"])
    for name in ("ann", "eve", "nobody"):
        guess_until_slowed(rounds, name)
    with pytest.raises(Problem) as problem:
        Browser(rounds).sign_in("ann")
    assert problem.value.status == 429, "from elsewhere the right password waits"
    assert admin.raw("DELETE", "/api/v1/session").status_code == 204
    assert admin.sign_in("ann")["name"] == "ann"
    for _ in range(5):  # whoever has stolen it guesses no faster than before
        with pytest.raises(Problem) as problem:
            admin.sign_in("ann", "not the password")
        assert problem.value.status == 401
    with pytest.raises(Problem) as problem:
        admin.sign_in("ann")
    assert problem.value.status == 429
    # The way in for who has no such browser is an administrator's link, and it voids the cookies of before.
    new = Browser(rounds)
    new.set_up(rounds.api.post("/users/eve/reset")["setup_link"], "another horse entirely")
    guess_until_slowed(rounds, "eve")
    with pytest.raises(Problem) as problem:
        eve.sign_in("eve", "another horse entirely")
    assert problem.value.status == 429
    assert new.sign_in("eve", "another horse entirely")["name"] == "eve"


def test_a_token_names_its_maker_and_ends_with_the_makers_role(rounds, admin):
    def token(maker, name, role):
        made = maker.raw("POST", "/api/v1/tokens", json={"name": name, "role": role}).json()["token"]
        return Api(rounds.url, rounds.data / "ca.pem", made)

    eve = Browser(rounds)
    eve.set_up(rounds.api.post("/users", {"name": "eve", "role": "admin"})["setup_link"])
    high, low = token(eve, "high", "admin"), token(eve, "low", "viewer")
    child = token(high, "child", "admin")  # made with a token that eve made
    other = token(rounds.api, "other", "admin")
    assert {t["name"]: t["made_by"] for t in rounds.api.get("/tokens")["items"]} == {
        "admin": None, "high": "eve", "low": "eve", "child": "high", "other": "admin"}
    rounds.api.call("PATCH", "/users/eve", json={"role": "viewer"})
    for ended in (high, child):
        with pytest.raises(Problem) as problem:
            ended.get("/jobs")
        assert problem.value.status == 401
    assert low.get("/jobs") and other.get("/jobs")
    rounds.api.call("DELETE", "/users/eve")
    with pytest.raises(Problem) as problem:
        low.get("/jobs")
    assert problem.value.status == 401
    rounds.api.post("/users", {"name": "eve", "role": "admin"})  # another person of that name gets none of them back
    assert {t["name"] for t in rounds.api.get("/tokens")["items"]} == {"admin", "other"}


def test_guessed_invitations_are_slowed(rounds):
    body = {"invitation": "0" * 64 + "." + "0" * 64, "request": "x"}
    seen = []
    for _ in range(7):
        with pytest.raises(Problem) as problem:
            rounds.api.post("/join", body)
        seen.append(problem.value.status)
    assert seen[:5] == [401] * 5 and 429 in seen[5:], seen
    refused = rounds.api.raw("POST", "/api/v1/join", json=body)
    if refused.status_code == 429:  # the header says what the words say
        assert f"in {refused.headers['Retry-After']} s" in refused.json()["detail"]
    assert "invitation refused" in rounds.server.text()


def test_a_password_is_changed_with_the_old_one(rounds, admin):
    assert admin.raw("POST", "/api/v1/session/password", json={"old": "nonsense", "password": "x" * 20}).status_code == 401
    refused = admin.raw("POST", "/api/v1/session/password", json={"old": PASSWORD, "password": "short"})
    assert refused.status_code == 400 and refused.json()["field"] == "password"
    assert admin.raw("POST", "/api/v1/session/password", json={"old": PASSWORD, "password": "a whole new one"}).status_code == 204
    assert admin.raw("GET", "/api/v1/session").status_code == 401
    Browser(rounds).sign_in("ann", "a whole new one")


def test_the_command_manages_accounts_and_drains_sites(rounds):
    rounds.login()
    link = rounds.rounds("user", "add", "eve", "--role", "admin").stdout.strip()
    assert Browser(rounds).set_up(link)["name"] == "eve"
    listed = rounds.rounds("user", "list").stdout
    assert re.search(r"eve +admin +active", listed) and re.search(r"admin +admin +invited", listed)
    rounds.rounds("user", "role", "eve", "viewer")
    again = rounds.rounds("user", "reset", "eve").stdout.strip()
    assert again != link and Browser(rounds).set_up(again)["role"] == "viewer"
    assert rounds.rounds("user", "role", "eve", "root", check=False).returncode == 2
    rounds.rounds("user", "remove", "eve")
    assert rounds.rounds("user", "remove", "eve", check=False).returncode == 3
    rounds.join("a")
    rounds.rounds("site", "drain", "a")
    assert rounds.api.get("/sites/a")["state"] == "draining"
    rounds.rounds("site", "activate", "a")
    assert rounds.api.get("/sites/a")["state"] == "active"
