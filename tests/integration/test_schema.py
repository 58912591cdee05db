"""Sites agree on columns, categories and classes, by name, or do not train; what travels of them is what may."""
import hashlib
import itertools
import json
import re
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from harness.deployment import TOP, Problem, SiteClient, wait_until

sys.path.insert(0, str(TOP / "client/python"))
from rounds.client import Client  # noqa: E402

NAMES, SEXES, CLASSES = ["age", "bp", "sex"], ["f", "m"], ["negative", "positive"]
PARAMS = {"model": "logistic", "epochs": 3, "batch_size": 0, "validation": 0.25}


def patients(count=60, seed=4):
    rng = np.random.default_rng(seed)
    rows = [{"patient": str(i), "age": f"{rng.integers(30, 90)}", "bp": f"{rng.normal(130, 20):.1f}", "sex": str(rng.choice(SEXES))}
            for i in range(count)]
    for row in rows:
        row["result"] = CLASSES[int(float(row["age"]) + rng.normal(0, 8) > 60)]
    rows[7]["bp"] = rows[9]["sex"] = ""
    return rows


def site(tmp_path, name, columns=("patient", "age", "bp", "sex", "result"), rows=None, **more):
    path = tmp_path / f"{name}.csv"
    rows = patients() if rows is None else rows
    path.write_text(",".join(columns) + "\n" + "".join(",".join(row.get(c, "1") for c in columns) + "\n" for row in rows))
    return {"name": "t", "path": str(path), "label": "result", "classes": CLASSES, "categories": {"sex": SEXES}, "ignore": ["patient"], **more}


def schema_of(path):
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    return json.loads(metadata["rounds.schema"]) if metadata else None


def make(trainer, tmp_path, data, params=PARAMS, **more):
    answer = trainer.ask("initialize", data, params, output=tmp_path / "model", **more)
    assert answer["type"] == "result", answer
    return tmp_path / "model"


def train(trainer, tmp_path, data, params=PARAMS, name="update", **more):
    answer = trainer.ask("train", data, params, model=tmp_path / "model", output=tmp_path / name, **more)
    return answer, (tmp_path / name).read_bytes() if answer["type"] == "result" else None


def test_a_model_says_of_its_table_what_may_be_told(trainer, tmp_path):
    schema = schema_of(make(trainer, tmp_path, site(tmp_path, "a")))
    assert schema["features"] == NAMES and schema["label"] == "result"
    said = json.dumps(schema)
    assert schema["classes"].startswith("sha256:") and schema["categories"]["sex"].startswith("sha256:")
    assert not any(f'"{word}"' in said for word in (*SEXES, *CLASSES, "patient"))
    listed = {**PARAMS, "classes": CLASSES, "categories": {"sex": ["m", "f", "x"]}}
    model = make(trainer, tmp_path, site(tmp_path, "a"), listed)
    assert schema_of(model) == {"features": NAMES, "categories": {"sex": ["m", "f", "x"]}, "label": "result", "classes": CLASSES}
    assert safetensors.numpy.load_file(model)["layer0.weight"].shape == (1, 5)


ORDERS = {
    "columns": ({"columns": ["sex", "result", "bp", "patient", "age"]}, {}),
    "categories": ({"categories": {"sex": ["m", "f"]}}, {}),
    "all, and classes that the job lists": ({"columns": ["result", "sex", "bp", "age", "patient"], "categories": {"sex": ["m", "f"]},
                                            "classes": CLASSES[::-1]}, {"classes": CLASSES}),
    "categories that the job lists": ({"categories": {"sex": ["m", "f"]}}, {"categories": {"sex": ["f", "x", "m"]}}),
    "a column that the job ignores": ({"columns": ["note", "age", "patient", "sex", "bp", "result"]}, {"ignore": ["note"]}),
}


@pytest.mark.parametrize("case", ORDERS)
def test_another_order_at_a_site_gives_the_same_model_to_the_bit(trainer, tmp_path, case):
    how, params = ORDERS[case]
    first = site(tmp_path, "a", **({"columns": ["patient", "age", "note", "bp", "sex", "result"]} if "ignore" in params else {}))
    make(trainer, tmp_path, first, {**PARAMS, **params})
    straight, other = train(trainer, tmp_path, first, {**PARAMS, **params}), train(trainer, tmp_path, site(tmp_path, "b", **how), {**PARAMS, **params})
    assert other[0]["type"] == "result", other[0]
    assert straight[1] == other[1] and straight[0]["metrics"] == other[0]["metrics"]
    assert schema_of(tmp_path / "update") == schema_of(tmp_path / "model")


def test_a_site_may_lack_values_that_the_job_lists(trainer, tmp_path):
    """Its features are 0, and missing where the cell is."""
    params = {**PARAMS, "categories": {"sex": ["f", "m", "x"]}, "classes": [*CLASSES, "unknown"], "model": "softmax"}
    make(trainer, tmp_path, site(tmp_path, "a"), params)
    women = [{**row, "sex": row["sex"] and "f"} for row in patients()]
    answer, few = train(trainer, tmp_path, site(tmp_path, "b", rows=women, categories={"sex": ["f"]}), params)
    assert answer["type"] == "result", answer
    _, all_named = train(trainer, tmp_path, site(tmp_path, "c", rows=women, categories={"sex": ["x", "f", "m"]}), params)
    assert few == all_named


DIFFERENT = {
    "a column less": ({"columns": ["patient", "age", "sex", "result"]}, ("features", 2)),
    "a column of another name": ({"columns": ["patient", "age", "pressure", "sex", "result"]}, ("features", 2)),
    "a column more": ({"columns": ["patient", "age", "bp", "weight", "sex", "result"]}, ("path", 4)),
    "a value more": ({"categories": {"sex": [*SEXES, "x"]}}, ("categories", 3)),
    "a value that is called otherwise": ({"categories": {"sex": ["f", "male"]}, "rows": [{**r, "sex": "f"} for r in patients()]}, ("categories", 3)),
    "numbers for text": ({"categories": {}, "rows": [{**r, "sex": "1"} for r in patients()]}, ("categories", 3)),
    "text for numbers": ({"categories": {"sex": SEXES, "bp": ["high", "low"]}, "rows": [{**r, "bp": "low"} for r in patients()]}, ("categories", 2)),
    "classes in another order": ({"classes": CLASSES[::-1]}, ("classes", 0)),
    "a class more": ({"classes": [*CLASSES, "unknown"]}, ("classes", 0)),
    "no classes": ({"classes": [], "rows": [{**r, "result": "1"} for r in patients()]}, ("classes", 0)),
    "another label": ({"columns": ["patient", "age", "bp", "sex", "outcome"], "label": "outcome",
                       "rows": [{**r, "outcome": r["result"]} for r in patients()]}, ("label", 0)),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_is_refused_by_its_name(trainer, tmp_path, case):
    how, (role, column) = DIFFERENT[case]
    make(trainer, tmp_path, site(tmp_path, "a"))
    for kind in ("train", "evaluate"):
        answer = trainer.ask(kind, site(tmp_path, "b", **how), PARAMS, model=tmp_path / "model", output=tmp_path / "update")
        assert (answer["type"], answer["kind"], answer["role"], answer.get("column", 0)) == ("error", "schema", role, column), answer
        assert not answer["retry"] and not (tmp_path / "update").exists()


@pytest.mark.parametrize("params, field", [({"ignore": ["result"]}, "trainer.ignore"),
                                           ({"categories": {"age": ["f"]}}, "trainer.categories"), ({"categories": {"sex": ["f", 1]}}, "trainer.categories"),
                                           ({"categories": {"sex": []}}, "trainer.categories")])
def test_what_a_job_says_of_columns_that_are_otherwise(trainer, tmp_path, params, field):
    answer = trainer.ask("initialize", site(tmp_path, "a"), {**PARAMS, **params}, output=tmp_path / "model")
    assert (answer["type"], answer["kind"], answer["role"]) == ("error", "params", field), answer


def test_a_site_tells_which_of_the_jobs_columns_it_has_none_of(trainer, tmp_path):
    """In the job's own words; what site.json ignores is there. A job that names none is told nothing."""
    params = {**PARAMS, "ignore": ["weight", "bp", "patient"], "categories": {"gender": ["f"], "sex": SEXES}}
    told = {"ignore": ["weight"], "categories": ["gender"]}
    data = site(tmp_path, "a")
    assert trainer.ask("initialize", data, params, output=tmp_path / "model")["lacks"] == told
    assert schema_of(tmp_path / "model")["features"] == ["age", "sex"]
    for kind in ("train", "evaluate"):
        assert trainer.ask(kind, data, params, model=tmp_path / "model", output=tmp_path / "update")["lacks"] == told
    assert "lacks" not in trainer.ask("initialize", data, PARAMS, output=tmp_path / "model")
    for algorithm in ({"statistics": 1}, {"kmeans": 2}):
        assert trainer.ask("train" if "statistics" in algorithm else "initialize", site(tmp_path, "a", min_cell=1), params, output=tmp_path / "x",
                           algorithm=algorithm)["lacks"] == told


@pytest.mark.parametrize("listed", [{"sex": ["f"]}, {"sex": ["f", "M"]}])
def test_what_a_job_lists_must_hold_what_the_site_has(trainer, tmp_path, listed):
    answer = trainer.ask("initialize", site(tmp_path, "a"), {**PARAMS, "categories": listed}, output=tmp_path / "model")
    assert (answer["kind"], answer["role"], answer["column"]) == ("schema", "categories", 3), answer


def test_where_there_is_no_schema_it_is_noted(trainer, tmp_path):
    """A model by hand: the table's own order, as it always was."""
    make(trainer, tmp_path, site(tmp_path, "a"))
    named = train(trainer, tmp_path, site(tmp_path, "a"))[1]
    safetensors.numpy.save_file(safetensors.numpy.load_file(tmp_path / "model"), tmp_path / "model")
    answer, bare = train(trainer, tmp_path, site(tmp_path, "a"))
    assert answer["type"] == "result" and schema_of(tmp_path / "update") is None
    assert safetensors.numpy.load(bare)["layer0.weight"].tobytes() == safetensors.numpy.load(named)["layer0.weight"].tobytes()
    np.save(tmp_path / "x.npy", np.eye(8, 4, dtype=np.float32))
    np.save(tmp_path / "y.npy", np.tile([0.0, 1.0], 4))
    arrays = {"name": "t", "path": str(tmp_path / "x.npy"), "labels": str(tmp_path / "y.npy")}
    assert schema_of(make(trainer, tmp_path, arrays)) is None
    assert train(trainer, tmp_path, arrays)[0]["type"] == "result"


@pytest.mark.parametrize("share, has", [(["layer1.*"], {"label", "classes"}), (["layer0.*", "input.*"], {"features", "categories"}),
                                        (["*"], {"label", "classes", "features", "categories"})])
def test_what_is_not_shared_is_exempt(trainer, tmp_path, share, has):
    """Each site has its own way into the hidden layer: columns may differ; or its own way out: labels may."""
    params = {**PARAMS, "model": "mlp", "hidden": 4}
    model = make(trainer, tmp_path, site(tmp_path, "a"), params, share=share, own=str(tmp_path))
    assert set(schema_of(model)) == has
    narrow = site(tmp_path, "b", ["age", "result"], ignore=[], categories={})
    answer, _ = train(trainer, tmp_path, narrow, params, share=share, own=str(tmp_path), round=0)
    assert (answer["type"] == "result") == ("features" not in has), answer


@pytest.mark.parametrize("algorithm, tensor", [({"kmeans": 2}, "centers"), ({"cox": "days", "bins": 10, "time_max": 100}, "beta")])
def test_sums_are_of_the_same_columns_too(trainer, tmp_path, algorithm, tensor):
    rng = np.random.default_rng(1)
    rows = [{"a": f"{rng.normal():.3f}", "b": f"{rng.normal(5):.3f}", "days": str(rng.integers(1, 90)), "died": str(rng.integers(0, 2))} for _ in range(40)]
    data = {name: site(tmp_path, name, columns, rows, label="died", classes=[], ignore=[], categories={}, min_cell=1)
            for name, columns in (("x", ["a", "b", "days", "died"]), ("y", ["days", "died", "b", "a"]))}
    make(trainer, tmp_path, data["x"], {}, algorithm=algorithm)
    assert schema_of(tmp_path / "model") == {"features": ["a", "b", "days"], "categories": {}}
    assert train(trainer, tmp_path, data["x"], {}, algorithm=algorithm)[1] == train(trainer, tmp_path, data["y"], {}, algorithm=algorithm)[1] is not None
    short = site(tmp_path, "z", ["a", "days", "died"], rows, label="died", classes=[], ignore=[], categories={}, min_cell=1)
    assert train(trainer, tmp_path, short, {}, algorithm=algorithm)[0]["kind"] == "schema"


def digest(column, value):
    return f"{column}=#{hashlib.sha256(column.encode() + bytes(1) + value.encode()).hexdigest()[:8]}"


def counted(path):
    return {name[:-len("/count")] for name in safetensors.numpy.load_file(path) if name.endswith("/count")}


def test_a_name_holds_a_value_only_where_the_job_lists_it(trainer, tmp_path):
    """Per column, and per value; the same table is asked again, as by another job."""
    data, first = site(tmp_path, "a", min_cell=1), {"algorithm": {"statistics": 1}}
    safetensors.numpy.save_file({"nothing": np.zeros(1)}, tmp_path / "model")
    for listed, names in (({}, {digest("sex", "f"), digest("sex", "m"), *(digest("result", c) for c in CLASSES)}),
                          ({"categories": {"sex": ["f"]}}, {"sex=f", digest("sex", "m"), *(digest("result", c) for c in CLASSES)}),
                          ({"classes": CLASSES}, {digest("sex", "f"), digest("sex", "m"), *(f"result={c}" for c in CLASSES)}),
                          ({"categories": {"sex": SEXES}, "classes": CLASSES}, {"sex=f", "sex=m", *(f"result={c}" for c in CLASSES)})):
        for model in (None, tmp_path / "model"):
            answer = trainer.ask("train", data, listed, model=model, output=tmp_path / "sums", **first)
            assert answer["type"] == "result" and counted(tmp_path / "sums") == {"age", "bp", *names}, answer


def alike(column):
    """Two values whose eight digits are the same."""
    seen = {}
    for i in itertools.count():
        if (name := digest(column, str(i))) in seen:
            return [seen[name], str(i)]
        seen[name] = str(i)


@pytest.mark.parametrize("column, settings", [("sex", "categories"), ("result", "classes")])
def test_two_values_of_one_name_are_refused(trainer, tmp_path, column, settings):
    values = alike(column)
    rows = [{**row, column: values[i % 2]} for i, row in enumerate(patients())]
    data = site(tmp_path, "a", rows=rows, **{settings: {column: values} if settings == "categories" else values})
    ask = {"output": tmp_path / "sums", "algorithm": {"statistics": 1}}
    answer = trainer.ask("train", data, {}, **ask)
    assert (answer["type"], answer["kind"]) == ("error", "category") and f"trainer.{settings}" in answer["message"]
    listed = {settings: {column: values} if settings == "categories" else values}
    assert trainer.ask("train", data, listed, **ask)["type"] == "result"
    assert counted(tmp_path / "sums") >= {f"{column}={value}" for value in values}


# With a server


def covariates(rounds, job, path):
    path.write_bytes(rounds.api.download(job["model"]))
    with safetensors.safe_open(path, "np") as file:
        return json.loads(file.metadata()["rounds.covariates"])


def stored(rounds, text):
    return [path.name for path in rounds.data.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_no_value_reaches_the_server_unless_the_job_lists_it(rounds, tmp_path):
    """Statistics and Cox regression: not in weights, the database, nor the log."""
    grades, fates = ["Grade-Alpha", "Grade-Beta", "Grade-Gamma"], ["Alive-Yet", "Dead-Since"]
    rng = np.random.default_rng(8)
    for name in ("a", "b"):
        rows = [{"age": f"{rng.normal(60, 9):.1f}", "days": str(rng.integers(1, 300)), "grade": str(rng.choice(grades)), "died": str(rng.integers(0, 2)),
                 "fate": str(rng.choice(fates))} for _ in range(120)]
        data = site(tmp_path, name, ["age", "days", "grade", "died", "fate"], rows, min_cell=1, categories={"grade": grades})
        rounds.start_site(name, datasets={
            "died": {"path": data["path"], "label": "died", "min_cell": 1, "categories": {"grade": grades}, "ignore": ["fate"]},
            "fate": {"path": data["path"], "label": "fate", "min_cell": 1, "categories": {"grade": grades}, "classes": fates}})
    rounds.connected("a", "b")
    look = {"workflow": "statistics", "executor": "trainer", "sites": ["a", "b"], "dataset": "fate"}
    cox = {"workflow": "cox", "executor": "trainer", "sites": ["a", "b"], "dataset": "died",
           "params": {"rounds": 2, "time": "days", "time_max": 300, "bins": 300}}
    done = [rounds.wait_for(rounds.submit(**spec), "completed") for spec in (look, cox)]
    for value in (*grades, *fates):
        assert value not in rounds.server.text(), value
        assert not stored(rounds, value), value
    (tmp_path / "sums").write_bytes(rounds.api.download(done[0]["model"]))
    assert {digest("grade", g) for g in grades} | {digest("fate", f) for f in fates} <= counted(tmp_path / "sums")
    assert covariates(rounds, done[1], tmp_path / "cox") == ["age", *(digest("grade", g) for g in grades[1:])]
    assert len(stored(rounds, digest("grade", grades[1]))) > 2, "updates are stored as they came, so that values would be seen"
    listed = {"trainer": {"categories": {"grade": grades}, "classes": fates}}
    done = [rounds.wait_for(rounds.submit(**spec, **listed), "completed") for spec in (look, cox)]
    (tmp_path / "sums").write_bytes(rounds.api.download(done[0]["model"]))
    assert {f"grade={g}" for g in grades} | {f"fate={f}" for f in fates} <= counted(tmp_path / "sums")
    assert covariates(rounds, done[1], tmp_path / "cox") == ["age", *(f"grade={g}" for g in grades[1:])]


def finish(rounds, sites, **spec):
    for name, data in sites.items():
        rounds.start_site(name, datasets={"t": {k: v for k, v in data.items() if k != "name"}})
    rounds.connected(*sites)
    job = rounds.api.post("/jobs", {"name": "t", "dataset": "t", "sites": sorted(sites), "seed": 3, "trainer": PARAMS, **spec})["id"]
    return rounds.wait_for(job, "completed", "failed")


def test_sites_in_any_order_train_one_model(another, tmp_path):
    """Columns, categories and the job's classes in another order at one hospital: the model of a federation in one order, to the bit."""
    classes = {"trainer": {**PARAMS, "classes": CLASSES}, "params": {"rounds": 3}}
    halves = patients(120)[:60], patients(120, 9)[60:]
    same = {"a": site(tmp_path, "a", rows=halves[0]), "b": site(tmp_path, "b", rows=halves[1])}
    other = {**same, "b": site(tmp_path, "c", ["sex", "bp", "result", "age", "patient"], halves[1], categories={"sex": ["m", "f"]}, classes=CLASSES[::-1])}
    models = []
    for name, sites in (("one", same), ("two", other)):
        rounds = another(name)
        job = finish(rounds, sites, **classes)
        assert job["state"] == "completed", job
        models.append(rounds.api.download(job["model"]))
        (tmp_path / "model").write_bytes(models[-1])
        assert schema_of(tmp_path / "model")["features"] == NAMES
        rounds.login()
        rounds.rounds("verify", job["id"])
    assert models[0] == models[1]


def test_a_site_that_differs_does_not_train(rounds, tmp_path):
    job = finish(rounds, {"a": site(tmp_path, "a"), "b": site(tmp_path, "b", classes=CLASSES[::-1])}, params={"rounds": 2}, min_sites=2)
    assert job["state"] == "failed" and "differ from the model's (classes" in job["reason"], job
    said = json.dumps([rounds.api.get(f"/jobs/{job['id']}/{what}") for what in ("events", "schema")])
    assert not any(word in said for word in (*CLASSES, str(tmp_path)))


def sdk(rounds, job):
    with_login = rounds.data / "ca.pem"
    return Client(rounds.url, rounds.token, str(with_login)).job(job)


def test_who_differs_is_listed_and_what_may_be_told_of_it(rounds, tmp_path):
    """For the API, the command and the Python package alike; b and c tell the names of their columns, d and e do not."""
    more = ["patient", "age", "bp", "weight", "sex", "result"]
    sites = {"a": site(tmp_path, "a"), "b": site(tmp_path, "b", more, describe="columns"),
             "c": site(tmp_path, "c", ["patient", "age", "bp", "sex", "outcome"], label="outcome", describe="columns",
                       rows=[{**row, "outcome": row["result"]} for row in patients()]),
             "d": site(tmp_path, "d", more), "e": site(tmp_path, "e", ["patient", "age", "sex", "result"]),
             "f": site(tmp_path, "f", categories={"sex": [*SEXES, "x"]})}
    job = finish(rounds, sites, params={"rounds": 1, "quorum": 1, "grace_seconds": 60}, min_sites=6)
    assert job["state"] == "completed", job
    told = rounds.api.get(f"/jobs/{job['id']}/schema")
    schema = told["schema"]
    assert told["made_by"] == "a" and told["model"] == job["model"] and told["lacks"] == []
    assert schema["features"] == NAMES and schema["label"] == "result" and schema["classes"].startswith("sha256:")
    said = {key: value for key, value in schema.items() if key != "digest"}
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    assert schema["digest"] == f"sha256:{hashlib.sha256(canonical).hexdigest()}"
    differs = {entry["site"]: entry for entry in told["differs"]}
    assert list(differs) == ["b", "c", "d", "e", "f"] and all(entry["round"] == 1 and entry["kind"] == "schema" and entry["since"] for entry in differs.values())

    def facts(name):
        return tuple(differs[name][key] for key in ("role", "column", "expected", "found"))
    assert facts("b") == ("path", "weight", None, "weight"), "where the site tells its columns"
    assert facts("c") == ("label", "result", "result", "outcome")
    assert facts("d") == ("path", None, None, None) and differs["d"]["place"] == 4, "where it does not, the place in its table alone"
    assert facts("e") == ("features", "bp", "bp", None)
    assert facts("f") == ("categories", "sex", schema["categories"]["sex"], None)
    assert sdk(rounds, job["id"]).schema() == told
    rounds.login()
    shown = rounds.rounds("job", "show", job["id"]).stdout
    assert schema["digest"] in shown and ", ".join(NAMES) in shown
    for name, entry in differs.items():
        assert re.search(rf"^{name} .*{re.escape(entry['what'])}", shown, re.M), shown
        assert entry["ref"] in next(s for s in rounds.processes if getattr(s, "name", "") == name).text()
    assert json.loads(rounds.rounds("job", "show", job["id"], "-o", "json").stdout)["schema"] == told


def test_a_column_that_one_site_has_is_noted_for_the_others(rounds, tmp_path):
    """The site that makes the model has not the column that the job ignores: only c does."""
    sites = {"a": site(tmp_path, "a"), "b": site(tmp_path, "b"), "c": site(tmp_path, "c", ["patient", "age", "note", "bp", "sex", "result"])}
    job = finish(rounds, sites, trainer={**PARAMS, "ignore": ["note"]}, params={"rounds": 2}, min_sites=3)
    assert job["state"] == "completed", job
    told = rounds.api.get(f"/jobs/{job['id']}/schema")
    assert told["differs"] == [] and told["lacks"] == [{"site": name, "ignore": ["note"], "categories": []} for name in "ab"]
    notes = [event for event in rounds.events(job["id"]) if "has no column" in event["message"]]
    assert [(event["site"], event["message"]) for event in notes] == [
        (name, f'{name} has no column "note" (trainer.ignore), which the job names') for name in "ab"], "once each"


@pytest.mark.parametrize("workflow", [{}, {"workflow": "statistics"}, {"workflow": "cyclic"}])
def test_a_column_that_no_site_has_is_the_jobs_fault(rounds, tmp_path, workflow):
    """It says which words are wrong and what to do; where all sites tell their columns, before the job starts."""
    sites = {name: site(tmp_path, name, describe="columns") for name in "abc"}
    wrong = {**PARAMS, "ignore": ["nots", "patient"], "categories": {"sexe": SEXES}}
    job = finish(rounds, sites, trainer=wrong, **({"params": {"rounds": 4}} if "statistics" not in str(workflow) else {}), min_sites=3, **workflow)
    assert job["state"] == "failed", job
    assert job["reason"] == 'no site has a column "nots" (trainer.ignore) and "sexe" (trainer.categories): correct the name, or take it out of the job'
    lacks = rounds.api.get(f"/jobs/{job['id']}/schema")["lacks"]
    assert {entry["site"] for entry in lacks} == set("abc") and all(entry["ignore"] == ["nots"] and entry["categories"] == ["sexe"] for entry in lacks)
    if not workflow:
        wait_until(lambda: all(s["tables"] for s in rounds.api.get("/sites")["items"]), what="sites to tell of their tables")
        warned = rounds.api.post("/jobs/check", {**{key: job["spec"][key] for key in ("name", "dataset", "sites", "executor")}, "trainer": wrong})["warnings"]
        assert 'no site tells of a column "sexe" (trainer.categories); did you mean "sex"?' in warned, warned
        assert any('"nots" (trainer.ignore)' in text for text in warned), warned


def test_a_site_may_speak_of_the_jobs_columns_alone(rounds):
    """What else it says it lacks is let go; so is what is no list. Who tells nothing is not judged by."""
    a, b = SiteClient(rounds, "a"), SiteClient(rounds, "b")
    for s in (a, b):
        s.facts |= {"protocol": 2}
        s.claim(wait=0)
    start = rounds.api.upload(safetensors.numpy.save({"w": np.zeros(3, np.float32)}))
    spec = {"sites": ["a", "b"], "initial_model": start, "params": {"rounds": 1, "evaluate_last": False}, "trainer": {"ignore": ["x"], "categories": {"y": ["1"]}}}

    def answer(s, lacks):
        task = s.claim()
        update = s.upload(safetensors.numpy.save({"w": np.ones(3, np.float32)}))
        return s.post(f"/tasks/{task['id']}/result", {"weight": 1, "update": update, **({} if lacks is None else {"lacks": lacks})})
    job = rounds.submit(**spec)
    answer(a, {"ignore": ["Jane Doe", "x", 7], "categories": "none", "more": ["x"]}), answer(b, None)
    rounds.wait_for(job, "completed")
    assert rounds.api.get(f"/jobs/{job}/schema")["lacks"] == [{"site": "a", "ignore": ["x"], "categories": []}]
    assert not stored(rounds, "Jane Doe")
    job = rounds.submit(**spec)
    answer(a, {"ignore": ["x"], "categories": []}), answer(b, {"ignore": ["x"], "categories": ["y"]})
    assert "\"x\" (trainer.ignore): correct" in rounds.wait_for(job, "failed")["reason"]


def test_the_model_says_what_it_said_whatever_sites_write(rounds):
    """Sites whose updates say nothing, the model's schema in other words, or something else besides."""
    schema = {"features": ["a"], "categories": {}, "label": "y"}
    start = safetensors.numpy.save({"w": np.zeros(3, np.float32)}, metadata={"rounds.schema": json.dumps(schema), "format": "pt"})
    sites = [SiteClient(rounds, name) for name in ("a", "b", "c")]
    for s in sites:
        s.claim(wait=0)
    job = rounds.submit(sites=["a", "b", "c"], initial_model=rounds.api.upload(start), params={"rounds": 1, "evaluate_last": False})
    wrong = safetensors.numpy.save({"w": np.ones(3, np.float32)}, metadata={"rounds.schema": json.dumps({**schema, "features": ["b"]})})
    words = [None, {"rounds.schema": json.dumps(schema, indent=2), "note": "Jane Doe"}, {"note": "Jane Doe"}]
    tasks = [s.claim() for s in sites]
    with pytest.raises(Problem, match="the update's schema is not the model's"):
        sites[0].result(tasks[0], sites[0].upload(wrong))
    job = rounds.submit(sites=["a", "b", "c"], initial_model=rounds.api.upload(start), params={"rounds": 1, "evaluate_last": False})
    for s, said in zip(sites, words):
        s.result(s.claim(), s.upload(safetensors.numpy.save({"w": np.ones(3, np.float32)}, metadata=said)))
    model = rounds.api.download(rounds.wait_for(job, "completed")["model"])
    header = json.loads(model[8:8 + int.from_bytes(model[:8], "little")])
    assert header["__metadata__"] == {"rounds.schema": json.dumps(schema), "format": "pt"}
    shown = rounds.api.get(f"/blobs/{rounds.job(job)['model']}/tensors")
    assert shown["schema"] == schema
    assert b"Jane" not in model and np.all(safetensors.numpy.load(model)["w"] == 1)
