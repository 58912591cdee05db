"""The house is in order: who may include whom, what lies at the top, what the documents promise."""
import re
import subprocess

import pytest

from harness.deployment import TOP

FILES = subprocess.check_output(["git", "ls-files"], cwd=TOP, text=True).splitlines()
SOURCES = [path for path in FILES if path.endswith((".c", ".h"))]

# Each room, and the rooms that it may include beside itself. The longest prefix of a file's path decides.
ARROWS = {
    "common": [],
    "server/http": ["common"],
    "server/store": ["common"],
    "server/blobs": ["common"],
    "server/aggregate": ["common"],
    "server/observe": ["common", "server/store", "server/engine/engine.h"],
    "server/auth": ["common", "server/store"],
    "server/audit": ["common", "server/store"],
    "server/workflows": ["common", "server/engine/workflow.h"],
    "server/engine": ["common", "server/store", "server/blobs", "server/aggregate"],
    "server/routes": ["common", "server/http", "server/store", "server/blobs", "server/auth", "server/audit", "server/engine", "server/observe",
                      "server/aggregate/summary.h"],
    "server/main.c": ["common", "server"],
    "server/backup.c": ["common", "server/backup.h", "server/store", "server/blobs"],
    "server/backup.h": ["common"],
    "server/commands.c": ["common", "server"],
    "server/commands.h": ["common", "server"],
    "client": ["common"],
    "client/site": ["common", "client/http.h", "client/transfer.h", "client/authority.h"],
    "client/tables": ["common"],
    "client/cli": ["common", "client/tables", "client/http.h", "client/transfer.h", "client/authority.h"],
    "client/trainers": ["common", "client/tables"],
}

# A library stays in its room.
LIBRARIES = {
    r"<sqlite3\.h>": "server/store/db.c",
    r"<microhttpd\.h>": "server/http/",
    r"<gnutls/": "server/http/",
    r"<curl/": ("client/http.c", "server/observe/webhook"),
    r"<cblas\.h>": ("client/trainers/", "server/aggregate/", "common/blas/"),
    r"<csv\.h>": ("client/tables/", "client/cli/split.c"),
    r"<(zlib|iconv)\.h>": "client/tables/",
}


def room_of(path):
    return max((room for room in ARROWS if path == room or path.startswith(room + "/")), key=len, default=None)


@pytest.mark.parametrize("path", [p for p in SOURCES if not p.startswith("tests/")])
def test_arrows_point_one_way(path):
    room = room_of(path)
    assert room, f"{path} belongs to no room"
    text = (TOP / path).read_text()
    for included in re.findall(r'#include "([^"]+)"', text):
        assert (TOP / included).exists(), f"{path} includes {included} by a path that is not from the top"
        allowed = [room, *ARROWS[room]]
        assert any(included == a or included.startswith(a + "/") for a in allowed), f"{path} may not include {included}"
    if "json_pack(" in text:
        assert "common/json.h" in text or path == "common/json.h", f"{path}: jansson's json_pack fails without a word"
    for pattern, home in LIBRARIES.items():
        if re.search(f"#include {pattern}", text):
            assert path.startswith(home), f"{path} includes {pattern}, which stays in {home}"


def test_sql_stays_in_the_store():
    words = re.compile(r'"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|PRAGMA) ')
    for path in SOURCES:
        if not path.startswith(("server/store/", "tests/")):
            assert not words.search((TOP / path).read_text()), path


def test_only_workflows_name_aggregators_and_server_steps():
    """All others ask the row: server/aggregate/aggregators.c, server_steps.c."""
    rows = re.compile(r'const struct (?:aggregator|server_step) \w+ = \{\s*\.name = "(\w+)"')
    names = {name for path in SOURCES if path.startswith("server/aggregate/") for name in rows.findall((TOP / path).read_text())}
    assert {"weighted_mean", "combination", "boosters", "adam", "scaffold", "cox"} <= names
    for path in [p for p in SOURCES if p.startswith("server/") and not p.startswith(("server/aggregate/", "server/workflows/"))]:
        for name in names - {"mean", "sum", "total", "median"}:  # these are words of tables and metrics, too
            assert f'"{name}"' not in (TOP / path).read_text(), f"{path} knows {name}"


def test_what_only_sqlite_knows_has_a_name():
    """Of the store's SQL, what another database would refuse stands in dialect.h, or in the files that it names."""
    own = re.compile(r"\b(INDEXED|CROSS JOIN|PRAGMA|julianday|strftime|rowid|RETURNING|INSERT OR|json_(extract|each|group_array)|ifnull|iif|instr|randomblob)\b"
                     r"|ON CONFLICT DO UPDATE|IS (NOT )?(\?|\(SELECT)")
    for path in [p for p in SOURCES if re.match(r"server/store/.*\.c$", p) and not re.search(r"/(db|charts|migrations)\.c$", p)]:
        for text in re.findall(r'"(?:[^"\\]|\\.)*"', (TOP / path).read_text()):
            assert not own.search(text), f"{path}: {text}"


def test_rows_of_jobs_tasks_and_rounds_move_only_by_comparing():
    """A statement that sets a state names the state that it leaves, and stands in the file of its noun."""
    setter = re.compile(r'UPDATE (job|task|round) SET state\b.*?(?=,\s*"[a-z]*",)', re.S)
    for path in [p for p in SOURCES if p.startswith("server/")]:
        for found in setter.finditer((TOP / path).read_text()):
            assert path == f"server/store/{found[1]}s.c" and re.search(r"AND state = \?\d", found[0]), f"{path}: {found[0]}"


def test_time_and_randomness_are_handed_in():
    """Rooms that a test runs through a simulated day ask their world (common/world.h), never the machine."""
    asks = re.compile(r"\b(clock_(gettime|steady_us|wall_us|boot_id)|time|gettimeofday|getrandom|RAND_bytes|rand|random|world_real)\(")
    rooms = ("server/engine/", "server/store/", "server/auth/", "server/observe/", "server/audit/", "server/workflows/")
    for path in [p for p in SOURCES if p.startswith(rooms)]:
        for number, line in enumerate((TOP / path).read_text().splitlines(), 1):
            assert not asks.search(line), f"{path}:{number} asks the machine: {line.strip()}"


def test_nothing_else_lies_at_the_top():
    allowed = {"CMakeLists.txt", "README.md", "LICENSE", "server", "client", "common", "api", "web", "tests", "deploy"}
    assert {path.split("/")[0] for path in FILES if not path.startswith(".")} <= allowed


def test_each_folder_says_what_it_is_for():
    for folder in ("common", "server", "client"):
        assert (TOP / folder / "CMakeLists.txt").read_text().startswith("#")
    for guide in ("README.md", "api/README.md", "client/README.md", "deploy/README.md", "tests/README.md",
                  "tests/data/README.md"):
        assert len((TOP / guide).read_text()) > 400, guide


def test_links_between_the_guides_lead_somewhere():
    for path in [p for p in FILES if p.endswith(".md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (TOP / path).read_text()):
            if "://" not in target:
                assert ((TOP / path).parent / target).exists(), f"{path} links to {target}"


def test_files_and_functions_stay_readable():
    for path in [p for p in SOURCES if not p.startswith("tests/")]:
        lines = (TOP / path).read_text().splitlines()
        assert len(lines) <= 500, path
        start = 0
        for number, line in enumerate(lines):
            if line == "{":
                start = number
            if line == "}":
                assert number - start <= 62, f"{path}:{start}"


def test_the_executor_protocol_is_documented():
    guide = (TOP / "client/README.md").read_text()
    work = (TOP / "client/site/work.c").read_text()
    document = work[work.index("static json_t *task_document"):]
    document = document[:document.index("\n}")]
    for name in set(re.findall(r'"([a-z_]{2,})"', document)) - {"task", "datasets"}:
        assert f"`{name}`" in guide, f"client/README.md does not speak of {name}"
    for name in ("progress", "result", "error", "log"):
        assert f'"{name}"' in guide
