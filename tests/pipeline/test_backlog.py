"""Much to do, or endpoints that take nothing: those who can take their events get them soon."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from aiohttp import web

from relay import pace, tenure
from relay.rooms import Rooms
from relay.tenure import Tenure
from tests.conftest import Connection
from tests.pipeline.commands import emit, rowhook
from tests.pipeline.conftest import AddHook, Gate, asleep, becomes, one, states
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]
MANY = "SELECT rowhook.emit('a.b', '1') FROM generate_series(1, %s)"
ROOM = 16  # in flight; a quarter of it for one endpoint
SOON = 2.5
LEASED = "SELECT count(*) FROM rowhook.delivery WHERE state = 'leased'"


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_an_event_behind_the_backlog_of_a_hanging_endpoint_is_delivered_soon(
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    mutant: bool,
) -> None:
    """1 5,000 events for an endpoint that hangs. 2 One for another, which this relay doesn't know yet.

    What finds no room is parked by the thousand. The mutant takes only as many at a time as it could lease, and waits each time.
    """
    if mutant:
        real = Tenure._room_for_events

        async def cautious(self: Tenure) -> object:
            room, chunk, size = await real(self)
            return room, min(chunk, room.capacity), size

        monkeypatch.setattr(Tenure, "_room_for_events", cautious)
    receiver.answer("/hangs", gate.answer)
    add_hook(receiver.url("/hangs"), ["a.*"], timeout="60s")
    relays(max_in_flight=str(ROOM))
    emit(conn, type="a.first")
    receiver.wait_for(1, path="/hangs")
    eventually(lambda: asleep(conn))
    conn.execute(MANY, [5000])
    add_hook(receiver.url("/healthy"), ["order.*"])
    emit(conn)
    if mutant:
        with pytest.raises(AssertionError, match="0 of 1 requests"):
            receiver.wait_for(1, path="/healthy", timeout=SOON)
    else:
        receiver.wait_for(1, path="/healthy", timeout=SOON)
        becomes(conn, {"leased": ROOM // 2, "pending": 5001 - ROOM // 2, "delivered": 1})


def test_three_hanging_endpoints_leave_room_for_a_healthy_one(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, gate: Gate
) -> None:
    receiver.answer("/hangs", gate.answer)
    for _ in range(3):
        add_hook(receiver.url("/hangs"), timeout="60s")
    add_hook(receiver.url("/healthy"))
    relays(max_in_flight=str(ROOM))
    conn.execute(MANY, [300])
    receiver.wait_for(300, path="/healthy")
    assert len(receiver.wait_for(12, path="/hangs")) == 12, "each as many as it may"


def test_a_backlog_that_an_endpoint_could_not_take_flows_when_it_can(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, gate: Gate
) -> None:
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), timeout="60s")
    relays(max_in_flight=str(ROOM))
    conn.execute(MANY, [2000])
    receiver.wait_for(ROOM // 4)
    eventually(lambda: states(conn).get("pending", 0) > 1900, what="the rest is parked")
    gate.open()
    receiver.answer("/hook", 200)
    becomes(conn, {"delivered": 2000}, timeout=20)
    assert len(receiver.requests) == 2000


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_who_was_quick_and_hangs_holds_the_room_for_a_second(
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    mutant: bool,
) -> None:
    """1 A receiver that was quick answers no more: hundreds are here for it. 2 An event for another. The mutant keeps them."""
    monkeypatch.setattr(pace, "AHEAD", 2.0)  # hundreds, however slow this machine is
    if mutant:
        monkeypatch.setattr(Rooms, "excess", lambda rooms: {})
    answered = iter(range(1500))

    async def quick_at_first(request: web.Request) -> web.Response:
        return web.Response() if next(answered, None) is not None else await gate.answer(request)

    receiver.answer("/hangs", quick_at_first)
    add_hook(receiver.url("/hangs"), ["a.*"], timeout="60s")
    add_hook(receiver.url("/healthy"), ["b.*"])
    relays(max_in_flight=str(ROOM))
    conn.execute(MANY, [4000])
    eventually(lambda: states(conn).get("delivered", 0) == 1500, 20)
    eventually(lambda: one(conn, LEASED) > 2 * ROOM, what="more is here than may be in flight twice")
    held = one(conn, LEASED)
    time.sleep(6 * pace.MEMORY)  # how quick it was is forgotten, and what it had room for by that is too much
    emit(conn, type="b.c")
    if mutant:
        time.sleep(SOON)
        assert [r for r in receiver.requests if r.path == "/healthy"] == []
    else:
        receiver.wait_for(1, path="/healthy", timeout=20)
        eventually(lambda: one(conn, LEASED) < held // 2, what="what is beyond its room was given back")
    gate.open()
    becomes(conn, {"delivered": 4001}, 20)


def test_what_a_paused_endpoint_held_is_others_room_at_once(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, gate: Gate, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its requests are still out, and nothing of what waited behind them will ever be recorded."""
    monkeypatch.setattr(tenure, "SHED_AFTER", 60.0)
    receiver.answer("/hangs", 200)
    hangs = add_hook(receiver.url("/hangs"), ["a.*"], timeout="60s")
    add_hook(receiver.url("/healthy"), ["b.*"])
    relays(max_in_flight=str(ROOM), max_queued_bytes="100000")
    emit(conn, type="a.b")
    becomes(conn, {"delivered": 1})
    receiver.answer("/hangs", gate.answer)
    conn.execute("SELECT rowhook.emit('a.b', to_json(repeat('x', 15000))) FROM generate_series(1, 6)")
    eventually(lambda: one(conn, LEASED) == 6)
    emit(conn, type="b.c")
    time.sleep(0.5)
    assert [r for r in receiver.requests if r.path == "/healthy"] == [], "there is no room for more bytes"
    rowhook(dsn, "endpoint", "pause", hangs.public_id)
    receiver.wait_for(1, path="/healthy", timeout=SOON)
