"""How the daemons behave as processes: ports, files, signals, and what an operator reads when something is wrong."""
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess

from harness.deployment import BUILD, Api, Deployment, wait_until


def limits(process):
    lines = pathlib.Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    return {line[:26].strip(): line[26:].split()[:2] for line in lines[1:]}


def open_to_others(folder):
    """Everything in a folder, and itself, that somebody but its owner may read, write or enter."""
    return [str(path) for path in [folder, *folder.rglob("*")]
            if not path.is_symlink() and path.lstat().st_mode & 0o077 and not path.is_socket()]


def test_a_second_server_on_a_port_refuses_and_says_why(rounds, tmp_path):
    other = Deployment(tmp_path / "other")
    other.home.mkdir()
    other.init()
    tried = subprocess.run([BUILD / "server/rounds-server", "--data-dir", other.data, "--address", "127.0.0.1", "--port",
                            str(rounds.port)], capture_output=True, text=True, timeout=30)
    assert tried.returncode == 1
    assert f"already listens on port {rounds.port}" in tried.stderr and "--port" in tried.stderr
    rounds.restart()  # its own port is free again at once


def test_both_families_at_one_socket(stopped):
    stopped.host = "::"
    stopped.hosts = lambda: ["--hosts", "localhost,127.0.0.1,::1"]
    stopped.start()
    for host in ("127.0.0.1", "[::1]"):
        answer = stopped.api.session.get(f"https://{host}:{stopped.port}/healthz", timeout=20)
        assert answer.status_code == 200
    wrong = {"name": "nobody", "password": "wrong wrong"}
    stopped.api.session.post(f"https://127.0.0.1:{stopped.port}/api/v1/session", json=wrong, timeout=20)
    assert "address=127.0.0.1" in stopped.server.text(), "an IPv4 address is told as one"


def test_what_the_daemons_keep_is_for_their_own_user(stopped):
    old = os.umask(0o022)
    try:
        stopped.init()
        (stopped.data / "rounds.db").chmod(0o644)  # as an earlier release left it
        stopped.start()
        site = stopped.start_site("hospital-a")
        stopped.connected("hospital-a")
        job = stopped.submit(sites=["hospital-a"], params={"rounds": 1})
        stopped.wait_for(job, "completed")
    finally:
        os.umask(old)
    assert open_to_others(stopped.data) == []
    assert open_to_others(site.state) == []


def test_a_crash_leaves_no_image_of_memory(rounds):
    site = rounds.start_site("hospital-a")
    rounds.connected("hospital-a")
    for process in (rounds.server, site):
        assert limits(process)["Max core file size"] == ["0", "0"]


def own_certificate(folder, name, days=90):
    """A certificate of an authority of the operator's own, with its chain: (authority, chain, key)."""
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=folder)
    folder.mkdir(exist_ok=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "own-ca.key", "-out",
            "own-ca.pem", "-subj", "/CN=The hospital's authority", "-days", days)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "own.key", "-out", "own.csr",
            "-subj", f"/CN={name}")
    (folder / "own.ext").write_text(f"subjectAltName=DNS:{name}\n")
    openssl("x509", "-req", "-in", "own.csr", "-CA", "own-ca.pem", "-CAkey", "own-ca.key", "-CAcreateserial", "-out", "own.pem",
            "-days", days, "-extfile", "own.ext")
    (folder / "chain.pem").write_text((folder / "own.pem").read_text() + (folder / "own-ca.pem").read_text())
    return folder / "own-ca.pem", folder / "chain.pem", folder / "own.key"


def shown(port, name, authority):
    """The certificate that who asks for this name is shown, or None if the authority does not stand for it."""
    context = ssl.create_default_context(cafile=authority)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=name) as wire:
                return wire.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError:
        return None


def test_an_own_certificate_is_shown_to_those_who_ask_for_its_name(stopped):
    authority, chain, key = own_certificate(stopped.home / "first", "rounds.test")
    config = stopped.home / "server.json"
    config.write_text(json.dumps({"certificate": str(chain), "key": str(key), "log_level": "info"}))
    stopped.start("--config", config)
    first = shown(stopped.port, "rounds.test", authority)
    assert first and shown(stopped.port, "rounds.test", stopped.data / "ca.pem") is None
    assert shown(stopped.port, "localhost", stopped.data / "ca.pem"), "sites go on with what they were joined with"
    site = stopped.start_site("hospital-a")
    stopped.connected("hospital-a")
    # Renewed in place, and more told: SIGHUP.
    other, chain_2, key_2 = own_certificate(stopped.home / "second", "rounds.test")
    chain.write_bytes(chain_2.read_bytes()), key.write_bytes(key_2.read_bytes())
    config.write_text(json.dumps({"certificate": str(chain), "key": str(key), "log_level": "debug"}))
    stopped.server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in stopped.server.text(), what="the reload")
    assert shown(stopped.port, "rounds.test", other) not in (None, first)
    stopped.api.get("/jobs")
    wait_until(lambda: "level=debug" in stopped.server.text(), what="more in the log")
    # What is wrong changes nothing.
    key.write_text("no key")
    stopped.server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: "nothing is reloaded" in stopped.server.text(), what="the refusal")
    assert shown(stopped.port, "rounds.test", other)
    assert site.alive() and stopped.server.alive()


def test_a_certificate_and_a_key_that_do_not_belong_together(stopped):
    stopped.init()
    _, chain, _ = own_certificate(stopped.home / "first", "rounds.test")
    _, _, key = own_certificate(stopped.home / "second", "rounds.test")
    for options, wanted in (
            (["--certificate", chain, "--key", key], "do not belong together"), (["--certificate", chain], "key is needed"),
            (["--certificate", key, "--key", chain], "in PEM"), (["--certificate", "/nowhere", "--key", key], "/nowhere")):
        tried = subprocess.run([BUILD / "server/rounds-server", "--data-dir", stopped.data, "--port", "0", *options],
                               capture_output=True, text=True, timeout=30)
        assert tried.returncode != 0 and wanted in tried.stderr, tried.stderr


def test_a_hangup_ends_no_site_and_changes_its_log(rounds):
    site = rounds.start_site("hospital-a", log_level="warn")
    rounds.connected("hospital-a")
    path = rounds.home / "hospital-a.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "log_level": "debug"}))
    site.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in site.text(), what="the reload")
    path.write_text("{nothing")
    site.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: "nothing is reloaded" in site.text(), what="the refusal")
    job = rounds.submit(sites=["hospital-a"], params={"rounds": 1})
    rounds.wait_for(job, "completed")
    assert site.stop() == 0


def test_lines_as_json_as_it_is_documented(stopped):
    for options in (["--log-json"], ["--log-json", "true"], ["--log-json=true"]):
        stopped.start(*options)
        wait_until(lambda: '"listening"' in stopped.server.text(), what="the line")
        assert all(json.loads(line)["msg"] for line in stopped.server.text().splitlines())
        stopped.server.stop()
    stopped.start("--log-json", "false")
    wait_until(lambda: "msg=listening" in stopped.server.text(), what="the line")


def test_a_lost_administrator_gets_a_new_way_in(rounds):
    def reset(*words):
        return subprocess.run([BUILD / "server/rounds-server", "reset-admin", *words, "--data-dir", rounds.data,
                               "--port", str(rounds.port)], capture_output=True, text=True, timeout=30)

    link = rounds.api.post("/users", {"name": "eve", "role": "viewer"})["setup_link"]
    old = rounds.api.post("/session/setup", {"setup": link.rsplit("/", 1)[1], "password": "correct horse battery"})
    refused = reset()
    assert refused.returncode != 0 and "stop the server first" in refused.stderr
    assert rounds.server.stop() == 0
    for name in ("admin", "eve", "new"):
        done = reset(*([] if name == "admin" else [name]))
        assert done.returncode == 0 and f'"{name}"' in done.stdout, done.stderr
        secret = re.search(r"#/setup/([0-9a-f]{64})", done.stdout)[1]
        rounds.start()
        api = Api(rounds.url, rounds.data / "ca.pem")
        opened = api.post("/session/setup", {"setup": secret, "password": "another horse entirely"})
        assert (opened["name"], opened["role"]) == (name, "admin")
        assert rounds.server.stop() == 0
    assert old["role"] == "viewer" and reset("a b").returncode == 2


def test_a_login_that_fails_keeps_the_one_that_was_there(rounds):
    rounds.login()
    for words, stdin, wanted in (
            ([rounds.url, "--ca-fingerprint", rounds.fingerprint], "rounds_wrong", "not known"),
            ([rounds.url, "--ca-fingerprint", "sha256:" + "0" * 64], rounds.token, "not the server that was meant"),
            ([rounds.url], rounds.token, "--ca-fingerprint"),
            (["https://localhost:1", "--ca-fingerprint", rounds.fingerprint], rounds.token, "localhost:1")):
        failed = rounds.rounds("login", *words, stdin=stdin, check=False)
        assert failed.returncode != 0 and wanted in failed.stderr, failed.stderr
        assert "admin" in rounds.rounds("whoami").stdout
    assert rounds.api.get("/version")["authority"] == rounds.fingerprint


def test_what_cannot_be_undone_is_asked(clinic):
    job = clinic.submit(sites=["hospital-a"], params={"rounds": 1})
    clinic.wait_for(job, "completed")
    asked = clinic.rounds("job", "delete", job, stdin="n\n", check=False)
    assert asked.returncode == 2 and "[y/N]" in asked.stderr and clinic.job(job)["state"] == "completed"
    clinic.rounds("job", "delete", job, stdin="y\n")
    assert not clinic.api.get("/jobs")["items"]
