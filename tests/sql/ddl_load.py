"""DDL under load: writers in many sessions while their tables' columns are added, dropped, renamed and retyped.

python -m tests.sql.ddl_load --writers 16 --changes 1000 --without-event-trigger

Each writer counts what it committed, by key; in the end that is held against the events, and the rows that are left against the
tables. A writer names only columns that stay: whatever error it gets is Rowhook's.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg

from relay import schema_follow
from relay.config import load
from relay.migrations import migrate
from tests.cluster import Cluster, postgres_under_test

# Captured as wholes, by columns, row by row; with rules on columns that come and go.
TABLES = """
CREATE TABLE kind (id int PRIMARY KEY, name text);
INSERT INTO kind VALUES (1, 'a');
CREATE TABLE {0} (id bigint PRIMARY KEY, stable text NOT NULL, owner int NOT NULL DEFAULT 7, secret text DEFAULT 'hush',
                  a int DEFAULT 1, b text DEFAULT 'b', c numeric DEFAULT 1.50, kind_id int DEFAULT 1 REFERENCES kind);
"""
CAPTURES = {
    "whole": "SELECT rowhook.capture('whole', tenant => 'owner')",
    "parts": """SELECT rowhook.capture('parts', exclude => '{secret}', redact => '{"b": "mask"}',
                                       enrich => '{"kind": "kind_id.name"}')""",
    "each": "SELECT rowhook.capture('each', key => '{id}', include => '{id,stable,a,b}')",
}
RULES = """
SELECT rowhook.rule('{0}.even', on_table => '{0}', op => 'insert', predicate => 'new.a > 0');
SELECT rowhook.rule('{0}.turned', on_table => '{0}', op => 'update',
                    predicate => 'new.c IS DISTINCT FROM old.c OR ''stable'' = ANY (changed)');
"""
BY_ROW = "CREATE FUNCTION idle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
CHANGES = [
    ("ALTER TABLE {0} ADD COLUMN d{1} int DEFAULT {1}", "ALTER TABLE {0} DROP COLUMN d{1}"),
    ("ALTER TABLE {0} RENAME a TO a{1}", "ALTER TABLE {0} RENAME a{1} TO a"),
    ("ALTER TABLE {0} ALTER a TYPE text", "ALTER TABLE {0} ALTER a TYPE int USING 1"),
    ("ALTER TABLE {0} DROP COLUMN b", "ALTER TABLE {0} ADD COLUMN b text DEFAULT 'b'"),
    ("ALTER TABLE {0} ALTER c TYPE double precision", "ALTER TABLE {0} ALTER c TYPE numeric"),
    ("ALTER TABLE {0} RENAME secret TO hidden{1}", "ALTER TABLE {0} RENAME hidden{1} TO secret"),
    ("ALTER TABLE {0} ALTER stable TYPE varchar(200)", "ALTER TABLE {0} ALTER stable TYPE text"),
    (
        "ALTER TABLE {0} DROP COLUMN a, DROP COLUMN c",
        "ALTER TABLE {0} ADD COLUMN a int DEFAULT 1, ADD COLUMN c numeric DEFAULT 1.50",
    ),
    ("ALTER TABLE {0} ALTER id TYPE numeric", "ALTER TABLE {0} ALTER id TYPE bigint"),
    ("ALTER TABLE {0} RENAME owner TO whose{1}", "ALTER TABLE {0} RENAME whose{1} TO owner"),
]


@dataclass
class Written:
    """What one writer committed: (table, operation, key), and its errors."""

    told: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    last: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def prepare(connection: psycopg.Connection[Any]) -> None:
    connection.execute(BY_ROW)
    for number, (table, capture) in enumerate(CAPTURES.items()):
        connection.execute(
            (TABLES.format(table) if number == 0 else TABLES[TABLES.index("CREATE TABLE {0}") :].format(table)).encode()
        )
        if table == "each":  # an AFTER ROW trigger of its own: captured row by row
            connection.execute("CREATE TRIGGER idle AFTER INSERT ON each FOR EACH ROW EXECUTE FUNCTION idle()")
        connection.execute(capture.encode())
        connection.execute(RULES.format(table).encode())


def write(dsn: str, number: int, stop: threading.Event, written: Written) -> None:
    chance = random.Random(number)
    keys = itertools.count(number * 10_000_000)
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not stop.is_set():
            table, key = chance.choice(list(CAPTURES)), str(next(keys))
            try:
                connection.execute(f"INSERT INTO {table} (id, stable) VALUES ({key}, 'v{key}')".encode())
                written.told[table, "insert", key] += 1
                written.last[table, key] = f"v{key}"
                if chance.random() < 0.7:
                    connection.execute(f"UPDATE {table} SET stable = stable || '+' WHERE id = {key}".encode())
                    written.told[table, "update", key] += 1
                    written.last[table, key] += "+"
                if chance.random() < 0.3:
                    connection.execute(f"DELETE FROM {table} WHERE id = {key}".encode())
                    written.told[table, "delete", key] += 1
                    del written.last[table, key]
            except psycopg.Error as error:
                written.errors.append(f"{table}: {type(error).__name__}: {error}")


def change(dsn: str, changes: int, *, follows: bool) -> None:
    """All kinds in turn, each taken back at once. Without an event trigger a relay starts now and then."""
    chance = random.Random(7)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number in range(0, changes, 2):
            table, (there, back) = chance.choice(list(CAPTURES)), CHANGES[number // 2 % len(CHANGES)]
            for statement in (there, back):
                connection.execute(statement.format(table, number).encode())
            if not follows and number % 10 == 0:
                schema_follow.ensure(load(DATABASE_URL=dsn))


def run(dsn: str, *, writers: int, changes: int, follows: bool) -> dict[str, Any]:
    """Load and DDL together; what is wrong afterwards, and how much was done."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        prepare(connection)
        if not follows:
            connection.execute("DROP EVENT TRIGGER rowhook_follow_ddl")
        stop, began = threading.Event(), time.monotonic()
        written = [Written() for _ in range(writers)]
        threads = [threading.Thread(target=write, args=(dsn, number, stop, one)) for number, one in enumerate(written, 1)]
        for thread in threads:
            thread.start()
        try:
            change(dsn, changes, follows=follows)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        return {"seconds": round(time.monotonic() - began, 1), "changes": changes, **differences(connection, written)}


def differences(connection: psycopg.Connection[Any], written: list[Written]) -> dict[str, Any]:
    told: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str], str] = {}
    leaks = 0
    for table, op, key, data in connection.execute(
        "SELECT table_name, op::text, coalesce(row_key, data ->> 'id'), data FROM rowhook.event"
        " WHERE op IN ('insert', 'update', 'delete') ORDER BY id"
    ):
        told[table, op, key] += 1
        leaks += table == "parts" and "hush" in str(data)
        if op == "delete":
            last.pop((table, key), None)
        else:
            last[table, key] = data["stable"]
    committed = sum((one.told for one in written), Counter())
    rows = {
        (table, str(key)): stable
        for table in CAPTURES
        for key, stable in connection.execute(f"SELECT id, stable FROM {table}".encode()).fetchall()
    }
    return {
        "writes": committed.total(),
        "events": told.total(),
        "errors": [error for one in written for error in one.errors][:3],
        "lost": list((committed - told).items())[:3],
        "repeated": list((told - committed).items())[:3],
        "rows that differ": len(rows.items() ^ last.items()),
        "secrets told": leaks,
        "failures": connection.execute("SELECT DISTINCT message FROM rowhook.capture_failure LIMIT 5").fetchall(),
        "behind": connection.execute("SELECT count(*) FROM rowhook.capture AS c WHERE rowhook.is_behind(c)").fetchall()[0][0],
        "versions": connection.execute("SELECT count(*) FROM rowhook.schema_version").fetchall()[0][0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--without-event-trigger", action="store_true")
    given = parser.parse_args()
    cluster = Cluster.start(*postgres_under_test())
    try:
        migrate(cluster.dsn())
        done = run(cluster.dsn(), writers=given.writers, changes=given.changes, follows=not given.without_event_trigger)
    finally:
        cluster.remove()
    for name, value in done.items():
        sys.stdout.write(f"{name:17} {value}\n")


if __name__ == "__main__":
    main()
