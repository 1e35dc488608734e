"""Rates: held over all relays together, by the server's clock; smooth; nothing lost; nobody else held up; no circles.

Bounds are generous: a slow machine sends later, never sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from tests.conftest import Connection
from tests.pipeline.commands import emit, rowhook, the_delivery, the_endpoint
from tests.pipeline.conftest import AddHook, Hook, MutateQuery, becomes, one
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]

MANY = "SELECT rowhook.emit('a.b', json_build_object('n', n)) FROM generate_series(1, %s) AS n"


def claimed(conn: Connection, hook: Hook) -> list[datetime]:
    """When each of its tries was claimed, by the server's clock."""
    rows = conn.execute("SELECT leased_at FROM rowhook.delivery WHERE endpoint_id = %s AND leased_at IS NOT NULL", [hook.id])
    return sorted(at for (at,) in rows.fetchall())


def most_within(times: Sequence[datetime], seconds: float) -> int:
    """The most that any window of that length holds."""
    return max(sum(0 <= (t - start).total_seconds() < seconds for t in times) for start in times)


def test_a_rate_holds_over_two_relays_and_is_used(
    processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """20/s: five at once at most (a quarter of a second's), and then one after the other."""
    hook = add_hook(receiver.url("/limited"), rate="20/s")
    relays = [processes().start(), processes().start()]
    conn.execute(MANY, [80])
    receiver.wait_for(80, path="/limited", timeout=60)
    becomes(conn, {"delivered": 80})
    times = claimed(conn, hook)
    assert len(times) == 80
    assert most_within(times, 1.0) <= 20 + 5 + 1
    assert most_within(times, 0.25) <= 5 + 5 + 1, "smooth"
    assert (times[-1] - times[0]).total_seconds() >= (80 - 6) / 20
    assert (times[-1] - times[0]).total_seconds() < 30, "and not so much below that work piles up"
    assert len({relay.instance(conn) for relay in relays}) == 2
    assert one(conn, "SELECT max(attempts) FROM rowhook.delivery") == 1, "nothing was claimed and given back"


def test_mutant__a_clock_that_stands_still_lets_all_through(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, mutate_query: MutateQuery
) -> None:
    mutate_query("circuit.spend", ("+ s.claimed * g.gap", ""))
    hook = add_hook(receiver.url("/limited"), rate="1/s")
    relays()
    conn.execute(MANY, [10])
    receiver.wait_for(10, path="/limited")
    assert most_within(claimed(conn, hook), 4.0) > 4 + 1


def test_a_limited_endpoint_with_much_waiting_holds_up_nobody(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """Nor are leases held: what is claimed is sent. Events for others are dispatched in large chunks, past it."""
    hook = add_hook(receiver.url("/limited"), rate="5/s", events=["a.b"])
    add_hook(receiver.url("/free"), events=["*"])
    relays()
    conn.execute(MANY, [3000])
    receiver.wait_for(3000, path="/free", timeout=60)
    most = "SELECT count(*) FROM rowhook.delivery WHERE state = 'leased' AND endpoint_id = %s"
    for n in range(20):
        emit(conn)
        receiver.wait_for(3001 + n, path="/free")
        assert one(conn, most, hook.id) <= 4
    assert 0 < len(claimed(conn, hook)) < 1000
    assert one(conn, "SELECT max(attempts) FROM rowhook.delivery") == 1


def test_a_lone_event_of_an_idle_limited_endpoint_goes_at_once(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    hook = add_hook(receiver.url(), rate="2/min")
    relays()
    for n in (1, 2):
        emit(conn)
        if n == 1:
            receiver.wait_for(1)
    becomes(conn, {"delivered": 1, "pending": 1})
    wait = "SELECT extract(epoch FROM next_at - clock_timestamp())::float8 FROM rowhook.rate_clock WHERE endpoint_id = %s"
    assert 0 < one(conn, wait, hook.id) <= 30, "the other when the next minute's half is over"
    conn.execute("UPDATE rowhook.rate_clock SET next_at = clock_timestamp()")
    receiver.wait_for(2)


def test_retries_count_as_requests_and_wait_as_long_as_they_were_asked_to(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    from aiohttp import web

    hook = add_hook(receiver.url(), rate="10/s", retry_schedule=["100ms"] * 5)
    asked = [web.Response(status=429, headers={"Retry-After": "2"})]
    receiver.answer("/hook", lambda request: asked.pop() if asked else web.Response())
    relays()
    emit(conn)
    first, second = receiver.wait_for(2)
    assert second.at - first.at >= 2
    eventually(lambda: the_delivery(conn, hook)["state"] == "delivered")
    assert the_delivery(conn, hook)["attempts"] == 2


def test_an_open_circuit_and_a_rate_are_both_obeyed(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """One probe at a time; after it is back, not faster than its rate."""
    hook = add_hook(receiver.url(), rate="20/s", retry_schedule=["100ms"] * 30)
    receiver.answer("/hook", 500)
    relays(circuit_after="500ms", longest_probe_wait="200ms")
    conn.execute(MANY, [40])
    eventually(lambda: the_endpoint(conn, hook)["circuit"] == "open", 30)
    receiver.answer("/hook", 200)
    becomes(conn, {"delivered": 40}, 60)
    assert most_within(claimed(conn, hook), 1.0) <= 20 + 5 + 1


def test_a_rate_taken_back_lets_all_go(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, dsn: str) -> None:
    hook = add_hook(receiver.url(), rate="1/h")
    relays()
    conn.execute(MANY, [300])
    receiver.wait_for(1)
    assert rowhook(dsn, "endpoint", "show", hook.public_id)["rate"] == "1/h"
    rowhook(dsn, "endpoint", "edit", hook.public_id, "--rate", "")
    receiver.wait_for(300, timeout=30)
    becomes(conn, {"delivered": 300})
