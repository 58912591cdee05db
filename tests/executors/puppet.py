#!/usr/bin/env python3
"""An executor that does what the job's `trainer` object tells it: the tests' way to make a site slow, wrong or dead.

It speaks the executor protocol with nothing but the standard library. Its "training" adds `step` to every float32.
  size: elements of the model   seconds: how long training takes   do: crash, hang, nothing, garbage, big_line, nan_metric,
        say (a failure with `message`)
  only: the site that misbehaves   once: a file; misbehave only while it does not exist   log: a file to note each task in
"""
import array
import json
import os
import struct
import sys
import time


def say(**line):
    print(json.dumps(line), flush=True)


def write(path, values, header=None):
    text = json.dumps(header or {"w": {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, 4 * len(values)]}})
    raw = text.encode() + b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.write(values.tobytes())


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        file.read(length)
        return array.array("f", file.read())


def pretend(seconds):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        say(type="progress", stage="training", fraction=1 - left / seconds, metrics={"train_left": left})
        time.sleep(min(left, 0.1))


def misbehaviour(params, task):
    what = params.get("do", "")
    if params.get("only", task["site"]) != task["site"]:
        return ""
    if "once" in params:
        if os.path.exists(params["once"]):
            return ""
        open(params["once"], "w").close()
    return what


def do(task):
    params = task["params"]
    if "log" in params:
        with open(params["log"], "a") as file:
            file.write(f"{task['site']} {task['kind']} {task['round']}\n")
    if task["kind"] == "initialize":
        write(task["output"], array.array("f", [params.get("start", 0.0)]) * params.get("size", 16))
        return say(type="result", weight=1)
    what = misbehaviour(params, task)
    for line in params.get("says", []):
        say(type="log", message=line)
    if what == "crash":
        print("out of luck", file=sys.stderr, flush=True)
        os.abort()
    if what == "hang":
        time.sleep(3600)
    if what == "say":
        return say(type="error", message=params["message"], retry=False)
    if what == "garbage":
        return print("this is not JSON", flush=True)
    if what == "big_line":
        return print("x" * (2 << 20), flush=True)
    pretend(params.get("seconds", 0))
    values = read(task["model"])
    metrics = {"value": values[0]}
    if what == "nan_metric":
        metrics["value"] = None
    if task["kind"] == "train" and what != "nothing":
        step = params.get("step", 1.0)
        values = array.array("f", [v + step for v in values]) if step else values
        header = None
        if what == "nan":
            values[0] = float("nan")
        if what == "shape":
            header = {"w": {"dtype": "F32", "shape": [1, len(values)], "data_offsets": [0, 4 * len(values)]}}
        write(task["output"], values, header)
    say(type="result", weight=params.get("weights", {}).get(task["site"], 1), metrics=metrics)


for line in sys.stdin:
    do(json.loads(line))
