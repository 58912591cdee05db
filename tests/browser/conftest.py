"""A real server with the built dashboard, four real hospitals, and Debian's Chromium."""
import json
import shutil

import pytest
from playwright.sync_api import sync_playwright

from harness.deployment import HOSPITALS, TOP, Deployment

PASSWORD = "correct horse battery"
SHOTS = TOP / "build/tests/screenshots"
AXE = (TOP / "tests/node_modules/axe-core/axe.min.js").read_text()
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    assert path, "install Debian's chromium: deploy/install-packages.sh test"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """The server and its four hospitals, for all tests of a file."""
    deployment = Deployment(tmp_path_factory.mktemp("clinic"))
    deployment.start("--web-dir", TOP / "web/dist")
    for name in HOSPITALS:
        deployment.start_site(name)
    deployment.connected(*HOSPITALS)
    yield deployment
    deployment.close()


class Desk:
    """A person before a screen; whatever the page complains of is kept, and must be nothing at the end."""

    def __init__(self, chromium, deployment, width=1280, height=900, dark=False):
        self.deployment = deployment
        self.context = chromium.new_context(ignore_https_errors=True, viewport={"width": width, "height": height},
                                            color_scheme="dark" if dark else "light", locale="en-US", accept_downloads=True,
                                            has_touch=width < 600)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=deployment.url)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15000)
        self.complaints = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.heard(message))

    def heard(self, message):
        # A refused call is part of some tests, a lost connection of others; what the page itself says is not.
        if message.type == "error" and "Failed to load resource" not in message.text and "ERR_" not in message.text:
            self.complaints.append(message.text)

    def enter(self, name="ann", role="admin"):
        """Through a set-up link the first time, by password after that."""
        known = {user["name"]: user for user in self.deployment.api.get("/users")["items"]}
        if name not in known:
            self.page.goto(self.deployment.api.post("/users", {"name": name, "role": role})["setup_link"])
            self.page.get_by_label("Password").fill(PASSWORD)
            self.page.get_by_label("Once more").fill(PASSWORD)
            self.page.get_by_role("button", name="Open the account").click()
        else:
            self.page.goto(self.deployment.url)
            self.page.get_by_label("Name").fill(name)
            self.page.get_by_label("Password").fill(PASSWORD)
            self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Overview").wait_for()
        return self

    def go(self, where):
        self.page.goto(f"{self.deployment.url}/#/{where}")
        self.page.get_by_role("heading", level=1).wait_for()
        return self.page

    def shot(self, name, whole=False):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)

    def check_access(self, where):
        """axe: what keeps people with keyboards and screen readers out."""
        self.page.evaluate(AXE)
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        said = [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]} {v['nodes'][0].get('failureSummary', '')[:300]}" for v in found]
        assert not found, f"{where}: " + "\n".join(said)

    def leave(self):
        self.context.close()
        assert not self.complaints, self.complaints


@pytest.fixture
def desk(chromium, clinic):
    seat = Desk(chromium, clinic).enter()
    yield seat
    seat.leave()


@pytest.fixture
def seats(chromium):
    """seats(deployment, width=..., dark=...): further desks."""
    made = []

    def sit(deployment, **how):
        made.append(Desk(chromium, deployment, **how))
        return made[-1]
    yield sit
    for seat in made:
        seat.leave()


def example(**changes):
    spec = json.loads((TOP / "deploy/examples/wdbc.json").read_text())
    return {**spec, **changes}
