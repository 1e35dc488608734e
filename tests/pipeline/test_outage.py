"""Postgres is away for a while: what waits, waits within bounds, nothing is taken on. What no waiting mends ends the relay."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from relay.migrations import migrate
from tests.cluster import Cluster, as_user, reachable_folder
from tests.conftest import Connect, Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Gate, asleep, attempts_of, becomes, one, states
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]

IN_FLIGHT = 10
AT_MOST = 2 * IN_FLIGHT  # claimed at once by a relay whose receivers are slow


def test_while_postgres_is_away_results_wait_within_bounds_and_nothing_new_is_sent(
    start_cluster: Callable[..., Cluster],
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """1 Eight or more of 200 are out, more wait here. 2 Postgres goes. 3 All that are out are answered. 4 It is back."""
    cluster = start_cluster()
    dsn = cluster.dsn()
    migrate(dsn)
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    with connect(dsn=dsn) as connection:
        for _ in range(4):
            add_hook(receiver.url(), connection=connection, timeout="60s")
        running = relays(dsn, max_in_flight=str(IN_FLIGHT))
        connection.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 50)")
        receiver.wait_for(8)
        eventually(lambda: states(connection).get("leased", 0) > IN_FLIGHT)
    lanes, waiting = running.relay._flight.lanes, running.relay._recorder._waiting
    out = lanes.in_flight
    cluster.stop("fast")
    gate.open()
    eventually(lambda: len(waiting) == out, what="each result waits")
    eventually(lambda: sum("the database" in record.message for record in caplog.records) >= 2, what="both say so")
    assert len(receiver.requests) == out <= IN_FLIGHT
    assert lanes.outstanding == out, "what hadn't started is given back, not sent"
    assert len(running.relay._flight.unsent) + out <= AT_MOST
    cluster.launch()
    after = connect(dsn=dsn)
    becomes(after, {"delivered": 200}, timeout=20)
    assert len(receiver.requests) == 200, "none was repeated"
    assert attempts_of(after) == [(1, 200, None)] * 200
    eventually(  # others see a commit a moment before the relay hears of it
        lambda: not waiting and not running.relay._flight.unsent and lanes.outstanding == 0, what="nothing is left here"
    )
    assert len(caplog.records) < 20


def test_a_failover_to_a_standby(
    start_cluster: Callable[..., Cluster],
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """1 A has a request out. 2 The primary is killed; the standby is in recovery still: A waits. 3 It is promoted: A goes on,
    by a connection string that names both."""
    primary = start_cluster(max_wal_senders=4, hot_standby="on")
    migrate(primary.dsn())
    standby = standby_of(primary)
    try:
        gate = Gate()
        receiver.answer("/hook", gate.answer)
        before = connect(dsn=primary.dsn())
        add_hook(receiver.url(), connection=before, timeout="30s")
        both = f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname=postgres"
        running = relays(both)
        eventually(lambda: asleep(before))
        emit(before)
        receiver.wait_for(1)
        becomes(before, {"leased": 1})
        there = connect(dsn=standby.dsn())
        written = one(before, "SELECT pg_current_wal_flush_lsn()::text")
        eventually(lambda: one(there, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written), what="the standby has it all")
        primary.kill()
        gate.open()
        eventually(
            lambda: any("standby" in str(getattr(r, "reason", "")) for r in caplog.records), what="it insists on a primary"
        )
        assert one(there, "SELECT pg_promote()")
        emit(there)
        becomes(there, {"delivered": 2}, timeout=20)
        assert running.running
        assert len(receiver.requests) == 2 and attempts_of(there) == [(1, 200, None)] * 2
        running.stop()
    finally:
        standby.remove()


def standby_of(primary: Cluster) -> Cluster:
    """A standby that follows it, running."""
    folder = reachable_folder("rh-standby-", primary.os_user)
    primary.run(
        "pg_basebackup", "-D", str(folder / "data"), "-R", "-X", "stream", "-c", "fast", **as_user(primary.os_user), cwd="/"
    )
    standby = Cluster(primary.bin_dir, primary.os_user, folder / "data", {**primary.settings})
    standby.launch()
    return standby


@pytest.mark.parametrize("table", ["attempt", "delivery"])
def test_what_no_waiting_mends_ends_the_relay_with_the_error(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, table: str
) -> None:
    """A table that isn't there is nobody's outage. (The supervisor, or whoever runs it, starts it again, and it refuses.)"""
    add_hook(receiver.url())
    running = relays()
    eventually(lambda: asleep(conn))
    conn.execute(f"ALTER TABLE rowhook.{table} RENAME TO gone")
    emit(conn)
    with pytest.raises((psycopg.errors.UndefinedTable, ExceptionGroup)) as raised:
        running.join()
    assert "does not exist" in str(raised.value) or raised.group_contains(psycopg.errors.UndefinedTable)
