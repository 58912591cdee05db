"""What an operator does at the dashboard, with four real hospitals."""
import json
import re
import uuid

import safetensors.numpy

from conftest import PASSWORD, example
from harness.deployment import BUILD, EXECUTOR, HOSPITALS, SiteClient, wait_until


def puppets(deployment, seconds=0.6, rounds=60, **more):
    return deployment.submit(name=more.pop("name", "Slow puppets"), params={"rounds": rounds}, trainer={"seconds": seconds}, **more)


def test_signing_in_and_out(desk):
    page = desk.page
    page.get_by_role("link", name="ann").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("button", name="Sign in").wait_for()
    desk.shot("sign-in")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    assert "name or the password is wrong" in page.get_by_role("alert").inner_text()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Your account").wait_for()  # where one was


def test_a_job_from_the_form_to_its_end(desk, clinic):
    page = desk.go("jobs/new")
    page.get_by_role("button", name="Submit the job").click()
    assert page.get_by_label("name required").get_attribute("aria-invalid") == "true"
    page.get_by_label("name required").fill("From the form")
    page.get_by_label("dataset required").fill("wdbc")
    page.get_by_label("rounds", exact=True).fill("0")
    assert page.get_by_text("must be at least 1").first.is_visible()
    page.get_by_label("rounds", exact=True).fill("30")
    page.get_by_label("key metric", exact=True).fill("auc")
    page.get_by_label("workflow").select_option("fedadam")
    assert page.get_by_text("Federated averaging with Adam at the server").is_visible()
    page.get_by_label("rounds", exact=True).fill("30")
    # The trainer's own fields, and only those that matter for the model.
    assert page.get_by_label("hidden layers").count() == 0
    page.get_by_label("model", exact=True).select_option("mlp")
    page.get_by_text("More of training").click()
    assert page.get_by_label("hidden layers").is_visible()
    page.get_by_label("model", exact=True).select_option("logistic")
    page.get_by_label("epochs", exact=True).fill("2")
    page.get_by_label("learning rate", exact=True).fill("0.1")
    # Another executor's parameters are JSON.
    page.get_by_label("executor").fill("puppet")
    page.get_by_label("trainer", exact=True).fill('{"model": "logistic", "epochs": ')
    assert page.get_by_text("is not JSON yet").is_visible()
    page.get_by_label("executor").fill("")
    for name in HOSPITALS:
        page.get_by_role("checkbox", name=name).check()
    assert json.loads(page.get_by_label("The job as text").inner_text()) == {
        "name": "From the form", "dataset": "wdbc", "workflow": "fedadam", "params": {"rounds": 30}, "sites": HOSPITALS,
        "trainer": {"model": "logistic", "epochs": 2, "learning_rate": 0.1}}
    page.get_by_role("button", name="curl").click()
    assert "/api/v1/jobs" in page.get_by_label("The job as text").inner_text()
    desk.shot("new-job", whole=True)
    page.get_by_role("button", name="Submit the job").click()
    page.get_by_role("heading", name="From the form").wait_for()
    page.locator("h1 .state-completed").wait_for()
    assert page.get_by_text("round 30 of 30").is_visible()
    page.get_by_role("img", name=re.compile("accuracy of the global model")).wait_for()
    timeline = page.get_by_role("img", name=re.compile("Timeline of 3[0-9] rounds at 4 sites"))
    assert float(timeline.get_attribute("data-draw-ms")) < 100


def test_a_clinicians_path_to_a_job(desk, clinic, tmp_path):
    """What is wanted, of which data; who could take part and what they would be sent is said before anything is submitted."""
    page = desk.go("jobs/new")
    page.get_by_role("button", name=re.compile("^Look at the data")).click()
    assert page.get_by_label("workflow").input_value() == "statistics"
    page.get_by_role("button", name=re.compile("^wdbc")).click()
    page.get_by_label("name required").fill("A look")
    page.get_by_text("It would start at once with 4 sites.").wait_for()
    for name in HOSPITALS:
        assert page.locator(".who").get_by_text(name).is_visible()
    page.get_by_text("What each site would be sent").click()
    assert '"dataset": "wdbc"' in page.locator(".beside details pre").inner_text()
    page.get_by_label("dataset required").fill("wdcb")
    page.get_by_text("did you mean “wdbc”".replace("“", '"').replace("”", '"')).wait_for()
    assert page.get_by_role("button", name="Submit the job").is_visible()
    # A beginning, and only parameters that matter.
    page.get_by_role("button", name=re.compile("^Train a model")).click()
    page.get_by_role("button", name="Yes or no").click()
    assert page.get_by_label("key metric", exact=True).input_value() == "auc"
    page.get_by_text("More of the workflow").click()
    assert page.get_by_label("trim", exact=True).count() == 0 and page.get_by_label("early stop rounds").is_visible()
    page.get_by_label("aggregator").select_option("trimmed_mean")
    assert page.get_by_label("trim", exact=True).is_visible()
    # A file as template.
    job = example(name="From a file")
    (tmp_path / "job.json").write_text(json.dumps(job))
    page.locator("input[type=file]").set_input_files(tmp_path / "job.json")
    page.get_by_text("From a file").first.wait_for()
    assert json.loads(page.get_by_label("The job as text").inner_text()) == job
    desk.shot("new-job-path", whole=True)
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("[...document.querySelectorAll(\"body *\")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 8).map(e => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)} ${e.textContent.slice(0, 40)}`)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, wide
        desk.shot(f"new-job-{width}", whole=False)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_who_differs_from_what_was_agreed_is_named(desk, clinic):
    odd = SiteClient(clinic, "hospital-odd", datasets=["odd"])
    odd.facts.update(protocol=2, instance=str(uuid.uuid4()), executors=["trainer"])
    try:
        assert odd.claim(wait=0) is None
        job = clinic.api.post("/jobs", {"name": "Not alike", "dataset": "odd", "sites": ["hospital-odd"], "max_attempts": 1})["id"]
        task = odd.claim()
        odd.post(f"/tasks/{task['id']}/failure", {"kind": "schema", "role": "categories", "column": 3, "ref": "0a1b2c3d", "retry": False})
        clinic.wait_for(job, "failed")
        page = desk.go(f"jobs/{job}")
        page.get_by_text("Not as the other sites agreed:").wait_for()
        entry = page.get_by_role("listitem").filter(has_text="hospital-odd since round 0")
        assert "categories, column 3 – other values" in entry.inner_text() and "0a1b2c3d" in entry.inner_text()
    finally:
        clinic.api.call("DELETE", "/sites/hospital-odd")


def test_search_and_keys_go_everywhere(desk, clinic):
    job = clinic.api.post("/jobs", example(name="To be found"))["id"]
    clinic.wait_for(job, "completed")
    page = desk.go("")
    page.get_by_role("heading", name="Overview").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.get_by_role("heading", name="Sites").wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("/")
    page.get_by_label("Search jobs and sites").fill("be foun")
    page.get_by_role("option", name=re.compile("To be found")).wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="To be found").wait_for()
    # What a completed job is for comes first.
    with page.expect_download() as model:
        page.get_by_role("link", name=re.compile("Download the")).click()
    assert model.value.suggested_filename.endswith(".safetensors")
    with page.expect_download() as table:
        page.get_by_label("Metrics as a file").select_option("csv")
    lines = open(table.value.path()).read().splitlines()
    assert lines[0] == "round,site,metric,value" and len(lines) > 10
    with page.expect_download() as events:
        page.get_by_label("Metrics as a file").select_option("tensorboard")
    assert ".tfevents." in events.value.suggested_filename and b"brain.Event:2" in open(events.value.path(), "rb").read()


def test_keys_that_come_faster_than_answers_are_not_lost(desk, clinic):
    """A key pressed in the moment in which a dialog has closed and the page has not been told; Enter before there are matches."""
    job = clinic.api.post("/jobs", example(name="Typed in haste"))["id"]
    clinic.api.post("/jobs", example(name="A newer one"))
    page = desk.go("")
    for first, then, name in (("?", "/", "Search"), ("/", "/", "Search"), ("/", "?", "Keys")):
        page.keyboard.press(first)
        page.get_by_role("dialog").wait_for()
        page.evaluate("""key => new Promise(told => {
            const dialog = document.querySelector("dialog");
            dialog.addEventListener("close", () => setTimeout(told));
            dialog.close();
            document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
        })""", then)
        page.get_by_role("dialog", name=name).wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.type("/haste\n")
    page.get_by_role("heading", name="Typed in haste").wait_for()
    assert page.url.endswith(job)


def test_the_copied_texts_work(desk, clinic, tmp_path):
    """What "curl" and "python" show is run as it stands."""
    import os
    import subprocess
    import sys
    page = desk.go("jobs/new")
    page.get_by_label("name required").fill("It's “quoted” \\ 'so'")
    page.get_by_label("dataset required").fill("none-such")
    environment = {**os.environ, "ROUNDS_TOKEN": clinic.token}
    (tmp_path / "ca.pem").write_text((clinic.data / "ca.pem").read_text())
    for kind, command in {"curl": ["bash", "-c"], "python": [sys.executable, "-c"]}.items():
        page.get_by_role("button", name=kind).click()
        text = page.get_by_label("The job as text").inner_text()
        done = subprocess.run([*command, text], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
        assert done.returncode == 0 and not re.search('"type": ?"/problems', done.stdout), (kind, done.stdout, done.stderr)
    names = [j["name"] for j in clinic.api.get("/jobs?q=quoted")["items"]]
    assert names == ["It's “quoted” \\ 'so'"] * 2
    for job in clinic.api.get("/jobs?q=quoted")["items"]:
        clinic.api.post(f"/jobs/{job['id']}/abort")


def test_curves_move_while_a_job_runs_and_abort_asks(desk, clinic):
    job = puppets(clinic)
    page = desk.go(f"jobs/{job}")
    value = page.locator(".card", has=page.get_by_role("heading", name="value")).locator(".value")
    value.wait_for()
    first = float(value.inner_text())
    wait_until(lambda: float(value.inner_text()) > first + 1, what="the curve to move")
    assert page.get_by_text(re.compile(r"about .+ left")).is_visible()
    desk.shot("job-running", whole=True)
    page.get_by_role("button", name="Pause").click()
    page.locator("h1 .state-paused").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator("h1 .state-running").wait_for()
    page.get_by_role("button", name="Abort").click()
    page.get_by_role("button", name="Cancel").click()
    assert clinic.job(job)["state"] == "running"
    page.get_by_role("button", name="Abort").click()
    page.get_by_role("button", name="Abort the job").click()
    page.locator("h1 .state-aborted").wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it for good").click()
    page.get_by_role("heading", name="Jobs").wait_for()
    assert clinic.api.raw("GET", f"/api/v1/jobs/{job}").status_code == 404


def test_the_views_of_a_job(desk, clinic):
    job = clinic.api.post("/jobs", example())["id"]
    clinic.wait_for(job, "completed")
    page = desk.go(f"jobs/{job}")
    page.get_by_role("img", name=re.compile("Timeline")).hover(position={"x": 700, "y": 80})
    desk.shot("job", whole=True)

    page = desk.go(f"jobs/{job}/metrics")
    page.get_by_role("img", name=re.compile("auc by round")).wait_for()
    page.get_by_role("button", name="train_loss").click()
    page.get_by_role("img", name=re.compile("train_loss by round")).wait_for()
    assert page.locator(".u-legend").first.get_by_text("hospital-a").is_visible()
    desk.shot("metrics", whole=True)

    page = desk.go(f"jobs/{job}/sites")
    rows = page.get_by_role("row").filter(has_text="hospital-")
    rows.first.wait_for()
    assert rows.count() == 4 and "%" in rows.first.inner_text()

    page = desk.go(f"jobs/{job}/models")
    page.get_by_role("row", name=re.compile("^round 20")).get_by_role("button", name="Look into it").click()
    page.get_by_role("cell", name="layer0.weight").wait_for()
    with page.expect_download() as download:
        page.get_by_role("row", name=re.compile("^round 20")).get_by_role("link", name="Download").click()
    saved = safetensors.numpy.load_file(download.value.path())
    assert saved["layer0.weight"].shape == (1, 30)
    assert download.value.suggested_filename == "Breast-cancer-four-hospitals-round-20.safetensors"

    page = desk.go(f"jobs/{job}/lineage")
    page.get_by_role("button", name="Recompute it").click()
    page.get_by_text("The lineage is sound: 21 rounds").wait_for()

    page = desk.go(f"jobs/{job}/events")
    page.get_by_label("Site").select_option("hospital-b")
    page.get_by_label("Search in events").fill("delivered")
    shown = page.get_by_label("Events, newest first").get_by_role("listitem")
    assert shown.count() == 21 and "hospital-b delivered" in shown.first.inner_text()

    page = desk.go(f"jobs/{job}/spec")
    assert json.loads(page.get_by_label("The job's spec").inner_text()) == clinic.job(job)["spec"]


def test_the_matrix_and_the_statistics(desk, clinic):
    cross = clinic.api.post("/jobs", example(name="Whose model carries over", workflow="cross_site_evaluation", params={}))["id"]
    statistics = clinic.api.post("/jobs", {"name": "A look at the data", "workflow": "statistics", "dataset": "wdbc"})["id"]
    clinic.wait_for(cross, "completed"), clinic.wait_for(statistics, "completed")
    page = desk.go(f"jobs/{cross}/matrix")
    metrics = {(m["name"], m["site"]): m["value"] for m in clinic.api.get(f"/jobs/{cross}/metrics")["items"]}
    row = page.get_by_role("row", name=re.compile("^mean"))
    for i, site in enumerate(HOSPITALS):
        assert float(row.get_by_role("cell").nth(i).inner_text()) == round(metrics[("accuracy@mean", site)], 3)
    desk.shot("matrix")
    page = desk.go(f"jobs/{statistics}/statistics")
    row = page.get_by_role("row", name=re.compile("^mean_radius 455"))
    assert "14.2" in row.inner_text()
    assert page.get_by_role("img", name="Histogram of mean_radius").is_visible()
    assert page.get_by_role("heading", name="Correlation").is_visible()
    assert re.search(r"\d+ cells instead of 20", row.inner_text()), "what small cells have made coarser is said"
    desk.shot("statistics")


def test_two_jobs_are_compared(desk, clinic):
    for change in ({"name": "One epoch", "trainer": {"model": "logistic", "epochs": 1}}, {"name": "Ten epochs", "trainer": {"model": "logistic", "epochs": 10}}):
        clinic.wait_for(clinic.api.post("/jobs", example(**change))["id"], "completed")
    page = desk.go("jobs")
    page.get_by_label("Search by name or id").fill("epoch")
    page.get_by_role("checkbox", name="Compare One epoch").check()
    page.get_by_role("checkbox", name="Compare Ten epochs").check()
    page.get_by_role("link", name="Compare 2").click()
    page.get_by_role("img", name=re.compile("accuracy of each job")).wait_for()
    assert page.get_by_role("row", name=re.compile("trainer.epochs")).inner_text().split() == ["trainer.epochs", "10", "1"] or \
        page.get_by_role("row", name=re.compile("trainer.epochs")).inner_text().split() == ["trainer.epochs", "1", "10"]
    desk.shot("compare", whole=True)


def test_a_clone_begins_with_what_was_asked_for(desk, clinic):
    job = clinic.api.post("/jobs", example(name="Original", priority=7))["id"]
    clinic.wait_for(job, "completed")
    page = desk.go(f"jobs/{job}")
    page.get_by_role("link", name="Clone").click()
    page.get_by_role("heading", name="Clone a job").wait_for()
    assert json.loads(page.get_by_label("The job as text").inner_text()) == example(name="Original", priority=7) | {"workflow": "fedavg"} or \
        json.loads(page.get_by_label("The job as text").inner_text()) == {k: v for k, v in example(name="Original", priority=7).items() if k != "workflow"}


def test_a_site_is_invited_drained_and_removed(desk, clinic):
    page = desk.go("sites")
    page.get_by_role("button", name="Invite a site").click()
    page.get_by_label("The site’s name").fill("not a name")
    page.get_by_role("button", name="Make an invitation").click()
    page.get_by_text("must be a name of 1 to 63").wait_for()
    page.get_by_label("The site’s name").fill("hospital-e")
    page.get_by_role("button", name="Make an invitation").click()
    invitation = page.get_by_label("Invitation", exact=True).inner_text()
    command = page.get_by_label("Command").inner_text().split()
    desk.shot("invite")
    import subprocess
    state = clinic.home / "hospital-e"
    done = subprocess.run([BUILD / "client" / command[0], *command[1:], "--state-dir", state], input=invitation, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page.get_by_role("button", name="Close").click()
    page.get_by_role("row", name=re.compile("hospital-e")).get_by_text("away").wait_for()
    clinic.start_site("hospital-e")
    page.get_by_role("row", name=re.compile("hospital-e")).get_by_text("connected").wait_for()
    page.get_by_role("link", name="hospital-e").click()
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain", exact=True).click()
    page.get_by_role("button", name="Let it take part again").wait_for()
    assert not clinic.api.get("/sites/hospital-e")["now"]
    page.get_by_role("button", name="Drain now").click()
    page.get_by_label("Now: what it works on is called off").check()
    page.get_by_role("dialog").get_by_role("button", name="Drain", exact=True).click()
    page.get_by_text("It had no work.").wait_for()
    page.get_by_role("button", name="Close").click()
    page.get_by_text("called off").wait_for()
    assert clinic.api.get("/sites/hospital-e")["now"]
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Remove the site").click()
    page.locator("h1").get_by_text("removed").wait_for()
    assert clinic.api.get("/sites/hospital-e")["state"] == "removed"


def test_who_did_what(desk, clinic):
    clinic.api.post("/tokens", {"name": "nightly-audit"})
    page = desk.go("audit")
    table = page.get_by_role("region", name="Audit log, table")
    row = table.get_by_role("row").filter(has_text="nightly-audit")
    row.wait_for()
    assert "token.create" in row.inner_text() and "admin" in row.inner_text() and "done" in row.inner_text()
    page.get_by_label("What", exact=True).select_option("signing in")
    table.get_by_text("session.setup").first.wait_for()
    row.wait_for(state="detached")
    page.get_by_label("Who").fill("nobody-of-this-name")
    page.get_by_text("Nothing fits the filter.").wait_for()
    desk.shot("audit")


def test_people_and_tokens(desk, clinic, seats):
    page = desk.go("people")
    page.get_by_role("button", name="Add a person").click()
    page.get_by_label("Name").fill("eve")
    page.get_by_role("button", name="Make the account").click()
    link = page.get_by_label("Set-up link").inner_text()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Make a token").click()
    page.get_by_label("Name").fill("nightly")
    page.get_by_role("dialog").get_by_role("button", name="Make the token").click()
    token = page.get_by_label("Token", exact=True).inner_text()
    page.get_by_role("button", name="Close").click()
    assert type(clinic.api)(clinic.url, clinic.data / "ca.pem", token).get("/whoami")["role"] == "viewer"
    desk.shot("people")
    other = seats(clinic)
    other.page.goto(link)
    other.page.get_by_label("Password").fill(PASSWORD)
    other.page.get_by_label("Once more").fill(PASSWORD)
    other.page.get_by_role("button", name="Open the account").click()
    other.page.get_by_role("heading", name="Overview").wait_for()
    # A viewer sees no control that is not theirs.
    assert other.page.get_by_role("link", name="New job").count() == 0 and other.page.get_by_role("link", name="People").count() == 0
    job = clinic.api.post("/jobs", example(name="Looked at"))["id"]
    clinic.wait_for(job, "completed")
    other.go(f"jobs/{job}/models")
    other.page.get_by_text("not their weights").wait_for()
    assert other.page.get_by_role("button", name="Delete").count() == 0
    page.get_by_role("row", name=re.compile("^eve")).get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove the account").click()
    other.page.get_by_role("button", name="Sign in").wait_for()
    page.get_by_role("row", name=re.compile(r"^nightly viewer")).get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="Revoke it").click()
    page.get_by_role("row", name=re.compile(r"^nightly viewer")).wait_for(state="detached")


def test_events_and_the_sites_logs(desk, clinic):
    clinic.start_site("loud", executors={"puppet": {"command": EXECUTOR, "share_log": True}})
    clinic.connected("loud")
    job = clinic.submit(sites=["loud"], params={"rounds": 2}, trainer={"says": ["<b>epoch</b> 7 of 9"]})
    clinic.wait_for(job, "completed")
    page = desk.go(f"jobs/{job}/events")
    page.get_by_text("<b>epoch</b> 7 of 9").first.wait_for()
    page.get_by_label("What", exact=True).select_option("notable")
    assert page.get_by_text("epoch").count() == 0 and page.get_by_text("completed", exact=True).count() > 0
    page.get_by_label("What", exact=True).select_option("log")
    assert page.locator("ol.log li").count() == page.get_by_text("<b>epoch</b> 7 of 9").count() >= 2
    desk.check_access("logs")
    desk.shot("logs")


def test_webhooks_and_their_troubles(desk, clinic):
    from harness.receiver import Receiver
    receiver = Receiver(clinic, tls=False)
    page = desk.go("people")
    page.get_by_role("button", name="Add a webhook").click()
    page.get_by_label("URL").fill("http://example.org/")
    page.get_by_role("dialog").get_by_role("button", name="Add it").click()
    page.get_by_text("must begin with https://").wait_for()
    page.get_by_label("URL").fill(receiver.url)
    page.get_by_label("queued").check()
    page.get_by_role("dialog").get_by_role("button", name="Add it").click()
    assert page.get_by_label("Secret").inner_text().startswith("whsec_")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Test").click()
    page.get_by_text("The receiver took the test.").wait_for()
    job = clinic.api.post("/jobs", example(name="Told"))["id"]
    clinic.wait_for(job, "completed")
    page.get_by_text("last taken").wait_for()
    wait_until(lambda: receiver.kinds(job) == ["queued", "running", "completed"], what="the job's story at the receiver")
    receiver.answer = lambda message: 500
    clinic.wait_for(clinic.api.post("/jobs", example(name="Not told"))["id"], "completed")
    page.get_by_text("is tried again").wait_for()
    desk.shot("webhooks")
    desk.check_access("webhooks")
    desk.go("")
    page.get_by_role("link", name="A webhook is failing").click()
    page.get_by_role("button", name="Remove").last.click()
    page.get_by_role("button", name="Remove it").click()
    page.get_by_text("No other system is told of events.").wait_for()
    receiver.close()


def test_the_operators_questions_in_two_clicks(desk, clinic):
    """What runs, is it going well, who is slow, why did it fail, what do I do now."""
    failing = clinic.submit(name="It fails", trainer={"do": "crash"}, max_attempts=1, params={"failure_policy": "fail"})
    running = puppets(clinic, name="It runs")
    clinic.wait_for(failing, "failed")
    page = desk.go("")
    under_way = page.get_by_role("region", name="Jobs under way")
    under_way.get_by_role("link", name="It runs").wait_for()
    under_way.get_by_role("img", name="value by round").wait_for()
    attention = page.get_by_role("region", name="Needs attention")
    assert "It fails failed" in attention.inner_text() and "See its events" in attention.inner_text()
    desk.shot("overview", whole=True)
    attention.get_by_role("link", name="It fails failed").click()
    page.get_by_role("heading", name="It fails").wait_for()
    assert page.locator(".reason").inner_text()
    clinic.api.post(f"/jobs/{running}/abort")


def test_guides_and_the_api_are_there_offline(desk):
    page = desk.go("about")
    page.get_by_text("ready", exact=True).wait_for()
    page.get_by_role("link", name="API", exact=True).click()
    page.get_by_label("Search in the API").fill("invit")
    page.get_by_text("/api/v1/invitations", exact=True).first.click()
    page.get_by_role("cell", name="site", exact=True).first.wait_for()
    page.get_by_role("link", name="Guides").click()
    page.get_by_role("link", name="Run a site").click()
    page.get_by_role("heading", name="For hospitals: run a site").wait_for()
