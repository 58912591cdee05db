"""What `rounds job export` writes, opened by TensorBoard and MLflow themselves: their servers, over their own APIs."""
import json
import pathlib
import sys

import pytest
import requests
import safetensors.numpy

from harness.deployment import Process, wait_until

HERE = pathlib.Path(sys.executable).parent


@pytest.fixture
def job(rounds):
    """A job of two sites whose third metric is missing in its last round."""
    rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    rounds.login()
    job = rounds.submit(name="../Brust/krebs <b>'x'", min_sites=2, trainer={"seconds": 0.01},
                        params={"rounds": 4, "key_metric": "value", "key_metric_goal": "min"})
    rounds.wait_for(job, "completed")
    return job


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def serve(tmp_path):
    """serve(name, command..., ready=path): the server's address once that path answers."""
    running = []

    def start(name, *command, ready):
        port = free_port()
        running.append(Process([*map(str, command), "--port", str(port)], tmp_path / f"{name}.log"))
        url = f"http://127.0.0.1:{port}"

        def there():
            assert running[-1].alive(), running[-1].text()
            try:
                return requests.get(url + ready, timeout=5).status_code == 200
            except requests.RequestException:
                return False
        wait_until(there, 120, name)
        return url
    yield start
    for process in running:
        process.close()


def curves(rounds, job):
    """{site: {metric: [(round, value)]}} as the server tells them."""
    told = {}
    for item in rounds.api.get(f"/jobs/{job}/metrics")["items"]:
        told.setdefault(item["site"], {}).setdefault(item["name"], []).append((item["round"], item["value"]))
    return {site: {name: sorted(points) for name, points in metrics.items()} for site, metrics in told.items()}


def test_tensorboard_shows_metrics_settings_spec_and_weights(rounds, job, serve, tmp_path):
    rounds.rounds("job", "export", job, "--tensorboard", tmp_path / "events")
    url = serve("tensorboard", HERE / "tensorboard", "--logdir", tmp_path / "events", "--host", "127.0.0.1",
                ready="/data/environment")

    def get(path, **query):
        answer = requests.get(f"{url}/data/{path}", params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()
    told = curves(rounds, job)
    runs = wait_until(lambda: get("runs") if len(get("runs")) == 3 else None, 60, "the runs")
    whole = next(run for run in runs if "/sites/" not in run)
    assert whole.endswith(job[-6:]) and "/" not in whole
    assert set(runs) == {whole, f"{whole}/sites/a", f"{whole}/sites/b"}
    for run in runs:
        site = run.rpartition("/sites/")[2] if "/sites/" in run else ""
        tags = get("plugin/scalars/tags")[run]
        assert set(tags) == set(told[site])
        for name in tags:
            shown = get("plugin/scalars/scalars", run=run, tag=name)
            assert [(step, pytest.approx(value, rel=1e-6)) for _, step, value in shown] == told[site][name]
    assert "/".join(get("plugin/text/tags")[whole]) == "job"
    assert "key_metric" in get("plugin/text/text", run=whole, tag="job")[0]["text"]
    model = safetensors.numpy.load(rounds.api.download(rounds.job(job)["model"]))
    assert set(get("plugin/histograms/tags")[whole]) == set(model)
    for name, weights in model.items():
        *_, (_, step, buckets) = get("plugin/histograms/histograms", run=whole, tag=name)
        assert step == 4 and sum(count for _, _, count in buckets) == pytest.approx(weights.size)
        assert buckets[0][0] <= weights.min() + 1e-6 and buckets[-1][1] == pytest.approx(weights.max(), rel=1e-6)
    answer = requests.post(f"{url}/data/plugin/hparams/session_groups", timeout=30, json={
        "experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [], "startIndex": 0, "sliceSize": 10})
    group, = answer.json()["sessionGroups"]
    assert group["hparams"]["params.rounds"] == 4 and group["hparams"]["params.key_metric"] == "value"
    assert group["hparams"]["params.evaluate_last"] is True


def test_mlflow_holds_metrics_settings_and_models_and_sends_again_only_what_is_new(rounds, serve, tmp_path):
    from mlflow import MlflowClient
    url = serve("mlflow", HERE / "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--backend-store-uri",
                f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", tmp_path / "artifacts", ready="/health")
    client = MlflowClient(url)
    rounds.start_site("a"), rounds.start_site("b")
    rounds.connected("a", "b")
    rounds.login()
    job = rounds.submit(name="trial <b>", min_sites=2, trainer={"seconds": 0.2},
                        params={"rounds": 12, "key_metric": "value", "key_metric_goal": "min"})
    rounds.wait_until_round(job, 4)

    def export():
        rounds.rounds("job", "export", job, "--mlflow", url, "--experiment", "trials & more")
        experiment = client.get_experiment_by_name("trials & more")
        runs = {run.data.tags["rounds.site"]: run for run in client.search_runs([experiment.experiment_id])}
        assert set(runs) == {"", "a", "b"}
        return runs
    runs = export()
    assert {run.info.status for run in runs.values()} == {"RUNNING"}
    early = len(client.get_metric_history(runs[""].info.run_id, "value"))
    rounds.wait_for(job, "completed")
    again = export()
    assert {site: run.info.run_id for site, run in again.items()} == {site: run.info.run_id for site, run in runs.items()}
    whole = again[""]
    assert whole.info.run_name == "trial <b>" and {run.info.status for run in again.values()} == {"FINISHED"}
    assert all(again[site].data.tags["mlflow.parentRunId"] == whole.info.run_id for site in "ab")
    for site, metrics in curves(rounds, job).items():
        for name, points in metrics.items():
            sent = client.get_metric_history(again[site].info.run_id, name)
            assert sorted((m.step, m.value) for m in sent) == points
    assert 0 < early < len(client.get_metric_history(whole.info.run_id, "value"))
    assert whole.data.params["params.rounds"] == "12" and whole.data.params["workflow"] == "fedavg"
    row = rounds.job(job)
    for which in ("model", "best"):
        path = client.download_artifacts(whole.info.run_id, f"models/{which}.safetensors", str(tmp_path))
        assert pathlib.Path(path).read_bytes() == rounds.api.download(row[which])
    assert json.loads(pathlib.Path(client.download_artifacts(whole.info.run_id, "job.json", str(tmp_path))).read_text())[
        "params"]["rounds"] == 12


def test_mlflows_refusals_are_told(rounds, job, serve, tmp_path):
    url = serve("mlflow", HERE / "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--backend-store-uri",
                f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", tmp_path / "artifacts", ready="/health")
    from mlflow import MlflowClient
    client = MlflowClient(url)
    client.delete_experiment(client.create_experiment("gone"))

    def refused(*words):
        done = rounds.rounds("job", "export", job, *words, check=False)
        assert done.returncode in (1, 2, 3, 5) and len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr
    assert "was deleted" in refused("--mlflow", url, "--experiment", "gone")
    assert "http://" in refused("--mlflow", "ftp://127.0.0.1")
    assert "MLFLOW_TRACKING_PASSWORD" in refused("--mlflow", "http://me:secret@127.0.0.1:1")
    assert "127.0.0.1:1" in refused("--mlflow", "http://127.0.0.1:1")
    rounds.environment["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(rounds.data / "ca.pem")
    assert "MLflow" in refused("--mlflow", rounds.url)  # it is no MLflow


def test_without_mlflows_own_artifacts_the_rest_is_sent(rounds, job, serve, tmp_path):
    from mlflow import MlflowClient
    url = serve("mlflow", HERE / "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--no-serve-artifacts",
                "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--default-artifact-root", tmp_path / "elsewhere",
                ready="/health")
    done = rounds.rounds("job", "export", job, "--mlflow", url)
    assert "the models stay here" in done.stderr and "--serve-artifacts" in done.stderr
    client = MlflowClient(url)
    runs = client.search_runs([client.get_experiment_by_name("rounds").experiment_id])
    assert len(runs) == 3 and all(run.data.metrics for run in runs)
