"""Cox regression against tests/reference/: what the pooled rows would give, on the grid of times that the sites tell."""
import csv
import json
import math

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import DATA, HOSPITALS, Problem
from reference import federated


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


def test_cox_bounds_an_extreme_value_and_says_so(rounds, tmp_path):
    """The estimate is that of the pooled rows with the bound in its place."""
    x, time, event = survival_sites(rounds, tmp_path, min_cell=5)
    path, rows = tmp_path / "b.csv", 60 * 6
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    table[11, 0] = 500
    np.savetxt(path, table, delimiter=",", header="p,days,q,r,died", comments="", fmt="%.6g")
    own = slice(rows, rows + len(table))
    x[rows + 11, 0] = 500
    x[own, 0] = np.minimum(x[own, 0], np.sort(x[own, 0])[-5])
    spec = {"workflow": "cox", "executor": "trainer", "sites": ["a", "b", "c"]}
    params = {"rounds": 6, "time": "days", "time_max": 100, "bins": 100, "evaluate_last": False}
    done = rounds.wait_for(rounds.submit(**spec, dataset="trial", params=params), "completed")
    model = safetensors.numpy.load(rounds.api.download(done["model"]))
    assert model["bounded"].tolist() == [5, 0, 0] and 5 <= model["grid"].sum() < 100
    beta, errors = federated.cox(x, on_grid(model, time, 100, 100), event, 6)
    assert np.allclose(model["beta"], beta, rtol=1e-6) and np.allclose(model["standard_error"], errors, rtol=1e-5)
    assert np.all(np.abs(model["beta"] - [0.7, -0.5, 0.2]) < 0.25), "one value of 500 does not take the effect away"


def test_a_hospital_with_an_outlier_takes_part(rounds):
    """One value of area_error, at hospital-d, is nearly all of that column's squares."""
    for name in HOSPITALS:
        rounds.start_site(name)
    rounds.connected(*HOSPITALS)
    header = next(csv.reader(open(DATA / "wdbc/hospital-d.csv")))
    job = rounds.submit(workflow="cox", executor="trainer", dataset="wdbc", sites=HOSPITALS, params={
        "rounds": 1, "time": header[0], "time_max": 40, "bins": 40, "evaluate_last": False, "ridge": 1.0})
    done = rounds.wait_for(job, "completed")
    assert {t["site"] for t in rounds.tasks(job, round=1) if t["state"] == "done"} == set(HOSPITALS)
    bounded = dict(zip(covariates(rounds, done["model"]), safetensors.numpy.load(rounds.api.download(done["model"]))["bounded"]))
    assert bounded["area_error"] >= 5 and bounded["area_error"] % 5 == 0, bounded


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
