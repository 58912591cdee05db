"""An operator sees the truth: whom a job waits for, since when, and what was odd about it."""
import json

from harness.deployment import SiteClient, wait_until


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
