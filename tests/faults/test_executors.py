"""GUARANTEES rows 33, 34, 37, 41: programs that hang, flood, refuse to die or tell too much, and servers that refuse what they did."""
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from harness import hostile
from harness.deployment import BUILD, DATA, EXECUTOR, TOP, Process, wait_until

TASK = {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "job": "01890a5d-ac96-774b-bcce-b302099a8058", "kind": "initialize",
        "job_name": "n", "round": 0, "rounds": 1, "seed": 1, "model": None, "control": None, "algorithm": None, "share": ["*"],
        "dataset": "none", "executor": "rogue", "trainer": {}, "lease_seconds": 3600, "timeout_seconds": 0}
SECRET = "Patient M\u00fcller: 7.5"


class Ward:
    """A daemon that has joined a server which hands out one task (again and again if it likes), and its program."""

    def __init__(self, home, program, answers=None, again=0, share_log=False, **task):
        self.home = home
        (home / "program.py").write_text("import json, os, signal, sys, time\n" + program)
        tasks = [{**TASK, **task}] * (1 + again)
        self.server = hostile.Tasks(home / "server", tasks, answers=answers)
        state = self.server.joined(home / "state")
        rogue = {"command": [sys.executable, str(home / "program.py")], "share_log": share_log}
        config = {"state_dir": str(state), "executors": {"rogue": rogue, "puppet": {"command": EXECUTOR}},
                  "datasets": {"none": {"path": str(DATA / "wdbc/test.csv")}}}
        (home / "site.json").write_text(json.dumps(config))
        self.site = Process([BUILD / "client/rounds-site", "--config", home / "site.json"], home / "site.log")

    def failure(self, seconds=15):
        wait_until(lambda: self.server.heard("failure"), seconds, "a failure to be told")
        return self.server.heard("failure")[0]

    def begun(self):
        """Waits until the program has been handed its task; it then makes the file "begun"."""
        wait_until((self.home / "begun").exists, 15, "the program to begin")

    def children(self):
        done = subprocess.run(["pgrep", "-P", str(self.site.pid)], capture_output=True, text=True)
        return [int(pid) for pid in done.stdout.split()]

    def stop(self, seconds=5):
        """SIGTERM; fails if it takes longer."""
        assert self.site.stop(seconds) == 0, self.site.text()

    def close(self):
        self.site.close()
        self.server.close()


BEGIN = """
def begin():
  line = input()
  open(BEGUN, "w").close()
  return line
"""


@pytest.fixture
def ward(tmp_path):
    made = []

    def make(program, **options):
        made.append(Ward(tmp_path, f"BEGUN = {str(tmp_path / 'begun')!r}\n{BEGIN}{program}", **options))
        return made[0]
    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("program, words", [
    ("begin(); os.close(1); time.sleep(60)", "closed its output"),
    ("begin()\nif os.fork() == 0:\n  os.setsid(); os.close(0); os.close(1); time.sleep(30)\nos._exit(1)", "ended with status 1"),
    ("begin()\nif os.fork() == 0:\n  os.setsid(); os.close(0); os.close(1)\n  while 1: os.write(2, b'x' * 4096)\nos._exit(1)", "ended with status 1"),
    ("begin(); os.write(1, b'\\xff\\xfe junk\\n'); time.sleep(60)", "not JSON"),
    ("begin(); os.write(1, b'{\"type\":\"result\",\"weight\":NaN}\\n'); time.sleep(60)", "not JSON"),
    ("begin(); os.write(1, b'{\"type\":\"result\",\"weight\":-1}\\n'); time.sleep(60)", "0 or more"),
    ("begin(); os.write(1, b'{\"type\":\"result\",\"weight\":1}\\n'); time.sleep(60)", "wrote no file"),
    ("begin(); os.write(1, b'a' * 2000000); time.sleep(60)", "a line of more than"),
    ("time.sleep(60)", "longer than its limit"),
    ("begin()\nwhile 1: os.write(1, b'{\"type\":\"log\",\"message\":\"x\"}\\n' * 100)", "longer than its limit"),
    ("begin()\nwhile 1: os.write(2, b'x' * 4096)", "longer than its limit"),
    ("signal.signal(15, signal.SIG_IGN); begin(); time.sleep(60)", "longer than its limit"),
    ("os.kill(os.getpid(), 9)", "signal 9"),
    ("import random\nos.write(1, b'{\"type\":\"log\",\"message\":\"x\"}\\n' * 10000); begin(); os._exit(3)", "ended with status 3"),
])
def test_whatever_a_program_does_its_task_ends_and_the_daemon_lives(ward, program, words):
    limit = 2 if words == "longer than its limit" else 20  # what ends otherwise has time on a busy machine
    one = ward(program, timeout_seconds=limit, trainer={"much": "x" * 200000})
    one.failure(30)
    assert words in one.site.text(), one.site.text()[-3000:]
    wait_until(lambda: not one.children(), 10, "the program to be dead")
    assert one.site.log.stat().st_size < 200000, "the log is bounded"
    one.stop()


@pytest.mark.parametrize("program", ["signal.signal(15, signal.SIG_IGN); begin(); time.sleep(60)",
                                     "begin()\nwhile 1: os.write(1, b'{\"type\":\"log\",\"message\":\"x\"}\\n' * 100)"])
@pytest.mark.parametrize("silent", [False, True])
def test_asked_to_stop_the_daemon_is_gone_within_five_seconds(ward, program, silent):
    """Whatever its program does, and whether or not the server still answers."""
    one = ward(program, answers={"release": lambda: time.sleep(30), "leave": lambda: time.sleep(30)} if silent else None)
    one.begun()
    child = one.children()
    one.stop()
    assert child and not any(pathlib.Path(f"/proc/{pid}").exists() for pid in child)


@pytest.mark.parametrize("answer", [(409, b'{"type":"/problems/conflict","detail":"the job was aborted"}'),
                                    (403, b'{"type":"/problems/forbidden","detail":"this site was removed"}'),
                                    (200, b'{"state":"cancelled"}')])
def test_what_is_called_off_is_dead_within_ten_seconds_whatever_the_lease(ward, answer):
    """A lease of an hour, a program that ignores SIGTERM and has a child."""
    called_off = []
    one = ward("signal.signal(15, signal.SIG_IGN)\nif os.fork() == 0: time.sleep(60)\nbegin(); time.sleep(60)",
               answers={"heartbeat": lambda: answer if called_off else (200, b'{"state":"leased","lease_seconds":3600}')})
    one.begun()
    wait_until(lambda: one.server.heard("heartbeat"), 10, "a first heartbeat")
    group = os.getpgid(one.children()[0])
    called_off.append(True)
    begun = time.monotonic()

    def members():
        return subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True).stdout.split()
    assert len(members()) == 2
    wait_until(lambda: not members(), 10, "the program and its child to be dead")
    assert time.monotonic() - begun < 10
    assert not one.server.heard("failure"), "what was called off has not failed"


ROWS = [
    ("raise ValueError({secret!r})", "exit"),
    ("print(json.dumps(dict(type='error', message={secret!r})), flush=True); time.sleep(60)", "program"),
    ("print(json.dumps(dict(type='error', kind={secret!r}, message={secret!r})), flush=True); time.sleep(60)", "program"),
    ("print(json.dumps(dict(type='error', kind='cell', role={secret!r}, tensor={secret!r}, row={secret!r})), flush=True); time.sleep(60)", "cell"),
    ("print(json.dumps(dict(type='error', kind='cell', text={secret!r}, ref={secret!r}, x={secret!r})), flush=True); time.sleep(60)", "cell"),
    ("print({secret!r}, flush=True); time.sleep(60)", "output"),
    ("os.write(2, {secret!r}.encode('latin-1')); os._exit(3)", "exit"),
    ("print(json.dumps(dict(type='log', message={secret!r})), flush=True); sys.exit(1)", "exit"),
    ("print(json.dumps(dict(type='progress', stage={secret!r}, metrics={{{secret!r}: 1}})), flush=True); time.sleep(3); os.abort()", "signal"),
    ("open(json.loads(line)['output'], 'w').write('x')\nprint(json.dumps(dict(type='result', weight=1, metrics={{{secret!r}: 1, 'fine': 2}})), flush=True); time.sleep(60)", None),
]


@pytest.mark.parametrize("program, kind", ROWS)
@pytest.mark.parametrize("share_log", [False, True])
def test_no_word_of_a_programs_leaves_the_site(ward, program, kind, share_log):
    """A cell of the table in whatever a program may say; paths of the site nowhere. With share_log words may be told."""
    one = ward("line = begin()\n" + program.format(secret=SECRET), share_log=share_log)
    if kind:
        told = one.failure()
        assert kind in json.dumps(told) or failure_sentence(kind) in json.dumps(told), told
    else:
        wait_until(lambda: one.server.heard("result"), 15, "the result")
        assert one.server.heard("result")[0]["metrics"] == {"fine": 2}
    one.stop()
    everything = json.dumps([one.server.claims, one.server.said], ensure_ascii=False, default=repr)
    if share_log and kind in ("program", "exit", "output"):
        assert "ller: 7.5" in everything
    elif not share_log:
        assert "ller: 7.5" not in everything and str(one.home) not in everything, everything
    if kind != "signal":
        assert "ller: 7.5" in one.site.text() or "left out" in one.site.text() or kind == "cell"


def failure_sentence(kind):
    text = (TOP / "common/failure.c").read_text()
    return re.search(rf'{{ "{kind}", "([^"]*)"', text)[1]


def test_a_program_that_writes_latin_1_is_understood(ward):
    one = ward("""
line = begin()
os.write(1, '{"type":"log","message":"Gr\\xf6\\xdfe"}\\n{"type":"progress","stage":"\\xfcben","metrics":{"f\\xfcr":1,"loss":2}}\\n'.encode("latin-1"))
open(json.loads(line)["output"], "w").write("x")
os.write(1, '{"type":"result","weight":1,"metrics":{"loss":2,"f\\xfcr":1}}\\n'.encode("latin-1"))
""", share_log=True)
    wait_until(lambda: one.server.heard("result"), 15, "the result")
    assert one.server.heard("result")[0]["metrics"] == {"loss": 2}
    assert "Gr??e" in json.dumps(one.server.heard("heartbeat")) and "Gr??e" in one.site.text()


REFUSALS = {"result": (400, b'{"type":"/problems/invalid","detail":"the weight must be more than 0","field":"weight"}'),
            "failure": (400, b'{"type":"/problems/invalid","detail":"no","field":"reason"}')}


@pytest.mark.parametrize("what", ["result", "failure", "both"])
def test_what_is_refused_for_good_ends(ward, what):
    """The server takes neither result nor failure and hands the task out again at once: each time it begins later."""
    makes = """
while 1:
  line = begin()
  open(json.loads(line)["output"], "w").write("x")
  print('{"type":"result","weight":0}', flush=True)
"""
    one = ward("begin(); os._exit(3)" if what == "failure" else makes, again=1000,
               answers=REFUSALS if what == "both" else {what: REFUSALS[what]})

    def begun():
        lines = [line for line in one.site.text().splitlines() if "task begins" in line]
        return [datetime.datetime.fromisoformat(line[5:31]) for line in lines]
    wait_until(lambda: len(begun()) >= 6, 90, "the sixth try")
    assert (begun()[5] - begun()[4]).total_seconds() >= 2, begun()
    if what == "result":
        assert len(one.server.heard("failure")) >= 5
        assert failure_sentence("result_refused") in json.dumps(one.server.heard("failure")[0]) or \
            one.server.heard("failure")[0]["kind"] == "result_refused"
    one.stop()


@pytest.mark.parametrize("refusal", ["this speaks version 1 of the executor protocol", "unknown Protocol"])
def test_a_program_of_version_1_is_spoken_to_in_version_1(ward, refusal):
    one = ward(f"""
for line in sys.stdin:
    task = json.loads(line)
    if task["protocol"] != 1:
        print(json.dumps(dict(type="error", message={refusal!r})), flush=True)
        continue
    open(task["output"], "w").write("x")
    print(json.dumps(dict(type="result", weight=1)), flush=True)
""")
    wait_until(lambda: one.server.heard("result"), 15, "the result")
    assert not one.server.heard("failure")
