"""Attacks by those who write to captured tables or own them, each shown to work against the thing unprotected.

Shadowing of names by a writer: test_writers.py. Here: what runs as somebody with more power.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from relay import captures, migrations
from relay.audit import by_command
from relay.captures import Options
from relay.cli.migrate import check_rights
from tests.conftest import Connect, Connection
from tests.sql.conftest import Event, Events, Mutate, one

SECRET = "whsec_bm90LWZvci10YWJsZS1vd25lcnMtbm90LWZvci10aGVt"
KEPT = f"""
INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com/');
INSERT INTO rowhook.secret (endpoint_id, key_id, ciphertext) VALUES (1, '0123abcd', convert_to('{SECRET}', 'UTF8'));
"""


@pytest.fixture
def owner(conn: Connection, connect: Connect, new_role: Callable[..., str]) -> Connection:
    """One who may make tables in schema public, and nothing of Rowhook's."""
    conn.execute(KEPT)
    role = new_role()
    conn.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    return connect(user=role)


# --- casts -------------------------------------------------------------------------------------------------

LEAK = "SELECT string_agg(convert_from(ciphertext, 'UTF8'), ',') FROM rowhook.secret"
TO_JSON = f"""
CREATE TYPE mood AS ENUM ('glad');
CREATE FUNCTION leak(mood) RETURNS json LANGUAGE plpgsql AS $fn$ BEGIN RETURN to_json(({LEAK})); END $fn$;
CREATE CAST (mood AS json) WITH FUNCTION leak(mood);
"""
TO_TEXT = f"""
CREATE TYPE mood AS ENUM ('glad');
CREATE FUNCTION leak(mood) RETURNS text LANGUAGE plpgsql AS $fn$ BEGIN RETURN ({LEAK}); END $fn$;
CREATE CAST (mood AS text) WITH FUNCTION leak(mood);
"""


@pytest.mark.parametrize(
    ("cast", "options", "stolen"),
    [
        pytest.param(TO_JSON, "", lambda event: event.data["mood"], id="payload"),
        pytest.param(TO_JSON, ", key => '{}'", lambda event: event.data["mood"], id="payload-row-by-row"),
        pytest.param(TO_JSON, ", include => '{mood}'", lambda event: event.data["mood"], id="payload-of-some-columns"),
        pytest.param(TO_TEXT, ", tenant => 'mood'", lambda event: event.tenant, id="tenant"),
        pytest.param(TO_TEXT, ", key => '{id,mood}'", lambda event: event.row_key, id="key"),
    ],
)
def test_a_cast_reads_no_secret__mutant_functions_of_whoever_migrated(
    conn: Connection, owner: Connection, events: Events, cast: str, options: str, stolen: Callable[[Event], str]
) -> None:
    owner.execute(cast + "CREATE TABLE diary (id int PRIMARY KEY, mood mood)")
    conn.execute(f"SELECT rowhook.capture('diary'{options})")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="for table secret"):
        owner.execute("INSERT INTO diary VALUES (1, 'glad')")
    assert events() == []

    for (function,) in conn.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proname ~ '^capture_1_'").fetchall():
        conn.execute(f"ALTER FUNCTION {function} OWNER TO postgres")
    owner.execute("INSERT INTO diary VALUES (1, 'glad')")
    (event,) = events()
    assert SECRET in stolen(event)


def test_a_cast_gets_nowhere_from_the_role_of_captures(conn: Connection, owner: Connection, events: Events) -> None:
    """What else it might do there: become somebody, change the function, call Rowhook's own."""
    tried = [
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "RESET ROLE",
        "CREATE TABLE rowhook.mine (a int)",
        "UPDATE rowhook.event SET type = ''x''",
        "DELETE FROM rowhook.event",
        "TRUNCATE rowhook.event",
        "SELECT * FROM rowhook.event",
        "SELECT rowhook.uncapture(''diary'')",
        "SELECT rowhook.set_up_roles()",
        "SELECT setval(''rowhook.doorbell'', 0)",
        "SELECT pg_read_file(''postgresql.conf'')",
        "CREATE ROLE mine SUPERUSER",
        "GRANT rowhook_capture TO PUBLIC",
    ]
    attempts = "\n".join(
        f"BEGIN EXECUTE '{statement}'; _worked := _worked || '{statement}'::text; EXCEPTION WHEN OTHERS THEN NULL; END;"
        for statement in tried
    )
    owner.execute(f"""
        CREATE TYPE mood AS ENUM ('glad');
        CREATE FUNCTION try_all(mood) RETURNS json LANGUAGE plpgsql AS $fn$
        DECLARE _worked text[] := '{{}}';
        BEGIN
            {attempts}
            RETURN json_build_array(current_user, _worked);
        END $fn$;
        CREATE CAST (mood AS json) WITH FUNCTION try_all(mood);
        CREATE TABLE diary (id int PRIMARY KEY, mood mood);
    """)
    conn.execute("SELECT rowhook.capture('diary')")
    owner.execute("INSERT INTO diary VALUES (1, 'glad')")
    (event,) = events()
    assert event.data["mood"] == ["rowhook_capture", []]


# --- operators, indexes ------------------------------------------------------------------------------------

OPERATORS = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE called (by text);
GRANT INSERT ON called TO PUBLIC;
CREATE FUNCTION equal(mood, mood) RETURNS boolean LANGUAGE plpgsql AS
    $fn$ BEGIN INSERT INTO public.called VALUES (current_user); RETURN true; END $fn$;
CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = equal);
CREATE OPERATOR <> (LEFTARG = mood, RIGHTARG = mood, FUNCTION = equal);
CREATE TABLE diary (id int PRIMARY KEY, mood mood);
"""


@pytest.mark.parametrize("options", ["", ", key => '{mood}', tenant => 'mood'", ", key => '{}'"])
def test_a_users_operator_on_a_captured_type_is_never_called(
    conn: Connection, owner: Connection, events: Events, options: str
) -> None:
    owner.execute(OPERATORS)
    conn.execute(f"SELECT rowhook.capture('diary'{options})")
    owner.execute("INSERT INTO diary VALUES (1, 'glad')")
    owner.execute("UPDATE diary SET mood = 'sad'")
    assert events()[-1].data["mood"] == "sad"
    assert one(owner, "SELECT count(*) FROM called") == 0


def test_mutant__rows_compared_by_their_own_types_call_it(conn: Connection, owner: Connection, mutate: Mutate) -> None:
    owner.execute(OPERATORS)
    conn.execute("SELECT rowhook.capture('diary', key => '{mood}')")
    mutate(
        "capture_1_update", "SET search_path TO 'pg_catalog', 'pg_temp'", "SET search_path TO 'public', 'pg_catalog', 'pg_temp'"
    )
    mutate("capture_1_update", "rowhook_old.mood::text", "rowhook_old.mood")
    mutate("capture_1_update", "rowhook_new.mood::text", "rowhook_new.mood")
    owner.execute("INSERT INTO diary VALUES (1, 'glad')")
    owner.execute("UPDATE diary SET mood = mood")
    assert owner.execute("SELECT by FROM called").fetchall() == [("rowhook_capture",)]


def test_a_function_index_that_writes_runs_as_the_writer_and_forges_nothing(
    conn: Connection, owner: Connection, events: Events
) -> None:
    owner.execute("""
        CREATE TABLE ran (who text, failed text);
        CREATE TABLE diary (id int PRIMARY KEY, note text);
        CREATE FUNCTION forge(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
            $fn$ BEGIN RETURN public.write($1); END $fn$;
        CREATE FUNCTION write(text) RETURNS text LANGUAGE plpgsql AS $fn$
        BEGIN
            INSERT INTO rowhook.event (op, type, tenant) VALUES ('insert', 'diary.created', 'somebody else');
            INSERT INTO public.ran VALUES (current_user);
            RETURN $1;
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO public.ran VALUES (current_user, SQLSTATE);
            RETURN $1;
        END $fn$;
        CREATE INDEX ON diary (forge(note));
    """)
    conn.execute("SELECT rowhook.capture('diary')")
    owner.execute("INSERT INTO diary VALUES (1, 'x')")
    owner.execute("UPDATE diary SET note = 'y'")
    assert [(event.type, event.tenant) for event in events()] == [("diary.created", None), ("diary.updated", None)]
    ran = owner.execute("SELECT DISTINCT who, failed FROM ran").fetchall()
    assert ran == [(owner.info.user, "42501")]
    # Unprotected, had the writer the right that a trigger without SECURITY DEFINER needs:
    conn.execute(f"GRANT USAGE ON SCHEMA rowhook TO {owner.info.user}; GRANT INSERT ON rowhook.event TO {owner.info.user}")
    conn.execute(f"GRANT SELECT ON SEQUENCE rowhook.present_slot TO {owner.info.user}")
    owner.execute("INSERT INTO diary VALUES (2, 'x')")
    assert "somebody else" in [event.tenant for event in events()]


# --- names -------------------------------------------------------------------------------------------------

NAMES = [
    '"; DROP TABLE victim; --',
    "'; DROP TABLE victim; --",
    "$fn$; DROP TABLE victim; --",
    "$sql$ $$ \\",
    "%1$I %s %% %L",
    "E'\\'' || \n--",
    "*/ DROP TABLE victim; /*",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keyed", [True, False], ids=["statement", "row"])
def test_names_are_names_and_never_sql(conn: Connection, events: Events, name: str, keyed: bool) -> None:
    table, column = (psycopg.sql.Identifier(text) for text in (name, f"c {name}"))
    conn.execute("CREATE TABLE victim (a int)")
    conn.execute(
        psycopg.sql.SQL("CREATE TABLE {} (id int {}, {} text, other int)").format(
            table, psycopg.sql.SQL("PRIMARY KEY" if keyed else ""), column
        )
    )
    found = captures.find(_dictionaries(conn), psycopg.sql.SQL("public.{}").format(table).as_string(conn))
    assert found.name == name
    for options in (
        Options(tenant=f"c {name}"),
        Options(include=["id", f"c {name}"]),
        Options(include=[], exclude=["other"], on_error="record"),
        Options(key=[f"c {name}", "id"], type_prefix="odd"),
    ):
        assert captures.install(_dictionaries(conn), by_command(), found, options, pytest.fail) in ("installed", "changed")
        conn.execute(psycopg.sql.SQL("INSERT INTO {} VALUES (1, 'x', 2)").format(table))
        conn.execute(psycopg.sql.SQL("UPDATE {} SET {} = 'y'").format(table, column))
        conn.execute(psycopg.sql.SQL("DELETE FROM {}").format(table))
        told = events()
        assert [event.data[f"c {name}"] for event in told if event.op != "truncate"][-1] == "y"
        assert {event.table_name for event in told} == {one(conn, "SELECT quote_ident(%s)", name)}
    assert captures.remove(_dictionaries(conn), by_command(), found, pytest.fail) == "removed"
    assert one(conn, "SELECT to_regclass('victim') IS NOT NULL")
    assert one(conn, "SELECT count(*) FROM rowhook.capture_failure") == 0


def _dictionaries(connection: Connection) -> captures.Connection:
    """The same session as the command line has it."""
    return psycopg.connect(connection.info.dsn, autocommit=True, row_factory=psycopg.rows.dict_row)


# --- whoever migrates and captures -------------------------------------------------------------------------

# Better matches for calls that Postgres' own functions and operators only fit by a conversion.
PLANTED = """
CREATE TABLE taken (by text);
GRANT INSERT ON taken TO PUBLIC;
CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql AS
    $fn$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN pg_catalog.format($1, $2); END $fn$;
CREATE FUNCTION public.has_database_privilege(name, text) RETURNS boolean LANGUAGE plpgsql AS
    $fn$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN true; END $fn$;
CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS
    $fn$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN pg_catalog.quote_ident($1); END $fn$;
CREATE FUNCTION public.same(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS
    $fn$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.=) $2::oid; END $fn$;
CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = public.same);
CREATE FUNCTION public.same(regclass, regclass) RETURNS boolean LANGUAGE plpgsql AS
    $fn$ BEGIN INSERT INTO public.taken VALUES (current_user); RETURN $1::oid OPERATOR(pg_catalog.=) $2::oid; END $fn$;
CREATE OPERATOR public.= (LEFTARG = regclass, RIGHTARG = regclass, FUNCTION = public.same);
"""


@pytest.mark.parametrize("pinned", [True, False], ids=["as-it-is", "mutant-with-the-sessions-path"])
def test_what_lies_in_schema_public_does_not_run_as_whoever_migrates(
    empty_dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    connection = connect(dsn=empty_dsn)
    connection.execute(PLANTED)
    if not pinned:
        monkeypatch.setattr(migrations, "_PINNED", "SET LOCAL search_path = public, pg_temp")
    check_rights(_dictionaries(connection))
    migrations.migrate(empty_dsn)
    assert migrations.migrate(empty_dsn) == []
    taken = connection.execute("SELECT DISTINCT by FROM taken").fetchall()
    assert taken == ([] if pinned else [("postgres",)])


@pytest.mark.parametrize("pinned", [True, False], ids=["as-it-is", "mutant-with-the-sessions-path"])
def test_what_lies_in_schema_public_does_not_run_as_whoever_captures(
    conn: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    conn.execute(PLANTED + "CREATE TABLE diary (id int PRIMARY KEY)")
    if not pinned:
        monkeypatch.setattr(captures, "_PINNED", "SET LOCAL search_path = public, pg_temp")
    session = _dictionaries(conn)
    table = captures.find(session, "diary")
    captures.plan(session, table, Options())
    captures.install(session, by_command(), table, Options(), pytest.fail)
    captures.current(session, table)
    captures.remove(session, by_command(), table, pytest.fail)
    taken = conn.execute("SELECT DISTINCT by FROM taken").fetchall()
    assert taken == ([] if pinned else [("postgres",)])
