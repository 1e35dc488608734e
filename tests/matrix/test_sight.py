"""What triggers would not see, would see twice, or would see as the writer's session has it."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from relay.database import query
from relay.doctor import captures
from tests.conftest import Connect, Connection
from tests.matrix.refused import REFUSED, Refused
from tests.sql.conftest import Events, Mutate, Warned, one

PARTITIONED = (
    "CREATE TABLE t (id int, v text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);"
)


def doctor(conn: Connection, table: str) -> Any:
    """What `rowhook doctor` says of a capture."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("doctor.captures")).fetchall()
        outdated = cursor.execute(query("doctor.outdated"), {"tables": captures.can_be_planned(rows)}).fetchall()
    (found,) = captures.judge([row for row in rows if row["table"] == table], outdated)
    return found


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.name)
def test_what_is_refused_is_said_with_what_would_be_right(conn: Connection, refused: Refused) -> None:
    conn.execute(f"CREATE SCHEMA refused; SET search_path = refused, pg_temp; {refused.create}".encode())
    with pytest.raises(psycopg.Error) as error:
        conn.execute(f"SELECT rowhook.capture(%s::regclass{refused.options})".encode(), [refused.table])
    said = error.value.diag
    assert (said.sqlstate, said.message_hint) == ("RH001", refused.hint)
    assert re.sub(r"^pg_temp_\d+", "pg_temp", said.message_primary or "") == refused.message


def test_attaching_a_captured_table_to_a_captured_one_fails_nobody_and_doctor_says_so(conn: Connection, events: Events) -> None:
    conn.execute(PARTITIONED + "CREATE TABLE t2 (id int, v text); SELECT rowhook.capture('t'), rowhook.capture('t2')")
    conn.execute("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (9) TO (20); INSERT INTO t VALUES (1), (10)")
    assert [(e.table_name, e.data["id"]) for e in events()] == [("t", 1), ("t2", 10), ("t", 10)]
    conn.execute("SELECT rowhook.capture('t2')")
    found = doctor(conn, "t2")
    assert (found.verdict.value, found.remedy) == ("warning", "rowhook uncapture t2")
    assert "a partition of t, which is captured too" in found.why
    conn.execute(
        "SELECT rowhook.uncapture('t2'); INSERT INTO t VALUES (11); ALTER TABLE t DETACH PARTITION t2; INSERT INTO t2 VALUES (12)"
    )
    assert [(e.table_name, e.data["id"]) for e in events()] == [("t", 11)]


def test_mutant__of_one_name_for_all_row_triggers_attaching_fails(conn: Connection, mutate: Mutate) -> None:
    mutate("row_trigger", "r.relkind = 'p'", "r.relkind = 'x'")
    conn.execute(PARTITIONED + "CREATE TABLE t2 (id int, v text); SELECT rowhook.capture('t'), rowhook.capture('t2')")
    with pytest.raises(psycopg.errors.DuplicateObject):
        conn.execute("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (9) TO (20)")


def test_a_partition_with_another_order_that_comes_later_is_told_in_its_own_until_doctor_is_heard(
    conn: Connection, events: Events
) -> None:
    conn.execute(PARTITIONED + "SELECT rowhook.capture('t'); CREATE TABLE t2 (v text, id int)")
    conn.execute("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (9) TO (20); INSERT INTO t VALUES (10, 'a')")
    assert [e.text for e in events()] == ['{"v":"a","id":10}']
    assert doctor(conn, "t").remedy == "rowhook capture t"
    conn.execute("SELECT rowhook.capture('t'); INSERT INTO t VALUES (11, 'b'); INSERT INTO t2 VALUES ('c', 12)")
    assert [e.text for e in events()] == ['{"id":11,"v":"b"}', '{"id":12,"v":"c"}']
    assert doctor(conn, "t").why == "its triggers are in place, row by row: it has no key, is partitioned"


def test_of_tables_that_inherit_each_row_makes_one_event_and_those_left_out_are_named(
    conn: Connection, events: Events, warnings: list[Warned]
) -> None:
    conn.execute("CREATE TABLE assets (id int PRIMARY KEY, v int); CREATE TABLE houses (PRIMARY KEY (id)) INHERITS (assets)")
    conn.execute("SELECT rowhook.capture('assets')")
    assert [(w.message, w.hint) for w in warnings] == [
        ("rows of tables that inherit from assets make no event: houses", "Capture those tables too")
    ]
    found = doctor(conn, "assets")
    assert (found.verdict.value, found.remedy) == ("warning", "rowhook capture houses")
    conn.execute("SELECT rowhook.capture('houses'); INSERT INTO assets VALUES (1, 1); INSERT INTO houses VALUES (2, 2)")
    assert doctor(conn, "assets").verdict.value == "ok"
    conn.execute("UPDATE assets SET v = 3")
    assert [(e.type, e.row_key) for e in events()] == [
        ("asset.created", "1"),
        ("house.created", "2"),
        ("asset.updated", "1"),
        ("house.updated", "2"),
    ]


# The same moment, and what else a session may write in its own way.
WRITERS = ("timezone = 'UTC'", "timezone = 'Asia/Kolkata'", "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'")
STAYS = "CREATE TABLE stays (at timestamptz, night date, length interval, n int, PRIMARY KEY (at, night, length))"


def keys_by_writers(connect: Connect, dsn: str) -> set[str | None]:
    """The row keys under which writers with settings of their own update one row."""
    for setting in WRITERS:
        connect(dsn=dsn).execute(f"SET {setting}; UPDATE stays SET n = n + 1".encode())
    return {row[0] for row in connect(dsn=dsn).execute("SELECT row_key FROM rowhook.event WHERE op = 'update'").fetchall()}


def test_a_row_has_one_key_whoever_writes(conn: Connection, connect: Connect, dsn: str) -> None:
    conn.execute(
        STAYS
        + "; SELECT rowhook.capture('stays'); INSERT INTO stays VALUES ('2026-01-31 20:30Z', '2026-02-01', '2 days 3:00', 0)"
    )
    assert keys_by_writers(connect, dsn) == {'["2026-01-31 20:30:00+00", "2026-02-01", "2 days 03:00:00"]'}


def test_mutant__without_settings_of_its_own_the_function_gives_a_row_several_keys(
    conn: Connection, connect: Connect, dsn: str, mutate: Mutate
) -> None:
    mutate("settings_sql", "WHERE EXISTS", "WHERE false AND EXISTS")
    conn.execute(
        STAYS
        + "; SELECT rowhook.capture('stays'); INSERT INTO stays VALUES ('2026-01-31 20:30Z', '2026-02-01', '2 days 3:00', 0)"
    )
    assert len(keys_by_writers(connect, dsn)) == 4


@pytest.mark.parametrize(
    "column", ["created_at timestamptz", "day date", "note text", "amount numeric", "doc jsonb", "tags text[]"]
)
def test_columns_that_every_table_has_cost_no_settings(conn: Connection, column: str) -> None:
    conn.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, {column}); SELECT rowhook.capture('t')".encode())
    assert one(conn, "SELECT DISTINCT proconfig FROM pg_proc WHERE proname ~ '^capture_[0-9]+_insert$'") == [
        "search_path=pg_catalog, pg_temp"
    ]
