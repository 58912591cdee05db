"""The contract: api/openapi.json, job.schema.json and the program say the same, and the examples run."""
import base64
import json
import os
import re
import subprocess

import jsonschema
import numpy as np
import pytest
from openapi_spec_validator import validate

from harness.deployment import BUILD, TOP, Problem, SiteClient
from harness.weights import digest_of, save

OPENAPI = json.loads((TOP / "api/openapi.json").read_text())


def server_prints(what):
    return json.loads(subprocess.check_output([BUILD / "server/rounds-server", what]))


def test_openapi_is_valid_and_lists_exactly_the_servers_routes():
    validate(OPENAPI)
    routes = {(route["method"], route["path"]): route for route in server_prints("routes")}
    documented = {(method.upper(), path): operation for path, item in OPENAPI["paths"].items()
                  for method, operation in item.items() if method != "parameters"}
    assert set(routes) == set(documented)
    for key, operation in documented.items():
        assert operation["summary"] == routes[key]["summary"], key
        assert (operation.get("security") == []) == routes[key]["public"], key
        assert re.findall(r"{(\w+)}", key[1]) == [p["name"] for p in OPENAPI["paths"][key[1]].get("parameters", [])]


def test_whatever_a_path_names_has_a_row_that_says_whose_it_is():
    """The door asks that table of all that a path names, so that a new route cannot forget it."""
    table = re.search(r"} objects\[\] = {\n(.*?)^};", (TOP / "server/store/projects.c").read_text(), re.S | re.M)[1]
    known = re.findall(r'^\t{ "(\w+)"', table, re.M)
    named = {name for route in server_prints("routes") for name in re.findall(r"{(\w+)}", route["path"])}
    assert "job" in named and sorted(known) == sorted(named)
    documented = {p["name"] for item in OPENAPI["paths"].values() for p in item.get("parameters", []) if p["in"] == "path"}
    assert documented == named


def test_the_served_files_are_the_repositorys(rounds):
    assert rounds.api.get("/openapi.json") == OPENAPI
    assert rounds.api.get("/job.schema.json") == json.loads((TOP / "api/job.schema.json").read_text())
    assert server_prints("schema") == json.loads((TOP / "api/job.schema.json").read_text())


def test_the_trainers_schema_is_the_repositorys():
    """The dashboard's form is made of this file."""
    said = subprocess.check_output([BUILD / "client/rounds-trainer", "--schema"])
    assert json.loads(said) == json.loads((TOP / "api/trainer.schema.json").read_text())


def test_each_field_of_a_job_is_known_to_schema_server_and_documentation():
    schema = server_prints("schema")
    guide = (TOP / "api/README.md").read_text()
    for name, field in schema["properties"].items():
        assert f"`{name}`" in guide, f"api/README.md does not speak of {name}"
        assert field["description"]
    for rule in schema["allOf"]:
        for name in rule["then"]["properties"]["params"]["properties"]:
            assert f"`{name}`" in guide, f"api/README.md does not speak of params.{name}"


def test_schema_and_server_judge_alike(rounds):
    schema = rounds.api.get("/job.schema.json")
    good = {"name": "x", "dataset": "d"}
    for change in [{}, {"priority": 3}, {"priority": 101}, {"priority": "1"}, {"seed": -1}, {"sites": ["a", "b"]}, {"sites": ["a", "a"]},
                   {"sites": ["-"]}, {"params": {"rounds": 3}}, {"params": {"rounds": 0}}, {"params": {"fraction": 0}},
                   {"params": {"failure_policy": "fail"}}, {"params": {"failure_policy": "x"}}, {"unknown": 1}, {"name": ""},
                   {"dataset": "../etc"}, {"workflow": "none"}, {"retention": {"models": 0}}, {"max_weight_share": 0.5},
                   {"max_weight_share": 0}, {"initial_model": "x"}, {"trainer": {"free": [1]}}, {"trainer": 1}]:
        spec = {**good, **change}
        by_schema = jsonschema.Draft202012Validator(schema).is_valid(spec)
        try:
            rounds.api.post("/jobs", spec)
            by_server = True
        except Problem:
            by_server = False
        assert by_schema == by_server, change


def resolve(schema):
    return {"$ref": schema["$ref"], "components": OPENAPI["components"]} if "$ref" in schema else {
        **schema, "components": OPENAPI["components"]}


def check_answer(path, answer, status="200"):
    schema = OPENAPI["paths"][path]["get"]["responses"][status]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(resolve(schema)).validate(answer)


def test_answers_are_as_documented(rounds):
    site = SiteClient(rounds, "a")
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 2, "key_metric": "value"})
    done = rounds.wait_for(job, "completed")
    verification = rounds.api.post(f"/jobs/{job}/verifications")["id"]
    hook = rounds.api.post("/webhooks", {"url": "https://localhost:1/"})["id"]
    rounds.login()
    rounds.rounds("verify", job)
    # The session is a browser's (test_people.py), the dashboard may not be built (tests/browser).
    for path in [p for p, item in OPENAPI["paths"].items() if "get" in item and p not in ("/api/v1/session", "/", "/assets/{file}")]:
        real = path.replace("{job}", job).replace("{site}", "a").replace("{digest}", done["model"]).replace(
            "{verification}", verification).replace("{webhook}", hook)
        answer = (site if path == "/api/v1/peers" else rounds.api).raw("GET", real)
        assert answer.status_code == 200, (real, answer.text)
        if "application/json" in OPENAPI["paths"][path]["get"]["responses"]["200"]["content"]:
            check_answer(path, answer.json())


@pytest.mark.parametrize("path", ["/jobs/nothing", "/sites/nobody", "/blobs/x", "/jobs/x/rounds", "/jobs/x/events"])
def test_what_is_not_there_is_a_problem(rounds, path):
    response = rounds.api.raw("GET", "/api/v1" + path)
    assert response.status_code == 404 and response.headers["Content-Type"] == "application/problem+json"
    jsonschema.Draft202012Validator(resolve({"$ref": "#/components/schemas/Problem"})).validate(response.json())


def test_a_job_is_submitted_once_under_one_key(rounds):
    spec = {"name": "once", "dataset": "d"}
    first = rounds.api.call("POST", "/jobs", json=spec, headers={"Idempotency-Key": "k1"})
    again = rounds.api.call("POST", "/jobs", json=spec, headers={"Idempotency-Key": "k1"})
    assert again["id"] == first["id"] and len(rounds.api.get("/jobs")["items"]) == 1
    with pytest.raises(Problem) as problem:
        rounds.api.call("POST", "/jobs", json={**spec, "name": "other"}, headers={"Idempotency-Key": "k1"})
    assert problem.value.status == 409


def test_changes_need_the_present_version(rounds):
    job = rounds.submit()
    etag = rounds.api.raw("GET", f"/api/v1/jobs/{job}").headers["ETag"]
    changed = rounds.api.raw("PATCH", f"/api/v1/jobs/{job}", json={"priority": 7}, headers={"If-Match": etag})
    assert changed.json()["priority"] == 7 and changed.headers["ETag"] != etag
    assert changed.json().keys() == rounds.job(job).keys()
    late = rounds.api.raw("PATCH", f"/api/v1/jobs/{job}", json={"priority": 9}, headers={"If-Match": etag})
    assert late.status_code == 412 and rounds.job(job)["priority"] == 7


def test_pages_follow_one_another(rounds):
    jobs = [rounds.submit(name=f"job {i}") for i in range(25)]
    seen, cursor = [], ""
    while cursor is not None:
        page = rounds.api.get(f"/jobs?limit=10{'&cursor=' + cursor if cursor else ''}")
        seen += [job["id"] for job in page["items"]]
        cursor = page["next"]
    assert seen == jobs[::-1]
    assert [job["name"] for job in rounds.api.get("/jobs?q=JOB 1&limit=100")["items"]] == [
        f"job {i}" for i in (19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 1)]


def test_ranges_and_etags_of_a_blob(rounds):
    data = save({"w": __import__("numpy").arange(1000, dtype="float32")})
    digest = rounds.api.upload(data)
    whole = rounds.api.raw("GET", f"/api/v1/blobs/{digest}")
    assert whole.content == data and whole.headers["ETag"] == f'"{digest}"'
    for header, begin, end in [("bytes=0-9", 0, 10), ("bytes=100-", 100, len(data)), ("bytes=-5", len(data) - 5, len(data)),
                               ("bytes=10-999999", 10, len(data))]:
        part = rounds.api.raw("GET", f"/api/v1/blobs/{digest}", headers={"Range": header})
        assert (part.status_code, part.content) == (206, data[begin:end]), header
        assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(data)}"
    assert rounds.api.raw("GET", f"/api/v1/blobs/{digest}", headers={"Range": "bytes=9999999-"}).status_code == 416
    assert rounds.api.raw("GET", f"/api/v1/blobs/{digest}", headers={"If-None-Match": f'"{digest}"'}).status_code == 304
    assert rounds.api.raw("GET", f"/api/v1/blobs/{digest}", headers={"Range": "nonsense"}).content == data
    assert rounds.api.get(f"/blobs/{digest}/tensors")["items"] == [
        {"name": "w", "dtype": "F32", "shape": [1000], "bytes": 4000}]


def test_a_whole_round_with_curl_and_a_shell(rounds):
    done = subprocess.run([TOP / "api/examples/round.sh"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "URL": rounds.url, "CA": str(rounds.data / "ca.pem"), "TOKEN": rounds.token})
    assert done.returncode == 0 and done.stdout.endswith("Done.\n"), done.stdout + done.stderr


def test_a_small_model_comes_with_its_task(rounds):
    site = SiteClient(rounds, "a")
    for size, comes in ((10, True), (12 * 1024, False)):
        model = save({"w": np.zeros(size, np.uint8)})
        site.claim(wait=0)
        rounds.submit(sites=["a"], initial_model=rounds.api.upload(model), params={"rounds": 1, "evaluate_last": False})
        task = site.claim()
        assert ("model_data" in task) == comes
        if comes:
            assert base64.b64decode(task["model_data"]) == model == site.download(task["model"])
        site.result(task, site.upload(model))


def test_a_small_update_may_come_with_its_result(rounds):
    site = SiteClient(rounds, "a")
    model = save({"w": np.zeros(10, np.float32)})
    site.claim(wait=0)
    job = rounds.submit(sites=["a"], initial_model=rounds.api.upload(model), params={"rounds": 1, "evaluate_last": False})
    task = site.claim()
    update = save({"w": np.ones(10, np.float32)})
    body = {"update": digest_of(update), "weight": 1}
    for data, words in ((base64.b64encode(model), "does not have the digest"), (b"???", "in base64"),
                        (base64.b64encode(bytes(20000)), "at most 12 KB")):
        with pytest.raises(Problem) as problem:
            site.post(f"/tasks/{task['id']}/result", {**body, "update_data": data.decode()})
        assert problem.value.status == 400 and words in str(problem.value)
    body["update_data"] = base64.b64encode(update).decode()
    first = site.post(f"/tasks/{task['id']}/result", body)
    assert site.post(f"/tasks/{task['id']}/result", body) == first and first["accepted"]
    assert rounds.api.download(rounds.wait_for(job, "completed")["model"]) == update


def test_every_job_in_the_documents_is_valid():
    schema = jsonschema.Draft202012Validator(server_prints("schema"))
    blocks = [block for guide in ("README.md", "api/README.md") for block in
              re.findall(r"```json\n(.*?)```", (TOP / guide).read_text(), re.DOTALL)]
    jobs = [json.loads(block) for block in blocks] + [json.loads(path.read_text()) for path in (TOP / "deploy/examples").glob("*.json")]
    assert len(jobs) > 10
    for job in jobs:
        schema.validate(job)


@pytest.mark.parametrize("path, body", [
    ("/tokens", {"name": "t", "expires_day": 7}), ("/tokens", {"name": "t", "rolle": "admin"}), ("/users", {"name": "u", "rle": "admin"}),
    ("/invitations", {"site": "s", "replce": True}), ("/jobs", {"name": "j", "dataset": "d", "sties": ["a"]}),
])
def test_a_typing_error_is_no_default(rounds, path, body):
    answer = rounds.api.raw("POST", "/api/v1" + path, json=body)
    assert answer.status_code == 400, answer.text
    assert any(name in answer.text for name in ("expires_day", "rolle", "rle", "replce", "sties"))


@pytest.mark.parametrize("wanted", ["--1", "1--1", "+1-+2", " 1- 2", "0x1-0x2", "1-2x", "-"])
def test_a_range_is_digits_alone(rounds, wanted):
    digest = rounds.api.upload(b"r" * 1000)
    whole = rounds.api.raw("GET", f"/api/v1/blobs/{digest}", headers={"Range": f"bytes={wanted}"})
    assert whole.status_code == 200 and len(whole.content) == 1000
