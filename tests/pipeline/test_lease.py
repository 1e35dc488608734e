"""Who holds what: frozen relays, takeovers, and results that come late.

Sources: mechanisms "Lease" 4-6. A is the relay that is lost, B the one that takes over.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from aiohttp import web
from psycopg.conninfo import make_conninfo

from relay.circuit import Signs
from relay.database import Session, application_name
from relay.errors import DatabaseLost
from relay.lease import FROZEN_AFTER, PURPOSES, Lease, tag
from relay.model import Delivery, ErrorClass, Outcome, Result, State
from relay.record import Recorder, health, parameters
from tests.conftest import Connect, Connection
from tests.pipeline.conftest import (
    PATIENCE,
    AddHook,
    Gate,
    Hook,
    MutateFunction,
    MutateQuery,
    amounts,
    asleep,
    attempts_of,
    becomes,
    one,
    run,
    run_text,
    spend,
    statement,
    states,
    waits_for_lock,
)
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Receiver

NOTHING_BUSY = {"capacity": 100, "endpoint_room": 100, "size": 10**9, "endpoints": [], "rooms": [], "gated": None}
RECLAIM = {"batch": 100, "most_lost": 5}
BURY = {"instances": [1001]}


@pytest.fixture
def hook(add_hook: AddHook, conn: Connection) -> Hook:
    return add_hook("http://127.0.0.1:9/hook", connection=conn)


def look(connection: Connection) -> list[dict[str, Any]]:
    """One look of instance 1001."""
    system = one(connection, "SELECT system_identifier FROM rowhook.cursor")
    return run(
        connection,
        "dispatch.look",
        {**NOTHING_BUSY, "instance": 1001, "system": system, "disarm": False, "chunk": 100, "most_size": 10**9},
    )


# --- 4: frozen relays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
async def test_a_frozen_relay_keeps_its_lock_until_a_peer_ends_its_backends(
    dsn: str, connect: Connect, conn: Connection, mutate_query: MutateQuery, mutant: bool
) -> None:
    """1 A holds its lock and has not beaten for long. 2 B beats: A is frozen, not dead. 3 B ends A's backends and buries it."""
    frozen = 4711
    sessions = [connect(application_name=application_name(p, tag(frozen))) for p in PURPOSES]
    run(sessions[0], "lease.take_lock", {"instance": frozen})
    run(sessions[0], "lease.register", {"instance": frozen, "name": "A"})
    conn.execute("UPDATE rowhook.instance SET beat_at = now() - %s", [timedelta(seconds=FROZEN_AFTER + 1)])
    if mutant:
        mutate_query("lease.end_sessions", (statement("lease.end_sessions"), "SELECT 0 AS ended, %(names)s::text[] AS names"))
    lease = Lease(dsn, dsn, "B")
    await lease.register()
    report = await lease.beat()
    assert (report.dead, report.frozen) == ((), (frozen,))
    buried = await lease.tend(report)
    while not (buried or mutant):  # its backends take a moment to end; a relay beats again, too
        buried = await lease.tend(await lease.beat())
    assert buried is not mutant
    state = one(conn, "SELECT state FROM rowhook.instance WHERE id = %s", frozen)
    assert state == ("live" if mutant else "dead"), "without that its lock keeps it alive for ever"
    ended = 0
    for session in sessions:
        try:
            session.execute("SELECT 1")
        except psycopg.OperationalError:
            ended += 1
    assert ended == (0 if mutant else len(PURPOSES))
    await lease.close()


def test_a_frozen_relay_is_taken_over_and_when_it_thaws_sends_nothing_more_under_its_old_id(
    relays: Callable[..., LocalRelay],
    processes: Callable[..., RelayProcess],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    user_id: int,
) -> None:
    """1 A has one request out and one delivery waiting, and is stopped. 2 B ends it, delivers both. 3 A goes on: it takes a new
    id, and the answer that it gets late fills its lost attempt."""
    gate = Gate()

    async def slow_at_first(request: web.Request) -> web.Response:
        return await gate.answer(request) if request.headers["X-Rowhook-Attempt"] == "1" else web.Response()

    receiver.answer("/hook", slow_at_first)
    add_hook(receiver.url(), max_in_flight=1, timeout="60s")
    frozen = processes().start()
    eventually(lambda: asleep(conn))
    spend(conn, user_id, [1, 2])
    receiver.wait_for(1)
    becomes(conn, {"leased": 2})
    old = frozen.instance(conn)
    frozen.freeze()
    relays()
    requests = receiver.wait_for(3, timeout=FROZEN_AFTER + 6)
    assert sorted(amounts(requests).elements()) == [1, 1, 2]
    becomes(conn, {"delivered": 2})
    assert attempts_of(conn) == [(1, None, "lost"), (2, 200, None), (1, None, "lost"), (2, 200, None)]

    frozen.thaw()
    gate.open()
    eventually(lambda: (1, 200, None) in attempts_of(conn), what="the late answer fills the lost attempt")
    new = eventually(lambda: frozen.instance(conn), what="it goes on under a new id")
    assert new != old
    assert sorted(attempts_of(conn), key=str) == [(1, 200, None), (1, None, "lost"), (2, 200, None), (2, 200, None)]
    spend(conn, user_id, [3])
    becomes(conn, {"delivered": 3})
    assert len(receiver.requests) == 4, "nothing was sent under the old id"
    assert one(conn, "SELECT count(*) FROM rowhook.instance WHERE state = 'live'") == 2


def test_a_relay_frozen_inside_the_cursors_transaction_does_not_stop_dispatch(
    relays: Callable[..., LocalRelay],
    processes: Callable[..., RelayProcess],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    connect: Connect,
    user_id: int,
) -> None:
    """1 A's look waits for a table's lock, the cursor's row in its hands. 2 A is stopped. 3 The lock is free: the look ends
    without A, as its commit is part of it, and the cursor is nobody's. 4 B ends A's backends, and delivers what A leased."""
    add_hook(receiver.url())
    frozen = processes().start()
    eventually(lambda: asleep(conn))
    relays()
    blocker = connect(autocommit=False)
    blocker.execute("LOCK TABLE rowhook.endpoint IN ACCESS EXCLUSIVE MODE")
    spend(conn, user_id)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rowhook dispatch %%' AND wait_event_type = 'Lock'"
    )
    eventually(lambda: one(conn, waiting.replace("%%", "%")) == 1)
    frozen.freeze()
    blocker.rollback()
    becomes(conn, {"leased": 1}, timeout=4, what="the look has committed")
    conn.execute("SELECT FROM rowhook.cursor FOR UPDATE NOWAIT")
    receiver.wait_for(1, timeout=FROZEN_AFTER + 6)
    frozen.thaw()
    becomes(conn, {"delivered": 1})
    assert len(receiver.requests) == 1


def test_a_relay_without_peers_that_was_frozen_goes_on_by_itself(
    processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    """1 A is alone, with deliveries that wait for room, and is stopped for longer than a beat may take. 2 It goes on."""
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), max_in_flight=2, timeout="60s")
    relay = processes().start()
    eventually(lambda: asleep(conn))
    spend(conn, user_id, range(10))
    receiver.wait_for(2)
    old = relay.instance(conn)
    relay.freeze()
    gate.open()
    stale = "SELECT beat_at < clock_timestamp() - interval '7 seconds' FROM rowhook.instance WHERE id = %s"
    eventually(lambda: one(conn, stale, old), timeout=10)
    relay.thaw()
    becomes(conn, {"delivered": 10})
    assert sorted(amounts(receiver.requests).elements()) == list(range(10))
    assert relay.instance(conn) != old


# --- 5: takeover ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
@pytest.mark.parametrize("stage", ["claim", "dispatch"])
def test_burying_waits_for_leases_that_are_being_made(
    conn: Connection,
    connect: Connect,
    instance: Callable[[], int],
    hook: Hook,
    delivery: Callable[..., Delivery],
    mutate_function: MutateFunction,
    stage: str,
    mutant: bool,
) -> None:
    """1 A leases a delivery, not committed. 2 B buries A: waits. 3 A commits. 4 B goes on, reclaims. No orphan is left.

    The mutant doesn't hold FOR KEY SHARE on its own row: B buries and reclaims nothing, then A commits an orphan.
    """
    instance()
    leasing, burying = connect(autocommit=False), connect()
    without = [(" FOR KEY SHARE", "")] if mutant else []
    if stage == "claim":
        delivery(hook)
        conn.execute("UPDATE rowhook.delivery SET state = 'pending', instance_id = NULL, due_at = now(), attempts = 0")
        rows = run_text(leasing, statement("claim.claim", *without), {**NOTHING_BUSY, "instance": 1001})
        assert rows[0]["id"]
    else:
        conn.execute("SELECT rowhook.emit('a.b', '1')")
        if mutant:
            mutate_function("rowhook.look", *without)
        assert look(leasing)[0]["id"]
    freed: list[int] = []

    def take_over() -> None:
        run(burying, "lease.bury", BURY)
        freed.append(run(burying, "claim.reclaim", RECLAIM)[0]["freed"])

    taking_over = threading.Thread(target=take_over)
    taking_over.start()
    if mutant:
        taking_over.join()
    else:
        eventually(lambda: waits_for_lock(conn, burying))
    leasing.commit()
    taking_over.join()
    orphans = "SELECT count(*) FROM rowhook.delivery AS d WHERE d.state = 'leased' AND d.instance_id = 1001"
    assert (freed, one(conn, orphans)) == (([0], 1) if mutant else ([1], 0))
    assert one(conn, "SELECT state FROM rowhook.instance WHERE id = 1001") == "dead"
    # The belt: orphans are looked for always, not once per death.
    run(conn, "claim.reclaim", RECLAIM)
    assert one(conn, orphans) == 0


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
@pytest.mark.parametrize("stage", ["claim", "dispatch"])
def test_a_beat_does_not_wait_for_leases_that_are_being_made(
    conn: Connection, connect: Connect, instance: Callable[[], int], mutate_function: MutateFunction, stage: str, mutant: bool
) -> None:
    """1 A leases deliveries, which takes its time. 2 A beats. The mutant holds FOR SHARE: it would be taken for frozen."""
    leasing, beating = connect(autocommit=False), connect()
    instance()
    shares = [("FOR KEY SHARE", "FOR SHARE")] if mutant else []
    if stage == "claim":
        run_text(leasing, statement("claim.claim", *shares), {**NOTHING_BUSY, "instance": 1001})
    else:
        mutate_function("rowhook.look", *shares)
        look(leasing)
    beating.execute("SET lock_timeout = '200ms'")
    beat = {"instance": 1001, "role": 1, "frozen_after": "7s"}
    if mutant:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            run(beating, "lease.beat", beat)
    else:
        assert run(beating, "lease.beat", beat)[0]["alive"]


def test_a_relay_that_was_declared_dead_leases_nothing_more(
    conn: Connection, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery]
) -> None:
    instance()
    delivery(hook)
    run(conn, "lease.bury", BURY)
    run(conn, "claim.reclaim", RECLAIM)
    rows = run(conn, "claim.claim", {**NOTHING_BUSY, "instance": 1001})
    assert [(row["live"], row["id"]) for row in rows] == [(False, None)]
    conn.execute("SELECT rowhook.emit('a.b', '1')")
    assert [(row["refusal"], row["id"]) for row in look(conn)] == [("dead", None)]
    assert states(conn) == {"pending": 1}


async def test_who_holds_its_lock_is_not_buried(dsn: str, conn: Connection) -> None:
    lease = Lease(dsn, dsn, "A")
    await lease.register()
    assert run(conn, "lease.bury", {"instances": [lease.id]}) == []
    await lease.close()
    eventually(lambda: run(conn, "lease.bury", {"instances": [lease.id]}) == [{"id": lease.id}])


# --- 6: recording --------------------------------------------------------------------------------------------


def result(delivery: Delivery, state: State = State.DELIVERED, status: int = 200) -> Result:
    failed = None if state is State.DELIVERED else ErrorClass.HTTP_5XX
    outcome = Outcome(time.monotonic(), 0.01, status_code=status, error_class=failed, excerpt="said")
    return Result(delivery, outcome, state, wait=60.0, counted=failed is not None)


def again(delivery: Delivery, number: int) -> Delivery:
    return delivery._replace(number=number)


def record(connection: Connection, results: list[Result], *replacements: tuple[str, str]) -> int:
    given = {**parameters(results), **health(Signs().of(results, time.monotonic()), PATIENCE)}
    return int(run_text(connection, statement("record.record", *replacements), given)[0]["ended"])


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_a_late_result_of_try_1_does_not_close_try_2(
    conn: Connection, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery], mutant: bool
) -> None:
    """1 A claims try 1. 2 It is taken for lost and freed. 3 The same A claims try 2. 4 The result of try 1 comes."""
    instance()
    first = delivery(hook)
    conn.execute("UPDATE rowhook.instance SET state = 'dead', ended_at = now()")
    run(conn, "claim.reclaim", RECLAIM)
    conn.execute("UPDATE rowhook.instance SET state = 'live', ended_at = NULL")
    assert run(conn, "claim.claim", {**NOTHING_BUSY, "instance": 1001})[0]["number"] == 2
    fence = (" AND d.attempts = r.number", "")
    record(conn, [result(first)], *([fence] if mutant else []))
    assert states(conn) == ({"delivered": 1} if mutant else {"leased": 1})


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_a_late_result_fills_its_lost_attempt_and_nothing_else(
    conn: Connection, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery], mutant: bool
) -> None:
    """1 A claims try 1. 2 B buries A: the attempt is lost. 3 A's result comes: the attempt tells it, the delivery stays."""
    instance()
    first = delivery(hook)
    run(conn, "lease.bury", BURY)
    run(conn, "claim.reclaim", RECLAIM)
    assert attempts_of(conn) == [(1, None, "lost")]
    text = statement("record.record")
    begin, end = text.index("    ON CONFLICT"), text.index("), ended AS")
    nothing = (text[begin:end], "    ON CONFLICT DO NOTHING\n")
    assert record(conn, [result(first)], *([nothing] if mutant else [])) == 0
    assert attempts_of(conn) == [(1, None, "lost") if mutant else (1, 200, None)]
    assert states(conn) == {"pending": 1}
    assert record(conn, [result(first, State.PENDING, 500)]) == 0
    if not mutant:
        assert attempts_of(conn) == [(1, 200, None)], "only a lost attempt is filled, and once"


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_a_result_that_is_on_record_already_does_not_throw_away_its_batch(
    conn: Connection, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery], mutant: bool
) -> None:
    """1 A records a result, and the connection breaks before it knows. 2 It records the same again, with another beside it."""
    instance()
    first, second = delivery(hook), delivery(hook)
    assert record(conn, [result(first)]) == 1
    text = statement("record.record")
    clause = (text[text.index("    ON CONFLICT") : text.index("), ended AS")], "")
    if mutant:
        with pytest.raises(psycopg.errors.UniqueViolation):
            record(conn, [result(first), result(second)], clause)
        assert states(conn) == {"delivered": 1, "leased": 1}
    else:
        assert record(conn, [result(first), result(second)]) == 1
        assert states(conn) == {"delivered": 2}


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_recorders_in_opposite_orders_do_not_deadlock(
    conn: Connection, connect: Connect, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery], mutant: bool
) -> None:
    """1 C locks the middle one of five deliveries. 2 A records them in order, B in opposite order: both wait. 3 C lets go."""
    instance()
    made = [delivery(hook) for _ in range(5)]
    blocker, up, down = connect(autocommit=False), connect(), connect()
    blocker.execute("SELECT FROM rowhook.delivery WHERE id = %s FOR UPDATE", [made[2].id])
    unordered = ("FROM (SELECT * FROM r ORDER BY r.delivery_id) AS r", "FROM r")
    deadlocks: list[psycopg.errors.DeadlockDetected] = []

    def work(connection: Connection, results: list[Result]) -> None:
        connection.execute("SET enable_hashjoin = off; SET enable_mergejoin = off; SET deadlock_timeout = '100ms'")
        try:
            record(connection, results, *([unordered] if mutant else []))
        except psycopg.errors.DeadlockDetected as error:
            deadlocks.append(error)

    threads = []
    for connection, order in ((up, made), (down, made[::-1])):
        thread = threading.Thread(target=work, args=(connection, [result(d) for d in order]))
        thread.start()
        threads.append(thread)
        eventually(lambda c=connection: waits_for_lock(conn, c))  # type: ignore[misc]
    blocker.commit()
    for thread in threads:
        thread.join()
    assert len(deadlocks) == (1 if mutant else 0)
    assert states(conn) == {"delivered": 5}


async def test_results_that_waited_without_a_database_are_written_when_it_is_back(
    dsn: str, conn: Connection, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery]
) -> None:
    """1 A result comes, the session is ended and no other is to be had. 2 The recorder says so, keeps it. 3 It is run again:
    nobody else wakes it."""
    instance()
    session = Session(dsn, "record")
    recorded: list[Any] = []
    recorder = Recorder(session, PATIENCE, recorded.extend)
    pid = (await session.connection()).info.backend_pid
    conn.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    session.dsn = make_conninfo(dsn, port=1)  # nobody listens there
    recorder.put(result(delivery(hook)))
    with pytest.raises(DatabaseLost):
        await recorder.run()
    assert not recorded
    session.dsn = dsn
    running = asyncio.create_task(recorder.run())
    async with asyncio.timeout(5):
        await recorder.flushed()
    running.cancel()
    await session.close()
    assert states(conn) == {"delivered": 1}
    assert len(recorded) == 1
