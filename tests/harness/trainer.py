"""The built-in trainer, without a daemon."""
import json
import subprocess

from harness.deployment import BUILD


class Trainer:
    """rounds-trainer over its protocol."""

    def __init__(self):
        self.popen = subprocess.Popen([BUILD / "client/rounds-trainer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, kind, dataset, params, round=1, model=None, output=None, seed=1, algorithm=None, protocol=2, **more):
        task = {"type": "task", "protocol": protocol, "kind": kind, "round": round, "seed": seed, "params": params, "dataset": dataset,
                "model": str(model) if model else None, "output": str(output) if output else "", "algorithm": algorithm, **more}
        self.popen.stdin.write(json.dumps(task) + "\n")
        self.popen.stdin.flush()
        while (line := json.loads(self.popen.stdout.readline()))["type"] not in ("result", "error"):
            pass
        return line

    def close(self):
        self.popen.stdin.close()
        assert self.popen.wait(10) == 0
