"""What an attacker who writes the job and its models can make of a site's answers: nothing about fewer people than min_cell.

The attacks are carried out on rounds-trainer itself: what it writes is what leaves a site.
"""
import csv
import itertools
import json

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import DATA, HOSPITALS, WDBC
from harness.trainer import Trainer
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


# Statistics


def look(trainer, tmp_path, data, own=None, model=None, **asked):
    """Both passes at one site: every number that leaves it, and {column: place}; the job knows what values there are."""
    listed = {what: data[what] for what in ("categories", "classes") if what in data}
    if model is None:
        first = trainer.ask("train", data, listed, output=tmp_path / "p1", algorithm={"statistics": 1, "bins": 20, "sigmas": 4.0})
        assert first["type"] == "result", first
    answer = trainer.ask("train", data, listed, model=model or tmp_path / "p1", output=tmp_path / "p2",
                         algorithm={"statistics": 2, "bins": 20, "sigmas": 4.0, **asked}, **({"own": str(own)} if own else {}))
    assert answer["type"] == "result", answer
    told = safetensors.numpy.load_file(tmp_path / "p2")
    with open(tmp_path / "p2", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    names = [name[:-len("/histogram")] for name in header if name.endswith("/histogram")]
    return told, {name: i for i, name in enumerate(names)}


def sums_over(told, places, column, other):
    """sum of `other` where both are known, weighted by `column`: what an attacker makes of the products."""
    i, j, n = places[column], places[other], told["together/pairs"][places[column], places[other]]
    if n == 0:
        return None
    mean = {name: told[f"{name}/sum"] / max(told[f"{name}/count"], 1) for name in (column, other)}
    return told["together/products"][i, j] + mean[column] * told[f"{other}/sum"] + mean[other] * told[f"{column}/sum"] \
        - n * mean[column] * mean[other]


def untold(told, *columns):
    return all(told[f"{c}/{what}"] == 0 for c in columns for what in ("count", "sum", "squares", "deviations", "sites"))


@pytest.mark.parametrize("alone", [(41,), (3, 5), (1, 2, 3, 4), tuple(range(99)), tuple(range(97))])
def test_a_ward_of_few_tells_nothing_nor_does_everyone_elses(trainer, tmp_path, alone):
    """An indicator with 1 to min_cell - 1 ones, or zeros: its sums and products are those patients' values."""
    data, table = ward(tmp_path, alone=alone)
    told, places = look(trainer, tmp_path, data)
    assert untold(told, "ward=isolation", "ward=general") and told["age/count"] == 100
    few = min(len(alone), 100 - len(alone))
    for name, values in told.items():
        assert few not in np.ravel(values) or few == 1, name
    for i in (places["ward=isolation"], places["ward=general"]):
        assert not told["together/products"][i].any() and not told["together/both"][i].any()
        assert told["together/suppressed"][i].all()
    assert told["ward=isolation/suppressed"] == 1


def test_a_rare_value_is_not_told_by_the_others(trainer, tmp_path):
    """100 patients, 60 in one ward and 39 in another: one is left. Another ward is kept back with hers."""
    rng = np.random.default_rng(1)
    wards = np.array(["general"] * 60 + ["surgery"] * 39 + ["isolation"])
    table = {"ward": wards, "load": rng.normal(50, 9, 100).round(2), "y": rng.integers(0, 2, 100)}
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "y", "min_cell": LEAST,
            "categories": {"ward": ["general", "surgery", "isolation"]}}
    told, places = look(trainer, tmp_path, data)
    assert untold(told, "ward=isolation")
    assert untold(told, "ward=surgery") != untold(told, "ward=general") or untold(told, "ward=surgery", "ward=general")
    # The same by hand: three columns of 0 and 1, none of them called a category.
    by_hand = {"load": table["load"], **{w: (wards == w).astype(int) for w in ("general", "surgery", "isolation")}, "y": table["y"]}
    told, places = look(trainer, tmp_path, {**data, "path": write(tmp_path / "hand.csv", by_hand), "categories": {}})
    assert untold(told, "isolation") and untold(told, "surgery") and not untold(told, "general")


def test_a_group_in_a_group_is_not_told_by_difference(trainer, tmp_path):
    """40 women, 38 of whom are in one ward: what the two others have is the difference of two sums."""
    rng = np.random.default_rng(2)
    table = {"woman": np.repeat([1, 0], [40, 60]), "gynaecology": np.repeat([1, 0], [38, 62]),
             "load": rng.normal(50, 9, 100).round(2), "y": rng.integers(0, 2, 100)}
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "y", "min_cell": LEAST}
    told, places = look(trainer, tmp_path, data)
    assert not untold(told, "woman") and untold(told, "gynaecology")
    assert sums_over(told, places, "woman", "load") == pytest.approx(table["load"][:40].sum(), rel=1e-5)
    assert sums_over(told, places, "gynaecology", "load") is None


def test_what_few_lack_is_not_told_by_what_all_have(trainer, tmp_path):
    rng = np.random.default_rng(3)
    age, dose = rng.normal(60, 9, 100).round(2), rng.normal(5, 1, 100).round(3).astype(object)
    lab = rng.normal(7, 1, 100).round(3).astype(object)
    dose[[17, 60]], lab[[17, 33, 34]] = "", ""
    table = {"age": age, "dose": dose, "lab": lab, "y": rng.integers(0, 2, 100)}
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "y", "min_cell": LEAST}
    told, places = look(trainer, tmp_path, data)
    left_out = 100 - told["dose/count"]
    assert left_out >= LEAST and told["dose/missing"] == left_out and told["dose/suppressed"] == 1
    assert told["lab/count"] == told["dose/count"], "the same rows, so that the two do not differ by few"
    known = sums_over(told, places, "dose", "dose")
    kept = np.array([d != "" for d in dose])
    assert known != pytest.approx(np.sum(dose[kept].astype(float) ** 2), rel=1e-9)
    assert told["age/count"] == 100 and told["age/suppressed"] == 1, "age itself is told; only its histogram is coarser"
    # Where many lack a value, and two of these have another: the pair is not told.
    other = lab.copy()
    dose[:20], other[2:22] = "", ""
    table = {"age": age, "dose": dose, "other": other, "y": table["y"]}
    told, places = look(trainer, tmp_path, {**data, "path": write(tmp_path / "u.csv", table)})
    assert told["together/suppressed"][places["dose"], places["other"]] == 1
    assert told["together/pairs"][places["dose"], places["other"]] == 0


def test_a_table_with_a_small_cell_is_not_told_by_its_margins(trainer, tmp_path):
    rng = np.random.default_rng(4)
    sex = np.repeat(["f", "m"], [52, 65])
    wards = np.array(["a"] * 40 + ["b"] * 2 + ["c"] * 10 + ["a"] * 30 + ["b"] * 20 + ["c"] * 15)
    table = {"sex": sex, "ward": wards, "load": rng.normal(50, 9, 117).round(2), "y": rng.integers(0, 2, 117)}
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "y", "min_cell": LEAST,
            "categories": {"sex": ["f", "m"], "ward": ["a", "b", "c"]}}
    told, places = look(trainer, tmp_path, data)
    cells = {(s, w): told["together/both"][places[f"sex={s}"], places[f"ward={w}"]] for s in "fm" for w in "abc"}
    assert cells["f", "b"] == 0 and told["together/suppressed"][places["sex=f"], places["ward=b"]] == 1
    for group in ([("f", w) for w in "abc"], [("m", w) for w in "abc"], [("f", "b"), ("m", "b")]):
        hidden = [cell for cell in group if cells[cell] == 0]
        assert len(hidden) != 1, "one that is missing is its margin less the others"
    assert not untold(told, *places), "each alone is told"


def test_what_dominates_is_not_told(trainer, tmp_path):
    rng = np.random.default_rng(5)
    load = rng.normal(200, 60, 100).round(1)
    load[[7, 8]] = 4e6, 3e6
    table = {"load": load, "age": rng.normal(60, 9, 100).round(1), "group": np.arange(100) < 10, "y": rng.integers(0, 2, 100)}
    table["group"] = table["group"].astype(int)
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "y", "min_cell": LEAST}
    told, _ = look(trainer, tmp_path, data)
    assert untold(told, "load") and told["load/suppressed"] == 1
    # In one group alone: neither it nor the rest is summed.
    load[[7, 8]] = 5000, 300
    told, places = look(trainer, tmp_path, {**data, "path": write(tmp_path / "u.csv", table)})
    if told["load/count"]:
        assert sums_over(told, places, "group", "load") is None


def test_what_dominates_a_ward_is_not_told_by_the_other_wards(trainer, tmp_path):
    rng = np.random.default_rng(9)
    wards = np.repeat(["a", "b", "c"], [30, 30, 40])
    load = np.where(wards == "a", rng.normal(5, 0.01, 100), rng.normal(50, 20, 100)).round(3)
    load[4] = 20
    data = {"name": "t", "path": write(tmp_path / "t.csv", {"ward": wards, "load": load, "y": rng.integers(0, 2, 100)}),
            "label": "y", "min_cell": LEAST, "categories": {"ward": ["a", "b", "c"]}}
    told, places = look(trainer, tmp_path, data)
    assert not untold(told, "load", "ward=a", "ward=b", "ward=c")
    hidden = [w for w in "abc" if sums_over(told, places, f"ward={w}", "load") is None]
    assert "a" in hidden and len(hidden) >= 2


def test_one_question_a_job(trainer, tmp_path):
    """Two histograms with other edges differ by the people between them."""
    data, table = ward(tmp_path, alone=tuple(range(20)))
    listed = {"categories": data["categories"]}
    own = tmp_path / "own"
    own.mkdir()
    look(trainer, tmp_path, data, own=own)
    look(trainer, tmp_path, data, own=own)
    ask = {"model": tmp_path / "p1", "output": tmp_path / "p2", "own": str(own)}
    again = trainer.ask("train", data, listed, algorithm={"statistics": 2, "bins": 21, "sigmas": 4.0}, **ask)
    assert again["type"] == "error" and "something else before" in again["message"]
    moved = safetensors.numpy.load_file(tmp_path / "p1")
    moved["age/sum"] += 1
    safetensors.numpy.save_file(moved, tmp_path / "moved")
    again = trainer.ask("train", data, listed, algorithm={"statistics": 2, "bins": 20, "sigmas": 4.0}, **{**ask, "model": tmp_path / "moved"})
    assert again["type"] == "error"
    table["age"][3] += 1
    write(tmp_path / "ward.csv", table)
    fresh = Trainer()
    again = fresh.ask("train", data, listed, algorithm={"statistics": 2, "bins": 20, "sigmas": 4.0}, **ask)
    assert again["type"] == "error" and "data have changed" in again["message"]
    fresh.close()


@pytest.mark.parametrize("seed", range(4))
def test_times_are_cut_once(trainer, tmp_path, seed):
    """Survival and the histogram of its times are cells of the same people: no two cuts lie few people apart."""
    rng = np.random.default_rng(seed)
    n = 150
    table = {"days": rng.exponential(300, n).round(), "dead": (rng.uniform(size=n) < 0.6).astype(int), "y": rng.integers(0, 2, n)}
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "y", "min_cell": LEAST}
    told, _ = look(trainer, tmp_path, data, time="days", event="dead", time_max=700, bins=35)
    cuts = set()
    for i in np.flatnonzero(told["survival/edges"][:-1]):
        cuts.add(int(n - told["survival/at_risk"][i]))
    below, inside = told["days/below"], told["days/histogram"]
    for i in np.flatnonzero(told["days/edges"]):
        cuts.add(int(below + inside[:i].sum()))
    cuts = np.array(sorted(cuts | {0, n}))
    assert len(cuts) > 5 and np.all(np.diff(cuts) >= LEAST)
    for i, events in enumerate(told["survival/events"]):
        assert events == 0 or events >= LEAST
    # Who went without the event follows from who was at risk.
    edges = np.flatnonzero(told["survival/edges"])
    for a, b in zip(edges, edges[1:-1]):
        censored = told["survival/at_risk"][a] - told["survival/at_risk"][b] - told["survival/events"][a:b].sum()
        assert censored == 0 or censored >= LEAST


@pytest.mark.parametrize("seed", range(8))
def test_no_combination_of_sums_is_about_few(trainer, tmp_path, seed):
    """Brute force: what is told are sums over rows by weights; no weights that an attacker can combine are 0 for all but one or two."""
    rng = np.random.default_rng(seed)
    n, least = 26, 3
    base = rng.integers(0, 2, (n, 3))
    kind = rng.choice(3, n, p=[0.5, 0.4, 0.1])
    columns = {"p": base[:, 0], "q": base[:, 0] & base[:, 1], "r": 1 - base[:, 1], "s": base[:, 2] | base[:, 0],
               "k0": (kind == 0) * 1, "k1": (kind == 1) * 1, "k2": (kind == 2) * 1}
    gap = rng.uniform(size=n) < 0.3
    columns["g"] = np.where(gap, "", rng.normal(size=n).round(3).astype(str))
    columns["x"], columns["y"] = rng.normal(size=n).round(3), rng.integers(0, 2, n)
    data = {"name": "t", "path": write(tmp_path / "t.csv", columns), "label": "y", "min_cell": least}
    told, places = look(trainer, tmp_path, data)

    def weights(names, rows):
        vectors = [np.ones(len(rows))]
        for name in names:
            known = np.array([v != "" for v in columns[name]])[rows]
            vectors.append(known.astype(float))
            if name not in ("x", "g"):
                vectors.append(np.asarray(columns[name], float)[rows])
        return np.array(vectors)

    def safe(vectors):
        rank = np.linalg.matrix_rank(vectors)
        people = vectors.shape[1]
        for size in range(1, least):
            for few in itertools.combinations(range(people), size):
                if np.linalg.matrix_rank(np.delete(vectors, few, axis=1)) < rank:
                    return False
        return True
    names = [name for name in places if not untold(told, name)]
    assert safe(weights(names, np.arange(n)))
    for name in names:
        if name in ("x", "g"):
            continue
        with_it = [other for other in names if other != name and not told["together/suppressed"][places[name], places[other]]]
        for value in (0, 1):
            rows = np.flatnonzero(np.asarray(columns[name]) == value)
            assert safe(weights(with_it, rows)), (name, value, with_it)


# Cox regression


def trial(tmp_path, n=160, seed=6, **columns):
    rng = np.random.default_rng(seed)
    table = {"days": np.floor(rng.exponential(60, n)), "p": rng.normal(size=n).round(3),
             "ward": np.where(rng.uniform(size=n) < 0.4, "b", np.where(rng.uniform(size=n) < 0.3, "c", "a")),
             "died": (rng.uniform(size=n) < 0.7).astype(int), **columns}
    return {"name": "t", "path": write(tmp_path / "trial.csv", table), "label": "died", "min_cell": LEAST,
            "categories": {"ward": ["a", "b", "c"]}}, table


def risks(trainer, tmp_path, data, beta, bins=200, **more):
    safetensors.numpy.save_file({"beta": np.asarray(beta, float)}, tmp_path / "m")
    answer = trainer.ask("train", data, {}, model=tmp_path / "m", output=tmp_path / "o",
                         algorithm={"cox": "days", "bins": bins, "time_max": 200}, **more)
    return answer if answer["type"] == "error" else safetensors.numpy.load_file(tmp_path / "o")


@pytest.mark.parametrize("seed", range(6))
def test_neighbouring_risk_sets_differ_by_enough_people(trainer, tmp_path, seed):
    """With coefficients of 0 the sums over risk sets are counts, and what they differ by are those who leave in between."""
    data, table = trial(tmp_path, seed=seed)
    told = risks(trainer, tmp_path, data, [0, 0, 0])
    begins = np.flatnonzero(told["edges"])
    assert len(begins) > 2
    inside = np.setdiff1d(np.arange(200), begins)
    for name in ("risk", "risk_x", "risk_xx"):
        assert np.array_equal(told[name][inside], told[name][inside - 1]), "nothing is told within a merged cell"
    events = np.add.reduceat(told["events"], begins)
    leaving = told["risk"][begins] - np.append(told["risk"][begins[1:]], 0)
    xs = told["risk_x"][begins] - np.append(told["risk_x"][begins[1:]], np.zeros((1, 3)), axis=0)
    for counts in (events, leaving, leaving - events, xs[:, 1], xs[:, 2], leaving - xs[:, 1], leaving - xs[:, 2],
                   leaving - xs[:, 1] - xs[:, 2]):
        counts = np.rint(counts)
        assert np.all((counts == 0) | (counts >= LEAST)), counts
    # On these cells all is exact.
    cells = begins[np.searchsorted(begins, np.minimum(table["days"], 199), side="right") - 1]
    assert np.allclose(told["risk_x"][begins][:, 0], [table["p"][cells >= b].sum() for b in begins], atol=1e-4)
    assert events.tolist() == [(table["died"][cells == b] == 1).sum() for b in begins]


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_who_leaves_a_risk_set_is_not_told_by_one_indicator(trainer, tmp_path, share):
    """One of six who leave has it: the products of that cell would be her covariates."""
    rng = np.random.default_rng(12)
    n = 300
    table = {"days": np.floor(rng.exponential(60, n)), "p": rng.normal(size=n).round(3),
             "rare": (rng.uniform(size=n) < share).astype(int), "died": (rng.uniform(size=n) < 0.7).astype(int)}
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "died", "min_cell": LEAST}
    told = risks(trainer, tmp_path, data, [0, 0])
    begins = np.flatnonzero(told["edges"])
    leaving = told["risk"][begins] - np.append(told["risk"][begins[1:]], 0)
    having = told["risk_x"][begins, 1] - np.append(told["risk_x"][begins[1:], 1], 0)
    assert len(begins) > 2
    for counts in (having, leaving - having):
        assert np.all((counts == 0) | (counts >= LEAST)), counts


def test_who_leaves_a_risk_set_is_not_told_by_two_indicators(trainer, tmp_path):
    """Three groups, two of them as columns made by hand: the third is what both leave."""
    rng = np.random.default_rng(13)
    n = 400
    group = rng.choice(3, n, p=[0.46, 0.46, 0.08])
    table = {"days": np.floor(rng.exponential(60, n)), "low": (group == 0).astype(int), "high": (group == 1).astype(int),
             "died": (rng.uniform(size=n) < 0.7).astype(int)}
    data = {"name": "t", "path": write(tmp_path / "t.csv", table), "label": "died", "min_cell": LEAST}
    told = risks(trainer, tmp_path, data, [0, 0])
    begins = np.flatnonzero(told["edges"])
    left = told["risk"][begins] - told["risk_x"][begins].sum(1)
    third = left - np.append(left[1:], 0)
    assert len(begins) > 2 and np.all((third == 0) | (third >= LEAST)), third


def test_a_rare_covariate_keeps_a_site_out(trainer, tmp_path):
    rng = np.random.default_rng(8)
    rare = (np.arange(160) % 60 == 7).astype(int)
    for column in (rare, 1 - rare, rare * 1000 * rng.uniform(size=160).round(2)):
        data, _ = trial(tmp_path, rare=column)
        refused = risks(Trainer(), tmp_path, data, [0, 0, 0, 0])
        assert refused["type"] == "error" and refused["kind"] == "too_few" and refused["column"] == 5
    ward = np.array(["a"] * 100 + ["b"] * 57 + ["c"] * 3)
    data, _ = trial(tmp_path, ward=ward)
    assert risks(Trainer(), tmp_path, data, [0, 0, 0])["kind"] == "too_few"
    few = np.zeros(160, int)
    few[:3] = 1
    data, _ = trial(tmp_path, died=few)
    assert risks(Trainer(), tmp_path, data, [0, 0, 0])["kind"] == "too_few"


def test_coefficients_cannot_single_a_row_out(trainer, tmp_path):
    """The greatest hazard of a cell would be all of its sums: the mean risk_x / risk is then one patient's covariates."""
    data, table = trial(tmp_path)
    for beta in ([40, 0, 0], [-40, 0, 0], [400, 1, 1], [9, 0, 0]):
        assert risks(trainer, tmp_path, data, beta)["kind"] == "too_few"
    assert "risk" in risks(trainer, tmp_path, data, [0.5, -0.4, 0.3])


def hides(parts, squares=False):
    """The p% rule: what all but the two greatest add up to hides the greatest."""
    parts = np.sort(np.append(parts, [0, 0]))
    return parts[:-2].sum() >= ((1.1 ** 2 - 1) if squares else 0.1) * parts[-1] * (1 - 1e-9)


def covariates_of(table):
    return np.column_stack([table["p"], table["ward"] == "b", table["ward"] == "c"]).astype(np.float32).astype(float)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [[0, 0, 0], [0.6, -0.5, 0.4], [-1.5, 1, 1]])
def test_nobody_dominates_what_those_who_leave_add_up_to(trainer, tmp_path, seed, beta):
    """Of each covariate, as it is and weighed by hazards, its squares as well; later grids are never finer than the first."""
    data, table = trial(tmp_path, n=300, seed=seed, p=np.exp(np.random.default_rng(seed).normal(0, 0.7, 300)).round(3))
    first, told = risks(trainer, tmp_path, data, [0, 0, 0]), risks(trainer, tmp_path, data, beta)
    assert np.all(first["edges"] >= told["edges"])
    begins = np.flatnonzero(told["edges"])
    assert len(begins) > 2
    x, bound = covariates_of(table), np.sort(table["p"])[-LEAST]
    if told["bounded"][0]:
        x[:, 0] = np.minimum(x[:, 0], np.float32(bound))
        assert told["bounded"][0] == LEAST
    cells = np.searchsorted(begins, np.minimum(table["days"], 199), side="right") - 1
    for weights in (np.ones(300), np.exp(x @ np.asarray(beta, float))):
        for cell in range(len(begins)):
            inside = cells == cell
            for j in range(3):
                away = np.abs(x[inside, j] - np.sort(x[:, j])[150])
                assert hides(weights[inside] * away) and hides(weights[inside] * away ** 2, True), (cell, j)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_extreme_value_is_bounded_and_told_to_be(trainer, tmp_path, sign):
    """One patient's laboratory value is a hundred times everybody's: the square of it would be all that sums tell."""
    rng = np.random.default_rng(3)
    value = rng.normal(size=160).round(3)
    value[7] = sign * 321.0
    data, table = trial(tmp_path, p=value)
    told = risks(trainer, tmp_path, data, [0, 0, 0])
    bound = sign * np.sort(sign * value)[-LEAST]
    assert told["bounded"].tolist() == [LEAST, 0, 0]
    assert not np.any(told["risk_xx"][:, 0] > 160 * 9), "the outlier is in no sum"
    begins, bounded = np.flatnonzero(told["edges"]), sign * np.minimum(sign * value, sign * bound)
    cells = begins[np.searchsorted(begins, np.minimum(table["days"], 199), side="right") - 1]
    for name, parts in (("risk_x", bounded), ("risk_xx", bounded ** 2)):
        expected = [parts[cells >= b].sum() for b in begins]
        assert np.allclose(told[name][begins].reshape(len(begins), -1)[:, 0], expected, rtol=1e-5, atol=1e-4), "all else is exact"
    exact = risks(Trainer(), tmp_path, {**data, "min_cell": 1}, [0, 0, 0])
    assert exact["risk_xx"][0, 0] > 1e5 and exact["bounded"].tolist() == [0, 0, 0], "where min_cell is 1, everything"


def test_one_grid_a_job(trainer, tmp_path):
    data, _ = trial(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    for beta in ([0, 0, 0], [0.1, 0.1, 0.1]):
        assert "risk" in risks(trainer, tmp_path, data, beta, own=str(own))
    assert risks(trainer, tmp_path, data, [0, 0, 0], bins=201, own=str(own))["kind"] == "policy"
