"""Backfill: rows that were there before, beside writers who go on; and a new endpoint's past.

For each row the order of ids must be the order of commits: the interleavings are made step by step, and beside a mutant.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from relay import backfill
from tests.conftest import Connect, Connection
from tests.sql.conftest import Mutate, one
from tests.sql.test_retention import Meanwhile, left_behind, waits

EVENTS = "SELECT op::text, type, row_key, tenant, endpoint_id, data FROM rowhook.event ORDER BY id"


@pytest.fixture
def notes(conn: Connection) -> Connection:
    """A table with rows, captured afterwards."""
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY, owner text, n int NOT NULL DEFAULT 0, secret text)")
    conn.execute("INSERT INTO notes SELECT g, 'o' || g % 2, 0, 'hush' FROM generate_series(1, 7) AS g")
    conn.execute("SELECT rowhook.capture('notes', tenant => 'owner', exclude => '{secret}')")
    return conn


def chunks(conn: Connection, size: int = 3, **given: Any) -> list[int]:
    """All chunks of a backfill: how many rows each sent."""
    id = one(conn, "SELECT id FROM rowhook.begin_backfill('notes', %s, %s)", given.get("rows"), given.get("endpoint"))
    sent = []
    while (count := one(conn, "SELECT rowhook.backfill_chunk(%s, %s)", id, size)) is not None:
        sent.append(count)
    return sent


def test_each_row_is_a_snapshot_event_as_its_capture_would_write_it(notes: Connection) -> None:
    assert chunks(notes) == [3, 3, 1]
    events = notes.execute(EVENTS).fetchall()
    assert [event[:5] for event in events] == [("snapshot", "note.snapshot", str(g), f"o{g % 2}", None) for g in range(1, 8)]
    assert [event[5] for event in events] == [{"id": g, "owner": f"o{g % 2}", "n": 0} for g in range(1, 8)]


def test_in_one_call_for_some_rows_and_one_endpoint(notes: Connection) -> None:
    (id, public_id) = notes.execute(
        "INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com/') RETURNING id, public_id"
    ).fetchone() or (0, "")
    assert one(notes, "SELECT rowhook.backfill('notes', rows => 'id > 4 -- few', endpoint => %s)", public_id) == 3
    assert [(event[2], event[4]) for event in notes.execute(EVENTS)] == [("5", id), ("6", id), ("7", id)]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("rowhook.backfill('pg_class')", "is not captured"),
        ("rowhook.backfill('notes', rows => 'nobody = 1')", 'column "nobody" does not exist'),
        ("rowhook.backfill('notes', rows => 'id +')", "syntax error"),
        ("rowhook.backfill('notes', rows => '1')", "must be type boolean"),
        ("rowhook.backfill('notes', endpoint => 'end_x')", "there is no endpoint end_x"),
    ],
)
def test_mistakes_are_refused_with_a_remedy(notes: Connection, call: str, says: str) -> None:
    with pytest.raises(psycopg.DatabaseError, match=says) as refused:
        notes.execute(f"SELECT {call}")
    assert refused.value.sqlstate == "RH001"
    assert refused.value.diag.message_hint


def test_a_table_whose_rows_can_not_be_told_apart_is_refused(conn: Connection) -> None:
    conn.execute("CREATE TABLE heap (a int)")
    conn.execute("SELECT rowhook.capture('heap')")
    with pytest.raises(psycopg.DatabaseError, match="has no row key"):
        conn.execute("SELECT rowhook.backfill('heap')")


def test_an_interrupted_one_goes_on_where_it_was_and_a_finished_one_begins_anew(notes: Connection, connect: Connect) -> None:
    first = notes.execute("SELECT id FROM rowhook.begin_backfill('notes', NULL, NULL)").fetchone()
    notes.execute("SELECT rowhook.backfill_chunk(%s, 3)", first)
    crashing = connect(autocommit=False)
    crashing.execute("SELECT rowhook.backfill_chunk(%s, 3)", first)
    crashing.close()  # its chunk is as if it had never been
    assert chunks(notes, 2) == [2, 2]
    assert [event[2] for event in notes.execute(EVENTS)] == list("1234567")
    assert one(notes, "SELECT sent FROM rowhook.backfill WHERE ended_at IS NOT NULL") == 7
    assert chunks(notes, 10) == [7]


@pytest.mark.parametrize(
    ("columns", "key", "rows"),
    [
        ("a int, b text, PRIMARY KEY (b, a)", "(b, a)", "SELECT g % 3, 'é' || g / 3 FROM generate_series(1, 11) AS g"),
        (
            "a timestamptz PRIMARY KEY",
            "a",
            "SELECT '2026-01-01'::timestamptz + g * interval '1.000001 s' FROM generate_series(1, 11) AS g",
        ),
        ("a uuid PRIMARY KEY", "a", "SELECT gen_random_uuid() FROM generate_series(1, 11)"),
        ('"Ä ] b" numeric PRIMARY KEY', '"Ä ] b"', "SELECT g / 7.0 FROM generate_series(1, 11) AS g"),
    ],
)
def test_it_goes_on_after_any_kind_of_key(conn: Connection, columns: str, key: str, rows: str) -> None:
    conn.execute("SET timezone = 'Asia/Kolkata'")
    conn.execute(f"CREATE TABLE notes ({columns})")
    conn.execute(f"INSERT INTO notes {rows}".replace("%", "%%"), ())
    conn.execute("SELECT rowhook.capture('notes')")
    assert chunks(conn, 4) == [4, 4, 3]
    assert one(conn, "SELECT count(DISTINCT row_key) FROM rowhook.event") == 11


def test_a_partitioned_table_is_sent_whole(conn: Connection) -> None:
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY) PARTITION BY HASH (id)")
    for number in range(2):
        conn.execute(f"CREATE TABLE notes_{number} PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER {number})")
    conn.execute("INSERT INTO notes SELECT generate_series(1, 9)")
    conn.execute("SELECT rowhook.capture('notes')")
    assert chunks(conn, 5) == [5, 4]


# --- beside writers ----------------------------------------------------------------------------------------

N_OF_1 = "SELECT (data ->> 'n')::int FROM rowhook.event WHERE row_key = '1' ORDER BY id"


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_a_row_that_is_being_written_is_waited_for_and_read_as_it_is_then(
    notes: Connection, connect: Connect, mutate: Mutate, mutant: bool
) -> None:
    """The mutant doesn't lock: it sends the state from before a write whose event has a lower id."""
    if mutant:
        mutate("backfill_chunk", "FOR SHARE OF t", "")
    writer, sender = connect(autocommit=False), connect()
    writer.execute("UPDATE notes SET n = 1 WHERE id = 1")  # 1. written, with an event, and not committed
    sending = Meanwhile(lambda: chunks(sender))  # 2. the chunk comes to the row
    if mutant:
        sending.end()
    else:
        waits(notes, sender)
    writer.commit()  # 3. the write commits
    sending.end()
    assert [n for (n,) in notes.execute(N_OF_1)] == ([1, 0] if mutant else [1, 1])


def test_a_write_after_the_chunks_lock_waits_for_its_end_and_comes_after_it(notes: Connection, connect: Connect) -> None:
    sender, writer = connect(autocommit=False), connect()
    chunks(sender)  # 1. the rows are locked, their events written, nothing committed
    writing = Meanwhile(lambda: writer.execute("UPDATE notes SET n = 1 WHERE id = 1"))  # 2. somebody writes one of them
    waits(notes, writer)
    sender.commit()  # 3. the chunk commits
    writing.end()
    assert [n for (n,) in notes.execute(N_OF_1)] == [0, 1]


def test_rows_that_drop_out_while_they_are_waited_for_end_nothing(notes: Connection, connect: Connect) -> None:
    """Where a page ends is settled before the locks: a page of which no row is left is not the last."""
    writer, sender = connect(autocommit=False), connect()
    writer.execute("DELETE FROM notes WHERE id <= 3")
    sending = Meanwhile(lambda: chunks(sender))
    waits(notes, sender)
    writer.commit()
    assert sending.end() == [0, 3, 1]


def test_writers_at_once_and_chunks_between_them_leave_no_older_state_after_a_newer_one(
    notes: Connection, connect: Connect
) -> None:
    writers = [connect() for _ in range(3)]

    def write(connection: Connection, seed: int) -> None:
        for number in range(60):
            connection.execute("UPDATE notes SET n = n + 1 WHERE id = %s", [(number * seed) % 7 + 1])

    threads = [Meanwhile(partial(write, writer, seed)) for writer, seed in zip(writers, (1, 2, 3), strict=True)]
    sent = sum(sum(chunks(notes, 2)) for _ in range(6))
    for thread in threads:
        thread.end()
    assert sent == 42
    seen = notes.execute(
        "SELECT row_key, array_agg((data ->> 'n')::int ORDER BY id) FROM rowhook.event GROUP BY row_key"
    ).fetchall()
    for key, states in seen:
        assert states == sorted(states), key
        assert states[-1] == one(notes, "SELECT n FROM notes WHERE id = %s", int(key))


def test_a_chunk_gives_up_before_a_deadlock_is_looked_for_and_then_goes_on(notes: Connection, connect: Connect) -> None:
    """It locks rows in the order of their keys, a writer in another: it is never the writer who is ended."""
    sender, writer = connect(row_factory=dict_row), connect(autocommit=False)
    writer.execute("UPDATE notes SET n = 1 WHERE id = 5")  # 1. the writer has row 5
    progress = backfill.begin(sender, one(notes, "SELECT 'notes'::regclass::oid"), None, None)
    sending = Meanwhile(lambda: list(backfill.send(sender, progress, 7)))  # 2. the chunk has rows 1 to 4 and waits for 5
    waits(notes, sender)
    writer.execute("UPDATE notes SET n = 1 WHERE id = 1")  # 3. the writer wants row 1, and gets it
    writer.commit()
    assert sum(sending.end()) == 7


# --- verify ------------------------------------------------------------------------------------------------


def verdicts(conn: Connection) -> dict[str, int]:
    return dict(conn.execute("SELECT verdict, sum(count)::int FROM rowhook.verify('notes') GROUP BY verdict").fetchall())


def test_a_backfill_proves_rows_that_are_older_than_the_capture(notes: Connection) -> None:
    assert verdicts(notes) == {"unproven": 7}
    chunks(notes, 4)
    assert verdicts(notes) == {"accounted": 7}
    assert one(notes, "SELECT (rowhook.log_of(c)).complete FROM rowhook.capture AS c"), "as if it had begun empty"
    notes.execute("SET session_replication_role = replica")
    notes.execute("INSERT INTO notes VALUES (8, 'o', 0); DELETE FROM notes WHERE id = 2; UPDATE notes SET n = 5 WHERE id = 3")
    assert verdicts(notes) == {"accounted": 5, "missing": 1, "ghost": 1, "stale": 1}


def test_one_that_was_for_some_rows_or_has_not_ended_proves_nothing_of_the_others(notes: Connection) -> None:
    chunks(notes, rows="id < 4")
    id = one(notes, "SELECT id FROM rowhook.begin_backfill('notes', NULL, NULL)")
    notes.execute("SELECT rowhook.backfill_chunk(%s, 4)", [id])
    assert verdicts(notes) == {"accounted": 4, "unproven": 3}


def test_a_writer_who_commits_a_new_row_after_the_chunks_have_passed_is_not_accused(
    notes: Connection, connect: Connect, mutate: Mutate
) -> None:
    mutate("begin_backfill", "'5 s'", "'50 ms'")
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO notes VALUES (0, 'o')")  # 1. its event has its id
    chunks(notes)  # 2. a backfill from the first row to the last
    writer.commit()  # 3. the row is there, with an event from before the backfill
    assert verdicts(notes) == {"accounted": 8}
    chunks(notes)
    assert one(notes, "SELECT (rowhook.log_of(c)).complete FROM rowhook.capture AS c")


# --- a new endpoint's past ---------------------------------------------------------------------------------

PAST = "SELECT * FROM rowhook.deliver_past(%s, now() - interval '7 days', %s, 1000000, %s)"


def deliver_past(conn: Connection, endpoint: int, batch: int = 2) -> int:
    after, made = 0, 0
    while True:
        row = conn.execute(PAST, [endpoint, after, batch]).fetchone()
        if row is None or row[0] is None:
            return made
        after, made = row[0], made + row[1]


@pytest.fixture
def endpoint(conn: Connection) -> int:
    columns = "INSERT INTO rowhook.endpoint (url, events, tenant, ordered)"
    return int(one(conn, f"{columns} VALUES ('https://example.com/', '{{a.*}}', '7', true) RETURNING id"))


EVENT = """
INSERT INTO rowhook.event (op, type, tenant, table_name, row_key, occurred_at)
VALUES ('emit', %s, %s, 't', %s, now() - %s::interval)
"""
DELIVERED = (
    "SELECT e.row_key, d.order_key, d.state FROM rowhook.delivery AS d JOIN rowhook.event AS e ON e.id = d.event_id ORDER BY d.id"
)


def test_events_that_match_become_deliveries_in_order_and_once(conn: Connection, endpoint: int) -> None:
    for type, tenant, key, age in (
        ("a.b", "7", "first", "6 days"), ("a.b", "7", "too-old", "8 days"), ("b.b", "7", "other-type", "1 day"),
        ("a.b", "8", "other-tenant", "1 day"), ("a.c", "7", "second", "1 hour"), ("a.c", None, "nobodys", "1 hour"),
    ):  # fmt: skip
        conn.execute(EVENT, [type, tenant, key, age])
    assert deliver_past(conn, endpoint) == 2
    assert deliver_past(conn, endpoint) == 0
    assert conn.execute(DELIVERED).fetchall() == [("first", "t:first", "pending"), ("second", "t:second", "pending")]


def test_a_sweep_waits_for_it_and_what_is_being_swept_is_left_alone(conn: Connection, connect: Connect, endpoint: int) -> None:
    conn.execute(EVENT, ["a.b", "7", "1", "1 day"])
    conn.execute("UPDATE rowhook.cursor SET seen = pg_current_snapshot()")
    left_behind(conn)
    past, keeper = connect(autocommit=False), connect()
    assert deliver_past(past, endpoint) == 1  # 1. deliveries of events in the slot, not committed
    beginning = Meanwhile(lambda: one(keeper, "SELECT rowhook.begin_sweep(0)"))  # 2. the slot is to be swept
    waits(conn, keeper)
    past.commit()  # 3. they commit: the sweep will see them
    assert beginning.end()
    conn.execute("DELETE FROM rowhook.delivery")
    assert deliver_past(conn, endpoint) == 0, "4. and from then on none are made"
