"""A capture of only those rows for which a predicate holds: what enters and leaves; what is refused; verify and backfill."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.conftest import Connect, Connection
from tests.sql.conftest import Events, Mutate, one
from tests.sql.test_capture_options import TRACES, refused
from tests.sql.test_rules import REFUSED, SPY

MODES = pytest.mark.parametrize("mode", ["statement", "row"])
CAPTURE = "SELECT rowhook.capture('notes', predicate => %s)"
VERDICTS = "SELECT verdict, row_key, count FROM rowhook.verify('notes') ORDER BY 1, 2"


@pytest.fixture
def db(conn: Connection) -> Connection:
    """Notes, some of them public."""
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY, public boolean, owner int, body text)")
    return conn


def capture(conn: Connection, predicate: str = "public", mode: str = "statement", more: str = "") -> None:
    if mode == "row":
        conn.execute("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        conn.execute("CREATE TRIGGER mine AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION nothing()")
    conn.execute(f"SELECT rowhook.capture('notes', predicate => %s{more})", [predicate])
    assert one(conn, "SELECT mode FROM rowhook.capture") == mode


def brief(events: Events) -> list[tuple[str, str | None, bool]]:
    return [(event.type, event.row_key, event.moved) for event in events()]


# --- what makes events -------------------------------------------------------------------------------------


@MODES
def test_only_rows_for_which_it_holds_are_captured(db: Connection, events: Events, mode: str) -> None:
    """Null is no."""
    capture(db, mode=mode)
    db.execute("INSERT INTO notes VALUES (1, true, 1, 'a'), (2, false, 1, 'b'), (3, NULL, 1, 'c'), (4, true, 1, 'd')")
    assert brief(events) == [("note.created", "1", False), ("note.created", "4", False)]
    db.execute("UPDATE notes SET body = body || '!'")
    assert [(e.type, e.row_key, e.previous) for e in events()] == [
        ("note.updated", "1", {"body": "a"}),
        ("note.updated", "4", {"body": "d"}),
    ]
    db.execute("DELETE FROM notes")
    assert brief(events) == [("note.deleted", "1", False), ("note.deleted", "4", False)]
    db.execute("TRUNCATE notes")
    assert brief(events) == [("note.truncated", None, False)]


@MODES
def test_a_row_that_comes_under_it_is_created_and_one_that_leaves_is_deleted(db: Connection, events: Events, mode: str) -> None:
    """What the row becomes once it has left is nobody's business: the event has what it was."""
    capture(db, mode=mode)
    db.execute(
        "INSERT INTO notes VALUES (1, true, 1, 'shown'), (2, false, 1, 'hidden'), (3, true, 1, 'stays'), (4, false, 1, 'x')"
    )
    events()
    db.execute("UPDATE notes SET public = id IN (2, 3), body = 'secret ' || body")
    told = events()
    assert [(e.op, e.type, e.row_key, e.moved, e.data["body"], e.previous) for e in told] == [
        ("delete", "note.deleted", "1", True, "shown", None),
        ("insert", "note.created", "2", True, "secret hidden", None),
        ("update", "note.updated", "3", False, "secret stays", {"body": "stays"}),
    ]
    db.execute("UPDATE notes SET id = id + 10, body = '-'")
    assert [(e.type, e.row_key, e.previous) for e in events()] == [
        ("note.updated", "12", {"id": 2, "body": "secret hidden"}),
        ("note.updated", "13", {"id": 3, "body": "secret stays"}),
    ]


def test_what_is_taken_for_a_row_that_left__mutant_of_the_old_row_alone(db: Connection, events: Events, mutate: Mutate) -> None:
    """Were the old row alone asked, the new values of a row that has become private would go out."""
    mutate("side_sql", "rowhook.holds_sql(c, side_sql.row_name)", "'true'")
    capture(db)
    db.execute("INSERT INTO notes VALUES (1, true, 1, 'shown')")
    db.execute("UPDATE notes SET public = false, body = 'secret'")
    assert [e.data["body"] for e in events()] == ["shown", "secret"]


@MODES
def test_a_change_of_a_column_that_is_not_captured_moves_rows_too(db: Connection, events: Events, mode: str) -> None:
    capture(db, mode=mode, more=", exclude => '{public,owner}'")
    db.execute("INSERT INTO notes VALUES (1, true, 1, 'a'), (2, false, 1, 'b')")
    db.execute("UPDATE notes SET public = NOT public")
    assert brief(events) == [("note.created", "1", False), ("note.deleted", "1", True), ("note.created", "2", True)]
    db.execute("UPDATE notes SET owner = 2")
    assert brief(events) == []


@MODES
def test_beside_a_tenant(db: Connection, events: Events, mode: str) -> None:
    capture(db, mode=mode, more=", tenant => 'owner'")
    db.execute("INSERT INTO notes VALUES (1, true, 1, 'a'), (2, true, 1, 'b'), (3, false, 1, 'c'), (4, false, 1, 'd')")
    events()
    db.execute("UPDATE notes SET owner = 2, public = id IN (1, 3)")
    assert [(e.type, e.row_key, e.tenant, e.moved) for e in events()] == [
        ("note.deleted", "1", "1", True),
        ("note.created", "1", "2", True),
        ("note.deleted", "2", "1", True),
        ("note.created", "3", "2", True),
    ]


ODD = "at text, slot text, context text, chain text, data text, previous text, big text, old text, new text, op text"
ODD += ", i int, j int, t int"
NAMED = """at = 'y' AND slot = 'y' AND context = 'y' AND chain = 'y' AND data = 'y' AND previous = 'y' AND big = 'y' AND old = 'y'
           AND new.new = 'y' AND new.j = 1 AND t + i = 2 AND new.op = 'y' -- whatever they are called"""


@MODES
@pytest.mark.parametrize("more", ["", ", max_size => 10000"])
def test_columns_may_have_any_name(db: Connection, events: Events, mode: str, more: str) -> None:
    db.execute(f"DROP TABLE notes; CREATE TABLE notes (id int PRIMARY KEY, {ODD})")
    capture(db, NAMED, mode, more)
    row = ", ".join("1" if part.split()[1] == "int" else "'y'" for part in ODD.split(", "))
    db.execute(f"INSERT INTO notes VALUES (1, {row}), (2, {row.replace('y', 'n')})")
    db.execute("UPDATE notes SET op = CASE id WHEN 1 THEN 'n' ELSE op END, i = i")
    db.execute("UPDATE notes SET op = 'y', slot = slot || ''")
    db.execute("DELETE FROM notes")
    assert brief(events) == [
        ("note.created", "1", False),
        ("note.deleted", "1", True),
        ("note.created", "1", True),
        ("note.deleted", "1", False),
    ]


def test_partitions_and_rules_beside_it(db: Connection, events: Events) -> None:
    """A rule has a predicate of its own."""
    db.execute("DROP TABLE notes; CREATE TABLE notes (id int PRIMARY KEY, public boolean, body text) PARTITION BY LIST (id)")
    db.execute("CREATE TABLE notes_1 PARTITION OF notes FOR VALUES IN (1); CREATE TABLE notes_2 PARTITION OF notes DEFAULT")
    db.execute(CAPTURE, ["public"])
    db.execute("SELECT rowhook.rule('note.hidden', on_table => 'notes', op => 'insert', predicate => 'NOT new.public')")
    db.execute("INSERT INTO notes VALUES (1, true, 'a'), (2, false, 'b')")
    db.execute("UPDATE notes SET public = NOT public")
    assert brief(events) == [
        ("note.created", "1", False),
        ("note.hidden", "2", False),
        ("note.deleted", "1", True),
        ("note.created", "2", True),
    ]


def test_a_predicate_that_fails(db: Connection, events: Events) -> None:
    capture(db, "1 / owner > 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        db.execute("INSERT INTO notes VALUES (1, true, 0, 'a')")
    db.execute("SELECT rowhook.capture('notes', on_error => 'record')")
    db.execute("INSERT INTO notes VALUES (1, true, 0, 'a')")
    assert events() == []
    assert one(db, "SELECT message FROM rowhook.capture_failure") == "division by zero"


# --- kept, changed, refused --------------------------------------------------------------------------------


def test_it_is_kept_until_an_empty_one_takes_it_back(db: Connection, events: Events) -> None:
    assert one(db, CAPTURE, "public") == "installed"
    assert one(db, CAPTURE, "public") == "unchanged"
    assert one(db, "SELECT rowhook.capture('notes')") == "unchanged"
    assert one(db, "SELECT rowhook.capture('notes', exclude => '{owner}')") == "changed"
    assert db.execute("SELECT predicate, predicate_depends FROM rowhook.capture").fetchall() == [("public", "row")]
    db.execute("INSERT INTO notes VALUES (1, false, 1, 'a')")
    assert one(db, CAPTURE, "owner = 1") == "changed"
    assert one(db, CAPTURE, "") == "changed"
    assert db.execute("SELECT predicate, predicate_depends FROM rowhook.capture").fetchall() == [(None, None)]
    db.execute("INSERT INTO notes VALUES (2, false, 2, 'b')")
    assert brief(events) == [("note.created", "2", False)]


def test_predicates_that_are_refused(db: Connection) -> None:
    """Those that a rule refuses, but for such as are about a rule's rows."""
    db.execute("CREATE TABLE bills (amount numeric); CREATE TABLE users (id int)")
    db.execute("CREATE TYPE cadence AS ENUM ('ONCE')")
    db.execute("ALTER TABLE notes ADD amount numeric, ADD cadence cadence, ADD created_at timestamptz")
    db.execute("CREATE FUNCTION is_dear(numeric) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > 100'")
    db.execute("CREATE FUNCTION is_dear_than(numeric, integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > $2'")
    db.execute("CREATE OPERATOR <<< (FUNCTION = is_dear_than, LEFTARG = numeric, RIGHTARG = integer)")
    before = db.execute(TRACES).fetchall()
    more = [
        ("old.public", 'for table "old"'),
        ("'body' = ANY (changed)", '"changed" does not exist'),
        ("  ", "not an expression"),
    ]
    for predicate, said in [*((p, s) for p, s in REFUSED if p and s != "ambiguous"), *more]:
        message, hint = refused(db, CAPTURE, predicate)
        assert said in message and message.startswith("predicate: ") and hint, predicate
    assert db.execute(TRACES).fetchall() == before
    assert one(db, "SELECT to_regclass('bills') IS NOT NULL AND to_regclass('users') IS NOT NULL")


def test_it_runs_with_no_more_rights_than_captures_have(
    db: Connection, connect: Connect, new_role: Callable[..., str], events: Events
) -> None:
    """What lies of itself to be STABLE still can't read or write a thing."""
    role = new_role()
    db.execute("CREATE TABLE users (id int)")
    db.execute(f"GRANT INSERT ON notes TO {role}")
    capture(db)
    connect(user=role).execute("INSERT INTO notes VALUES (1, true, 1, 'a')")
    assert brief(events) == [("note.created", "1", False)]
    db.execute(SPY)
    db.execute(
        "CREATE FUNCTION thief() RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM public.grab(); RETURN true; END'"
    )
    db.execute("CREATE FUNCTION grab() RETURNS void LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.users; END'")
    for predicate in ("public.spy()", "public.thief()"):
        assert one(db, CAPTURE, predicate) == "changed"
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="table users"):
            db.execute("INSERT INTO notes VALUES (2, true, 1, 'b')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="table users"):
            db.execute("DELETE FROM notes")


DEPENDS = [
    ("public AND owner > 1 AND body ~ 'a' AND length(body) > 0", "row"),
    ("body IN ('a', 'b') AND new.* IS NOT NULL", "row"),
    ("now() > '2026-01-01'", "settings"),
    ("current_date > '2026-01-01'", "settings"),
    ("current_user = body", "settings"),
    ("body::timestamptz IS NOT NULL", "settings"),
    ("public.mine(body)", "functions"),
    ("body OPERATOR(public.===) 'a'", "functions"),
    ("body::public.short IS NOT NULL", "functions"),
]


def test_what_it_depends_on_is_told(db: Connection) -> None:
    db.execute("CREATE FUNCTION mine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'")
    db.execute("CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2'")
    db.execute("CREATE OPERATOR === (FUNCTION = same, LEFTARG = text, RIGHTARG = text)")
    db.execute("CREATE DOMAIN short AS text CHECK (public.mine(VALUE))")
    for predicate, depends in DEPENDS:
        db.execute(CAPTURE, [predicate])
        assert one(db, "SELECT predicate_depends FROM rowhook.capture") == depends, predicate


# --- verify, backfill, doctor ------------------------------------------------------------------------------


def test_verify_asks_for_events_of_those_rows_alone(db: Connection) -> None:
    capture(db)
    db.execute("INSERT INTO notes VALUES (1, true, 1, 'a'), (2, false, 1, 'b'), (3, true, 1, 'c'), (4, true, 1, 'd')")
    db.execute("UPDATE notes SET public = false WHERE id = 4")
    assert db.execute(VERDICTS).fetchall() == [("accounted", None, 2)]
    with db.transaction():
        db.execute("SET LOCAL session_replication_role = replica")
        db.execute("UPDATE notes SET public = true WHERE id = 2")
        db.execute("UPDATE notes SET public = false WHERE id = 1")
        db.execute("INSERT INTO notes VALUES (5, false, 1, 'e')")
    assert db.execute(VERDICTS).fetchall() == [("accounted", None, 1), ("ghost", "1", 1), ("missing", "2", 1)]


def test_verify_begins_anew_when_the_predicate_changes(db: Connection) -> None:
    capture(db)
    db.execute("INSERT INTO notes VALUES (1, true, 1, 'a'), (2, false, 1, 'b')")
    db.execute(CAPTURE, ["NOT public"])
    assert db.execute(VERDICTS).fetchall() == [("unproven", None, 1)]
    assert one(db, "SELECT rowhook.backfill('notes')") == 1
    db.execute("INSERT INTO notes VALUES (3, true, 1, 'a'), (4, false, 1, 'b')")
    assert db.execute(VERDICTS).fetchall() == [("accounted", None, 2)]


def test_backfill_sends_those_rows_alone(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO notes SELECT n, n % 10 = 0, 1, 'a' FROM generate_series(1, 2500) AS n")
    capture(db)
    assert one(db, "SELECT rowhook.backfill('notes', rows => 'id > 2000')") == 50
    assert [(e.op, int(e.row_key or 0)) for e in events()] == [("snapshot", n) for n in range(2010, 2510, 10)]


def test_verify_and_backfill_refuse_what_they_can_not_ask(db: Connection) -> None:
    capture(db, "now() > '2026-01-01'")
    message, _ = refused(db, "SELECT rowhook.verify('notes')")
    assert "depends on the clock or the session: now() > '2026-01-01'" in message
    assert one(db, "SELECT rowhook.backfill('notes')") == 0
    db.execute("CREATE FUNCTION mine() RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'")
    db.execute(CAPTURE, ["public.mine()"])
    for statement in ("SELECT rowhook.verify('notes')", "SELECT rowhook.backfill('notes')"):
        assert "with the rights of postgres: public.mine()" in refused(db, statement)[0]


def test_a_table_that_no_longer_fits_is_noticed(db: Connection) -> None:
    capture(db)
    problem = "SELECT rowhook.predicate_problem(c) FROM rowhook.capture AS c"
    assert one(db, problem) is None
    db.execute("ALTER TABLE notes RENAME COLUMN public TO shown")
    assert 'column "public" does not exist' in one(db, problem)
    assert one(db, CAPTURE, "shown") == "changed"
    assert one(db, problem) is None


def test_what_it_costs_is_measured(db: Connection) -> None:
    db.execute("INSERT INTO notes VALUES (1, true, 1, 'a')")
    costs = "SELECT c.op FROM rowhook.capture_plan('notes', predicate => 'public') AS p, rowhook.cost(p) AS c"
    assert db.execute(costs).fetchall() == [("insert",), ("update",), ("delete",)]
