"""See run.sh. Each figure is a ratio within one run, since machines differ; nothing here passes or fails by time."""
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from harness.crowd import Crowd
from harness.deployment import BUILD, TOP, Deployment, SiteClient, wait_until

COPIER = {"copier": {"command": [sys.executable, str(TOP / "tests/executors/copier.py")]}}
GB, MB = 10**9, 10**6
PEER = os.environ.get("ROUNDS_PEER")  # the Python with Flower, or nothing
report = {}


def say(name, what, **figures):
    report[name] = figures
    shown = "  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items())
    print(f"{name:10} {what}\n{'':10} {shown}\n", flush=True)


def float_file(path, size):
    """A safetensors file of about `size` bytes, written in large pieces."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size // 4 * 4]}}).encode()
    header += b" " * (-len(header) % 8)
    block = os.urandom(1 << 20)
    block = bytes(b & 0x3f if i % 4 == 3 else b for i, b in enumerate(block))  # no NaN, no infinity
    with open(path, "wb", buffering=4 << 20) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        left = size // 4 * 4
        while left > 0:
            file.write(block[:left])
            left -= len(block)
    return path


class Sampler:
    """The most own memory (without the page cache) that processes had while it watched, in MB."""

    def __init__(self, **processes):
        self.processes, self.most, self.stop = processes, dict.fromkeys(processes, 0), threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stop.wait(0.01):
            for name, process in self.processes.items():
                self.most[name] = max(self.most[name], process.own_memory() / MB)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def mean(home):
    output = subprocess.check_output([BUILD / "tests/bench/bench_mean", home, "8", "200", "2"])
    figures = json.loads(output)
    blocks = json.loads(subprocess.check_output([BUILD / "tests/bench/bench_mean", home, "8", "200", "2", "weighted_mean", "int8_blocks"]))
    say("mean", "weighted mean of 8 x 200 MB float32 from the page cache, 2 threads, GB/s of input", **figures,
        to_saxpy=figures["mean"] / figures["saxpy"], to_triad=figures["mean"] / figures["triad"],
        int8_blocks=blocks["mean"], int8_to_float32=blocks["mean"] / figures["mean"])


def robust(home, count=32, size=50):
    """Each on as many threads as there are processors, beside NumPy in memory; the pass is the plain mean over the same files."""
    import numpy as np

    def ours(name):
        return json.loads(subprocess.check_output([BUILD / "tests/bench/bench_mean", home, str(count), str(size), "2", name]))

    def rate(work):
        begun = time.monotonic()
        work()
        return count * size * MB / (time.monotonic() - begun) / GB
    x = np.random.default_rng(1).standard_normal((count, size * MB // 4), dtype=np.float32)
    trim = int(0.2 * count)
    numpy_median = rate(lambda: np.median(x, axis=0))
    numpy_trimmed = rate(lambda: np.partition(x, (trim, count - trim - 1), axis=0)[trim:count - trim].mean(axis=0))
    product = rate(lambda: x @ x.T)
    del x
    figures = {name: ours(name) for name in ("weighted_mean", "median", "trimmed_mean", "krum")}
    rates = {name: figure["mean"] for name, figure in figures.items()}
    pass_and_product = 1 / (1 / rates["weighted_mean"] + 1 / product)
    say("robust", f"aggregators of {count} x {size} MB float32, GB/s of input", **rates, numpy_median=numpy_median,
        numpy_trimmed=numpy_trimmed, matrix_product=product, median_to_numpy=rates["median"] / numpy_median,
        trimmed_to_numpy=rates["trimmed_mean"] / numpy_trimmed, krum_multiple=pass_and_product / rates["krum"],
        own_mb=max(figure["own_mb"] for figure in figures.values()))


def simulation(home, sites=100, rounds=50):
    """How much of the processors' time the trainers had, of all that passed from the first round to the last."""
    table, job = home / "digits.csv", home / "job.json"
    parts = [(TOP / f"tests/data/digits/hospital-{name}.csv").read_text().splitlines(True) for name in "abcd"]
    table.write_text(parts[0][0] + "".join(line for part in parts for line in part[1:]))
    spec = json.loads((TOP / "deploy/examples/digits.json").read_text())
    del spec["sites"]
    spec["params"]["rounds"] = rounds
    job.write_text(json.dumps(spec))
    popen = subprocess.Popen([BUILD / "client/rounds", "simulate", job, "--data", table, "--sites", str(sites), "--label", "digit",
                              "--to", home / "model", "-o", "json"], stdout=subprocess.PIPE, text=True)
    trained, seen = 0.0, {}
    tick = os.sysconf("SC_CLK_TCK")
    while popen.poll() is None:
        time.sleep(0.2)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            if "(rounds-trainer)" in stat:
                fields = stat.rsplit(")", 1)[1].split()
                seen[pid] = (int(fields[11]) + int(fields[12])) / tick
    trained = sum(seen.values())
    output = popen.stdout.read()
    done = json.loads(output[output.index("{\n"):])

    def moment(text):
        return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float("0" + text[19:-1])
    seconds = moment(done["finished"]) - moment(done["started"])
    peer = {}
    if PEER:
        asked = subprocess.run([PEER, TOP / "tests/bench/peer_flower.py", table, str(sites), "20"], capture_output=True, text=True, check=True)
        flower = json.loads(asked.stdout.splitlines()[-1])
        peer = {"flower_round_ms": flower["round_ms"], "flower_training_ms": flower["training_ms"],
                "flower_to_rounds": flower["round_ms"] / (seconds / rounds * 1000)}
    say("simulation", f"{sites} sites, {rounds} rounds of the digits job on {os.cpu_count()} processors", seconds=seconds,
        round_ms=seconds / rounds * 1000, trainers_cpu_seconds=trained,
        orchestration_share=1 - trained / (seconds * os.cpu_count()), **peer)


def curl(deployment, *words, url=None):
    site = ["--cacert", deployment.data / "ca.pem", "-sS", "--fail", "-o", "/dev/null"]
    subprocess.run(["curl", *map(str, site), *map(str, words), url], check=True)


def tus(deployment, path):
    """One upload by curl, as any client would; returns seconds of the bytes' way."""
    size = path.stat().st_size
    created = deployment.api.raw("POST", "/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": str(size)})
    begun = time.monotonic()
    curl(deployment, "-H", f"Authorization: Bearer {deployment.token}", "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0",
         "-H", "Content-Type: application/offset+octet-stream", "-H", "Expect:", "-X", "PATCH", "-T", path,
         url=deployment.url + created.headers["Location"])
    return time.monotonic() - begun


class Bare:
    def __init__(self, deployment, directory):
        self.directory = directory
        self.popen = subprocess.Popen([BUILD / "tests/bench/bare_server", deployment.data / "server.pem",
                                       deployment.data / "server.key", directory], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.url = f"https://localhost:{self.popen.stdout.readline().strip()}"
        self.deployment = deployment

    def put(self, path, name="up"):
        begun = time.monotonic()
        curl(self.deployment, "-H", "Expect:", "-T", path, url=f"{self.url}/{name}")
        return time.monotonic() - begun

    def get(self, name):
        begun = time.monotonic()
        curl(self.deployment, url=f"{self.url}/{name}")
        return time.monotonic() - begun

    def close(self):
        self.popen.stdin.close()
        self.popen.wait()


def warm_page_cache(home):
    """Memory that a virtual machine has freed for some seconds may have gone back to its host: new pages are then slow for
    whoever gets them. So each of those who are compared begins with pages that were in use just now."""
    path = home / "warm"
    with open(path, "wb", buffering=0) as file:
        for _ in range(2 * GB // (8 * MB)):
            file.write(bytes(8 * MB))
    path.unlink()


def disk_rate(home):
    """GB/s of a plain write of 1 GB that ends with fsync: nothing durable can be faster."""
    block, path = os.urandom(2 * MB), home / "disk"
    begun = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for _ in range(GB // len(block)):
            file.write(block)
        os.fsync(file.fileno())
    seconds = time.monotonic() - begun
    path.unlink()
    return GB / seconds / GB


def transfer(home):
    deployment = Deployment(home)
    deployment.start()
    path = float_file(home / "file", GB)
    bare = Bare(deployment, home)
    size, best, disk = path.stat().st_size, {}, 0
    for turn in range(3):
        warm_page_cache(home)
        disk = max(disk, disk_rate(home))
        warm_page_cache(home)
        best["bare_up"] = min(best.get("bare_up", 99), bare.put(path))
        (home / "up").unlink()
        warm_page_cache(home)
        with open(path, "r+b") as file: # another blob each time: to replace one would also have to free its pages
            file.seek(-4, os.SEEK_END)
            file.write(bytes([turn, 0, 0, 0x3f]))
        best["up"] = min(best.get("up", 99), tus(deployment, path))
        with open(path, "rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        begun = time.monotonic()
        curl(deployment, "-H", f"Authorization: Bearer {deployment.token}", url=f"{deployment.url}/api/v1/blobs/{digest}")
        best["down"] = min(best.get("down", 99), time.monotonic() - begun)
        best["bare_down"] = min(best.get("bare_down", 99), bare.get("file"))
    bare.close()
    deployment.close()
    rates = {key: size / seconds / GB for key, seconds in best.items()}
    say("transfer", "1 GB over HTTPS: uploaded, digest checked and durable; downloaded; GB/s beside a bare libmicrohttpd and the disk",
        **rates, disk=disk, up_to_bare=rates["up"] / rates["bare_up"], up_to_disk=rates["up"] / disk, down_to_bare=rates["down"] / rates["bare_down"])


def memory(home):
    deployment = Deployment(home)
    deployment.start()
    path = float_file(home / "file", GB)
    sites = [SiteClient(deployment, f"s{i}", datasets=["none"]) for i in range(8)]
    for site in sites:
        site.claim(wait=0)

    def send(site, last):
        """Its own update: the last bytes differ. Streamed from a copy that is removed again."""
        task, own = site.claim(), home / site.name / "update"
        shutil.copyfile(path, own)
        with open(own, "r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(bytes([last, 0, 0, 0x3f]))
        created = site.raw("POST", "/api/v1/uploads", headers={
            "Tus-Resumable": "1.0.0", "Upload-Length": str(own.stat().st_size)})
        curl(deployment, "--cert", site.session.cert[0], "--key", site.session.cert[1], "-H", "Tus-Resumable: 1.0.0", "-H",
             "Upload-Offset: 0", "-H", "Content-Type: application/offset+octet-stream", "-H", "Expect:", "-X", "PATCH", "-T", own,
             url=deployment.url + created.headers["Location"])
        with open(own, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        own.unlink()
        return task, "sha256:" + digest
    tus(deployment, path)
    with open(path, "rb") as file:
        initial = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    job = deployment.submit(sites=[s.name for s in sites], initial_model=initial, lease_seconds=3600,
                            params={"rounds": 1, "evaluate_last": False})
    with Sampler(server=deployment.server) as uploading:
        done = [send(site, i) for i, site in enumerate(sites)]
        for site, (task, update) in list(zip(sites, done))[:-1]:
            site.result(task, update)
    with Sampler(server=deployment.server) as aggregating:
        begun = time.monotonic()
        sites[-1].result(*done[-1])
        deployment.wait_for(job, "completed", seconds=300)
        seconds = time.monotonic() - begun
    deployment.close()
    say("memory", "the server's own memory, page cache excluded, with 8 x 1 GB, MB", uploading_mb=uploading.most["server"],
        aggregating_mb=aggregating.most["server"], aggregate_seconds=seconds)


def bare_cost(deployment, home, path, sites):
    """The same bytes without Rounds: each site's download and upload at once, and a SHA-256 of all at both ends."""
    bare = Bare(deployment, home)
    begun = time.monotonic()
    for what in (lambda i: bare.get(path.name), lambda i: bare.put(path, f"up-{i}")):
        threads = [threading.Thread(target=what, args=(i,)) for i in range(sites)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    moved = time.monotonic() - begun
    for i in range(sites):
        (home / f"up-{i}").unlink()
    bare.close()
    begun = time.monotonic()
    with open(path, "rb") as file:
        hashlib.file_digest(file, "sha256")
    one = time.monotonic() - begun
    # Each site hashes what it gets and what it made, the server what it gets and again before it aggregates; two at a time.
    return moved + one * 4 * sites / 2


def round_of(home, name, sites, size, rounds=3, link=False):
    deployment = Deployment(home)
    deployment.start()
    running = {f"site-{i}": deployment.start_site(f"site-{i}", executors=COPIER) for i in range(sites)}
    deployment.connected(*running)
    with Sampler(server=deployment.server, **running) as sampler:
        job = deployment.submit(executor="copier", sites=sorted(running), trainer={"size": size, "link": link}, lease_seconds=600,
                                params={"rounds": rounds, "evaluate_last": False}, retention={"updates": 1, "models": 1})
        deployment.wait_for(job, "completed", seconds=3000)
    rows = deployment.api.get(f"/jobs/{job}/rounds")["items"]
    training = {m["round"]: m["value"] for m in deployment.api.get(f"/jobs/{job}/metrics?name=train_seconds&site=")["items"]}

    def seconds(text):
        return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float("0" + text[19:-1])
    times = [seconds(r["finished"]) - seconds(r["started"]) - training.get(r["number"], 0) for r in rows if r["number"]]
    deployment.close()
    for folder in [deployment.data / "blobs", *(home / name for name in running)]:
        shutil.rmtree(folder)
    bare = bare_cost(deployment, home, float_file(home / "file", size), sites)
    say(name, f"a round of {sites} sites with a {size / MB:.0f} MB model, training excluded: seconds, as a multiple of bare "
        "transfer and SHA-256, and own memory in MB", seconds=min(times), bare_seconds=bare, multiple=min(times) / bare,
        server_mb=sampler.most["server"], site_mb=max(v for k, v in sampler.most.items() if k != "server"))


def small(home):
    deployment = Deployment(home)
    deployment.start()
    names = [f"site-{i}" for i in range(8)]
    for name in names:
        deployment.start_site(name, executors=COPIER)
    deployment.connected(*names)
    job = deployment.submit(executor="copier", sites=names, trainer={"size": 1000},
                            params={"rounds": 300, "evaluate_last": False}, retention={"history": 1000})
    deployment.wait_for(job, "completed", seconds=120)
    deployment.close()
    connection = sqlite3.connect(deployment.data / "rounds.db")
    starts = [row[0] for row in connection.execute("SELECT started_us FROM round WHERE number > 20 ORDER BY number")]
    training = connection.execute("SELECT avg(value) FROM metric WHERE name = 'train_seconds' AND site = ''").fetchone()[0] * 1000
    gaps = sorted((b - a) / 1000 for a, b in zip(starts, starts[1:]))
    say("small", "a FedAvg round with a 1 KB model and 8 sites, milliseconds", median_ms=statistics.median(gaps),
        p95_ms=gaps[len(gaps) * 95 // 100], of_which_training_ms=training)


def median_gap(deployment, skip):
    """Milliseconds from one round's start to the next one's, of the rounds after the first `skip`."""
    connection = sqlite3.connect(deployment.data / "rounds.db")
    starts = [row[0] for row in connection.execute("SELECT started_us FROM round WHERE number > ? ORDER BY number", (skip,))]
    connection.close()
    return statistics.median((b - a) / 1000 for a, b in zip(starts, starts[1:]))


def crowd_rounds(home, count, rounds):
    """A crowd whose sites deliver at once: what a site and round cost the server, and what is left of them after a minute."""
    deployment = Deployment(home)
    deployment.start()
    crowd = Crowd(deployment, count, work=True)
    initial = deployment.api.upload(float_file(home / "model", 1000).read_bytes())
    before = deployment.server.processor_seconds()
    job = deployment.submit(sites=crowd.names, initial_model=initial, params={"rounds": rounds, "evaluate_last": False})
    deployment.wait_for(job, "completed", seconds=900)
    cpu = deployment.server.processor_seconds() - before
    milliseconds = median_gap(deployment, 1) / count
    if count >= 1000:
        time.sleep(60)
    kilobytes = (deployment.server.own_memory() - crowd.memory_before) / count / 1000
    taken, _ = crowd.delivered()
    assert taken == count * rounds, taken
    deployment.close()
    return milliseconds, cpu * 1000 / taken, kilobytes


def daemon_cpu(home, count, rounds):
    """Processor time of rounds-site for a task, its executor's not counted: milliseconds."""
    deployment = Deployment(home)
    deployment.start()
    names = [f"site-{i}" for i in range(count)]
    running = [deployment.start_site(name, executors=COPIER) for name in names]
    deployment.connected(*names)

    def all_rounds(number):
        job = deployment.submit(executor="copier", sites=names, trainer={"size": 1000}, params={"rounds": number, "evaluate_last": False})
        deployment.wait_for(job, "completed", seconds=600)
        return sum(site.processor_seconds() for site in running)
    begun = all_rounds(2)  # connections open
    milliseconds = (all_rounds(rounds) - begun) * 1000 / count / rounds
    deployment.close()
    return milliseconds


def growth(home):
    figures = {}
    for count, rounds in ((10, 300), (100, 60), (1000, 7), (3000, 4)):
        part = home / str(count)
        part.mkdir()
        figures[f"ms_{count}"], figures[f"server_cpu_ms_{count}"], kilobytes = crowd_rounds(part, count, rounds)
        if count >= 1000:
            figures[f"kb_{count}"] = kilobytes
    milliseconds = [figure for name, figure in figures.items() if name.startswith("ms_")]
    for count, rounds in ((10, 100), (100, 10)):
        part = home / f"daemons-{count}"
        part.mkdir()
        figures[f"site_cpu_ms_{count}"] = daemon_cpu(part, count, rounds)
    say("growth", "10 to 3,000 sites in one process, a 1 KB model: ms and server CPU for each site and round, greatest to least ms; "
        "own KB of the server for each a minute after its last task; CPU of rounds-site for a task", flat=max(milliseconds) / min(milliseconds), **figures)


def polls(home, count=10000):
    deployment = Deployment(home)
    deployment.start()
    begun = time.monotonic()
    crowd = Crowd(deployment, count)
    took = time.monotonic() - begun
    time.sleep(1)
    each = (deployment.server.own_memory() - crowd.memory_before) / count
    initial = deployment.api.upload(b"\x02\0\0\0\0\0\0\0{}")
    submitted = time.monotonic()
    deployment.submit(sites=[f"wait-{count // 2}"], initial_model=initial, params={"rounds": 1})
    name, at = crowd.first_answered()
    assert name == f"wait-{count // 2}", name
    crowd.close()
    deployment.close()
    say("polls", f"{count} sites waiting over TLS: own memory for each, and from submission until the task is there",
        kilobytes_each=each / 1000, task_ms=(at - submitted) * 1000, prepare_seconds=took)


def site(home):
    deployment = Deployment(home)
    deployment.start()
    stripped = home / "rounds-site"
    subprocess.run(["strip", "-o", stripped, BUILD / "client/rounds-site"], check=True)
    deployment.join("a")
    begun = time.monotonic()
    a = deployment.start_site("a")
    wait_until(lambda: "msg=ready" in a.text(), pause=0.001)
    ready = time.monotonic() - begun
    deployment.connected("a")
    time.sleep(1)
    status = {line.split(":")[0]: line.split()[1] for line in open(f"/proc/{a.pid}/status") if ":" in line and len(line.split()) > 1}
    deployment.close()
    say("site", "rounds-site: stripped size, resident and own memory when idle, from start to ready",
        stripped_kb=stripped.stat().st_size / 1000, resident_mb=int(status["VmRSS"]) / 1024, own_mb=int(status["RssAnon"]) / 1024,
        ready_ms=ready * 1000)


PARTS = {"mean": mean, "robust": robust, "simulation": simulation, "transfer": transfer, "memory": memory, "small": small, "growth": growth, "polls": polls, "site": site,
         "round": lambda home: round_of(home, "round", 4, 419 * MB)}


def touch_memory():
    """A virtual machine gets its memory when it first touches it, at a fifth of the speed: that is not to be measured."""
    available = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable:"))
    with mmap.mmap(-1, min(8 * GB, available // 2)) as room:
        for at in range(0, len(room), mmap.PAGESIZE):
            room[at] = 1


def main(words):
    chosen = [word for word in words if not word.startswith("--")] or list(PARTS)
    parts = {name: PARTS[name] for name in chosen}
    if "--large" in words:
        parts["large"] = lambda home: round_of(home, "large", 6, 3350 * MB, rounds=1, link=True)
    if {"transfer", "memory", "round", "large"} & set(parts):
        touch_memory()
    for name, part in parts.items():
        home = pathlib.Path(tempfile.mkdtemp(prefix=f"rounds-bench-{name}-"))
        try:
            part(home)
        finally:
            shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
