"""How the daemons behave as processes: ports, files, signals, and what an operator reads when something is wrong."""
import os
import pathlib
import subprocess

from harness.deployment import BUILD, Deployment


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
