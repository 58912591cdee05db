"""What Prometheus and Grafana get: names, values, and what the dashboard and the alerts under deploy/monitoring ask for."""
import json
import math
import re
import socket
import subprocess

import pytest
import requests

from harness.deployment import TOP, Process, wait_until

MONITORING = TOP / "deploy/monitoring"


def test_metrics_are_what_prometheus_expects_and_count_what_happened(clinic):
    job = clinic.api.post("/jobs", json.loads((TOP / "deploy/examples/wdbc.json").read_text()))["id"]
    clinic.wait_for(job, "completed")
    assert clinic.api.raw("GET", "/api/v1/none").status_code == 404
    answer = clinic.api.raw("GET", "/metrics")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    checked = subprocess.run(["promtool", "check", "metrics"], input=answer.text, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    samples = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))

    def value(name):
        return float(samples[name])
    assert value('rounds_jobs{state="completed"}') == 1 and value('rounds_sites{state="connected"}') == 4
    assert value("rounds_aggregations_total") == 20 and value("rounds_aggregation_failures_total") == 0
    assert value("rounds_aggregation_input_bytes_total") == 20 * 4 * len(clinic.api.download(clinic.job(job)["model"]))
    delivered = 'method="POST",route="/api/v1/tasks/{task}/result"'
    assert value(f'rounds_http_requests_total{{{delivered},status="2xx"}}') == 85, "an initial model, 20 rounds and an evaluation"
    assert value(f'rounds_http_request_duration_seconds_bucket{{{delivered},le="+Inf"}}') == 85
    assert value('rounds_http_requests_total{method="",route="none",status="4xx"}') >= 1
    assert 0 < value("rounds_store_commits_total") <= value("rounds_store_writes_total")
    assert value("rounds_http_waiting_requests") == 4 and 'job="' not in answer.text and "hospital" not in answer.text
    names = {line.split("{")[0].split(" ")[0] for line in answer.text.splitlines() if not line.startswith("#")}
    for file in ("grafana.json", "alerts.yml"):
        asked = set(re.findall(r"rounds_[a-z_]+", (MONITORING / file).read_text()))
        assert asked and asked <= names, f"{file} asks for {asked - names}"
    checked = subprocess.run(["promtool", "check", "rules", MONITORING / "alerts.yml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    token = clinic.rounds("token", "create", "looker", "--role", "viewer").stdout
    assert clinic.api.raw("GET", "/metrics", headers={"Authorization": "Bearer none"}).status_code == 401 and token


@pytest.fixture
def prometheus(clinic):
    """prometheus("query", query=...): Debian's own, set up as deploy/README.md says; each answer's "data"."""
    guide = (TOP / "deploy/README.md").read_text()
    config = re.search(r"```yaml\n(scrape_configs:.+?)```", guide, re.S)[1]
    token, home = clinic.home / "rounds.token", clinic.home / "prometheus"
    token.write_text(clinic.rounds("token", "create", "prometheus", "--role", "viewer").stdout.split()[-1])
    for theirs, ours in {"/etc/prometheus/rounds.token": token, "/etc/prometheus/rounds-ca.pem": clinic.data / "ca.pem",
                         "rounds.example.org:8443": f"localhost:{clinic.port}"}.items():
        assert theirs in config
        config = config.replace(theirs, str(ours))
    home.mkdir()
    (home / "prometheus.yml").write_text(
        f"global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}\nrule_files: [ {MONITORING}/alerts.yml ]\n{config}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    program = Process(["prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data",
                       f"--web.listen-address={address}"], home / "log")

    def ask(what, **query):
        answer = requests.get(f"http://{address}/api/v1/{what}", params=query, timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def ready():
        try:
            return requests.get(f"http://{address}/-/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            assert program.alive(), program.text()
    wait_until(ready, what="Prometheus")
    yield ask
    program.close()


def test_a_real_prometheus_answers_every_panel_and_evaluates_every_alert(clinic, prometheus):
    scraped = 'sum_over_time(up{job="rounds"}[1h])'
    wait_until(lambda: prometheus("query", query=scraped)["result"], what="the first scrape")
    job = clinic.api.post("/jobs", json.loads((TOP / "deploy/examples/wdbc.json").read_text()))["id"]
    clinic.wait_for(job, "completed")
    seen = float(prometheus("query", query=scraped)["result"][0]["value"][1])
    wait_until(lambda: float(prometheus("query", query=scraped)["result"][0]["value"][1]) > seen + 3, what="later scrapes")

    for panel in json.loads((MONITORING / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            values = [float(sample["value"][1]) for sample in prometheus("query", query=target["expr"])["result"]]
            assert values and all(map(math.isfinite, values)), f"{panel['title']}: {target['expr']} gives {values}"
    rounds = float(prometheus("query", query="increase(rounds_aggregations_total[1h])")["result"][0]["value"][1])
    assert 15 < rounds < 30, "20, as far as Prometheus extrapolates"

    rules = wait_until(lambda: [rule for group in prometheus("rules")["groups"] for rule in group["rules"]
                                if rule["health"] != "unknown"], what="the alerts' first evaluation")
    calls = {rule["name"] for rule in rules if rule["state"] != "inactive"} - {"RoundsLittleSpace"}  # this machine may be full
    assert {rule["health"] for rule in rules} == {"ok"} and not calls, rules
    waits = clinic.submit(trainer={"seconds": 60})
    clinic.wait_for(waits, "running")
    clinic.api.post(f"/jobs/{waits}/pause")
    said = wait_until(lambda: prometheus("query", query='ALERTS{alertname="RoundsJobPaused"}')["result"], what="an alert")
    assert said[0]["metric"]["alertstate"] == "pending", "it fires after half an hour"
