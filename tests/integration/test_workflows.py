"""Every workflow and aggregator against tests/reference/, with the real daemons and trainers on real data.

One table of workflows serves all tests: a new one is a row. The model is logistic regression on the Wisconsin breast cancer
data of four hospitals, full-batch steps, so that nothing is left to chance.
"""
import csv
import functools
import json
import math
import os
import re
import signal

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import DATA, HOSPITALS, TOP, WDBC, Problem, SiteClient, wait_until
from harness.weights import save
from reference import aggregators, federated

STEPS, RATE, ROUNDS = 5, 0.3, 20
TRAINER = {"model": "logistic", "batch_size": 0, "epochs": STEPS, "learning_rate": RATE, "validation": 0}


def table(name):
    with open(DATA / f"wdbc/{name}.csv") as file:
        rows = list(csv.DictReader(file))
    features = [column for column in rows[0] if column != WDBC["label"]]
    return (np.array([[float(row[column]) for column in features] for row in rows]),
            np.array([WDBC["classes"].index(row[WDBC["label"]]) for row in rows], float))


def vector(model):
    return np.append(model["layer0.weight"].astype(float), model["layer0.bias"].astype(float))


def standardised(model):
    """The hospitals' data as the model sees them: its first site's means and deviations travel with it."""
    return [((x - model["input.mean"].astype(float)) / model["input.scale"].astype(float), y)
            for x, y in map(table, HOSPITALS)]


@pytest.fixture
def hospitals(rounds):
    for name in HOSPITALS:
        rounds.start_site(name)
    rounds.connected(*HOSPITALS)
    return rounds


def submit(rounds, workflow, params, trainer=None, **spec):
    if workflow != "cross_site_evaluation":
        params = {"evaluate_last": False, **params}
    return rounds.submit(workflow=workflow, params=params, executor="trainer", dataset="wdbc", sites=HOSPITALS,
                         trainer={**TRAINER, **(trainer or {})}, retention={"models": 1000, "updates": 1000}, **spec)


def models(rounds, job):
    """The initial and the last model."""
    done = rounds.wait_for(job, "completed", seconds=120)
    first = rounds.api.get(f"/jobs/{job}/rounds")["items"][0]["model"]
    return [safetensors.numpy.load(rounds.api.download(digest)) for digest in (first, done["model"])]


# workflow, its params, the trainer's, and what the reference makes of (first model, sites)
WORKFLOWS = {
    "fedavg": ({}, {}, functools.partial(federated.fedavg, rounds=ROUNDS, steps=STEPS, rate=RATE)),
    "fedprox": ({"mu": 0.5}, {}, functools.partial(federated.fedprox, rounds=ROUNDS, steps=STEPS, rate=RATE, mu=0.5)),
    "fedavgm": ({"server_momentum": 0.7, "server_learning_rate": 0.8}, {}, functools.partial(
        federated.fedavgm, rounds=ROUNDS, steps=STEPS, rate=RATE, server_rate=0.8, beta=0.7)),
    "fedadagrad": ({"beta1": 0.0}, {}, functools.partial(
        federated.fedopt, "adagrad", rounds=ROUNDS, steps=STEPS, rate=RATE, server_rate=0.1, beta1=0.0)),
    "fedadam": ({"tau": 0.01}, {}, functools.partial(
        federated.fedopt, "adam", rounds=ROUNDS, steps=STEPS, rate=RATE, server_rate=0.1, tau=0.01)),
    "fedyogi": ({}, {}, functools.partial(
        federated.fedopt, "yogi", rounds=ROUNDS, steps=STEPS, rate=RATE, server_rate=0.1)),
    "scaffold": ({}, {}, functools.partial(federated.scaffold, rounds=ROUNDS, steps=STEPS, rate=RATE, weighted=True)),
    "fednova": ({}, {"optimizer": "momentum", "momentum": 0.6}, functools.partial(
        federated.fednova, rounds=ROUNDS, steps=[STEPS] * 4, rate=RATE, momentum=0.6)),
    "qfedavg": ({"q": 2, "lipschitz": 1 / RATE}, {}, functools.partial(
        federated.qfedavg, rounds=ROUNDS, steps=STEPS, rate=RATE, q=2, lipschitz=1 / RATE)),
    "ditto": ({"lambda": 0.2}, {}, lambda w, sites: federated.ditto(w, sites, ROUNDS, STEPS, RATE, 0.2)[0]),
    "fedbuff": ({"buffer": 4}, {}, functools.partial(
        federated.fedbuff, rounds=ROUNDS, steps=STEPS, rate=RATE, log=[[(i, v) for i in range(4)] for v in range(ROUNDS)])),
    "cyclic": ({"rounds": 5}, {}, functools.partial(federated.cyclic, rounds=5, steps=STEPS, rate=RATE)),
}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_twenty_rounds_agree_with_the_papers(hospitals, workflow):
    params, trainer, reference = WORKFLOWS[workflow]
    job = submit(hospitals, workflow, {"rounds": ROUNDS, **params}, trainer)
    first, last = models(hospitals, job)
    expected = reference(vector(first), standardised(first))
    assert np.linalg.norm(expected) > 1, "it has learned something"
    assert np.abs(vector(last) - expected).max() <= 1e-5 * np.abs(expected).max()
    verified = hospitals.rounds_verify(job)
    assert verified["good"] and all(row["recomputed"] for row in verified["rounds"][1:]), verified


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_part_of_the_sites_a_failure_and_restarts(hospitals, workflow):
    """The server and a site are restarted in the middle; a site is gone for good; the lineage is whole all the same."""
    params, trainer, _ = WORKFLOWS[workflow]
    names = HOSPITALS + ["z"]
    hospitals.start_site("z", executors={"trainer": {"command": ["/bin/false"]}})
    hospitals.connected(*names)
    part = {"rounds": 2} if workflow == "cyclic" else {"rounds": 6} if workflow == "fedbuff" else {"rounds": 6, "fraction": 0.7, "quorum": 3, "grace_seconds": 30}
    job = hospitals.submit(workflow=workflow, params={**params, **part}, executor="trainer", dataset="wdbc", sites=names,
                           trainer={**TRAINER, **trainer, "epochs": 5000, "learning_rate": 0.001}, max_attempts=1)
    hospitals.wait_until_round(job, 2)
    hospitals.restart()
    next(p for p in hospitals.processes if getattr(p, "name", "") == "hospital-b").again()
    done = hospitals.wait_for(job, "completed", seconds=120)
    assert done["round"] == done["rounds"]
    assert any(t["site"] == "z" and t["state"] == "failed" for t in hospitals.tasks(job))
    assert hospitals.rounds_verify(job)["good"]


def quick(rounds, workflow):
    """A job that would be over before anyone could disturb it."""
    spec = {"workflow": workflow, "executor": "trainer", "dataset": "wdbc", "sites": HOSPITALS, "trainer": TRAINER}
    if workflow == "evaluate":
        spec["initial_model"] = rounds.wait_for(rounds.submit(**{**spec, "workflow": "fedavg"}, params={"rounds": 1}), "completed")["model"]
    if workflow == "kmeans":
        spec["params"] = {"rounds": 3}
    if workflow == "cox":
        column = next(csv.reader(open(DATA / "wdbc/hospital-a.csv")))[0]
        spec["params"] = {"rounds": 2, "time": column, "time_max": 40, "bins": 40, "evaluate_last": False}
    if workflow.startswith("xgboost"):
        spec.update(executor="boost", trainer={}, params={"rounds": 2})
    return spec


@pytest.mark.parametrize("workflow", ["evaluate", "cross_site_evaluation", "statistics", "kmeans", "cox", "xgboost_bagging",
                                      "xgboost_cyclic"])
def test_a_site_that_hangs_and_a_server_that_restarts(rounds, workflow):
    """One site stands still in the middle of its work; the server is restarted; the site is killed and comes back."""
    boost = {"command": ["/usr/bin/python3", str(TOP / "client/python/examples/wdbc_xgboost.py")],
             "environment": [f"PYTHONPATH={TOP / 'client/python'}"]}
    sites = {name: rounds.start_site(name, executors={"boost": boost}) for name in HOSPITALS}
    rounds.connected(*HOSPITALS)
    spec = quick(rounds, workflow)
    os.kill(sites["hospital-b"].pid, signal.SIGSTOP)
    job = rounds.submit(**spec)

    def waits_for_one():
        kinds = [(t["site"], t["state"]) for t in rounds.tasks(job) if t["kind"] != "initialize"]
        return any(site == "hospital-b" for site, _ in kinds) and any(state == "done" for _, state in kinds)
    wait_until(waits_for_one, what="the others to be done")
    rounds.restart()
    assert rounds.job(job)["state"] == "running"
    sites["hospital-b"].kill()
    sites["hospital-b"].again()
    rounds.wait_for(job, "completed", seconds=60)
    tasks = rounds.tasks(job)
    assert all(t["state"] == "done" for t in tasks) and {t["site"] for t in tasks} == set(HOSPITALS)
    assert rounds.rounds_verify(job)["good"]


def test_an_unknown_workflow_is_answered_with_all_there_are(rounds):
    with pytest.raises(Problem) as problem:
        rounds.submit(workflow="fedwhat")
    (fault,) = problem.value.body["errors"]
    assert fault["field"] == "workflow" and all(f'"{name}"' in fault["message"] for name in [
        *WORKFLOWS, "evaluate", "cross_site_evaluation", "statistics", "kmeans", "cox", "xgboost_bagging", "xgboost_cyclic"])


@pytest.mark.parametrize("weighted, fraction", [(True, 0.5), (False, 0.5), (False, 1)])
def test_scaffold_keeps_the_right_variates(hospitals, weighted, fraction):
    """With part of the sites, and with all of them alike as in the paper: the hospitals have 83 to 171 rows."""
    job = submit(hospitals, "scaffold", {"rounds": ROUNDS, "fraction": fraction, "weighted": weighted}, seed=5)
    first, last = models(hospitals, job)
    cohorts = [[] for _ in range(ROUNDS)]
    for task in hospitals.tasks(job):
        if task["kind"] == "train":
            cohorts[task["round"] - 1].append(HOSPITALS.index(task["site"]))
    assert all(len(c) == 4 * fraction for c in cohorts) and (fraction == 1 or len({tuple(c) for c in cohorts}) > 2)
    expected = federated.scaffold(vector(first), standardised(first), ROUNDS, STEPS, RATE, cohorts=cohorts, weighted=weighted)
    assert np.abs(vector(last) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_fedbuff_with_stale_changes(rounds):
    """Two changes make a version. One that is two versions old counts by 1 / sqrt(3); an older one is called off."""
    a, b, c, d = sites = [SiteClient(rounds, name) for name in "abcd"]
    for site in sites:
        site.claim(wait=0)
    job = rounds.submit(workflow="fedbuff", sites=list("abcd"), initial_model=rounds.api.upload(save({"w": np.zeros(3, np.float32)})),
                        params={"rounds": 4, "buffer": 2, "max_staleness": 2, "server_learning_rate": 0.5, "evaluate_last": False})
    expected = 0.0

    def change(site, task, amount):
        base = safetensors.numpy.load(rounds.api.download(task["model"]))["w"]
        site.result(task, site.upload(save({"w": (base + amount).astype(np.float32)})))

    old, older = c.claim(), d.claim()
    for version in (1, 2):
        for site, amount in ((a, 1.0), (b, 2.0)):
            task = site.claim()
            assert task["round"] == version
            change(site, task, amount)
        expected += 0.5 * (1.0 + 2.0) / 2
    held = a.claim()
    change(c, old, 7.0)
    assert c.claim(holding=[held["id"]])["round"] == 3, "who was late goes on with the newest"
    change(b, b.claim(), 2.0)
    expected += 0.5 * (7.0 / np.sqrt(3) + 2.0) / 2
    rounds.wait_until_round(job, 4)
    with pytest.raises(Problem) as problem:
        change(d, older, 100.0)
    assert problem.value.status == 409 and "too old" in str(problem.value)
    change(a, held, 1.0)
    change(d, d.claim(), 3.0)
    expected += 0.5 * (1.0 / np.sqrt(2) + 3.0) / 2
    last = safetensors.numpy.load(rounds.api.download(rounds.wait_for(job, "completed")["model"]))["w"]
    assert np.allclose(last, expected, rtol=1e-6)
    assert rounds.rounds_verify(job)["good"]


def test_fednova_with_unlike_numbers_of_steps(hospitals):
    """Batches of 100 rows: one step an epoch at small hospitals, two at larger ones; shuffled, so only the counts are compared."""
    job = submit(hospitals, "fednova", {"rounds": 3}, {"batch_size": 100, "epochs": 2})
    hospitals.wait_for(job, "completed")
    steps = {m["site"]: m["value"] for m in hospitals.api.get(f"/jobs/{job}/metrics?name=train_steps")["items"] if m["site"]}
    assert steps == {name: 2 * -(-len(table(name)[1]) // 100) for name in HOSPITALS} and len(set(steps.values())) > 1


def test_dittos_personal_models_stay_at_home_and_are_right(hospitals):
    job = submit(hospitals, "ditto", {"rounds": 6, "lambda": 0.2})
    first, _ = models(hospitals, job)
    _, own = federated.ditto(vector(first), standardised(first), 6, STEPS, RATE, 0.2)
    for name, expected in zip(HOSPITALS, own):
        kept = safetensors.numpy.load_file(hospitals.home / name / "own" / job / "personal-6.safetensors")
        assert np.abs(vector(kept) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_only_shared_tensors_travel(hospitals):
    """FedPer: the last layer stays at each site."""
    job = submit(hospitals, "fedavg", {"rounds": 4}, {"model": "mlp", "loss": "logistic", "hidden": 8, "outputs": 1},
                 share=["input.*", "layer0.*"])
    first, last = models(hospitals, job)
    assert set(last) == set(first) == {"input.mean", "input.scale", "layer0.weight", "layer0.bias"}
    heads = [safetensors.numpy.load_file(hospitals.home / name / "own" / job / "own-4.safetensors") for name in HOSPITALS]
    assert all(set(head) == {"layer1.weight", "layer1.bias"} for head in heads)
    assert not np.array_equal(heads[0]["layer1.weight"], heads[1]["layer1.weight"])
    job = submit(hospitals, "fedavg", {"rounds": 1}, share=["lora*"])
    hospitals.fails_in_private(job, "match none of the model's tensors")


def test_every_model_is_measured_at_every_site(hospitals):
    job = submit(hospitals, "cross_site_evaluation", {}, {"validation": 0.3})
    hospitals.wait_for(job, "completed")
    metrics = hospitals.api.get(f"/jobs/{job}/metrics")["items"]
    matrix = {(m["name"].split("@")[1], m["site"]): m["value"] for m in metrics if m["name"].startswith("accuracy@")}
    assert set(matrix) == {(model, site) for model in HOSPITALS + ["mean"] for site in HOSPITALS}
    assert all(0.5 < value <= 1 for value in matrix.values()) and len(set(matrix.values())) > 4


def test_the_documented_jobs_train_and_their_models_are_measured_on_rows_kept_apart(rounds, tmp_path):
    """The job files of api/README.md for built-in trainers, as they stand, through the command."""
    for name in HOSPITALS:
        rounds.start_site(name, datasets={dataset: {"path": str(DATA / f"wdbc/{table}.csv"), **WDBC}
                                          for dataset, table in (("heart", name), ("heart-test", "test"))})
    rounds.connected(*HOSPITALS)
    rounds.login()
    specs = [json.loads(text) for text in re.findall(r'```json\n(\{"name".+?)```', (TOP / "api/README.md").read_text(), re.S)]
    measure = next(spec for spec in specs if spec.get("workflow") == "evaluate")

    def run(spec):
        (tmp_path / "job.json").write_text(json.dumps(spec))
        done = rounds.rounds("job", "submit", tmp_path / "job.json", "--watch", check=False)
        assert done.returncode == 0 and done.stdout.endswith("completed\n"), (spec["name"], done.stdout)
        return json.loads(rounds.rounds("job", "show", "last", "-o", "json").stdout)
    trained = [run(spec) for spec in specs if spec["dataset"] == "heart" and "trainer" in spec]
    assert {job["workflow"] for job in trained} >= {"scaffold", "fedprox", "fedadam", "cyclic", "fedavg"}
    for job in trained:
        measured = run({**measure, "initial_model": job["model"]})
        values = rounds.api.get(f"/jobs/{measured['id']}/metrics?name=accuracy&site=")["items"]
        assert values[0]["value"] > 0.9, (job["workflow"], values)


@pytest.mark.parametrize("workflow, params, measured", [
    ("cyclic", {"rounds": 3, "key_metric": "auc"}, [4, 8, 12]), ("cyclic", {"rounds": 2}, [8]), ("fedbuff", {"rounds": 5, "buffer": 4}, [5])])
def test_all_hospitals_measure_what_one_has_trained(hospitals, workflow, params, measured):
    """The mean over the sites, of every lap's model if it decides which is best, and of the last."""
    job = hospitals.submit(workflow=workflow, params=params, executor="trainer", dataset="wdbc", sites=HOSPITALS,
                           trainer={**TRAINER, "validation": 0.2})
    done = hospitals.wait_for(job, "completed", seconds=120)
    means = {m["round"]: m["value"] for m in hospitals.api.get(f"/jobs/{job}/metrics?name=auc&site=")["items"]}
    assert list(means) == measured and all(value > 0.9 for value in means.values())
    assert len([t for t in hospitals.tasks(job) if t["kind"] == "evaluate" and t["state"] == "done"]) == 4 * len(measured)
    assert done["best_round"] == (max(measured, key=means.get) if "key_metric" in params else None)


def test_a_stored_model_is_only_measured(hospitals):
    job = submit(hospitals, "fedavg", {"rounds": 5}, {"validation": 0.3})
    model = hospitals.wait_for(job, "completed")["model"]
    checked = hospitals.submit(workflow="evaluate", executor="trainer", dataset="wdbc", sites=HOSPITALS, initial_model=model,
                               trainer={**TRAINER, "validation": 0.3})
    assert hospitals.wait_for(checked, "completed")["model"] == model
    values = {m["site"] for m in hospitals.api.get(f"/jobs/{checked}/metrics?name=accuracy")["items"]}
    assert values == {"", *HOSPITALS} and {t["kind"] for t in hospitals.tasks(checked)} == {"evaluate"}
    refused = hospitals.api.raw("POST", "/api/v1/jobs", json={"name": "x", "workflow": "evaluate", "dataset": "wdbc"})
    assert refused.status_code == 400 and refused.json()["errors"][0]["field"] == "initial_model"


def test_kmeans_is_that_of_the_pooled_rows(rounds):
    """Where every administrator says that single rows may be told; test_small_cells.py has the others."""
    hospitals = rounds
    for name in HOSPITALS:
        rounds.start_site(name, datasets={"wdbc": {"path": str(DATA / f"wdbc/{name}.csv"), **WDBC, "min_cell": 1}})
    rounds.connected(*HOSPITALS)
    job = hospitals.submit(workflow="kmeans", executor="trainer", dataset="wdbc", sites=HOSPITALS,
                           params={"rounds": 15, "clusters": 5, "key_metric": "inertia", "key_metric_goal": "min"})
    first, last = models(hospitals, job)
    x = (np.concatenate([part[0] for part in map(table, HOSPITALS)]).astype(np.float32).astype(float) - first["mean"]) / first["scale"]
    expected = federated.kmeans(first["centers"], x, 15)
    assert np.allclose(last["centers"], expected, rtol=1e-9, atol=1e-9) and last["counts"].sum() == len(x)
    inertia = [m["value"] for m in sorted(hospitals.api.get(f"/jobs/{job}/metrics?name=inertia&site=")["items"],
                                          key=lambda m: m["round"])]
    assert all(a >= b - 1e-9 for a, b in zip(inertia, inertia[1:])) and inertia[-1] < 0.8 * inertia[0]
    assert not np.any([np.isclose(x, center, atol=1e-6).all(1).any() for center in first["centers"]]), "no row of anyone's"
    assert hospitals.rounds_verify(job)["good"]


def survival_sites(rounds, tmp_path, names=("a", "b", "c"), min_cell=1):
    rng = np.random.default_rng(9)
    pooled = []
    for k, name in enumerate(names):
        n = (60 + 25 * k) * (1 if min_cell == 1 else 6)
        x = np.column_stack([rng.normal(size=n), rng.integers(0, 2, n), rng.normal(k, 2, n)]).round(4)
        time = np.minimum(np.floor(rng.exponential(30 / np.exp(x @ [0.7, -0.5, 0.2]))), 99).astype(int)
        event = (rng.uniform(size=n) < 0.7).astype(int)
        np.savetxt(tmp_path / f"{name}.csv", np.column_stack([x[:, 0], time, x[:, 1:], event]), delimiter=",",
                   header="p,days,q,r,died", comments="", fmt="%.6g")
        rounds.start_site(name, datasets={"trial": {"path": str(tmp_path / f"{name}.csv"), "label": "died", "min_cell": min_cell}})
        pooled.append((x.astype(np.float32).astype(float), time, event))
    rounds.connected(*names)
    return [np.concatenate(parts) for parts in zip(*pooled)]


def on_grid(model, time, bins, time_max):
    """Each time as the begin of its cell on the grid that the model says."""
    begins = np.flatnonzero(model["grid"])
    cells = np.minimum(np.floor(time / time_max * bins + 1e-9), bins - 1)
    return begins[np.searchsorted(begins, cells, side="right") - 1]


def covariates(rounds, digest):
    data = rounds.api.download(digest)
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["rounds.covariates"])


@pytest.mark.parametrize("min_cell", [1, 5])
def test_cox_is_that_of_the_pooled_rows(rounds, tmp_path, min_cell):
    """On the grid that is told: each day of its own where administrators allow it, else what the sites have merged."""
    x, time, event = survival_sites(rounds, tmp_path, min_cell=min_cell)
    spec = {"workflow": "cox", "executor": "trainer", "dataset": "trial", "sites": ["a", "b", "c"]}
    job = rounds.submit(**spec, params={"rounds": 6, "time": "days", "time_max": 100, "bins": 100, "evaluate_last": False})
    digest = rounds.wait_for(job, "completed")["model"]
    model = safetensors.numpy.load(rounds.api.download(digest))
    assert (model["grid"].sum() == 100) == (min_cell == 1) and 5 <= model["grid"].sum()
    beta, errors = federated.cox(x, on_grid(model, time, 100, 100), event, 6)
    assert np.allclose(model["beta"], beta, rtol=1e-8) and np.allclose(model["standard_error"], errors, rtol=1e-6)
    # Coarse cells are many ties, which Breslow's likelihood pulls towards 0.
    slack = 4 * errors if min_cell == 1 else 0.2
    assert np.all(np.abs(beta - [0.7, -0.5, 0.2]) < slack), "and it finds what the data were made with"
    assert np.allclose(model["hazard_ratio"], np.exp(beta))
    for p, z in zip(model["p_value"], np.abs(beta) / errors):
        assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-5)
    assert covariates(rounds, digest) == ["p", "q", "r"]
    assert rounds.rounds_verify(job)["good"]
    job = rounds.submit(**spec, params={"rounds": 1, "time": "weeks", "time_max": 100})
    rounds.wait_for(job, "failed")
    with pytest.raises(Problem) as problem:
        rounds.submit(**spec, params={"rounds": 1})
    assert {e["field"] for e in problem.value.body["errors"]} == {"params.time", "params.time_max"}


def test_cox_with_categories_has_a_reference_level(rounds, tmp_path):
    """The first value of each category is what the others are compared with; a sum of columns by hand is named, and a ridge helps."""
    rng = np.random.default_rng(4)
    n = 240
    grade, age = rng.choice(3, n), rng.normal(60, 9, n).round(1)
    time = np.floor(rng.exponential(200 / np.exp(0.8 * (grade == 2) + 0.3 * (grade == 1) + 0.02 * (age - 60)))).astype(int)
    event = (rng.uniform(size=n) < 0.8).astype(int)
    for name, rows in (("a", slice(0, 100)), ("b", slice(100, n))):
        with open(tmp_path / f"{name}.csv", "w") as file:
            file.write("grade,age,days,died,low,high,sum\n")
            for g, *row in zip(grade[rows], age[rows], time[rows], event[rows]):
                file.write(f"{'I' * (g + 1)},{row[0]},{row[1]},{row[2]},{int(g == 0)},{int(g == 2)},{int(g != 1)}\n")
        data = {"path": str(tmp_path / f"{name}.csv"), "label": "died", "min_cell": 1}
        rounds.start_site(name, datasets={
            "trial": {**data, "categories": {"grade": ["I", "II", "III"]}, "ignore": ["low", "high", "sum"]},
            "sums": {**data, "ignore": ["grade"]}})
    rounds.connected("a", "b")
    spec = {"workflow": "cox", "executor": "trainer", "sites": ["a", "b"]}
    params = {"rounds": 7, "time": "days", "time_max": 2000, "bins": 2000, "evaluate_last": False}
    listed = {"categories": {"grade": ["I", "II", "III"]}}
    done = rounds.wait_for(rounds.submit(**spec, dataset="trial", trainer=listed, params=params), "completed")
    model = safetensors.numpy.load(rounds.api.download(done["model"]))
    x = np.column_stack([grade == 1, grade == 2, age.astype(np.float32)]).astype(float)
    beta, errors = federated.cox(x, np.minimum(time, 1999), event, 7)
    assert np.allclose(model["beta"], beta, rtol=1e-7) and np.allclose(model["standard_error"], errors, rtol=1e-6)
    assert covariates(rounds, done["model"]) == ["grade=II", "grade=III", "age"]
    failed = rounds.wait_for(rounds.submit(**spec, dataset="sums", params=params), "failed")
    assert 'covariate "sum"' in failed["reason"] and "is a sum of others" in failed["reason"]
    done = rounds.wait_for(rounds.submit(**spec, dataset="sums", params={**params, "ridge": 2.0}), "completed")
    x = np.column_stack([age.astype(np.float32), grade == 0, grade == 2, grade != 1]).astype(float)
    assert np.allclose(safetensors.numpy.load(rounds.api.download(done["model"]))["beta"],
                       federated.cox(x, np.minimum(time, 1999), event, 7, ridge=2.0)[0], rtol=1e-7)


def test_what_cannot_be_estimated_is_said(rounds, tmp_path):
    (tmp_path / "flat.csv").write_text("p,days,died\n" + "".join(f"1,{i},1\n" for i in range(20)))
    rounds.start_site("a", datasets={"trial": {"path": str(tmp_path / "flat.csv"), "label": "died"}})
    rounds.connected("a")
    job = rounds.submit(workflow="cox", executor="trainer", dataset="trial", sites=["a"],
                        params={"rounds": 1, "time": "days", "time_max": 20, "bins": 20})
    assert 'covariate "p" does not vary' in rounds.wait_for(job, "failed")["reason"]


# Aggregators

AGGREGATORS = {
    "weighted_mean": ({}, lambda x, p: p @ x),
    "mean": ({}, lambda x, p: x.mean(axis=0)),
    "median": ({}, aggregators.median),
    "trimmed_mean": ({"trim": 0.3}, functools.partial(aggregators.trimmed_mean, trim=0.3)),
    "norm_clipping": ({"clip_norm": 30.0}, functools.partial(aggregators.norm_clipping, bound=30.0)),
    "geometric_median": ({}, aggregators.geometric_median),
    "krum": ({"byzantine": 2}, functools.partial(aggregators.krum, f=2)),
    "multi_krum": ({"byzantine": 3}, functools.partial(aggregators.multi_krum, f=3)),
    "bulyan": ({"byzantine": 2}, functools.partial(aggregators.bulyan, f=2)),
}


def one_round(rounds, model, updates, weights, **params):
    names = [f"s{i:02}" for i in range(len(updates))]
    sites = [SiteClient(rounds, name) for name in names]
    for site in sites:
        site.claim(wait=0)
    job = rounds.submit(sites=names, initial_model=rounds.api.upload(save(model)),
                        params={"rounds": 1, "evaluate_last": False, **params})
    for site, update, weight in zip(sites, updates, weights):
        task = site.claim()
        site.result(task, site.upload(save(update)), weight=weight)
    return job


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("name", AGGREGATORS)
def test_aggregators_agree_with_the_papers(rounds, name, dtype):
    """11 sites, three of them far out; several tensors, of which one fills no vector; whatever the dtype."""
    params, reference = AGGREGATORS[name]
    rng = np.random.default_rng(12)
    shapes = {"a": (3, 7), "b": (1,), "c": (1003,)}
    model = {k: rng.normal(size=s).astype(dtype) for k, s in shapes.items()}
    updates = [{k: (v + rng.normal(scale=0.5 if i % 4 else 5, size=v.shape)).astype(dtype) for k, v in model.items()}
               for i in range(11)]
    weights = rng.uniform(1, 9, 11)
    job = one_round(rounds, model, updates, weights, aggregator=name, **params)
    done = rounds.wait_for(job, "completed")
    result = safetensors.numpy.load(rounds.api.download(done["model"]))
    def flat(m):
        return np.concatenate([m[k].astype(float).ravel() for k in shapes])
    base = flat(model)
    changes = np.array([flat(u) for u in updates]) - base
    expected = base + reference(changes, weights / weights.sum())
    tolerance = {np.float32: 1e-5, np.float64: 1e-6, np.float16: 2e-3}[dtype]  # distances are summed from floats
    assert np.abs(flat(result) - expected).max() <= tolerance * np.abs(expected).max()
    # Outliers: what an operator sees of each site.
    metrics = rounds.api.get(f"/jobs/{job}/metrics")["items"]
    for i, change in enumerate(changes):
        seen = {m["name"]: m["value"] for m in metrics if m["site"] == f"s{i:02}"}
        aggregate = flat(result) - base
        assert seen["aggregate_distance"] == pytest.approx(np.linalg.norm(change - aggregate), rel=1e-6, abs=1e-6)
        assert seen["update_norm"] == pytest.approx(np.linalg.norm(change), rel=1e-6)
        assert seen["aggregate_cosine"] == pytest.approx(
            change @ aggregate / np.linalg.norm(change) / np.linalg.norm(aggregate), abs=1e-6)
    assert rounds.rounds_verify(job)["good"]


def test_a_sum_is_a_sum(rounds):
    model = {"w": np.zeros(5, np.float32)}
    updates = [{"w": np.arange(5, dtype=np.float32) * k} for k in (1, 2, 4)]
    job = one_round(rounds, model, updates, [3, 1, 9], aggregator="sum")
    result = safetensors.numpy.load(rounds.api.download(rounds.wait_for(job, "completed")["model"]))
    assert np.array_equal(result["w"], np.arange(5) * 7)


def test_too_few_for_krum_says_how_many(rounds):
    model = {"w": np.zeros(5, np.float32)}
    job = one_round(rounds, model, [model] * 4, [1] * 4, aggregator="krum", byzantine=2)
    assert "krum with byzantine 2 needs at least 7 updates; there are 4" in rounds.wait_for(job, "failed")["reason"]


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "geometric_median", "krum", "multi_krum", "bulyan"])
def test_hostile_sites_are_withstood(rounds, name):
    """Honest sites train on the real data; 30% (for Bulyan, which promises less, 20%) send the opposite, twenty times as far."""
    count, hostile = (15, 3) if name == "bulyan" else (10, 3)
    x, y = (np.concatenate(parts) for parts in zip(*map(table, HOSPITALS)))
    x = (x - x.mean(0)) / x.std(0)
    order = np.random.default_rng(2).permutation(len(y))
    parts = [(x[rows], y[rows]) for rows in np.array_split(order, count)]
    weights = [float(len(part[1])) for part in parts]

    def train(**params):
        w = np.zeros(31)
        for _ in range(3):
            updates = []
            for i, part in enumerate(parts):
                trained = federated.descend(w, part, 20, 0.3)
                updates.append({"w": (w - 20 * (trained - w) if i < hostile else trained).astype(np.float32)})
            job = one_round(rounds, {"w": w.astype(np.float32)}, updates, weights, **params)
            done = rounds.wait_for(job, "completed")
            w = safetensors.numpy.load(rounds.api.download(done["model"]))["w"].astype(float)
        return np.mean((x @ w[:-1] + w[-1] > 0) == (y == 1))
    assert train(aggregator=name, **({"trim": 0.3} if name == "trimmed_mean" else {})) > 0.93
    assert train() < 0.5, "the mean follows them"
