"""The bell rings for whoever armed it, exactly when it must, and never breaks a writer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from relay.migrations import migrate
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.sql.conftest import ARM, Events, Mutate, Rings, one

INSERT = "INSERT INTO expenses (user_id, amount) VALUES (1, 1)"
PAUSE = 4711  # the key of the advisory lock at which a writer is made to wait

CAPTURE = r"capture_\d+_insert"
READS_CLOCK = "_now := date_part('epoch', clock_timestamp()) * 1000;"
READS_FLAG = "_armed := pg_sequence_last_value('rowhook.doorbell'::regclass);"
RING_READS_CLOCK = "_now := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000;"
RING_READS_FLAG = "_armed := pg_catalog.pg_sequence_last_value('rowhook.doorbell'::pg_catalog.regclass);"
WAITS = f"PERFORM pg_advisory_xact_lock({PAUSE});"
# Of a relay that died, say: a flag of 0 needs no clock.
RUN_OUT = "SELECT setval('rowhook.doorbell', (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1)"


@pytest.fixture
def writer(connect: Connect, user_id: int) -> Connection:
    return connect()


def test_an_armed_bell_rings_on_commit(writer: Connection, conn: Connection, rings: Rings) -> None:
    conn.execute(ARM)
    with writer.transaction():
        writer.execute(INSERT)
        assert not rings()
    assert rings()


def test_a_bell_that_was_never_armed_is_silent(writer: Connection, rings: Rings) -> None:
    writer.execute(INSERT)
    assert not rings()


def test_a_bell_whose_time_ran_out_is_silent(writer: Connection, conn: Connection, rings: Rings) -> None:
    conn.execute(RUN_OUT)
    writer.execute(INSERT)
    assert not rings()


def test_a_statement_that_changes_nothing_does_not_ring(writer: Connection, conn: Connection, rings: Rings) -> None:
    conn.execute(ARM)
    writer.execute("UPDATE expenses SET amount = 5 WHERE false")
    writer.execute("DELETE FROM expenses WHERE false")
    assert not rings()


def test_the_probe_rings_through_a_real_trigger(conn: Connection, rings: Rings, events: Events) -> None:
    conn.execute(ARM)
    conn.execute("UPDATE rowhook.probe SET rung_at = clock_timestamp()")
    assert rings()
    assert events() == []


def test_emit_rings(conn: Connection, rings: Rings) -> None:
    conn.execute(ARM)
    conn.execute("SELECT rowhook.emit('order.shipped')")
    assert rings()


@pytest.mark.parametrize("order", ["clock-then-flag", "mutant-flag-then-clock"])
@pytest.mark.parametrize(
    ("function", "reads_clock", "reads_flag", "writes"),
    [
        pytest.param(CAPTURE, READS_CLOCK, READS_FLAG, INSERT, id="capture"),
        pytest.param("ring", RING_READS_CLOCK, RING_READS_FLAG, "SELECT rowhook.emit('order.shipped')", id="ring"),
    ],
)
def test_clock_before_flag__a_bell_armed_while_the_writer_pauses_between_them_rings(
    writer: Connection,
    conn: Connection,
    mutate: Mutate,
    rings: Rings,
    function: str,
    reads_clock: str,
    reads_flag: str,
    writes: str,
    order: str,
) -> None:
    if order.startswith("mutant"):
        mutate(function, reads_clock, "-- the flag")
        mutate(function, reads_flag, reads_clock)
        mutate(function, "-- the flag", reads_flag + WAITS)
    else:
        mutate(function, reads_clock, reads_clock + WAITS)
        mutate(function, reads_flag, "\n" + reads_flag)  # it is there, and after the pause
    reads = one(conn, "SELECT prosrc FROM pg_proc WHERE pronamespace = 'rowhook'::regnamespace AND proname ~ %s", f"^{function}$")
    assert (reads.index(reads_clock) < reads.index(WAITS) < reads.index(reads_flag)) is not order.startswith("mutant")

    conn.execute(RUN_OUT)
    with conn.transaction():
        one(conn, f"SELECT pg_advisory_xact_lock({PAUSE})")
        writing = threading.Thread(target=writer.execute, args=[writes])
        writing.start()
        wait_for_waiter(conn, writer)
        conn.execute(ARM)
    writing.join(10)
    assert rings() is not order.startswith("mutant")


@pytest.mark.parametrize("order", ["events-then-bell", "mutant-bell-then-events"])
def test_events_before_bell__whoever_has_read_the_flag_holds_a_lock_on_event(
    writer: Connection, conn: Connection, mutate: Mutate, order: str
) -> None:
    """The relay, once it has armed, waits for those that hold a lock on rowhook.event: the pausing writer must."""
    mutate(CAPTURE, READS_FLAG, READS_FLAG + WAITS)
    if order.startswith("mutant"):
        mutate(CAPTURE, "BEGIN\n    IF greatest", f"BEGIN\n{READS_FLAG}{WAITS}\n    IF greatest")
    source = one(conn, "SELECT prosrc FROM pg_proc WHERE proname ~ %s", f"^{CAPTURE}$")
    assert (source.index("INTO rowhook.event ") < source.index("'rowhook.doorbell'")) is not order.startswith("mutant")

    conn.execute(RUN_OUT)
    with conn.transaction():
        one(conn, f"SELECT pg_advisory_xact_lock({PAUSE})")
        writing = threading.Thread(target=writer.execute, args=[INSERT])
        writing.start()
        wait_for_waiter(conn, writer)
        in_flight = one(
            conn,
            "SELECT count(*) FROM pg_locks WHERE locktype = 'relation'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND relation = 'rowhook.event'::regclass AND pid = %s",
            writer.info.backend_pid,
        )
    writing.join(10)
    assert in_flight == (1 if order == "events-then-bell" else 0)


def test_columns_named_like_the_functions_variables_are_captured(conn: Connection, rings: Rings) -> None:
    conn.execute("CREATE TYPE moment AS (at text, slot text)")
    conn.execute("CREATE TABLE clocks (_now int PRIMARY KEY, _armed text, op text, at text, slot text, rowhook_now moment)")
    conn.execute("SELECT rowhook.capture('clocks')")
    names = "_now,_armed,op,at,slot,rowhook_now"
    conn.execute("SELECT rowhook.capture('clocks', include => %s, tenant => '_armed', on_error => 'record')", ["{" + names + "}"])
    conn.execute(ARM)
    conn.execute("INSERT INTO clocks VALUES (1, 'a', 'b', 'never', 'none', ('x', 'y'))")
    conn.execute("UPDATE clocks SET _armed = 'c'")
    assert rings()
    assert one(conn, "SELECT count(*) FROM rowhook.event WHERE table_name = 'clocks'") == 3
    assert one(conn, "SELECT count(*) FROM rowhook.capture_failure") == 0


def test_the_functions_owner_may_read_the_flag(writer: Connection, conn: Connection, rings: Rings, events: Events) -> None:
    owner = one(conn, "SELECT proowner::regrole::text FROM pg_proc WHERE proname ~ '^capture_\\d+_insert$'")
    assert owner == "rowhook_capture"
    assert one(conn, "SELECT has_sequence_privilege(%s, 'rowhook.doorbell', 'SELECT')", owner)
    conn.execute(ARM)
    writer.execute(INSERT)
    assert rings()


def test_mutant__an_owner_that_may_not_read_the_flag_breaks_the_writer_or_never_rings(
    writer: Connection, conn: Connection, rings: Rings, events: Events
) -> None:
    conn.execute("REVOKE SELECT ON SEQUENCE rowhook.doorbell FROM rowhook_capture")
    conn.execute(ARM)
    if conn.info.server_version < 180000:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(INSERT)
        assert events() == []
    else:
        writer.execute(INSERT)
        assert not rings()
        assert len(events()) == 1


def test_where_two_phase_commit_is_on_prepare_works_although_the_bell_is_armed(
    start_cluster: Callable[..., Cluster],
) -> None:
    cluster = start_cluster(max_prepared_transactions=5)
    dsn = cluster.dsn(cluster.create_database("two_phase"))
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE orders (id int PRIMARY KEY)")
        conn.execute("SELECT rowhook.capture('orders')")
        conn.execute(ARM)

        conn.execute("BEGIN; INSERT INTO orders VALUES (1); PREPARE TRANSACTION 'one'")
        assert one(conn, "SELECT count(*) FROM rowhook.event") == 0
        conn.execute("COMMIT PREPARED 'one'")
        assert one(conn, "SELECT count(*) FROM rowhook.event") == 1

        # The mutant: without the test of the setting, the writer's PREPARE fails.
        definition = one(conn, "SELECT pg_get_functiondef('rowhook.ring()'::regprocedure)")
        condition = " AND pg_catalog.current_setting('max_prepared_transactions') = '0'"
        assert condition in definition
        conn.execute(definition.replace(condition, ""))
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            conn.execute("BEGIN; INSERT INTO orders VALUES (2); PREPARE TRANSACTION 'two'")


def test_arming_an_idle_database_writes_no_wal(conn: Connection) -> None:
    """A logged sequence would take a transaction id and write WAL at each renewal, all night long."""
    persistence = one(conn, "SELECT relpersistence FROM pg_class WHERE oid = 'rowhook.doorbell'::regclass")
    assert persistence == ("u" if conn.info.server_version >= 150000 else "p")


def test_a_crash_disarms_the_bell(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster()
    dsn = cluster.dsn(cluster.create_database("crash"))
    migrate(dsn)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(ARM)
        assert one(conn, "SELECT pg_sequence_last_value('rowhook.doorbell'::regclass)") > 0
    cluster.restart("immediate")
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert one(conn, "SELECT pg_sequence_last_value('rowhook.doorbell'::regclass)") is None
        conn.execute("SELECT rowhook.emit('order.shipped')")


def wait_for_waiter(conn: Connection, waiting: Connection) -> None:
    """Until that session waits for an advisory lock."""
    deadline = time.monotonic() + 10
    while not one(
        conn,
        "SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype = 'advisory' AND NOT granted",
        waiting.info.backend_pid,
    ):
        assert time.monotonic() < deadline, "the writer never came to the pause"
        time.sleep(0.01)
