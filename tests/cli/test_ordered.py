"""rowhook endpoint add|edit --ordered, and endpoint skip."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Rowhook, Sent
from tests.conftest import Connection

URL = "https://example.com/hook"


@pytest.fixture
def waiting(rowhook: Rowhook, conn: Connection, endpoint: str, deliver: Callable[..., Sent]) -> str:
    """Made ordered with three deliveries of one key open, the first of them out; of events by hand, so of no table."""
    for state in ("leased", "pending", "pending"):
        deliver(endpoint, state, attempts=1)
    rowhook("endpoint", "edit", endpoint, "--ordered", ok=True)
    return endpoint


def states(conn: Connection) -> list[tuple[str, bool]]:
    return conn.execute("SELECT state, last_try FROM rowhook.delivery ORDER BY event_id").fetchall()


def test_ordered_is_an_option_and_is_shown(rowhook: Rowhook) -> None:
    added = rowhook("endpoint", "add", URL, "--ordered", "--json", ok=True).json
    assert added["ordered"] is True
    assert rowhook("endpoint", "edit", added["id"], "--description", "x", "--json", ok=True).json["ordered"] is True, "it stays"
    assert "ordered" in rowhook("endpoint", "show", added["id"], ok=True).out
    assert rowhook("endpoint", "edit", added["id"], "--unordered", "--json", ok=True).json["ordered"] is False
    assert rowhook("endpoint", "add", URL, "--json", ok=True).json["ordered"] is False


def test_what_is_open_gets_its_key_and_what_has_ended_does_not(
    rowhook: Rowhook, conn: Connection, endpoint: str, deliver: Callable[..., Sent]
) -> None:
    for state in ("delivered", "leased", "pending"):
        deliver(endpoint, state, attempts=1)
    rowhook("endpoint", "edit", endpoint, "--ordered", ok=True)
    keys = [key for (key,) in conn.execute("SELECT order_key FROM rowhook.delivery ORDER BY event_id").fetchall()]
    assert keys == [None, ":42", ":42"]


def test_skip_takes_the_first_and_all_takes_all(
    rowhook: Rowhook, conn: Connection, waiting: str, heard: Callable[[], int]
) -> None:
    heard()
    first = rowhook("endpoint", "skip", waiting, "--key", "42", "--json", ok=True).json
    assert first == {"id": waiting, "table": None, "key": "42", "cancelled": 0, "out": 1}
    assert states(conn) == [("leased", True), ("pending", False), ("pending", False)]
    assert heard() == 1
    done = rowhook("endpoint", "skip", waiting, "--key", "42", "--all", ok=True)
    assert done.out == f"{waiting}: row 42, cancelled deliveries: 2, out, and not tried again: 1\n"
    assert states(conn) == [("leased", True), ("cancelled", False), ("cancelled", False)]


def test_a_key_of_several_tables_needs_one(rowhook: Rowhook, conn: Connection, waiting: str) -> None:
    conn.execute("""
        WITH e AS (INSERT INTO rowhook.event (op, type, table_name, row_key)
                   VALUES ('insert', 'bill.created', 'bills', '42') RETURNING *)
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, due_at)
        SELECT e.id, e.slot, p.id, 'bills:42', now() FROM e, rowhook.endpoint AS p
    """)
    rowhook("endpoint", "skip", waiting, "--key", "42").refused("several tables", "bills", "--table")
    assert rowhook("endpoint", "skip", waiting, "--key", "42", "--table", "bills", "--json", ok=True).json["cancelled"] == 1


def test_mistakes(rowhook: Rowhook, waiting: str) -> None:
    rowhook("endpoint", "skip", waiting, "--key", "43").refused("'43'", waiting, "rowhook deliveries")
    rowhook("endpoint", "skip", waiting, "--key", "42", "--table", "bills").refused("'bills'")
    other = rowhook("endpoint", "add", URL, "--json", ok=True).json["id"]
    rowhook("endpoint", "skip", other, "--key", "42").refused(other, "not ordered", "--ordered")
    rowhook("endpoint", "skip", "end_nonsense", "--key", "42").refused("end_nonsense")
    rowhook("endpoint", "skip", waiting).refused("--key")
