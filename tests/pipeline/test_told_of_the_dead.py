"""delivery.dead: who asked for it by name is told of each death, in the transaction of the death, and of no other tenant's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from relay.claim import Claimer
from relay.database import Session
from relay.model import Delivery, ErrorClass, Outcome, Result, State
from relay.record import Recorder
from tests.conftest import Connection
from tests.pipeline.commands import emit, rowhook
from tests.pipeline.conftest import PATIENCE, AddHook, Hook, one
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]

DEAD = "SELECT count(*) FROM rowhook.delivery AS d WHERE d.endpoint_id = %s AND d.state = 'dead'"
TOLD = "SELECT count(*) FROM rowhook.event WHERE type = 'delivery.dead'"
# Postgres itself says by which transaction each was written.
TOGETHER = """
SELECT count(*) FROM rowhook.event AS e JOIN rowhook.delivery AS d ON rowhook.public_id('dlv', d.created_at, d.id) = e.row_key
 WHERE e.type = 'delivery.dead' AND d.xmin = e.xid::xid
"""
LEASED = """
INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, leased_at, instance_id, attempts, free_tries)
SELECT e.id, e.slot, %s, 'leased', now(), 999, 5, 4 FROM rowhook.event AS e RETURNING rowhook.public_id('dlv', created_at, id)
"""


def told(receiver: Receiver, path: str, count: int) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.wait_for(count, path=path)]


def deaths(conn: Connection, hook: Hook, count: int) -> None:
    eventually(lambda: one(conn, DEAD, hook.id) == count)


def test_who_asked_is_told_and_of_the_death_of_that_nobody(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    receiver.answer("/hook", 503)
    receiver.answer("/deaf", 500)
    hook = add_hook(receiver.url(), ["order.*"], tenant="7")
    add_hook(receiver.url("/operator"), ["delivery.dead"])
    add_hook(receiver.url("/seven"), ["delivery.dead"], tenant="7")
    deaf = add_hook(receiver.url("/deaf"), ["delivery.dead"], retry_schedule=[])
    others = [
        add_hook(receiver.url("/eight"), ["delivery.dead"], tenant="8"),
        add_hook(receiver.url("/star"), ["*", "delivery.*"]),
    ]
    relays()
    event = emit(conn, tenant="7")
    (seven,) = told(receiver, "/seven", 1)
    (operator,) = told(receiver, "/operator", 1)
    assert operator == seven
    ((delivery, attempts),) = conn.execute(
        "SELECT rowhook.public_id('dlv', created_at, id), attempts FROM rowhook.delivery WHERE endpoint_id = %s", [hook.id]
    ).fetchall()
    assert attempts > 1
    assert (seven["type"], seven["tenant"]) == ("delivery.dead", "7")
    assert seven["data"] == {
        "delivery_id": delivery,
        "endpoint_id": hook.public_id,
        "url": receiver.url(),
        "event_id": event,
        "event_type": "order.placed",
        "attempts": attempts,
        "error_class": "http_5xx",
        "status_code": 503,
    }
    deaths(conn, deaf, 1)
    emit(conn, type="order.last")
    told(receiver, "/star", 2)
    assert one(conn, TOLD) == one(conn, TOGETHER) == 1
    assert [one(conn, "SELECT count(*) FROM rowhook.delivery WHERE endpoint_id = %s", other.id) for other in others] == [0, 2]


def test_an_operators_endpoint_is_no_tenants_business_and_each_death_counts(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, dsn: str
) -> None:
    """A tenant's event that dies on its way to the operator, twice."""
    receiver.answer("/hook", 410)
    hook = add_hook(receiver.url(), ["order.*"])
    tenants = add_hook(receiver.url("/seven"), ["delivery.dead"], tenant="7")
    add_hook(receiver.url("/operator"), ["delivery.dead"])
    relays()
    emit(conn, tenant="7")
    (first,) = told(receiver, "/operator", 1)
    assert (first["tenant"], first["data"]["status_code"], first["data"]["attempts"]) == (None, 410, 1)
    rowhook(dsn, "endpoint", "resume", hook.public_id)
    rowhook(dsn, "replay", "--endpoint", hook.public_id)
    second = told(receiver, "/operator", 2)[-1]
    assert (second["data"]["delivery_id"], second["data"]["attempts"]) == (first["data"]["delivery_id"], 2)
    assert one(conn, "SELECT count(*) FROM rowhook.delivery WHERE endpoint_id = %s", tenants.id) == 0


def reclaim(dsn: str) -> int:
    async def once() -> int:
        session = Session(dsn, "claim")
        try:
            return await Claimer(session, 1).reclaim()
        finally:
            await session.close()

    return asyncio.run(once())


def test_one_that_was_lost_too_often_is_told_of(add_hook: AddHook, conn: Connection, dsn: str) -> None:
    hook = add_hook("https://example.com/hook", tenant="7")
    add_hook("https://example.com/told", ["delivery.dead"])
    emit(conn)
    delivery = one(conn, LEASED, hook.id)
    assert reclaim(dsn) == 1
    assert one(conn, TOLD) == one(conn, TOGETHER) == 1
    data = one(conn, "SELECT data FROM rowhook.event WHERE type = 'delivery.dead'")
    assert (data["delivery_id"], data["error_class"], data["status_code"], data["attempts"]) == (delivery, "lost", None, 5)


def test_a_result_that_can_not_be_stored_is_told_of_as_it_is_recorded(
    add_hook: AddHook, conn: Connection, dsn: str, delivery: Callable[..., Delivery]
) -> None:
    """Two deaths in a batch, and one of them Postgres refuses: each is then recorded by itself."""
    hook = add_hook("https://example.com/hook")
    add_hook("https://example.com/told", ["delivery.dead"])
    odd, plain = (delivery(hook, instance=1) for _ in range(2))
    now = time.monotonic()
    outcomes = [Outcome(now, 0.1, status_code=code, error_class=ErrorClass.HTTP_5XX, error="-") for code in (70_000, 503)]

    async def record() -> None:
        session = Session(dsn, "record")
        recorder = Recorder(session, PATIENCE, lambda batch: None)
        for of, outcome in zip((odd, plain), outcomes, strict=True):
            recorder.put(Result(of, outcome, State.DEAD, counted=True))
        recording = asyncio.create_task(recorder.run())
        await asyncio.wait((recording, asyncio.create_task(recorder.flushed())), return_when=asyncio.FIRST_COMPLETED)
        recording.cancel()
        await session.close()

    asyncio.run(record())
    assert one(conn, DEAD, hook.id) == 2
    assert one(conn, TOLD) == one(conn, TOGETHER) == 2
    said = "SELECT data ->> 'error_class', data ->> 'status_code' FROM rowhook.event WHERE type = 'delivery.dead' ORDER BY id"
    assert conn.execute(said).fetchall() == [("internal", None), ("http_5xx", "503")]


def test_where_nobody_would_get_it_there_is_no_event(add_hook: AddHook, conn: Connection, dsn: str) -> None:
    """No endpoint names it but one that was removed, and another tenant's."""
    hook = add_hook("https://example.com/hook", tenant="7")
    removed = add_hook("https://example.com/removed", ["delivery.dead"])
    conn.execute("UPDATE rowhook.endpoint SET state = 'removed' WHERE id = %s", [removed.id])
    add_hook("https://example.com/eight", ["delivery.dead"], tenant="8")
    emit(conn)
    one(conn, LEASED, hook.id)
    assert reclaim(dsn) == 1
    assert one(conn, DEAD, hook.id) == 1
    assert one(conn, TOLD) == 0
