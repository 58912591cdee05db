"""An operator sees the truth: whom a job waits for, since when, and what was odd about it."""
import json

import numpy as np
import pytest

from harness.deployment import Problem, SiteClient, wait_until
from harness.weights import save

W = np.arange(8, dtype=np.float32)


def reason(rounds, job):
    return rounds.job(job)["reason"] or ""


def test_all_causes_and_all_sites_are_said(rounds):
    SiteClient(rounds, "away")  # has joined, was never heard of
    here = SiteClient(rounds, "here", datasets=["wdbc"])
    other = SiteClient(rounds, "other", datasets=["else"])
    bare = SiteClient(rounds, "bare", datasets=["wdbc"])
    gone = SiteClient(rounds, "gone", datasets=["wdbc"])
    drained = SiteClient(rounds, "drained", datasets=["wdbc"])
    for site in (here, other, gone, drained):
        site.claim(wait=0)
    bare.claim(wait=0, executors=["another"])
    gone.post("/tasks/leave")
    rounds.api.call("PATCH", "/sites/drained", json={"state": "draining"})
    names = ["away", "here", "other", "bare", "gone", "drained", "nobody"]
    job = rounds.submit(dataset="wdbc", sites=names, required_sites=["gone"])
    wait_until(lambda: "1 of at least 7 sites is ready" in reason(rounds, job), what="the reason")
    said = reason(rounds, job)
    for part in ("the job cannot do without gone", "nobody has never joined", "other does not offer the dataset \"wdbc\"",
                 "bare does not offer the executor \"puppet\"", "drained is draining", "away and gone (last heard of 20",
                 "are not connected"):
        assert part in said, said
    assert rounds.api.get(f"/jobs/{job}")["warnings"] == ['no site "nobody" has joined']
    assert reason(rounds, job) == said, "it is said once, not anew with every look"


def test_busy_sites_are_named(rounds):
    here = SiteClient(rounds, "here")
    here.claim(wait=0)
    first = rounds.submit(sites=["here"])
    wait_until(lambda: rounds.job(first)["state"] == "running", what="the first job")
    second = rounds.submit(sites=["here"])
    wait_until(lambda: "here is busy with other jobs" in reason(rounds, second), what="the reason")


def test_no_min_sites_means_all_that_offer_the_data_at_submission(rounds):
    a, b = SiteClient(rounds, "a", datasets=["wdbc"]), SiteClient(rounds, "b", datasets=["wdbc"])
    SiteClient(rounds, "c", datasets=["other"]).claim(wait=0)
    a.claim(wait=0)
    b.claim(wait=0)
    b.post("/tasks/leave")
    job = rounds.submit(dataset="wdbc")
    assert rounds.job(job)["min_sites_effective"] == 2
    wait_until(lambda: "b (last heard of" in reason(rounds, job), what="the reason")
    fewer = rounds.submit(dataset="wdbc", min_sites=1)
    assert rounds.job(fewer)["min_sites_effective"] == 1
    wait_until(lambda: rounds.job(fewer)["state"] == "running", what="the job that said fewer")
    assert rounds.job(job)["state"] == "queued"
    rounds.api.post(f"/jobs/{fewer}/abort")
    b.claim(wait=0)
    wait_until(lambda: rounds.job(job)["state"] == "running", what="the job that waited for both")


def test_nobody_there_yet_still_waits_for_one(rounds):
    job = rounds.submit(dataset="wdbc")
    assert rounds.job(job)["min_sites_effective"] == 1
    assert rounds.job(job)["warnings"][0].startswith('no site offers the dataset "wdbc"')


def test_typos_are_warned_of_with_the_nearest_name(rounds, tmp_path):
    SiteClient(rounds, "berlin", datasets=["wdbc"]).claim(wait=0)
    rounds.login()
    spec = tmp_path / "job.json"
    spec.write_text(json.dumps({"name": "x", "dataset": "wdcb", "executor": "trainr", "sites": ["berln"]}))
    report = rounds.api.post("/jobs/check", json.loads(spec.read_text()))
    assert report["valid"] and report["warnings"] == [
        'no site offers the dataset "wdcb"; did you mean "wdbc"?', 'no site offers the executor "trainr"; did you mean "trainer"?',
        'no site "berln" has joined; did you mean "berlin"?']
    submitted = rounds.rounds("job", "submit", spec)
    assert 'did you mean "wdbc"?' in submitted.stderr
    assert rounds.api.get("/jobs")["items"], "it is a warning, not a refusal"


def test_a_check_tells_everything_and_submits_nothing(rounds, tmp_path):
    SiteClient(rounds, "a", datasets=["wdbc"]).claim(wait=0)
    SiteClient(rounds, "b")
    rounds.login()
    spec = tmp_path / "job.json"
    spec.write_text(json.dumps({"name": "x", "dataset": "wdbc", "trainer": {"model": "logistic"}, "min_sites": 1}))
    shown = rounds.rounds("job", "check", spec).stdout
    for part in ("a     ready", "b     away", "not told", "it would start at once", 'parameters     {"model":"logistic"}'):
        assert part in shown, shown
    spec.write_text(json.dumps({"name": "x", "dataset": "wdbc", "params": {"rounds": 0}, "bogus": 1}))
    refused = rounds.rounds("job", "check", spec, check=False)
    assert refused.returncode == 2 and "bogus" in refused.stdout and "params.rounds" in refused.stdout
    spec.write_text(json.dumps({"name": "x", "dataset": "wdbc", "initial_model": "sha256:" + "0" * 64}))
    refused = rounds.rounds("job", "check", spec, check=False)
    assert refused.returncode == 2 and "has not been uploaded" in refused.stdout
    assert rounds.api.get("/jobs")["items"] == []


def ready(rounds, *names):
    sites = [SiteClient(rounds, name) for name in names]
    for site in sites:
        assert site.claim(wait=0) is None
    return sites


def waiting(rounds, job):
    return {entry["site"]: entry["state"] for entry in rounds.api.get(f"/jobs/{job}/waiting")["sites"]}


def test_a_site_that_vanishes_while_a_round_waits_is_named_everywhere(rounds):
    names = ["a", "b"]
    rounds.start_site("a")
    site = rounds.start_site("b")
    rounds.connected(*names)
    job = rounds.submit(sites=names, executor="puppet", params={"rounds": 2}, trainer={"do": "hang", "only": "b"},
                        lease_seconds=3600)
    wait_until(lambda: waiting(rounds, job) == {"b": "working"}, what="b alone to work")
    assert rounds.api.get(f"/jobs/{job}/waiting")["round"] == 1
    site.kill()
    wait_until(lambda: "round 1 waits for b (last heard of 20" in reason(rounds, job), seconds=40, what="the silence to be said")
    assert waiting(rounds, job) == {"b": "silent"}
    rounds.login()
    assert "silent" in rounds.rounds("job", "show", job).stdout
    assert "waits for b" in rounds.rounds("job", "list").stdout
    told = [e for e in rounds.events(job) if e["kind"] == "site_silent"]
    assert [e["site"] for e in told] == ["b"]
    site = site.again()
    wait_until(lambda: not reason(rounds, job), what="the site to be back")
    assert [e["site"] for e in rounds.events(job) if e["kind"] == "site_back"] == ["b"]


def test_a_round_goes_on_without_a_skipped_site_and_its_manifest_says_so(rounds):
    a, b = ready(rounds, "a", "b")
    job = rounds.submit(sites=["a", "b"], initial_model=rounds.api.upload(save({"w": W})),
                        params={"rounds": 2, "failure_policy": "fail"})
    (of_a, of_b) = a.claim(), b.claim()
    a.result(of_a, a.upload(save({"w": W + 1})))
    assert waiting(rounds, job) == {"b": "working"}
    rounds.login()
    rounds.rounds("job", "skip", job, "b")
    wait_until(lambda: rounds.job(job)["round"] == 2, what="the next round")
    first = rounds.api.get(f"/jobs/{job}/rounds")["items"][1]["manifest"]
    assert first["skipped"] == ["b"] and [entry["site"] for entry in first["inputs"]] == ["a"]
    with pytest.raises(Problem) as late:
        b.result(of_b, b.upload(save({"w": W + 2})))
    assert late.value.status == 409 and "skipped by" in late.value.body["detail"]
    told = [e["message"] for e in rounds.events(job) if e["kind"] == "site_skipped"]
    assert told == ["the round goes on without b: skipped by admin"], told
    assert b.claim()["round"] == 2, "it was for that round alone"
    assert a.claim()["round"] == 2
    rounds.rounds("job", "skip", job, "a")
    rounds.rounds("job", "skip", job, "b")
    assert "no site left" in rounds.wait_for(job, "failed")["reason"]
    with pytest.raises(Problem) as over:
        rounds.api.post(f"/jobs/{job}/skip", {"site": "a"})
    assert over.value.status == 409
    assert rounds.rounds_verify(job)["good"]


def test_a_late_site_joins_where_the_job_lets_it(rounds):
    (a,) = ready(rounds, "a")
    model = rounds.api.upload(save({"w": W}))
    job = rounds.submit(initial_model=model, params={"rounds": 2, "evaluate_last": False}, late_sites="join", min_sites=1)
    task = a.claim()
    (b,) = ready(rounds, "b")
    wait_until(lambda: any(e["kind"] == "site_joined" and e["site"] == "b" for e in rounds.events(job)), what="b to join")
    assert b.claim(wait=1) is None, "not in the round that has begun"
    a.result(task, a.upload(save({"w": W + 1})))
    of_a, of_b = a.claim(), b.claim()
    assert of_b["round"] == 2 and of_b["job"] == job
    a.result(of_a, a.upload(save({"w": W + 2})))
    b.result(of_b, b.upload(save({"w": W + 4})))
    done = rounds.wait_for(job, "completed")
    assert rounds.api.download(done["model"]) == save({"w": W + 3})


@pytest.mark.parametrize("workflow", ["cyclic", "scaffold", "cross_site_evaluation"])
def test_others_refuse_late_sites(rounds, workflow):
    with pytest.raises(Problem) as refused:
        rounds.submit(workflow=workflow, late_sites="join")
    assert refused.value.body["field"] == "late_sites"
