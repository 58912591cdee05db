"""How it looks and holds: phones, the dark, assistive technology, a lost server, large jobs, hostile names, many watchers."""
import re
import sqlite3
import statistics
import threading
import time

import pytest

from conftest import example
from harness.deployment import HOSPITALS, TOP, Deployment, wait_until

PLACES = ["", "jobs", "jobs/new", "sites", "sites/hospital-a", "people", "audit", "account", "about", "about/api", "about/guide"]
VIEWS = ["glance", "metrics", "sites", "models", "lineage", "events", "spec"]


@pytest.fixture(scope="module")
def done(clinic):
    """A job that is over and one whose matrix there is."""
    job = clinic.api.post("/jobs", example())["id"]
    cross = clinic.api.post("/jobs", example(name="Cross", workflow="cross_site_evaluation", params={}))["id"]
    clinic.wait_for(job, "completed"), clinic.wait_for(cross, "completed")
    return job, cross


@pytest.mark.parametrize("name, how", [("light", {}), ("dark", {"dark": True}), ("phone", {"width": 390, "height": 800}),
                                       ("phone-dark", {"width": 390, "height": 800, "dark": True})])
def test_every_page_is_accessible_and_fits(clinic, done, seats, name, how):
    seat = seats(clinic, **how).enter()
    job, cross = done
    for place in PLACES + [f"jobs/{job}/{view}" for view in VIEWS] + [f"jobs/{cross}/matrix", f"jobs/compare?ids={job},{cross}"]:
        seat.go(place)
        seat.page.wait_for_load_state("networkidle") if "session" in place else time.sleep(0.4)
        seat.check_access(f"{name} {place}")
        over = seat.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{name} {place} is {over} pixels too wide"
    for place, picture in (("", "overview"), (f"jobs/{job}", "job"), ("jobs", "jobs")):
        seat.go(place)
        time.sleep(0.6)
        seat.shot(f"{name}-{picture}", whole=True)


def within(bound, measure, tries=8):
    """Each of the times in ms, the least of a few tries, is within the bound: what else the machine does slows, and never quickens."""
    least = measure()
    for _ in range(tries - 1):
        if max(least) < bound:
            break
        least = [min(times) for times in zip(least, measure())]
    assert max(least) < bound, least
    return max(least)


def test_the_page_is_small_and_comes_at_once(clinic, seats):
    sizes = {path.name: path.stat().st_size for path in (TOP / "web/dist").glob("*.gz")}
    assert sum(sizes.values()) < 200_000, sizes
    seat = seats(clinic).enter()
    sent = []
    seat.page.on("request", lambda request: sent.append(request.url))

    def paint():
        seat.page.reload()
        seat.page.get_by_role("heading", name="Overview").wait_for()
        return [seat.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")]
    within(1000, paint)
    assert all(url.startswith(clinic.url) for url in sent), "nothing comes from elsewhere"
    headers = clinic.api.raw("GET", "/").headers
    assert "unsafe" not in headers["Content-Security-Policy"] and "default-src 'none'" in headers["Content-Security-Policy"]
    asset = re.search(r'/assets/main-\w+\.js', clinic.api.raw("GET", "/").text)[0]
    assert "immutable" in clinic.api.raw("GET", asset).headers["Cache-Control"]
    for path in ("/assets/..%2f..%2fetc%2fpasswd", "/assets/.built", "/assets/%2e%2e", "/assets/none.js"):
        assert clinic.api.raw("GET", path).status_code == 404


def test_by_keyboard_alone(clinic, done, desk):
    page = desk.go(f"jobs/{done[0]}")
    canvas = page.get_by_role("img", name=re.compile("^Timeline"))
    canvas.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
    canvas.focus()
    before = canvas.screenshot()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    wait_until(lambda: canvas.screenshot() != before, what="the timeline to be drawn anew")
    page.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


def test_a_server_that_goes_and_comes_back_under_an_open_page(chromium, seats, tmp_path):
    deployment = Deployment(tmp_path)
    web = ("--web-dir", TOP / "web/dist")
    deployment.start(*web)
    try:
        deployment.start_site("hospital-a")
        deployment.connected("hospital-a")
        job = deployment.submit(name="Goes on", params={"rounds": 400}, trainer={"seconds": 0.4})
        seat = seats(deployment).enter()
        page = seat.go(f"jobs/{job}")
        page.locator("h1 .state-running").wait_for()
        shown = page.locator(".status b").first
        deployment.server.kill()
        page.get_by_text("The connection to the server is lost").wait_for()
        seat.shot("lost")
        before = int(shown.inner_text())
        time.sleep(3)
        deployment.start(*web)
        page.get_by_text("The connection to the server is lost").wait_for(state="hidden", timeout=30000)
        wait_until(lambda: int(shown.inner_text()) > before, what="the page to go on by itself")
    finally:
        deployment.close()


HOSTILE = ["<script>window.hurt=1</script>", "<img src=x onerror='window.hurt=1'>", "\u202egnp.exe\u202c", "x" * 200,
           "'\"><svg onload=window.hurt=1>", "{{7*7}} ${7*7}", "مرحبا بالعالم", "a\u0000b".replace("\u0000", "\u0007")]


def test_hostile_names_are_text(clinic, seats):
    jobs = [clinic.api.post("/jobs", {"name": name, "dataset": "none", "executor": "puppet", "params": {"rounds": 1}})["id"] for name in HOSTILE]
    for job in jobs:
        clinic.wait_for(job, "completed")
    # A hospital may name a metric or fail with whatever text it likes.
    failing = clinic.submit(name="fails", trainer={"do": "say", "message": "<b onclick=window.hurt=1>reason</b>" + "y" * 300}, max_attempts=1,
                            params={"failure_policy": "fail"})
    clinic.wait_for(failing, "failed")
    for how in ({}, {"width": 390, "height": 800}):
        seat = seats(clinic, **how).enter()
        for place in ["", "jobs"] + [f"jobs/{job}" for job in jobs] + [f"jobs/{failing}", f"jobs/{failing}/events", f"jobs/compare?ids={','.join(jobs[:4])}"]:
            seat.go(place)
            time.sleep(0.3)
            assert seat.page.evaluate("window.hurt") is None, place
            assert seat.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, place
        seat.go("jobs")
        seat.page.get_by_text(HOSTILE[0], exact=True).wait_for()
        seat.shot(f"hostile-{how.get('width', 1280)}", whole=True)


def fill(deployment, job, rounds, sites):
    """A long history, written where the server keeps it; the job itself is real and over."""
    db = sqlite3.connect(deployment.data / "rounds.db")
    begun = db.execute("SELECT created_us FROM job WHERE id = ?", (job,)).fetchone()[0]
    names = [f"hospital-{i:02}" for i in range(sites)]
    step = 2_000_000
    for number in range(2, rounds + 1):
        start = begun + number * step
        db.execute("INSERT INTO round(job, number, state, started_us, aggregating_us, finished_us) VALUES(?, ?, 'done', ?, ?, ?)",
                   (job, number, start, start + 1_500_000, start + 1_700_000))
        for i, name in enumerate(names):
            took = 600_000 + (number * 37 + i * 101) % 500 * 1000 + (1_500_000 if (number * i) % 97 == 96 else 0)
            db.execute("INSERT INTO task(id, job, round, kind, site, state, lease_us, attempts, weight, timings, created_us, leased_us,"
                       " finished_us) VALUES(?, ?, ?, 'train', ?, 'done', 60000000, 1, 100, ?, ?, ?, ?)",
                       (f"{number}-{i}-{job}", job, number, name,
                        f'{{"download": 0.1, "train": {took / 1e6 - 0.2}, "upload": 0.1}}', start, start + 20_000, start + 20_000 + took))
            db.execute("INSERT INTO metric(job, round, site, name, value) VALUES(?, ?, ?, 'accuracy', ?)",
                       (job, number, name, 1 - 1 / (1 + number * (1 + i / sites))))
        db.execute("INSERT INTO metric(job, round, site, name, value) VALUES(?, ?, '', 'accuracy', ?)", (job, number, 1 - 1 / number))
    db.execute("UPDATE job SET round = ?, rounds = ? WHERE id = ?", (rounds, rounds, job))
    db.commit()
    db.close()


FRAMES = """async (act) => {
  const element = document.querySelector(act.selector);
  const box = element.getBoundingClientRect();
  const times = [];
  for (let i = 0; i < 20; i += 1) {
    const before = performance.now();
    if (act.keys) element.dispatchEvent(new KeyboardEvent("keydown", {key: act.keys[i % act.keys.length], bubbles: true}));
    else element.dispatchEvent(new MouseEvent("mousemove", {clientX: box.left + 100 + i * 20, clientY: box.top + 80, bubbles: true}));
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    times.push(performance.now() - before);
  }
  return times;
}"""


def test_a_thousand_rounds_of_64_sites_stay_quick(chromium, seats, tmp_path):
    deployment = Deployment(tmp_path)
    deployment.start("--web-dir", TOP / "web/dist")
    try:
        deployment.start_site("hospital-a")
        deployment.connected("hospital-a")
        job = deployment.submit(name="Large", params={"rounds": 1})
        deployment.wait_for(job, "completed")
        assert deployment.server.stop() == 0
        fill(deployment, job, 1000, 64)
        deployment.start("--web-dir", TOP / "web/dist")
        seat = seats(deployment).enter()
        page = seat.go(f"jobs/{job}")
        page.get_by_role("img", name=re.compile("Timeline of 100[0-9] rounds at 6[0-9] sites")).wait_for()

        def keys():
            page.get_by_role("button", name="All", exact=True).click()
            return page.evaluate(FRAMES, {"selector": ".gantt canvas", "keys": ["+", "ArrowRight", "-", "ArrowLeft", "-", "0"]})
        slowest_key = within(200, keys)
        page.get_by_role("button", name="All", exact=True).click()
        time.sleep(0.3)
        seat.shot("large-timeline", whole=True)
        seat.go(f"jobs/{job}/metrics")
        page.get_by_role("img", name=re.compile("accuracy by round")).wait_for()
        page.locator(".u-over").first.wait_for()
        slowest_move = within(200, lambda: page.evaluate(FRAMES, {"selector": ".u-over"}))
        seat.shot("large-metrics", whole=True)
        print(f"the slowest frame of the timeline {slowest_key:.0f} ms, of the curves {slowest_move:.0f} ms")
    finally:
        deployment.close()


def test_a_hundred_thousand_jobs_are_paged(chromium, seats, tmp_path):
    deployment = Deployment(tmp_path)
    deployment.start("--web-dir", TOP / "web/dist")
    try:
        first = deployment.submit(name="The oldest")
        deployment.api.post(f"/jobs/{first}/abort")
        assert deployment.server.stop() == 0
        db = sqlite3.connect(deployment.data / "rounds.db")
        db.execute("INSERT INTO job(id, project, name, workflow, state, priority, spec, submitted_by, created_us, finished_us, trace)"
                   " WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
                   " SELECT printf('f%07d-0000-7000-8000-%012d', i, i), 'default', printf('job %06d', (i * 7919) % 100000), 'fedavg',"
                   " 'completed', 0, spec, 'eve', created_us, finished_us, '' FROM n, job WHERE job.id = ?", (first,))
        db.commit()
        db.close()
        deployment.start("--web-dir", TOP / "web/dist")
        seat = seats(deployment).enter()
        page = seat.go("jobs")
        page.get_by_role("row").nth(50).wait_for()
        page.get_by_role("button", name="Show more").click()
        page.get_by_role("row").nth(100).wait_for()
        began = time.monotonic()
        page.get_by_label("Search by name or id").fill("job 012345")
        page.get_by_role("row").nth(2).wait_for(state="detached")
        page.get_by_role("link", name="job 012345").wait_for()
        assert time.monotonic() - began < 3
        page.get_by_label("Search by name or id").fill("")
        page.get_by_role("button", name=re.compile("^Name")).click()
        page.get_by_role("link", name="job 099999").wait_for()
    finally:
        deployment.close()


def test_five_hundred_watchers_do_not_slow_a_job(clinic):
    """The same job with nobody watching and with 500 streams open; an event is read and encoded once for all."""
    import socket
    import ssl

    def run():
        job = clinic.submit(name="timed", params={"rounds": 40}, sites=HOSPITALS[:2])
        row = clinic.wait_for(job, "completed")
        tasks = clinic.api.get(f"/jobs/{job}/timeline")["rounds"]
        return (tasks[-1][4] - tasks[1][2]) / 40, row
    alone = statistics.median(run()[0] for _ in range(3))
    context = ssl.create_default_context(cafile=str(clinic.data / "ca.pem"))
    streams, counts, stop = [], [0] * 500, threading.Event()

    def read():
        import selectors
        chosen = selectors.DefaultSelector()
        for i, stream in enumerate(streams):
            stream.setblocking(False)
            chosen.register(stream, selectors.EVENT_READ, i)
        while not stop.is_set():
            for key, _ in chosen.select(0.1):
                try:
                    while data := key.fileobj.recv(65536):
                        counts[key.data] += data.count(b"event: event")
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
    for _ in range(500):
        stream = context.wrap_socket(socket.create_connection(("127.0.0.1", clinic.port)), server_hostname="localhost")
        stream.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {clinic.token}\r\n\r\n".encode())
        streams.append(stream)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        time.sleep(1)
        watched = statistics.median(run()[0] for _ in range(3))
        wait_until(lambda: len(set(counts)) == 1 and counts[0] > 3 * 40 * 5, what="all watchers to have seen the same")
    finally:
        stop.set()
        reader.join()
        for stream in streams:
            stream.close()
    print(f"a round took {alone:.1f} ms alone, {watched:.1f} ms with 500 watchers")
    # This process, which reads 500 TLS streams, shares the two cores: what is excluded is a slowing by the number of watchers.
    assert watched < 5 * alone + 50


def test_a_viewer_never_waits_for_what_will_not_come(clinic, done, seats):
    seat = seats(clinic).enter("victor", role="viewer")
    job, cross = done
    for place in PLACES + [f"jobs/{job}/{view}" for view in VIEWS] + [f"jobs/{cross}/matrix", f"jobs/compare?ids={job},{cross}", "audit"]:
        seat.go(place)
        time.sleep(0.5)
        try:
            seat.page.get_by_text("Loading…").first.wait_for(state="detached", timeout=10000)
        except Exception as never:
            raise AssertionError(f"{place} waits for ever") from never
        assert len(seat.page.locator("main").inner_text()) > 30, place
