"""Relays that share work, and relays that are killed: nothing is lost, nothing is sent twice without a reason on record."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from aiohttp import web

from relay.lanes import FEW
from tests.conftest import Connection
from tests.pipeline.conftest import AddHook, amounts, asleep, attempts_of, becomes, hang, one, run_text, spend, states
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Received, Receiver


def tries(requests: Iterable[Received]) -> Counter[tuple[str, int]]:
    """(delivery, number of the attempt) of each request that a receiver saw."""
    return Counter((r.headers["X-Rowhook-Delivery"], int(r.headers["X-Rowhook-Attempt"])) for r in requests)


def on_record(connection: Connection) -> dict[tuple[str, int], str | None]:
    """(delivery, number) of each attempt row, and its error class."""
    rows = run_text(connection, "SELECT delivery_id, attempt, error_class FROM rowhook.delivery_history")
    return {(row["delivery_id"], row["attempt"]): row["error_class"] for row in rows}


async def _slowly(_request: web.Request) -> web.Response:
    await asyncio.sleep(0.02)
    return web.Response()


SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'rowhook %'"
KNOW_EACH_OTHER = """
SELECT count(*) = 2 AND min(beat_at) > max(started_at) FROM rowhook.instance WHERE state = 'live'
"""


def test_kill_9_in_the_middle_of_500_deliveries_loses_none(
    processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    """1 500 events. 2 kill -9 after some have arrived. 3 A new process. Old work is taken up within 2 s of its start."""
    receiver.answer("/hook", _slowly)
    add_hook(receiver.url(), max_in_flight=20)
    killed = processes().start()
    eventually(lambda: asleep(conn))
    spend(conn, user_id, range(500))
    receiver.wait_for(100)
    killed.kill()
    before = len(receiver.requests)
    assert before < 500
    eventually(lambda: one(conn, SESSIONS) == 0, what="its last statements have ended")
    leased = states(conn)["leased"]
    assert leased > 0

    again = processes().start()
    receiver.wait_for(before + 1)
    taken_up = (
        "SELECT min(d.leased_at) - min(i.started_at) FROM rowhook.delivery d JOIN rowhook.instance i ON i.state = 'live'"
        " WHERE d.attempts > 1 AND d.leased_at > i.started_at"
    )
    assert eventually(lambda: one(conn, taken_up)) < timedelta(seconds=2), "by the server's clock, from its registration on"
    becomes(conn, {"delivered": 500})
    received, recorded = receiver.requests, on_record(conn)
    assert set(amounts(received)) == set(range(500))
    assert max(tries(received).values()) == 1, "no try was made twice"
    assert tries(received).keys() <= recorded.keys(), "every request that the receiver saw is on record"
    lost = [key for key, error in recorded.items() if error == "lost"]
    assert len(lost) == leased, "each try that the dead relay held is on record as lost"
    assert all(error in {None, "lost"} for error in recorded.values())
    assert again.running


def test_two_relays_share_the_work_and_send_nothing_twice(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    receiver.answer("/hook", _slowly)
    add_hook(receiver.url(), max_in_flight=10)
    relays(), relays()
    eventually(lambda: asleep(conn))
    eventually(lambda: one(conn, KNOW_EACH_OTHER), what="each has beaten since the other came")
    for n in range(0, 600, 100):
        spend(conn, user_id, range(n, n + 100))
    becomes(conn, {"delivered": 600}, timeout=20)
    assert amounts(receiver.requests) == Counter(range(600))
    assert attempts_of(conn) == [(1, 200, None)] * 600
    shares = dict(conn.execute("SELECT instance_id, count(*) FROM rowhook.attempt GROUP BY 1").fetchall())
    assert len(shares) == 2 and min(shares.values()) > 60, shares


def test_the_work_of_a_killed_relay_is_taken_up_by_the_other_within_two_seconds(
    processes: Callable[..., RelayProcess], relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook,
    conn: Connection, user_id: int,
) -> None:  # fmt: skip
    """1 A holds requests that hang. 2 A is killed. 3 B sends them again, and each lost try is on record."""

    async def hangs_at_first(request: web.Request) -> web.Response:
        if request.headers["X-Rowhook-Attempt"] == "1":
            await hang(request)
        return web.Response()

    receiver.answer("/hook", hangs_at_first)
    add_hook(receiver.url(), timeout="60s")
    killed = processes().start()
    eventually(lambda: asleep(conn))
    spend(conn, user_id, range(FEW))  # as many as an endpoint gets that has answered nothing yet
    receiver.wait_for(FEW)
    relays()
    eventually(lambda: one(conn, "SELECT count(*) = 2 FROM rowhook.instance WHERE state = 'live'"))
    killed.kill()
    dead = time.monotonic()
    requests = receiver.wait_for(2 * FEW, timeout=4)
    assert requests[FEW].at - dead < 2.2
    becomes(conn, {"delivered": FEW})
    assert attempts_of(conn) == [(1, None, "lost"), (2, 200, None)] * FEW
    assert tries(requests).keys() == on_record(conn).keys()


def test_lost_tries_do_not_use_up_the_schedule_but_five_in_a_row_make_a_dead_letter(
    processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    """A delivery during which its relay is killed each time; the endpoint's schedule allows no retry at all."""

    async def hangs(request: web.Request) -> web.Response:
        await hang(request)
        return web.Response()

    receiver.answer("/hook", hangs)
    add_hook(receiver.url(), retry_schedule=[], timeout="60s")
    spend(conn, user_id)
    for n in range(1, 6):
        process = processes().start()
        receiver.wait_for(n)
        process.kill()
        assert states(conn) == {"leased": 1}
    processes().start()
    becomes(conn, {"dead": 1})
    assert attempts_of(conn) == [(n, None, "lost") for n in range(1, 6)]
    assert one(conn, "SELECT error_class FROM rowhook.dead_letters") == "lost"
    assert one(conn, "SELECT failures FROM rowhook.delivery") == 0
    assert len(receiver.requests) == 5


def test_an_event_that_committed_while_no_relay_ran_is_delivered_when_one_starts(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    add_hook(receiver.url())
    spend(conn, user_id, range(50))
    relays()
    receiver.wait_for(50)
    becomes(conn, {"delivered": 50})


@pytest.mark.parametrize("chance", range(3))
def test_relays_that_are_killed_again_and_again_lose_nothing(
    processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, chance: int
) -> None:
    """Two processes, a stream of events; whichever has the role is killed, another is started, four times."""
    receiver.answer("/hook", _slowly)
    add_hook(receiver.url(), max_in_flight=20)
    running = [processes().start(), processes().start()]
    for n in range(4):
        spend(conn, user_id, range(n * 50, n * 50 + 50))
        receiver.wait_for(n * 50 + 10 + chance * 15)
        running.pop(0).kill()
        running.append(processes().spawn())
    becomes(conn, {"delivered": 200}, timeout=20)
    received = receiver.requests
    assert set(amounts(received)) == set(range(200))
    assert tries(received).keys() <= on_record(conn).keys()
    assert max(tries(received).values()) == 1
