"""Retention's steps, one by one and against each other: nothing that has not ended is lost, and no writer waits or fails.

The interleavings that the rules are for are made step by step, by two or three connections; where a rule can be broken in the
function, a mutant of it shows what it prevents.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect, Connection
from tests.pipeline.relays import eventually
from tests.sql.conftest import Mutate, one

MONTH = "31 days"
# An event with a delivery in a state and an attempt of it. Leased and pending ones have not ended; the others ended then.
PAST = """
WITH e AS (
    INSERT INTO rowhook.event (op, type, table_name, row_key, occurred_at, data)
    VALUES ('emit', %(type)s, 'notes', %(type)s, now() - interval '31 days', '{"a": 1.50}') RETURNING id, slot
), d AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, due_at, instance_id, attempts, leased_at, ended_at)
    SELECT e.id, e.slot, p.id, %(state)s, CASE %(state)s WHEN 'pending' THEN now() END,
           CASE %(state)s WHEN 'leased' THEN 1 END, 1, now(),
           CASE WHEN %(state)s NOT IN ('pending', 'leased') THEN now() - %(ended)s::interval END
      FROM e, rowhook.endpoint AS p
    RETURNING id, endpoint_id
)
INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class)
SELECT d.id, d.endpoint_id, 1, 1, now(), 'timeout' FROM d
"""
LEFT = "SELECT type, kept_in, rowhook.public_id('evt', occurred_at, id, slot), data::text FROM rowhook.event ORDER BY id"


@pytest.fixture
def keeper(connect: Connect, dsn: str) -> Connection:
    return connect(dsn=dsn)


@pytest.fixture
def past(conn: Connection) -> Callable[..., None]:
    """Write an event of a month ago and what became of it."""
    conn.execute("INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com/')")

    def past(type: str, state: str, ended: str = MONTH) -> None:
        conn.execute(PAST, {"type": type, "state": state, "ended": ended})

    return past


def dispatched(conn: Connection) -> None:
    """As a dispatcher leaves the cursor: a transaction of its own, that writes no event."""
    conn.execute("UPDATE rowhook.cursor SET seen = pg_current_snapshot()")


def left_behind(conn: Connection, slot: int = 0, turn_to: int = 1) -> None:
    """Writers went on a month ago."""
    conn.execute("SELECT setval('rowhook.present_slot', %s)", [turn_to])
    conn.execute("SELECT rowhook.survey_ring()")
    conn.execute(
        "UPDATE rowhook.ring SET closed_at = now() - interval '31 days' WHERE slot = %s AND closed_at IS NOT NULL", [slot]
    )


def sweep(keeper: Connection, slot: int = 0, batch: int = 2) -> None:
    """All steps up to the last."""
    assert one(keeper, "SELECT rowhook.begin_sweep(%s)", slot)
    after = 0
    while after is not None:
        after = one(keeper, "SELECT (rowhook.sweep_slot(%s, %s, %s, now() - interval '30 days')).last_id", slot, after, batch)


def empty(keeper: Connection, patience: str = "50ms", slot: int = 0) -> str:
    return str(one(keeper, "SELECT rowhook.empty_slot(%s, %s::interval)", slot, patience))


class Meanwhile:
    """A step in a thread, which is waited for and whose error is raised."""

    def __init__(self, step: Callable[[], Any]) -> None:
        self.result: Any = None
        self._error: BaseException | None = None
        self._step = step
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._step()
        except BaseException as error:
            self._error = error

    def end(self) -> Any:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error:
            raise self._error
        return self.result


def waits(conn: Connection, other: Connection) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND wait_event_type = 'Lock'"
    eventually(lambda: one(conn, query, other.info.backend_pid), what="it waits for a lock")


# --- what goes and what stays ------------------------------------------------------------------------------


def test_what_ended_long_ago_goes_and_the_rest_is_moved_with_its_id_and_bytes(
    conn: Connection, keeper: Connection, past: Callable[..., None]
) -> None:
    for type, state, ended in (
        ("delivered", "delivered", MONTH),
        ("waiting", "pending", MONTH),
        ("out", "leased", MONTH),
        ("dead", "dead", MONTH),
        ("died-yesterday", "dead", "1 day"),
        ("cancelled", "cancelled", MONTH),
    ):
        past(type, state, ended)
    conn.execute("INSERT INTO rowhook.event (op, type) VALUES ('emit', 'nobodys')")
    before = {row[0]: row for row in conn.execute(LEFT).fetchall()}
    highest = one(conn, "SELECT max(id) FROM rowhook.event")
    dispatched(conn)
    left_behind(conn)
    sweep(keeper)
    assert empty(keeper) == "emptied"
    stays = ["waiting", "out", "died-yesterday"]
    after = conn.execute(LEFT).fetchall()
    assert [row[0] for row in after] == stays
    assert {row[1] for row in after} == {1}
    assert [(id, data) for _, _, id, data in after] == [before[type][2:] for type in stays]
    for table in ("delivery", "attempt"):
        assert one(conn, f"SELECT count(*) FROM rowhook.{table}") == 3
    joined = "SELECT count(*) FROM rowhook.delivery AS d JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot"
    assert one(conn, joined) == 3
    assert one(conn, "SELECT removed_id FROM rowhook.horizon") == highest
    assert one(conn, "SELECT count(*) FROM rowhook.event_0") == 0
    assert conn.execute("SELECT opened_at, closed_at, seen FROM rowhook.ring WHERE slot = 0").fetchone() == (None, None, None)


def test_mutant__a_sweep_that_moves_nothing_loses_what_waits(
    conn: Connection, keeper: Connection, past: Callable[..., None], mutate: Mutate
) -> None:
    mutate("sweep_slot", "e.kept_in = sweep_slot.slot AND", "false AND e.kept_in = sweep_slot.slot AND")
    past("waiting", "pending")
    dispatched(conn)
    left_behind(conn)
    sweep(keeper)
    assert empty(keeper) == "emptied"
    assert conn.execute(LEFT).fetchall() == []


def test_an_event_that_was_not_dispatched_keeps_its_slot_from_being_emptied(
    conn: Connection, keeper: Connection, past: Callable[..., None]
) -> None:
    past("delivered", "delivered")
    dispatched(conn)
    conn.execute("INSERT INTO rowhook.event (op, type) VALUES ('emit', 'new')")
    left_behind(conn)
    sweep(keeper)
    assert empty(keeper) == "late"
    assert [row[0] for row in conn.execute(LEFT)] == ["delivered", "new"]
    dispatched(conn)
    sweep(keeper)
    assert empty(keeper) == "emptied"


def test_nothing_goes_while_the_cursor_is_of_another_cluster(
    conn: Connection, keeper: Connection, past: Callable[..., None]
) -> None:
    """After a restore "seen" means nothing until a dispatcher has begun anew; nor does what an interrupted sweep had noted."""
    past("delivered", "delivered")
    dispatched(conn)
    left_behind(conn)
    sweep(keeper)
    conn.execute("UPDATE rowhook.cursor SET system_identifier = 1")
    assert empty(keeper) == "unswept"
    assert not one(keeper, "SELECT rowhook.begin_sweep(0)")
    conn.execute("UPDATE rowhook.cursor SET system_identifier = (SELECT system_identifier FROM pg_control_system())")
    conn.execute("UPDATE rowhook.ring SET system_identifier = 1 WHERE slot = 0")
    assert empty(keeper) == "unswept"
    sweep(keeper)
    assert empty(keeper) == "emptied"


# --- against writers ---------------------------------------------------------------------------------------


LOCK = "EXECUTE format('LOCK TABLE ONLY rowhook.event_%s IN ACCESS EXCLUSIVE MODE', empty_slot.slot);"


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_a_writer_that_commits_while_the_slots_lock_is_waited_for_keeps_its_event(
    conn: Connection, keeper: Connection, connect: Connect, past: Callable[..., None], mutate: Mutate, mutant: bool
) -> None:
    """Lock, then check. The mutant checks first; TRUNCATE then waits for the writer, and removes what it has committed."""
    if mutant:
        mutate("empty_slot", LOCK, "")
    past("delivered", "delivered")
    dispatched(conn)
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO rowhook.event (op, type) VALUES ('emit', 'late')")  # 1. written to slot 0, not committed
    left_behind(conn)  # 2. writers go on to slot 1; a month passes
    sweep(keeper)  # 3. the sweep sees nothing of it
    emptying = Meanwhile(lambda: empty(keeper, "20s"))  # 4. the slot is asked for …
    waits(conn, keeper)
    writer.commit()  # 5. … and the writer commits
    assert emptying.end() == ("emptied" if mutant else "late")
    assert [row[0] for row in conn.execute(LEFT)] == ([] if mutant else ["delivered", "late"])


def test_a_writer_that_is_late_and_comes_after_the_lock_writes_into_the_emptied_slot(
    conn: Connection, keeper: Connection, connect: Connect, past: Callable[..., None]
) -> None:
    past("delivered", "delivered")
    dispatched(conn)
    left_behind(conn)
    sweep(keeper)
    writer = connect()
    with keeper.transaction():
        assert empty(keeper) == "emptied"  # 1. emptied, the lock held until the commit
        late = "INSERT INTO rowhook.event (op, type, slot, kept_in) VALUES ('emit', 'late', 0, 0)"
        writing = Meanwhile(lambda: writer.execute(late))  # 2. who had read the slot's number before it was left
        waits(conn, writer)
    writing.end()  # 3. goes on
    assert [(row[0], row[1]) for row in conn.execute(LEFT)] == [("late", 0)]
    conn.execute("SELECT rowhook.survey_ring()")
    assert one(conn, "SELECT closed_at > now() - interval '1 minute' FROM rowhook.ring WHERE slot = 0"), "it was left just now"


def test_writers_never_fail_and_wait_no_longer_than_the_lock_is_asked_for(
    conn: Connection, keeper: Connection, connect: Connect, past: Callable[..., None]
) -> None:
    """A long reader of the slot is what makes a waiting TRUNCATE dangerous: all others queue up behind it."""
    past("delivered", "delivered")
    dispatched(conn)
    left_behind(conn)
    sweep(keeper)
    reader, writer, late = connect(autocommit=False), connect(), connect()
    reader.execute("SELECT count(*) FROM rowhook.event")  # 1. a dump, say: it holds every slot
    writer.execute("SET lock_timeout = '1ms'")
    emptying = Meanwhile(lambda: empty(keeper, "500ms"))  # 2. the slot is asked for
    waits(conn, keeper)
    writer.execute(
        "INSERT INTO rowhook.event (op, type) VALUES ('emit', 'present')"
    )  # 3. who writes to the present slot waits for nothing
    began = one(late, "SELECT clock_timestamp()")
    late.execute(
        "INSERT INTO rowhook.event (op, type, slot, kept_in) VALUES ('emit', 'late', 0, 0)"
    )  # 4. who is late, for so long at most
    ended = one(late, "SELECT clock_timestamp()")
    assert (ended - began).total_seconds() < 0.5 + 1.0  # the second for a machine that others use
    with pytest.raises(psycopg.errors.LockNotAvailable):  # 5. the keeper gives up
        emptying.end()
    reader.rollback()
    assert empty(keeper) == "late"
    assert [row[0] for row in conn.execute(LEFT)] == ["delivered", "present", "late"]


# --- against other work ------------------------------------------------------------------------------------


def test_a_replay_that_is_not_committed_yet_is_waited_for_and_its_event_is_moved(
    conn: Connection, keeper: Connection, connect: Connect, past: Callable[..., None]
) -> None:
    past("dead", "dead")
    dispatched(conn)
    left_behind(conn)
    replay = connect(autocommit=False)
    replay.execute("UPDATE rowhook.delivery SET state = 'pending', due_at = now(), ended_at = NULL")
    sweeping = Meanwhile(lambda: sweep(keeper))
    waits(conn, keeper)
    replay.commit()
    sweeping.end()
    assert empty(keeper) == "emptied"
    assert [(row[0], row[1]) for row in conn.execute(LEFT)] == [("dead", 1)]
    assert one(conn, "SELECT state FROM rowhook.delivery") == "pending"


def test_a_claim_under_way_finds_its_event_whatever_happens_to_the_slot(
    conn: Connection, keeper: Connection, connect: Connect, past: Callable[..., None]
) -> None:
    """Its statement sees the event where it was; the slot isn't emptied before that statement's transaction ends."""
    past("waiting", "pending")
    dispatched(conn)
    left_behind(conn)
    claim = connect(autocommit=False)
    claim.execute("SELECT FROM rowhook.delivery AS d JOIN rowhook.event AS e ON e.id = d.event_id FOR UPDATE OF d")
    sweep(keeper)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        empty(keeper)
    claim.commit()
    assert empty(keeper) == "emptied"
    assert [(row[0], row[1]) for row in conn.execute(LEFT)] == [("waiting", 1)]


@pytest.fixture
def crash(connect: Connect, dsn: str) -> Callable[[Connection], Connection]:
    """The keeper dies; another begins."""

    def crash(keeper: Connection) -> Connection:
        keeper.close()
        return connect(dsn=dsn)

    return crash


def test_whatever_step_is_the_last_before_a_crash_the_next_keeper_finishes(
    conn: Connection, keeper: Connection, past: Callable[..., None], crash: Callable[[Connection], Connection]
) -> None:
    for number in range(6):
        past(f"delivered-{number}", "delivered")
        past(f"waiting-{number}", "pending")
    dispatched(conn)
    conn.execute("SELECT setval('rowhook.present_slot', 1)")  # turned on, and nobody noted it
    keeper = crash(keeper)
    left_behind(conn)
    assert one(keeper, "SELECT rowhook.begin_sweep(0)")
    keeper = crash(keeper)
    assert one(keeper, "SELECT rowhook.begin_sweep(0)")
    assert one(keeper, "SELECT (rowhook.sweep_slot(0, 0, 5, now() - interval '30 days')).moved") == 2
    keeper = crash(keeper)
    sweep(keeper)
    with keeper.transaction(force_rollback=True):
        assert empty(keeper) == "emptied"
    keeper = crash(keeper)
    assert empty(keeper) == "emptied"
    assert [(row[0], row[1]) for row in conn.execute(LEFT)] == [(f"waiting-{number}", 1) for number in range(6)]
    assert one(conn, "SELECT count(*) FROM rowhook.delivery") == 6


# --- the ring ----------------------------------------------------------------------------------------------


def turn(conn: Connection, width: str = "0") -> str:
    return str(one(conn, "SELECT rowhook.turn_ring(%s::interval)", width))


def write(conn: Connection) -> int:
    return int(one(conn, "INSERT INTO rowhook.event (op, type) VALUES ('emit', 'a') RETURNING kept_in"))


def test_the_ring_turns_on_to_empty_slots_only_round_and_round(conn: Connection, keeper: Connection) -> None:
    conn.execute("SELECT rowhook.survey_ring()")
    assert turn(conn) == "young", "an empty slot is not left"
    written = [write(conn)]
    for _ in range(9):
        assert turn(conn) == "turned"
        written.append(write(conn))
    assert written == list(range(10))
    assert turn(conn) == "full"
    assert write(conn) == 9, "writers go on where they are"
    dispatched(conn)
    for slot in (4, 7):
        sweep(keeper, slot)
        assert empty(keeper, slot=slot) == "emptied"
    assert turn(conn) == "turned"
    assert write(conn) == 4
    assert turn(conn) == "turned"
    assert write(conn) == 7


def test_the_present_slot_is_left_when_it_was_written_to_for_long_enough(conn: Connection) -> None:
    write(conn)
    conn.execute("SELECT rowhook.survey_ring()")
    assert turn(conn, "1 day") == "young"
    conn.execute("UPDATE rowhook.ring SET opened_at = now() - interval '25 hours' WHERE slot = 0")
    assert turn(conn, "30 days") == "young", "another setting holds from the next look on"
    assert turn(conn, "1 day") == "turned"


def test_a_slot_that_is_not_being_swept_can_be_neither_swept_nor_emptied(conn: Connection) -> None:
    write(conn)
    conn.execute("SELECT rowhook.survey_ring()")
    for slot in (0, 5):
        with pytest.raises(psycopg.DatabaseError, match="not being swept"):
            conn.execute("SELECT rowhook.sweep_slot(%s, 0, 1, now())", [slot])
        assert empty(conn, slot=slot) == "unswept"
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 1


@pytest.mark.parametrize("table", ["rowhook.event", "rowhook.event_0"])
def test_events_that_are_deleted_by_hand_leave_a_mark_and_a_move_leaves_none(conn: Connection, table: str) -> None:
    for _ in range(3):
        write(conn)
    conn.execute("UPDATE rowhook.event SET kept_in = 1 WHERE id = 3")
    assert conn.execute("SELECT removed_id, xid::text FROM rowhook.horizon").fetchone() == (0, "0")
    xid = one(conn, "SELECT xid::text FROM rowhook.event WHERE id = 2")
    conn.execute(f"DELETE FROM {table} WHERE id < 3")
    assert conn.execute("SELECT removed_id, xid::text FROM rowhook.horizon").fetchone() == (2, xid)
