"""capture() and uncapture(): options, changes, pauses, refusals, and what they leave behind."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect, Connection
from tests.sql.conftest import Events, Mutate, one

TRACES = """
SELECT 'trigger', tgname::text FROM pg_trigger
 WHERE NOT tgisinternal AND tgrelid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'rowhook'::regnamespace)
UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'rowhook'::regnamespace AND proname ~ '^capture_\\d'
UNION ALL SELECT 'capture', table_name::text FROM rowhook.capture
"""
OBJECT_IDS = "SELECT array_agg(oid ORDER BY oid) FROM pg_trigger WHERE tgname LIKE '!rowhook%'"


@pytest.fixture
def db(conn: Connection, user_id: int) -> Connection:
    """FinMind with one user; expenses are captured."""
    return conn


def refused(conn: Connection, statement: str, *parameters: Any) -> tuple[str, str]:
    """Message and hint of a refusal."""
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(statement, parameters or None)
    assert caught.value.sqlstate == "RH001", caught.value
    return caught.value.diag.message_primary or "", caught.value.diag.message_hint or ""


# --- again, changed, paused, removed -----------------------------------------------------------------------


def test_capture_again_changes_nothing(db: Connection) -> None:
    before = one(db, OBJECT_IDS)
    assert one(db, "SELECT rowhook.capture('expenses', tenant => 'user_id')") == "unchanged"
    assert one(db, "SELECT rowhook.capture('expenses')") == "unchanged"
    assert one(db, OBJECT_IDS) == before


def test_capture_again_waits_for_no_lock_on_the_table(db: Connection, connect: Connect) -> None:
    other = connect()
    with other.transaction():
        other.execute("LOCK TABLE expenses IN ACCESS EXCLUSIVE MODE")
        db.execute("SET lock_timeout = '200ms'")
        assert one(db, "SELECT rowhook.capture('expenses')") == "unchanged"


def test_capture_again_takes_no_lock_that_stands_in_a_writers_way(db: Connection) -> None:
    with db.transaction():
        db.execute("SELECT rowhook.capture('expenses')")
        modes = one(
            db,
            "SELECT array_agg(mode) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'expenses'::regclass",
        )
    assert modes in (None, ["AccessShareLock"])


def test_a_first_capture_gives_up_at_lock_timeout_and_leaves_nothing(db: Connection, connect: Connect) -> None:
    traces = set(db.execute(TRACES).fetchall())
    other = connect()
    with other.transaction():
        other.execute("INSERT INTO users (email, password_hash) VALUES ('b@example.com', 'x')")
        db.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            db.execute("SELECT rowhook.capture('users')")
    assert set(db.execute(TRACES).fetchall()) == traces


def test_an_option_that_is_not_given_keeps_what_it_was(db: Connection, events: Events) -> None:
    assert one(db, "SELECT rowhook.capture('expenses', exclude => '{notes}')") == "changed"
    assert one(db, "SELECT rowhook.capture('expenses', type_prefix => 'cost')") == "changed"
    assert one(db, "SELECT rowhook.capture('expenses', events => '{delete,insert,insert}')") == "changed"
    assert one(db, "SELECT rowhook.capture('expenses', events => '{insert,delete}')") == "unchanged"
    row = db.execute("SELECT tenant, exclude, type_prefix, events FROM rowhook.capture").fetchall()
    assert row == [("user_id", ["notes"], "cost", ["insert", "delete"])]
    db.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (1, 1, 'private')")
    db.execute("UPDATE expenses SET amount = 3")
    db.execute("TRUNCATE expenses")
    (event,) = events()
    assert (event.type, event.tenant, "notes" in event.data) == ("cost.created", "1", False)


def test_an_empty_option_takes_it_back(db: Connection) -> None:
    db.execute("SELECT rowhook.capture('expenses', exclude => '{notes}')")
    db.execute("SELECT rowhook.capture('expenses', tenant => '', exclude => '{}')")
    assert db.execute("SELECT tenant, exclude FROM rowhook.capture").fetchall() == [(None, None)]


def test_include_replaces_exclude_and_the_other_way_round(db: Connection) -> None:
    db.execute("SELECT rowhook.capture('expenses', exclude => '{notes}')")
    db.execute("SELECT rowhook.capture('expenses', include => '{id,amount}')")
    query = "SELECT include, exclude FROM rowhook.capture"
    assert db.execute(query).fetchall() == [(["id", "amount"], None)]
    db.execute("SELECT rowhook.capture('expenses', exclude => '{notes}')")
    assert db.execute(query).fetchall() == [(None, ["notes"])]


def test_pause_stops_events_and_resume_brings_them_back(db: Connection, events: Events) -> None:
    insert = "INSERT INTO expenses (user_id, amount) VALUES (1, 1)"
    assert one(db, "SELECT rowhook.capture('expenses', paused => true)") == "changed"
    db.execute(insert)
    assert one(db, "SELECT rowhook.capture('expenses')") == "unchanged"
    db.execute(insert)
    assert events() == []
    assert one(db, "SELECT rowhook.capture('expenses', paused => false)") == "changed"
    db.execute(insert)
    assert [event.row_key for event in events()] == ["3"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param('ALTER TABLE expenses DISABLE TRIGGER "!rowhook_insert"', id="disabled"),
        pytest.param('DROP TRIGGER "!rowhook_insert" ON expenses', id="dropped"),
        pytest.param(
            "DO $$BEGIN EXECUTE (SELECT format('ALTER FUNCTION %s OWNER TO postgres', oid::regprocedure) FROM pg_proc"
            " WHERE proname ~ '^capture_\\d+_insert$'); END$$",
            id="another-owner",
        ),
    ],
)
def test_capture_again_mends_what_was_damaged(db: Connection, events: Events, damage: str) -> None:
    db.execute(damage)
    assert one(db, "SELECT rowhook.capture('expenses')") == "changed"
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert len(events()) == 1
    assert one(db, "SELECT rowhook.capture('expenses')") == "unchanged"


def test_two_that_capture_at_once_both_succeed(db: Connection, connect: Connect) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda c: answers.append(one(c, "SELECT rowhook.capture('bills')")), args=[connect()])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(answers) == ["installed", "unchanged", "unchanged", "unchanged"]


@pytest.mark.parametrize("options", ["", ", key => '{}'", ", paused => true", ", on_error => 'record'"])
def test_uncapture_leaves_no_trace(db: Connection, events: Events, options: str) -> None:
    db.execute(f"SELECT rowhook.capture('expenses'{options})")
    assert one(db, "SELECT rowhook.uncapture('expenses')") == "removed"
    assert db.execute(TRACES).fetchall() == []
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert events() == []
    assert one(db, "SELECT rowhook.capture('expenses')") == "installed"


def test_uncapture_leaves_no_trace_on_partitions(conn: Connection) -> None:
    conn.execute("""
        CREATE TABLE logs (id int PRIMARY KEY) PARTITION BY LIST (id);
        CREATE TABLE logs_1 PARTITION OF logs FOR VALUES IN (1);
        SELECT rowhook.capture('logs');
    """)
    assert one(conn, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'logs_1'::regclass") == 1
    conn.execute("SELECT rowhook.uncapture('logs')")
    assert conn.execute(TRACES).fetchall() == []


def test_a_captured_table_can_be_dropped_and_made_again(db: Connection, events: Events) -> None:
    db.execute("DROP TABLE expenses")
    db.execute("CREATE TABLE expenses (id int PRIMARY KEY)")
    assert one(db, "SELECT rowhook.capture('expenses')") == "installed"
    db.execute("INSERT INTO expenses VALUES (1)")
    assert len(events()) == 1


def test_capture_within_a_transaction_that_rolls_back_leaves_no_trace(db: Connection) -> None:
    before = set(db.execute(TRACES).fetchall())
    with db.transaction(force_rollback=True):
        db.execute("SELECT rowhook.capture('users')")
    assert set(db.execute(TRACES).fetchall()) == before


def test_the_plan_shows_the_sql_and_changes_nothing(db: Connection) -> None:
    before = set(db.execute(TRACES).fetchall())
    ddl = one(db, "SELECT rowhook.capture_ddl(rowhook.capture_plan('users', exclude => '{password_hash}'))")
    assert ddl.count("CREATE TRIGGER") == 4 and "password_hash" not in ddl
    assert set(db.execute(TRACES).fetchall()) == before


# --- columns -----------------------------------------------------------------------------------------------

PEOPLE = [
    "INSERT INTO users (email, password_hash) VALUES ('b@example.com', 'topsecret')",
    "UPDATE users SET password_hash = 'topsecret2', role = 'ADMIN'",
    "UPDATE users SET password_hash = 'topsecret3'",
    "UPDATE users SET id = id + 100, password_hash = 'topsecret4'",
    "DELETE FROM users",
]


@pytest.mark.parametrize("key", ["{id}", "{}"], ids=["statement", "row"])
@pytest.mark.parametrize("on_error", ["abort", "record"])
def test_an_excluded_column_is_in_no_event(conn: Connection, finmind: str, key: str, on_error: str) -> None:
    conn.execute("SELECT rowhook.capture('users', exclude => '{password_hash}', key => %s, on_error => %s)", [key, on_error])
    for statement in PEOPLE:
        conn.execute(statement)
    dump = conn.execute("SELECT e::text, data FROM rowhook.event AS e ORDER BY id").fetchall()
    assert len(dump) == 4  # the change of the hash alone is none
    assert not [line for line, _ in dump if "topsecret" in line or "password_hash" in line]
    assert all(set(data) == {"id", "email", "preferred_currency", "role", "created_at"} for _, data in dump)
    assert one(conn, "SELECT count(*) FROM rowhook.capture_failure") == 0


def test_mutant__without_exclude_it_is_in_every_event(conn: Connection, finmind: str) -> None:
    conn.execute("SELECT rowhook.capture('users')")
    for statement in PEOPLE:
        conn.execute(statement)
    assert one(conn, "SELECT bool_and(e::text LIKE '%%topsecret%%') FROM rowhook.event AS e")


def test_include_sends_these_columns_in_this_order(db: Connection, events: Events) -> None:
    db.execute("SELECT rowhook.capture('expenses', include => '{notes,id}')")
    db.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (1, 1, 'a')")
    db.execute("UPDATE expenses SET amount = 2")
    db.execute("UPDATE expenses SET notes = 'b'")
    created, updated = events()
    assert (created.text, updated.text) == ('{"notes":"a","id":1}', '{"notes":"b","id":1}')
    assert updated.previous == {"notes": "a"}


def test_several_key_columns_make_a_json_array_in_the_order_of_the_key(conn: Connection, events: Events) -> None:
    conn.execute("""
        CREATE TABLE rates (day date, code text, rate numeric, PRIMARY KEY (code, day));
        SELECT rowhook.capture('rates');
        INSERT INTO rates VALUES ('2026-01-01', 'a "b", [c]', 1.10);
    """)
    assert [event.row_key for event in events()] == ['["a \\"b\\", [c]", "2026-01-01"]']


def test_key_may_name_other_columns_than_the_primary_key(db: Connection, events: Events) -> None:
    db.execute("SELECT rowhook.capture('expenses', key => '{user_id,id}')")
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert [event.row_key for event in events()] == ['["1", "1"]']


def test_a_table_without_a_key_is_captured_row_by_row_without_row_key(conn: Connection, events: Events) -> None:
    conn.execute("CREATE TABLE loose (a int)")
    conn.execute("SELECT rowhook.capture('loose')")
    conn.execute("INSERT INTO loose VALUES (1), (1)")
    conn.execute("UPDATE loose SET a = 2")
    conn.execute("DELETE FROM loose")
    conn.execute("TRUNCATE loose")
    assert [(event.op, event.row_key) for event in events()] == [
        *[("insert", None)] * 2,
        *[("update", None)] * 2,
        *[("delete", None)] * 2,
        ("truncate", None),
    ]


ODD_NAMES = ['"Über Tabelle"', '"расходы"', '"a""b"', '"select"', '"%s %I"', '"o\'clock"', '"$fn$"', '"back\\slash"']


@pytest.mark.parametrize("key", [None, []], ids=["statement", "row"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_of_tables_and_columns_are_captured(conn: Connection, events: Events, name: str, key: list[str] | None) -> None:
    column = name[1:-1].replace('""', '"')
    doubled = name.replace("%", "%%")
    conn.execute(f"CREATE TABLE {name} ({name} int PRIMARY KEY, other text)")
    for include in ([column], None):
        conn.execute(
            f"SELECT rowhook.capture({psycopg.sql.Literal(name).as_string(conn).replace('%', '%%')}::regclass,"
            " tenant => %s, key => %s, include => %s, type_prefix => 'odd')",
            [column, key, include or []],
        )
        conn.execute(f"INSERT INTO {doubled} VALUES (1, 'x')", [])
        conn.execute(f"UPDATE {doubled} SET {doubled} = 2", [])
        conn.execute(f"DELETE FROM {doubled}", [])
        told = events()
        assert [(e.op, e.tenant) for e in told] == [
            ("insert", "1"),
            ("delete", "1"),
            ("insert", "2"),
            ("delete", "2"),
        ]
        assert {e.table_name for e in told} == {name}
        assert [e.data[column] for e in told] == [1, 1, 2, 2]
    conn.execute(f"SELECT rowhook.uncapture({psycopg.sql.Literal(name).as_string(conn).replace('%', '%%')}::regclass)", [])
    assert conn.execute(TRACES).fetchall() == []


def test_a_table_of_another_schema_is_named_with_it(conn: Connection, events: Events) -> None:
    conn.execute("""
        CREATE SCHEMA "Shop";
        CREATE TABLE "Shop".orders (id int PRIMARY KEY);
        SELECT rowhook.capture('"Shop".orders');
        INSERT INTO "Shop".orders VALUES (1);
    """)
    assert [(event.table_name, event.type) for event in events()] == [('"Shop".orders', "order.created")]


@pytest.mark.parametrize(
    ("table", "prefix"),
    [
        ("expenses", "expense"),
        ("categories", "category"),
        ("boxes", "box"),
        ("addresses", "address"),
        ("address", "address"),
        ("status", "status"),
        ("line_items", "line_item"),
        ("news-letters", "news-letter"),
        ("two words", "two_word"),
    ],
)
def test_the_type_is_the_tables_name_in_the_singular(conn: Connection, table: str, prefix: str) -> None:
    assert one(conn, "SELECT rowhook.singular(%s)", table) == prefix


# --- the table changes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["{id}", "{}"], ids=["statement", "row"])
def test_columns_come_go_and_are_renamed_while_a_session_keeps_writing(
    db: Connection, connect: Connect, events: Events, key: str
) -> None:
    """As FinMind itself does at each start, with ADD COLUMN IF NOT EXISTS."""
    db.execute("SELECT rowhook.capture('expenses', key => %s)", [key])
    writer = connect()

    def write() -> set[str]:
        for _ in range(7):  # past the point where plans are cached
            writer.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
            writer.execute("UPDATE expenses SET amount = amount + 1")
            writer.execute("DELETE FROM expenses")
        told = events()
        assert len(told) == 21
        (columns,) = {frozenset(event.data) for event in told}
        return set(columns)

    before = write()
    for owner in (db, writer):
        name = "color_of_writer" if owner is writer else "color_of_operator"
        owner.execute(f"ALTER TABLE expenses ADD COLUMN IF NOT EXISTS {name} text DEFAULT 'red'")
        assert write() == before | {name}
        owner.execute(f"ALTER TABLE expenses ALTER COLUMN {name} TYPE varchar(9)")
        assert write() == before | {name}
        owner.execute(f"ALTER TABLE expenses RENAME COLUMN {name} TO hue")
        assert write() == before | {"hue"}
        owner.execute("ALTER TABLE expenses DROP COLUMN hue")
        assert write() == before
    assert one(db, "SELECT rowhook.capture('expenses')") == "unchanged"


def test_an_exclusion_goes_on_after_add_column_and_takes_it_in_when_captured_again(db: Connection, events: Events) -> None:
    db.execute("DROP EVENT TRIGGER rowhook_follow_ddl")  # which would do it at once
    db.execute("SELECT rowhook.capture('expenses', exclude => '{notes}')")
    db.execute("ALTER TABLE expenses ADD COLUMN color text DEFAULT 'red'")
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert "color" not in events()[0].data
    assert one(db, "SELECT rowhook.capture('expenses')") == "changed"
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert events()[0].data["color"] == "red"


def test_a_table_that_was_renamed_is_captured_under_its_new_name_when_captured_again(db: Connection, events: Events) -> None:
    db.execute("DROP EVENT TRIGGER rowhook_follow_ddl")
    db.execute("ALTER TABLE expenses RENAME TO costs")
    db.execute("INSERT INTO costs (user_id, amount) VALUES (1, 1)")
    assert one(db, "SELECT rowhook.capture('costs')") == "changed"
    db.execute("INSERT INTO costs (user_id, amount) VALUES (1, 1)")
    assert [(e.table_name, e.type) for e in events()] == [("expenses", "expense.created"), ("costs", "expense.created")]


# --- refusals ----------------------------------------------------------------------------------------------

REFUSALS = [
    pytest.param("NULL", "table_name is null", "Name an existing table", id="null"),
    pytest.param("1::oid", "there is no table with oid 1", "Name an existing table", id="no-such-oid"),
    pytest.param("'dear'", "dear is a view, not a table", "Capture the tables that it reads", id="view"),
    pytest.param("'kept'", "kept is a view, not a table", "Capture the tables that it reads", id="matview"),
    pytest.param("'expenses_id_seq'", "expenses_id_seq is not a table", "Name a table", id="sequence"),
    pytest.param("'expenses_pkey'", "expenses_pkey is not a table", "Name a table", id="index"),
    pytest.param("'pg_class'", "pg_catalog.pg_class is a system", "a table of your own", id="system"),
    pytest.param("'rowhook.event'", "rowhook.event belongs to Rowhook itself", "a table of your own", id="event"),
    pytest.param("'rowhook.event_1'", "rowhook.event_1 belongs to Rowhook", "a table of your own", id="slot"),
    pytest.param("'rowhook.endpoint'", "rowhook.endpoint belongs to Rowhook", "events without end", id="endpoint"),
    pytest.param("'draft'", "draft is a system or temporary table", "a table of your own", id="temp"),
    pytest.param("'bills', tenant => 'owner'", 'tenant: table bills has no column "owner"', "user_id", id="tenant"),
    pytest.param("'bills', key => '{nr}'", 'key: table bills has no column "nr"', "columns are: id", id="key"),
    pytest.param("'bills', include => '{id,x}'", 'include: table bills has no column "x"', "name", id="include"),
    pytest.param("'bills', exclude => '{xmin}'", 'exclude: table bills has no column "xmin"', "name", id="exclude"),
    pytest.param("'bills', include => '{id}', exclude => '{name}'", "include and exclude are both given", "or", id="both"),
    pytest.param("'bills', events => '{insert,upsert}'", 'events: "upsert"', "insert, update", id="events"),
    pytest.param("'bills', events => '{INSERT}'", 'events: "INSERT"', "insert, update", id="events-case"),
    pytest.param("'bills', events => '{}'", 'events: "" is not', "insert, update", id="no-events"),
    pytest.param("'bills', on_error => 'ignore'", 'on_error: "ignore" is not known', "abort or record", id="on-error"),
    pytest.param("'bills', type_prefix => 'a b'", 'type_prefix: "a b" is not a name', "letters", id="prefix"),
    pytest.param("'bills', type_prefix => 'a.*'", 'type_prefix: "a.*" is not a name', "letters", id="pattern"),
    pytest.param("'single', exclude => '{a}'", "exclude: no column is left", "at least one", id="nothing-left"),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), REFUSALS)
def test_capture_refuses_with_what_was_given_and_what_would_be_right(
    db: Connection, arguments: str, message: str, hint: str
) -> None:
    db.execute("""
        CREATE VIEW dear AS SELECT * FROM expenses WHERE amount > 100;
        CREATE MATERIALIZED VIEW kept AS SELECT * FROM expenses;
        CREATE TEMP TABLE draft (id int PRIMARY KEY);
        CREATE TABLE single (a int);
    """)
    before = set(db.execute(TRACES).fetchall())
    said, advised = refused(db, f"SELECT rowhook.capture({arguments})")
    assert message in said
    assert hint in advised
    assert set(db.execute(TRACES).fetchall()) == before


def test_capture_of_a_name_that_does_not_exist_is_postgres_own_error(db: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("SELECT rowhook.capture('nowhere')")


def test_uncapture_refuses_a_table_that_is_not_captured_and_names_those_that_are(db: Connection) -> None:
    assert refused(db, "SELECT rowhook.uncapture('bills')") == (
        "table bills is not captured",
        "Captured tables are: expenses",
    )
    db.execute("SELECT rowhook.uncapture('expenses')")
    assert refused(db, "SELECT rowhook.uncapture('bills')")[1] == "Captured tables are: none"


def test_mutant__a_capture_of_the_event_table_would_feed_itself(db: Connection, mutate: Mutate) -> None:
    mutate("check_source", "_class.relnamespace = 'rowhook'::regnamespace", "false")
    db.execute("SELECT rowhook.capture('rowhook.event')")
    with pytest.raises(psycopg.errors.StatementTooComplex):  # stack depth limit exceeded
        db.execute("SELECT rowhook.emit('order.shipped')")


def test_foreign_tables_are_captured_row_by_row(conn: Connection, dsn: str, events: Events) -> None:
    conn.execute("CREATE EXTENSION postgres_fdw; CREATE TABLE remote (id int PRIMARY KEY)")
    conn.execute(
        psycopg.sql.SQL("""
            CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port {}, dbname {});
            CREATE USER MAPPING FOR postgres SERVER self OPTIONS (user 'postgres', password_required 'false');
            CREATE FOREIGN TABLE orders (id int) SERVER self OPTIONS (table_name 'remote');
        """).format(str(conn.info.port), conn.info.dbname)
    )
    assert refused(conn, "SELECT rowhook.capture('orders', events => '{truncate}')")[0].startswith("events:")
    conn.execute("SELECT rowhook.capture('orders', key => '{id}')")
    conn.execute("INSERT INTO orders VALUES (1)")
    conn.execute("UPDATE orders SET id = 2")
    conn.execute("DELETE FROM orders")
    assert [(e.op, e.row_key) for e in events()] == [("insert", "1"), ("update", "2"), ("delete", "2")]
