"""Thousands of sites that wait for work, each with a certificate and a TLS connection of its own (tests/bench/many_polls.c)."""
import sqlite3
import subprocess

from harness.deployment import BUILD

PROGRAM = BUILD / "tests/bench/many_polls"


class Crowd:
    """Admits `count` sites named wait-0 ... to a deployment, restarts its server, and lets all of them wait."""

    def __init__(self, deployment, count):
        key, certs = deployment.home / "crowd.key", deployment.home / "crowd.pem"
        issued = subprocess.check_output([PROGRAM, "issue", deployment.data, str(count), key, certs], text=True)
        assert deployment.server.stop() == 0
        connection = sqlite3.connect(deployment.data / "rounds.db")
        connection.executemany("INSERT INTO site(name, state, serial, created_us, expires_us) VALUES(?, 'active', ?, 0, ?)",
                               [line.split() for line in issued.splitlines()])
        connection.commit()
        connection.close()
        deployment.start()
        self.memory_before = deployment.server.own_memory()
        self.popen = subprocess.Popen([PROGRAM, "wait", str(deployment.port), key, certs, str(count),
                                       deployment.data / "ca.pem"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout.readline() == "waiting\n"

    def first_answered(self):
        """Its name, and when its answer came (time.monotonic)."""
        name, at = self.popen.stdout.readline().split()
        return name, float(at)

    def close(self):
        self.popen.stdin.close()
        self.popen.kill()
        self.popen.wait()
