"""GUARANTEES row 1, 22, 24: the server is killed, started twice, asked to stop."""
import random
import subprocess
import time

from harness.deployment import BUILD, wait_until
from harness.proxy import Proxy

SITES = ["hospital-a", "hospital-b", "hospital-c", "hospital-d"]
SPEC = {
    "name": "killed",
    "dataset": "wdbc",
    "executor": "trainer",
    "sites": SITES,
    "params": {"rounds": 300, "key_metric": "auc"},
    "trainer": {"epochs": 2, "batch_size": 16, "learning_rate": 0.05},
    "max_attempts": 1000,
    "lease_seconds": 10,
    "retention": {"updates": 1000, "models": 1000},
}


def check_counted_once(deployment, job):
    """Each round has one accepted update of each site, and its manifest counts just those."""
    manifests, cursor = [], 0
    while page := deployment.api.get(f"/jobs/{job}/rounds?limit=1000&cursor={cursor}")["items"]:
        manifests += page
        cursor = page[-1]["number"]
    assert len(manifests) == SPEC["params"]["rounds"]
    for row in manifests:
        tasks = deployment.tasks(job, round=row["number"])
        done = {task["site"]: task["update"] for task in tasks if task["state"] == "done" and task["kind"] == "train"}
        assert [entry["site"] for entry in row["manifest"]["inputs"]] == SITES
        assert {entry["site"]: entry["update"] for entry in row["manifest"]["inputs"]} == done


def test_killed_fifty_times_the_model_is_the_same_to_the_bit(another):
    calm = another("calm")
    for name in SITES:
        calm.start_site(name)
    undisturbed = calm.wait_for(calm.submit(**SPEC), "completed", seconds=120)
    calm.close()

    chance = random.Random(20)
    stormy = another("stormy")
    for name in SITES:
        stormy.start_site(name)
    job = stormy.submit(**SPEC)
    kills = 0
    while kills < 50 and stormy.job(job)["state"] in ("queued", "running"):
        before = stormy.job(job)["round"]
        wait_until(lambda: stormy.job(job)["round"] > before or stormy.job(job)["state"] == "completed", 60, "a round")
        time.sleep(chance.uniform(0, 0.03))
        stormy.server.kill()
        kills += 1
        stormy.start()
    disturbed = stormy.wait_for(job, "completed", seconds=180)
    assert kills == 50, "the job was over before it had been disturbed enough: give it more rounds"
    assert disturbed["model"] == undisturbed["model"]
    assert disturbed["best"] == undisturbed["best"]
    check_counted_once(stormy, job)
    stormy.login()
    assert "sound" in stormy.rounds("verify", job).stdout


def test_a_second_server_on_one_directory_says_why_it_will_not_start(rounds):
    second = subprocess.run([BUILD / "server/rounds-server", "--data-dir", rounds.data, "--port", "0"],
                            capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert "another rounds-server runs on" in second.stderr
    assert rounds.api.get("/whoami")["name"] == "admin"


def test_asked_to_stop_it_gives_an_open_upload_its_time(rounds, tmp_path):
    """An upload that needs two more seconds is let finish; one that needs longer is resumed after the next start."""
    size, log = 8 << 20, tmp_path / "log"
    proxy = Proxy(rounds.port, rate=size // 3)
    rounds.start_site("a", url=proxy.url)
    job = rounds.submit(params={"rounds": 1, "evaluate_last": False}, trainer={"size": size // 4, "log": str(log)})
    wait_until(lambda: any((rounds.data / "uploads").iterdir()), 60, "the upload")
    begun = time.monotonic()
    assert rounds.server.stop() == 0
    assert time.monotonic() - begun < 14, "but no longer than --drain-seconds"
    rounds.start()
    rounds.wait_for(job, "completed", seconds=90)
    assert len([line for line in log.read_text().splitlines() if " train " in line]) == 1
    proxy.close()


def test_asked_to_stop_it_drains_and_a_later_start_goes_on(rounds):
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 6}, trainer={"seconds": 0.3})
    wait_until(lambda: rounds.job(job)["round"] >= 2, what="the second round")
    begun = time.monotonic()
    assert rounds.server.stop() == 0
    assert time.monotonic() - begun < 15
    rounds.start()
    assert rounds.wait_for(job, "completed")["round"] == 6
