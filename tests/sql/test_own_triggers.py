"""A table's own triggers may write the row that was just written: "created" must still come before "updated"."""

from __future__ import annotations

import pytest

from tests.conftest import Connection
from tests.sql.conftest import Events, Mutate, one

STAMP = """
CREATE TABLE notes (id int PRIMARY KEY, body text, stamp text);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
    UPDATE notes SET stamp = 'seen' WHERE stamp IS NULL;
    RETURN NULL;
END
$fn$;
"""
ROW_TRIGGER = "CREATE TRIGGER {} AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION stamp()"
STATEMENT_TRIGGER = "CREATE TRIGGER {} AFTER INSERT ON notes FOR EACH STATEMENT EXECUTE FUNCTION stamp()"

names = pytest.mark.parametrize("name", ["a_stamp", "z_stamp", '"A stamp"', '"0"'])


@pytest.fixture
def notes(conn: Connection) -> Connection:
    conn.execute(STAMP)
    return conn


def ops(notes: Connection, events: Events) -> list[str]:
    notes.execute("INSERT INTO notes VALUES (1, 'hello')")
    return [event.op for event in events()]


@names
def test_beside_an_after_row_trigger_of_the_user_created_precedes_updated(notes: Connection, events: Events, name: str) -> None:
    notes.execute(ROW_TRIGGER.format(name))
    notes.execute("SELECT rowhook.capture('notes')")
    assert one(notes, "SELECT mode FROM rowhook.capture") == "row"
    ours, first = notes.execute(
        "SELECT min(tgname) FILTER (WHERE tgname LIKE '%rowhook%'), min(tgname COLLATE \"C\") FROM pg_trigger"
        " WHERE tgrelid = 'notes'::regclass AND NOT tgisinternal AND tgtype & 1 = 1"
    ).fetchall()[0]
    assert ours == first
    assert ops(notes, events) == ["insert", "update"]


@names
def test_mutant__statement_mode_beside_it_tells_them_in_the_wrong_order(
    notes: Connection, events: Events, mutate: Mutate, name: str
) -> None:
    notes.execute(ROW_TRIGGER.format(name))
    mutate("capture_mode", "THEN 'row' ELSE", "THEN 'statement' ELSE")
    notes.execute("SELECT rowhook.capture('notes')")
    assert ops(notes, events) == ["update", "insert"]


def test_mutant__a_row_trigger_that_sorts_last_tells_them_in_the_wrong_order(notes: Connection, events: Events) -> None:
    notes.execute(ROW_TRIGGER.format("a_stamp"))
    notes.execute("SELECT rowhook.capture('notes')")
    notes.execute('ALTER TRIGGER "!rowhook_row" ON notes RENAME TO rowhook_row')
    assert ops(notes, events) == ["update", "insert"]


@names
def test_beside_an_after_statement_trigger_of_the_user_created_precedes_updated(
    notes: Connection, events: Events, name: str
) -> None:
    notes.execute(STATEMENT_TRIGGER.format(name))
    notes.execute("SELECT rowhook.capture('notes')")
    assert one(notes, "SELECT mode FROM rowhook.capture") == "statement"
    assert ops(notes, events) == ["insert", "update"]


def test_mutant__a_statement_trigger_that_sorts_last_tells_them_in_the_wrong_order(notes: Connection, events: Events) -> None:
    notes.execute(STATEMENT_TRIGGER.format("a_stamp"))
    notes.execute("SELECT rowhook.capture('notes')")
    notes.execute('ALTER TRIGGER "!rowhook_insert" ON notes RENAME TO rowhook_insert')
    assert ops(notes, events) == ["update", "insert"]


def test_a_trigger_that_came_later_is_noticed_when_the_table_is_captured_again(notes: Connection, events: Events) -> None:
    assert one(notes, "SELECT rowhook.capture('notes')") == "installed"
    notes.execute(ROW_TRIGGER.format("a_stamp"))
    assert one(notes, "SELECT rowhook.capture('notes')") == "changed"
    assert one(notes, "SELECT mode FROM rowhook.capture") == "row"
    assert ops(notes, events) == ["insert", "update"]
    assert one(notes, "SELECT rowhook.capture('notes')") == "unchanged"


@pytest.mark.parametrize(
    "trigger",
    [
        pytest.param("CREATE TRIGGER own BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION own()", id="before"),
        pytest.param("CREATE TRIGGER own AFTER TRUNCATE ON notes EXECUTE FUNCTION own()", id="truncate"),
        pytest.param("ALTER TABLE notes ADD CHECK (id > 0), ADD FOREIGN KEY (id) REFERENCES notes", id="internal"),
        pytest.param(ROW_TRIGGER.format("own") + "; ALTER TABLE notes DISABLE TRIGGER own", id="disabled"),
    ],
)
def test_other_triggers_do_not_cost_the_faster_mode(notes: Connection, trigger: str) -> None:
    notes.execute("CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; " + trigger)
    notes.execute("SELECT rowhook.capture('notes')")
    assert one(notes, "SELECT mode FROM rowhook.capture") == "statement"


def test_a_before_trigger_that_skips_rows_leaves_no_event_of_them(notes: Connection, events: Events) -> None:
    notes.execute("""
        CREATE FUNCTION odd_only() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END';
        SELECT rowhook.capture('notes');
        INSERT INTO notes SELECT n, 'x' FROM generate_series(1, 6) AS n;
        CREATE TRIGGER odd_only BEFORE INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION odd_only();
    """)
    events()
    notes.execute("UPDATE notes SET body = 'y'")
    notes.execute("INSERT INTO notes VALUES (7), (8)")
    assert [(e.op, e.row_key) for e in events()] == [
        ("update", "1"),
        ("update", "3"),
        ("update", "5"),
        ("insert", "7"),
    ]
