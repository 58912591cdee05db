"""`rounds simulate`: a whole federation on one machine, with the real server and daemons."""
import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import BUILD, DATA, TOP, WDBC, wait_until


def simulate(rounds, tmp_path, spec, *words, check=True):
    (tmp_path / "job.json").write_text(json.dumps(spec))
    return rounds.rounds("simulate", tmp_path / "job.json", "--to", tmp_path / "model", *words, check=check)


def test_a_simulation_gives_what_a_deployment_gives(rounds, tmp_path):
    names = ["hospital-a", "hospital-c"]
    spec = {"name": "alike", "dataset": "wdbc", "sites": names, "seed": 7, "params": {"rounds": 4},
            "trainer": {"model": "mlp", "loss": "logistic", "batch_size": 16, "validation": 0.1}}
    for name in names:
        rounds.start_site(name)
    rounds.connected(*names)
    job = rounds.api.post("/jobs", spec)["id"]
    deployed = rounds.api.download(rounds.wait_for(job, "completed")["model"])
    label = ["--label", WDBC["label"], "--classes", ",".join(WDBC["classes"])]
    done = simulate(rounds, tmp_path, spec, "--data", DATA / "wdbc", *label, "-o", "json")
    assert (tmp_path / "model").read_bytes() == deployed
    assert json.loads(done.stdout[done.stdout.index("{\n"):])["state"] == "completed"


def dealt(rounds, tmp_path, split, *sites):
    """The labels at each site of a split digits table; the same rows come back, each once."""
    table = DATA / "digits/hospital-d.csv"
    done = simulate(rounds, tmp_path, {"name": "split", "dataset": "digits", "params": {"rounds": 1}, "trainer": {
        "model": "softmax", "outputs": 10}}, "--data", table, "--label", "digit", "--split", split, *sites, "--keep")
    home = done.stderr.split("state are in ")[1].strip()
    parts = [list(csv.reader(open(path))) for path in sorted(pathlib.Path(home).glob("data/*.csv"))]
    whole = list(csv.reader(open(table)))
    assert sorted(row for part in parts for row in part[1:]) == sorted(whole[1:]) and all(p[0] == whole[0] for p in parts)
    shutil.rmtree(home)
    return [[row[whole[0].index("digit")] for row in part[1:]] for part in parts]


def test_tables_are_split_evenly_by_dirichlet_and_by_column(rounds, tmp_path):
    even = dealt(rounds, tmp_path, "even", "--sites", 5)
    assert len(even) == 5 and max(map(len, even)) - min(map(len, even)) <= 1 and all(len(set(p)) > 7 for p in even)

    def largest(parts):  # the share of its commonest digit, over the sites
        return sum(max(map(p.count, set(p))) / len(p) for p in parts) / len(parts)
    assert largest(dealt(rounds, tmp_path, "dirichlet:0.1")) > 0.5 > 0.25 > largest(dealt(rounds, tmp_path, "dirichlet:1000"))
    by_digit = dealt(rounds, tmp_path, "column:digit")
    assert all(len(set(part)) == 1 for part in by_digit) and len(by_digit) == 10


def test_a_table_with_text_and_what_the_dataset_says_of_it(rounds, tmp_path):
    rows = "".join(f"{i},{'fm'[i % 2]},{'yes' if i % 3 else 'no'},{i % 5}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("patient,sex,ill,dose\n" + rows)
    (tmp_path / "d.json").write_text(json.dumps({"ignore": ["patient"], "categories": {"sex": ["f", "m"]}}))
    done = simulate(rounds, tmp_path, {"name": "t", "dataset": "t", "params": {"rounds": 2}}, "--data", tmp_path / "t.csv", "--sites",
                    "3", "--label", "ill", "--classes", "no,yes", "--dataset", tmp_path / "d.json")
    assert safetensors.numpy.load((tmp_path / "model").read_bytes())["layer0.weight"].shape == (1, 3), done.stdout


@pytest.mark.parametrize("workflow, params", [("fedadam", {"server_learning_rate": 0.05}), ("scaffold", {}), ("fednova", {})])
def test_a_strangers_script_with_a_folder_for_each_site(rounds, tmp_path, monkeypatch, workflow, params):
    """As it stands in the directory where it is: relative paths, a module beside it, prints, a progress bar."""
    monkeypatch.chdir(tmp_path)
    for name in ("north", "south"):
        pathlib.Path(f"clinics/{name}").mkdir(parents=True)
        np.save(f"clinics/{name}/x.npy", np.random.default_rng(len(name)).normal(size=(40, 3)).astype(np.float32))
    pathlib.Path("net.py").write_text("import torch\nmodel = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), "
                                      "torch.nn.Tanh(), torch.nn.Linear(4, 1))\n")
    pathlib.Path("train.py").write_text("""
import os, sys, numpy as np, torch
import rounds
from net import model

def main():
    for task in rounds.tasks():
        task.load_into(model)
        x = torch.from_numpy(np.load(os.path.join(task.dataset["path"], "x.npy")))
        y = x.sum(1, keepdim=True)
        with torch.no_grad():
            loss = torch.nn.functional.mse_loss(model.eval()(x), y)
        if task.should_train:
            optimizer = torch.optim.Adam(model.train().parameters(), lr=0.02)
            task.attach(optimizer)
            for epoch in range(30):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
                print("epoch", epoch, end="\\r", flush=True)
                rounds.progress(epoch / 30)
        rounds.send(model, {"loss": loss}, len(x))

if __name__ == "__main__":
    main()
""")
    monkeypatch.setenv("PYTHONPATH", str(TOP / "client/python"))
    done = simulate(rounds, tmp_path, {"name": "clinics", "workflow": workflow, "dataset": "clinic", "executor": "script",
                                       "params": {"rounds": 8, **params}},
                    "--data", "clinics", "--executor", "/usr/bin/python3 train.py", "-o", "json")
    assert json.loads(done.stdout[done.stdout.index("{\n"):])["state"] == "completed"
    model = safetensors.numpy.load((tmp_path / "model").read_bytes())
    assert model["1.num_batches_tracked"] == 240 and model["1.running_var"].min() > 0 and "3.weight" in model


@pytest.mark.parametrize("words, wrong", [
    (["--data", "/none.csv"], "cannot open /none.csv"),
    (["--data", DATA / "digits/test.csv", "--split", "odd"], "the split must be even"),
    (["--data", DATA / "digits/test.csv", "--split", "dirichlet:1", "--label", "x"], 'no column "x"'),
    (["--data", DATA / "digits/test.csv", "--sites", "1000"], "not enough rows for each of 1000 sites"),
    (["--data", DATA / "digits", "--sites", "3"], "--sites is for a file"),
    (["--data", DATA / "digits", "--split", "even"], "--split is for a file"),
    (["--data", DATA / "digits/test.csv", "--split", "column:digit", "--sites", "3"], "--sites does nothing with --split column:digit"),
    ([], "data"),
])
def test_a_wrong_simulation_says_so(rounds, tmp_path, words, wrong):
    done = simulate(rounds, tmp_path, {"name": "x", "dataset": "digits"}, *words, check=False)
    assert done.returncode in (1, 2) and wrong in done.stderr


def test_the_program_that_is_given_does_the_work_whatever_the_job_names(rounds, tmp_path, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text("import numpy, rounds\nfor task in rounds.tasks():\n    w = task.load_into({'mine': numpy.zeros(2)})\n"
                      "    if task.should_train: w['mine'] += 1\n    rounds.send(w)\n")
    words = ["--data", DATA / "digits/test.csv", "--label", "digit", "--sites", "2", "--executor", f"/usr/bin/python3 {script}"]
    monkeypatch.setenv("PYTHONPATH", str(TOP / "client/python"))
    for named in ({}, {"executor": "trainer"}, {"executor": "mine"}):
        simulate(rounds, tmp_path, {"name": "x", "dataset": "digits", "params": {"rounds": 1}, **named}, *words)
        assert list(safetensors.numpy.load((tmp_path / "model").read_bytes())["mine"]) == [1, 1], named
    done = simulate(rounds, tmp_path, {"name": "x", "dataset": "digits", "executor": "mine"}, *words[:6], check=False)
    assert done.returncode == 2 and '--executor is missing: the job names "mine"' in done.stderr


@pytest.mark.parametrize("params, trainer, metric", [({"evaluate_last": False}, {}, "loss"), ({}, {"validation": 0}, "train_loss")])
def test_each_round_has_its_line_whatever_is_measured(rounds, tmp_path, params, trainer, metric):
    done = simulate(rounds, tmp_path, {"name": "x", "dataset": "digits", "params": {"rounds": 3, **params}, "trainer": {
        "model": "softmax", "outputs": 10, **trainer}}, "--data", DATA / "digits/test.csv", "--label", "digit", "--sites", "2")
    lines = {int(line.split()[1]): line for line in done.stdout.splitlines() if line.startswith("round ")}
    assert set(lines) >= {1, 2, 3} and metric in lines[1] and "train_loss" in lines[3], done.stdout


def test_a_refused_job_says_all_that_is_wrong(rounds, tmp_path):
    done = simulate(rounds, tmp_path, {"name": "", "dataset": "digits", "params": {"rounds": -1}}, "--data", DATA / "digits/test.csv",
                    "--label", "digit", check=False)
    assert done.returncode == 2 and "rounds: name " in done.stderr and "rounds: params.rounds " in done.stderr
    assert "more" not in done.stderr


@pytest.fixture
def under_way(tmp_path):
    """A simulation whose scripts hang, ignoring SIGTERM, with a child each that does so, too."""
    tmp_path = tmp_path / "mine"
    tmp_path.mkdir()
    (tmp_path / "hang.py").write_text("import os, pathlib, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                                      f"os.fork()\npathlib.Path(r'{tmp_path}', 'pid-%d' % os.getpid()).touch()\ntime.sleep(600)\n")
    (tmp_path / "job.json").write_text(json.dumps({"name": "x", "dataset": "d", "params": {"rounds": 1}}))
    process = subprocess.Popen([BUILD / "client/rounds", "simulate", tmp_path / "job.json", "--data", DATA / "digits/test.csv", "--label",
                                "digit", "--sites", "2", "--executor", f"/usr/bin/python3 {tmp_path}/hang.py"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    process.home = tmp_path
    wait_until(lambda: len(list(tmp_path.glob("pid-*"))) >= 2, what="the scripts")
    yield process
    process.kill()
    process.wait()


def left_of(folder):
    return {pid: commandline(pid) for pid in os.listdir("/proc") if pid.isdigit() and str(folder).encode() in commandline(pid)}


def commandline(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_ctrl_c_ends_a_simulation_at_once_and_says_so(under_way):
    under_way.send_signal(signal.SIGINT)
    out, err = under_way.communicate(timeout=15)  # 0.8 s on a machine that is not busy
    assert under_way.returncode == 1 and "interrupted: the simulated federation is stopped" in err, err
    assert not left_of(under_way.home) and not list(under_way.home.glob("rounds-simulate.*")), "nothing is left, not the rows either"


def test_a_daemon_that_dies_ends_the_simulation_with_its_name(under_way):
    site = next(pid for pid in left_of(under_way.home) if b"rounds-site" in commandline(pid) and b"site-2.json" in commandline(pid))
    os.kill(int(site), signal.SIGKILL)
    out, err = under_way.communicate(timeout=30)
    assert under_way.returncode == 1 and "the simulated site site-2 ended by itself (signal 9)" in err, err
    assert not left_of(under_way.home) and list(under_way.home.glob("rounds-simulate.*/site-2.log")), "the log is left"


def test_a_failed_simulation_ends_all_it_started(rounds, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "mine"))
    done = simulate(rounds, tmp_path, {"name": "x", "dataset": "digits", "executor": "script", "params": {"rounds": 1}},
                    "--data", DATA / "digits/test.csv", "--label", "digit", "--executor", "/bin/false", check=False)
    assert done.returncode == 6 and "the executor ended with status 1" in done.stdout
    assert not left_of(tmp_path / "mine")
