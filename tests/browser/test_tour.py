"""An operator's questions, each answered within two clicks; the pictures of web/README.md are taken on the way."""
import os
import pathlib
import re
import signal
import time

import pytest

from harness.deployment import DATA, HOSPITALS, TOP, Deployment, wait_until

DIGITS = {"name": "Handwritten digits", "dataset": "digits", "sites": HOSPITALS,
          "params": {"rounds": 400, "key_metric": "accuracy"},
          "trainer": {"model": "mlp", "hidden": 256, "outputs": 10, "epochs": 60, "batch_size": 16, "learning_rate": 0.0005}}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """A day like any other: a job that failed, one that runs, and a site that has joined but is not there."""
    deployment = Deployment(tmp_path_factory.mktemp("ward"))
    deployment.start("--web-dir", TOP / "web/dist")
    for name in HOSPITALS:
        deployment.start_site(name, datasets={"digits": {"path": str(DATA / f"digits/{name}.csv"), "label": "digit"}}, executors={})
    deployment.join("hospital-e")
    deployment.connected(*HOSPITALS)
    wrong = {**DIGITS, "name": "Digits as two classes", "trainer": {"model": "logistic"}}
    deployment.wait_for(deployment.api.post("/jobs", wrong)["id"], "failed")
    job = deployment.api.post("/jobs", DIGITS)["id"]
    yield deployment, job
    deployment.close()


@pytest.fixture(scope="module")
def hung(ward):
    """Now a site hangs in the middle of a round."""
    trainer = trainer_of(ward[0], "hospital-d")
    os.kill(trainer, signal.SIGSTOP)
    yield
    os.kill(trainer, signal.SIGCONT)


def trainer_of(deployment, name):
    """The process that trains at a site."""
    site = next(p for p in deployment.processes if getattr(p, "name", None) == name)
    children = pathlib.Path(f"/proc/{site.pid}/task").glob("*/children")
    return int(wait_until(lambda: " ".join(path.read_text() for path in children).split(), what="a trainer")[0])


def test_a_job_that_runs(ward, seats):
    deployment, job = ward
    seat = seats(deployment).enter()
    seat.go(f"jobs/{job}")
    deployment.wait_until_round(job, 16)
    seat.page.locator(".node.working").first.wait_for(state="attached")
    seat.shot("tour-job", whole=True)
    seat.go(f"jobs/{job}/metrics")
    seat.page.get_by_role("img", name=re.compile("accuracy")).first.wait_for()
    time.sleep(1)
    seat.shot("tour-metrics")


def test_what_runs_how_it_goes_who_is_slow_why_it_failed_and_what_to_do(ward, hung, seats):
    deployment, job = ward
    seat = seats(deployment).enter()
    page = seat.page

    # Without a click: what runs, how well, who is slow, what failed and why, who is away, and what to do about each.
    page.get_by_text(re.compile(r"hospital-d is slow in Handwritten digits")).wait_for(timeout=40000)
    for text in (r"round \d+ of 400", r"accuracy", "Digits as two classes failed", "a label is missing or is none of the classes",
                 "hospital-e is not connected", "Is rounds-site running there", "A quorum or a deadline lets rounds go on",
                 "clone it to try again"):
        assert page.get_by_text(re.compile(text)).first.is_visible(), text
    seat.shot("tour-overview", whole=True)

    # One click: who is slow.
    page.get_by_role("link", name=re.compile("Handwritten digits")).first.click()
    page.get_by_role("heading", name="Handwritten digits").wait_for()
    page.get_by_role("button", name="All").click()
    page.locator(".node.working title", has_text="hospital-d: training").wait_for(state="attached")
    page.get_by_text("Stragglers: hospital-d in").wait_for()
    seat.shot("tour-slow", whole=True)

    # Two clicks: how well, at every site.
    page.get_by_role("link", name="Metrics").click()
    page.get_by_role("img", name=re.compile("accuracy")).first.wait_for()

    # One click from the overview: why it failed.
    seat.go("")
    page.get_by_role("link", name=re.compile("Digits as two classes failed")).click()
    page.get_by_role("heading", name="Digits as two classes").wait_for()
    assert page.get_by_text(re.compile("a label is missing or is none of the classes")).first.is_visible()
    page.get_by_text("Clone").wait_for()
    seat.shot("tour-failed", whole=True)


def test_the_same_on_a_phone_at_night(ward, hung, seats):
    seat = seats(ward[0], width=390, height=800, dark=True).enter()
    seat.page.get_by_text("1 site at work").wait_for()
    name = seat.page.get_by_role("link", name="Handwritten digits").first.bounding_box()
    assert name["width"] > name["height"], "on one line"
    seat.shot("tour-phone")
