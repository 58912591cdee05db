"""Every workflow against tests/reference/, with the real daemons and trainers on real data.

One table of workflows serves all tests: a new one is a row. The model is logistic regression on the Wisconsin breast cancer
data of four hospitals, full-batch steps, so that nothing is left to chance.
"""
import csv
import functools
import json
import os
import re
import signal

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import DATA, HOSPITALS, TOP, WDBC, Problem, SiteClient, wait_until, wdbc_table
from harness.weights import save
from reference import federated

STEPS, RATE, ROUNDS = 5, 0.3, 20
TRAINER = {"model": "logistic", "batch_size": 0, "epochs": STEPS, "learning_rate": RATE, "validation": 0}


def vector(model):
    return np.append(model["layer0.weight"].astype(float), model["layer0.bias"].astype(float))


def standardised(model):
    """The hospitals' data as the model sees them: its first site's means and deviations travel with it."""
    return [((x - model["input.mean"].astype(float)) / model["input.scale"].astype(float), y)
            for x, y in map(wdbc_table, HOSPITALS)]


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
    assert steps == {name: 2 * -(-len(wdbc_table(name)[1]) // 100) for name in HOSPITALS} and len(set(steps.values())) > 1


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
    x = (np.concatenate([part[0] for part in map(wdbc_table, HOSPITALS)]).astype(np.float32).astype(float) - first["mean"]) / first["scale"]
    expected = federated.kmeans(first["centers"], x, 15)
    assert np.allclose(last["centers"], expected, rtol=1e-9, atol=1e-9) and last["counts"].sum() == len(x)
    inertia = [m["value"] for m in sorted(hospitals.api.get(f"/jobs/{job}/metrics?name=inertia&site=")["items"],
                                          key=lambda m: m["round"])]
    assert all(a >= b - 1e-9 for a, b in zip(inertia, inertia[1:])) and inertia[-1] < 0.8 * inertia[0]
    assert not np.any([np.isclose(x, center, atol=1e-6).all(1).any() for center in first["centers"]]), "no row of anyone's"
    assert hospitals.rounds_verify(job)["good"]
