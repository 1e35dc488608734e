"""Filters: who gets what; one that fails on an event ends that delivery and nothing else; none can stop dispatch."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from relay.database import Session
from relay.dispatch import Dispatcher
from relay.model import Room
from tests.conftest import Connection
from tests.pipeline.commands import emit, rowhook
from tests.pipeline.conftest import AddHook, Hook, MutateFunction, amounts, attempts_of, becomes, one, run_text, spend
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Received, Receiver

Relays = Callable[..., LocalRelay]

NUL = '{"n": "\\u0000"}'
TRAIL = """
SELECT d.state, d.attempts, a.number, a.error_class, a.error FROM rowhook.delivery AS d
  LEFT JOIN rowhook.attempt AS a ON a.delivery_id = d.id WHERE d.endpoint_id = %(hook)s ORDER BY d.id
"""


def numbers(requests: list[Received], path: str) -> list[object]:
    return sorted(json.loads(request.body)["data"]["n"] for request in requests if request.path == path)


def test_an_endpoint_gets_what_its_filter_says_and_others_get_all(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, dsn: str, user_id: int
) -> None:
    """Before and after an edit; where it doesn't match there is no delivery."""
    large = add_hook(receiver.url("/large"), filter="$.data.amount > 1000")
    rises = add_hook(receiver.url("/rises"), filter="$.data.amount > $.previous.amount")
    everything = add_hook(receiver.url("/all"))
    relays()
    spend(conn, user_id, range(900, 1100))
    receiver.wait_for(200, path="/all")
    conn.execute("UPDATE expenses SET amount = amount + CASE WHEN amount > 1000 THEN 1 ELSE -1 END")
    receiver.wait_for(400, path="/all")
    becomes(conn, {"delivered": 400 + 198 + 99})
    assert amounts(r for r in receiver.requests if r.path == "/large") == amounts(
        r for r in receiver.requests if r.path == "/all" and json.loads(r.body)["data"]["amount"] > 1000
    )
    assert len(attempts_of(conn, rises)) == 99
    assert len(attempts_of(conn, everything)) == 400
    rowhook(dsn, "endpoint", "edit", large.public_id, "--filter", "$.data.amount < 1000")
    spend(conn, user_id, [5, 5000])
    receiver.wait_for(402, path="/all")
    eventually(lambda: len(attempts_of(conn, large)) == 199)
    assert [r for r in receiver.requests if r.path == "/large"][-1].body.count(b'"amount":5.00') == 1


@pytest.mark.parametrize("poison", [NUL, '{"n": 1e200000}'], ids=["nul", "number"])
def test_an_event_on_which_a_filter_fails_is_a_dead_letter_of_that_endpoint_alone(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, poison: str
) -> None:
    """Between hundreds of others of the same chunk; a replay sends it, because a person has said so."""
    hook = add_hook(receiver.url("/filtered"), filter="$.data.n >= 0")
    conn.execute("SELECT rowhook.emit('a.b', json_build_object('n', n)) FROM generate_series(1, 200) AS n")
    emit(conn, poison)
    conn.execute("SELECT rowhook.emit('a.b', json_build_object('n', n)) FROM generate_series(201, 400) AS n")
    add_hook(receiver.url("/all"))
    relay = relays()
    receiver.wait_for(401, path="/all", timeout=30)
    becomes(conn, {"delivered": 801, "dead": 1}, 30)
    assert numbers(receiver.requests, "/filtered") == list(range(1, 401))
    (dead,) = run_text(conn, "SELECT * FROM rowhook.dead_letters")
    assert (dead["endpoint_id"], dead["attempts"], dead["error_class"]) == (hook.public_id, 1, "internal")
    assert dead["error"].startswith("the endpoint's filter failed: the event can not be read by filters (")
    conn.execute("UPDATE rowhook.delivery SET state = 'pending', due_at = now(), ended_at = NULL WHERE state = 'dead'")
    conn.execute("SELECT pg_notify('rowhook_work', '')")
    receiver.wait_for(401, path="/filtered")
    eventually(lambda: attempts_of(conn, hook).count((2, 200, None)) == 1)
    assert relay.running


def test_a_filter_and_a_tenant_are_both_asked(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    """And nothing of another tenant's event is told, not even that a filter failed on it."""
    add_hook(receiver.url("/mine"), tenant="7", filter="$.data.n > 1")
    add_hook(receiver.url("/all"))
    relays()
    for tenant in ("7", "8"):
        for data in ('{"n": 1}', '{"n": 2}'):
            emit(conn, data, tenant=tenant)
    emit(conn, NUL, tenant="8")
    receiver.wait_for(5, path="/all")
    becomes(conn, {"delivered": 6})
    assert numbers(receiver.requests, "/mine") == [2]


async def look(dsn: str, instance: int, chunk: int = 100) -> None:
    session = Session(dsn, "dispatch", "filters")
    try:
        dispatcher = Dispatcher(session, instance)
        assert await dispatcher.take_role()
        while (await dispatcher.look(Room(100, 100), chunk)).events:
            pass
    finally:
        await session.close()


def trail(conn: Connection, hook: Hook) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in run_text(conn, TRAIL, {"hook": hook.id})]


async def test_the_beginning_anew_in_another_cluster_asks_filters_too(
    add_hook: AddHook, conn: Connection, dsn: str, instance: Callable[[], int]
) -> None:
    hook = add_hook("http://127.0.0.1:9/", filter="$.data.n > 1", shape="thin")
    for data in ('{"n": 1}', NUL, '{"n": 2}'):
        emit(conn, data)
    conn.execute("UPDATE rowhook.cursor SET system_identifier = system_identifier - 1")
    await look(dsn, instance())
    first, second = trail(conn, hook)
    assert first[:4] == ("dead", 1, 1, "internal")
    assert second == ("pending", 0, None, None, None)


async def test_what_is_for_one_endpoint_and_tells_of_no_row_goes_there_unasked(
    add_hook: AddHook, conn: Connection, dsn: str, instance: Callable[[], int]
) -> None:
    """A ping tells whether requests arrive. A row that is sent again is filtered like any other."""
    hook = add_hook("http://127.0.0.1:9/", filter="$.data.n > 1")
    conn.execute(
        "INSERT INTO rowhook.event (op, type, table_name, row_key, endpoint_id, data)"
        " VALUES ('own', 'webhook.ping', NULL, NULL, %(id)s, '{}'),"
        "        ('snapshot', 'a.snapshot', 'a', '1', %(id)s, '{\"n\": 1}'),"
        "        ('snapshot', 'a.snapshot', 'a', '2', %(id)s, '{\"n\": 2}')",
        {"id": hook.id},
    )
    await look(dsn, instance())
    sent = "SELECT e.type, e.row_key FROM rowhook.delivery AS d JOIN rowhook.event AS e ON e.id = d.event_id ORDER BY e.id"
    assert conn.execute(sent).fetchall() == [("webhook.ping", None), ("a.snapshot", "2")]


async def test_filters_that_take_too_long_get_fewer_events_at_once_and_fail_by_themselves(
    add_hook: AddHook, conn: Connection, dsn: str, instance: Callable[[], int], mutate_function: MutateFunction
) -> None:
    """The bound, as if it were always reached: events come one by one then, and only endpoints with filters are harmed."""
    mutate_function("rowhook.look", ("interval '4 s'", "interval '-1 s'"))
    slow, other = add_hook("http://127.0.0.1:9/", filter="$.data.n > 0"), add_hook("http://127.0.0.1:9/")
    for _ in range(20):
        emit(conn)
    await look(dsn, instance())
    assert {row[:4] for row in trail(conn, slow)} == {("dead", 1, 1, "internal")}
    assert "took too long" in str(trail(conn, slow)[0][4])
    assert len(trail(conn, slow)) == len(trail(conn, other)) == 20
    assert {row[0] for row in trail(conn, other)} == {"leased"}


def test_explaining_says_the_same(conn: Connection, add_hook: AddHook) -> None:
    """One function for dispatch and for whoever asks why an endpoint got nothing."""
    add_hook("http://127.0.0.1:9/", filter="$.data.n > 1")
    emit(conn, '{"n": 1}')
    said = (
        "SELECT rowhook.filter_verdict(p.filter, e.type, e.data, e.previous)"
        "  FROM rowhook.event AS e, rowhook.endpoint AS p WHERE e.op <> 'probe'"
    )
    assert one(conn, said) == "not matched"
