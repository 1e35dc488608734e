"""Why an endpoint has not got an event: each reason once, as a relay leaves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay import trail
from relay.trail import Reason
from tests.api.making import open_as_api
from tests.cli.conftest import Rowhook, anywhere, in_folder, rowhook, settings  # noqa: F401 - fixtures
from tests.conftest import Connection

Ask = Callable[..., dict[str, Any]]
EVENT = "SELECT id, slot, rowhook.public_id('evt', occurred_at, id, slot) FROM rowhook.event ORDER BY id DESC LIMIT 1"
DELIVERY = """
INSERT INTO rowhook.delivery
       (event_id, event_slot, endpoint_id, state, attempts, due_at, leased_at, ended_at, instance_id, order_key)
SELECT e.id, e.slot, %(endpoint)s, %(state)s, %(attempts)s, CASE %(state)s WHEN 'pending' THEN now() END, now(),
       CASE WHEN %(state)s IN ('dead', 'delivered', 'cancelled') THEN now() END,
       CASE %(state)s WHEN 'leased' THEN 1 END, %(order_key)s
  FROM (SELECT id, slot FROM rowhook.event ORDER BY id DESC LIMIT 1) AS e
RETURNING id
"""
DISPATCHED = "UPDATE rowhook.cursor SET seen = pg_current_snapshot()"


@pytest.fixture
def add(conn: Connection) -> Callable[..., int]:
    def add(events: str = "{expense.*}", **columns: Any) -> int:
        columns = {"url": "https://example.com/", "events": events, **columns}
        values = ", ".join(f"%({name})s" for name in columns)
        row = conn.execute(
            f"INSERT INTO rowhook.endpoint ({', '.join(columns)}) VALUES ({values}) RETURNING id", columns
        ).fetchone()
        assert row is not None
        return int(row[0])

    return add


@pytest.fixture
def deliver(conn: Connection) -> Callable[..., int]:
    def deliver(endpoint: int, state: str, attempts: int = 1, error: str | None = None, order_key: str | None = None) -> int:
        row = conn.execute(
            DELIVERY, {"endpoint": endpoint, "state": state, "attempts": attempts, "order_key": order_key}
        ).fetchone()
        assert row is not None
        if error:
            conn.execute(
                "INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class)"
                " VALUES (%s, %s, %s, 1, now(), %s)",
                [row[0], endpoint, attempts, error],
            )
        return int(row[0])

    return deliver


def emit(conn: Connection, tenant: str | None = "7") -> None:
    conn.execute("SELECT rowhook.emit('expense.created', '{\"id\": 1}', '42', %s)", [tenant])


def ways(dsn: str, conn: Connection, tenant: str | None = None) -> dict[int, tuple[Reason | None, str | None]]:
    """Of the last event: reason and words, by the endpoints' internal ids."""
    row = conn.execute(EVENT).fetchone()
    assert row is not None
    with open_as_api(dsn) as connection:
        found = trail.trail(connection, row[0], row[1], tenant)
    assert found is not None
    ids = dict(conn.execute("SELECT public_id, id FROM rowhook.endpoint").fetchall())
    return {ids[stop.endpoint_id]: (stop.reason, stop.because) for stop in found.stops}


def test_nothing_was_made_of_it(dsn: str, conn: Connection, add) -> None:
    wanted, others, another = add(), add("{bill.*,order.paid}"), add(tenant="8")
    emit(conn)
    assert ways(dsn, conn)[wanted][0] is Reason.NOT_DISPATCHED
    conn.execute(DISPATCHED)
    later, removed, unconcerned = add(), add(), add("{bill.*}")
    conn.execute("UPDATE rowhook.endpoint SET state = 'removed' WHERE id = ANY (%s)", [[removed, unconcerned]])
    conn.execute("UPDATE rowhook.endpoint SET created_at = now() - interval '1 day' WHERE id = %s", [removed])
    found = ways(dsn, conn)
    assert {id: reason for id, (reason, _) in found.items()} == {
        wanted: Reason.CHANGED,
        others: Reason.PATTERN,
        another: Reason.TENANT,
        later: Reason.ADDED_LATER,
        removed: Reason.REMOVED,
    }
    assert found[others][1] == "it wants bill.*, order.paid, which expense.created is not"
    assert found[another][1] == "it gets events of tenant 8 only; this one's is 7"


def test_an_event_for_one_endpoint_alone(dsn: str, conn: Connection, add) -> None:
    """Whatever that one's patterns are."""
    addressee, other = add("{bill.*}"), add()
    conn.execute("INSERT INTO rowhook.event (op, type, endpoint_id) VALUES ('own', 'webhook.ping', %s)", [addressee])
    found = ways(dsn, conn)
    assert (found[addressee][0], found[other][0]) == (Reason.NOT_DISPATCHED, Reason.ADDRESSED)


def test_within_a_window_what_lies_behind_the_position_has_been_dispatched(dsn: str, conn: Connection, add) -> None:
    endpoint = add()
    emit(conn)
    window = (
        "UPDATE rowhook.cursor SET target = pg_current_snapshot(), fresh_from = 0,"
        " position = (SELECT max(id) + %s FROM rowhook.event)"
    )
    conn.execute(window, [-1])
    assert ways(dsn, conn)[endpoint][0] is Reason.NOT_DISPATCHED
    conn.execute(window, [0])
    assert ways(dsn, conn)[endpoint][0] is Reason.CHANGED


def test_it_waits_or_has_ended(dsn: str, conn: Connection, add, deliver) -> None:
    emit(conn)
    conn.execute(DISPATCHED)
    states = ("delivered", "leased", "dead", "cancelled")
    ended = {state: add() for state in states}
    for state, endpoint in ended.items():
        deliver(endpoint, state, 2, "http_5xx" if state == "dead" else None)
    paused = add(state="paused", state_reason="paused by hand")
    opened = add(circuit="open", opened_at="2026-01-01", probe_at="2026-01-01")
    retried, fresh = add(), add()
    for endpoint, attempts, error in ((paused, 0, None), (opened, 1, "refused"), (retried, 3, "timeout"), (fresh, 0, None)):
        deliver(endpoint, "pending", attempts, error)
    found = ways(dsn, conn)
    assert {id: reason for id, (reason, _) in found.items()} == {
        ended["delivered"]: None,
        ended["leased"]: Reason.UNDER_WAY,
        ended["dead"]: Reason.FAILED,
        ended["cancelled"]: Reason.CANCELLED,
        paused: Reason.PAUSED,
        opened: Reason.CIRCUIT,
        retried: Reason.RETRY,
        fresh: Reason.WAITS,
    }
    assert found[ended["dead"]][1] == "a dead letter after 2 tries: http_5xx"
    assert found[paused][1] == "the endpoint is paused (paused by hand)"
    assert found[retried][1] == "try 3 failed (timeout); the next is due"


def test_an_ordered_endpoint_waits_for_the_row_s_earlier_event(dsn: str, conn: Connection, add, deliver) -> None:
    endpoint = add(ordered=True)
    for _ in range(2):
        emit(conn)
        deliver(endpoint, "pending", 0, order_key=":42")
    assert ways(dsn, conn)[endpoint][0] is Reason.ORDERED
    conn.execute("UPDATE rowhook.delivery SET state = 'dead', due_at = NULL, ended_at = now() WHERE id = 1")
    assert ways(dsn, conn)[endpoint][0] is Reason.WAITS


def test_a_tenant_is_told_of_its_own_endpoints(dsn: str, conn: Connection, add) -> None:
    add()
    add(tenant="8")
    mine = add(tenant="7")
    emit(conn)
    assert ways(dsn, conn, "7").keys() == {mine}


def test_explain(rowhook: Rowhook, conn: Connection, add, deliver) -> None:  # noqa: F811
    emit(conn)
    conn.execute(DISPATCHED)
    deliver(add(), "dead", 6, "refused")
    add("{bill.*}")
    row = conn.execute(EVENT).fetchone()
    assert row is not None
    told = rowhook("explain", row[2], "--json", ok=True).json
    assert (told["event"], told["type"], told["tenant"], told["dispatched"]) == (row[2], "expense.created", "7", True)
    assert [(stop["reason"], stop["state"], stop["attempts"]) for stop in told["endpoints"]] == [
        ("failed", "dead", 6),
        ("pattern", None, 0),
    ]
    said = rowhook("explain", row[2], ok=True).out
    assert "expense.created" in said and "a dead letter after 6 tries: refused" in said and "it wants bill.*" in said
    rowhook("explain", "evt_01KG8F2G0G0000000000019000").refused("there is no event evt_01KG8F2G0G0000000000019000")
    rowhook("explain", "dlv_1").refused("begins with evt_")


def test_its_filter_or_its_rate_says_no(dsn: str, conn: Connection, add, deliver) -> None:
    """As dispatch asked, by the same function."""
    filtered, failed, limited = add(filter="$.data.id > 1"), add(filter="$.data.id > 0"), add(rate="1/h")
    emit(conn)
    conn.execute(DISPATCHED)
    deliver(limited, "pending", 0)
    found = ways(dsn, conn)
    assert found[filtered] == (Reason.FILTER, "its filter $.data.id > 1 says: not matched")
    assert found[limited][0] is Reason.RATE
    assert found[failed][0] is Reason.CHANGED, "it would match now"
