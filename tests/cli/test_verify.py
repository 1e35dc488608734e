"""rowhook verify: what it says, and how it ends."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Rowhook
from tests.conftest import Connection

BYPASS = (
    "SET session_replication_role = replica; INSERT INTO expenses (id, user_id, amount) VALUES (100, 1, 1);"
    "UPDATE expenses SET amount = 0 WHERE id = 2; DELETE FROM expenses WHERE id = 3; RESET session_replication_role"
)


@pytest.fixture
def spent(conn: Connection, finmind: str) -> Connection:
    conn.execute("INSERT INTO users (id, email, password_hash) VALUES (1, 'a@example.com', 'x')")
    conn.execute("INSERT INTO expenses (id, user_id, amount) SELECT i, 1, i FROM generate_series(1, 5) AS i")
    return conn


def test_a_table_that_its_events_prove(rowhook: Rowhook, spent: Connection) -> None:
    done = rowhook("verify", "expenses", ok=True)
    assert "every row that its events tell of is accounted for" in done.out
    assert done.err == ""
    said = rowhook("verify", "expenses", "--json", ok=True).json
    assert (said["table"], said["differing"], said["complete"], said["notes"]) == ("expenses", 0, True, [])
    assert said["rows"] == {"accounted": 5, "missing": 0, "stale": 0, "ghost": 0, "unproven": 0}


def test_rows_that_differ_are_listed_and_end_it_with_1(rowhook: Rowhook, spent: Connection) -> None:
    spent.execute(BYPASS)
    done = rowhook("verify", "public.expenses")
    assert done.code == 1
    assert "expenses: 3 rows differ (1 missing, 1 stale, 1 ghost)" in done.out
    assert "stale\t2\tamount" in done.out
    done = rowhook("verify", "expenses", "--json", "--limit", "1")
    assert done.code == 1
    assert done.json["differing"] == 3
    assert done.json["differences"] == [{"verdict": "ghost", "row_key": "3", "columns": None}]
    assert "2 more that differ are not listed" in rowhook("verify", "expenses", "--limit", "1").err


def test_what_a_reader_must_know_is_said(rowhook: Rowhook, spent: Connection) -> None:
    spent.execute("ALTER TABLE expenses ADD COLUMN extra int DEFAULT 1")
    rowhook("capture", "expenses", "--events", "insert,update", "--exclude", "id", "--pause", ok=True)
    spent.execute(
        "INSERT INTO rowhook.capture_failure (table_name, op, sqlstate, message) VALUES ('expenses', 'UPDATE', 'X', 'y')"
    )
    notes = "\n".join(rowhook("verify", "expenses", "--json").json["notes"])
    for part in (
        "column extra was not compared in 5 rows",
        "column id was not compared in 5 rows",
        "is paused",
        "not captured, and so not held against a row: delete, truncate",
        "1 statements went uncaptured",
        "the row key is not among the captured columns",
    ):
        assert part in notes
    spent.execute("DELETE FROM rowhook.capture_failure; SELECT rowhook.uncapture('expenses'); SELECT rowhook.capture('expenses')")
    (note,) = rowhook("verify", "expenses", "--json", ok=True).json["notes"]
    assert "had rows before it was captured" in note
    spent.execute("UPDATE expenses SET notes = 'x' WHERE id = 1; TRUNCATE rowhook.event")
    (note,) = rowhook("verify", "expenses", "--json", ok=True).json["notes"]
    assert "events were removed" in note


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("expense",), "did you mean expenses?"),
        (("users",), "table users is not captured"),
        (("expenses", "--limit", "-1"), "--limit"),
        (("categories",), "has no row key"),
    ],
)
def test_mistakes(rowhook: Rowhook, spent: Connection, arguments: tuple[str, ...], expected: str) -> None:
    spent.execute("SELECT rowhook.capture('categories', key => '{}')")
    rowhook("verify", *arguments).refused(expected)
