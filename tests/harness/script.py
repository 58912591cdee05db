"""A script with the Python package, run as rounds-site would: its pipes are in the test's hand, without server or daemon."""
import json
import os
import select
import subprocess

import safetensors.numpy

from harness.deployment import TOP

PYTHON = os.environ.get("ROUNDS_PYTHON", "/usr/bin/python3")  # with torch and scikit-learn: by default Debian's


class Script:
    """Starts `text` as a script in the folder `home`; tasks go in, lines come out."""

    def __init__(self, home, text, protocol=2, command=(PYTHON,), dataset=None, **environment):
        self.home, self.protocol = home, protocol
        self.dataset = {"name": "data", **(dataset or {})}
        (home / "script.py").write_text(text)
        (home / "own").mkdir(exist_ok=True)
        self.stderr = open(home / "stderr", "ab")
        self.process = subprocess.Popen([*command, home / "script.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr,
                                        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP / "client/python"), "HOME": str(home),
                                             "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "ROUNDS_PROTOCOL": str(protocol), **environment})
        self.lines, self.heard = [], b""

    def say(self, kind="train", model=None, round=1, control=None, metadata=None, **members):
        """Hands over a task; `model` and `control` are {name: array}, or the path of a file."""
        for name, tensors in (("model", model), ("control", control)):
            if isinstance(tensors, dict):
                safetensors.numpy.save_file(tensors, self.home / name, metadata if name == "model" else None)
                tensors = self.home / name
            members[name] = None if tensors is None else str(tensors)
        (self.home / "output").unlink(missing_ok=True)
        task = {"type": "task", "protocol": self.protocol, "id": "i", "job": "j", "job_name": "job", "round": round, "rounds": 9,
                "site": "here", "seed": 1, "kind": kind, "params": {}, "dataset": self.dataset, "algorithm": None, "share": ["*"],
                "own": str(self.home / "own"), "scratch": str(self.home), "output": str(self.home / "output"), **members}
        self.process.stdin.write(json.dumps(task).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, seconds=60):
        """The next line of the protocol; None when the script has ended."""
        while b"\n" not in self.heard:
            assert select.select([self.process.stdout], [], [], seconds)[0], f"nothing came in {seconds} s: {self.errors()}"
            block = os.read(self.process.stdout.fileno(), 1 << 16)
            if not block:
                return None
            self.heard += block
        line, self.heard = self.heard.split(b"\n", 1)
        self.lines.append(json.loads(line))
        return self.lines[-1]

    def answer(self, *words, **members):
        """A task's result or error, past what comes before."""
        self.say(*words, **members)
        while (line := self.hear()) is not None:
            if line["type"] in ("result", "error"):
                return line
        raise AssertionError("the script ended: " + self.errors())

    def sent(self):
        """What it wrote: {name: array}."""
        return safetensors.numpy.load_file(self.home / "output")

    def logs(self):
        return [line["message"] for line in self.lines if line["type"] == "log"]

    def errors(self):
        return (self.home / "stderr").read_text(errors="replace")

    def close(self):
        """As the daemon ends it: no more input, then the end."""
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.stderr.close()
