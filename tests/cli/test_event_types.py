"""rowhook event types: what there is, since when, and what changed."""

from __future__ import annotations

from tests.cli.conftest import Rowhook
from tests.conftest import Connection


def test_versions_and_what_is_set_aside(rowhook: Rowhook, conn: Connection, finmind: str) -> None:
    conn.execute("SELECT rowhook.rule('expense.noted', 'expenses', 'insert', 'new.notes <> ''''')")
    conn.execute("ALTER TABLE expenses ADD COLUMN more int; ALTER TABLE expenses RENAME notes TO remarks")
    known = {one["name"]: one for one in rowhook("event", "types", "--json", ok=True).json}
    created = known["expense.created"]
    assert [(v["version"], v["compatible"]) for v in created["versions"]] == [(1, True), (2, True), (3, False)]
    assert created["versions"][2]["changes"] == [{"change": "renamed", "column": "remarks", "was": "notes", "compatible": False}]
    assert "remarks" in created["body_schema"]["properties"]["data"]["properties"]
    assert (created["set_aside"], known["expense.noted"]["set_aside"]) == (None, "column new.notes does not exist")
    assert {"schema.changed", "endpoint.disabled"} <= known.keys() and known["schema.changed"]["versions"] == []
    lines = rowhook("event", "types", ok=True).out.splitlines()
    (shown,) = [line for line in lines if line.startswith("expense.created")]
    assert shown.split("\t")[1:5] == ["expenses", "3", "renamed notes to remarks", "-"]
    (listed,) = rowhook("rule", "list", "--json", ok=True).json
    assert listed["set_aside"] == "column new.notes does not exist"
