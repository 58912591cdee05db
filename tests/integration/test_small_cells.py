"""What an attacker who writes the job and its models can make of a site's answers: nothing about fewer people than min_cell.

The attacks are carried out on rounds-trainer itself: what it writes is what leaves a site.
"""
import csv
import itertools

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import DATA, HOSPITALS, WDBC
from reference import federated

LEAST = 5


def write(path, columns):
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(zip(*columns.values()))
    return str(path)


def ward(tmp_path, n=100, alone=(41,), **columns):
    """The table of one hospital: few patients are in the ward "isolation", and have what nobody else has."""
    rng = np.random.default_rng(7)
    general = np.array(["isolation" if i in alone else "general" for i in range(n)])
    load = np.where(general == "isolation", rng.uniform(20000, 90000, n), rng.uniform(0, 500, n)).round(1)
    table = {"ward": general, "viral_load": load, "age": rng.integers(30, 90, n), "y": np.arange(n) % 2, **columns}
    return {"name": "t", "path": write(tmp_path / "ward.csv", table), "label": "y",
            "categories": {"ward": ["general", "isolation"]}, "min_cell": LEAST}, table


# K-means


def cluster(trainer, tmp_path, data, centers, mean=None, scale=None, kind="train", min_cell=LEAST):
    """A round from centers that the attacker chose; {centers, counts} as they leave the site, or the error."""
    width = centers.shape[1]
    safetensors.numpy.save_file({
        "centers": centers, "counts": np.zeros(len(centers)), "mean": np.zeros(width) if mean is None else mean,
        "scale": np.ones(width) if scale is None else scale}, tmp_path / "m")
    answer = trainer.ask(kind, {**data, "min_cell": min_cell}, {}, model=tmp_path / "m", output=tmp_path / "o",
                         algorithm={"kmeans": len(centers)})
    if answer["type"] == "error":
        return answer
    return {**safetensors.numpy.load_file(tmp_path / "o"), **answer["metrics"]}


def numbers(tmp_path, n=90, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) + rng.integers(0, 3, (n, 1)) * 3
    x = x.round(3)
    table = {**{f"x{j}": x[:, j] for j in range(4)}, "y": np.arange(n) % 2}
    return {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "y"}, x.astype(np.float32).astype(float)


def test_a_center_beside_one_patient_tells_nothing_of_her(trainer, tmp_path):
    data, table = ward(tmp_path)
    far = cluster(trainer, tmp_path, data, np.array([[1, 0, 250.0, 60], [0, 1, table["viral_load"][41], 29]]))
    for sums, count in zip(far["centers"], far["counts"]):
        assert count == 0 or count >= LEAST
        assert not np.isclose(sums, table["viral_load"][41], rtol=0.1).any()
    everyone = cluster(trainer, tmp_path, data, np.zeros((1, 4)))
    assert everyone["centers"][0][1] == 0, "one patient's ward is told by nobody"
    assert abs(everyone["centers"][0][2] - table["viral_load"].sum()) > 0.1 * table["viral_load"][41], "nor what dominates"


def test_no_row_is_told_by_the_difference_of_two_rounds(trainer, tmp_path):
    """Centers move by a little, so that one row goes over: its values would be the difference of the sums."""
    data, x = numbers(tmp_path)
    told = []
    for at in np.linspace(-3, 9, 150):
        centers = np.array([[at - 1, 0, 0, 0], [at + 1, 0, 0, 0.0]])
        answer = cluster(trainer, tmp_path, data, centers)
        told.append((answer["counts"], answer["centers"], answer["inertia"]))
    counts = np.array([t[0] for t in told])
    assert len(np.unique(counts[:, 0])) > 5, "the attack does move rows"
    for (c1, s1, _), (c2, s2, _) in itertools.combinations(told, 2):
        gap = np.abs(c1 - c2)
        assert np.all((gap == 0) | (gap >= LEAST)), "whole groups go over, or none"
        if gap[0] == 0:
            assert np.allclose(s1, s2), "the same number of rows are the same rows"
        rows = s1[0] - s2[0]
        assert not np.isclose(x, rows, atol=1e-6).all(1).any() and not np.isclose(x, -rows, atol=1e-6).all(1).any()
    # The inertia, too, is that of groups: a center that only one row is near to changes it by whole groups.
    alone = cluster(trainer, tmp_path, data, np.vstack([np.zeros(4), x[17]]))
    assert alone["counts"][1] == 0 or alone["counts"][1] >= LEAST


def test_many_centers_do_not_tell_rows(trainer, tmp_path):
    data, x = numbers(tmp_path)
    refused = cluster(trainer, tmp_path, data, x[:19].copy())
    assert refused["type"] == "error" and "so many clusters" in refused["message"] and "90" not in refused["message"]
    answer = cluster(trainer, tmp_path, data, x[:18].copy())
    assert np.all((answer["counts"] == 0) | (answer["counts"] >= LEAST)) and answer["counts"].sum() == len(x)
    assert not any(np.isclose(x, s / max(c, 1), atol=1e-6).all(1).any() for s, c in zip(answer["centers"], answer["counts"]))
    # Where the administrator says 1, rows may be told, and all is as if nothing were kept back.
    exact = cluster(trainer, tmp_path, data, x[:40].copy(), min_cell=1)
    assert np.isclose(exact["centers"][np.argmax(exact["counts"] == 1)], x, atol=1e-6).all(1).any()


def test_what_few_of_a_group_have_is_not_told(trainer, tmp_path):
    """Of a column that most rows lack, a group's mean would be one patient's value."""
    data, x = numbers(tmp_path)
    rare = ["" if i % 9 else f"{1000 + i}" for i in range(len(x))]
    table = {"rare": rare, **{f"x{j}": x[:, j] for j in range(4)}, "y": np.arange(len(x)) % 2}
    data = {**data, "path": write(tmp_path / "rare.csv", table)}
    for row in range(0, 90, 9):
        centers = np.vstack([np.append(7.0, x[row]), np.append(7.0, x.mean(0))])
        answer = cluster(trainer, tmp_path, data, centers)
        assert np.allclose(answer["centers"][:, 0], 7.0 * answer["counts"]), "no group has five of ten"


def test_the_first_centers_tell_no_rare_column(trainer, tmp_path):
    data, table = ward(tmp_path, extra=np.where(np.arange(100) < 3, 77, 0))
    assert trainer.ask("initialize", data, {}, output=tmp_path / "m", algorithm={"kmeans": 3})["type"] == "result"
    model = safetensors.numpy.load_file(tmp_path / "m")
    assert model["mean"][[0, 1, 4]].tolist() == [0, 0, 0] and model["scale"][[0, 1, 4]].tolist() == [1, 1, 1]
    assert model["mean"][3] == pytest.approx(table["age"].mean())
    few = {**data, "path": write(tmp_path / "few.csv", {name: values[:4] for name, values in table.items()})}
    assert "fewer rows" in trainer.ask("initialize", few, {}, output=tmp_path / "m", algorithm={"kmeans": 1})["message"]


def test_centers_of_groups_are_nearly_those_of_rows(trainer, tmp_path):
    """What the guard costs: the pooled rows of four hospitals in four clusters, the best of three starts."""
    tables = []
    for name in HOSPITALS:
        with open(DATA / f"wdbc/{name}.csv") as file:
            rows = list(csv.DictReader(file))
        tables.append(np.array([[float(v) for k, v in row.items() if k != "diagnosis"] for row in rows], np.float32).astype(float))
    pooled = np.concatenate(tables)
    mean, scale = pooled.mean(0), pooled.std(0)
    z = (pooled - mean) / scale

    def inertia(centers):
        return ((z[:, None] - centers) ** 2).sum(-1).min(1).mean()

    def guarded(centers):
        for _ in range(12):
            sums, counts = 0, 0
            for name in HOSPITALS:
                data = {"name": "t", "path": str(DATA / f"wdbc/{name}.csv"), **WDBC}
                answer = cluster(trainer, tmp_path, data, np.ascontiguousarray(centers), mean, scale)
                sums, counts = sums + answer["centers"], counts + answer["counts"]
            centers = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers)
        return centers
    starts = [np.random.default_rng(seed).normal(size=(4, z.shape[1])) for seed in (1, 2, 3)]
    assert min(inertia(guarded(first)) for first in starts) < 1.02 * min(inertia(federated.kmeans(first, z, 12)) for first in starts)
