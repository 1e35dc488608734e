"""Postgres is there, and refuses: no room for connections, read-only, no room on the disk, timeouts, locks, deadlocks.

Each with a real server that really refuses. The relay stays in its process, loses nothing, repeats nothing but what was out,
and goes on when it is let.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import relay.database
from tests.cluster import Cluster, reachable_folder
from tests.conftest import Connect, Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Gate, asleep, becomes, one
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]

OF_RELAYS = "datname = current_database() AND application_name LIKE 'rowhook %'"
END = f"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE {OF_RELAYS}"


def end_sessions(connection: Connection) -> int:
    return int(one(connection, END))


def each_once(receiver: Receiver, total: int) -> bool:
    """Every event arrived, and none twice."""
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    return len(ids) == len(set(ids)) == total


def gave_up(caplog: pytest.LogCaptureFixture, reason: str) -> bool:
    """Whether a relay of this process has said that it could not go on for this reason."""
    return any(reason in str(getattr(record, "reason", "")) for record in caplog.records)


# --- no room for connections ---------------------------------------------------------------------------------


@pytest.fixture
def sender(cluster: Cluster, conn: Connection) -> Iterator[str]:
    """A login with nothing but the rights of a relay: limits of connections don't hold for superusers."""
    conn.execute("DROP ROLE IF EXISTS sender; CREATE ROLE sender LOGIN IN ROLE rowhook_relay")
    yield cluster.dsn(conn.info.dbname, user="sender")
    conn.execute("DROP ROLE sender")


def test_too_many_connections_later_and_again(
    sender: str, relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """1 A delivers. 2 Its sessions are ended, no room is left. 3 Events commit. 4 There is room for some of them. 5 For all."""
    add_hook(receiver.url())
    running = relays(sender)
    emit(conn)
    receiver.wait_for(1)
    becomes(conn, {"delivered": 1})
    conn.execute("ALTER ROLE sender CONNECTION LIMIT 0")
    end_sessions(conn)
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 5)")
    eventually(lambda: gave_up(caplog, "too many connections"))
    conn.execute("ALTER ROLE sender CONNECTION LIMIT 3")
    eventually(lambda: one(conn, f"SELECT count(*) FROM pg_stat_activity WHERE {OF_RELAYS}") >= 2)
    conn.execute("ALTER ROLE sender CONNECTION LIMIT -1")
    becomes(conn, {"delivered": 6})
    assert running.running and each_once(receiver, 6)


def test_too_many_connections_at_the_start(
    sender: str, processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    add_hook(receiver.url())
    emit(conn)
    conn.execute("ALTER ROLE sender CONNECTION LIMIT 1")
    starting = processes(sender).spawn()
    seen = f"SELECT count(*) FROM pg_stat_activity WHERE {OF_RELAYS}"
    eventually(lambda: one(conn, seen) == 1, timeout=20, what="it has one session, and gets no other")
    conn.execute("ALTER ROLE sender CONNECTION LIMIT -1")
    receiver.wait_for(1)
    becomes(conn, {"delivered": 1})
    assert starting.running


# --- read-only -----------------------------------------------------------------------------------------------


def test_a_server_that_turns_read_only_as_a_failovers_old_primary(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, connect: Connect, dsn: str
) -> None:
    """1 A has two requests out. 2 New sessions are read-only, old ones end. 3 The requests are answered. 4 Writable again."""
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), max_in_flight=2, timeout="30s")
    running = relays()
    eventually(lambda: asleep(conn))
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 8)")
    receiver.wait_for(2)
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET default_transaction_read_only = on")
    end_sessions(conn)
    gate.open()
    eventually(lambda: not running.relay.ready.is_set())
    eventually(lambda: running.relay._recorder._waiting, what="results wait")
    assert len(receiver.requests) == 2, "nothing is sent that can't be recorded"
    conn.execute(f"ALTER DATABASE {conn.info.dbname} RESET default_transaction_read_only")
    becomes(conn, {"delivered": 8})
    assert running.running and each_once(receiver, 8)


# --- a full disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(cluster: Cluster, conn: Connection, template: str) -> Iterator[Path]:
    """Where the test's database lies: 24 MB, of which its copy of the template takes about a half."""
    folder = reachable_folder("rh-disk-", cluster.os_user)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    try:
        if cluster.os_user:
            subprocess.run(["chown", cluster.os_user, folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own is mounted by root")
def test_a_full_disk(
    small_disk: Path,
    cluster: Cluster,
    template: str,
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """1 A has four requests out. 2 The disk is full. 3 They are answered; nothing can be written. 4 There is room again."""
    with cluster.connect() as admin:
        admin.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        admin.execute(f"CREATE DATABASE small TEMPLATE {template} TABLESPACE small")
    dsn = cluster.dsn("small")
    try:
        gate = Gate()
        receiver.answer("/hook", gate.answer)
        with psycopg.connect(dsn, autocommit=True) as connection:
            add_hook(receiver.url(), connection=connection, max_in_flight=4, timeout="60s")
            running = relays(dsn)
            eventually(lambda: asleep(connection))
            connection.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 400)")
            receiver.wait_for(4)
            fill(connection)
            gate.open()
            eventually(lambda: gave_up(caplog, "No space left on device"))
            connection.execute("DROP TABLE filling")
            becomes(connection, {"delivered": 400}, timeout=20)
            assert running.running
            running.stop()
        ids = [request.headers["webhook-id"] for request in receiver.requests]
        assert len(set(ids)) == 400
    finally:
        with cluster.connect() as admin:
            admin.execute("DROP DATABASE small WITH (FORCE)")
            admin.execute("DROP TABLESPACE small")


def fill(connection: Connection) -> None:
    """Leave no room on the disk."""
    connection.execute("CREATE TABLE filling (x text)")
    connection.execute("ALTER TABLE filling ALTER x SET STORAGE PLAIN")
    for rows in (1000, 100, 1):
        with contextlib.suppress(psycopg.errors.DiskFull):
            while True:
                connection.execute("INSERT INTO filling SELECT repeat('x', 7000) FROM generate_series(1, %s)", [rows])


# --- timeouts ------------------------------------------------------------------------------------------------


def test_a_session_killed_by_idle_in_transaction_session_timeout(
    processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection, connect: Connect
) -> None:
    """1 A claims for an endpoint with a rate, and waits within that transaction for a table's lock. 2 A is stopped. 3 The lock is
    free: A's transaction idles and is ended after a second. 4 A goes on. (A look is one statement, and has no time to idle.)"""
    add_hook(receiver.url(), rate="10/s")
    running = processes().start()
    eventually(lambda: asleep(conn))
    blocker = connect(autocommit=False)
    blocker.execute("LOCK TABLE rowhook.rate_clock IN SHARE MODE")
    emit(conn)
    claiming = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowhook claim %'"
    eventually(lambda: one(conn, f"{claiming} AND wait_event_type = 'Lock'") == 1)
    running.freeze()
    blocker.rollback()
    eventually(lambda: one(conn, claiming) == 0, what="the server ends it")
    running.thaw()
    receiver.wait_for(1)
    becomes(conn, {"delivered": 1})
    assert running.running, running.output()


def wake(connection: Connection) -> None:
    connection.execute("SELECT pg_notify('rowhook_bell', ''), pg_notify('rowhook_work', '')")


@pytest.fixture
def one_out(receiver: Receiver, add_hook: AddHook, conn: Connection) -> Iterator[Gate]:
    """An endpoint that takes one request at a time, four events, and the first of them out until the gate opens."""
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), max_in_flight=1, timeout="30s")
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 4)")
    yield gate
    gate.open()


@pytest.mark.parametrize("timeout", ["lock_timeout", "statement_timeout"])
@pytest.mark.parametrize("table", ["endpoint", "delivery", "attempt", "event", "cursor", "instance"])
def test_who_locks_a_table_stops_the_relay_for_so_long_and_no_longer(
    one_out: Gate,
    relays: Relays,
    receiver: Receiver,
    conn: Connection,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    table: str,
    timeout: str,
) -> None:
    """1 A has a request out. 2 Somebody locks a table, for longer than A or its server waits. 3 The request is answered. 4 The
    lock is free: all goes on. A lock costs no lease, and nothing is repeated; a statement that the server ends may cost one."""
    monkeypatch.setitem(relay.database.SERVER_SETTINGS, timeout, "300")
    running = relays()
    receiver.wait_for(1)
    eventually(lambda: asleep(conn))
    blocker = connect(autocommit=False)
    blocker.execute(f"LOCK TABLE rowhook.{table} IN ACCESS EXCLUSIVE MODE")
    one_out.open()
    wake(conn)
    eventually(lambda: gave_up(caplog, timeout.replace("_", " ")), what="it gives up waiting")
    blocker.rollback()
    emit(conn)
    becomes(conn, {"delivered": 5})
    assert running.running
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 5
    if timeout == "lock_timeout":
        assert each_once(receiver, 5) and one(conn, "SELECT count(*) FROM rowhook.instance") == 1


@pytest.mark.parametrize("stage", ["record", "dispatch"])
def test_a_deadlock_that_is_settled_against_the_relay_costs_nothing(
    one_out: Gate,
    relays: Relays,
    receiver: Receiver,
    conn: Connection,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    stage: str,
) -> None:
    """1 T holds what A will wait for. 2 A holds something, waits for T. 3 T waits for what A holds: a deadlock, and A's second of
    patience ends first. 4 T goes on and commits; A does the same again."""
    relays()
    receiver.wait_for(1)
    eventually(lambda: asleep(conn))
    t = connect(autocommit=False)
    t.execute("SET deadlock_timeout = '20s'")
    if stage == "record":
        t.execute(
            "INSERT INTO rowhook.attempt (delivery_id, endpoint_id, instance_id, number, started_at, error_class)"
            " SELECT d.id, d.endpoint_id, 1, 1, now(), 'lost' FROM rowhook.delivery AS d WHERE d.attempts = 1 ORDER BY id LIMIT 1"
        )
        one_out.open()
        then = "SELECT FROM rowhook.delivery WHERE attempts = 1 ORDER BY id LIMIT 1 FOR UPDATE"
    else:
        t.execute(
            "INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, due_at)"
            " SELECT max(e.id) + 1, max(e.slot), max(p.id), now() FROM rowhook.event AS e, rowhook.endpoint AS p"
        )
        emit(conn)
        then = "SELECT FROM rowhook.instance FOR UPDATE"
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE {OF_RELAYS} AND wait_event_type = 'Lock'"
    eventually(lambda: one(conn, waiting) == 1)
    t.execute(then)
    eventually(lambda: gave_up(caplog, "deadlock detected"))
    t.rollback()
    one_out.open()
    total = 4 if stage == "record" else 5
    becomes(conn, {"delivered": total})
    assert each_once(receiver, total)
    assert one(conn, "SELECT count(*) FROM rowhook.instance") == 1
