"""Whatever the columns hold: the write goes through, and the event carries what row_to_json makes of the row."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.conftest import Connection
from tests.sql.conftest import Events, Mutate, Warned, one

# Types of which the definer finds no "=" operator: json and point have none, hstore's is in its extension's schema.
INCOMPARABLE = [
    pytest.param("json", '{"a": 1}', '{"a": 2}', id="json"),
    pytest.param("point", "(1,2)", "(1,3)", id="point"),
    pytest.param("hstore", "a=>1", "a=>2", id="hstore"),
]
both_modes = pytest.mark.parametrize("key", ["{id}", "{}"], ids=["statement", "row"])


def make_odd(conn: Connection, type_name: str, value: str, key: str) -> None:
    if type_name == "hstore":
        conn.execute("CREATE EXTENSION hstore")
    conn.execute(f"CREATE TABLE odd (id int PRIMARY KEY, c {type_name})")
    conn.execute("INSERT INTO odd VALUES (1, %s), (2, null)", [value])
    conn.execute("SELECT rowhook.capture('odd', key => %s)", [key])


@both_modes
@pytest.mark.parametrize(("type_name", "old", "new"), INCOMPARABLE)
def test_updates_of_columns_without_an_equality_operator_are_captured(
    conn: Connection, events: Events, type_name: str, old: str, new: str, key: str
) -> None:
    make_odd(conn, type_name, old, key)
    conn.execute("UPDATE odd SET c = c")
    assert events() == []
    conn.execute("UPDATE odd SET c = %s", [new])
    first, second = events()
    assert list(first.previous) == ["c"] and second.previous == {"c": None}


@pytest.mark.parametrize(("type_name", "old", "new"), INCOMPARABLE)
def test_mutant__is_distinct_from_raises_in_the_writer(
    conn: Connection, events: Events, mutate: Mutate, type_name: str, old: str, new: str
) -> None:
    make_odd(conn, type_name, old, "{id}")
    for side in ("old", "new"):
        row = f"CASE WHEN true THEN rowhook_{side}.* END AS r"
        mutate(r"capture_\d+_update", row, f"{row}, rowhook_{side}.c AS c")
    mutate(r"capture_\d+_update", "(o.r *<> n.r)", "(o.c IS DISTINCT FROM n.c)")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        conn.execute("UPDATE odd SET c = %s", [new])
    assert events() == []


AWKWARD_ROWS = [
    pytest.param("numeric(12,2)", "99.50", id="scale"),
    pytest.param("numeric", "NaN", id="numeric-nan"),
    pytest.param("numeric", "Infinity", id="numeric-infinity"),
    pytest.param("float8", "-Infinity", id="float-infinity"),
    pytest.param("float8", "NaN", id="float-nan"),
    pytest.param("numeric", "9" * 4301, id="integer-of-4301-digits"),
    pytest.param("date", "infinity", id="date-infinity"),
    pytest.param("timestamptz", "-infinity", id="timestamp-infinity"),
    pytest.param("date", "0044-03-15 BC", id="date-bc"),
    pytest.param("timestamptz", "4713-01-01 00:00:00 BC", id="timestamp-bc"),
    pytest.param("timestamptz", "12026-01-01 00:00:00", id="timestamp-of-five-digits"),
    pytest.param("numeric", "NaN", id="numeric-nan"),
    pytest.param("numeric", "Infinity", id="numeric-infinity"),
    pytest.param("numeric", "1e400", id="numeric-1e400"),
    pytest.param("json", '{"a": 1e400}', id="json-1e400"),
    pytest.param("json", '{"a":' * 1000 + "1" + "}" * 1000, id="json-1000-deep"),
    pytest.param("jsonb", '{"a":' * 1000 + "1" + "}" * 1000, id="jsonb-1000-deep"),
    pytest.param("jsonb", "[" * 5000 + "]" * 5000, id="jsonb-5000-deep"),
    pytest.param("bytea", r"\x00ff", id="bytea"),
    pytest.param("json", '{"a":1,"a":2}', id="repeated-keys"),
    pytest.param("json", '{"a": "\\u0000"}', id="json-with-u0000"),
    pytest.param("json", '{"a": "\\ud800"}', id="json-with-lone-surrogate"),
    pytest.param("json", '{"a" :   [1, 2]}', id="json-spaces"),
    pytest.param("text", "'single' \"double\" back\\slash \t \n \u2028 \x7f", id="quotes"),
    pytest.param("text", "😀 नमस्ते \u200d é e\u0301", id="emoji-and-devanagari"),
    pytest.param("text", "\\u0000", id="backslash-u"),
    pytest.param("text[]", '{a,"b,c",NULL}', id="array"),
    pytest.param("int4range", "[1,5)", id="range"),
    pytest.param("interval", "1 mon 2 days", id="interval"),
    pytest.param("inet", "10.0.0.1/8", id="inet"),
    pytest.param("tsvector", "'fat':2 'rat':3", id="tsvector"),
]


@both_modes
@pytest.mark.parametrize(("type_name", "value"), AWKWARD_ROWS)
def test_the_row_is_stored_as_row_to_json_writes_it_byte_for_byte(conn: Connection, type_name: str, value: str, key: str) -> None:
    conn.execute(f"CREATE TABLE odd (id int PRIMARY KEY, c {type_name}, n int)")
    conn.execute("SELECT rowhook.capture('odd', key => %s)", [key])
    conn.execute("INSERT INTO odd VALUES (1, %s, 0)", [value])
    written = one(conn, "SELECT row_to_json(odd)::text FROM odd")
    conn.execute("UPDATE odd SET n = 1")
    changed = one(conn, "SELECT row_to_json(odd)::text FROM odd")
    conn.execute("UPDATE odd SET c = NULL")
    conn.execute("DELETE FROM odd")
    texts = [row[0] for row in conn.execute("SELECT data::text FROM rowhook.event ORDER BY id").fetchall()]
    assert texts == [written, changed, '{"id":1,"c":null,"n":1}', '{"id":1,"c":null,"n":1}']


def test_previous_holds_the_old_text_of_what_changed(conn: Connection) -> None:
    conn.execute("CREATE TABLE odd (id int PRIMARY KEY, amount numeric(12,2), doc json, same text)")
    conn.execute("SELECT rowhook.capture('odd')")
    conn.execute("""INSERT INTO odd VALUES (1, 99.50, '{"b" : 1.0, "b" : 2}', 'x')""")
    conn.execute("UPDATE odd SET amount = 99.5, doc = '{}'")
    previous = one(conn, "SELECT previous::text FROM rowhook.event WHERE op = 'update'")
    assert previous == '{"doc":{"b" : 1.0, "b" : 2}}'


@pytest.mark.parametrize("poison", ["\\u0000", "\\ud800", "\\uDFFF"])
def test_where_json_can_not_be_taken_apart_previous_is_the_whole_old_row(conn: Connection, poison: str) -> None:
    conn.execute("CREATE TABLE odd (id int PRIMARY KEY, doc json, n int)")
    conn.execute("INSERT INTO odd VALUES (1, %s, 1)", [f'{{"a": "{poison}"}}'])
    conn.execute("SELECT rowhook.capture('odd')")
    conn.execute("UPDATE odd SET n = 2")
    assert conn.execute("SELECT previous::text, data::text FROM rowhook.event").fetchall() == [
        (f'{{"id":1,"doc":{{"a": "{poison}"}},"n":1}}', f'{{"id":1,"doc":{{"a": "{poison}"}},"n":2}}')
    ]


def test_a_note_of_500_characters_arrives_as_it_was_written(conn: Connection, user_id: int, events: Events) -> None:
    note = ("“quoted” \"double\" 'single' back\\slash /slash\\n \b\f\r\n\t 😀👩‍👩‍👧 खर्च €" * 10)[:500]
    conn.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (%s, 99.50, %s)", [user_id, note])
    (event,) = events()
    assert event.text == one(conn, "SELECT row_to_json(expenses)::text FROM expenses")
    assert event.text is not None and json.loads(event.text)["notes"] == note
    assert '"amount":99.50,' in event.text


def test_a_virtual_column_is_computed_as_a_stored_one_is(conn: Connection, events: Events) -> None:
    """Triggers never see its value: its expression is part of the generated functions."""
    conn.execute("CREATE TABLE priced (id int PRIMARY KEY, net int, gross int GENERATED ALWAYS AS (net * 2) STORED)")
    conn.execute("SELECT rowhook.capture('priced'); INSERT INTO priced VALUES (1, 5)")
    assert [event.data for event in events()] == [{"id": 1, "net": 5, "gross": 10}]
    if conn.info.server_version >= 180000:
        conn.execute("ALTER TABLE priced ADD COLUMN tax int GENERATED ALWAYS AS (net / 5) VIRTUAL")
        conn.execute("SELECT rowhook.capture('priced'); UPDATE priced SET net = 15")
        (event,) = events()
        assert (event.data, event.previous) == (
            {"id": 1, "net": 15, "gross": 30, "tax": 3},
            {"net": 5, "gross": 10, "tax": 1},
        )
        with pytest.raises(psycopg.Error, match='column "tax" of table priced is a virtual generated column'):
            conn.execute("SELECT rowhook.capture('priced', tenant => 'tax')")
        for capture in (
            "SELECT rowhook.capture('priced', predicate => 'tax > 1')",
            "SELECT rowhook.rule('dear', on_table => 'priced', op => 'update', predicate => 'new.tax > old.tax')",
        ):
            with pytest.raises(psycopg.Error, match=r"predicate: column .*tax.* does not exist"):
                conn.execute(capture)
        conn.execute("SELECT rowhook.rule('dear', on_table => 'priced', op => 'update', predicate => 'new.net > old.net')")
        conn.execute("UPDATE priced SET net = 20")
        assert [(event.type, event.data["tax"]) for event in events()] == [("priced.updated", 4), ("dear", 4)]


def test_columns_called_like_the_generated_sqls_own_names_are_captured(conn: Connection, events: Events) -> None:
    names = [
        *"ijknotec",
        *("rowhook_new", "rowhook_old", "rowhook_new_rows", "new", "old", "op", "type", "data", "previous"),
        *("row_key", "tenant", "moved", "table_name", "found", "tg_op", "_r", "p", "xid"),
        *("at", "slot", "context", "chain", "_now", "_armed", "_wrote", "_op", "_found", "_broken", "_rule", "_captured"),
        *("sqlstate", "sqlerrm", "tg_argv", "rowhook_now", "if", "loop", "begin", "declare", "strict", "while", "into", "text"),
    ]
    columns = ", ".join(f'"{name}" text' for name in names)
    for key in ("{id}", "{}"):
        for include in (None, names):
            conn.execute(f"DROP TABLE IF EXISTS odd; CREATE TABLE odd (id int PRIMARY KEY, {columns})")
            conn.execute("SELECT rowhook.capture('odd', key => %s, include => %s, tenant => 'tenant')", [key, include])
            conn.execute('INSERT INTO odd (id, rowhook_new, tenant, "t") VALUES (1, %s, %s, %s)', ["a", "b", "c"])
            conn.execute("UPDATE odd SET rowhook_old = 'd', j = 'e'")
            conn.execute("UPDATE odd SET tenant = 'f'")
            conn.execute("DELETE FROM odd")
            conn.execute("SELECT rowhook.uncapture('odd')")
            told = events()
            row = {"rowhook_new": "a", "t": "c", "rowhook_old": "d", "j": "e"}
            assert [(e.op, e.tenant) for e in told] == [
                ("insert", "b"),
                ("update", "b"),
                ("delete", "b"),
                ("insert", "f"),
                ("delete", "f"),
            ]
            assert told[1].previous == {"j": None, "rowhook_old": None}
            assert all({name: e.data[name] for name in row} == row for e in told[1:])


@pytest.mark.parametrize("key", ["{id}", "{}"])
@pytest.mark.parametrize("name", ["context", "slot", "found", "tg_op", "_wrote", "tenant"])
def test_a_predicates_column_that_is_gone_is_no_variable(conn: Connection, events: Events, name: str, key: str) -> None:
    conn.execute(f'CREATE TABLE odd (id int PRIMARY KEY, "{name}" text, mine text)')
    tenant = name if name == "tenant" else "mine"
    predicate = f'"{name}" IS NULL AND to_json(new) IS NOT NULL'
    conn.execute("SELECT rowhook.capture('odd', key => %s, tenant => %s, predicate => %s)", [key, tenant, predicate])
    conn.execute("INSERT INTO odd VALUES (1)")
    assert len(events()) == 1
    conn.execute(f'DROP EVENT TRIGGER rowhook_follow_ddl; ALTER TABLE odd DROP COLUMN "{name}"')
    conn.execute("INSERT INTO odd VALUES (2)")
    assert events() == []
    assert "when is set aside" in one(conn, "SELECT message FROM rowhook.capture_failure")


# --- casts of the table's owner ----------------------------------------------------------------------------

MOODS = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE mood_names (mood mood, name text);
INSERT INTO mood_names VALUES ('glad', ':-)');
CREATE FUNCTION mood_to_json(mood) RETURNS json LANGUAGE sql AS
    $fn$ SELECT to_json(name) FROM public.mood_names AS m WHERE m.mood = $1 $fn$;
"""
CAST = "CREATE CAST (mood AS json) WITH FUNCTION mood_to_json(mood);"
DIARY = "CREATE TABLE diary (id int PRIMARY KEY, mood mood);"


def test_a_cast_to_json_that_reads_a_table_is_named_by_a_warning(conn: Connection, warnings: list[Warned]) -> None:
    conn.execute(MOODS + CAST + DIARY)
    conn.execute("SELECT rowhook.capture('diary')")
    (warning,) = warnings
    for said in ('"mood"', "type public.mood", "public.mood_to_json(public.mood)"):
        assert said in warning.message
    assert "on_error => 'record'" in warning.hint


@pytest.mark.parametrize(
    "column",
    [
        pytest.param("moods mood[]", id="array"),
        pytest.param("moods bright", id="domain"),
        pytest.param("moods two_moods", id="composite"),
        pytest.param("moods two_moods[]", id="array-of-composite"),
    ],
)
def test_a_cast_is_found_inside_other_types_too(conn: Connection, warnings: list[Warned], column: str) -> None:
    conn.execute(MOODS + CAST)
    conn.execute("CREATE DOMAIN bright AS mood; CREATE TYPE two_moods AS (a mood, b bright)")
    conn.execute(f"CREATE TABLE diary (id int PRIMARY KEY, {column})")
    conn.execute("SELECT rowhook.capture('diary')")
    assert len(warnings) == 1 and "mood_to_json" in warnings[0].message


def test_under_abort_such_a_cast_fails_the_writer(conn: Connection, events: Events) -> None:
    conn.execute(MOODS + CAST + DIARY)
    conn.execute("SELECT rowhook.capture('diary')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("INSERT INTO diary VALUES (1, 'glad')")
    assert one(conn, "SELECT count(*) FROM diary") == 0
    assert events() == []


@both_modes
def test_under_record_the_writer_goes_on_and_the_failure_is_on_record(
    conn: Connection, warnings: list[Warned], events: Events, key: str
) -> None:
    conn.execute(MOODS + CAST + DIARY)
    conn.execute("SELECT rowhook.capture('diary', on_error => 'record', key => %s)", [key])
    assert not warnings
    conn.execute("INSERT INTO diary VALUES (1, 'glad')")
    assert one(conn, "SELECT count(*) FROM diary") == 1
    assert events() == []
    failures = conn.execute("SELECT table_name, op, sqlstate, message FROM rowhook.capture_failure").fetchall()
    assert failures == [("diary", "INSERT", "42501", "permission denied for table mood_names")]
    conn.execute("GRANT SELECT ON mood_names TO rowhook_capture")
    conn.execute("UPDATE diary SET id = 2")
    assert [event.data for event in events()] == [{"id": 2, "mood": ":-)"}]


def test_mutant__without_record_in_the_function_the_writer_fails(conn: Connection, mutate: Mutate) -> None:
    conn.execute(MOODS + CAST + DIARY)
    conn.execute("SELECT rowhook.capture('diary', on_error => 'record')")
    mutate(r"capture_\d+_insert", "EXCEPTION WHEN OTHERS THEN", "EXCEPTION WHEN division_by_zero THEN")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("INSERT INTO diary VALUES (1, 'glad')")


@pytest.mark.parametrize("owner", ["rowhook_capture", "postgres"])
def test_a_cast_runs_as_the_role_without_power__mutant_a_superuser_as_owner_hands_out_its_own(
    conn: Connection, events: Events, owner: str
) -> None:
    conn.execute("""
        CREATE TYPE mood AS ENUM ('glad');
        CREATE FUNCTION who(mood) RETURNS json LANGUAGE sql AS 'SELECT to_json(current_user::text)';
        CREATE CAST (mood AS json) WITH FUNCTION who(mood);
        CREATE TABLE diary (id int PRIMARY KEY, mood mood);
        SELECT rowhook.capture('diary');
    """)
    if owner == "postgres":
        function = one(conn, "SELECT oid::regprocedure::text FROM pg_proc WHERE proname ~ '^capture_\\d+_insert$'")
        conn.execute(f"ALTER FUNCTION {function} OWNER TO postgres")
    conn.execute("INSERT INTO diary VALUES (1, 'glad')")
    (event,) = events()
    assert event.data["mood"] == owner
    can_do_more = one(conn, "SELECT rolsuper OR rolcanlogin FROM pg_roles WHERE rolname = %s", owner)
    assert can_do_more is (owner == "postgres")
