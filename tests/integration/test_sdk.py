"""Any program as trainer: the Python package with PyTorch, scikit-learn and NumPy, a shell script, a program in C."""
import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import BUILD, DATA, TOP, WDBC, Problem, SiteClient, wait_until
from harness.script import PYTHON
from harness.weights import save

PACKAGE = TOP / "client/python"
EXAMPLES = PACKAGE / "examples"
NAMES = ["hospital-a", "hospital-b", "hospital-c", "hospital-d"]


def executor(script):
    # A thread each: four programs share this machine, and threads that wait for each other spin.
    return {"command": [PYTHON, str(script)],
            "environment": [f"PYTHONPATH={PACKAGE}", "PYTHONDONTWRITEBYTECODE=1", "OMP_NUM_THREADS=1"]}


def start(rounds, script, dataset, names=NAMES):
    for name in names:
        rounds.start_site(name, executors={"script": executor(script)}, datasets={"data": dataset(name)})
    rounds.connected(*names)


def digits(name):
    return {"path": str(DATA / f"digits/{name}.csv"), "label": "digit"}


def submit(rounds, names=NAMES, **spec):
    return rounds.submit(executor="script", dataset="data", sites=names, **spec)


def metric(rounds, job, name):
    return [m["value"] for m in sorted(rounds.api.get(f"/jobs/{job}/metrics?name={name}&site=")["items"],
                                       key=lambda m: m["round"])]


@pytest.mark.parametrize("workflow, params", [("scaffold", {}), ("fedprox", {"mu": 0.1}), ("fedadam", {"tau": 0.01}),
                                              ("fednova", {}), ("cyclic", {"rounds": 4})])
def test_pytorch_on_digits(rounds, workflow, params):
    start(rounds, EXAMPLES / "digits_torch.py", digits)
    job = submit(rounds, workflow=workflow, params={"rounds": 12, **params}, trainer={"epochs": 2})
    done = rounds.wait_for(job, "completed", seconds=120)
    model = safetensors.numpy.load(rounds.api.download(done["model"]))
    assert {name: array.shape for name, array in model.items()} == {
        "0.weight": (32, 64), "0.bias": (32,), "2.weight": (10, 32), "2.bias": (10,)}
    # On images that no hospital has.
    with open(DATA / "digits/test.csv") as file:
        rows = list(csv.DictReader(file))
    x = np.array([[float(v) for k, v in row.items() if k != "digit"] for row in rows]) / 16
    y = np.array([int(row["digit"]) for row in rows])
    hidden = np.maximum(x @ model["0.weight"].T + model["0.bias"], 0)
    assert np.mean((hidden @ model["2.weight"].T + model["2.bias"]).argmax(1) == y) > 0.85
    assert rounds.rounds_verify(job)["good"] and not [e for e in rounds.events(job) if e["kind"] == "task_failed"]


def test_scaffolds_steps_are_those_of_the_reference(rounds, tmp_path):
    """A linear torch model with full-batch steps against the paper in float64."""
    script = tmp_path / "train.py"
    script.write_text("""
import csv, torch, rounds
model = torch.nn.Linear(3, 1)
torch.nn.init.zeros_(model.weight); torch.nn.init.zeros_(model.bias)
for task in rounds.tasks():
    task.load_into(model)
    rows = [[float(v) for v in r] for r in list(csv.reader(open(task.dataset["path"])))[1:]]
    data = torch.tensor(rows)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    task.attach(optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(data[:, :3])[:, 0], data[:, 3]).backward()
        optimizer.step()
    rounds.send(model, num_samples=len(rows))
""")
    from reference import federated
    rng = np.random.default_rng(4)
    sites = []
    for name in NAMES:
        x = rng.normal(size=(30, 3)).astype(np.float32)
        y = (x @ rng.normal(size=3) > 0).astype(np.float32)
        np.savetxt(tmp_path / f"{name}.csv", np.column_stack([x, y]), delimiter=",", header="a,b,c,y", comments="", fmt="%.9g")
        sites.append((x.astype(float), y.astype(float)))
    start(rounds, script, lambda name: {"path": str(tmp_path / f"{name}.csv"), "label": "y"})
    for workflow, params, expected in [
            ("scaffold", {}, federated.scaffold(np.zeros(4), sites, 20, 4, 0.2)),
            ("fedprox", {"mu": 0.7}, federated.fedprox(np.zeros(4), sites, 20, 4, 0.2, 0.7))]:
        job = submit(rounds, workflow=workflow, params={"rounds": 20, "evaluate_last": False, **params},
                     initial_model=rounds.api.upload(save({"weight": np.zeros((1, 3), np.float32), "bias": np.zeros(1, np.float32)})))
        model = safetensors.numpy.load(rounds.api.download(rounds.wait_for(job, "completed")["model"]))
        got = np.append(model["weight"][0], model["bias"]).astype(float)
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max(), workflow


def test_only_adapters_travel(rounds):
    start(rounds, EXAMPLES / "digits_lora.py", digits)
    job = submit(rounds, params={"rounds": 6}, share=["*lora*"])
    done = rounds.wait_for(job, "completed", seconds=120)
    model = safetensors.numpy.load(rounds.api.download(done["model"]))
    assert set(model) == {f"{layer}.lora_{part}" for layer in (0, 2) for part in "ab"}
    accuracy = metric(rounds, job, "accuracy")
    assert len(accuracy) == 7 and accuracy[-1] > 0.8 > accuracy[0]


def test_scikit_learn_on_diabetes(rounds, tmp_path):
    subprocess.run([PYTHON, "-c", f"""
import numpy as np
from sklearn.datasets import load_diabetes
data = load_diabetes()
x, y = data.data * 21, (data.target - data.target.mean()) / data.target.std()
for i, rows in enumerate(np.array_split(np.random.default_rng(0).permutation(len(y)), 4)):
    np.savetxt(r'{tmp_path}/hospital-' + 'abcd'[i] + '.csv', np.column_stack([x[rows], y[rows]]), delimiter=',',
               header=','.join(data.feature_names) + ',y', comments='')
"""], check=True)
    start(rounds, EXAMPLES / "diabetes_sklearn.py", lambda name: {"path": str(tmp_path / f"{name}.csv"), "label": "y"})
    job = submit(rounds, params={"rounds": 8})
    rounds.wait_for(job, "completed", seconds=120)
    r2 = metric(rounds, job, "r2")
    assert len(r2) == 9 and r2[-1] > 0.4, "least squares on all of it gives 0.52"


def cancer(name):
    return {"path": str(DATA / f"wdbc/{name}.csv"), **WDBC}


@pytest.mark.parametrize("workflow, laps, trees", [("xgboost_bagging", 10, 40), ("xgboost_cyclic", 4, 16)])
def test_xgboost_opens_the_merged_booster(rounds, tmp_path, workflow, laps, trees):
    rounds.login()
    start(rounds, EXAMPLES / "wdbc_xgboost.py", cancer)
    job = submit(rounds, workflow=workflow, params={"rounds": laps})
    rounds.wait_for(job, "completed", seconds=120)
    rounds.rounds("job", "download", job, "--to", tmp_path / "model.json")
    done = subprocess.run([PYTHON, "-c", f"""
import csv, json, numpy as np, xgboost
booster = xgboost.Booster(model_file=r'{tmp_path}/model.json')
rows = list(csv.DictReader(open(r'{DATA}/wdbc/test.csv')))
x = np.array([[float(v) for k, v in row.items() if k != 'diagnosis'] for row in rows])
y = np.array([row['diagnosis'] == 'malignant' for row in rows])
print(json.dumps([booster.num_boosted_rounds(), float(np.mean((booster.predict(xgboost.DMatrix(x)) > 0.5) == y))]))
"""], capture_output=True, text=True, check=True)
    count, accuracy = json.loads(done.stdout)
    assert count == trees and accuracy > 0.9
    assert rounds.rounds_verify(job)["good"] and not [e for e in rounds.events(job) if e["kind"] == "task_failed"]


def booster_bytes(trees, change=0.0):
    forest = {"gbtree_model_param": {"num_trees": str(trees)}, "tree_info": [0] * trees,
              "trees": [{"id": i, "left_children": [-1], "right_children": [-1], "split_indices": [0],
                         "split_conditions": [0.5 + change]} for i in range(trees)]}
    document = json.dumps({"learner": {"gradient_booster": {"name": "gbtree", "model": forest}}, "version": [1, 7, 4]})
    return save({"booster": np.frombuffer(document.encode(), np.uint8)})


@pytest.mark.parametrize("update, words", [
    (save({"booster": np.frombuffer(b"{not json", np.uint8)}), "not an XGBoost model in JSON"),
    (save({"booster": np.frombuffer(b"{}", np.uint8)}), "no learner.gradient_booster"),
    (save({"w": np.zeros(3, np.float32)}), 'must hold the tensor "booster"'),
    (booster_bytes(1), "has 1 trees, the model that it should go on from 2"),
    (save({"booster": np.full(17 << 20, ord(" "), np.uint8)}), "twice the model's and 16 MB"),
    (booster_bytes(3, change=0.1), "tree 0 of the booster is not that of the model"),
    (save({"booster": np.frombuffer(b'{"learner":{"gradient_booster":{"name":"dart","model":{}}}}', np.uint8)}), "gbtree"),
])
def test_a_booster_that_is_none_is_refused(rounds, update, words):
    site = SiteClient(rounds, "a")
    site.claim(wait=0)
    job = rounds.submit(workflow="xgboost_bagging", sites=["a"], initial_model=rounds.api.upload(booster_bytes(2)),
                        params={"rounds": 1})
    task = site.claim()
    with pytest.raises(Problem) as problem:
        site.result(task, site.upload(update))
    assert problem.value.status == 422 and words in str(problem.value)
    assert words in rounds.wait_for(job, "failed")["reason"]


def test_a_trainer_in_shell(rounds):
    for name in NAMES:
        rounds.start_site(name, executors={"shell": {"command": [str(TOP / "client/examples/trainer.sh")]}},
                          datasets={"data": digits(name)})
    rounds.connected(*NAMES)
    model = rounds.api.upload(save({"w": np.arange(4, dtype=np.float32)}))
    job = rounds.submit(executor="shell", dataset="data", sites=NAMES, initial_model=model, params={"rounds": 2})
    assert rounds.wait_for(job, "completed")["model"] != ""
    rows = {m["site"]: m["value"] for m in rounds.api.get(f"/jobs/{job}/metrics?name=rows")["items"]}
    assert rows["hospital-a"] == sum(1 for _ in open(DATA / "digits/hospital-a.csv")) - 1


def test_a_trainer_in_c(rounds, tmp_path):
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "trainer", TOP / "client/examples/trainer.c", "-ljansson"],
                   check=True)
    for name in NAMES[:2]:
        rounds.start_site(name, executors={"c": {"command": [str(tmp_path / "trainer")]}}, datasets={"data": digits(name)})
    rounds.connected(*NAMES[:2])
    model = rounds.api.upload(save({"w": np.arange(4, dtype=np.float32)}))
    job = rounds.submit(executor="c", dataset="data", sites=NAMES[:2], initial_model=model, params={"rounds": 3})
    result = safetensors.numpy.load(rounds.api.download(rounds.wait_for(job, "completed")["model"]))
    assert np.array_equal(result["w"], np.arange(4) + 3)


@pytest.mark.parametrize("script, words", [
    ("raise ValueError('no data here')", "ValueError: no data here"),
    ("import rounds\nfor task in rounds.tasks():\n  task.load_into({'v': __import__('numpy').zeros(3)})", 'a tensor "w" that this model does not have'),
    ("import rounds\ntask = rounds.receive()\nrounds.send({'w': task.weights['w']}, metrics={'a': 'high'})", "the metric \"a\" is a str, which is no number"),
    ("import rounds\nfor task in rounds.tasks():\n  pass", "without rounds.send"),
    ("import rounds\ntask = rounds.receive()\nrounds.send({'w': task.weights['w'][:2]})", 'tensor "w" is F32[2] where the model has F32[4]'),
    ("import rounds\ntask = rounds.receive()\nrounds.send({'w': task.weights['w'].astype('complex64')})", "complex64"),
])
def test_a_script_that_is_wrong_is_told_so(rounds, tmp_path, script, words):
    (tmp_path / "wrong.py").write_text(script)
    start(rounds, tmp_path / "wrong.py", digits, names=["hospital-a"])
    model = rounds.api.upload(save({"w": np.arange(4, dtype=np.float32)}))
    job = submit(rounds, names=["hospital-a"], initial_model=model, params={"rounds": 1}, max_attempts=1)
    if "where the model has" in words:  # the server sees it
        assert words in rounds.wait_for(job, "failed")["reason"]
    else:
        rounds.fails_in_private(job, words)


def test_prints_are_in_the_sites_log_and_break_nothing(rounds, tmp_path):
    (tmp_path / "loud.py").write_text("""
import rounds
print("device: cpu", flush=True)
for task in rounds.tasks():
    print("epoch 1 done", flush=True)
    rounds.log("a word for all")
    rounds.send(task.weights)
""")
    rounds.start_site("hospital-a", datasets={"data": digits("hospital-a")},
                      executors={"script": {**executor(tmp_path / "loud.py"), "share_log": True}})
    rounds.connected("hospital-a")
    job = submit(rounds, names=["hospital-a"], initial_model=rounds.api.upload(save({"w": np.ones(2, np.float32)})), params={"rounds": 2})
    rounds.wait_for(job, "completed")
    log = next(p for p in rounds.processes if getattr(p, "name", "") == "hospital-a").text()
    assert log.count("device: cpu") == 1 and log.count("epoch 1 done") == 2
    wait_until(lambda: [e for e in rounds.events(job) if "a word for all" in e["message"]], what="what is shared")
    assert not [e for e in rounds.events(job) if "epoch" in e["message"]], "prints stay there, whatever is shared"


def test_a_script_that_does_not_correct_its_steps_is_refused(rounds, tmp_path):
    (tmp_path / "plain.py").write_text("import rounds\nfor task in rounds.tasks():\n  rounds.send(task.weights)\n")
    start(rounds, tmp_path / "plain.py", digits, names=["hospital-a"])
    model = rounds.api.upload(save({"w": np.arange(4, dtype=np.float32)}))
    for workflow, words in (("scaffold", "call task.attach(optimizer)"), ("ditto", "asks for personal_lambda"),
                            ("fednova", "call task.attach(optimizer)"), ("qfedavg", "did not report train_loss_before")):
        job = submit(rounds, names=["hospital-a"], initial_model=model, workflow=workflow, params={"rounds": 1}, max_attempts=1)
        if workflow == "qfedavg":  # the server misses it
            assert words in rounds.wait_for(job, "failed")["reason"]
        else:
            rounds.fails_in_private(job, words)


def test_a_program_that_someone_else_started_attaches(rounds, tmp_path):
    place = tmp_path / "s"
    site = rounds.start_site("hospital-a", executors={"script": {"socket": str(place)}}, datasets={"data": digits("hospital-a")})
    rounds.connected("hospital-a")
    job = submit(rounds, names=["hospital-a"], params={"rounds": 2})
    wait_until(place.exists, what="the socket")
    assert place.stat().st_mode & 0o777 == 0o600
    program = subprocess.Popen([PYTHON, EXAMPLES / "digits_torch.py"], env={
        "PYTHONPATH": str(PACKAGE), "PATH": os.environ["PATH"], "ROUNDS_SOCKET": str(place)})
    rounds.wait_for(job, "completed")
    assert site.stop() == 0 and program.wait(10) == 0, "it stays for more, and ends when the site lets it go"
    assert not place.exists()


def test_outside_of_a_site_it_says_what_to_do(tmp_path):
    done = subprocess.run([PYTHON, EXAMPLES / "digits_torch.py"], env={"PYTHONPATH": str(PACKAGE), "PATH": os.environ["PATH"]},
                          capture_output=True, text=True)
    assert done.returncode and "rounds simulate" in done.stderr


def test_a_notebooks_client(rounds):
    """rounds.Client by Debian's Python: submit, watch, metrics, download, upload, and a problem with its fields."""
    rounds.login()
    start(rounds, EXAMPLES / "digits_torch.py", digits)
    done = subprocess.run([PYTHON, "-c", """
import json, rounds
client = rounds.Client()
assert len(client.sites()) == 4
try:
    client.submit(name="", dataset="data", params={"rounds": -1})
    raise SystemExit("accepted")
except rounds.Problem as problem:
    assert {e["field"] for e in problem.errors} == {"name", "params.rounds"}, problem.errors
job = client.submit({"name": "from a notebook", "executor": "script", "dataset": "data", "params": {"rounds": 3}})
kinds = [event["kind"] for event in job.watch()]
assert kinds[0] == "queued" and "task_failed" not in kinds and "aggregated" in kinds and kinds[-1] == "completed", kinds
assert job.wait().round == 3 and next(client.jobs()).id == job.id
accuracy = job.metrics("accuracy")["accuracy"]
assert set(accuracy) == {0, 1, 2, 3} and job.metrics(site="hospital-a")["accuracy"] != accuracy
model = job.download()
assert model["0.weight"].shape == (32, 64)
assert client.upload(model) == job.row["model"] or client.download(client.upload(model))["0.bias"].shape == (32,)
import matplotlib
matplotlib.use("Agg")
figure = job.plot("accuracy", "loss")
assert [line.get_label() for line in figure.axes[0].lines] == ["accuracy", "loss"]
assert list(figure.axes[0].lines[0].get_ydata()) == list(accuracy.values())
print(repr(job))
"""], env={**os.environ, "PYTHONPATH": str(PACKAGE), **rounds.environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "completed, round 3 of 3" in done.stdout


def test_who_waits_is_told_for_what(rounds, tmp_path):
    rounds.login()
    rounds.start_site("a")
    job, absent = rounds.submit(trainer={"do": "hang"}, params={"rounds": 1}), rounds.submit(name="x", sites=["nobody"])
    wait_until(lambda: rounds.job(job)["state"] == "running" and rounds.job(absent)["reason"], what="the jobs to wait")
    done = subprocess.run([PYTHON, "-c", f"""
import rounds
for job in ("{job}", "{absent}"):
    try:
        rounds.Client().job(job).wait(timeout=1)
    except TimeoutError as error:
        print(error)
"""], env={**os.environ, "PYTHONPATH": str(PACKAGE), **rounds.environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    running, queued = done.stdout.splitlines()
    assert running.startswith("after 1 s: the job 'test' is running, round ") and "waits for a (" in running
    assert queued.startswith("after 1 s: the job 'x' is queued: ") and "nobody" in queued


@pytest.mark.parametrize("min_cell", [1, 6])
def test_statistics_of_all_sites_together(rounds, tmp_path, min_cell):
    """Against NumPy on the pooled rows: with nothing kept back everything is exact; small cells are kept back by each site."""
    rounds.login()
    rng = np.random.default_rng(11)
    pooled = []
    for k, name in enumerate(NAMES):
        n = 40 + 30 * k
        age, sex, years = rng.normal(60, 9, n), rng.choice(["f", "m"], n), rng.exponential(4, n)
        dose = age * 0.5 + rng.normal(0, 3, n)
        dead = (rng.uniform(size=n) < 0.6).astype(int)
        missing = rng.uniform(size=n) < 0.15
        pooled.append((age, sex, np.where(missing, np.nan, dose), years, dead))
        with open(tmp_path / f"{name}.csv", "w") as file:
            file.write("age,sex,dose,years,dead,arm\n")
            for i in range(n):
                file.write(f"{age[i]:.5f},{sex[i]},{'' if missing[i] else format(dose[i], '.5f')},{years[i]:.5f},{dead[i]},"
                           f"{'new' if (i + k) % 3 else 'old'}\n")
        rounds.start_site(name, datasets={"trial": {"path": str(tmp_path / f"{name}.csv"), "label": "arm", "classes": ["old", "new"],
                                                    "categories": {"sex": ["f", "m"]}, "min_cell": min_cell}})
    rounds.connected(*NAMES)
    done = subprocess.run([PYTHON, "-c", """
import json, rounds
listed = {"categories": {"sex": ["f", "m"]}, "classes": ["old", "new"]}
job = rounds.Client().submit(name="look", workflow="statistics", dataset="trial", trainer=listed, params={
    "bins": 60, "sigmas": 5, "time": "years", "event": "dead", "time_max": 12}).wait()
found, one = job.statistics(), job.statistics(site="hospital-b")
print(json.dumps({"columns": found.columns, "describe": found.describe(), "one": one.describe(), "suppressed": found.suppressed,
    "correlation": found.correlation().tolist(), "table": found.contingency("sex", "arm"),
    "edges": found.histogram("age")["edges"].tolist(), "counts": found.histogram("age")["counts"].tolist(), "kept": found.kept_back,
    "survival": {k: v.tolist() for k, v in found.survival().items()}}))
"""], env={**os.environ, "PYTHONPATH": str(PACKAGE), **rounds.environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["columns"] == ["age", "sex=f", "sex=m", "dose", "years", "dead", "arm=old", "arm=new"]
    age, sex, dose, years, dead = (np.concatenate(parts) for parts in zip(*pooled))
    for name, values in (("age", age), ("dose", dose), ("years", years), ("sex=f", (sex == "f").astype(float))):
        known, told = values[~np.isnan(values)], found["describe"][name]
        assert told["count"] == len(known) and told["missing"] == np.isnan(values).sum()
        assert told["mean"] == pytest.approx(known.mean(), rel=1e-6) and told["sd"] == pytest.approx(known.std(ddof=1), rel=1e-5)
    assert found["one"]["age"]["mean"] == pytest.approx(pooled[1][0].mean(), rel=1e-6)
    assert found["one"]["age"]["sd"] == pytest.approx(pooled[1][0].std(ddof=1), rel=1e-5)
    both = ~np.isnan(dose)
    assert found["correlation"][0][3] == pytest.approx(np.sum((age[both] - age.mean()) * (dose[both] - np.nanmean(dose))) / np.sqrt(
        np.sum((age - age.mean()) ** 2) * np.nansum((dose - np.nanmean(dose)) ** 2)), rel=1e-5)
    arm = np.concatenate([[(i + k) % 3 > 0 for i in range(len(part[0]))] for k, part in enumerate(pooled)])
    table = {s: {"old": ((sex == s) & ~arm).sum(), "new": ((sex == s) & arm).sum()} for s in "fm"}
    counts = np.histogram(age, found["edges"])[0]
    if min_cell == 1:
        assert found["counts"] == counts.tolist() and not found["suppressed"] and found["table"] == table
        width = found["edges"][1] - found["edges"][0]
        for q, name in ((0.25, "25%"), (0.5, "50%"), (0.75, "75%")):
            assert abs(found["describe"]["age"][name] - np.quantile(age, q)) < 2 * width
        assert len(found["survival"]["time"]) == 60 and not found["kept"] and not done.stderr
    else:
        assert found["suppressed"]["age"] == 4 and 2 < len(found["counts"]) < 60 and found["counts"] == counts.tolist()
        assert any("age: a histogram of" in said for said in found["kept"]) and "sites keep small numbers back" in done.stderr
        for q, name in ((0.25, "25%"), (0.5, "50%"), (0.75, "75%")):
            low = np.searchsorted(found["edges"], np.quantile(age, q)) - 1
            assert found["edges"][low] <= found["describe"]["age"][name] <= found["edges"][low + 1], "in the right cell"
        for s, row in found["table"].items():
            assert all(np.isnan(n) or n == table[s][arm] for arm, n in row.items())
    # Kaplan and Meier's estimate of the pooled rows on the grid that is told.
    grid, expected = np.append(0, found["survival"]["time"]), []
    for low, high in zip(grid, grid[1:]):
        at_risk, events = (years >= low).sum(), ((years >= low) & (years < high) & (dead == 1)).sum()
        expected.append((expected[-1] if expected else 1.0) * (1 - events / at_risk if at_risk else 1))
    assert np.allclose(found["survival"]["survival"], expected, rtol=1e-9) and found["survival"]["time"][-1] == 12
    if min_cell == 6:
        assert expected[-1] < 0.6 and len(expected) >= 2
        job = rounds.api.get("/jobs?limit=1")["items"][0]["id"]
        for task in rounds.tasks(job):
            told = safetensors.numpy.load(rounds.api.download(task["update"]))
            for name, values in told.items():
                if name.endswith(("/histogram", "/below", "/above", "/both", "/pairs", "/missing", "/events", "/at_risk")):
                    assert not np.any((values > 0) & (values < min_cell)), name


def test_cox_names_its_covariates(rounds, tmp_path):
    rounds.login()
    rng = np.random.default_rng(2)
    n = 400
    arm, age = rng.integers(0, 2, n), rng.normal(60, 9, n).round(1)
    days = np.floor(rng.exponential(300 / np.exp(0.7 * arm + 0.03 * (age - 60))))
    age[250] = 900  # a slip of the pen
    dead = (rng.uniform(size=n) < 0.7).astype(int)
    for name, rows in (("a", slice(0, 200)), ("b", slice(200, n))):
        with open(tmp_path / f"{name}.csv", "w") as file:
            file.write("arm,age,days,dead\n")
            file.writelines(f"{'new' if row[0] else 'control'},{row[1]},{row[2]:.0f},{row[3]}\n"
                            for row in zip(arm[rows], age[rows], days[rows], dead[rows]))
        rounds.start_site(name, datasets={"trial": {"path": str(tmp_path / f"{name}.csv"), "label": "dead",
                                                    "categories": {"arm": ["new", "control"]}}})
    rounds.connected("a", "b")
    done = subprocess.run([PYTHON, "-c", """
import json, rounds
listed = {"categories": {"arm": ["control", "new"]}}
found = rounds.Client().submit(name="trial", workflow="cox", dataset="trial", trainer=listed, params={
    "rounds": 6, "time": "days", "time_max": 1000, "bins": 1000}).wait().cox()
print(json.dumps({**found, "time": found["time"].tolist(), "baseline_hazard": found["baseline_hazard"].tolist()}))
"""], env={**os.environ, "PYTHONPATH": str(PACKAGE), **rounds.environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["covariates"]) == ["arm=new", "age"] and "cells of time instead of 1000" in done.stderr
    bounded = found["covariates"]["age"]["bounded"]
    assert bounded >= 5 and f"sites bound extreme values: age at {bounded:.0f} people" in done.stderr, done.stderr
    new = found["covariates"]["arm=new"]
    assert new["low"] < np.exp(0.7) < new["high"] and new["low"] < new["hazard_ratio"] < new["high"] and new["p_value"] < 0.001
    assert len(found["time"]) == len(found["baseline_hazard"]) < 1000 and found["time"][-1] == 1000


def test_statistics_need_the_same_columns_and_enough_sites(rounds, tmp_path):
    for name, header in (("a", "x,y,out"), ("b", "x,z,out")):
        (tmp_path / f"{name}.csv").write_text(header + "\n" + "1,2,0\n" * 9)
        rounds.start_site(name, datasets={"t": {"path": str(tmp_path / f"{name}.csv"), "label": "out"}})
    rounds.connected("a", "b")
    job = rounds.submit(workflow="statistics", executor="trainer", dataset="t", sites=["a", "b"])
    assert 'tensor "y/count" of input 2 is not like that of the first input' in rounds.wait_for(job, "failed")["reason"]
    (tmp_path / "few.csv").write_text("x,y,out\n1,2,0\n")
    rounds.start_site("c", datasets={"t": {"path": str(tmp_path / "few.csv"), "label": "out"}})
    rounds.connected("c")
    job = rounds.submit(workflow="statistics", executor="trainer", dataset="t", sites=["a", "c"], params={"min_sites": 2})
    rounds.fails_in_private(job, "fewer rows than its min_cell")


def test_the_package_is_typed():
    subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "rounds"], cwd=PACKAGE, check=True)


def test_the_package_builds_and_reads_what_others_write(tmp_path):
    subprocess.run(["cmake", "--install", BUILD, "--prefix", tmp_path / "prefix"], check=True, capture_output=True)
    source = tmp_path / "prefix/share/rounds/python"
    assert (source / "examples/digits_torch.py").exists() and not list(source.rglob("__pycache__"))
    subprocess.run([PYTHON, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("rounds_fl-*.whl")
    tensors = {"f": np.linspace(0, 1, 5, dtype=np.float16), "n": np.array(7, dtype=np.int64), "b": np.array([True, False])}
    safetensors.numpy.save_file(tensors, tmp_path / "theirs")
    subprocess.run([PYTHON, "-c", f"""
import sys; sys.path.insert(0, r'{wheel}')
import torch, numpy as np, rounds
from rounds import frameworks
model = rounds.load(r'{tmp_path}/theirs')
assert model['n'].shape == () and model['n'] == 7 and model['f'].dtype == np.float16
layer = torch.nn.Linear(2, 3).to(torch.bfloat16)
model.update(frameworks.weights_of(layer))
rounds.save(model, r'{tmp_path}/ours')
again = torch.nn.Linear(2, 3).to(torch.bfloat16)
frameworks.put_into(again, {{k: v for k, v in rounds.load(r'{tmp_path}/ours').items() if k in ('weight', 'bias')}})
assert torch.equal(again.weight, layer.weight) and torch.equal(again.bias, layer.bias)
"""], check=True)
    with safetensors.safe_open(tmp_path / "ours", "np") as file:
        assert set(file.keys()) == {"f", "n", "b", "weight", "bias"} and file.get_slice("weight").get_dtype() == "BF16"
