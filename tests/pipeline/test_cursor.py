"""The dispatcher's cursor: nothing is lost, nothing comes twice, whatever the order in which transactions commit.

D is a dispatcher driven look by look, W a writer. What a look dispatched is counted in the looks themselves: the deliveries'
UNIQUE constraint would hide an event that came twice.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from relay.database import Session
from relay.dispatch import UNLIMITED, Dispatcher, Look
from relay.errors import DatabaseLost
from relay.model import Outcome, Result, Room, State
from relay.record import Recorder
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.pipeline.conftest import (
    PATIENCE,
    AddHook,
    Hook,
    MutateFunction,
    MutateQuery,
    one,
    run_text,
    statement,
    states,
    waits_for_lock,
)
from tests.pipeline.relays import eventually

ROOMY = Room(10**6, 10**6)
EMIT = "SELECT rowhook.emit('a.b', %s::text::json)"
# Steps of a look, as the function writes them: the window is opened, it is read, and all is done but the commit.
WINDOW, READ, END = "IF _cursor.target IS NULL THEN", "RETURN QUERY", "END\n$function$"
STOP_KEY = 4711
STOP = f"PERFORM set_config('lock_timeout', '0', true); PERFORM pg_advisory_xact_lock_shared({STOP_KEY});\n"
STOPPED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
BURN = "DO $$ BEGIN FOR i IN 1..%s LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


@dataclass
class Hand:
    """A dispatcher on a session of its own."""

    session: Session
    dispatcher: Dispatcher

    async def look(self, chunk: int = 1000, most_size: int = UNLIMITED) -> Look:
        return await self.dispatcher.look(ROOMY, chunk, most_size)

    async def look_all(self, chunk: int = 1000, most_size: int = UNLIMITED) -> list[int]:
        """Ids of all events leased until nothing is left, in order."""
        ids: list[int] = []
        while (look := await self.look(chunk, most_size)).events or look.skipped:
            ids += [row.event_id for row in look.leased]
        return ids


@pytest.fixture
async def hands(dsn: str, instance: Callable[[], int]) -> AsyncIterator[Callable[..., Awaitable[Hand]]]:
    """Make dispatchers; the role's lock is left out, so that two can run at once as after a network cut."""
    sessions: list[Session] = []

    async def make(database: str = dsn, of: int | None = None) -> Hand:
        session = Session(database, "dispatch", secrets.token_hex(4))
        sessions.append(session)
        dispatcher = Dispatcher(session, of or instance())
        dispatcher._system = (await session.row("dispatch.system"))["system_identifier"]
        return Hand(session, dispatcher)

    yield make
    for session in sessions:
        await session.close()


@pytest.fixture
def hook(add_hook: AddHook, conn: Connection) -> Hook:
    """An endpoint that wants everything; nobody sends to it."""
    return add_hook("http://127.0.0.1:9/hook", connection=conn)


class Before(Protocol):
    """Once, before a look takes this step, do something else: the look waits for a lock that the test holds meanwhile."""

    def __call__(self, step: str, action: Callable[[], object]) -> contextlib.AbstractContextManager[None]: ...


@pytest.fixture
def before(conn: Connection, connect: Connect, mutate_function: MutateFunction) -> Before:
    @contextlib.contextmanager
    def before(step: str, action: Callable[[], object]) -> Iterator[None]:
        mutate_function("rowhook.look", (step, STOP + step))
        holder = connect()
        holder.execute("SELECT pg_advisory_lock(%s)", [STOP_KEY])

        def act() -> None:
            try:
                eventually(lambda: one(conn, STOPPED, STOP_KEY), what="a look has stopped")
                action()
            finally:
                holder.execute("SELECT pg_advisory_unlock(%s)", [STOP_KEY])

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            acting = threads.submit(act)
            yield
            acting.result()

    return before


# --- hazard 1: ids against commits ---------------------------------------------------------------------------


async def test_an_event_that_commits_after_a_later_id_is_dispatched(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, connect: Connect
) -> None:
    """1 W1 inserts event 1. 2 W2 inserts event 2, commits. 3 D sees 2. 4 W1 commits. 5 D sees 1."""
    hand, late = await hands(), connect(autocommit=False)
    late.execute(EMIT, ["1"])
    conn.execute(EMIT, ["2"])
    highest = one(conn, "SELECT max(id) FROM rowhook.event")
    assert await hand.look_all() == [highest]
    late.commit()
    assert await hand.look_all() == [highest - 1]
    assert await hand.look_all() == []
    assert run_text(conn, f"SELECT id FROM rowhook.event WHERE id > {highest}") == [], "a cursor by highest id has lost it"


async def test_mutant_without_the_list_of_transactions_in_progress_loses_the_late_one(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, connect: Connect, mutate_function: MutateFunction
) -> None:
    mutate_function("rowhook.look", ("pg_snapshot_xip(_cursor.seen)", "pg_snapshot_xip('1:1:'::pg_snapshot)"))
    hand, late = await hands(), connect(autocommit=False)
    late.execute(EMIT, ["1"])
    conn.execute(EMIT, ["2"])
    assert len(await hand.look_all()) == 1
    late.commit()
    assert await hand.look_all() == []


# --- 1: lock, target, read, move: statements of their own ----------------------------------------------------

# Lock and window in one statement, waiting for the lock: what a first version did.
ONE_STATEMENT = """
WITH c AS MATERIALIZED (SELECT seen FROM rowhook.cursor FOR UPDATE),
     found AS (SELECT count(e.id) AS events FROM c, rowhook.event AS e
                WHERE pg_visible_in_snapshot(e.xid, pg_current_snapshot()) AND NOT pg_visible_in_snapshot(e.xid, c.seen)),
     moved AS (UPDATE rowhook.cursor SET seen = pg_current_snapshot())
SELECT events FROM found
"""


async def test_the_cursor_is_locked_by_a_statement_of_its_own(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, before: Before
) -> None:
    """1 D1 locks the cursor. 2 D2 looks: skipped. 3 W commits. 4 D1 takes its target, dispatches. 5 D2 looks: nothing."""
    first, second = await hands(), await hands()
    skipped: list[Look] = []
    loop = asyncio.get_running_loop()

    def meanwhile() -> None:
        skipped.append(asyncio.run_coroutine_threadsafe(second.look(), loop).result(5))
        conn.execute(EMIT, ["1"])

    with before(WINDOW, meanwhile):
        assert (await first.look()).events == 1
    assert skipped[0].skipped
    assert (await second.look()).events == 0
    assert (await first.look()).events == 0


async def test_mutant_with_lock_and_window_in_one_statement_goes_back(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, connect: Connect, before: Before
) -> None:
    """1 D1 locks the cursor. 2 The mutant's statement takes its snapshot, waits. 3 W commits. 4 D1 dispatches. 5 The mutant moves
    the cursor to its older snapshot. 6 D1 looks: the event comes again."""
    first, mutant = await hands(), connect()
    thread = threading.Thread(target=lambda: mutant.execute(ONE_STATEMENT))

    def meanwhile() -> None:
        thread.start()
        eventually(lambda: waits_for_lock(conn, mutant))
        conn.execute(EMIT, ["1"])

    with before(WINDOW, meanwhile):
        assert (await first.look()).events == 1
    await asyncio.to_thread(thread.join)
    assert (await first.look()).events == 1, "the mutant has put the cursor back"


async def test_a_look_is_read_committed_whatever_the_databases_default_is(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, connect: Connect
) -> None:
    """In any other isolation its statements would share a snapshot: it refuses, and a relay's session never has another."""
    conn.execute(EMIT, ["1"])
    conn.execute(f"ALTER DATABASE {one(conn, 'SELECT current_database()')} SET default_transaction_isolation = 'repeatable read'")
    other = connect()
    with pytest.raises(psycopg.errors.RaiseException, match="needs read committed"):
        other.execute("SELECT * FROM rowhook.look(1, 1, false, 1, 1, 1, 1, 1, '{}', '{}')")
    assert (await (await hands()).look()).events == 1


async def test_two_dispatchers_at_once_dispatch_every_event_exactly_once(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, connect: Connect
) -> None:
    """Writers with savepoints, rollbacks and transactions held open, two dispatchers all the while: of few and of small ones."""
    writers = [threading.Thread(target=_write, args=(connect(autocommit=False), seed)) for seed in range(4)]
    looking = True

    async def look_on(hand: Hand, chunk: int, most_size: int) -> list[int]:
        seen = 0
        ids: list[int] = []
        while looking or seen:
            look = await hand.look(chunk, most_size)
            seen = look.events or look.skipped
            ids += [row.event_id for row in look.leased]
            assert look.events == len(look.leased), "an event came that had its delivery already"
        return ids

    tasks = [asyncio.create_task(look_on(await hands(), *chunk)) for chunk in ((7, UNLIMITED), (1000, 20))]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join)
    looking = False
    dispatched = [event for task in tasks for event in await task]
    assert sorted(dispatched) == [row["id"] for row in run_text(conn, "SELECT id FROM rowhook.event ORDER BY id")]
    assert all(task.result() for task in tasks), "both have had their share"


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
async def test_a_chunk_ends_where_it_is_large_enough_and_the_next_begins_there(
    hands: Callable[..., Awaitable[Hand]],
    hook: Hook,
    conn: Connection,
    connect: Connect,
    mutate_function: MutateFunction,
    mutant: bool,
) -> None:
    """Large events of a late transaction and of fresh ones. The mutant takes what it left for read, and loses it."""
    if mutant:
        mutate_function("rowhook.look", ("(max(c.next_id) > max(c.id)) IS NOT TRUE", "true"))
    hand, late = await hands(), connect(autocommit=False)
    large = "SELECT rowhook.emit('a.b', to_json(repeat('x', %s))) FROM generate_series(1, %s)"
    late.execute(large, [100_000, 3])
    conn.execute(large, [30, 1])
    assert (await hand.look()).events == 1
    late.commit()
    conn.execute(large, [100_000, 3])
    conn.execute(large, [30, 50])
    first = await hand.look(most_size=1)
    assert (first.events, first.parked, first.more) == (1, 0, not mutant), "one at the least"
    second = await hand.look(most_size=150_000)
    if not mutant:
        assert (second.events, second.more) == (2, True), "the one with which it is large enough is the last"
    rest = await hand.look_all(most_size=150_000)
    assert 1 + second.events + len(rest) == (1 if mutant else 56)
    assert not (await hand.look()).more


async def test_an_old_window_says_nothing_of_what_has_committed_since(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection
) -> None:
    hand = await hands()
    conn.execute(EMIT, ["1"])
    assert ((look := await hand.look(1)).events, look.more) == (1, True)
    conn.execute(EMIT, ["2"])
    assert ((look := await hand.look()).events, look.more) == (0, True), "the window's end, and no more than that"
    assert ((look := await hand.look()).events, look.more) == (1, False)


def _write(connection: Connection, seed: int) -> None:
    for n in range(60):
        connection.execute(EMIT, [str(n)])
        if n % 3 == seed % 3:
            with contextlib.suppress(ZeroDivisionError), connection.transaction():
                connection.execute(EMIT, ["0"])
                raise ZeroDivisionError
        if n % 5 == seed:
            connection.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 20)")
            time.sleep(0.005)  # held open while others commit
        if n % 7 == seed:
            connection.rollback()
        else:
            connection.commit()


# --- 2: target first, read later -----------------------------------------------------------------------------

# The target is not what it was when the window was opened: by the statement that reads, or by one after it.
MOVES_TO_NOW = {
    READ: ("THEN _cursor.target ELSE _cursor.seen END", "THEN pg_current_snapshot() ELSE _cursor.seen END"),
    END: (END, "UPDATE rowhook.cursor AS c SET seen = pg_current_snapshot();\n" + END),
}


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
@pytest.mark.parametrize("step", [READ, END], ids=["read", "end"])
async def test_the_target_is_taken_before_the_window_is_read(
    hands: Callable[..., Awaitable[Hand]],
    hook: Hook,
    conn: Connection,
    before: Before,
    mutate_function: MutateFunction,
    step: str,
    mutant: bool,
) -> None:
    """1 W commits an event. 2 D takes its target. 3 Another commits, before D reads or commits. 4 D looks again: it is there."""
    if mutant:
        mutate_function("rowhook.look", MOVES_TO_NOW[step])
    hand = await hands()
    conn.execute(EMIT, ["1"])
    where = MOVES_TO_NOW[step][1] if mutant and step == END else step
    with before(where, lambda: conn.execute(EMIT, ["2"])):
        first = await hand.look_all(chunk=5)
    everything = first + await hand.look_all()
    assert len(everything) == (1 if mutant else 2)


# --- 3: who stores a snapshot writes no events ---------------------------------------------------------------


async def test_an_event_of_the_relays_own_is_dispatched_because_it_has_its_own_transaction(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, add_hook: AddHook, conn: Connection, dsn: str, delivery: Callable[..., Any]
) -> None:
    add_hook("http://127.0.0.1:9/told", ["endpoint.disabled"], connection=conn)
    hand = await hands()
    assert await hand.look_all() == []
    session = Session(dsn, "record")
    recorder = Recorder(session, PATIENCE, lambda batch: None)
    gone = delivery(hook, number=1)
    outcome = Outcome(time.monotonic(), 0.1, status_code=410)
    await recorder._write([Result(gone, outcome, State.DEAD, counted=True, disable="gone")])
    await session.close()
    assert len(await hand.look_all()) == 1


async def test_mutant_that_stores_a_snapshot_and_writes_an_event_loses_it(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, connect: Connect
) -> None:
    """1 M writes an event. 2 W begins later, commits. 3 M moves the cursor to its snapshot, in which its own id is visible, and
    commits. 4 D sees nothing."""
    hand, mutant = await hands(), connect(autocommit=False)
    mutant.execute(EMIT, ["1"])
    conn.execute("SELECT pg_current_xact_id()")
    mutant.execute("UPDATE rowhook.cursor SET seen = pg_current_snapshot()")
    mutant.commit()
    assert await hand.look_all() == []
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 1


# --- 4: an old transaction doesn't make every look read what lies between ------------------------------------

BLOCKS = """
SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read, 0) + coalesce(idx_blks_hit, 0))::bigint
  FROM pg_statio_user_tables WHERE schemaname = 'rowhook' AND relname LIKE 'event\\_%'
"""
PEEK_BOUND, LOOK_BOUND = 200, 500


async def _blocks(hand: Hand, conn: Connection, work: Callable[[], Awaitable[object]]) -> int:
    """Blocks of events that one piece of work on this session read.

    Both sessions are made to report what they have read, also before the work: each does so once a second at most, and what
    the test wrote would be counted as the work's.
    """

    async def count() -> int:
        connection = await hand.session.connection()
        for ask in ("SELECT pg_stat_force_next_flush()", "SELECT 1"):
            await connection.execute(ask)
            conn.execute(ask)
        return int(one(conn, BLOCKS))

    earlier = await count()
    await work()
    return await count() - earlier


def _leave_alone(conn: Connection) -> None:
    """What autovacuum reads would be counted."""
    for slot in range(10):
        conn.execute(f"ALTER TABLE rowhook.event_{slot} SET (autovacuum_enabled = false)")


@pytest.mark.parametrize("analysed", [False, True], ids=["never analysed", "analysed"])
async def test_an_old_writer_with_100_000_events_after_it_does_not_make_every_look_read_them(
    hands: Callable[..., Awaitable[Hand]], conn: Connection, connect: Connect, mutate_function: MutateFunction, analysed: bool
) -> None:
    """1 W1 inserts event 1, stays open. 2 100,000 events commit in 100 transactions; D dispatches them. 3 W2 commits one more."""
    _leave_alone(conn)
    hand, old = await hands(), connect(autocommit=False)
    old.execute(EMIT, ["1"])
    for _ in range(100):
        conn.execute("INSERT INTO rowhook.event (op, type, data) SELECT 'emit', 'a.b', '1' FROM generate_series(1, 1000)")
    if analysed:
        conn.execute("ANALYZE rowhook.event")
    while (await hand.look(5000)).events:
        pass
    conn.execute(EMIT, ["2"])

    async def look_once() -> None:
        assert (await hand.look()).events == 1

    assert await _blocks(hand, conn, hand.dispatcher.peek) < PEEK_BOUND
    assert await _blocks(hand, conn, look_once) < LOOK_BOUND
    assert await _blocks(hand, conn, hand.dispatcher.peek) < PEEK_BOUND, "nor does the look before sleep"
    old.commit()
    assert await _blocks(hand, conn, look_once) < LOOK_BOUND, "nor the one that finds the old one's event"

    old.execute(EMIT, ["3"])
    await hand.look()
    conn.execute("INSERT INTO rowhook.event (op, type, data) SELECT 'emit', 'a.b', '1' FROM generate_series(1, 50000)")
    while (await hand.look(5000)).events:
        pass
    conn.execute(EMIT, ["4"])
    since_xmin = "e.xid >= pg_snapshot_xmin(_cursor.seen) AND NOT pg_visible_in_snapshot(e.xid, _cursor.seen)"
    mutate_function("rowhook.look", ("e.xid >= pg_snapshot_xmax(_cursor.seen)", since_xmin))
    assert await _blocks(hand, conn, look_once) > LOOK_BOUND, "the mutant reads from the oldest transaction on"


async def test_mutant_that_asks_for_the_lowest_id_by_the_primary_key_reads_all_events_ever(
    hands: Callable[..., Awaitable[Hand]], conn: Connection, mutate_function: MutateFunction
) -> None:
    _leave_alone(conn)
    hand = await hands()
    conn.execute("INSERT INTO rowhook.event (op, type, data) SELECT 'emit', 'a.b', '1' FROM generate_series(1, 100000)")
    while (await hand.look(50_000)).events:
        pass
    conn.execute(EMIT, ["1"])
    assert await _blocks(hand, conn, hand.look) < LOOK_BOUND
    conn.execute(EMIT, ["2"])
    mutate_function("rowhook.look", ("min(e.id + 0)", "min(e.id)"))
    assert await _blocks(hand, conn, hand.look) > LOOK_BOUND


# --- chunks --------------------------------------------------------------------------------------------------


async def test_a_copy_of_20_000_rows_is_cut_into_chunks_in_id_order_and_a_crash_between_them_loses_nothing(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, user_id: int, before: Before
) -> None:
    """1 COPY commits. 2 D1 dispatches three chunks. 3 Its session is ended before the fourth commits. 4 D2 goes on."""
    with conn.cursor().copy("COPY expenses (user_id, amount) FROM STDIN") as copy:
        for n in range(20_000):
            copy.write_row((user_id, n))
    first, second = await hands(), await hands()
    ids: list[int] = []
    for _ in range(3):
        look = await first.look()
        assert look.events == 1000
        ids += [row.event_id for row in look.leased]
    pid = (await first.session.connection()).info.backend_pid

    def crash() -> None:
        conn.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with before(END, crash), pytest.raises(DatabaseLost):
        await first.look()
    looks = 0
    while (look := await second.look()).events:
        looks += 1
        assert look.events <= 1000
        ids += [row.event_id for row in look.leased]
    assert looks == 17
    assert ids == sorted(ids)
    assert ids == [row["id"] for row in run_text(conn, "SELECT id FROM rowhook.event ORDER BY id")]
    assert states(conn) == {"leased": 20_000}


async def test_a_window_in_chunks_takes_late_and_fresh_events_in_id_order(
    hands: Callable[..., Awaitable[Hand]], hook: Hook, conn: Connection, connect: Connect
) -> None:
    """1 W inserts 10 events. 2 Others commit 5, D dispatches them. 3 W inserts 10 more, others 15; W commits. 4 Chunks of 4."""
    hand, late = await hands(), connect(autocommit=False)
    many = "SELECT rowhook.emit('a.b', '1') FROM generate_series(1, %s)"
    late.execute(many, [10])
    conn.execute(many, [5])
    first = await hand.look_all()
    for _ in range(5):
        late.execute(many, [2])
        conn.execute(many, [3])
    late.commit()
    second = await hand.look_all(chunk=4)
    assert second == sorted(second)
    assert sorted(first + second) == [row["id"] for row in run_text(conn, "SELECT id FROM rowhook.event ORDER BY id")]
    assert len(first) == 5


# --- 7: restore into another cluster -------------------------------------------------------------------------

RESEED_TO_NOW = """
UPDATE rowhook.cursor
   SET seen = pg_current_snapshot(), target = NULL, position = NULL, fresh_from = NULL, system_identifier = %(system)s
RETURNING 0 AS parked, 0 AS frozen
"""


@dataclass
class Restored:
    """A dump of a database whose transaction ids are far ahead, and how to restore it into a cluster that began lately."""

    cluster: Cluster
    dump: Path
    finished: set[int]
    unwanted: set[int]
    open: set[int]
    highest_xid: int

    def restore(self) -> str:
        name = self.cluster.create_database()
        self.cluster.run("pg_restore", "--no-owner", "-d", name, str(self.dump))
        return name


@pytest.fixture
async def restored(
    hands: Callable[..., Awaitable[Hand]],
    cluster: Cluster,
    start_cluster: Callable[..., Cluster],
    add_hook: AddHook,
    conn: Connection,
    dsn: str,
    tmp_path: Path,
) -> Restored:
    conn.execute(BURN % 20_000)
    hand = await hands()
    emit = "SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 3)"

    def ids() -> set[int]:
        return {row["id"] for row in run_text(conn, "SELECT id FROM rowhook.event")}

    conn.execute(emit)  # nobody wanted these
    await hand.look_all()
    unwanted = ids()
    add_hook("http://127.0.0.1:9/hook", connection=conn)
    conn.execute(emit)
    assert len(await hand.look_all()) == 3
    finished = ids() - unwanted
    conn.execute("UPDATE rowhook.delivery SET state = 'delivered', ended_at = now(), instance_id = NULL")
    conn.execute(emit)  # not dispatched before the dump
    name = one(conn, "SELECT current_database()")
    dump = tmp_path / "dump"
    cluster.run("pg_dump", "-Fc", "-f", str(dump), "-d", name)
    other = start_cluster()
    roles = run_text(
        conn, "SELECT format('CREATE ROLE %I NOLOGIN', rolname) AS made FROM pg_roles WHERE rolname LIKE 'rowhook\\_%'"
    )
    with other.connect() as connection:  # roles belong to a cluster, not to a dump of a database
        for role in roles:
            connection.execute(role["made"])
        began = one(connection, "SELECT pg_current_xact_id()::text::bigint")
    highest = one(conn, "SELECT max(xid::text::bigint) FROM rowhook.event")
    assert one(conn, "SELECT min(xid::text::bigint) FROM rowhook.event") > began + 10_000
    return Restored(other, dump, finished, unwanted, ids() - unwanted - finished, highest)


async def _after_restore(
    restored: Restored, hands: Callable[..., Awaitable[Hand]], name: str
) -> tuple[list[int], list[int], set[int]]:
    """Events that got deliveries at the first looks, and after the counter has passed the old ids; and which were new."""
    old = restored.finished | restored.unwanted | restored.open
    with restored.cluster.connect(name) as connection:
        connection.execute("INSERT INTO rowhook.instance (id, name) VALUES (7, 'after restore')")
        connection.execute("SELECT rowhook.emit('a.b', '1')")
        hand = await hands(restored.cluster.dsn(name), of=7)
        known = "SELECT event_id FROM rowhook.delivery ORDER BY id"
        had = [row["event_id"] for row in run_text(connection, known)]
        for _ in range(3):
            await hand.look_all()
        first = [row["event_id"] for row in run_text(connection, known)]
        connection.execute("SELECT rowhook.emit('a.b', '1')")
        connection.execute(BURN % (restored.highest_xid - one(connection, "SELECT pg_current_xact_id()::text::bigint") + 10))
        connection.execute("SELECT rowhook.emit('a.b', '1')")
        looked = 0
        while (look := await hand.look()).events:
            looked += look.events
        everything = [row["event_id"] for row in run_text(connection, known)]
        new = {row["id"] for row in run_text(connection, "SELECT id FROM rowhook.event")} - old
        await hand.session.close()
    return first[len(had) :], everything[len(first) :], new


async def test_after_a_restore_into_another_cluster_open_events_are_dispatched_once_and_no_finished_one_comes_back(
    restored: Restored, hands: Callable[..., Awaitable[Hand]]
) -> None:
    """1 Dump with dispatched and open events. 2 Restore where ids are lower. 3 A new event. 4 D looks. 5 The counter passes the
    old ids, one more event. 6 D looks."""
    first, later, new = await _after_restore(restored, hands, restored.restore())
    assert len(new) == 3
    assert set(first) == restored.open | {min(new)}
    assert set(later) == new - {min(new)}
    assert len(first + later) == len(set(first + later)) == 6


async def test_mutant_that_only_begins_anew_after_a_restore_loses_the_open_and_brings_back_the_finished(
    restored: Restored, hands: Callable[..., Awaitable[Hand]], mutate_query: MutateQuery
) -> None:
    mutate_query("dispatch.reseed", (statement("dispatch.reseed"), RESEED_TO_NOW))
    first, later, _ = await _after_restore(restored, hands, restored.restore())
    assert not restored.open & set(first)
    assert restored.unwanted <= set(later)


async def test_an_old_id_that_meets_a_transaction_in_progress_after_the_restore_does_not_come_back(
    restored: Restored, hands: Callable[..., Awaitable[Hand]]
) -> None:
    """1 After the restore W is in progress under an id that a finished event carries. 2 D begins anew. 3 W ends. 4 D looks."""
    name = restored.restore()
    with restored.cluster.connect(name) as connection, psycopg.connect(restored.cluster.dsn(name)) as writer:
        connection.execute("INSERT INTO rowhook.instance (id, name) VALUES (7, 'after restore')")
        hand = await hands(restored.cluster.dsn(name), of=7)
        old = min(restored.unwanted)
        xid = one(writer, "SELECT pg_current_xact_id()::text")
        connection.execute("UPDATE rowhook.event SET xid = %s::text::xid8 WHERE id = %s", [xid, old])
        connection.execute("SELECT pg_current_xact_id()")
        while (look := await hand.look()).events or look.parked:
            pass
        writer.commit()
        assert (await hand.look()).events == 0
        await hand.session.close()
