"""rowhook capture and uncapture."""

from __future__ import annotations

import subprocess
import time
from subprocess import PIPE

import pytest

from tests.cli.conftest import COMMAND, Rowhook, environment
from tests.conftest import Connect, Connection

TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'expenses'::regclass AND tgname LIKE '!rowhook%'"

pytestmark = pytest.mark.usefixtures("finmind_dsn")


def triggers(conn: Connection) -> int:
    ((count,),) = conn.execute(TRIGGERS).fetchall()
    return int(count)


def test_captures_and_says_how(rowhook: Rowhook, conn: Connection):
    done = rowhook("capture", "expenses", "--tenant", "user_id", ok=True)
    assert done.out.startswith("expenses: installed\n")
    assert "type_prefix  expense\n" in done.out
    assert done.err == ""
    assert triggers(conn) == 4
    assert rowhook("capture", "expenses", ok=True).out == "expenses: unchanged\n"


def test_options_not_given_stay(rowhook: Rowhook):
    rowhook("capture", "expenses", "--tenant", "user_id", "--type-prefix", "cost", "--exclude", "notes, currency", ok=True)
    now = rowhook("capture", "public.expenses", "--events", "delete,insert", "--on-error", "record", "--json", ok=True).json
    assert now == {
        "result": "changed",
        "table": "expenses",
        "name": "",
        "mode": "statement",
        "events": ["insert", "delete"],
        "type_prefix": "cost",
        "tenant": "user_id",
        "include": None,
        "exclude": ["notes", "currency"],
        "key": ["id"],
        "on_error": "record",
        "paused": False,
        "redact": None,
        "max_size": None,
        "enrich": None,
        "predicate": None,
    }
    now = rowhook("capture", "expenses", "--include", "id,amount", "--tenant", "", "--key", "", "--json", ok=True).json
    assert (now["include"], now["exclude"], now["tenant"], now["key"]) == (["id", "amount"], None, None, [])


@pytest.mark.parametrize(
    ("table", "prefix"),
    [
        ("categories", "category"),
        ("people", "person"),
        ("order_statuses", "order_status"),
        ("bus", "bus"),
        ("caches", "cache"),
        ("page_caches", "page_cache"),
        ("sales_people", "sales_person"),
        ("s", "s"),
        ("orders_", "orders_"),
        ("audit", "audit"),
        ('"Größen"', "Gr_en"),
    ],
)
def test_default_type_prefix_is_the_singular(rowhook: Rowhook, conn: Connection, table: str, prefix: str):
    conn.execute(f"CREATE TABLE IF NOT EXISTS {table} (id int PRIMARY KEY)")
    assert rowhook("capture", table, "--json", ok=True).json["type_prefix"] == prefix


def test_pause_and_resume(rowhook: Rowhook, conn: Connection):
    rowhook("capture", "expenses", ok=True)
    conn.execute("INSERT INTO users (email, password_hash) VALUES ('a', 'x')")
    assert rowhook("capture", "expenses", "--pause", "--json", ok=True).json["paused"] is True
    conn.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert rowhook("capture", "expenses", "--resume", "--json", ok=True).json["paused"] is False
    conn.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 2)")
    assert conn.execute("SELECT data->>'amount' FROM rowhook.event").fetchall() == [("2.00",)]


def test_dry_run_prints_sql_and_changes_nothing(rowhook: Rowhook, conn: Connection):
    done = rowhook("capture", "expenses", "--dry-run", ok=True)
    assert done.out.startswith("-- expenses: would be installed\n")
    assert 'CREATE TRIGGER "!rowhook_insert" AFTER INSERT ON public.expenses' in done.out
    assert triggers(conn) == 0
    plan = rowhook("capture", "expenses", "--dry-run", "--tenant", "user_id", "--json", ok=True).json
    assert (plan["result"], plan["dry_run"], plan["tenant"], plan["type_prefix"]) == ("installed", True, "user_id", "expense")
    rowhook("capture", "expenses", ok=True)
    assert "nothing to do" in rowhook("capture", "expenses", "--dry-run", ok=True).out


def test_columns_redacted_limited_and_enriched(rowhook: Rowhook):
    options = ("--redact", "notes:sha256, currency:mask", "--max-size", "1000", "--enrich", "category_name:category_id.name")
    now = rowhook("capture", "expenses", *options, "--json", ok=True).json
    assert now["redact"] == {"notes": "sha256", "currency": "mask"}
    assert (now["max_size"], now["enrich"]) == (1000, {"category_name": "category_id.name"})
    assert rowhook("capture", "expenses", "--redact", "", "--json", ok=True).json["redact"] is None
    rowhook("capture", "expenses", "--redact", "notes").refused("--redact 'notes' is not a list of pairs")
    rowhook("capture", "expenses", "--redact", "notes:rot13").refused('"rot13" is no way', "sha256, mask or last4")
    rowhook("capture", "expenses", "--enrich", "a:amount.name").refused("is no foreign key")


def test_only_rows_for_which_a_predicate_holds(rowhook: Rowhook, conn: Connection):
    done = rowhook("capture", "expenses", "--when", "amount > 100 and currency <> 'EUR'", "--dry-run", ok=True)
    assert "WHERE (amount > 100 and currency <> 'EUR'" in done.out.replace("''", "'")
    assert rowhook("capture", "expenses", "--when", "amount > 100", "--json", ok=True).json["predicate"] == "amount > 100"
    assert rowhook("capture", "expenses", "--tenant", "user_id", "--json", ok=True).json["predicate"] == "amount > 100"
    assert (
        rowhook("capture", "expenses", "--when", "new.amount > 100", "--dry-run", "--json", ok=True).json["result"] == "changed"
    )
    rowhook("capture", "bills", ok=True)
    listed = rowhook("captures", "--json", ok=True).json
    assert [(row["table"], row["predicate"], row["tenant"]) for row in listed] == [
        ("bills", None, None),
        ("expenses", "amount > 100", "user_id"),
    ]
    assert "amount > 100" in rowhook("captures", ok=True).out
    conn.execute("INSERT INTO users (email, password_hash) VALUES ('a', 'x')")
    conn.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1), (1, 101)")
    assert conn.execute("SELECT data->>'amount' FROM rowhook.event").fetchall() == [("101.00",)]
    proof = rowhook("verify", "expenses", "--json", ok=True).json
    assert (proof["rows"]["accounted"], proof["rows"]["missing"]) == (1, 0)
    assert proof["notes"] == ["only rows for which amount > 100 holds are captured, and asked for"]
    rowhook("capture", "expenses", "--when", "old.amount > 100").refused('"old"', "by their names or as new.COLUMN")
    rowhook("capture", "expenses", "--when", "true) FROM users; DROP TABLE bills; --").refused("not an expression")
    assert rowhook("capture", "expenses", "--when", "", "--json", ok=True).json["predicate"] is None


def test_printed_sql_does_what_capture_does(rowhook: Rowhook, conn: Connection):
    conn.execute(rowhook("capture", "expenses", "--dry-run", ok=True).out.encode())
    assert triggers(conn) == 4


def test_uncapture_leaves_no_trace(rowhook: Rowhook, conn: Connection):
    rowhook("capture", "expenses", ok=True)
    assert rowhook("uncapture", "expenses", "--json", ok=True).json == {"table": "expenses", "result": "removed"}
    assert triggers(conn) == 0
    rowhook("uncapture", "expenses").refused("expenses is not captured", "Captured tables are: none")


def test_notices_of_postgres_are_passed_on(rowhook: Rowhook, conn: Connection):
    conn.execute("CREATE TABLE keyless (a int)")
    assert "notice: capturing keyless row by row. It has no key" in rowhook("capture", "keyless", ok=True).err


def test_table_is_found_by_schema_quotes_and_search_path(rowhook: Rowhook, conn: Connection):
    conn.execute('CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."Orders" (id int PRIMARY KEY)')
    assert rowhook("capture", '"My Shop"."Orders"', "--json", ok=True).json["table"] == '"My Shop"."Orders"'
    database = conn.info.dbname
    conn.execute(f'ALTER DATABASE {database} SET search_path = "My Shop"')
    assert rowhook("capture", '"Orders"', ok=True).out == '"My Shop"."Orders": unchanged\n'
    rowhook("capture", "expenses").refused("no table 'expenses'", "did you mean expenses")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("expnses", "did you mean expenses"),
        ("Expense", "did you mean expenses"),
        ("shop.expenses", "did you mean expenses"),
        ("zzz", "the tables of this database are bills, categories, expenses"),
        ("a.b.c.d", "the tables of this database are"),
        ('"x', "the tables of this database are"),
        ("", "the tables of this database are"),
    ],
)
def test_unknown_table(rowhook: Rowhook, given: str, expected: str):
    for command in ("capture", "uncapture"):
        rowhook(command, given).refused(f"there is no table {given!r}", expected)


def test_unknown_table_where_there_are_none(rowhook: Rowhook, conn: Connection):
    conn.execute("DROP TABLE users, categories, expenses, recurring_expenses, bills, reminders CASCADE")
    rowhook("capture", "expenses").refused("no table 'expenses'", conn.info.dbname, "is it the right one?")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("v",), ("v is a view, not a table", "Capture the tables that it reads")),
        (("rowhook.event",), ("belongs to Rowhook itself", "a table of your own")),
        (("pg_catalog.pg_class",), ("system", "a table of your own")),
        (("expenses", "--tenant", "owner"), ('no column "owner"', "Its columns are: id, user_id")),
        (("expenses", "--include", "id,amuont"), ('no column "amuont"', "Its columns are")),
        (("expenses", "--exclude", "x"), ('no column "x"', "Its columns are")),
        (("expenses", "--key", "x"), ('no column "x"', "Its columns are")),
        (
            ("expenses", "--include", "id", "--exclude", "notes"),
            ("include and exclude are both given", "or the columns to leave out"),
        ),
        (("expenses", "--events", "insert,upsert"), ('"upsert" is not an operation', "insert, update, delete, truncate")),
        (("expenses", "--events", ""), ("is not an operation", "insert, update, delete, truncate")),
        (("expenses", "--on-error", "ignore"), ('"ignore" is not known', "abort or record")),
        (("expenses", "--type-prefix", "a b"), ('"a b" is not a name', "letters, digits")),
        (("expenses", "--pause", "--resume"), ("--pause and --resume are both given", "one of them")),
    ],
)
def test_mistakes(rowhook: Rowhook, conn: Connection, arguments: tuple[str, ...], expected: tuple[str, ...]):
    conn.execute("CREATE VIEW v AS SELECT * FROM expenses")
    rowhook("capture", *arguments).refused(*expected)
    assert triggers(conn) == 0


def test_dry_run_makes_the_same_mistakes(rowhook: Rowhook):
    rowhook("capture", "expenses", "--tenant", "owner", "--dry-run").refused('no column "owner"', "Its columns are: id, user_id")


def test_role_that_does_not_own_the_table(rowhook: Rowhook, conn: Connection, dsn: str):
    conn.execute("DROP ROLE IF EXISTS cli_stranger; CREATE ROLE cli_stranger LOGIN")
    conn.execute("GRANT USAGE ON SCHEMA rowhook TO cli_stranger; GRANT ALL ON ALL TABLES IN SCHEMA rowhook TO cli_stranger")
    conn.execute("GRANT SELECT ON _yoyo_migration TO cli_stranger; GRANT ALL ON ALL SEQUENCES IN SCHEMA rowhook TO cli_stranger")
    stranger = {"ROWHOOK_ADMIN_URL": dsn.replace("postgres@", "cli_stranger@")}
    rowhook("capture", "expenses", env=stranger).refused("lacks a right", "ROWHOOK_ADMIN_URL")
    rowhook("endpoint", "list", env=stranger, ok=True)
    conn.execute("DROP OWNED BY cli_stranger")


def test_open_writer_is_waited_for(dsn: str, connect: Connect, conn: Connection):
    """The lock is asked for again and again; in between other writers get through."""
    conn.execute("INSERT INTO users (email, password_hash) VALUES ('a', 'x')")
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    with subprocess.Popen(
        [*COMMAND, "capture", "expenses"], cwd="/", env=environment(DATABASE_URL=dsn), stdout=PIPE, stderr=PIPE, text=True
    ) as capturing:
        assert capturing.stderr is not None
        note = capturing.stderr.readline()
        connect().execute("SET lock_timeout = '5s'; INSERT INTO expenses (user_id, amount) VALUES (1, 2)")
        writer.commit()
        out, _ = capturing.communicate(timeout=20)
    assert note.startswith(f"note: table expenses is locked (by process {writer.info.backend_pid}")
    assert capturing.returncode == 0
    assert out.startswith("expenses: installed")


def test_table_that_stays_locked_is_a_failure(rowhook: Rowhook, connect: Connect, conn: Connection):
    conn.execute("INSERT INTO users (email, password_hash) VALUES ('a', 'x')")
    writer = connect(autocommit=False)
    writer.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    begun = time.monotonic()
    done = rowhook("capture", "expenses")
    assert time.monotonic() - begun < 20
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("rowhook: table expenses stayed locked for 10 s (by process")
    assert "Traceback" not in done.err
    assert triggers(conn) == 0


def test_once_more_by_another_name(rowhook: Rowhook, conn: Connection):
    rowhook("capture", "expenses", "--tenant", "user_id", ok=True)
    dry = rowhook("capture", "expenses", "--name", "audit", "--include", "id,amount", "--dry-run", ok=True).out
    assert dry.startswith("-- expenses: would be installed\n")
    assert 'CREATE TRIGGER "!rowhook_insert_audit" AFTER INSERT ON public.expenses' in dry
    done = rowhook("capture", "expenses", "--name", "audit", "--include", "id,amount", "--json", ok=True).json
    assert (done["result"], done["name"], done["type_prefix"], done["tenant"]) == ("installed", "audit", "expense_audit", None)
    assert triggers(conn) == 8
    rows = rowhook("captures", "--json", ok=True).json
    assert [(row["table"], row["name"], row["include"]) for row in rows] == [
        ("expenses", "", None),
        ("expenses", "audit", ["id", "amount"]),
    ]
    rowhook("capture", "expenses", "--name", "audit", "--pause", ok=True)
    assert "rowhook capture expenses --name audit --resume" in rowhook("verify", "expenses", "--name", "audit", ok=True).err
    assert rowhook("verify", "expenses", "--name", "audit", "--json", ok=True).json["name"] == "audit"
    assert rowhook("backfill", "expenses", "--name", "audit", ok=True).out == "expenses: 0 rows sent\n"
    mistake = rowhook("uncapture", "expenses", "--name", "Audit")
    assert (mistake.code, "table expenses is not captured by the name" in mistake.err) == (2, True)
    assert rowhook("uncapture", "expenses", "--name", "audit", ok=True).out == "expenses: removed\n"
    assert triggers(conn) == 4
