"""Tables with triggers, rules, policies and constraints of their own; other ways to capture."""

from __future__ import annotations

from tests.matrix.shape import Shape, Write, both_halves
from tests.matrix.shapes_keys import FIVE

PLAIN = "CREATE TABLE t (id int PRIMARY KEY, v text);"
INSERT_MANY = "INSERT INTO {} (id, v) VALUES (2, 'two'), (3, 'three'), (4, NULL)"

SHAPES = (
    Shape(
        "before_trigger",
        "behaviour",
        "BEFORE triggers of its own: what they made of the row, and nothing of a row that they skipped",
        PLAIN + "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.id = 3 THEN RETURN NULL; END IF; NEW.v := upper(NEW.v); RETURN NEW; END $$;"
        "CREATE TRIGGER own BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION own()",
        FIVE,
    ),
    Shape(
        "after_row_trigger",
        "behaviour",
        "AFTER ROW triggers of its own that write the same row: created before updated",
        "CREATE TABLE t (id int PRIMARY KEY, v text, stamp text); CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE after_row_trigger.t SET stamp = NEW.v || '!' WHERE id = NEW.id AND stamp IS DISTINCT FROM"
        " NEW.v || '!'; RETURN NULL; END $$;"
        'CREATE TRIGGER "0" AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION own()',
        FIVE,
        mode="row",
    ),
    Shape(
        "after_statement_trigger",
        "behaviour",
        "AFTER STATEMENT triggers of its own",
        "CREATE TABLE t (id int PRIMARY KEY, v text, stamp text); CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE after_statement_trigger.t SET stamp = 'seen' WHERE stamp IS NULL; RETURN NULL; END $$;"
        'CREATE TRIGGER "0" AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION own()',
        FIVE,
    ),
    Shape(
        "rewrite_rules",
        "behaviour",
        "rewrite rules (`CREATE RULE`): what is really written",
        PLAIN + "CREATE TABLE log (id int); CREATE RULE soft AS ON DELETE TO t DO INSTEAD UPDATE t SET v = 'gone' WHERE t.id ="
        " OLD.id;"
        "CREATE RULE log AS ON INSERT TO t WHERE NEW.id = 5 DO INSTEAD INSERT INTO log VALUES (NEW.id)",
        FIVE,
        writes={
            Write.UPSERT: (
                "UPDATE t SET v = 'one' WHERE id = 1",
                "INSERT INTO t VALUES (5, 'elsewhere')",
                "INSERT INTO t VALUES (6, 'six')",
            ),
            Write.TRANSACTION: (
                *("UPDATE t SET v = 'again' WHERE id = 1", "SAVEPOINT s", "DELETE FROM t", "ROLLBACK TO s"),
                *("TRUNCATE t", "INSERT INTO t VALUES (3, 'three')"),
            ),
        },
    ),
    Shape(
        "through_views",
        "behaviour",
        "writes through views: of the tables beneath them",
        PLAIN + "CREATE VIEW seen AS SELECT id, v FROM t WHERE id < 100 WITH CHECK OPTION",
        FIVE,
        target="seen",
        writes={Write.COPY: (INSERT_MANY.format("seen"),)},
    ),
    Shape(
        "row_security",
        "behaviour",
        "row security, and a writer who may see no row",
        PLAIN + "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY put ON t FOR INSERT WITH"
        " CHECK (true);"
        "CREATE POLICY change ON t FOR UPDATE USING (id = 1) WITH CHECK (true); CREATE POLICY take ON t FOR DELETE"
        " USING (id = 2);"
        "GRANT USAGE ON SCHEMA row_security TO matrix_blind; GRANT INSERT, UPDATE, DELETE, TRUNCATE ON t TO matrix_blind",
        FIVE,
        session="SET ROLE matrix_blind",
        writes={
            Write.COPY: (INSERT_MANY.format("t"),),
            Write.UPDATE: ("UPDATE t SET v = 'changed'",),
            Write.UPSERT: ("WITH was AS (UPDATE t SET v = 'one') INSERT INTO t VALUES (5, 'five')",),
            Write.DELETE: ("DELETE FROM t",),
            Write.TRANSACTION: (
                *("UPDATE t SET v = 'again'", "SAVEPOINT s", "DELETE FROM t", "INSERT INTO t VALUES (2, 'two')", "ROLLBACK TO s"),
                *("TRUNCATE t", "INSERT INTO t VALUES (3, 'three')"),
            ),
        },
    ),
    Shape(
        "deferred",
        "behaviour",
        "deferred constraints: keys that are swapped on the way",
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        FIVE,
        writes={
            Write.UPDATE: (
                "UPDATE t SET id = 5 - id WHERE id IN (2, 3)",
                "UPDATE t SET v = 'two' WHERE id = 1",
                "UPDATE t SET v = 'one' WHERE id = 3",
            ),
            Write.UPSERT: (
                "MERGE INTO t USING (VALUES (1, 'met'), (5, 'five'), (4, NULL)) AS s (id, v) ON t.id = s.id WHEN MATCHED AND"
                " s.v IS NULL THEN DELETE"
                " WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)",
            ),
        },
    ),
    Shape(
        "cascades",
        "behaviour",
        "foreign keys ON DELETE and ON UPDATE CASCADE, SET NULL: writes to another table",
        "CREATE TABLE above (id int PRIMARY KEY); INSERT INTO above SELECT generate_series(1, 9);"
        "CREATE TABLE beside (v text PRIMARY KEY); INSERT INTO beside VALUES ('one'), ('two'), ('three'), ('five'),"
        " ('changed');"
        "CREATE TABLE t (id int PRIMARY KEY REFERENCES above ON DELETE CASCADE ON UPDATE CASCADE, v text REFERENCES"
        " beside ON DELETE SET NULL)",
        FIVE,
        writes={
            Write.UPDATE: ("UPDATE above SET id = id + 100 WHERE id IN (1, 9)", "DELETE FROM beside WHERE v = 'one'"),
            Write.DELETE: ("DELETE FROM above WHERE id IN (2, 3, 8)",),
            Write.UPSERT: ("INSERT INTO t VALUES (101, 'two'), (5, 'five') ON CONFLICT (id) DO UPDATE SET v = excluded.v",),
            Write.TRANSACTION: (
                *(
                    "DELETE FROM above WHERE id = 101",
                    "SAVEPOINT s",
                    "DELETE FROM above",
                    "ROLLBACK TO s",
                    "INSERT INTO t VALUES (6, 'five')",
                ),
                *("TRUNCATE above CASCADE",),
            ),
        },
    ),
    Shape(
        "own_cascade",
        "behaviour",
        "a foreign key to the table itself",
        "CREATE TABLE t (id int PRIMARY KEY, v text, up int REFERENCES t ON DELETE CASCADE)",
        ("1, 'one', NULL", "2, 'two', 1", "3, 'three', 2", "4, NULL, 3", "5, 'five', 1"),
        columns="id, v, up",
        writes={
            Write.TRANSACTION: (
                *("UPDATE t SET v = 'again' WHERE id = 1", "SAVEPOINT s", "DELETE FROM t WHERE up IS NULL", "ROLLBACK TO s"),
                *("INSERT INTO t VALUES (2, 'two', 1), (3, 'three', 2)", "DELETE FROM t WHERE id = 2", "TRUNCATE t"),
            )
        },
    ),
    Shape(
        "moved_tenants",
        "behaviour",
        "rows that move from one tenant to another: deleted for the one, created for the other",
        "CREATE TABLE t (id int PRIMARY KEY, v text, org int)",
        ("1, 'one', 10", "2, 'two', 20", "3, 'three', 10", "4, NULL, NULL", "5, 'five', 30"),
        columns="id, v, org",
        change="org = 77, v = 'changed'",
        take="v = excluded.v, org = excluded.org",
        first="id IN (1, 3)",
        options=", tenant => 'org'",
    ),
    Shape(
        "several",
        "behaviour",
        "several kinds of events of one table: one capture, and any number of rules beside it",
        PLAIN,
        FIVE,
        after_capture="SELECT rowhook.rule('t.named', on_table => 'several.t', op => 'insert', predicate => 'new.v IS NOT NULL'),"
        " rowhook.rule('t.renamed', on_table => 'several.t', op => 'update', predicate => '''v'' = ANY (changed)'),"
        " rowhook.rule('t.lost', on_table => 'several.t', op => 'delete', predicate => 'old.id = 2')",
    ),
    Shape(
        "several_by_row",
        "behaviour",
        "the same, row by row",
        "CREATE TABLE t (id int, v text)",
        FIVE,
        mode="row",
        after_capture="SELECT rowhook.rule('t.renamed', on_table => 'several_by_row.t',"
        " op => 'update', predicate => '''v'' = ANY (changed)')",
        writes=both_halves("id, v", "5, 'five'", "v = 'one'"),
    ),
    Shape(
        "large_rows",
        "behaviour",
        "rows above `--max-size`: their key only",
        PLAIN,
        ("1, 'one'", "2, repeat('2', 60)", "3, 'three'", "4, repeat('4', 60)", "5, 'five'"),
        change="v = repeat('c', 60)",
        options=", max_size => 50",
    ),
)
