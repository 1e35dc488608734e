"""Endpoints beside each other: slow, refusing, paused, edited, removed, of one tenant. None stands in another's way."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from relay.claim import Claimer
from relay.model import Claimed, Room
from relay.tenure import TURN
from tests.conftest import Connection
from tests.pipeline.commands import emit, rowhook
from tests.pipeline.conftest import AddHook, Gate, add_user, amounts, becomes, hang, one, spend
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]


async def hanging(request: web.Request) -> web.Response:
    await hang(request)
    return web.Response()


def test_hanging_and_refusing_endpoints_do_not_hold_up_a_healthy_one(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    receiver.answer("/hanging", hanging)
    add_hook(receiver.url("/hanging"), timeout="8s")
    add_hook(refusing, retry_schedule=["1h"])
    add_hook(receiver.url("/healthy"))
    relays()
    for start in range(0, 600, 100):
        spend(conn, user_id, range(start, start + 100))
    arrived = receiver.wait_for(600, timeout=40, path="/healthy")
    assert amounts(arrived) == dict.fromkeys(range(600), 1)


def test_for_one_that_refuses_more_is_claimed_once_a_turn_however_quickly_it_does(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its room is free again at once: as many claims as it allows would be made at the others' expense."""
    claims = 0

    async def counted(self: Claimer, room: Room, real: Callable[..., Awaitable[list[Claimed]]] = Claimer.claim) -> list[Claimed]:
        nonlocal claims
        claims += 1
        return await real(self, room)

    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = add_hook(f"http://127.0.0.1:{closed.getsockname()[1]}/", retry_schedule=["1h"])
    add_hook(receiver.url("/healthy"))
    relays(circuit_after="1h")
    monkeypatch.setattr(Claimer, "claim", counted)
    begun = time.monotonic()
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 400)")
    tried = "SELECT count(*) FROM rowhook.delivery WHERE endpoint_id = %s AND failures > 0"
    eventually(lambda: one(conn, tried, refusing.id) >= 80)
    assert claims <= 4 + 1.5 * (time.monotonic() - begun) / TURN
    receiver.wait_for(400, path="/healthy")


def test_a_dozen_hanging_endpoints_leave_room_from_the_beginning(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, gate: Gate
) -> None:
    """Before the first timeout: by their quarters of what may be in flight, and of what may wait, four would have taken all."""
    for number in range(12):
        receiver.answer(f"/hanging/{number}", gate.answer)
        add_hook(receiver.url(f"/hanging/{number}"), timeout="60s", retry_schedule=["1h"])
    add_hook(receiver.url("/healthy"))
    relays(max_in_flight="64")
    for start in range(0, 200, 20):
        spend(conn, user_id, range(start, start + 20))
    arrived = receiver.wait_for(200, timeout=40, path="/healthy")
    assert one(conn, "SELECT count(*) FROM rowhook.attempt WHERE error_class = 'timeout'") == 0
    assert amounts(arrived) == dict.fromkeys(range(200), 1)


def test_a_tenants_endpoint_gets_only_its_tenants_events(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    other = add_user(conn, "b@example.com")
    add_hook(receiver.url("/operator"))
    add_hook(receiver.url("/one"), tenant=str(user_id))
    add_hook(receiver.url("/other"), tenant=str(other))
    relays()
    spend(conn, user_id, [1, 2])
    spend(conn, other, [3])
    emit(conn)  # of no tenant
    receiver.wait_for(4, path="/operator")
    becomes(conn, {"delivered": 7})
    assert amounts(receiver.wait_for(2, path="/one")) == {1: 1, 2: 1}
    assert amounts(receiver.wait_for(1, path="/other")) == {3: 1}


def test_patterns_choose_and_own_types_must_be_named(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    for path, events in {"/all": ["*"], "/expenses": ["expense.*"], "/orders": ["order.placed", "bill.paid"]}.items():
        add_hook(receiver.url(path), events=events)
    add_hook(receiver.url("/own"), events=["endpoint.disabled"])
    receiver.answer("/gone", 410)
    add_hook(receiver.url("/gone"), events=["order.placed"])
    relays()
    spend(conn, user_id)
    emit(conn)
    (own,) = receiver.wait_for(1, path="/own")
    assert json.loads(own.body)["type"] == "endpoint.disabled"
    types = {
        path: sorted(json.loads(r.body)["type"] for r in receiver.wait_for(n, path=path))
        for path, n in (("/all", 2), ("/expenses", 1), ("/orders", 1))
    }
    assert types == {"/all": ["expense.created", "order.placed"], "/expenses": ["expense.created"], "/orders": ["order.placed"]}


def test_what_a_paused_endpoint_misses_flows_when_it_is_resumed(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, dsn: str
) -> None:
    hook = add_hook(receiver.url())
    relays()
    rowhook(dsn, "endpoint", "pause", hook.public_id)
    spend(conn, user_id, range(5))
    becomes(conn, {"pending": 5})
    assert not receiver.requests
    rowhook(dsn, "endpoint", "resume", hook.public_id)
    assert amounts(receiver.wait_for(5)) == dict.fromkeys(range(5), 1)


def test_what_a_paused_endpoint_misses_can_be_discarded(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, dsn: str
) -> None:
    hook = add_hook(receiver.url())
    relays()
    rowhook(dsn, "endpoint", "pause", hook.public_id)
    spend(conn, user_id, range(5))
    becomes(conn, {"pending": 5})
    rowhook(dsn, "endpoint", "resume", hook.public_id, "--discard")
    spend(conn, user_id, [9])
    assert amounts(receiver.wait_for(1)) == {9: 1}
    becomes(conn, {"cancelled": 5, "delivered": 1})


def test_a_retry_uses_the_url_as_it_was_edited(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, dsn: str
) -> None:
    receiver.answer("/old", 500)
    hook = add_hook(receiver.url("/old"), retry_schedule=["300ms"] * 20)
    relays()
    spend(conn, user_id)
    (first,) = receiver.wait_for(1, path="/old")[:1]
    rowhook(dsn, "endpoint", "edit", hook.public_id, "--url", receiver.url("/new"))
    again = receiver.wait_for(1, path="/new")[0]
    assert (again.body, again.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])


def test_an_endpoint_is_never_sent_more_at_once_than_it_takes(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    now, most = 0, 0

    async def count(_request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return web.Response()

    receiver.answer("/hook", count)
    add_hook(receiver.url(), max_in_flight=1)
    relays()
    spend(conn, user_id, range(50))
    receiver.wait_for(50, timeout=30)
    assert most == 1


def test_one_event_to_many_endpoints(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    for n in range(600):
        add_hook(receiver.url(f"/{n}"))
    relays()
    emit(conn)
    arrived = receiver.wait_for(600, timeout=40)
    assert len({r.path for r in arrived}) == 600
    becomes(conn, {"delivered": 600}, 20)
    assert one(conn, "SELECT count(*) FROM rowhook.attempt") == 600


def test_large_rows(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    add_hook(receiver.url())
    relays()
    text = "x" * 1_000_000
    for n in range(5):
        emit(conn, json.dumps({"n": n, "text": text}))
    arrived = receiver.wait_for(5, timeout=30)
    assert sorted(json.loads(r.body)["data"]["n"] for r in arrived) == list(range(5))


def test_a_retry_of_an_endpoint_removed_meanwhile_is_cancelled(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, dsn: str
) -> None:
    """1 A request is out. 2 Its endpoint is removed. 3 It fails: nobody would claim the retry."""
    gate = Gate()

    async def fail(request: web.Request) -> web.Response:
        await gate.answer(request)
        return web.Response(status=500)

    receiver.answer("/hook", fail)
    hook = add_hook(receiver.url())
    relays()
    spend(conn, user_id)
    receiver.wait_for(1)
    rowhook(dsn, "endpoint", "remove", hook.public_id)
    gate.open()
    becomes(conn, {"cancelled": 1})
