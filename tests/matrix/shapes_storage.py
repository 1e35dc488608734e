"""Partitions, inheritance, foreign and unlogged tables."""

from __future__ import annotations

from tests.matrix.shape import Shape, Write, both_halves
from tests.matrix.shapes_keys import FIVE

LOOPBACK = """
CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;
DO $$ BEGIN
    EXECUTE format('CREATE SERVER IF NOT EXISTS loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
                   '127.0.0.1', current_setting('port'), current_database());
END $$;
CREATE USER MAPPING IF NOT EXISTS FOR postgres SERVER loopback OPTIONS (user 'postgres');
"""
HALVES = "CREATE TABLE {0} PARTITION OF t FOR VALUES FROM (0) TO (3); CREATE TABLE {1} PARTITION OF t FOR VALUES FROM (3) TO (9);"
BY_RANGE = "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); " + HALVES.format("t_low", "t_high")

PARTITIONED = (
    Shape("range_partitions", "storage", "partitions by range", BY_RANGE, FIVE, mode="row"),
    Shape(
        "list_partitions",
        "storage",
        "partitions by list, and a default one",
        "CREATE TABLE t (id int, v text, r text DEFAULT 'north', PRIMARY KEY (id, r)) PARTITION BY LIST (r);"
        "CREATE TABLE t_north PARTITION OF t FOR VALUES IN ('north'); CREATE TABLE t_rest PARTITION OF t DEFAULT",
        ("1, 'one', 'north'", "2, 'two', 'south'", "3, 'three', 'north'", "4, NULL, 'else'", "5, 'five', 'south'"),
        columns="id, v, r",
        conflict="(id, r)",
        mode="row",
    ),
    Shape(
        "hash_partitions",
        "storage",
        "partitions by hash",
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY HASH (id);"
        + "".join(f"CREATE TABLE t_{n} PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER {n});" for n in range(3)),
        FIVE,
        mode="row",
    ),
    Shape(
        "two_levels",
        "storage",
        "partitions of partitions, written to at every level",
        "CREATE TABLE t (id int, v text, r text DEFAULT 'a', PRIMARY KEY (id, r)) PARTITION BY LIST (r);"
        "CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a') PARTITION BY RANGE (id);"
        "CREATE TABLE t_a1 PARTITION OF t_a FOR VALUES FROM (0) TO (3); CREATE TABLE t_a2 PARTITION OF t_a FOR VALUES"
        " FROM (3) TO (9);"
        "CREATE TABLE t_b PARTITION OF t FOR VALUES IN ('b')",
        ("1, 'one', 'a'", "2, 'two', 'a'", "3, 'three', 'a'", "4, NULL, 'b'", "5, 'five', 'b'"),
        columns="id, v, r",
        conflict="(id, r)",
        mode="row",
        writes={
            Write.UPDATE: ("UPDATE t_a SET v = 'middle' WHERE id = 1", "UPDATE t_a2 SET v = 'leaf' WHERE id = 3"),
            Write.DELETE: ("DELETE FROM t_a1 WHERE id = 2",),
        },
    ),
    Shape(
        "moving_rows",
        "storage",
        "rows that move from one partition to another: deleted and created",
        BY_RANGE,
        FIVE,
        mode="row",
        writes={Write.UPDATE: ("UPDATE t SET id = 7, v = 'moved' WHERE id IN (1, 7)", "UPDATE t SET id = 0 WHERE id = 3")},
    ),
    Shape(
        "attached",
        "storage",
        "a partition that is attached afterwards",
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE t_low PARTITION OF t FOR"
        " VALUES FROM (0) TO (2);"
        "CREATE TABLE t_high (id int PRIMARY KEY, v text)",
        FIVE,
        after_capture="ALTER TABLE t ATTACH PARTITION t_high FOR VALUES FROM (2) TO (9)",
        mode="row",
    ),
    Shape(
        "detached",
        "storage",
        "a partition that is detached afterwards: no longer",
        BY_RANGE + "CREATE TABLE t_gone PARTITION OF t FOR VALUES FROM (9) TO (20)",
        FIVE,
        after_capture="ALTER TABLE t DETACH PARTITION t_gone",
        mode="row",
        writes={Write.DELETE: ("INSERT INTO t_gone VALUES (10, 'uncaptured')", "DELETE FROM t WHERE id = 2", "TRUNCATE t_gone")},
    ),
    Shape(
        "other_order",
        "storage",
        "partitions whose columns are in another order: events have the table's",
        "CREATE TABLE t (id int PRIMARY KEY, v text, n int) PARTITION BY RANGE (id); CREATE TABLE t_low PARTITION OF t"
        " FOR VALUES FROM (0) TO (3);"
        "CREATE TABLE t_high (n int, gone int, v text, id int NOT NULL); ALTER TABLE t_high DROP COLUMN gone;"
        "ALTER TABLE t ATTACH PARTITION t_high FOR VALUES FROM (3) TO (9)",
        FIVE,
        first="id IN (1, 3)",
        mode="row",
    ),
    Shape(
        "a_partition",
        "storage",
        "a partition by itself, also when it is written to through its table",
        BY_RANGE,
        FIVE,
        table="t_low",
        target="t",
        truncates=False,
        mode="row",
    ),
    Shape(
        "foreign_partition",
        "storage",
        "partitions that are foreign tables",
        LOOPBACK + "CREATE TABLE t (id int, v text) PARTITION BY RANGE (id); CREATE TABLE far (id int PRIMARY KEY, v text);"
        "CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (3);"
        "CREATE FOREIGN TABLE t_high PARTITION OF t FOR VALUES FROM (3) TO (9) SERVER loopback OPTIONS (schema_name"
        " 'foreign_partition', table_name 'far')",
        FIVE,
        options=", key => '{id}'",
        mode="row",
        writes=both_halves("id, v", "5, 'five'", "v = 'one'"),
    ),
)
OTHERS = (
    Shape(
        "inheriting",
        "storage",
        "a table that inherits, also when it is written to through its parent",
        "CREATE TABLE above (id int PRIMARY KEY, v text); CREATE TABLE t (rooms int DEFAULT 4, PRIMARY KEY (id))"
        " INHERITS (above)",
        FIVE,
        mode="row",
        writes={
            Write.UPDATE: ("INSERT INTO above VALUES (8, 'not its own')", "UPDATE above SET v = 'changed' WHERE id IN (1, 8)"),
            Write.DELETE: ("DELETE FROM above WHERE id IN (2, 8)",),
        },
    ),
    Shape(
        "inherited_from",
        "storage",
        "a table that others inherit from: its own rows, and theirs by their own captures",
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE below (rooms int) INHERITS (t)",
        FIVE,
        mode="row",
        only=True,
        writes={
            Write.UPDATE: ("INSERT INTO below VALUES (8, 'not its own', 4)", "UPDATE t SET v = 'changed' WHERE id IN (1, 8)"),
            Write.TRANSACTION: ("UPDATE t SET v = 'again'", "SAVEPOINT s", "DELETE FROM t", "ROLLBACK TO s", "TRUNCATE ONLY t"),
        },
    ),
    Shape(
        "foreign_table",
        "storage",
        "foreign tables that can be written to, for what is written through them; without TRUNCATE, which fires no trigger there",
        LOOPBACK + "CREATE TABLE far (id int PRIMARY KEY, v text, n numeric DEFAULT 1.50);"
        "CREATE FOREIGN TABLE t (id int, v text, n numeric DEFAULT 1.50) SERVER loopback OPTIONS (schema_name"
        " 'foreign_table', table_name 'far')",
        FIVE,
        options=", key => '{id}'",
        mode="row",
        truncates=False,
        writes=both_halves("id, v", "5, 'five'", "v = 'one'"),
    ),
    Shape(
        "unlogged",
        "storage",
        "unlogged tables; that a crash empties them is no event",
        "CREATE UNLOGGED TABLE t (id int PRIMARY KEY, v text)",
        FIVE,
    ),
)
SHAPES = (*PARTITIONED, *OTHERS)
