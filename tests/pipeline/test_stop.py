"""SIGTERM and SIGINT: what is out ends and is recorded, what was leased ahead is given back, the exit code is 0."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.conftest import Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Gate, asleep, attempts_of, becomes, hang, one, run_text, states
from tests.pipeline.relays import RelayProcess, eventually
from tests.receiver import Receiver

Processes = Callable[..., RelayProcess]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_that_are_out_end_and_are_recorded_and_the_rest_is_given_back(
    processes: Processes, receiver: Receiver, add_hook: AddHook, conn: Connection, number: signal.Signals
) -> None:
    """1 Two requests are out, two more deliveries leased ahead, six wait. 2 The signal. 3 The receiver answers. 4 Exit code 0."""
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), max_in_flight=2, timeout="30s")
    process = processes().start()
    eventually(lambda: asleep(conn))
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 4)")
    becomes(conn, {"leased": 4})
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 6)")
    receiver.wait_for(2)
    becomes(conn, {"leased": 4, "pending": 6})
    process.signal(number)
    becomes(conn, {"leased": 2, "pending": 8}, what="what was leased ahead is given back at once")
    gate.open()
    assert process.wait() == 0
    assert states(conn) == {"delivered": 2, "pending": 8}
    assert attempts_of(conn) == [(1, 200, None)] * 2
    untried = "SELECT count(*) FROM rowhook.delivery WHERE state = 'pending' AND attempts = 0 AND free_tries = 0 AND failures = 0"
    assert one(conn, untried) == 8, "a try that was none is not counted"
    assert len(receiver.requests) == 2
    assert one(conn, "SELECT count(*) FROM rowhook.instance WHERE state = 'live'") == 0
    assert one(conn, "SELECT pg_sequence_last_value('rowhook.doorbell')") == 0, "writers need not ring"

    processes().start()
    becomes(conn, {"delivered": 10})
    assert attempts_of(conn) == [(1, 200, None)] * 10
    assert len(receiver.requests) == 10


def test_a_request_that_never_ends_does_not_hold_up_the_stop_for_longer_than_its_timeout(
    processes: Processes, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    async def never(request: web.Request) -> web.Response:
        await hang(request)
        return web.Response()

    receiver.answer("/hook", never)
    add_hook(receiver.url(), timeout="1s", retry_schedule=["1h"])
    process = processes(timeout="1s").start()
    emit(conn)
    receiver.wait_for(1)
    begun = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert time.monotonic() - begun < 4
    assert attempts_of(conn) == [(1, None, "timeout")]
    assert states(conn) == {"pending": 1}


def test_an_idle_relay_stops_at_once(processes: Processes, conn: Connection) -> None:
    process = processes().start()
    eventually(lambda: asleep(conn))
    begun = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert time.monotonic() - begun < 2


def test_a_relay_that_is_stopped_while_it_starts_ends_in_order(processes: Processes, conn: Connection) -> None:
    process = processes().start()
    process.signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert one(conn, "SELECT count(*) FROM rowhook.instance WHERE state = 'live'") == 0


def test_a_stop_under_load_loses_nothing_and_sends_nothing_twice(
    processes: Processes, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """Three relays one after the other, each stopped in the middle of the work."""
    add_hook(receiver.url(), max_in_flight=8)
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 600)")
    for n in range(1, 4):
        process = processes().start()
        receiver.wait_for(n * 100)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert states(conn).get("leased") is None
        assert states(conn)["delivered"] == len(receiver.requests)
    processes().start()
    becomes(conn, {"delivered": 600})
    assert len(receiver.requests) == 600
    assert {row["attempts"] for row in run_text(conn, "SELECT attempts FROM rowhook.delivery")} == {1}
