"""Postgres goes away, whole or session by session: the relay stays in its process, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from relay.migrations import migrate
from relay.model import ROLE_KEY
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Gate, asleep, attempts_of, becomes, one, run_text
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Receiver

BACK_WITHIN = 5.0
GOES_ON_WITHIN = timedelta(seconds=3)

Relays = Callable[..., LocalRelay]

LIVE = "SELECT count(*) FROM rowhook.instance WHERE state = 'live'"
BETWEEN_BEATS = """
SELECT bool_and(clock_timestamp() - beat_at BETWEEN '0.2 s' AND '1.2 s') FROM rowhook.instance WHERE state = 'live'
"""
IDLE_ENDED = """
SELECT count(pg_terminate_backend(a.pid, 5000)) FROM pg_stat_activity AS a
 WHERE a.application_name LIKE %s AND a.pid NOT IN (
       SELECT l.pid FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND (l.classid::bigint << 32) | l.objid::bigint = %s)
"""


@pytest.mark.parametrize("purpose", ["lease", "bell", "dispatch", "claim", "record", "house"])
def test_a_relay_whose_session_is_ended_goes_on_in_its_process(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, purpose: str
) -> None:
    """1 A request is out. 2 One session is ended by an administrator. 3 An event commits. 4 Both are delivered and on record.

    With a session that holds something the instance id is lost: what it held is tried again under the next one, and the answer
    to the first try, late, fills its attempt.
    """
    gate = Gate()
    receiver.answer("/slow", gate.answer)
    add_hook(receiver.url("/slow"), ["slow.*"], timeout="30s")
    add_hook(receiver.url("/hook"), ["a.*"])
    relay = relays()
    emit(conn, type="a.first")
    receiver.wait_for(1, path="/hook")
    becomes(conn, {"delivered": 1}, what="the recorder has a session")
    emit(conn, type="slow.one")
    receiver.wait_for(1, path="/slow")
    eventually(lambda: asleep(conn))
    ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name LIKE %s"
    assert one(conn, ended, f"rowhook {purpose}%") == 1
    emit(conn, type="a.second")
    receiver.wait_for(2, path="/hook", timeout=BACK_WITHIN)
    gate.open()
    becomes(conn, {"delivered": 3})
    assert relay.running
    requests = receiver.requests
    assert len([r for r in requests if r.path == "/hook"]) == 2, "what was not out is sent once"
    eventually(lambda: [status for _, status, _ in attempts_of(conn)] == [200] * len(requests), what="each request's answer")


@pytest.mark.parametrize("purpose", ["dispatch", "claim", "record", "house"])
def test_a_session_that_held_nothing_is_made_again_and_no_lease_is_lost(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, purpose: str
) -> None:
    """1 Two relays, a request is out. 2 One session of each is ended while it has nothing to do; of the dispatcher's not the one
    that holds the role. 3 They are made again, under the same instance ids, and the request is sent once."""
    gate = Gate()
    receiver.answer("/slow", gate.answer)
    add_hook(receiver.url("/slow"), ["slow.*"], timeout="30s")
    add_hook(receiver.url("/hook"), ["a.*"])
    relays(), relays()
    emit(conn, type="a.first")
    becomes(conn, {"delivered": 1}, what="a recorder has a session")
    emit(conn, type="slow.one")
    receiver.wait_for(1, path="/slow")
    eventually(lambda: one(conn, LIVE) == 2 and asleep(conn))
    eventually(lambda: one(conn, BETWEEN_BEATS), what="neither beats just now")
    ended = one(conn, IDLE_ENDED, f"rowhook {purpose}%", ROLE_KEY)
    assert ended == {"dispatch": 1, "record": 1}.get(purpose, 2)
    emit(conn, type="a.second")
    conn.execute("NOTIFY rowhook_work")  # something may be to claim
    since = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND backend_start > %s"
    moment = one(conn, "SELECT max(occurred_at) - interval '1 s' FROM rowhook.event")
    eventually(lambda: one(conn, since, f"rowhook {purpose}%", moment) >= ended, timeout=20, what="they are made again")
    gate.open()
    becomes(conn, {"delivered": 3})
    assert one(conn, LIVE) == one(conn, "SELECT count(*) FROM rowhook.instance") == 2
    assert attempts_of(conn) == [(1, 200, None)] * 3


def test_a_dispatcher_that_sleeps_and_loses_its_session_keeps_its_lease(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """1 A request is out, the dispatcher sleeps. 2 Its session is ended, and its role with it. 3 An event commits: it asks for
    the role again, under the same id, and what was out is sent once."""
    gate = Gate()
    receiver.answer("/slow", gate.answer)
    add_hook(receiver.url("/slow"), ["slow.*"], timeout="30s")
    add_hook(receiver.url("/hook"), ["a.*"])
    relays()
    emit(conn, type="slow.one")
    receiver.wait_for(1, path="/slow")
    eventually(lambda: asleep(conn))
    ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name LIKE 'rowhook dispatch%'"
    assert one(conn, ended) == 1
    emit(conn, type="a.first")
    receiver.wait_for(1, path="/hook", timeout=BACK_WITHIN)
    gate.open()
    becomes(conn, {"delivered": 2})
    assert one(conn, LIVE) == one(conn, "SELECT count(*) FROM rowhook.instance") == 1
    assert attempts_of(conn) == [(1, 200, None)] * 2


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill -9"])
def test_a_restart_of_postgres_is_survived_and_results_that_waited_are_recorded(
    start_cluster: Callable[..., Cluster], relays: Relays, receiver: Receiver, add_hook: AddHook, connect: Connect, mode: str
) -> None:
    """1 Ten requests are out. 2 Postgres stops, or its first process is killed. 3 They are answered. 4 It comes back: answers are
    recorded, new events go, within 3 s of its being back by its own clock."""
    cluster = start_cluster(synchronous_commit="on")
    dsn = cluster.dsn()
    migrate(dsn)
    gate = Gate()
    before = connect(dsn=dsn)
    add_hook(receiver.url(), connection=before, timeout="30s")
    relay = relays(dsn)
    emit(before)
    becomes(before, {"delivered": 1}, what="it has answered once, and is trusted with many at once")
    receiver.answer("/hook", gate.answer)
    before.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 10)")
    receiver.wait_for(11)
    if mode == "kill -9":
        cluster.kill()
    else:
        cluster.stop(mode)  # type: ignore[arg-type]
    gate.open()
    receiver.answer("/hook", 200)
    cluster.launch()
    after = connect(dsn=dsn)
    emit(after)
    receiver.wait_for(12, timeout=BACK_WITHIN + 5)
    becomes(after, {"delivered": 12})
    assert relay.running
    assert len(receiver.requests) == 12
    assert attempts_of(after) == [(1, 200, None)] * 12
    back = "SELECT max(a.started_at) - max(e.occurred_at) FROM rowhook.attempt AS a, rowhook.event AS e"
    assert one(after, back) < GOES_ON_WITHIN


def test_events_keep_coming_while_sessions_are_ended_at_random(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """Twelve times: some events, then the eldest of the relay's sessions is ended. All arrive, each request is on record."""
    add_hook(receiver.url(), max_in_flight=4)
    relay = relays()
    total = 0
    eldest = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'rowhook %' ORDER BY backend_start OFFSET %s LIMIT 1"
    )
    for n in range(12):
        conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 20)")
        total += 20
        conn.execute(eldest.replace("%'", "%%'"), [n % 5])
    becomes(conn, {"delivered": total}, timeout=30)
    assert relay.running
    sent = {(r.headers["X-Rowhook-Delivery"], int(r.headers["X-Rowhook-Attempt"])) for r in receiver.requests}
    rows = run_text(conn, "SELECT delivery_id, attempt FROM rowhook.delivery_history")
    assert sent <= {(row["delivery_id"], row["attempt"]) for row in rows}
    assert len({r.headers["webhook-id"] for r in receiver.requests}) == total


def test_a_relay_told_to_stop_while_postgres_is_away_ends_within_bounds(
    start_cluster: Callable[..., Cluster], processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook
) -> None:
    cluster = start_cluster()
    dsn = cluster.dsn()
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        add_hook(receiver.url(), connection=connection)
        process = processes(dsn).start()
        emit(connection)
        receiver.wait_for(1)
        becomes(connection, {"delivered": 1})
    cluster.stop()
    os.kill(process.pid, 15)
    assert process.wait(timeout=20) == 0
