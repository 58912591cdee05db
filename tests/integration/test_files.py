"""Files by name: the words of protocol 2 between server and site, and what a program of today sees of them."""
import base64
import hashlib
import json
import sys

import numpy as np
import pytest

from harness import hostile
from harness.deployment import BUILD, DATA, Problem, Process, SiteClient, wait_until
from harness.weights import digest_of, save

SMALL = save({"w": np.arange(8, dtype=np.float32)})
LARGE = save({"w": np.arange(8000, dtype=np.float32)})


def plus_one(size):
    return save({"w": np.arange(size, dtype=np.float32) + 1})


class Site2(SiteClient):
    """A site of protocol 2, in its words and no others."""

    def __init__(self, deployment, name):
        super().__init__(deployment, name)
        self.facts |= {"protocol": 2, "instance": "0190f6a4-0000-4000-8000-00000000000" + name.encode().hex()[-1]}

    def deliver(self, task, files, **more):
        return self.post(f"/tasks/{task['id']}/result", {"files": files, "weight": 2, **more})


def begin(rounds, model, **params):
    site = Site2(rounds, "a")
    assert site.claim(wait=0) is None
    digest = rounds.api.upload(model)
    job = rounds.submit(sites=["a"], initial_model=digest, params={"rounds": 1, **params})
    return site, job, site.claim()


def told(data):
    return {"digest": digest_of(data), "size": len(data)}


@pytest.mark.parametrize("model, update", [(SMALL, plus_one(8)), (LARGE, plus_one(8000))])
def test_a_task_and_its_result_have_their_files_by_name(rounds, model, update):
    site, job, task = begin(rounds, model)
    small = len(model) <= 12 * 1024
    data = {"data": base64.b64encode(model).decode()} if small else {}
    assert task["files"] == {"model": {**told(model), **data}}
    assert not {"model", "model_size", "model_data", "control"} & set(task), "the words of protocol 1"
    assert site.download(told(model)["digest"]) == model
    if small:
        entry = {**told(update), "data": base64.b64encode(update).decode()}
    else:
        entry = told(update)
        site.upload(update)
        with pytest.raises(Problem) as problem:
            site.download(entry["digest"])
        assert problem.value.status == 404, "it may read what its open task names, not what it has brought"
    answer = site.deliver(task, {"update": entry, "model": told(b"not asked for")})
    assert {name: answer[name] for name in ("accepted", "files")} == {"accepted": True, "files": {"update": told(update)}}
    assert site.deliver(task, {"update": entry}) == answer, "the first one's answer"
    with pytest.raises(Problem) as problem:
        site.download(told(model)["digest"])
    assert problem.value.status == 404, "its task is over"
    task = wait_until(lambda: site.claim(wait=1), what="the last model's evaluation")
    assert (task["kind"], set(task["files"])) == ("evaluate", {"model"})
    assert site.deliver(task, {})["files"] == {}
    rounds.wait_for(job, "completed")
    row = rounds.tasks(job, round=1)
    train = next(t for t in row if t["kind"] == "train")
    assert (train["files"], train["result_files"]) == ({"model": told(model)}, {"update": told(update)})
    assert (train["model"], train["update"], train["control"]) == (digest_of(model), digest_of(update), None)
    assert next(t for t in row if t["kind"] == "evaluate")["result_files"] == {}


GOOD = told(SMALL)


@pytest.mark.parametrize("files, field", [
    ({}, "files.update"), ({"weights": GOOD}, "files.update"), ([], "files"), ("update", "files"), ({"../x": GOOD}, "files"),
    ({"Update": GOOD}, "files"), ({"x" * 64: GOOD}, "files"), ({"": GOOD}, "files"), ({"update": GOOD["digest"]}, "files.update"),
    ({"update": {"digest": "md5:1"}}, "files.update.digest"), ({"update": {**GOOD, "size": -1}}, "files.update.size"),
    ({"update": {**GOOD, "size": 7, "data": base64.b64encode(SMALL).decode()}}, "files.update.size"),
    ({f"f{i}": GOOD for i in range(1025)}, "files"),
])
def test_what_are_no_files_fails_the_task_and_names_the_member(rounds, files, field):
    site, job, task = begin(rounds, SMALL)
    with pytest.raises(Problem) as problem:
        site.deliver(task, files)
    assert (problem.value.status, problem.value.body["field"]) == (400, field), problem.value.body
    assert "its result was refused" in rounds.wait_for(job, "failed")["reason"]


def test_what_came_with_the_result_and_is_wrong_may_be_uploaded(rounds):
    site, job, task = begin(rounds, SMALL, evaluate_last=False)
    update = plus_one(8)
    for data in ("???", base64.b64encode(SMALL).decode(), base64.b64encode(bytes(20000)).decode(), 7):
        with pytest.raises(Problem) as problem:
            site.deliver(task, {"update": {**told(update), "data": data}})
        assert (problem.value.status, problem.value.body["field"]) == (400, "files.update.data")
    with pytest.raises(Problem) as problem:
        site.deliver(task, {"update": told(update)})
    assert problem.value.kind == "blob-missing"
    site.upload(update)
    assert site.deliver(task, {"update": told(update)})["accepted"]
    assert rounds.wait_for(job, "completed")["model"] == digest_of(update)


PROGRAM = """
import json, os
for line in iter(input, ""):
    task = json.loads(line)
    names = task["params"]["names"]
    for name in names:
        with open(os.path.join(task["scratch"], os.path.basename(name)), "wb") as file:
            file.write(name.encode() * task["params"]["times"])
            for given in sorted(task["files"]):
                file.write(open(task["files"][given], "rb").read())
    print(json.dumps({"type": "result", "weight": 1, "files": names}), flush=True)
"""


class Ward:
    """The real daemon, joined to a server that is this test, with a program that brings what the task's `names` say."""

    def __init__(self, home, tasks, files, program=PROGRAM):
        (home / "program.py").write_text(program)
        self.server = hostile.Tasks(home / "server", tasks, answers={f"/blobs/{told(data)['digest']}": (200, data) for data in files})
        state = self.server.joined(home / "state")
        config = {"state_dir": str(state), "executors": {"new": {"command": [sys.executable, str(home / "program.py")]}},
                  "datasets": {"none": {"path": str(DATA / "wdbc/test.csv")}}}
        (home / "site.json").write_text(json.dumps(config))
        self.site = Process([BUILD / "client/rounds-site", "--config", home / "site.json"], home / "site.log")

    def close(self):
        self.site.close()
        self.server.close()


def task_of(names, files, times=1, **more):
    return {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "job": "01890a5d-ac96-774b-bcce-b302099a8058", "kind": "combine",
            "job_name": "n", "round": 1, "rounds": 1, "seed": 1, "algorithm": None, "share": ["*"], "dataset": "none",
            "executor": "new", "trainer": {"names": names, "times": times}, "lease_seconds": 60, "timeout_seconds": 0,
            "files": files, **more}


def test_a_program_sees_every_file_and_may_bring_several(tmp_path):
    given = {"masked.a": b"from a", "masked.b": b"from b" * 1500, "share.b": b"key"}
    files = {name: told(data) for name, data in given.items()}
    files["masked.a"]["data"] = base64.b64encode(given["masked.a"]).decode()
    ward = Ward(tmp_path, [task_of(["sum", "new.json"], files)], list(given.values())[1:])
    wait_until(lambda: ward.server.heard("result"), 30, "the result")
    brought = ward.server.heard("result")[0]["files"]
    whole = b"".join(given[name] for name in sorted(given))
    assert {name: (file["digest"], file["size"]) for name, file in brought.items()} == {
        name: ("sha256:" + hashlib.sha256(name.encode() + whole).hexdigest(), len(name) + len(whole)) for name in ("sum", "new.json")}
    wait_until(lambda: not list((tmp_path / "state/spool").iterdir()), 30, "the delivered result to leave the spool")
    assert ward.site.stop() == 0
    ward.close()


@pytest.mark.parametrize("names", [["../../spool"], ["/etc/passwd"], ["Sum"], [7], "sum", {"sum": 1}, [""]])
def test_no_name_of_a_program_becomes_a_path(tmp_path, names):
    ward = Ward(tmp_path, [task_of([], {})], [], PROGRAM.replace('"files": names', f'"files": {names!r}'))
    wait_until(lambda: ward.server.heard("failure"), 30, "the failure")
    assert ward.server.heard("failure")[0]["kind"] == "output" and not ward.server.heard("result")
    assert ward.site.stop() == 0
    ward.close()
