"""DDL on captured tables: no writer fails for it, captures and rules follow, versions are kept, and receivers are told.

Most of it runs twice: with the event trigger, and without it as on servers where it may not be made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from relay import captures, schema_follow
from relay.audit import by_command
from relay.captures import Options
from relay.config import load
from relay.doctor.examine import examine
from relay.migrations import migrate
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.sql.conftest import Events, Mutate, Warned, one

TABLES = """
CREATE TABLE category (id int PRIMARY KEY, name text);
INSERT INTO category VALUES (1, 'food');
CREATE TABLE item (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stable text, owner int DEFAULT 7, amount numeric(12, 2) DEFAULT 99.50,
    email text DEFAULT 'a@example.com', secret text DEFAULT 'hush', category_id int DEFAULT 1 REFERENCES category
);
"""
CAPTURES = {
    "whole": "SELECT rowhook.capture('item', tenant => 'owner')",
    "row mode": "SELECT rowhook.capture('item', tenant => 'owner', key => '{}')",
    "include": "SELECT rowhook.capture('item', tenant => 'owner', include => '{id,stable,amount}')",
    "exclude, row mode": "SELECT rowhook.capture('item', key => '{}', exclude => '{secret}')",
    "redact": """SELECT rowhook.capture('item', exclude => '{secret}', redact => '{"email": "mask"}')""",
    "enrich": """SELECT rowhook.capture('item', max_size => 5000, enrich => '{"category": "category_id.name"}')""",
    "when": "SELECT rowhook.capture('item', tenant => 'owner', predicate => $$stable <> ''$$)",
}
# All but the last are noted only: the functions are made once.
RULES = """
SELECT rowhook.rule_plan('item.dear', 'item', 'insert', 'new.amount > 10', NULL, NULL);
SELECT rowhook.rule_plan('item.moved', 'item', 'update', 'old.owner <> new.owner or ''stable'' = any(changed)', NULL, NULL);
SELECT rowhook.rule_plan('item.kept', 'item', 'update', 'new.stable is not null', NULL, NULL);
SELECT rowhook.rule('item.gone', on_table => 'item', op => 'delete', predicate => 'old.email <> ''''');
"""
CHANGES = [
    "ALTER TABLE item ADD COLUMN more int DEFAULT 3",
    "ALTER TABLE item DROP COLUMN amount",
    "ALTER TABLE item RENAME amount TO total",
    "ALTER TABLE item ALTER amount TYPE text",
    "ALTER TABLE item ALTER amount DROP DEFAULT, ALTER amount TYPE boolean USING true",
    "ALTER TABLE item DROP COLUMN owner, DROP COLUMN email",
    "ALTER TABLE item ALTER owner TYPE text",
    "ALTER TABLE item DROP COLUMN id",
    "ALTER TABLE item RENAME id TO number",
    "ALTER TABLE item ALTER id TYPE bigint",
    "ALTER TABLE item DROP COLUMN secret, DROP COLUMN category_id",
    "ALTER TABLE category RENAME name TO title",
    "ALTER TABLE category DROP COLUMN name",
    "ALTER TABLE item DROP CONSTRAINT item_category_id_fkey; ALTER TABLE item ALTER category_id TYPE text",
    "DROP TABLE category CASCADE",
    "DROP TABLE category CASCADE; CREATE TABLE category (id int PRIMARY KEY, name text)",
    "ALTER TABLE item RENAME TO thing; CREATE VIEW item AS SELECT * FROM thing",
    "CREATE SCHEMA other; ALTER TABLE item SET SCHEMA other; CREATE VIEW item AS SELECT * FROM other.item",
]


@pytest.fixture(params=["watched", "elsewhere"])
def watched(request: pytest.FixtureRequest, conn: Connection) -> bool:
    """Whether there is the event trigger."""
    if request.param == "elsewhere":
        conn.execute("DROP EVENT TRIGGER rowhook_follow_ddl")
    return str(request.param) == "watched"


@pytest.fixture
def follow(dsn: str) -> Callable[[], None]:
    """What a relay does when it starts."""
    return lambda: schema_follow.ensure(load(DATABASE_URL=dsn))


@pytest.fixture
def versions(conn: Connection) -> Callable[[], list[tuple[int, bool, list[str]]]]:
    """Number, compatible, and what changed, in brief; of the first capture."""

    def brief(change: dict[str, Any]) -> str:
        return " ".join(str(change[part]) for part in ("change", "column", "was", "type", "table") if part in change)

    def versions() -> list[tuple[int, bool, list[str]]]:
        rows = conn.execute(
            "SELECT version, compatible, changes FROM rowhook.schema_version"
            " WHERE capture_id = (SELECT min(capture_id) FROM rowhook.schema_version) ORDER BY version"
        ).fetchall()
        return [(version, compatible, [brief(change) for change in changes]) for version, compatible, changes in rows]

    return versions


# --- writers -----------------------------------------------------------------------------------------------


def write(writer: Connection) -> None:
    """By a column that stays, in a session that has planned everything long ago."""
    writer.execute("INSERT INTO item (stable) VALUES ('a'), ('b')")
    writer.execute("UPDATE item SET stable = stable || 'x'")
    writer.execute("DELETE FROM item")


def tried(conn: Connection, options: str) -> list[str]:
    """Before 18 a capture takes six times as long (SQL functions are parsed at each call): there, each by some of the options."""
    return CHANGES if conn.info.server_version >= 180_000 else CHANGES[list(CAPTURES).index(options) % 3 :: 3]


@pytest.mark.parametrize("options", CAPTURES)
def test_no_change_of_a_table_fails_its_writers_or_loses_a_rows_events(
    conn: Connection, dsn: str, watched: bool, options: str
) -> None:
    """Rules that no longer fit make no events; of rows none is lost."""
    for number, change in enumerate(tried(conn, options)):
        conn.execute(f"CREATE SCHEMA s{number}; SET search_path = s{number}, public")
        for statement in (TABLES, CAPTURES[options], RULES):
            conn.execute(statement.encode())
        with psycopg.connect(dsn, autocommit=True, options=f"-c search_path=s{number},public") as writer:
            for _ in range(6):
                write(writer)
            conn.execute("TRUNCATE rowhook.event, rowhook.capture_failure")
            conn.execute(change.encode())
            write(writer)
        told = conn.execute("SELECT op::text, count(*) FROM rowhook.event WHERE op IN ('insert', 'update', 'delete') GROUP BY 1")
        assert dict(told.fetchall()) == {"insert": 2, "update": 2, "delete": 2}, change
        if watched:
            assert conn.execute("SELECT * FROM rowhook.capture_failure").fetchall() == [], change
            assert one(conn, "SELECT count(*) FROM rowhook.capture AS c WHERE rowhook.is_behind(c)") == 0, change


def test_mutants_without_the_shields_fail_the_writer(conn: Connection, connect: Connect, mutate: Mutate) -> None:
    """What the test above would see: a null for a column that is gone, and plans that depend on the table."""
    conn.execute(TABLES + "DROP EVENT TRIGGER rowhook_follow_ddl;" + CAPTURES["whole"])
    mutate("capture_1_insert", '"owner" text;', "")
    conn.execute("ALTER TABLE item DROP COLUMN owner")
    with pytest.raises(psycopg.errors.UndefinedColumn, match="owner"):
        write(connect())
    conn.execute("SELECT rowhook.uncapture('item')")
    conn.execute("SELECT rowhook.capture('item', key => '{}')")
    name = one(conn, "SELECT proname::text FROM pg_proc WHERE proname ~ '^capture_[0-9]+_row$'")
    mutate(name, f"'{one(conn, 'SELECT ' + chr(39) + 'item' + chr(39) + '::regclass::oid')}'::regclass IS NOT NULL", "true")
    writer = connect()
    for _ in range(7):
        write(writer)
    conn.execute("ALTER TABLE item ALTER amount TYPE text")
    with pytest.raises(psycopg.errors.DatatypeMismatch, match="wrong type"):
        write(writer)


# --- captures follow ---------------------------------------------------------------------------------------


def test_what_names_a_column_follows_its_new_name(
    conn: Connection, events: Events, watched: bool, follow: Callable[[], None]
) -> None:
    """Above all: what was redacted or left out stays so."""
    conn.execute(TABLES)
    conn.execute(
        """SELECT rowhook.capture('item', tenant => 'owner', exclude => '{secret}', redact => '{"email": "mask"}',
                                  enrich => '{"category": "category_id.name"}')"""
    )
    conn.execute("""
        ALTER TABLE item RENAME owner TO tenant; ALTER TABLE item RENAME secret TO hidden;
        ALTER TABLE item RENAME email TO mail; ALTER TABLE item RENAME id TO number;
        ALTER TABLE item RENAME category_id TO cat; ALTER TABLE category RENAME name TO title;
        ALTER TABLE item ADD COLUMN more int DEFAULT 1;
    """)
    for followed in (watched, True):
        conn.execute("INSERT INTO item (stable) VALUES ('a')")
        (event,) = events()
        assert "hush" not in str(event.text) and "a@example.com" not in str(event.text)
        if followed:
            assert (event.row_key is not None, event.tenant, event.data["mail"]) == (True, "7", "****")
            assert (event.data["category"], event.data["more"]) == ("food", 1)
            assert {"number", "tenant", "cat"} <= event.data.keys()
        follow()
    now = conn.execute("SELECT tenant, key, exclude, redact, enrich FROM rowhook.capture").fetchone()
    assert now == ("tenant", ["number"], ["hidden"], {"mail": "mask"}, {"category": "cat.title"})
    assert one(conn, "SELECT rowhook.set_aside(c) FROM rowhook.capture AS c") == []
    assert one(conn, "SELECT rowhook.capture('item')") == "unchanged"


def test_a_column_that_is_left_out_stays_so_whoever_follows(conn: Connection, events: Events) -> None:
    """Its name is in no function, so nothing need be made anew; but it must be known by the next time."""
    conn.execute(TABLES)
    conn.execute("DROP EVENT TRIGGER rowhook_follow_ddl; SELECT rowhook.capture('item', exclude => '{secret}')")
    conn.execute("ALTER TABLE item RENAME secret TO hidden")
    assert one(conn, "SELECT rowhook.capture('item')") == "unchanged"
    conn.execute("ALTER TABLE item ADD COLUMN more int; SELECT rowhook.capture('item')")
    conn.execute("INSERT INTO item (stable) VALUES ('a')")
    assert "hush" not in str(events()[0].text)


def test_names_that_are_exchanged_go_with_their_columns(conn: Connection, events: Events) -> None:
    conn.execute(TABLES)
    conn.execute("""SELECT rowhook.capture('item', redact => '{"email": "mask"}')""")
    conn.execute("""
        ALTER TABLE item RENAME email TO x; ALTER TABLE item RENAME stable TO email; ALTER TABLE item RENAME x TO stable;
        INSERT INTO item (email) VALUES ('plain');
    """)
    (event,) = events()
    assert (event.data["email"], event.data["stable"]) == ("plain", "****")


def test_what_is_dropped_is_set_aside_and_comes_back(
    conn: Connection, events: Events, watched: bool, follow: Callable[[], None]
) -> None:
    conn.execute(TABLES)
    conn.execute(
        """SELECT rowhook.capture('item', tenant => 'owner', include => '{id,stable,owner,email}',
                                  redact => '{"email": "sha256"}')"""
    )
    conn.execute("ALTER TABLE item DROP COLUMN owner, DROP COLUMN email")
    follow()
    aside = one(conn, "SELECT rowhook.set_aside(c) FROM rowhook.capture AS c")
    assert sorted(text.partition(":")[0] for text in aside) == ["include", "include", "redact", "tenant"]
    conn.execute("INSERT INTO item (stable) VALUES ('a')")
    (event,) = events()
    assert (event.tenant, event.data.keys()) == (None, {"id", "stable"})
    conn.execute("ALTER TABLE item ADD COLUMN owner int DEFAULT 8, ADD COLUMN email text DEFAULT 'b@example.com'")
    follow()
    conn.execute("INSERT INTO item (stable) VALUES ('b')")
    (event,) = events()
    assert event.tenant == "8" and event.data["email"] not in (None, "b@example.com")
    assert one(conn, "SELECT rowhook.set_aside(c) FROM rowhook.capture AS c") == []


def test_a_table_that_becomes_a_partition_is_captured_row_by_row(
    conn: Connection, events: Events, watched: bool, follow: Callable[[], None]
) -> None:
    conn.execute("""
        CREATE TABLE parent (id int, at date) PARTITION BY RANGE (at);
        CREATE TABLE part (id int, at date, PRIMARY KEY (id, at));
        SELECT rowhook.capture('part');
        ALTER TABLE parent ATTACH PARTITION part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    """)
    follow()
    assert one(conn, "SELECT mode FROM rowhook.capture") == "row"
    conn.execute("INSERT INTO parent VALUES (1, '2026-02-02')")
    assert [event.type for event in events()] == ["part.created"]


# --- rules -------------------------------------------------------------------------------------------------

BREAKS = [
    ("ALTER TABLE item DROP COLUMN amount", "ALTER TABLE item ADD COLUMN amount numeric DEFAULT 99", "amount does not exist"),
    ("ALTER TABLE item RENAME amount TO total", "ALTER TABLE item RENAME total TO amount", "amount does not exist"),
    ("ALTER TABLE item ALTER amount TYPE text", "ALTER TABLE item ALTER amount TYPE numeric USING 99", "operator does not exist"),
    (
        "DROP FUNCTION is_dear",
        "CREATE FUNCTION is_dear(numeric) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'",
        "is_dear",
    ),
]


@pytest.mark.parametrize(("change", "back", "why"), BREAKS)
def test_a_rule_that_no_longer_fits_is_set_aside_and_comes_back(
    conn: Connection, events: Events, watched: bool, follow: Callable[[], None], change: str, back: str, why: str
) -> None:
    conn.execute(TABLES + "CREATE FUNCTION is_dear(numeric) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';")
    conn.execute(CAPTURES["whole"] + ";" + RULES)
    predicate = "new.amount > 10 and public.is_dear(new.amount)"
    conn.execute("SELECT rowhook.rule('item.dear', 'item', 'insert', %s)", [predicate])
    conn.execute("SELECT rowhook.rule('item.any', 'item', 'insert', 'true')")
    asides = "SELECT type, set_aside FROM rowhook.rule WHERE set_aside IS NOT NULL"
    insert = "INSERT INTO item (stable) VALUES ('a')"

    def told() -> list[str]:
        conn.execute(insert)
        return [event.type for event in events()]

    assert told() == ["item.created", "item.dear", "item.any"]
    conn.execute(change.encode())
    for followed in (watched, True):
        assert told() == ["item.created", "item.any"]
        failures = conn.execute("DELETE FROM rowhook.capture_failure RETURNING table_name, message").fetchall()
        if followed:
            assert failures == []
            ((type, said),) = conn.execute(asides).fetchall()
            assert type == "item.dear" and why in said
        else:
            ((table, said),) = failures
            assert table == "item" and said.startswith("rule item.dear is set aside: ")
        follow()
    conn.execute(back.encode())
    follow()
    assert conn.execute(asides).fetchall() == []
    if "CREATE FUNCTION" in back and watched:  # a new function wakes nobody: the next change, or relay, does
        conn.execute("ALTER TABLE item ADD COLUMN wakes int")
    assert told() == ["item.created", "item.dear", "item.any"]


def test_where_it_cannot_be_told_which_rows_are_captured_none_is(
    conn: Connection, events: Events, watched: bool, follow: Callable[[], None], examined: Callable[[], str]
) -> None:
    """What was sent can't be taken back; what wasn't, a backfill makes up for."""
    conn.execute(TABLES)
    conn.execute("SELECT rowhook.capture('item', predicate => 'amount > 10')")
    conn.execute("SELECT rowhook.rule('item.any', 'item', 'insert', 'true')")
    conn.execute("ALTER TABLE item RENAME amount TO total")
    follow()
    write(conn)
    assert {event.type for event in events()} == {"item.any"}
    failures = conn.execute("SELECT op, message FROM rowhook.capture_failure ORDER BY id").fetchall()
    assert [op for op, _ in failures] == ["INSERT", "UPDATE", "DELETE"]
    assert all(message.startswith("when is set aside: ") for _, message in failures)
    assert "none is" in examined()
    conn.execute("ALTER TABLE item RENAME total TO amount")
    follow()
    write(conn)
    assert {event.type for event in events()} == {"item.any", "item.created", "item.updated", "item.deleted"}
    assert "none is" not in examined()


@pytest.fixture
def examined(dsn: str) -> Callable[[], str]:
    """What doctor says of captures."""
    return lambda: " ".join(finding.why for finding in examine(load(DATABASE_URL=dsn)) if finding.check.startswith("capture of"))


def test_a_rule_that_was_set_aside_can_be_changed(conn: Connection, events: Events) -> None:
    conn.execute(TABLES)
    conn.execute(RULES)
    conn.execute("ALTER TABLE item RENAME amount TO total")
    assert one(conn, "SELECT rowhook.rule('item.dear', 'item', 'insert', 'new.total > 10')") == "changed"
    conn.execute("INSERT INTO item (stable) VALUES ('a')")
    assert [event.type for event in events()] == ["item.dear"]


# --- versions ----------------------------------------------------------------------------------------------


def test_versions_say_what_changed(
    conn: Connection, versions: Callable[[], Any], watched: bool, follow: Callable[[], None]
) -> None:
    conn.execute(TABLES)
    conn.execute("SELECT rowhook.capture('item', exclude => '{secret}')")
    for change in (
        "ALTER TABLE item ADD COLUMN more int",
        "ALTER TABLE item ALTER more TYPE bigint",
        "ALTER TABLE item ALTER more TYPE smallint",
        "ALTER TABLE item RENAME more TO less",
        "ALTER TABLE item DROP COLUMN less, DROP COLUMN secret, ADD COLUMN less int",
        "ALTER TABLE item ALTER stable SET DEFAULT 'x'",
        "ALTER TABLE item RENAME TO thing",
        "DROP TABLE thing",
    ):
        conn.execute(change.encode())
        follow()
    assert versions() == [
        (1, True, []),
        (2, True, ["added more integer"]),
        (3, True, ["retyped more integer bigint"]),
        (4, False, ["retyped more bigint smallint"]),
        (5, False, ["renamed less more"]),
        (6, False, ["dropped less smallint", "added less integer"]),
        (7, False, ["table renamed item thing"]),
        (8, False, ["table dropped"]),
    ]
    follow()
    assert len(versions()) == 8
    conn.execute("SELECT rowhook.uncapture(table_name) FROM rowhook.capture")
    assert one(conn, "SELECT count(*) FROM rowhook.schema_version") == 0


def test_other_options_are_another_version(conn: Connection, versions: Callable[[], Any]) -> None:
    conn.execute(TABLES)
    conn.execute("SELECT rowhook.capture('item', include => '{id,stable}')")
    conn.execute("""SELECT rowhook.capture('item', include => '{id,stable,email}', redact => '{"email": "mask"}')""")
    conn.execute("SELECT rowhook.capture('item', include => '{id}', redact => '{}')")
    assert versions()[1:] == [
        (2, True, ["added email redacted: mask"]),
        (3, False, ["dropped email redacted: mask", "dropped stable text"]),
    ]


WIDER = [
    *("smallint integer", "integer bigint", "bigint numeric", "real double precision", "json jsonb", "jsonb json"),
    *("character varying(5) text", "character varying(5) character varying(9)", "text character varying"),
    *("numeric(5,2) numeric(9,2)", "numeric(5,2) numeric", "date date"),
]
NARROWER = [
    *(
        "bigint integer",
        "numeric integer",
        "integer text",
        "text character varying(5)",
        "character varying(9) character varying(5)",
    ),
    *("numeric(9,2) numeric(5,2)", "numeric(5,2) numeric(9,3)", "timestamp without time zone date", "integer real"),
]


def test_which_types_hold_what_the_others_did(conn: Connection) -> None:
    def wider(pair: str) -> bool:
        was = next(name for name in pairs if pair.startswith(name + " "))
        found = one(conn, "SELECT rowhook.is_wider(%s, %s)", was, pair.removeprefix(was + " "))
        assert isinstance(found, bool), "null would pass for compatible"
        return found

    names = {"smallint", "integer", "bigint", "numeric", "real", "json", "jsonb", "text", "date", "timestamp without time zone"}
    pairs = [*names, "character varying(5)", "character varying(9)", "numeric(5,2)", "numeric(9,2)"]
    pairs.sort(key=len, reverse=True)
    assert [pair for pair in WIDER if not wider(pair)] == []
    assert [pair for pair in NARROWER if wider(pair)] == []


# --- schema.changed ----------------------------------------------------------------------------------------


TOLD = "SELECT table_name, row_key, tenant, data, context FROM rowhook.event WHERE op = 'own' AND type = 'schema.changed'"


def test_an_incompatible_change_is_an_event_of_its_own_transaction(
    conn: Connection, watched: bool, follow: Callable[[], None]
) -> None:
    conn.execute(TABLES)
    conn.execute(CAPTURES["whole"])
    with conn.transaction():
        conn.execute("SET LOCAL rowhook.actor = 'alice'")
        conn.execute("ALTER TABLE item ADD COLUMN more int; ALTER TABLE item DROP COLUMN email")
    follow()
    ((table, key, tenant, data, context),) = conn.execute(TOLD).fetchall()
    assert (table, key, tenant) == ("item", "item", None)
    dropped = {"change": "dropped", "column": "email", "type": "text", "compatible": False}
    added = {"change": "added", "column": "more", "type": "integer", "compatible": True}
    assert data["changes"] == ([dropped] if watched else [dropped, added])
    assert data["event_types"] == [f"item.{past}" for past in ("created", "updated", "deleted", "truncated")]
    assert (data["table"], data["version"]) == ("item", 3 if watched else 2)
    assert context == ({"actor": "alice"} if watched else None)
    with pytest.raises(psycopg.errors.DivisionByZero), conn.transaction():
        conn.execute("ALTER TABLE item DROP COLUMN more; SELECT 1 / 0")
    follow()
    assert len(conn.execute(TOLD).fetchall()) == 1, "what is rolled back has not happened"
    conn.execute("SELECT rowhook.capture('item', include => '{id}')")
    assert len(conn.execute(TOLD).fetchall()) == 1, "what the operator chose is no news"


# --- whose DDL ---------------------------------------------------------------------------------------------


@pytest.fixture
def owner(conn: Connection, connect: Connect, new_role: Callable[..., str]) -> Connection:
    """One who may make tables in schema public, and nothing of Rowhook's."""
    role = new_role()
    conn.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    return connect(user=role)


def test_ddl_of_a_role_without_any_right_is_followed(conn: Connection, owner: Connection, events: Events) -> None:
    owner.execute(TABLES)
    conn.execute(CAPTURES["include"] + ";" + RULES)
    owner.execute("ALTER TABLE item RENAME owner TO whose")
    owner.execute("INSERT INTO item (stable) VALUES ('a')")
    assert [(event.type, event.tenant) for event in events()] == [("item.created", "7"), ("item.dear", "7")]
    owners = "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE proname ~ '^capture_[0-9]'"
    assert conn.execute(owners).fetchall() == [("rowhook_capture",)]


SHADOWS = """
CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
CREATE FUNCTION pg_temp.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
CREATE TEMP TABLE pg_class (oid oid); CREATE TEMP TABLE pg_attribute (attrelid oid); CREATE TEMP TABLE capture (id int);
CREATE FUNCTION public.grab(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.grab);
SET search_path = pg_temp, public, pg_catalog, rowhook;
"""


def test_names_that_ddls_author_shadows_are_not_taken(conn: Connection, owner: Connection, warnings: list[Warned]) -> None:
    owner.execute(TABLES)
    conn.execute(CAPTURES["redact"])
    said: list[str] = []
    owner.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
    owner.execute(SHADOWS)
    owner.execute("ALTER TABLE public.item RENAME email TO mail")
    assert (one(conn, "SELECT redact FROM rowhook.capture"), said) == ({"mail": "mask"}, [])


EVIL = """
CREATE TABLE called (by text); GRANT INSERT ON called TO PUBLIC;
CREATE FUNCTION evil(text) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.called VALUES (current_user); RETURN true; END $$;
CREATE DOMAIN trap AS text CHECK (evil(VALUE));
"""


def test_what_a_tables_owner_defined_is_never_run_by_who_migrated__mutant_the_predicate_is_read_by_whoever_looks(
    conn: Connection, owner: Connection
) -> None:
    """Reading a literal of an array runs the CHECK of its elements' domain."""
    owner.execute(TABLES + EVIL)
    conn.execute("SELECT rowhook.rule('item.a', on_table => 'item', op => 'insert', predicate => 'new.stable = ''{a}''')")
    owner.execute("ALTER TABLE item ALTER stable TYPE trap[] USING NULL")
    by = {who for (who,) in conn.execute("SELECT by FROM called").fetchall()}
    assert by == {"rowhook_capture"}
    conn.execute("ALTER FUNCTION rowhook.predicate_fault OWNER TO postgres")
    owner.execute("ALTER TABLE item ADD COLUMN again int")
    assert ("postgres",) in conn.execute("SELECT by FROM called").fetchall()


def test_a_foreign_key_that_leads_elsewhere_opens_no_other_table(conn: Connection, owner: Connection, events: Events) -> None:
    owner.execute(TABLES)
    conn.execute(CAPTURES["enrich"])
    conn.execute("CREATE TABLE vault (id int PRIMARY KEY, name text); INSERT INTO vault VALUES (1, 'gold')")
    conn.execute(f"GRANT REFERENCES ON vault TO {owner.info.user}")
    owner.execute("""
        ALTER TABLE item DROP CONSTRAINT item_category_id_fkey;
        ALTER TABLE item ADD FOREIGN KEY (category_id) REFERENCES vault;
        INSERT INTO item (stable) VALUES ('a');
    """)
    (event,) = events()
    assert "gold" not in str(event.text)
    (aside,) = one(conn, "SELECT rowhook.set_aside(c) FROM rowhook.capture AS c")
    assert "lacks the right to read" in aside
    assert not one(conn, "SELECT has_column_privilege('rowhook_capture', 'vault', 'name', 'SELECT')")


# --- failures and locks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", ["ALTER TABLE rowhook.schema_version RENAME TO elsewhere", "ALTER TABLE rowhook.capture RENAME known TO k"]
)
def test_a_failure_of_the_event_trigger_is_not_the_ddls(
    conn: Connection, connect: Connect, warnings: list[Warned], broken: str
) -> None:
    conn.execute(TABLES)
    conn.execute(CAPTURES["include"])
    conn.execute("SET event_triggers = off" if conn.info.server_version >= 170000 else "SELECT 1")
    conn.execute(broken.encode())
    warnings.clear()
    other = connect()
    said: list[str] = []
    other.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
    other.execute("ALTER TABLE item DROP COLUMN amount")
    write(other)
    failed = other.execute("SELECT op, message FROM rowhook.capture_failure").fetchall()
    assert len(failed) + len(said) >= 1
    assert all("waits for rowhook run" in message for _, message in failed)
    assert all("could not follow" in message for message in said)


def test_ddl_waits_for_nobody_who_holds_a_capture(
    conn: Connection, connect: Connect, events: Events, follow: Callable[[], None]
) -> None:
    conn.execute(TABLES)
    conn.execute(CAPTURES["include"])
    holder = connect(autocommit=False)
    holder.execute("SELECT FROM rowhook.capture FOR UPDATE")
    conn.execute("ALTER TABLE item RENAME amount TO total")
    write(conn)
    assert len(events()) == 6
    ((said,),) = conn.execute("SELECT message FROM rowhook.capture_failure").fetchall()
    assert "lock timeout" in said
    holder.rollback()
    follow()
    write(conn)
    assert {"total" in event.data for event in events()} == {True}


def test_a_capture_that_waited_for_the_table_takes_it_as_it_is_then(
    conn: Connection, connect: Connect, events: Events, dsn: str
) -> None:
    conn.execute(TABLES)
    ddl = connect(autocommit=False)
    ddl.execute("ALTER TABLE item RENAME secret TO hidden")
    done: list[str] = []

    def capture() -> None:
        with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
            options = Options(exclude=["secret"])
            done.append(captures.install(connection, by_command(), captures.find(connection, "item"), options, lambda text: None))

    waiting = threading.Thread(target=capture)
    waiting.start()
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while one(conn, blocked) == 0:
        assert waiting.is_alive()
    ddl.commit()
    waiting.join(30)
    assert done == ["installed"]
    assert one(conn, "SELECT exclude FROM rowhook.capture") == ["hidden"]
    conn.execute("INSERT INTO item (stable) VALUES ('a')")
    assert "hush" not in str(events()[0].text)


# --- who may -----------------------------------------------------------------------------------------------


@pytest.fixture
def plain(cluster: Cluster, new_role: Callable[..., str], conn: Connection) -> Iterator[str]:
    """A database that belongs to a role without power, which has migrated it; the DSN."""
    role = new_role()
    name = cluster.create_database()
    with cluster.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} OWNER TO {role}; GRANT rowhook_capture TO {role}")
    try:
        dsn = cluster.dsn(name, user=role)
        migrate(dsn)
        yield dsn
    finally:
        cluster.drop_database(name)


def test_an_owner_without_power_follows_when_a_relay_starts(plain: str, connect: Connect) -> None:
    conn = connect(dsn=plain)
    assert one(conn, "SELECT count(*) FROM pg_event_trigger") == 0
    assert one(conn, "SELECT rowhook.watch_ddl()") is False
    conn.execute(TABLES)
    conn.execute(CAPTURES["include"] + ";" + RULES)
    conn.execute("ALTER TABLE item RENAME amount TO total")
    write(conn)
    assert one(conn, "SELECT count(*) FROM rowhook.event WHERE op IN ('insert', 'update', 'delete')") == 6
    schema_follow.ensure(load(DATABASE_URL=plain))
    assert one(conn, "SELECT include FROM rowhook.capture") == ["id", "stable", "total"]
    assert one(conn, "SELECT count(*) FROM rowhook.capture AS c WHERE rowhook.is_behind(c)") == 0
    assert one(conn, "SELECT count(*) FROM rowhook.admin_log WHERE action = 'capture.follow' AND via = 'run'") == 1
    assert one(conn, "SELECT count(*) FROM rowhook.event WHERE type = 'schema.changed'") == 1


def test_a_restored_database_follows_too(conn: Connection, cluster: Cluster, tmp_path: Any, connect: Connect) -> None:
    """The event trigger is in the dump; numbers of columns are others after it."""
    conn.execute(TABLES)
    conn.execute("""
        ALTER TABLE item ADD COLUMN a int, ADD COLUMN b int; ALTER TABLE item DROP COLUMN a;
        SELECT rowhook.capture('item', redact => '{"email": "mask"}', exclude => '{secret,b}');
        ALTER TABLE item DROP COLUMN stable; ALTER TABLE item ADD COLUMN stable text;
    """)
    file = tmp_path / "dump"
    cluster.run("pg_dump", "-Fc", "-f", str(file), conn.info.dbname)
    name = cluster.create_database()
    try:
        cluster.run("pg_restore", "--exit-on-error", "-d", name, str(file))
        restored = connect(dsn=cluster.dsn(name))
        assert one(restored, "SELECT count(*) FROM pg_event_trigger WHERE evtname = 'rowhook_follow_ddl'") == 1
        versions = "SELECT count(*) FROM rowhook.schema_version"
        before = one(restored, versions)
        schema_follow.ensure(load(DATABASE_URL=cluster.dsn(name)))
        assert one(restored, "SELECT redact, exclude FROM rowhook.capture") == {"email": "mask"}
        assert one(restored, versions) == before, "nothing but numbers has changed"
        restored.execute("ALTER TABLE item RENAME email TO mail; INSERT INTO item (stable) VALUES ('a')")
        data = one(restored, "SELECT data FROM rowhook.event WHERE op = 'insert'")
        assert data["mail"] == "****" and data.keys().isdisjoint({"secret", "b", "email"})
        restored.close()
    finally:
        cluster.drop_database(name)
