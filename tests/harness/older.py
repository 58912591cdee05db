"""A hospital that has not updated its program: a site of protocol 1, in the words of the first release and no others.

It does what that release's daemon did: the order of calls, the members of each body, what it does with a refusal.
"""
import base64
import time

import numpy as np

from harness.deployment import Problem, SiteClient, wait_until
from harness.weights import digest_of, load, save

# The members of a task as protocol 1 has them; `model_data` comes with a small model.
TASK = {"traceparent", "id", "job", "job_name", "round", "rounds", "kind", "model", "model_size", "control", "algorithm",
        "share", "dataset", "executor", "trainer", "seed", "lease_seconds", "timeout_seconds"}
PASSING = {"unavailable", "too-many-requests", "no-space", "no-memory", "io", "internal"}
SMALL = 12 * 1024


class OlderSite(SiteClient):
    """Its training adds `step` to every value; its weight is that of its name."""

    STEPS = {"a": (1.0, 3), "b": (0.25, 5)}

    def __init__(self, deployment, name, **options):
        super().__init__(deployment, name, **options)
        self.held = []  # ids of tasks that it is in the middle of

    def claim_older(self, wait=1):
        task = self.claim(wait, holding=self.held)
        if task:
            assert set(task) - {"model_data"} == TASK, "an older site is told what it knows"
        return task

    def beat(self, task, stage="training", fraction=0.5, metrics=None):
        """False once the task was called off."""
        body = {"stage": stage, "fraction": fraction}
        if metrics:
            body["metrics"] = metrics
        try:
            answer = self.post(f"/tasks/{task['id']}/heartbeat", body)
        except Problem as problem:
            assert problem.kind not in PASSING, problem
            return False
        assert set(answer) == {"state", "lease_seconds"}
        return True

    def model_of(self, task):
        data = base64.b64decode(task["model_data"]) if "model_data" in task else self.download(task["model"])
        assert digest_of(data) == task["model"] and len(data) == task["model_size"]
        return load(data)

    def train(self, task):
        """The result's body."""
        step, weight = self.STEPS[self.name]
        tensors = self.model_of(task)
        timings = {"download": 0.01, "train": 0.02, "upload": 0.01, "downloaded": task["model_size"], "round_trip": 0.001}
        body = {"weight": weight, "metrics": {"value": float(tensors["w"][0])}, "timings": timings}
        if task["kind"] == "train":
            data = save({name: (values + np.float32(step)).astype(np.float32) for name, values in tensors.items()})
            body |= {"update": digest_of(data)}
            if len(data) <= SMALL:
                body |= {"update_data": base64.b64encode(data).decode()}
            else:
                self.upload(data)
            timings["uploaded"] = len(data)
        return body

    def deliver(self, task, body):
        return self.post(f"/tasks/{task['id']}/result", body)

    def fail(self, task, reason, retry=True):
        return self.post(f"/tasks/{task['id']}/failure", {"reason": reason, "retry": retry})

    def do(self, task):
        assert self.beat(task, "downloading", None) and self.beat(task, metrics={"value": 1.0})
        answer = self.deliver(task, self.train(task))
        assert answer["accepted"] and set(answer) == {"accepted", "task", "round", "update", "distance"}


def work_until(sites, over, seconds=60):
    """Lets the sites do what comes until over() is true."""
    end = time.monotonic() + seconds
    while not over():
        assert time.monotonic() < end, "the sites have worked too long"
        for site in sites:
            task = site.claim_older(wait=0)
            if task:
                site.do(task)
    return wait_until(over)
