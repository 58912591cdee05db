#!/usr/bin/env python3
"""An executor whose training costs next to nothing: the update is the model with one number changed, copied by the kernel.

It reports the seconds it took as a metric, so that a measurement can leave them out. `size`: bytes of the first model.
`link`: the update is the model itself, under another name, where there is no room for a copy.
"""
import json
import os
import struct
import sys
import time

for line in sys.stdin:
    task = json.loads(line)
    begun = time.monotonic()
    if task["kind"] == "initialize":
        size = task["params"]["size"] // 4 * 4
        header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
        header += b" " * (-len(header) % 8)
        with open(task["output"], "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            block = struct.pack("<f", 0.5) * (1 << 18)
            while size > 0:
                file.write(block[:size])
                size -= len(block)
    elif task["kind"] == "train" and task["params"].get("link"):
        os.link(task["model"], task["output"])
    elif task["kind"] == "train":
        source, target = os.open(task["model"], os.O_RDONLY), os.open(task["output"], os.O_RDWR | os.O_CREAT, 0o600)
        left = os.fstat(source).st_size
        while left > 0:
            left -= os.copy_file_range(source, target, min(left, 1 << 30))
        os.pwrite(target, struct.pack("<f", hash(task["site"]) % 100), os.fstat(target).st_size - 4)
        os.close(source)
        os.close(target)
    print(json.dumps({"type": "result", "weight": 1, "metrics": {"train_seconds": time.monotonic() - begun}}), flush=True)
