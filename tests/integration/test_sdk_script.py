"""A script's prints, failures and processes, seen from where rounds-site stands: the lines of the executor protocol."""
import re
import signal

import numpy as np
import pytest

from harness.deployment import TOP, runs, wait_until
from harness.script import PYTHON, Script

MODEL = {"w": np.zeros(3)}


@pytest.fixture
def script(tmp_path):
    made = []

    def start(text, **options):
        made.append(Script(tmp_path, text, **options))
        return made[-1]
    yield start
    for one in made:
        one.close()


def test_prints_are_lines_of_the_log_before_and_in_the_loop(script):
    host = script("""
print("before the import, not flushed")
import rounds
print("device: cpu", flush=True)
import logging, os, subprocess, sys
import numpy as np
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
for task in rounds.tasks():
    print("epoch", 1, "done", flush=True); print("a bar \\r a bar that grew\\r", end=""); print("no end", end="", flush=True); print()
    logging.info("by logging \\udcff \\x00 end")
    print("x" * 2_000_000); sys.stdout.write("two\\nlines\\n"); sys.stdout.buffer.write(b"bytes\\n"); sys.stdout.buffer.flush()
    os.write(1, b"by a C library\\n"); subprocess.run(["echo", "by another program"])
    if os.fork() == 0:
        print("by a child", flush=True); os._exit(0)
    os.wait()
    print("the last, without an end", end="")
    rounds.send({"w": task.weights["w"]}, num_samples=5)
""")
    assert host.answer(model=MODEL) == {"type": "result", "weight": 5.0, "metrics": {}}
    assert host.answer(model=MODEL)["type"] == "result"
    logs = host.logs()
    assert logs[:4] == ["before the import, not flushed", "device: cpu", "epoch 1 done", "no end"]
    assert "by logging ? ? end" in logs and "two" in logs and "lines" in logs and "the last, without an end" in logs
    assert any(line.startswith("xxx") and len(line) < 5000 for line in logs)
    for line in ("bytes", "by a C library", "by another program", "by a child"):
        assert line in host.errors() and line not in logs


def test_a_script_that_hangs_can_be_watched(script):
    host = script("import rounds, time\nfor task in rounds.tasks():\n    print('epoch 1')\n    time.sleep(600)\n")
    host.say(model=MODEL)
    assert host.hear()["message"] == "epoch 1", "it is there while the script hangs, though nobody flushed"
    host.process.send_signal(signal.SIGTERM)


def test_progress_that_is_no_number_breaks_nothing(script):
    host = script("import rounds\nfor task in rounds.tasks():\n    rounds.progress(float('nan'), loss=float('inf'))\n    rounds.send(task.weights)\n")
    host.answer(model=MODEL)
    assert host.lines[0] == {"type": "progress", "stage": "training", "fraction": None, "metrics": {"loss": None}}


def test_kinds_are_those_of_the_protocol():
    source = (TOP / "common/failure.c").read_text()
    kinds = re.findall(r'\[FAILURE_[A-Z_]+\] = \{ "([a-z_]+)"', source)
    package = (TOP / "client/python/rounds/failure.py").read_text()
    assert len(kinds) > 20 and set(kinds) <= set(re.findall(r'"([a-z_]+)"', package[:package.index("class Failure")]))


@pytest.mark.parametrize("line, told, words", [
    ("raise ValueError('cell 81.5 of Mrs X')", {"kind": "program"}, "ValueError: cell 81.5 of Mrs X"),
    ("raise MemoryError()", {"kind": "no_memory", "retry": True}, "MemoryError"),
    ("raise OSError(28, 'full')", {"kind": "no_space", "retry": True}, "full"),
    ("rounds.fail('cell 81.5', kind='cell', role='path', row=18, column=3)", {"kind": "cell", "role": "path", "row": 18, "column": 3}, "cell 81.5"),
    ("rounds.fail(kind='label', retry=True)", {"kind": "label", "retry": True}, "the script failed: label"),
    ("rounds.fail('x', kind='dinner')", {"kind": "program"}, "there is no kind"),
    ("task.load_into({'v': 0})", {"kind": "model", "tensor": "w"}, 'a tensor "w" that this model does not have'),
    ("rounds.send(task.weights, {'a': 'Mrs X'})", {"kind": "metric"}, 'the metric "a" is a str'),
    ("rounds.send(task.weights, num_samples=float('nan'))", {"kind": "weight"}, "num_samples must be"),
    ("rounds.send({'w': task.weights['w'] * float('inf')})", {"kind": "not_finite", "tensor": "w"}, '"w" holds 3 values'),
    ("rounds.send({'w': task.weights['w'].astype('complex64')})", {"kind": "tensor"}, "complex64"),
    ("rounds.send(5)", {"kind": "unsupported"}, "give a dict of arrays"),
    ("rounds.send()", {"kind": "no_update"}, "needs the model"),
    ("pass", {"kind": "no_update"}, "without rounds.send"),
])
def test_a_failure_is_a_kind_and_a_place_and_its_words_are_apart(script, line, told, words):
    host = script(f"import rounds\nfor task in rounds.tasks():\n    {line}\n")
    answer = host.answer(model={"w": np.ones(3)})
    message = answer.pop("message")
    assert answer == {"type": "error", "retry": False, **told} and words in message
    assert ("script.py, line 3)" in message) == ("rounds.fail(" not in line and line != "pass" or "dinner" in line), message


def test_a_daemon_of_version_1_is_given_no_prints(script):
    """Where it may share what a script logs, it would share them."""
    host = script("print('early')\nimport rounds\nfor task in rounds.tasks():\n    print('Mrs X')\n    rounds.send(task.weights)\n", protocol=1)
    assert host.answer(model=MODEL)["type"] == "result" and host.logs() == []
    host.close()
    assert host.errors().split() == ["early", "Mrs", "X"]


def test_a_daemon_of_version_1_is_not_given_what_an_exception_says(script):
    host = script("import rounds\nfor task in rounds.tasks():\n    raise ValueError('cell 81.5 of Mrs X')\n", protocol=1)
    assert host.answer(model=MODEL)["message"] == "ValueError (script.py, line 3); the site's log has its words"
    assert "cell 81.5" in host.errors()


RANKS = """
import os, sys, torch, rounds
print("started as", os.getpid(), flush=True)
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
net = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1, bias=False))
optimizer = None
for task in rounds.tasks():
    task.load_into(net)
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=1.0)
    task.attach(optimizer)
    optimizer.zero_grad()
    net(torch.full((1, 2), 1.0 + 2 * rank)).sum().backward()  # the mean over both ranks is 2
    if task.params.get("fails") == rank: raise ValueError("rank %d" % rank)
    optimizer.step()
    print("rank", rank, "has stepped")
    rounds.progress(0.5)
    rounds.send(net, {"train_loss": 1.0}, num_samples=2)
"""


# Debian 12's torchrun does not start under its own Python 3.11, whose IntFlag no longer lists 0.
TORCHRUN = ("from torch.distributed import run; from torch.distributed.elastic.multiprocessing import Std; "
            "Std.from_str = classmethod(lambda kind, text: kind(int(text))); run.main()")


@pytest.fixture
def torchrun(script):
    return script(RANKS, command=(PYTHON, "-c", TORCHRUN, "--standalone", "--nproc_per_node=2"), OMP_NUM_THREADS="1")


def test_of_several_ranks_the_first_speaks(torchrun):
    torchrun.answer(kind="initialize")
    assert torchrun.sent()["weight"].shape == (1, 2)
    for number, w in ((1, -2.0), (2, -4.0)):
        answer = torchrun.answer(model={"weight": np.full((1, 2), w + 2, np.float32)}, round=number, algorithm={"count_steps": True})
        assert answer == {"type": "result", "weight": 2.0, "metrics": {"train_loss": 1.0, "train_steps": 1.0}}
        assert torchrun.sent()["weight"].tolist() == [[w, w]], "both ranks' gradients are in it"
    assert [line["type"] for line in torchrun.lines].count("result") == 3 and "rank 0 has stepped" in torchrun.logs()
    assert "rank 1 has stepped" in torchrun.errors() and not any("rank 1" in line for line in torchrun.logs())
    torchrun.close()
    assert torchrun.process.returncode == 0, torchrun.errors()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_fails_ends_all(torchrun, rank):
    torchrun.say(model={"weight": np.zeros((1, 2), np.float32)}, params={"fails": rank})
    while (line := torchrun.hear(120)) is not None and line["type"] != "error":
        pass
    assert (line is None) == (rank == 1), "rank 1 has no voice: the site is told of the exit"
    wait_until(lambda: torchrun.process.poll() is not None, seconds=60, what="its end")
    assert torchrun.process.returncode and f"ValueError: rank {rank}" in torchrun.errors()


def test_ranks_die_with_what_started_them(torchrun):
    torchrun.say(model={"weight": np.zeros((1, 2), np.float32)})
    first = int(torchrun.hear(120)["message"].split()[-1])
    second = wait_until(lambda: re.search(r"started as (\d+)", torchrun.errors()), seconds=120, what="rank 1")
    torchrun.process.kill()
    wait_until(lambda: not runs(first) and not runs(int(second[1])), what="the ranks to die")


def test_ranks_without_a_process_group_are_told_so(script):
    host = script("import rounds\nfor task in rounds.tasks(): pass\n", RANK="0", WORLD_SIZE="2")
    host.process.wait(60)
    assert "init_process_group before rounds.tasks()" in host.errors()
