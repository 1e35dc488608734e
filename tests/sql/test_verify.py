"""rowhook.verify(): rows that bypassed capture are found, and no row that was captured is accused."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect, Connection
from tests.sql.conftest import one

Found = dict[tuple[str, str | None], list[str] | None]


def found(connection: Connection, table: str = "t") -> Found:
    """Rows that differ: verdict and key, with the columns."""
    rows = connection.execute("SELECT verdict, row_key, columns FROM rowhook.verify(%s::regclass)", [table]).fetchall()
    return {(verdict, key): columns for verdict, key, columns in rows if verdict not in ("accounted", "unproven")}


def counts(connection: Connection, table: str = "t") -> dict[str, int]:
    query = "SELECT verdict, sum(count)::int FROM rowhook.verify(%s::regclass) GROUP BY 1"
    return dict(connection.execute(query, [table]).fetchall())


class Bypass:
    """Writes that no trigger sees."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, *statements: str) -> None:
        self._connection.execute("SET session_replication_role = replica")
        for statement in statements:
            self._connection.execute(statement)
        self._connection.execute("RESET session_replication_role")


@pytest.fixture
def bypass(conn: Connection) -> Bypass:
    return Bypass(conn)


@pytest.fixture
def t(conn: Connection) -> Connection:
    """An empty table, captured; with rows that were captured."""
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(10,2), at timestamptz DEFAULT now())")
    conn.execute("SELECT rowhook.capture('t')")
    conn.execute("INSERT INTO t SELECT i, 'n' || i, i FROM generate_series(1, 9) AS i")
    return conn


# --- what bypassed capture -----------------------------------------------------------------------------------

WAYS: dict[str, tuple[str, str]] = {
    "replica": ("SET session_replication_role = replica", "RESET session_replication_role"),
    "disabled": ("ALTER TABLE t DISABLE TRIGGER ALL", "ALTER TABLE t ENABLE TRIGGER ALL"),
    "paused": ("SELECT rowhook.capture('t', paused => true)", "SELECT rowhook.capture('t', paused => false)"),
    "dropped": ("SELECT rowhook.uncapture('t')", ""),
}


@pytest.mark.parametrize("way", ["replica", "disabled", "paused"])
def test_rows_that_bypassed_capture_are_listed_with_what_differs(t: Connection, way: str) -> None:
    before, after = WAYS[way]
    t.execute(before)
    t.execute("INSERT INTO t VALUES (20, 'new'); DELETE FROM t WHERE id = 3; UPDATE t SET amount = 0, name = 'x' WHERE id = 5")
    t.execute("UPDATE t SET id = 40 WHERE id = 4")
    t.execute(after)
    t.execute("INSERT INTO t VALUES (21, 'captured'); UPDATE t SET name = 'captured' WHERE id = 6; DELETE FROM t WHERE id = 7")
    wrong: Found = {
        ("missing", "20"): None,
        ("ghost", "3"): None,
        ("stale", "5"): ["amount", "name"],
        ("ghost", "4"): None,
        ("missing", "40"): None,
    }
    assert found(t) == wrong
    assert counts(t) == {"accounted": 6, "missing": 2, "ghost": 2, "stale": 1}
    t.execute("UPDATE t SET at = now() + interval '1 s' WHERE id = 20; DELETE FROM t WHERE id = 40")
    del wrong[("missing", "20")], wrong[("missing", "40")]
    assert found(t) == wrong, "an event that came later tells of the row"


def test_a_row_captured_anew_after_an_uncaptured_time_is_older_than_its_events(t: Connection) -> None:
    t.execute("SELECT rowhook.uncapture('t')")
    t.execute("UPDATE t SET name = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2")
    t.execute("SELECT rowhook.capture('t')")
    t.execute("UPDATE t SET name = 'y' WHERE id = 3")
    assert counts(t) == {"unproven": 7, "accounted": 1}


def test_rows_from_before_the_capture_are_unproven_until_they_are_written(conn: Connection, bypass: Bypass) -> None:
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    conn.execute("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 9) AS i")
    conn.execute("SELECT rowhook.capture('t')")
    assert counts(conn) == {"unproven": 9}
    bypass("UPDATE t SET name = 'x' WHERE id = 1", "INSERT INTO t VALUES (10, 'x')")
    conn.execute("UPDATE t SET name = 'y' WHERE id = 2")
    assert found(conn) == {("missing", "1"): None, ("missing", "10"): None}
    assert counts(conn) == {"missing": 2, "accounted": 1, "unproven": 7}
    conn.execute("VACUUM (FREEZE, FULL) t")
    assert counts(conn) == {"missing": 2, "accounted": 1, "unproven": 7}, "by the transaction that wrote a row, whoever moves it"
    conn.execute("ALTER TABLE t ADD COLUMN drawn double precision DEFAULT random()")
    assert counts(conn) == {"accounted": 1, "unproven": 9}, "DDL that writes all rows anew leaves nothing to tell by"
    conn.execute("TRUNCATE t")
    bypass("INSERT INTO t VALUES (1)")
    assert counts(conn) == {"missing": 1}, "from empty"


# --- keys ----------------------------------------------------------------------------------------------------

KEY_CHANGES = {
    "shift": ["UPDATE t SET id = id + 1"],
    "shift down": ["UPDATE t SET id = id - 1"],
    "swap": ["UPDATE t SET id = 11 - id WHERE id BETWEEN 2 AND 9"],
    "chain": ["UPDATE t SET id = 100 WHERE id = 1", "UPDATE t SET id = 101 WHERE id = 100", "DELETE FROM t WHERE id = 101"],
    "again": [
        "DELETE FROM t WHERE id = 1",
        "INSERT INTO t (id) VALUES (1)",
        "UPDATE t SET id = 100 WHERE id = 1",
        "INSERT INTO t (id) VALUES (1)",
    ],
    "merge": [
        "MERGE INTO t USING (VALUES (1, 2), (2, 3), (3, NULL)) AS s (was, becomes) ON t.id = s.was"
        " WHEN MATCHED AND becomes IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET id = s.becomes"
    ],
    "gone and back": ["INSERT INTO t (id) VALUES (100)", "DELETE FROM t WHERE id = 100"],
}


@pytest.mark.parametrize("captured", ["before", "after"])
@pytest.mark.parametrize("change", KEY_CHANGES)
def test_keys_that_change_hands_are_followed(conn: Connection, bypass: Bypass, change: str, captured: str) -> None:
    """Within one statement what leaves a key and what arrives there are simultaneous, whatever the order of their events."""
    conn.execute("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, name text)")
    rows = "INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 10) AS i"
    capture = "SELECT rowhook.capture('t')"
    for statement in (capture, rows) if captured == "before" else (rows, capture):
        conn.execute(statement)
    with conn.transaction():
        for statement in KEY_CHANGES[change]:
            conn.execute(statement)
    assert found(conn) == {}
    bypass("UPDATE t SET name = 'x'", "INSERT INTO t VALUES (500, 'x')")
    expected = {("missing", "500")}
    touched = {str(id) for (id,) in conn.execute("SELECT id FROM t").fetchall()} - {"500"}
    if captured == "before":
        assert set(found(conn)) == expected | {("stale", key) for key in touched}
    else:
        assert {key for _, key in found(conn)} == touched | {"500"}


def test_composite_keys_are_the_same_in_every_zone(conn: Connection, bypass: Bypass) -> None:
    conn.execute("CREATE TABLE t (who text, at timestamptz, v float8, PRIMARY KEY (who, at))")
    conn.execute("SELECT rowhook.capture('t')")
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata"):
        conn.execute(f"SET timezone = '{zone}'")
        conn.execute("INSERT INTO t VALUES (current_setting('timezone'), '2026-01-01 00:00Z', 0.1)")
        conn.execute("UPDATE t SET at = '2026-02-01 12:00Z' WHERE who = current_setting('timezone')")
    assert counts(conn) == {"accounted": 3}
    bypass("DELETE FROM t WHERE who = 'UTC'")
    assert set(found(conn)) == {("ghost", '["UTC", "2026-02-01 12:00:00+00"]')}


def test_under_another_key_the_events_begin_anew(t: Connection) -> None:
    t.execute("ALTER TABLE t ADD COLUMN code int UNIQUE NOT NULL GENERATED ALWAYS AS IDENTITY")
    t.execute("SELECT rowhook.capture('t', key => '{code}')")
    t.execute("UPDATE t SET name = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t (id) VALUES (100)")
    assert counts(t) == {"accounted": 2, "unproven": 7}


REFUSED = {
    "CREATE TABLE t (id int)": "has no row key",
    "CREATE TABLE t (id int, a int NOT NULL)": r"\(a\) may be null or the same in several rows",
    "CREATE TABLE t (a int UNIQUE)": r"\(a\) may be null",
    "CREATE TABLE t (a int NOT NULL); CREATE UNIQUE INDEX ON t (a) WHERE a > 5": r"\(a\) may be null or the same",
}


@pytest.mark.parametrize("table", REFUSED)
def test_a_table_whose_rows_cannot_be_told_apart_is_refused_in_words(conn: Connection, table: str) -> None:
    conn.execute(table)
    key = "'{a}'" if "a int" in table else "NULL"
    conn.execute(f"SELECT rowhook.capture('t', key => {key})")
    with pytest.raises(psycopg.Error, match=REFUSED[table]) as refused:
        found(conn)
    assert refused.value.sqlstate == "RH001"
    assert "rowhook capture t --key" in str(refused.value.diag.message_hint)


def test_a_table_that_is_not_captured_is_refused(conn: Connection) -> None:
    conn.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(psycopg.Error, match="t is not captured"):
        found(conn)


# --- columns -------------------------------------------------------------------------------------------------


def test_columns_that_are_not_captured_are_not_compared(t: Connection, bypass: Bypass) -> None:
    t.execute("SELECT rowhook.capture('t', exclude => '{name}')")
    bypass("UPDATE t SET name = 'x' WHERE id = 1", "UPDATE t SET amount = 0 WHERE id = 2")
    assert found(t) == {("stale", "2"): ["amount"]}
    t.execute("SELECT rowhook.capture('t', include => '{name,id}')")
    t.execute("UPDATE t SET name = 'y' WHERE id = 3")
    bypass("UPDATE t SET amount = -1 WHERE id = 3")
    assert found(t) == {("stale", "1"): ["name"]}


def test_after_the_schema_changed_what_both_know_is_compared_and_the_rest_is_named(t: Connection, bypass: Bypass) -> None:
    t.execute("ALTER TABLE t ADD COLUMN extra int DEFAULT 7, DROP COLUMN at")
    t.execute("ALTER TABLE t ALTER amount TYPE numeric(12,4)")
    t.execute("ALTER TABLE t ALTER name TYPE varchar(20)")
    rows = t.execute("SELECT verdict, added, dropped, count FROM rowhook.verify('t')").fetchall()
    assert rows == [("accounted", ["extra"], ["at"], 9)], "the same values in other types"
    t.execute("UPDATE t SET extra = 8 WHERE id = 1")
    bypass("UPDATE t SET extra = 9 WHERE id IN (1, 2)", "UPDATE t SET amount = 5 WHERE id = 3")
    assert found(t) == {("stale", "1"): ["extra"], ("stale", "3"): ["amount"]}
    t.execute("ALTER TABLE t RENAME amount TO total")
    assert found(t) == {("stale", "1"): ["extra"]}


SETTINGS = [
    "timezone = 'UTC'",
    "timezone = 'Asia/Kolkata'",
    "bytea_output = 'escape'",
    "intervalstyle = 'iso_8601'",
    "extra_float_digits = 3",
    "datestyle = 'German'",
]
ODD = r"""
INSERT INTO t (id, b, i, f, n, at, j, ats, "odd "" name")
VALUES (%s, '\xdeadbeef', '1 day 2 hours', 0.1, 'NaN', 'infinity', '{"a":"\u0000"}', '{2026-01-01 00:00Z}', E'a\nb"\\')
"""


def test_values_are_the_same_whatever_the_settings_of_the_writer(conn: Connection, bypass: Bypass) -> None:
    conn.execute(
        "CREATE TABLE t (id int PRIMARY KEY, b bytea, i interval, f float8, n numeric, at timestamptz, j json, ats timestamptz[],"
        ' "odd "" name" text)'
    )
    conn.execute("SELECT rowhook.capture('t')")
    for number, setting in enumerate(SETTINGS):
        conn.execute(f"SET {setting}")
        conn.execute(ODD % number)
        conn.execute(f"UPDATE t SET i = i * 2, j = '{{}}' WHERE id = {number} AND {number} % 2 = 1")
    assert counts(conn) == {"accounted": len(SETTINGS)}
    bypass('UPDATE t SET "odd "" name" = \'x\' WHERE id < 2')
    assert found(conn) == {("stale", "0"): ['odd " name'], ("stale", "1"): ['odd " name']}
    conn.execute("UPDATE t SET id = id + 100")
    assert counts(conn) == {"accounted": len(SETTINGS)}


# --- events --------------------------------------------------------------------------------------------------


def test_a_truncate_takes_the_rows_before_it_along(t: Connection, bypass: Bypass) -> None:
    t.execute("TRUNCATE t")
    assert counts(t) == {}
    with t.transaction():
        t.execute("INSERT INTO t VALUES (1, 'a'); TRUNCATE t; INSERT INTO t VALUES (1, 'b')")
    assert counts(t) == {"accounted": 1}
    bypass("TRUNCATE t")
    assert found(t) == {("ghost", "1"): None}


def test_rows_that_move_between_tenants_are_accounted_for(conn: Connection, bypass: Bypass) -> None:
    conn.execute("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, owner int)")
    conn.execute("INSERT INTO t SELECT i, 1 FROM generate_series(1, 500) AS i")
    conn.execute("SELECT rowhook.capture('t', tenant => 'owner')")
    conn.execute("INSERT INTO t SELECT i, 1 FROM generate_series(501, 1000) AS i")
    conn.execute("UPDATE t SET owner = id % 7")
    conn.execute("UPDATE t SET owner = id % 5, id = id + 1")
    assert counts(conn) == {"accounted": 1000}
    bypass("UPDATE t SET owner = 99 WHERE id = 500")
    assert found(conn) == {("stale", "500"): ["owner"]}


def test_what_retention_removed_is_unproven_and_not_wrong(t: Connection, bypass: Bypass) -> None:
    bypass("INSERT INTO t VALUES (20, 'x')")
    for slot in range(10):
        t.execute(f"TRUNCATE rowhook.event_{slot}")
    assert counts(t) == {"unproven": 9, "missing": 1}, "written after the last event that is gone"
    t.execute("INSERT INTO t VALUES (21, 'captured'); UPDATE t SET name = 'captured' WHERE id = 1; DELETE FROM t WHERE id = 2")
    bypass("INSERT INTO t VALUES (22, 'x'), (2, 'x')", "UPDATE t SET name = 'x' WHERE id = 3")
    assert found(t) == {("missing", key): None for key in ("2", "3", "20", "22")}
    assert counts(t) == {"accounted": 2, "missing": 4, "unproven": 6}
    removed = one(t, "SELECT removed_id FROM rowhook.horizon")
    t.execute("TRUNCATE rowhook.event")
    assert one(t, "SELECT removed_id FROM rowhook.horizon") > removed > 0


def test_operations_that_are_not_captured_accuse_no_row(t: Connection) -> None:
    t.execute("SELECT rowhook.capture('t', events => '{insert}')")
    t.execute("UPDATE t SET name = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2")
    assert counts(t) == {"accounted": 7, "unproven": 1}
    t.execute("SELECT rowhook.capture('t', events => '{update,delete}')")
    t.execute("INSERT INTO t (id) VALUES (100)")
    assert counts(t) == {"accounted": 7, "unproven": 1, "stale": 1, "ghost": 1}


# --- tables --------------------------------------------------------------------------------------------------


def test_a_renamed_table_keeps_its_events_and_a_new_one_of_that_name_gets_none_of_them(t: Connection, bypass: Bypass) -> None:
    t.execute("ALTER TABLE t RENAME TO u")
    t.execute("UPDATE u SET name = 'x' WHERE id = 1")
    assert counts(t, "u") == {"accounted": 9}
    t.execute("SELECT rowhook.capture('u')")
    t.execute("UPDATE u SET name = 'x' WHERE id = 2")
    bypass("UPDATE u SET name = 'z' WHERE id = 3")
    assert found(t, "u") == {("stale", "3"): ["name"]}
    t.execute("DROP TABLE u; CREATE TABLE u (id int PRIMARY KEY); SELECT rowhook.capture('u')")
    t.execute("INSERT INTO u VALUES (1)")
    assert counts(t, "u") == {"accounted": 1}


def test_partitions_and_inheriting_tables(conn: Connection, bypass: Bypass) -> None:
    conn.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);"
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);"
        "SELECT rowhook.capture('t'), rowhook.capture('parent')"
    )
    conn.execute("INSERT INTO t SELECT i, i FROM generate_series(0, 19) AS i; DELETE FROM t WHERE id = 3")
    conn.execute("UPDATE t SET id = 3 WHERE id = 13; INSERT INTO t2 VALUES (13, 1); DELETE FROM t WHERE id = 12")
    conn.execute("DELETE FROM t1 WHERE id = 5")
    conn.execute("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2)")
    bypass("UPDATE t SET id = 12 WHERE id = 4", "INSERT INTO parent VALUES (5)")
    assert found(conn) == {("ghost", "4"): None, ("missing", "12"): None}
    assert counts(conn, "parent") == {"accounted": 1, "missing": 1}


# --- at work, and against an independent count ---------------------------------------------------------------


def test_writers_that_go_on_are_never_accused(conn: Connection, connect: Connect) -> None:
    """Rows and events are read in one snapshot: whatever commits in between is in both or in neither."""
    conn.execute("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT rowhook.capture('t')")
    stop = threading.Event()

    def write(seed: int, connection: Connection) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            with connection.transaction(force_rollback=chance.random() < 0.2):
                for _ in range(chance.randint(1, 3)):
                    id = chance.randint(1, 20) * 4 + seed
                    connection.execute(
                        chance.choice(OPERATIONS).format(id=id, other=chance.randint(21, 40) * 4 + seed, v=chance.randint(0, 9))
                    )

    writers = [threading.Thread(target=write, args=(seed, connect())) for seed in range(4)]
    for writer in writers:
        writer.start()
    try:
        seen = [found(conn) for _ in range(40)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert seen == [{}] * 40
    assert one(conn, "SELECT count(*) FROM rowhook.event") > 200


OPERATIONS = [
    "INSERT INTO t VALUES ({id}, {v}) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
    "DELETE FROM t WHERE id = {id}",
    "UPDATE t SET v = {v} WHERE id = {id}",
    "UPDATE t SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM t WHERE id = {other})",
]
WIDE = [
    "UPDATE u SET id = id + 1",
    "UPDATE u SET id = 40 - id WHERE id BETWEEN 0 AND 40",
    "DELETE FROM u WHERE v = {v}",
    "TRUNCATE u",
    "UPDATE u SET owner = {v}",
]


@pytest.mark.parametrize("tenant", ["", "owner"])
def test_what_is_found_is_exactly_what_was_changed_uncaptured(conn: Connection, bypass: Bypass, tenant: str) -> None:
    """Random transactions, captured; then random changes that bypass, known from the table before and after."""
    chance = random.Random(f"{tenant}1")
    conn.execute("CREATE TABLE u (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int, owner int)")
    conn.execute(f"SELECT rowhook.capture('u', tenant => '{tenant}')")

    def statement() -> str:
        id, other = chance.sample(range(40), 2)
        text = chance.choice(WIDE if chance.random() < 0.1 else [*NARROW])
        return text.format(id=id, other=other, v=chance.randint(0, 5))

    def rows() -> dict[str, Any]:
        return {str(id): rest for id, *rest in conn.execute("SELECT id, v, owner FROM u").fetchall()}

    for _ in range(25):
        for _ in range(12):
            try:
                with conn.transaction():
                    for _ in range(chance.randint(1, 4)):
                        conn.execute(statement())
            except psycopg.errors.UniqueViolation:
                pass
        assert found(conn, "u") == {}
        before = rows()
        with conn.transaction(force_rollback=True):
            try:
                with conn.transaction():
                    bypass(*(statement() for _ in range(4)), "SET CONSTRAINTS ALL IMMEDIATE")
            except psycopg.errors.UniqueViolation:
                continue
            after = rows()
            assert set(found(conn, "u")) == {
                *(("missing", key) for key in after.keys() - before.keys()),
                *(("ghost", key) for key in before.keys() - after.keys()),
                *(("stale", key) for key in after.keys() & before.keys() if after[key] != before[key]),
            }


NARROW = [
    "INSERT INTO u SELECT {id}, {v}, {v} WHERE NOT EXISTS (SELECT FROM u WHERE id = {id})",
    "DELETE FROM u WHERE id = {id}",
    "UPDATE u SET v = {v} WHERE id = {id}",
    "UPDATE u SET id = {other} WHERE id = {id}",
    "UPDATE u SET id = CASE id WHEN {id} THEN {other} ELSE {id} END WHERE id IN ({id}, {other})",
    "UPDATE u SET owner = {v}, id = {other} WHERE id = {id}",
]


# --- rights --------------------------------------------------------------------------------------------------


def test_rows_that_a_policy_hides_make_no_ghosts(t: Connection, connect: Connect, new_role: Callable[..., str]) -> None:
    role = new_role()
    t.execute(f"GRANT USAGE ON SCHEMA rowhook TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA rowhook TO {role}")
    t.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rowhook TO {role}; GRANT SELECT ON t TO {role}")
    reader = connect(user=role)
    assert counts(reader) == {"accounted": 9}
    t.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t USING (id < 3)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        counts(reader)


def test_no_code_of_other_peoples_runs_with_the_rights_of_who_asks(
    conn: Connection, connect: Connect, new_role: Callable[..., str]
) -> None:
    role = new_role()
    conn.execute(f"CREATE SCHEMA AUTHORIZATION {role}")
    theirs = connect(user=role)
    theirs.execute(
        "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE t (id int PRIMARY KEY, m mood);"
        "CREATE FUNCTION as_json(mood) RETURNS json LANGUAGE sql AS $$ SELECT to_json(current_user) $$;"
        "CREATE CAST (mood AS json) WITH FUNCTION as_json(mood)"
    )
    conn.execute(f"SELECT rowhook.capture('{role}.t')")
    theirs.execute("INSERT INTO t VALUES (1, 'good')")
    with pytest.raises(psycopg.Error, match=f"cast .*as_json.* belongs to role {role}") as refused:
        found(conn, f"{role}.t")
    assert refused.value.sqlstate == "RH001"
    conn.execute(f"ALTER FUNCTION {role}.as_json({role}.mood) OWNER TO postgres")
    assert found(conn, f"{role}.t") == {("stale", "1"): ["m"]}, "it says who runs it: rowhook_capture then, we now"
