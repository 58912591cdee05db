"""What an operator and a hospital's administrator do, with the real commands."""
import fcntl
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pyte
import pytest
import safetensors.numpy

from harness.deployment import BUILD, DATA, HOSPITALS, SANITIZED, TOP, WDBC, wait_until


def test_a_job_from_submission_to_download(clinic, tmp_path):
    done = clinic.rounds("job", "submit", TOP / "deploy/examples/wdbc.json", "--watch")
    job = done.stdout.split()[0]
    assert re.search(r"round  20 of 20 +accuracy 0\.9\d+ +auc 0\.9\d+|auc 1\.0", done.stdout), done.stdout
    assert done.stdout.endswith("completed\n")
    shown = json.loads(clinic.rounds("job", "show", "last", "-o", "json").stdout)
    assert shown["id"] == job and shown["state"] == "completed" and shown["best"]
    clinic.rounds("job", "download", job, "--to", tmp_path / "last")
    clinic.rounds("job", "download", job, "--to", tmp_path / "best", "--best")
    clinic.rounds("job", "download", job, "--to", tmp_path / "first", "--round", 0)
    model = safetensors.numpy.load_file(tmp_path / "last")
    assert model["layer0.weight"].shape == (1, 30)
    assert not safetensors.numpy.load_file(tmp_path / "first")["layer0.weight"].any()
    assert "The lineage is sound." in clinic.rounds("verify", job[:30]).stdout
    listed = clinic.rounds("job", "list").stdout
    assert job in listed and "completed" in listed and "20/20" in listed
    events = clinic.rounds("job", "events", job).stdout
    assert "started with 4 sites" in events

    again = clinic.rounds("job", "clone", job, "--name", "again", "--watch").stdout.split()[0]
    other = json.loads(clinic.rounds("job", "show", again, "-o", "json").stdout)
    assert other["name"] == "again" and other["model"] == shown["model"], "the same seed gives the same model"
    clinic.rounds("job", "delete", again, "--yes")
    assert clinic.rounds("job", "show", again, check=False).returncode == 3


def test_digits_reach_what_pooled_data_would(clinic, tmp_path):
    for name in HOSPITALS:
        next(p for p in clinic.processes if getattr(p, "name", "") == name).again(
            datasets={"digits": {"path": str(DATA / f"digits/{name}.csv"), "label": "digit"}})
    wait_until(lambda: all(s["datasets"] == ["digits"] and s["connected"] for s in clinic.api.get("/sites")["items"]))
    job = clinic.rounds("job", "submit", TOP / "deploy/examples/digits.json", "--watch").stdout.split()[0]
    accuracy = [m["value"] for m in clinic.api.get(f"/jobs/{job}/metrics?name=accuracy&site=")["items"]]
    assert accuracy[0] < 0.3 and accuracy[-1] > 0.93, accuracy


def test_a_job_begins_with_an_uploaded_model(clinic, tmp_path):
    first = clinic.rounds("job", "submit", TOP / "deploy/examples/wdbc.json", "--watch").stdout.split()[0]
    clinic.rounds("job", "download", first, "--to", tmp_path / "m")
    second = clinic.rounds("job", "submit", TOP / "deploy/examples/wdbc.json", "--initial-model", tmp_path / "m",
                           "--watch").stdout.split()[0]
    metrics = clinic.api.get(f"/jobs/{second}/metrics?name=loss&site=")["items"]
    last = clinic.api.get(f"/jobs/{first}/metrics?name=loss&site=")["items"][-1]["value"]
    assert metrics[0]["round"] == 0 and metrics[0]["value"] == pytest.approx(last, rel=1e-6)


def test_early_stop_keeps_the_best(clinic):
    spec = json.loads((TOP / "deploy/examples/wdbc.json").read_text())
    spec["params"] = {"rounds": 500, "key_metric": "auc", "early_stop_rounds": 3}
    job = clinic.api.post("/jobs", spec)["id"]
    row = clinic.wait_for(job, "completed")
    assert row["round"] < 100
    auc = [m["value"] for m in clinic.api.get(f"/jobs/{job}/metrics?name=auc&site=")["items"]]
    assert auc[row["best_round"]] == max(auc) and row["best_round"] == auc.index(max(auc))


def test_a_fraction_of_the_sites_by_seed(clinic):
    spec = {"name": "fraction", "dataset": "wdbc", "params": {"rounds": 12, "fraction": 0.5}, "sites": HOSPITALS}

    def cohorts(seed):
        job = clinic.api.post("/jobs", {**spec, "seed": seed})["id"]
        clinic.wait_for(job, "completed")
        tasks = [t for t in clinic.tasks(job) if t["kind"] == "train"]
        return [sorted(t["site"] for t in tasks if t["round"] == r) for r in range(1, 13)]
    first = cohorts(1)
    assert all(len(cohort) == 2 for cohort in first) and len({tuple(c) for c in first}) > 2
    assert cohorts(1) == first != cohorts(2)


def test_quorum_with_grace_and_deadline(rounds, tmp_path):
    for name in "abc":
        rounds.start_site(name)
    rounds.connected(*"abc")
    slow = {"do": "hang", "only": "c", "once": str(tmp_path / "once")}
    job = rounds.submit(sites=["a", "b", "c"], params={"rounds": 1, "quorum": 2, "grace_seconds": 1.5, "evaluate_last": False},
                        trainer=slow)
    begun = time.monotonic()
    rounds.wait_for(job, "completed")
    assert time.monotonic() - begun > 1.4, "the round waited for the straggler"
    assert [t["state"] for t in rounds.tasks(job, round=1)] == ["done", "done", "cancelled"]
    rounds.connected(*"abc")
    job = rounds.submit(sites=["a", "b"], params={"rounds": 1, "deadline_seconds": 1}, trainer={"seconds": 30})
    assert "deadline with 0 of 2 updates" in rounds.wait_for(job, "failed")["reason"]


def watch_on_terminal(deployment, job, rows, columns, locale="C.UTF-8"):
    """The screens that `rounds job watch` draws, as pyte (a terminal) shows them: lists of lines."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    watch = subprocess.Popen([BUILD / "client/rounds", "job", "watch", job], stdout=slave, stderr=slave,
                             env={**os.environ, **deployment.environment, "LC_ALL": locale})
    os.close(slave)
    screen = pyte.Screen(columns, rows)
    stream, screens = pyte.ByteStream(screen), []
    try:
        while piece := os.read(master, 65536):
            stream.feed(piece)
            screens.append([line.rstrip() for line in screen.display])
    except OSError:
        pass
    os.close(master)
    return screens, watch.wait(60)


def test_watch_draws_on_a_terminal(clinic):
    """What a person sees: the same lines redrawn in place, what is left, a curve for each metric, a bar for each site."""
    spec = json.loads((TOP / "deploy/examples/wdbc.json").read_text())
    spec["name"] = "Brust \u001b[31m\u202e krebs"
    spec["params"]["key_metric"] = "auc"
    spec["trainer"]["epochs"] = 150 if SANITIZED else 1500  # some seconds of work
    job = clinic.api.post("/jobs", spec)["id"]
    screens, code = watch_on_terminal(clinic, job, 30, 100)
    last = [line for line in screens[-1] if line]
    assert code == 0 and len(screens) > 3
    assert any("left" in line for screen in screens for line in screen), "no estimate of what is left"
    assert last[0].startswith("Brust ?[31m") and "completed" in last[1] and "round 20 of 20" in last[1] and "█" in last[1]
    assert sum("round 20 of 20" in line for line in last) == 1, "drawn below instead of in place"
    curve = next(line for line in last if line.strip().startswith("auc"))
    assert last.index(curve) == 2, "the key metric goes first"
    value = next(m["value"] for m in clinic.api.get(f"/jobs/{job}/metrics?name=auc&site=")["items"] if m["round"] == 20)
    assert f"{value:.4f}" in curve and "▁" in curve and "█" in curve
    assert {name for name in HOSPITALS if any(line.strip().startswith(name) for line in last)} == set(HOSPITALS)
    assert last[-1] == f"Its model: rounds job download {job}"
    # Narrow, low, without UTF-8: cut rather than broken.
    screens, code = watch_on_terminal(clinic, job, 14, 40, "C")
    last = [line for line in screens[-1] if line]
    assert code == 0 and last[0].startswith("Brust ?[31m") and "####" in last[1] and all(line.isascii() for line in last)
    assert any("and 8 more; 8 of 8 are done" in line for line in last)


def test_exit_codes_and_words(rounds, tmp_path):
    none = rounds.rounds("job", "list", check=False)
    assert (none.returncode, none.stderr) == (4, "rounds: you are not logged in; see rounds login --help\n")
    rounds.login()
    assert rounds.rounds("job", "list").stdout == "(none)\n"
    for words, code, text in [
        (["job", "show", "nothing"], 3, "there is no job"),
        (["job", "frobnicate"], 2, "there is no command"),
        (["job", "submit"], 2, "usage: rounds job submit FILE.json"),
        (["job", "list", "--colour", "red"], 2, "unknown option --colour"),
        (["job", "submit", "/nowhere.json"], 1, "cannot open"),
        (["site", "invite", "no/name"], 2, "must be a name"),
    ]:
        done = rounds.rounds(*words, check=False)
        assert done.returncode == code and text in done.stderr, (words, done)
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"name": "x", "dataset": "d", "params": {"rounds": -1}}')
    done = rounds.rounds("job", "submit", wrong, check=False)
    assert done.returncode == 2 and "params.rounds must be at least 1" in done.stderr
    wrong.write_text('{"name": "", "dataset": "d", "colour": 1, "params": {"rounds": -1}}')
    done = rounds.rounds("job", "submit", wrong, check=False)
    assert done.returncode == 2
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["colour", "name", "params.rounds"]
    job = rounds.submit()
    rounds.rounds("job", "abort", job)
    assert rounds.rounds("job", "watch", job, check=False).returncode == 6
    viewer = rounds.rounds("token", "create", "eve").stdout.strip()
    rounds.rounds("login", rounds.url, "--ca-fingerprint", rounds.fingerprint, "--context", "eve", stdin=viewer)
    assert rounds.rounds("job", "list", "--context", "eve").returncode == 0
    assert rounds.rounds("job", "abort", job, "--context", "eve", check=False).returncode == 4
    listed = json.loads(rounds.rounds("token", "list", "-o", "json").stdout)
    eve = next(token for token in listed if token["name"] == "eve")
    assert "hash" not in eve and viewer not in json.dumps(listed)
    rounds.rounds("token", "remove", eve["id"])
    assert rounds.rounds("job", "list", "--context", "eve", check=False).returncode == 4
    rounds.server.stop()
    assert rounds.rounds("job", "list", check=False).returncode == 5
    rounds.start()


def test_pausing_resuming_aborting_and_removing_from_the_shell(rounds):
    rounds.start_site("a")
    rounds.login()
    job = rounds.submit(params={"rounds": 50}, trainer={"seconds": 0.2})
    rounds.wait_for(job, "running")
    assert "is paused" in rounds.rounds("job", "pause", job).stdout
    assert rounds.rounds("job", "pause", job, check=False).returncode == 2, "it is paused already"
    assert "is running" in rounds.rounds("job", "resume", job).stdout
    assert rounds.rounds("job", "delete", job, "--yes", check=False).returncode == 2, "it runs"
    assert "is aborted" in rounds.rounds("job", "abort", job).stdout
    rounds.rounds("job", "delete", job, "--yes")
    assert '"name": "a"' in rounds.rounds("site", "show", "a", "-o", "json").stdout
    assert "yes" in rounds.rounds("site", "list").stdout
    refused = rounds.rounds("site", "remove", "a", stdin="n\n", check=False)
    assert refused.returncode == 2 and "nothing was done" in refused.stderr
    rounds.rounds("site", "remove", "a", "--yes")
    assert "removed" in rounds.rounds("site", "show", "a").stdout


def test_progress_and_metrics_come_with_the_heartbeats(rounds):
    rounds.start_site("a")
    job = rounds.submit(params={"rounds": 1}, lease_seconds=3, trainer={"seconds": 2.5})
    task = wait_until(lambda: next((t for t in rounds.tasks(job, round=1) if (t["metrics"] or {}).get("train_left")), None))
    assert task["state"] == "leased" and task["stage"] == "training" and 0 < task["fraction"] < 1
    rounds.wait_for(job, "completed")
    assert "value" in rounds.tasks(job, round=1)[-1]["metrics"]


def test_help_and_completion(rounds):
    rounds.login()
    text = rounds.rounds("--help").stdout
    for command in ("job submit", "job watch", "site invite", "token create", "verify", "completion"):
        assert f"rounds {command}" in text and rounds.rounds(*command.split(), "--help").stdout
    script = rounds.rounds("completion").stdout
    probe = script + '\nCOMP_WORDS=(rounds job su); COMP_CWORD=2; _rounds; echo "${COMPREPLY[@]}"'
    assert subprocess.check_output(["bash", "-c", probe], text=True) == "submit\n"
    for program in ("server/rounds-server", "client/rounds-site", "client/rounds-trainer"):
        assert subprocess.run([BUILD / program, "--version"], capture_output=True).returncode == 0


def test_names_cannot_play_with_the_terminal(rounds):
    rounds.login()
    job = rounds.submit(name="\033[31mred\nline <script>")
    assert "\033" not in rounds.rounds("job", "list").stdout
    rounds.api.post(f"/jobs/{job}/abort")


def test_join_pins_the_server_it_was_invited_to(rounds, tmp_path):
    invitation = rounds.api.post("/invitations", {"site": "a"})["invitation"]

    def join(text, state="s"):
        return subprocess.run([BUILD / "client/rounds-site", "join", rounds.url, "--state-dir", tmp_path / state], input=text,
                              capture_output=True, text=True)
    false = join(invitation[:-1] + ("0" if invitation[-1] != "0" else "1"))
    assert false.returncode == 1 and "is not the server that was meant" in false.stderr
    assert join("rubbish").returncode == 2
    assert join(invitation).returncode == 0
    assert (tmp_path / "s/site.key").stat().st_mode & 0o777 == 0o600
    twice = join(invitation)
    assert twice.returncode == 1 and "has joined already" in twice.stderr
    used = join(invitation, "t")
    assert used.returncode == 1 and "ask the operator for a new one" in used.stderr
    for path in [rounds.home / "server.log"]:
        assert invitation not in path.read_text() and rounds.token not in path.read_text()


@pytest.mark.parametrize("config, words", [
    ({"slots": 0}, "slots must be at least 1"),
    ({"colour": 1}, "colour is not a known field"),
    ({"datasets": {"x": {"path": "/nowhere.csv"}}}, "there is no file /nowhere.csv"),
    ({"datasets": {"a/b": {"path": "x"}}}, "datasets.a/b"),
    ({"executors": {"x": {}}}, "executors.x must have either a command or a socket"),
    ({}, "has not joined a server yet"),
])
def test_a_wrong_site_json_says_which_key(tmp_path, config, words):
    path = tmp_path / "site.json"
    path.write_text(json.dumps({"state_dir": str(tmp_path / "state"), **config}))
    done = subprocess.run([BUILD / "client/rounds-site", "--config", path], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_settings_flags_over_environment_over_file(tmp_path):
    path = tmp_path / "server.json"
    path.write_text('{"port": 1, "workers": 3, "data_dir": "/nowhere"}')
    program = BUILD / "server/rounds-server"

    def check(*flags, **environment):
        return subprocess.run([program, "--check-config", "--config", path, *flags], capture_output=True, text=True,
                              env={**os.environ, **environment})
    assert check().returncode == 0
    assert "port must be at least 0" in check(ROUNDS_PORT="99999").stderr
    assert check("--port", "5", ROUNDS_PORT="99999").returncode == 0
    assert "unknown option --prot" in check("--prot", "5").stderr


def test_a_proxy_is_honoured(rounds, tmp_path):
    """CONNECT through a proxy of our own: HTTPS_PROXY is what the daemon uses."""
    from harness.connect_proxy import ConnectProxy
    proxy = ConnectProxy()
    rounds.start_site("a", env={"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": ""})
    rounds.wait_for(rounds.submit(params={"rounds": 1}), "completed")
    assert proxy.targets and set(proxy.targets) == {f"localhost:{rounds.port}"}
    proxy.close()


def test_an_administrators_own_authority_is_honoured(rounds, tmp_path):
    """ca_file over the one that it was joined with: a wrong one is refused, the right one works."""
    wrong = tmp_path / "wrong.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    tmp_path / "k", "-out", wrong, "-subj", "/CN=other", "-days", "2"], check=True, capture_output=True)
    a = rounds.start_site("a", ca_file=str(wrong))
    wait_until(lambda: "certificate" in a.text(), what="the refusal")
    (rounds.home / "a/ca.pem").unlink()
    a.again(ca_file=str(rounds.data / "ca.pem"))
    rounds.connected("a")


def test_no_secret_is_left_to_the_executor(rounds, tmp_path):
    """The environment is empty but for what the administrator gave, and no descriptor is inherited."""
    program = tmp_path / "nosy.py"
    found = tmp_path / "found.json"
    program.write_text(f"""
import json, os, sys
fds = [fd for fd in os.listdir('/proc/self/fd') if fd not in '0 1 2'.split() and os.path.exists(f'/proc/self/fd/{{fd}}')]
json.dump({{'env': dict(os.environ), 'fds': fds}}, open({str(found)!r}, 'w'))
print('{{"type": "error", "message": "seen enough"}}', flush=True)
""")
    rounds.start_site("a", env={"ROUNDS_SECRET": "x"}, executors={"nosy": {
        "command": [sys.executable, str(program)], "environment": ["GIVEN=1"]}})
    job = rounds.submit(executor="nosy", params={"rounds": 1})
    rounds.fails_in_private(job, "seen enough", "program")
    seen = json.loads(found.read_text())
    assert set(seen["env"]) <= {"PATH", "HOME", "LANG", "GIVEN", "LC_CTYPE", "ROUNDS_PROTOCOL"} and seen["env"]["GIVEN"] == "1"
    assert seen["fds"] == []


def test_limits_of_an_executor_are_the_kernels(rounds, tmp_path):
    rounds.start_site("a", executors={"greedy": {"command": [sys.executable, "-c", "import sys; sys.stdin.readline(); x = bytearray(1 << 30)"],
                                                 "memory_mb": 300}})
    job = rounds.submit(executor="greedy", params={"rounds": 1}, max_attempts=1)
    rounds.fails_in_private(job, "MemoryError", "exit")


def test_the_site_is_small(rounds):
    a = rounds.start_site("a")
    rounds.connected("a")
    libraries = pathlib.Path(f"/proc/{a.pid}/maps").read_text()
    assert "blas" not in libraries and "libcurl" in libraries
    a_json = rounds.home / "a.json"
    assert a_json.exists()
