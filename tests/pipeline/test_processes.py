"""rowhook run --processes: several relays under one supervisor share the work, are restarted, and end as one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psutil
import psycopg
import pytest
from aiohttp import web

from relay.lanes import FEW
from tests.cluster import free_port
from tests.conftest import Connection
from tests.pipeline.conftest import AddHook, Gate, asleep, attempts_of, becomes, one, run_text, states
from tests.pipeline.relays import eventually
from tests.pipeline.supervised import Supervised, gone
from tests.receiver import Receiver

Supervise = Callable[..., Supervised]
KNOW_EACH_OTHER = "SELECT count(*) = 2 AND min(beat_at) > max(started_at) FROM rowhook.instance WHERE state = 'live'"


@pytest.fixture
def supervise(dsn: str) -> Iterator[Supervise]:
    """A supervisor of two, not started yet; whatever of it still runs at the end is killed."""
    with contextlib.ExitStack() as made:

        def make(*, api: bool = False, **given: str) -> Supervised:
            supervised = Supervised(dsn, 2, api=api, **given)
            made.callback(supervised.close)
            return supervised

        yield make


async def _slowly(_request: web.Request) -> web.Response:
    await asyncio.sleep(0.02)
    return web.Response()


def emit(connection: Connection, count: int) -> None:
    connection.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, %s)", [count])


def child(supervised: Supervised, number: int) -> psutil.Process:
    found = supervised.child(number)
    assert found
    return found


def asked(url: str) -> tuple[int, Any]:
    """Status and body of what is served there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def listens(port: int) -> bool:
    """Whether anybody does there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_both_deliver_and_nothing_is_sent_twice(
    supervise: Supervise, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    receiver.answer("/hook", _slowly)
    add_hook(receiver.url(), max_in_flight=8)
    supervised = supervise().start()
    live = supervised.live(conn)
    assert sorted(live) == supervised.names
    eventually(lambda: one(conn, KNOW_EACH_OTHER), what="each knows that it is not alone")
    emit(conn, 500)
    becomes(conn, {"delivered": 500}, 30)
    assert attempts_of(conn) == [(1, 200, None)] * 500
    assert len(receiver.requests) == 500
    by = {row["instance_id"] for row in run_text(conn, "SELECT DISTINCT instance_id FROM rowhook.attempt")}
    assert by == set(live.values())


def test_one_that_is_killed_is_started_again_and_the_other_goes_on(
    supervise: Supervise, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """1 Both have requests out. 2 kill -9 one. 3 The other's are recorded; the dead one's are tried again, by whomever."""
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), max_in_flight=10, timeout="60s")
    supervised = supervise().start()
    eventually(lambda: one(conn, KNOW_EACH_OTHER))
    before, spared = supervised.live(conn), child(supervised, 2)
    emit(conn, 200)
    leased = "SELECT count(DISTINCT instance_id) = 2 FROM rowhook.delivery WHERE state = 'leased'"
    eventually(lambda: one(conn, leased), what="both have work")
    receiver.wait_for(2 * FEW)  # it has answered nothing yet
    child(supervised, 1).kill()
    first, second = supervised.names
    eventually(lambda: supervised.live(conn).get(first, before[first]) != before[first], 20, what="a new instance")
    gate.open()
    becomes(conn, {"delivered": 200}, 30)
    assert supervised.live(conn)[second] == before[second]
    assert child(supervised, 2) == spared
    outcomes = {(code, error) for _, code, error in attempts_of(conn)}
    assert outcomes == {(200, None), (None, "lost")}
    supervised.signal(signal.SIGTERM)
    assert supervised.wait() == 0
    said = supervised.output()
    assert "has died" in said and f"relay={first}" in said and "signal=SIGKILL" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on_and_all_end_in_order(
    supervise: Supervise, receiver: Receiver, add_hook: AddHook, conn: Connection, number: signal.Signals
) -> None:
    """1 Requests are out. 2 The signal, twice. 3 What was leased ahead is given back. 4 The receiver answers. 5 Exit code 0."""
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), max_in_flight=2, timeout="30s")
    supervised = supervise().start()
    children = supervised.children()
    eventually(lambda: asleep(conn))
    emit(conn, 20)
    receiver.wait_for(2)
    supervised.signal(number)
    eventually(lambda: states(conn)["leased"] == len(receiver.requests), what="only what is out is leased")
    supervised.signal(number)
    gate.open()
    assert supervised.wait() == 0
    assert gone(children)()
    assert states(conn) == {"delivered": len(receiver.requests), "pending": 20 - len(receiver.requests)}
    assert one(conn, "SELECT count(*) FROM rowhook.instance WHERE state = 'live'") == 0
    assert one(conn, "SELECT count(*) FROM rowhook.attempt WHERE error_class IS NOT NULL") == 0


def test_ctrl_c_which_reaches_the_whole_group_ends_all_in_order(supervise: Supervise, conn: Connection) -> None:
    supervised = supervise().start()
    for process in [*supervised.children(), psutil.Process(supervised.pid)]:
        process.send_signal(signal.SIGINT)
    assert supervised.wait() == 0
    assert "Traceback" not in supervised.output()
    assert one(conn, "SELECT count(*) FROM rowhook.instance WHERE state = 'live'") == 0


def test_signals_that_go_on_while_they_end_change_nothing(supervise: Supervise) -> None:
    """The terminal's Ctrl+C and what the supervisor passes on may both come, the second when a process is nearly gone."""
    supervised = supervise().start()
    children = supervised.children()
    psutil.Process(supervised.pid).send_signal(signal.SIGINT)
    while left := [child for child in children if not gone([child])()]:
        for child in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGTERM)
    assert supervised.wait() == 0, supervised.output()


def test_a_stop_while_the_relays_start_is_not_lost(supervise: Supervise, conn: Connection) -> None:
    """Their interpreters have no handlers yet: the signal waits for them."""
    supervised = supervise().spawn()
    children = eventually(lambda: (found := supervised.children())[1:] and found, 20)
    for process in [psutil.Process(supervised.pid), *children]:
        process.send_signal(signal.SIGINT)
    assert supervised.wait() == 0
    said = supervised.output()
    assert "Traceback" not in said and "in order" not in said.replace("stopping", "")
    assert one(conn, "SELECT count(*) FROM rowhook.instance WHERE state = 'live'") == 0


def test_a_supervisor_that_is_killed_is_not_outlived(
    supervise: Supervise, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """1 Requests are out. 2 kill -9 the supervisor. 3 The receiver answers: recorded; the rest is given back; nobody is left."""
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), max_in_flight=2, timeout="30s")
    supervised = supervise().start()
    children = supervised.children()
    assert len(children) == 2
    eventually(lambda: asleep(conn))
    emit(conn, 20)
    receiver.wait_for(2)
    os.kill(supervised.pid, signal.SIGKILL)
    eventually(lambda: states(conn)["leased"] == len(receiver.requests))
    gate.open()
    eventually(gone(children))
    assert states(conn) == {"delivered": len(receiver.requests), "pending": 20 - len(receiver.requests)}
    assert one(conn, "SELECT count(*) FROM rowhook.instance WHERE state = 'live'") == 0


def test_a_mistake_that_a_relay_finds_at_its_start_ends_all_and_is_told_once(supervise: Supervise, conn: Connection) -> None:
    conn.execute("ALTER TABLE rowhook.probe DISABLE TRIGGER ALL")
    supervised = supervise().spawn()
    assert supervised.wait() == 2
    (said,) = [line for line in supervised.output().splitlines() if " INFO " not in line]
    assert said.startswith("rowhook: this relay does not hear its own bell: ")


def drop_schema(connection: Connection) -> None:
    """While relays use it: it locks one table after the other in an order of its own, and may be the one that a deadlock ends."""
    while True:
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            connection.execute("DROP SCHEMA rowhook CASCADE")
            return


def test_a_mistake_that_shows_later_ends_all_too(supervise: Supervise, conn: Connection) -> None:
    """As it ends a relay that is alone: no table, no relay, however often it is started."""
    supervised = supervise().start()
    drop_schema(conn)
    assert supervised.wait() == 2
    (said,) = [line for line in supervised.output().splitlines() if line.startswith("rowhook: ")]
    assert "run: rowhook migrate" in said
    assert "Traceback" not in said and "started again" not in said


def another(supervised: Supervised, killed: psutil.Process) -> bool:
    """Whether somebody else has taken the first one's place."""
    return supervised.child(1) not in (None, killed)


def test_one_that_dies_again_and_again_is_started_less_and_less_often(supervise: Supervise, conn: Connection) -> None:
    supervised = supervise().start()
    for _ in range(4):
        killed = child(supervised, 1)
        killed.kill()
        eventually(partial(another, supervised, killed), 20, what="another child")
    eventually(lambda: set(supervised.live(conn)) == set(supervised.names), 20)
    supervised.signal(signal.SIGTERM)
    assert supervised.wait() == 0
    waits = [float(found) for found in re.findall(r"in_seconds=([0-9.]+)", supervised.output())]
    assert len(waits) == 4
    assert waits == sorted(waits)
    assert waits[0] <= 0.1 and waits[3] >= 0.4


def test_one_address_answers_for_all_and_names_those_that_are_down(
    supervise: Supervise, add_hook: AddHook, conn: Connection
) -> None:
    """1 All live: 200. 2 One is frozen: 503 with its name. 3 It goes on: 200. 4 No request of theirs goes to that address."""
    url = f"http://127.0.0.1:{(port := free_port())}/health/live"
    supervised = supervise(api=True, api_listen=f"127.0.0.1:{port}").start()
    eventually(lambda: listens(port), 20, what="the API's process listens")
    assert asked(url)[0] == 200
    child(supervised, 2).suspend()
    eventually(lambda: asked(url)[0] != 200, 40, what="it is noticed")
    code, body = asked(url)
    assert (code, body["status"], body["down"]) == (503, "down", [supervised.names[1]])
    child(supervised, 2).resume()
    eventually(lambda: asked(url)[0] == 200)
    hook = add_hook(url)
    emit(conn, 4)
    becomes(conn, {"dead": 4})
    assert {error for _, _, error in attempts_of(conn, hook)} == {"blocked"}
    supervised.signal(signal.SIGTERM)
    assert supervised.wait() == 0
