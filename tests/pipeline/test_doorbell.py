"""The relay's side of the doorbell: arm, ask who is in flight, look; who may arm; what must not keep it awake.

W is a writer, R the relay's doorbell, driven by hand on sessions of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

import relay.doorbell
from relay.database import Session
from relay.dispatch import UNLIMITED, Dispatcher, Look
from relay.doorbell import FEW, SOME, Bell, Doorbell, Listener
from relay.errors import ConfigError, DatabaseLost
from relay.model import ROLE_KEY, Room
from relay.tenure import Tenure
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, MutateFunction, MutateQuery, add_user, amounts, asleep, one, spend, waits_for_lock
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Receiver

PROMPT = 2.0  # well before a renewal, which comes after 15 s
DEAF_FOR = 0.4  # long enough to tell "asleep" from "about to wake"

Peek = Callable[[], Awaitable[bool]]


@dataclass
class Bench:
    """A doorbell with all that it needs, and a count of its looks."""

    session: Session
    bell: Bell
    dispatcher: Dispatcher
    looks: int = 0
    looked: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def look(self) -> bool:
        found = await self.dispatcher.peek()
        async with self.looked:
            self.looks += 1
            self.looked.notify_all()
        return found

    async def has_looked(self, times: int) -> None:
        async with self.looked, asyncio.timeout(5):
            await self.looked.wait_for(lambda: self.looks >= times)


@pytest.fixture
async def bench(dsn: str, instance: Callable[[], int]) -> AsyncIterator[Bench]:
    session, bell = Session(dsn, "dispatch", "by hand", holds=True), Bell()
    listener = Listener(dsn, "by hand", bell.ring, lambda: None)
    listening = asyncio.create_task(listener.run())
    await listener.listening.wait()
    dispatcher = Dispatcher(session, instance())
    assert await dispatcher.take_role()
    yield Bench(session, bell, dispatcher)
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    await session.close()


@pytest.fixture
def writer(connect: Connect, user_id: int) -> Connection:
    """W: one expense to begin with is dispatched away, so that nothing is new."""
    return connect(autocommit=False)


async def wakes(sleeping: asyncio.Task[None], within: float) -> bool:
    done, _ = await asyncio.wait({sleeping}, timeout=within)
    for task in done:
        task.result()
    return bool(done)


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


# --- 2: arm, then locks, then look ---------------------------------------------------------------------------


class LooksBeforeLocks(Doorbell):
    """Mutant: look, then ask for locks."""

    async def _arm_and_look(self, look: Peek) -> bool:
        await self.arm()
        found = await look()
        in_flight = await self.holders()
        while in_flight and not found and not await self.bell.wait(0.01):
            found = await look()
            in_flight &= await self.holders()
        return found or self.bell.has_rung


class WaitsForNobody(Doorbell):
    """Mutant: whoever is in flight is forgotten."""

    async def holders(self) -> frozenset[str]:
        return frozenset()


async def test_a_writer_that_saw_the_bell_unarmed_is_waited_for(bench: Bench, writer: Connection, user_id: int) -> None:
    """1 W inserts; the flag is not armed. 2 R arms, sees W's lock, looks: nothing. 3 W commits, rings nobody. 4 R finds it."""
    spend(writer, user_id)
    doorbell = Doorbell(bench.session, bench.bell)
    sleeping = asyncio.create_task(doorbell.sleep(bench.look))
    await bench.has_looked(3)
    assert not sleeping.done()
    writer.commit()
    assert await wakes(sleeping, PROMPT)
    assert not bench.bell.has_rung, "it was found, not heard of"
    assert await bench.dispatcher.peek()


async def test_mutant_that_waits_for_nobody_misses_that_writer_until_renewal(
    bench: Bench, writer: Connection, user_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay.doorbell, "RENEW_AFTER", 1.0)
    spend(writer, user_id)
    mutant = WaitsForNobody(bench.session, bench.bell)
    sleeping = asyncio.create_task(mutant.sleep(bench.look))
    await bench.has_looked(1)
    writer.commit()
    assert not await wakes(sleeping, DEAF_FOR)
    assert await wakes(sleeping, 3.0), "the renewal is a full cycle: it finds what was missed"
    assert mutant.missed_rings == 1, "and it is counted"


@pytest.mark.parametrize("kind", [Doorbell, LooksBeforeLocks])
async def test_locks_are_asked_for_before_the_look_never_after(
    bench: Bench, writer: Connection, user_id: int, kind: type[Doorbell]
) -> None:
    """1 W inserts: flag not armed. 2 R arms. 3 R's first question. 4 W commits. 5 R's second one."""
    spend(writer, user_id)
    doorbell = kind(bench.session, bench.bell)
    questions = 0

    async def between() -> None:
        nonlocal questions
        questions += 1
        if questions == 1:
            await asyncio.to_thread(writer.commit)

    async def look() -> bool:
        found = await bench.look()
        await between()
        return found

    real = doorbell.holders

    async def holders() -> frozenset[str]:
        held = await real()
        await between()
        return held

    doorbell.holders = holders  # type: ignore[method-assign]
    sleeping = asyncio.create_task(doorbell.sleep(look))
    assert await wakes(sleeping, DEAF_FOR) is (kind is Doorbell)
    await end(sleeping)


@pytest.mark.parametrize("kind", [Doorbell, LooksBeforeLocks])
async def test_each_round_of_waiting_asks_for_locks_first(
    bench: Bench, writer: Connection, user_id: int, kind: type[Doorbell]
) -> None:
    """As above, but W commits between the two questions of the second round."""
    spend(writer, user_id)
    doorbell = kind(bench.session, bench.bell)
    questions = 0

    async def between() -> None:
        nonlocal questions
        questions += 1
        if questions == 3:
            await asyncio.to_thread(writer.commit)

    async def look() -> bool:
        found = await bench.look()
        await between()
        return found

    real = doorbell.holders

    async def holders() -> frozenset[str]:
        held = await real()
        await between()
        return held

    doorbell.holders = holders  # type: ignore[method-assign]
    sleeping = asyncio.create_task(doorbell.sleep(look))
    assert await wakes(sleeping, DEAF_FOR) is (kind is Doorbell)
    await end(sleeping)


ONE_STATEMENT = """
WITH looked AS MATERIALIZED (SELECT EXISTS (SELECT FROM rowhook.event AS e, rowhook.cursor AS c
                                             WHERE NOT pg_visible_in_snapshot(e.xid, c.seen)) AS found),
     gate AS MATERIALIZED (SELECT pg_advisory_lock_shared(42)::text, found FROM looked)
SELECT g.found, (SELECT count(*) FROM pg_locks AS l WHERE l.relation = 'rowhook.event'::regclass
                    AND l.mode = 'RowExclusiveLock' AND g.found IS NOT NULL) AS holders
  FROM gate AS g
"""


async def test_mutant_that_asks_for_locks_and_events_in_one_statement_misses_an_event(
    bench: Bench, writer: Connection, connect: Connect, conn: Connection, user_id: int
) -> None:
    """1 W inserts. 2 R's one statement takes its snapshot. 3 W commits. 4 It reads pg_locks: nobody there, nothing found."""
    gate, asking = connect(), connect()
    gate.execute("SELECT pg_advisory_lock(42)")
    spend(writer, user_id)
    await bench.session.rows("doorbell.arm", {"until": "30s"})
    answer = asyncio.create_task(asyncio.to_thread(lambda: asking.execute(ONE_STATEMENT).fetchone()))
    await asyncio.to_thread(eventually, lambda: waits_for_lock(conn, asking))
    writer.commit()
    gate.execute("SELECT pg_advisory_unlock(42)")
    assert await answer == (False, 0), "it would go to sleep"
    assert await bench.dispatcher.peek(), "the relay's own order looks once more, and finds"


# --- 3 and hazard 2: who must not keep it awake --------------------------------------------------------------


async def test_readers_vacuums_and_other_databases_do_not_keep_it_awake(
    bench: Bench, connect: Connect, cluster: Cluster, finmind_template: str, writer: Connection, user_id: int
) -> None:
    elsewhere = cluster.create_database(template=finmind_template)
    try:
        idle_reader, long_reader, dump, vacuum = (connect(autocommit=False) for _ in range(4))
        idle_reader.execute("SELECT count(*) FROM expenses")
        long_reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        long_reader.execute("SELECT count(*) FROM rowhook.event")
        dump.execute("LOCK TABLE rowhook.event, expenses IN ACCESS SHARE MODE")
        vacuum.execute("LOCK TABLE rowhook.event, rowhook.event_1 IN SHARE UPDATE EXCLUSIVE MODE")
        foreign = connect(dsn=cluster.dsn(elsewhere), autocommit=False)
        foreign.execute("INSERT INTO rowhook.event (op, type) VALUES ('emit', 'a.b')")
        assert one(foreign, "SELECT 'rowhook.event'::regclass::oid") == one(writer, "SELECT 'rowhook.event'::regclass::oid")

        doorbell = Doorbell(bench.session, bench.bell)
        assert await doorbell.holders() == frozenset()
        sleeping = asyncio.create_task(doorbell.sleep(bench.look))
        await bench.has_looked(1)
        assert not await wakes(sleeping, DEAF_FOR)
        assert bench.looks == 1, "one look, then sleep"

        spend(writer, user_id)  # and the bell still works beside them
        writer.commit()
        assert await wakes(sleeping, PROMPT)
        foreign.close()
    finally:
        cluster.drop_database(elsewhere)


@pytest.mark.parametrize(
    "mutation",
    [
        ("AND l.mode = 'RowExclusiveLock' ", ""),
        ("AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())", ""),
    ],
    ids=["any mode", "any database"],
)
async def test_mutants_of_the_holders_query_are_kept_awake(
    bench: Bench, connect: Connect, cluster: Cluster, finmind_template: str, mutate_query: MutateQuery, mutation: tuple[str, str]
) -> None:
    elsewhere = cluster.create_database(template=finmind_template)
    try:
        reader = connect(autocommit=False)
        reader.execute("SELECT count(*) FROM rowhook.event")
        foreign = connect(dsn=cluster.dsn(elsewhere), autocommit=False)
        foreign.execute("INSERT INTO rowhook.event (op, type) VALUES ('emit', 'a.b')")
        mutate_query("doorbell.holders", mutation)
        assert await Doorbell(bench.session, bench.bell).holders()
        foreign.close()
    finally:
        cluster.drop_database(elsewhere)


# --- 5: one bell, several relays -----------------------------------------------------------------------------


@pytest.fixture
def armers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(what, session) of each arming, disarming and LISTEN of relays in this process."""
    done: list[tuple[str, str]] = []
    real, really_look = Session.rows, Session.tuples
    run = Listener.run

    async def rows(self: Session, name: str, params: object = None) -> object:
        if name in {"doorbell.arm", "doorbell.disarm", "doorbell.holders", "dispatch.peek"}:
            done.append((name, self.name))
        return await real(self, name, params)  # type: ignore[arg-type]

    async def tuples(self: Session, name: str, params: Any = None) -> object:
        if name == "dispatch.look" and params["disarm"]:
            done.append(("doorbell.disarm", self.name))
        return await really_look(self, name, params)

    async def listen(self: Listener) -> None:
        done.append(("listen", self._session.name))
        await run(self)

    monkeypatch.setattr(Session, "rows", rows)
    monkeypatch.setattr(Session, "tuples", tuples)
    monkeypatch.setattr(Listener, "run", listen)
    return done


def test_only_the_dispatcher_arms_and_disarms(
    relays: Callable[..., LocalRelay],
    armers: list[tuple[str, str]],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    user_id: int,
) -> None:
    add_hook(receiver.url())
    relays(), relays()
    for n in range(1, 6):
        spend(conn, user_id, [n])
        receiver.wait_for(n)
    assert len({session for what, session in armers if what in {"doorbell.arm", "doorbell.disarm"}}) == 1


def test_a_few_events_at_once_are_no_reason_to_disarm_and_many_are(
    relays: Callable[..., LocalRelay],
    armers: list[tuple[str, str]],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    user_id: int,
) -> None:
    add_hook(receiver.url())
    relays()
    eventually(lambda: asleep(conn))
    armers.clear()
    spend(conn, user_id, range(SOME))
    receiver.wait_for(SOME)
    spend(conn, user_id)
    receiver.wait_for(SOME + 1)
    assert not [what for what, _ in armers if what == "doorbell.disarm"]
    spend(conn, user_id, range(SOME + 1))
    eventually(lambda: [what for what, _ in armers if what == "doorbell.disarm"], what="the look after that disarms")


async def test_a_bell_for_which_writers_wait_for_each_other_is_not_relied_on(start_cluster: Callable[..., Cluster]) -> None:
    """1 W1 rings, and its commit takes long: nobody stands by. 2 W2 rings, and waits for W1. 3 R's look found a few events."""
    cluster = start_cluster(synchronous_standby_names="nobody", synchronous_commit="local")
    session = Session(cluster.dsn("postgres"), "dispatch")
    doorbell = Doorbell(session, Bell())  # of no relay: the question is one about locks alone
    with cluster.connect("postgres") as conn, cluster.connect("postgres") as first, cluster.connect("postgres") as second:
        assert await doorbell.suffices(SOME)
        assert not await doorbell.suffices(SOME + 1)
        conn.execute("CREATE TABLE written ()")
        first.execute("SET synchronous_commit = on")
        commit = "INSERT INTO written DEFAULT VALUES; NOTIFY rowhook_bell"
        ringing = [threading.Thread(target=w.execute, args=(commit,)) for w in (first, second)]
        ringing[0].start()
        of_first = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
        eventually(lambda: one(conn, of_first, first.info.backend_pid))
        assert await doorbell.suffices(SOME), "it waits, but for no writer"
        ringing[1].start()
        eventually(lambda: waits_for_lock(conn, second))
        assert not await doorbell.suffices(FEW + 1)
        assert await doorbell.suffices(FEW)
        conn.execute("SELECT pg_cancel_backend(%s)", [first.info.backend_pid])
        for thread in ringing:
            await asyncio.to_thread(thread.join)
        await session.close()


async def test_mutant_standby_that_disarms_makes_the_dispatcher_deaf(bench: Bench, writer: Connection, user_id: int) -> None:
    """1 R sleeps. 2 Another relay arms, disarms and dies. 3 W commits an event. 4 Nobody rings."""
    sleeping = asyncio.create_task(Doorbell(bench.session, bench.bell).sleep(bench.look))
    await bench.has_looked(1)
    other = Doorbell(bench.session, Bell())
    await other.arm()
    await other.disarm()
    spend(writer, user_id)
    writer.commit()
    assert not await wakes(sleeping, DEAF_FOR)
    await end(sleeping)


def test_taking_over_is_listen_then_the_full_cycle_and_nothing_in_between_is_lost(
    relays: Callable[..., LocalRelay],
    processes: Callable[..., RelayProcess],
    armers: list[tuple[str, str]],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    user_id: int,
) -> None:
    """1 A dispatches, B stands by. 2 A is killed while its bell is armed. 3 An event commits, rings nobody. 4 B delivers."""
    add_hook(receiver.url())
    dispatcher = processes().start()
    eventually(lambda: asleep(conn), what="the dispatcher sleeps")
    relays()
    eventually(lambda: armers, what="the standby listens")
    assert {what for what, _ in armers} == {"listen"}
    dispatcher.kill()
    spend(conn, user_id, [7])
    receiver.wait_for(1, timeout=4)
    spend(conn, user_id, [8])
    receiver.wait_for(2, timeout=PROMPT)
    eventually(lambda: asleep(conn))
    done = [what for what, _ in armers]
    asked = done.index("doorbell.holders")
    assert done[0] == "listen"
    assert done[asked - 1 : asked + 2] == ["doorbell.arm", "doorbell.holders", "dispatch.peek"], "the full cycle, in this order"


def test_an_orderly_end_hands_the_bell_over_within_two_seconds(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    """1 A dispatches, B stands by. 2 A stops in order and disarms. 3 An event commits: nobody rings. 4 B delivers."""
    add_hook(receiver.url())
    first = relays()
    eventually(lambda: asleep(conn), what="the dispatcher sleeps")
    relays()
    first.stop()
    spend(conn, user_id)
    receiver.wait_for(1, timeout=3)


async def test_a_look_skipped_for_the_cursors_lock_is_not_taken_for_nothing_there(
    bench: Bench, writer: Connection, user_id: int, connect: Connect
) -> None:
    """1 Somebody locks the cursor. 2 W commits an event, unarmed. 3 R goes to sleep: its look needs no lock, and finds."""
    locker = connect(autocommit=False)
    locker.execute("SELECT FROM rowhook.cursor FOR UPDATE")
    spend(writer, user_id)
    writer.commit()
    skipped = await bench.dispatcher.look(Room(10, 10), 10)
    assert skipped.skipped and not skipped.events
    assert await wakes(asyncio.create_task(Doorbell(bench.session, bench.bell).sleep(bench.look)), PROMPT)

    async def mutant() -> bool:
        return (await bench.dispatcher.look(Room(10, 10), 10)).events > 0

    sleeping = asyncio.create_task(Doorbell(bench.session, bench.bell).sleep(mutant))
    assert not await wakes(sleeping, DEAF_FOR), "taken for nothing there, it sleeps over the event"
    await end(sleeping)


def test_an_event_that_came_while_the_cursor_was_locked_is_delivered_when_it_is_free(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, connect: Connect, user_id: int
) -> None:
    add_hook(receiver.url())
    relays()
    eventually(lambda: asleep(conn))
    locker = connect(autocommit=False)
    locker.execute("SELECT FROM rowhook.cursor FOR UPDATE")
    spend(conn, user_id)
    eventually(lambda: not asleep(conn), what="the ring was heard")
    assert not receiver.requests
    locker.commit()
    receiver.wait_for(1, timeout=PROMPT)


def test_a_standby_never_blocks_in_pg_advisory_lock_nor_pins_xmin(
    relays: Callable[..., LocalRelay], conn: Connection, connect: Connect, user_id: int
) -> None:
    relays(), relays()
    eventually(lambda: asleep(conn))
    # What the standby's sessions last did is done: none waits, none holds a snapshot.
    assert one(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 0
    assert _pin(conn) == set()

    mutant = connect(application_name="rowhook mutant")
    blocking = threading.Thread(target=_blocks, args=(mutant,), daemon=True)
    blocking.start()
    eventually(lambda: one(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1)
    assert _pin(conn) == {mutant.info.backend_pid}, "one that blocks pins xmin"
    mutant.cancel()
    blocking.join()


def _pin(connection: Connection) -> set[int]:
    """Process ids of the sessions whose one statement, or none, holds a snapshot all through 0.3 s."""
    pinned = """
        SELECT pid, xact_start FROM pg_stat_activity WHERE application_name LIKE 'rowhook %' AND backend_xmin IS NOT NULL
    """
    before = set(connection.execute(pinned).fetchall())
    time.sleep(0.3)
    return {pid for pid, began in connection.execute(pinned).fetchall() if (pid, began) in before}


def _blocks(connection: Connection) -> None:
    with contextlib.suppress(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_advisory_lock(%s)", [ROLE_KEY])


# --- 6: the own bell is rung at start ------------------------------------------------------------------------


def test_a_relay_that_cannot_hear_its_own_bell_refuses_to_start(
    relays: Callable[..., LocalRelay], conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to read the flag Postgres 15 gives the writer an error, 18 never rings: both are a plain message."""
    conn.execute("REVOKE SELECT ON SEQUENCE rowhook.doorbell FROM rowhook_capture")
    deaf = relays()
    with pytest.raises(ConfigError, match=r"bell.*SELECT on rowhook\.doorbell"):
        deaf.join()

    async def believes(_self: Doorbell) -> bool:
        return True

    monkeypatch.setattr(Doorbell, "test", believes)
    mutant = relays()
    eventually(lambda: asleep(conn))
    assert mutant.running, "without the test nobody would notice"


# --- 7: two-phase commit -------------------------------------------------------------------------------------


@pytest.fixture
def two_phase_dsn(start_cluster: Callable[..., Cluster]) -> str:
    from relay.migrations import migrate

    dsn = start_cluster(max_prepared_transactions=5).dsn()
    migrate(dsn)
    return dsn


def test_where_writers_may_prepare_the_relay_polls_and_delivers_after_commit_prepared(
    two_phase_dsn: str,
    relays: Callable[..., LocalRelay],
    receiver: Receiver,
    add_hook: AddHook,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = connect(dsn=two_phase_dsn)
    add_hook(receiver.url(), connection=writer)
    polling = relays(two_phase_dsn)
    writer.execute("BEGIN")
    writer.execute("SELECT rowhook.emit('a.prepared', '1')")
    writer.execute("PREPARE TRANSACTION 'one'")
    writer.execute("SELECT rowhook.emit('a.plain', '2')")
    receiver.wait_for(1, timeout=PROMPT)
    assert [r.headers["X-Rowhook-Event"] for r in receiver.requests] == ["a.plain"], "the prepared one holds up nobody"
    writer.execute("COMMIT PREPARED 'one'")
    receiver.wait_for(2, timeout=PROMPT)
    polling.stop()

    async def unaware(_self: Doorbell) -> bool:
        return False

    monkeypatch.setattr(Doorbell, "has_two_phase", unaware)
    with pytest.raises(ConfigError):
        relays(two_phase_dsn).join()


async def test_a_ring_does_not_turn_polling_into_a_busy_loop(bench: Bench, connect: Connect) -> None:
    doorbell = Doorbell(bench.session, bench.bell)
    doorbell.deaf = True
    connect().execute("SELECT pg_notify('rowhook_bell', '')")
    assert await wakes(asyncio.create_task(doorbell.sleep(bench.look)), PROMPT)
    sleeping = asyncio.create_task(doorbell.sleep(bench.look))
    assert not await wakes(sleeping, DEAF_FOR), "one ring wakes once"
    await end(sleeping)


# --- the listening session -----------------------------------------------------------------------------------


async def test_no_ring_is_lost_while_the_listener_asks_whether_its_session_lives(
    dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question comes a hundred times a second here, rings come all the time: each is heard, in or between the questions."""
    monkeypatch.setattr(relay.doorbell, "CHECK_EVERY", 0.01)
    heard, all_heard, rings = 0, asyncio.Event(), 1500

    def ring() -> None:
        nonlocal heard
        heard += 1
        if heard == rings:
            all_heard.set()

    listener = Listener(dsn, "by hand", ring, lambda: None)
    listening = asyncio.create_task(listener.run())
    await listener.listening.wait()
    ringer = connect()

    def work() -> None:
        for _ in range(rings):
            ringer.execute("SELECT pg_notify('rowhook_bell', '')")

    await asyncio.to_thread(work)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PROMPT):
            await all_heard.wait()
    assert heard == rings
    last = one(ringer, "SELECT query FROM pg_stat_activity WHERE application_name = 'rowhook bell by hand'")
    assert last.startswith("LISTEN"), "the question is no statement"
    await end(listening)


async def test_a_listener_whose_session_is_ended_says_so_at_once(dsn: str, conn: Connection) -> None:
    listener = Listener(dsn, "by hand", lambda: None, lambda: None)
    listening = asyncio.create_task(listener.run())
    await listener.listening.wait()
    conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rowhook bell by hand'")
    with pytest.raises(DatabaseLost):
        async with asyncio.timeout(PROMPT):
            await listening
    assert not listener.listening.is_set()


# --- end to end ----------------------------------------------------------------------------------------------


def test_an_event_reaches_the_receiver_while_a_writer_and_a_reader_are_open(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, connect: Connect, user_id: int
) -> None:
    add_hook(receiver.url())
    relays()
    held, reader = connect(autocommit=False), connect(autocommit=False)
    reader.execute("SELECT count(*) FROM rowhook.event")
    spend(held, user_id, [1])
    other = add_user(conn, "b@example.com")
    for n in range(2, 7):
        spend(conn, other, [n])
        receiver.wait_for(n - 1, timeout=PROMPT)
    held.commit()
    receiver.wait_for(6, timeout=PROMPT)
    assert sorted(amounts(receiver.requests).elements()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_who_rings_before_an_old_window_is_read_to_its_end_is_heard(
    relays: Callable[..., LocalRelay],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    mutate_function: MutateFunction,
    mutant: bool,
) -> None:
    """1 R takes one event, and leaves its window open. 2 W commits and rings. 3 R clears the bell, and reads on in that window,
    where W's event is not. The mutant takes that for the end of all, and sleeps until it renews the bell."""
    if mutant:
        mutate_function("rowhook.look", ("_is_old OR NOT r.is_whole", "NOT r.is_whole"))
    writer, found = connect(), list[int]()

    async def takes_one_and_is_slow(tenure: Tenure) -> tuple[Room, int, int]:
        if sum(found) == 1 and len(found) == 1:
            await asyncio.to_thread(emit, writer)
            await asyncio.sleep(0.2)  # it has rung
        return Room(10, 10), 1, UNLIMITED

    async def looked(tenure: Tenure, look: Look, take: Callable[..., Awaitable[None]] = Tenure._take) -> None:
        found.append(look.events)
        await take(tenure, look)

    add_hook(receiver.url())
    relays()
    eventually(lambda: asleep(conn))
    monkeypatch.setattr(Tenure, "_room_for_events", takes_one_and_is_slow)
    monkeypatch.setattr(Tenure, "_take", looked)
    emit(conn)
    receiver.wait_for(1, timeout=PROMPT)
    if mutant:
        time.sleep(PROMPT)
        assert (found, len(receiver.requests)) == ([1, 0], 1)
    else:
        receiver.wait_for(2, timeout=PROMPT)
        assert found[:3] == [1, 0, 1]


def test_the_queue_of_notifications_is_emptied_by_whoever_listens(
    relays: Callable[..., LocalRelay], conn: Connection, connect: Connect
) -> None:
    """A queue that runs full makes commits fail: 35 MB of notifications pass, and none of them stays."""
    relays(), relays()
    eventually(lambda: asleep(conn))
    for _ in range(5):
        conn.execute("SELECT pg_notify('rowhook_work', repeat('x', 7000) || n) FROM generate_series(1, 1000) AS n")
    assert one(conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowhook bell %'") >= 2
    eventually(lambda: one(conn, "SELECT pg_notification_queue_usage()") == 0, what="the queue is empty")
