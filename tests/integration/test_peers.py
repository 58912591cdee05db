"""The keys that sites have for each other: told to the server, compared by people, pinned at each site whatever the server says."""
import json
import shutil
import subprocess

import pytest

from harness import hostile
from harness.deployment import BUILD, Problem, SiteClient, wait_until


def site_command(state, *words, server=None, ca=None, check=True):
    """`rounds-site WORDS` of a state directory; with another server than it has joined, if that is said."""
    options = ["--state-dir", state]
    if server:
        options += ["--server", server, "--ca-file", ca]
    done = subprocess.run([BUILD / "client/rounds-site", *words, *options], capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def prints(text):
    """The fingerprints of an output, as [label, hexadecimal digits, words]."""
    lines = text.splitlines()
    found = []
    for line, below in zip(lines, lines[1:]):
        words = line.split()
        if line.startswith("    ") and len(words) == 11:
            found.append([words[0], " ".join(words[1:]), below.strip()])
    return found


def section(text, site):
    """What `peers` says of one site."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{site}:"))
    end = next((i for i in range(at + 1, len(lines)) if not lines[i].startswith("    ")), len(lines))
    return "\n".join(lines[at:end])


def statements(state):
    return [line.split()[1] for line in (state / "site.keys").read_text().splitlines() if line.startswith("statement ")]


def strangers_keys(folder, name):
    """Keys that someone else has made under a site's name."""
    folder.mkdir()
    (folder / "site.name").write_text(name)
    site_command(folder, "keys")
    return statements(folder)


def pinned(state):
    return {site: entry.get("pinned") for site, entry in json.loads((state / "pins.json").read_text())["sites"].items()}


def directory(rounds, client):
    return {item["site"]: item["statements"] for item in client.get("/peers")["items"]}


class Directory(hostile.Hostile):
    """A server that shows what it likes."""

    def __init__(self, folder, items):
        self.items = items
        super().__init__(folder, lambda method, path, body, headers: (200, json.dumps(
            {"items": [{"site": site, "statements": chain} for site, chain in self.items.items()]}).encode()))

    @property
    def there(self):
        return {"server": self.url, "ca": self.folder / "ca.pem"}


@pytest.fixture
def two(rounds):
    """Sites a and b at work, and what each has told."""
    sites = {name: rounds.start_site(name) for name in ("a", "b")}
    rounds.connected("a", "b")
    return rounds, sites


def test_keys_are_made_at_the_join_told_and_shown(two):
    rounds, sites = two
    for name, site in sites.items():
        path = site.state / "site.keys"
        assert path.stat().st_mode & 0o777 == 0o600
        own = prints(site_command(site.state, "keys").stdout)
        shown = rounds.api.get(f"/sites/{name}")["keys"]
        assert own == [["own", shown["fingerprint"], shown["words"]]] and shown["generation"] == 1
        assert rounds.api.get("/openapi.json")["paths"]["/api/v1/peers"]
    assert prints(site_command(sites["a"].state, "keys").stdout) != prints(site_command(sites["b"].state, "keys").stdout)


def test_an_upgraded_daemon_makes_its_keys_at_its_first_start(rounds):
    state = rounds.join("a")
    (state / "site.keys").unlink()
    site = rounds.start_site("a")
    rounds.connected("a")
    assert statements(site.state) and rounds.api.get("/sites/a")["keys"]["generation"] == 1


def test_secrets_are_told_to_nobody(tmp_path):
    server = hostile.Tasks(tmp_path / "server")
    state = server.joined(tmp_path / "state")
    site = subprocess.Popen([BUILD / "client/rounds-site", "--state-dir", state], stderr=subprocess.PIPE)
    wait_until(lambda: server.claims, 30, "a claim")
    site.terminate()
    log = site.communicate(timeout=20)[1].decode()
    secrets = [line.split()[1] for line in (state / "site.keys").read_text().splitlines()[1:3]]
    assert len(secrets) == 2 and server.claims[0]["keys"] == statements(state)
    assert not any(secret in json.dumps(server.claims) + log for secret in secrets)
    server.close()


def test_a_key_is_compared_confirmed_and_revoked(two):
    rounds, sites = two
    a, b = sites["a"].state, sites["b"].state
    nothing = site_command(a, "peers", "confirm", "b", check=False)
    assert nothing.returncode == 1 and "run `rounds-site peers` and compare" in nothing.stderr
    own = prints(site_command(b, "keys").stdout)[0][1:]
    before = section(site_command(a, "peers").stdout, "b")
    assert "not confirmed" in before and prints(before) == [["shown", *own]]
    assert prints(site_command(a, "peers", "confirm", "b").stdout) == [["confirmed", *own]]
    assert pinned(a) == {"b": statements(b)[-1]} and (a / "pins.json").stat().st_mode & 0o777 == 0o600
    after = section(site_command(a, "peers").stdout, "b")
    assert after.startswith("b: confirmed\n") and prints(after) == [["confirmed", *own]]
    again = site_command(a, "peers", "confirm", "b", check=False)
    assert again.returncode == 1 and "confirmed already" in again.stderr
    assert prints(site_command(a, "peers", "revoke", "b").stdout) == [["revoked", *own]]
    assert pinned(a) == {"b": None}
    assert section(site_command(a, "peers").stdout, "b").startswith("b: revoked here")
    held = site_command(a, "peers", "confirm", "--all", check=False)
    assert held.returncode == 1 and pinned(a) == {"b": None}, "what was revoked is confirmed by name alone"
    site_command(a, "peers", "confirm", "b")
    assert pinned(a) == {"b": statements(b)[-1]}


def test_all_that_are_new_are_confirmed_at_once(rounds):
    for name in "abcd":
        rounds.start_site(name)
    rounds.connected(*"abcd")
    a = rounds.home / "a"
    site_command(a, "peers")
    site_command(a, "peers", "confirm", "--all")
    assert pinned(a) == {name: statements(rounds.home / name)[-1] for name in "bcd"}


def test_new_keys_that_the_old_one_has_signed_are_followed(two):
    rounds, sites = two
    a, b = sites["a"].state, sites["b"].state
    site_command(a, "peers")
    site_command(a, "peers", "confirm", "b")
    running = site_command(b, "keys", "change", check=False)
    assert running.returncode == 1 and "stop rounds-site first" in running.stderr and len(statements(b)) == 1
    sites["b"].close()
    for _ in range(2):  # one of which nobody hears in between
        site_command(b, "keys", "change")
    sites["b"] = sites["b"].again()
    wait_until(lambda: rounds.api.get("/sites/b")["keys"]["generation"] == 3, what="the new keys to be told")
    own = prints(site_command(b, "keys").stdout)[0][1:]
    there = section(site_command(a, "peers").stdout, "b")
    assert there.startswith("b: confirmed\n") and prints(there) == [["confirmed", *own]]
    assert pinned(a) == {"b": statements(b)[2]}


@pytest.fixture
def confirmed(two, tmp_path):
    """b's key is pinned at a; and a server that shows what a test puts into its directory."""
    rounds, sites = two
    a = sites["a"].state
    site_command(a, "peers")
    site_command(a, "peers", "confirm", "b")
    liar = Directory(tmp_path / "liar", {"a": statements(a), "b": statements(sites["b"].state)})
    yield a, sites["b"].state, liar
    liar.close()


def test_another_key_in_the_place_of_a_confirmed_one_is_refused_and_shown(confirmed, tmp_path):
    a, b, liar = confirmed
    right = pinned(a)
    assert site_command(a, "peers", **liar.there).returncode == 0
    liar.items["b"] = strangers_keys(tmp_path / "stranger", "b")
    own, foreign = (prints(site_command(state, "keys").stdout)[0][1:] for state in (b, tmp_path / "stranger"))
    done = site_command(a, "peers", **liar.there, check=False)
    assert done.returncode == 1 and "keys are refused" in done.stderr
    there = section(done.stdout, "b")
    assert "REFUSED: this is another key than the one that was confirmed" in there
    assert prints(there) == [["shown", *foreign], ["confirmed", *own]] and pinned(a) == right
    done = site_command(a, "peers", "confirm", "--all", check=False)
    assert done.returncode == 1 and "confirmed by name alone" in done.stderr and pinned(a) == right


def test_what_was_compared_is_what_is_pinned_whatever_the_server_shows_later(rounds, tmp_path):
    for name in "ab":
        rounds.start_site(name)
    rounds.connected("a", "b")
    a, b = rounds.home / "a", rounds.home / "b"
    assert "not confirmed" in section(site_command(a, "peers").stdout, "b")
    rounds.server.kill()  # no server is asked
    site_command(a, "peers", "confirm", "b")
    assert pinned(a) == {"b": statements(b)[-1]}


def test_keys_from_before_forged_ones_and_other_sites_are_refused(confirmed, tmp_path):
    a, b, liar = confirmed
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("site.name", "site.keys"):
        shutil.copy(b / name, copy)
    site_command(copy, "keys", "change")
    old, new = statements(copy)
    liar.items["b"] = [old, new]
    assert site_command(a, "peers", **liar.there).returncode == 0
    assert pinned(a) == {"b": new}
    stranger = strangers_keys(tmp_path / "stranger", "b")[0]
    other = strangers_keys(tmp_path / "other", "c")[0]
    changed = new[:-2] + ("00" if new[-2:] != "00" else "01")
    cases = {"from before": [old], "another key": [stranger], "not signed with the key before": [old, changed],
             "is not what follows": [new, old], "no statements, or too many": [], "those of the site c": [other],
             "no statement of keys": ["00"], "hexadecimal digits": ["zz"], "too many": [new] * 17}
    for says, chain in cases.items():
        liar.items["b"] = chain
        done = site_command(a, "peers", **liar.there, check=False)
        assert done.returncode == 1 and "REFUSED" in section(done.stdout, "b"), (says, done.stdout)
        assert says in section(done.stdout, "b"), (says, done.stdout)
        assert pinned(a) == {"b": new}
    del liar.items["b"]
    assert "the server shows nothing of it" in section(site_command(a, "peers", **liar.there).stdout, "b")
    assert pinned(a) == {"b": new}


def test_a_server_that_shows_other_keys_of_this_site_is_found(confirmed, tmp_path):
    a, b, liar = confirmed
    liar.items["a"] = strangers_keys(tmp_path / "stranger", "a")
    done = site_command(a, "peers", **liar.there, check=False)
    assert done.returncode == 1 and "the server shows other keys of this site than its own" in done.stderr


def test_an_older_copy_of_the_state_directory_is_noticed(two):
    rounds, sites = two
    b = sites["b"].state
    copy = (b / "site.keys").read_bytes()
    sites["b"].close()
    site_command(b, "keys", "change")
    newer = (b / "site.keys").read_bytes()
    sites["b"] = sites["b"].again()
    wait_until(lambda: rounds.api.get("/sites/b")["keys"]["generation"] == 2, what="the new keys to be told")
    sites["b"].close()
    (b / "site.keys").write_bytes(copy)
    before = rounds.home.joinpath("b.log").stat().st_size
    sites["b"] = sites["b"].again()
    wait_until(lambda: "the server knows other keys of this site" in sites["b"].text()[before:], what="the daemon to say so")
    assert "older copy" in sites["b"].text()[before:]
    sites["b"].close()
    (b / "site.keys").write_bytes(newer)
    sites["b"] = sites["b"].again()
    rounds.connected("b")


def test_lost_keys_need_a_new_invitation_and_a_new_look(two):
    rounds, sites = two
    a, b = sites["a"].state, sites["b"].state
    site_command(a, "peers")
    site_command(a, "peers", "confirm", "b")
    sites["b"].close()
    (b / "site.keys").unlink()
    sites["b"] = sites["b"].again()
    wait_until(lambda: "the server knows other keys of this site" in sites["b"].text(), what="the daemon to say so")
    sites["b"].close()
    (b / "site.pem").unlink()
    rounds.join("b", replace=True)
    sites["b"] = sites["b"].again()
    rounds.connected("b")
    done = site_command(a, "peers", check=False)
    assert done.returncode == 1 and "REFUSED: this is another key" in section(done.stdout, "b")
    site_command(a, "peers", "confirm", "b")
    assert pinned(a) == {"b": statements(b)[-1]}


def test_a_directory_that_joins_as_another_site_gets_keys_of_its_own(rounds):
    state = rounds.join("a")
    old = (state / "site.keys").read_bytes()
    (state / "site.pem").unlink()
    invitation = rounds.api.post("/invitations", {"site": "b"})["invitation"]
    subprocess.run([BUILD / "client/rounds-site", "join", rounds.url, "--state-dir", state], input=invitation, text=True,
                   check=True, capture_output=True)
    assert (state / "site.keys.before").read_bytes() == old and (state / "site.keys").read_bytes() != old
    assert "b (this site)" in site_command(state, "keys").stdout


def rounds_command(*words, check=True):
    done = subprocess.run([BUILD / "client/rounds", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or not check, done.stderr
    return done


def test_a_consortiums_signed_list_confirms_what_it_names(rounds, tmp_path):
    for name in "abc":
        rounds.join(name)
    prints_of = {name: prints(site_command(rounds.home / name, "keys").stdout)[0][1] for name in "abc"}
    for name in "abc":
        rounds.start_site(name)
    rounds.connected(*"abc")
    a, key, path = rounds.home / "a", tmp_path / "consortium.key", tmp_path / "peers.json"
    public = rounds_command("peers", "key", key).stdout.strip()
    assert key.stat().st_mode & 0o777 == 0o600
    assert rounds_command("peers", "key", key, check=False).returncode != 0, "a key is not overwritten"

    def show(check=True, key=public):
        return site_command(a, "peers", "--peers-file", path, "--peers-key", key, check=check)

    def sign(number, peers):
        path.write_text(json.dumps({"number": number, "peers": peers}))
        path.write_text(rounds_command("peers", "sign", path, "--key", key).stdout)
        return json.loads(path.read_text())

    listed = sign(2, {name: prints_of[name] for name in "ab"})
    said = show().stdout
    assert section(said, "b").startswith("b: confirmed\n") and "not confirmed" in section(said, "c")
    assert pinned(a) == {"b": statements(rounds.home / "b")[-1], "c": None}
    changes = [lambda x: x["peers"].update(c=prints_of["c"]), lambda x: x["peers"].update(b=prints_of["c"]),
               lambda x: x.update(number=3), lambda x: x["peers"].pop("a")]
    for change in changes:
        changed = json.loads(json.dumps(listed))
        change(changed)
        path.write_text(json.dumps(changed))
        done = show(check=False)
        assert done.returncode == 1 and "is not signed with the key" in done.stderr, done.stderr
    for changes, field in [({"number": 0}, "number"), ({"extra": 1}, "extra"), ({"peers": {"b": "x"}}, "peers"),
                           ({"peers": []}, "peers"), ({"signature": "00"}, "signature")]:
        path.write_text(json.dumps({**listed, **changes}))
        done = show(check=False)
        assert done.returncode == 2 and field in done.stderr, done.stderr
    path.write_text(json.dumps(listed))
    assert "is not signed with the key" in show(check=False, key=prints_of["a"].replace(" ", "") + "0" * 24).stderr
    assert site_command(a, "peers", "--peers-file", path, check=False).returncode == 2, "a list and no key"
    sign(5, {"c": prints_of["c"]})
    assert section(show().stdout, "c").startswith("c: confirmed\n")
    path.write_text(json.dumps(listed))
    assert "an older one" in show(check=False).stderr
    site_command(a, "peers", "revoke", "c")
    sign(6, {"c": prints_of["c"]})
    assert section(show().stdout, "c").startswith("c: revoked here"), "the site has the last word"


def test_damaged_files_are_named(two):
    rounds, sites = two
    a, b = sites["a"].state, sites["b"].state
    site_command(a, "peers")
    site_command(a, "peers", "confirm", "b")
    pins = json.loads((a / "pins.json").read_text())
    entry = pins["sites"]["b"]
    entry["pinned"] = entry["pinned"][:-1] + "x"
    (a / "pins.json").write_text(json.dumps(pins))
    done = site_command(a, "peers", check=False)
    assert done.returncode == 2 and 'pins.json is damaged at "pinned" of b' in done.stderr
    sites["b"].close()
    text = (b / "site.keys").read_text()
    for damage in (text[:-20], text.replace("identity ", "identity 0"), text.replace("rounds-site keys 1", "x"), "",
                   text.replace(text.split()[4], "00" * 32)):
        (b / "site.keys").write_text(damage)
        done = site_command(b, "keys", check=False)
        assert done.returncode == 2 and "site.keys is damaged" in done.stderr, done.stderr


def test_the_server_keeps_only_what_proves_itself(rounds, tmp_path):
    site = SiteClient(rounds, "a")
    state = rounds.home / "a"
    site.facts |= {"protocol": 2, "instance": "0190f6a4-0000-4000-8000-000000000001"}
    good = statements(state)[0]
    other = strangers_keys(tmp_path / "other", "b")[0]
    for keys in (["zz"], ["00" * 40], [good[:-130] + "00" * 65], [other], [good, good], good, [good] * 17, [7]):
        with pytest.raises(Problem) as problem:
            site.claim(wait=0, keys=keys)
        assert problem.value.status == 400 and problem.value.body["field"].startswith("keys"), problem.value
    assert rounds.api.get("/sites/a")["keys"] is None
    assert site.claim(wait=0, keys=[good]) is None
    assert directory(rounds, site) == {"a": [good]}
    with pytest.raises(Problem) as problem:
        site.claim(wait=0, keys=strangers_keys(tmp_path / "stranger", "a"))
    assert problem.value.status == 409 and problem.value.body["field"] == "keys"
    assert site.claim(wait=0) is None, "a site that says nothing of its keys"
    assert directory(rounds, site) == {"a": [good]}
    with pytest.raises(Problem) as problem:
        site.claim(wait=0, keys=[good], protocol=1)
    assert problem.value.status == 400
    assert rounds.api.raw("GET", "/api/v1/peers").status_code == 403, "people see fingerprints; sites see keys"
    rounds.api.call("DELETE", "/sites/a")
    b = SiteClient(rounds, "b")
    assert directory(rounds, b) == {}, "a removed site is no peer"
