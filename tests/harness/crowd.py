"""Thousands of sites, each with a certificate and TLS connections of its own, in one process (tests/bench/many_*.c)."""
import sqlite3
import subprocess

from harness.deployment import BUILD

PROGRAMS = BUILD / "tests/bench"


class Crowd:
    """Admits `count` sites named wait-0 ... to a deployment, restarts its server, and lets all of them ask for work."""

    def __init__(self, deployment, count, work=False):
        key, certs = deployment.home / "crowd.key", deployment.home / "crowd.pem"
        issued = subprocess.check_output([PROGRAMS / "many_polls", "issue", deployment.data, str(count), key, certs], text=True)
        assert deployment.server.stop() == 0
        connection = sqlite3.connect(deployment.data / "rounds.db")
        connection.executemany("INSERT INTO site(name, state, serial, created_us, expires_us) VALUES(?, 'active', ?, 0, ?)",
                               [line.split() for line in issued.splitlines()])
        connection.commit()
        connection.close()
        deployment.start()
        self.names = [f"wait-{i}" for i in range(count)]
        self.memory_before = deployment.server.own_memory()
        program = [PROGRAMS / "many_sites"] if work else [PROGRAMS / "many_polls", "wait"]
        self.popen = subprocess.Popen([*program, str(deployment.port), key, certs, str(count), deployment.data / "ca.pem"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout.readline() == "waiting\n"

    def first_answered(self):
        """Of those that only wait, its name, and when its answer came (time.monotonic)."""
        name, at = self.popen.stdout.readline().split()
        return name, float(at)

    def delivered(self):
        """Of those that work: how many results were taken and how many refused. Ends them."""
        self.popen.stdin.close()
        taken, refused = self.popen.stdout.readline().split()
        return int(taken), int(refused)

    def close(self):
        self.popen.stdin.close()
        self.popen.kill()
        self.popen.wait()
