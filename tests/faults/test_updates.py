"""GUARANTEES rows 5, 6, 7, 14, 21, 27: what a site may deliver, and what happens when it is wrong."""
import concurrent.futures
import pathlib

import numpy as np
import pytest

from harness.deployment import MEMORY_COUNTS, Problem, SiteClient, wait_until
from harness.weights import digest_of, save

W = np.arange(8, dtype=np.float32)


def begin(rounds, *names, model=None, **spec):
    """A job whose sites are this test: returns the sites, the job and each one's first train task."""
    sites = [SiteClient(rounds, name) for name in names]
    for site in sites:
        assert site.claim(wait=0) is None
    initial = rounds.api.upload(model if model is not None else save({"w": W}))
    job = rounds.submit(sites=list(names), initial_model=initial, **{"params": {"rounds": 2}, **spec})
    tasks = [site.claim() for site in sites]
    assert all(tasks), "each site gets its task"
    return sites, job, tasks


def test_the_same_result_ten_times_at_once_counts_once(rounds):
    (a,), job, (task,) = begin(rounds, "a")
    update = a.upload(save({"w": W + 1}))
    # One connection each: the site's own session is not for many threads.
    others = [SiteClient(rounds, "a") for _ in range(10)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda site: site.result(task, update, weight=3), others))
    assert all(answer == answers[0] for answer in answers) and answers[0]["accepted"]
    assert len([e for e in rounds.events(job) if e["kind"] == "result"]) == 1
    wait_until(lambda: rounds.job(job)["round"] == 2, what="the next round")
    assert a.result(task, update, weight=3) == answers[0], "also after its round has closed"


def refused(call, kind, status):
    with pytest.raises(Problem) as problem:
        call()
    assert (problem.value.kind, problem.value.status) == (kind, status), problem.value.body
    return problem.value.body


def test_results_that_come_too_late_or_from_another_change_nothing(rounds):
    (a, b), job, (of_a, of_b) = begin(rounds, "a", "b", params={"rounds": 2, "quorum": 1})
    good = a.upload(save({"w": W + 1}))
    refused(lambda: a.result(of_b, good), "not-found", 404)
    a.result(of_a, good)
    wait_until(lambda: rounds.job(job)["round"] == 2, what="the round to close with a alone")
    late = b.upload(save({"w": W + 9}))
    body = refused(lambda: b.result(of_b, late), "conflict", 409)
    assert "closed without it" in body["detail"]
    first = rounds.api.get(f"/jobs/{job}/rounds")["items"][1]
    assert [entry["site"] for entry in first["manifest"]["inputs"]] == ["a"]

    next_task = a.claim()
    rounds.api.post(f"/jobs/{job}/abort")
    other = a.upload(save({"w": W + 2}))
    before = rounds.events(job)
    refused(lambda: a.result(next_task, other), "conflict", 409)
    assert rounds.job(job)["state"] == "aborted" and rounds.events(job) == before


def test_a_result_whose_lease_has_run_out_counts_while_its_round_is_open(rounds):
    (a,), job, (task,) = begin(rounds, "a", params={"rounds": 1, "evaluate_last": False}, lease_seconds=1)
    update = a.upload(save({"w": W + 1}))
    wait_until(lambda: rounds.tasks(job, round=1)[0]["state"] == "pending", what="the lease to run out")
    assert a.result(task, update)["accepted"]
    assert rounds.wait_for(job, "completed")["model"] == update


def test_an_aggregate_that_is_no_model_is_never_published(rounds):
    """Each update is finite; their sum is not."""
    huge = W + np.float32(3e38)
    (a, b), job, (of_a, of_b) = begin(rounds, "a", "b", params={"rounds": 2, "aggregator": "sum"})
    a.result(of_a, a.upload(save({"w": huge})))
    b.result(of_b, b.upload(save({"w": huge})))
    reason = rounds.wait_for(job, "failed")["reason"]
    assert "round 1" in reason and "tensor" in reason and "w" in reason and "finite" in reason, reason
    assert [m["round"] for m in rounds.api.get(f"/jobs/{job}/models")["items"]] == [0]


NAN = W.copy()
NAN[3] = np.nan
INF = W.copy()
INF[0] = np.inf


@pytest.mark.parametrize("name, update, at, words", [
    ("nan", {"w": NAN}, "w", "not finite"),
    ("infinite", {"w": INF}, "w", "not finite"),
    ("shape", {"w": W.reshape(2, 4)}, "w", "F32[2,4] where the model has F32[8]"),
    ("missing", {"v": W}, "w", "is missing"),
    ("additional", {"w": W, "x": W}, "x", "is not in the model"),
    ("dtype", {"w": W.astype(np.float64)}, "w", "F64[8] where the model has F32[8]"),
    ("norm", {"w": W + 1000}, None, "the job allows at most 10"),
])
def test_an_update_that_does_not_fit_is_refused_by_name(rounds, name, update, at, words):
    (a, b), job, (of_a, of_b) = begin(rounds, "a", "b", params={"rounds": 1, "quorum": 1, "evaluate_last": False},
                                      max_update_norm=10)
    body = refused(lambda: a.result(of_a, a.upload(save(update))), "unprocessable", 422)
    assert words in body["detail"] and body.get("field") == at, body
    task = [t for t in rounds.tasks(job, round=1) if t["site"] == "a"][0]
    assert task["state"] == "failed" and words in task["reason"]
    b.result(of_b, b.upload(save({"w": W + 1})))
    assert rounds.wait_for(job, "completed")["model"] == digest_of(save({"w": W + 1}))


def test_a_refused_update_fails_a_job_that_tolerates_none(rounds):
    (a,), job, (task,) = begin(rounds, "a", params={"rounds": 1, "failure_policy": "fail"})
    refused(lambda: a.result(task, a.upload(save({"w": NAN}))), "unprocessable", 422)
    assert "not finite" in rounds.wait_for(job, "failed")["reason"]


def test_an_initial_model_must_be_one(rounds):
    for data, words in [(b"no weights at all", "not a safetensors file"), (save({"w": NAN}), "not finite")]:
        digest = rounds.api.upload(data)
        body = refused(lambda: rounds.submit(initial_model=digest), "invalid", 400)
        assert body["field"] == "initial_model" and words in body["detail"]
    body = refused(lambda: rounds.submit(initial_model=digest_of(b"never sent")), "invalid", 400)
    assert "has not been uploaded" in body["detail"]


def test_the_site_shows_why_its_update_was_refused(rounds):
    a = rounds.start_site("a")
    job = rounds.submit(params={"rounds": 1}, trainer={"do": "nan"})
    assert "not finite" in rounds.wait_for(job, "failed")["reason"]
    wait_until(lambda: 'tensor \\"w\\" holds a value that is not finite' in a.text(), what="the site's log")


def test_no_site_buys_the_round_with_a_number(rounds):
    sites, job, tasks = begin(rounds, "a", "b", "c", params={"rounds": 1, "evaluate_last": False}, max_weight_share=0.5)
    for site, task, weight, step in zip(sites, tasks, [1e12, 1, 1], [3, 0, 0]):
        site.result(task, site.upload(save({"w": W + step})), weight=weight)
    model = rounds.wait_for(job, "completed")["model"]
    assert rounds.api.download(model) == save({"w": W + np.float32(1.5)})
    inputs = rounds.api.get(f"/jobs/{job}/rounds")["items"][1]["manifest"]["inputs"]
    assert inputs[0]["claimed_weight"] == 1e12 and inputs[0]["weight"] == 2


def flip_a_bit(deployment, digest):
    hexadecimal = digest.split(":")[1]
    path = pathlib.Path(deployment.data) / "blobs" / hexadecimal[:2] / hexadecimal[2:]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_bit_that_flips_on_disk_is_found_and_never_aggregated(rounds):
    (a, b), job, (of_a, of_b) = begin(rounds, "a", "b", params={"rounds": 1, "evaluate_last": False})
    stored = a.upload(save({"w": W + 1}))
    a.result(of_a, stored)
    flip_a_bit(rounds, stored)
    b.result(of_b, b.upload(save({"w": W + 3})))
    row = rounds.wait_for(job, "paused")
    assert "the update of a" in row["reason"] and "has changed on disk" in row["reason"]
    assert not any(r["state"] == "done" and r["number"] for r in rounds.api.get(f"/jobs/{job}/rounds")["items"])
    flip_a_bit(rounds, stored)
    rounds.api.post(f"/jobs/{job}/resume")
    model = rounds.wait_for(job, "completed")["model"]
    assert rounds.api.download(model) == save({"w": W + 2})


def test_verify_finds_what_was_changed_afterwards(rounds):
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 3})
    rounds.wait_for(job, "completed")
    rounds.login()
    assert rounds.rounds("verify", job).returncode == 0
    update = rounds.tasks(job, round=2)[0]["update"]
    flip_a_bit(rounds, update)
    broken = rounds.rounds("verify", job, check=False)
    assert broken.returncode == 6 and "BROKEN" in broken.stdout and "changed on disk" in broken.stdout


def test_a_site_sees_only_its_own(rounds):
    (a, b), job, (of_a, of_b) = begin(rounds, "a", "b")
    for call in ("heartbeat", "result", "failure", "release"):
        refused(lambda: a.post(f"/tasks/{of_b['id']}/{call}", {"reason": "x"}), "not-found", 404)
    update = b.upload(save({"w": W + 1}))
    refused(lambda: a.download(update), "not-found", 404)
    assert a.download(of_a["model"]) == save({"w": W}), "the model of its own task"
    for path in ("/jobs", f"/jobs/{job}", "/sites", "/tokens"):
        refused(lambda: a.get(path), "forbidden", 403)
    body = refused(lambda: a.result(of_a, update), "blob-missing", 424)
    assert "uploaded by this site" in body["detail"]


def test_a_metric_that_is_not_finite_is_missing_and_said_once(rounds):
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 4, "key_metric": "value"}, trainer={"do": "nan_metric"})
    rounds.wait_for(job, "completed")
    values = rounds.api.get(f"/jobs/{job}/metrics?name=value&site=a")["items"]
    assert [v["value"] for v in values] == [None] * 5
    said = [e["message"] for e in rounds.events(job)]
    assert len([m for m in said if "not finite" in m]) == 1
    assert len([m for m in said if "key metric" in m]) == 1


def test_a_key_metric_that_never_comes_neither_fails_nor_blocks(rounds):
    rounds.start_site("a")
    first = rounds.submit(params={"rounds": 2, "key_metric": "never", "early_stop_rounds": 1})
    second = rounds.submit(params={"rounds": 1})
    assert rounds.wait_for(first, "completed")["round"] == 2
    rounds.wait_for(second, "completed")
    assert len([e for e in rounds.events(first) if "never" in e["message"]]) == 1


def many_tensors(count):
    """Nearly as much header as so many tensors of six numbers may have."""
    entries = ",".join(f'"{i:x}":{{"dtype":"F64","shape":[6],"data_offsets":[{48 * i},{48 * i + 48}]}}' for i in range(count))
    header = ("{" + entries + "}").encode()
    return len(header).to_bytes(8, "little") + header + bytes(48 * count)


@pytest.mark.skipif(not MEMORY_COUNTS, reason="a sanitizer's allocator keeps what is freed")
def test_a_large_header_costs_memory_in_proportion(rounds):
    def most():
        status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{rounds.server.pid}/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) << 10
    data = many_tensors(300000)
    assert len(data) > 30 << 20
    rounds.api.upload(data)
    before = most()
    (site,), _, (task,) = begin(rounds, "a", model=data)
    told = rounds.api.raw("GET", f"/api/v1/blobs/{digest_of(data)}/tensors")
    assert told.status_code == 422 and "300000 tensors" in told.json()["detail"]
    site.upload(data[:-1] + b"\1")
    site.result(task, digest_of(data[:-1] + b"\1"))
    assert most() - before < 8 * len(data), "the pages of two files, and their headers read side by side"


def test_a_header_far_larger_than_the_models_is_refused(rounds):
    (site,), job, (task,) = begin(rounds, "a")
    with pytest.raises(Problem) as problem:
        site.result(task, site.upload(many_tensors(100000)))
    assert problem.value.status == 422 and "header has" in str(problem.value)
    assert "header has" in rounds.wait_for(job, "failed")["reason"]
