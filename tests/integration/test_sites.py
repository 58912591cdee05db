"""What a site tells the server of itself: no more than its administrator chose, and to its administrator all of it."""
import pytest

from harness.deployment import DATA, Problem, SiteClient, wait_until  # noqa: F401


def told(rounds, site, dataset):
    tables = rounds.api.get(f"/sites/{site}").get("tables")
    return (tables or {}).get(dataset)


@pytest.mark.parametrize("describe, columns, rows", [("names", False, False), ("columns", True, False), ("counts", True, True)])
def test_a_site_tells_of_its_tables_what_its_administrator_chose(rounds, tmp_path, describe, columns, rows):
    table = "patient,age,height,died\n" + "".join(f"{i},{30 + i % 40},{150 + i % 50},{i % 2}\n" for i in range(1234))
    (tmp_path / "ward.csv").write_text(table)
    (tmp_path / "few.csv").write_text("\n".join(table.splitlines()[:13]) + "\n")
    ward = {"path": str(tmp_path / "ward.csv"), "label": "died", "ignore": ["patient"]}
    few = {**ward, "path": str(tmp_path / "few.csv"), "min_cell": 13}
    rounds.start_site("a", describe=describe,
                      datasets={"ward": ward, "few": few, "hidden": {**ward, "describe": "names"}, "own": {**ward, "describe": "columns"}})
    rounds.connected("a")
    # A claim waits for 30 s: none is waited out before the tables are told.
    wait_until(lambda: told(rounds, "a", "own"), 25, "the first table to be told")
    if columns:
        known = wait_until(lambda: told(rounds, "a", "few") and told(rounds, "a", "ward"), 25, "the tables to be told")
        assert known["columns"] == ["age", "height"] and known["label"] == "died"
        assert known["rows"] == (1200 if rows else None), "two digits"
        assert told(rounds, "a", "few")["rows"] is None, "12 are fewer than its min_cell"
    else:
        assert told(rounds, "a", "ward") is None and told(rounds, "a", "few") is None
    assert told(rounds, "a", "hidden") is None and told(rounds, "a", "own")["rows"] is None
    assert "patient" not in str(rounds.api.get("/sites/a"))


def test_a_table_with_more_names_than_can_be_told_stops_nothing(rounds, tmp_path):
    names = [f"a_gene_with_a_long_name_{i:06}" for i in range(4000)]
    rows = "".join(",".join("1" for _ in names) + f",{i % 2}\n" for i in range(20))
    (tmp_path / "genes.csv").write_text(",".join(names) + ",out\n" + rows)
    a = rounds.start_site("a", describe="counts", datasets={"genes": {"path": str(tmp_path / "genes.csv"), "label": "out"}})
    rounds.connected("a")
    known = wait_until(lambda: told(rounds, "a", "genes"), 25, "the table to be told")
    assert known["columns"] is None and known["label"] == "out" and known["rows"] == 20
    assert "too many to be told" in a.text()


def test_the_sites_own_log_says_whose_work_it_does_with_what(rounds):
    a = rounds.start_site("a")
    job = rounds.submit(name="dose", params={"rounds": 1})
    rounds.wait_for(job, "completed")
    model = rounds.job(job)["model"]
    update = next(t for t in rounds.tasks(job, round=1) if t["kind"] == "train")["update"]
    lines = a.text().splitlines()
    begins = next(line for line in lines if "task begins" in line and "kind=train" in line)
    for words in ("job=dose", "round=1", "dataset=none", "executor=puppet", "model=sha256:", "bytes=",
                  f"submitted_by={rounds.job(job)['submitted_by']}"):
        assert words in begins, begins
    ends = next(line for line in lines if "result delivered" in line and update in line)
    assert "bytes=" in ends
    measured = next(line for line in lines if "task begins" in line and "kind=evaluate" in line)
    assert model in measured
