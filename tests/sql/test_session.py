"""What a writer's session says of itself; who may write uncaptured; the guard against loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Connect, Connection
from tests.sql.conftest import Events, one

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CONTEXT = "SELECT context FROM rowhook.event ORDER BY id"


@pytest.fixture
def db(conn: Connection, user_id: int) -> Connection:
    """FinMind with one user; expenses are captured."""
    return conn


def write(conn: Connection, **settings: str) -> None:
    """One insert in a transaction with these settings."""
    with conn.transaction():
        for name, value in settings.items():
            conn.execute("SELECT set_config(%s, %s, true)", [f"rowhook.{name}", value])
        conn.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")


def contexts(conn: Connection) -> list[Any]:
    return [context for (context,) in conn.execute(CONTEXT).fetchall()]


def test_a_session_without_settings_has_no_context(db: Connection) -> None:
    write(db)
    write(db, actor="alice")
    write(db)  # the setting is there now, and empty
    assert contexts(db) == [None, {"actor": "alice"}, None]


def test_all_that_it_says_is_kept_with_each_event(db: Connection) -> None:
    db.execute("SELECT rowhook.rule('expense.any', on_table => 'expenses', op => 'insert', predicate => 'true')")
    given = {"actor": "alice", "correlation_id": "c-1", "traceparent": TRACE}
    write(db, **given, context='{"ip": "::1", "n": 1.50, "actor": "not this one", "none": null}')
    expected = {"ip": "::1", "n": 1.5, "none": None, **given}
    assert contexts(db) == [expected, expected]
    with db.transaction():
        db.execute("SET LOCAL rowhook.actor = 'bob'")
        for statement in (
            "UPDATE expenses SET amount = 2",
            "DELETE FROM expenses",
            "TRUNCATE expenses",
            "SELECT rowhook.emit('a.b')",
        ):
            db.execute(statement)
    assert contexts(db)[2:] == [{"actor": "bob"}] * 4


MALFORMED: list[tuple[dict[str, str], Any]] = [
    ({"context": "no json"}, {}),
    ({"context": "[1]"}, {}),
    ({"context": "null"}, {}),
    ({"context": r'{"a": "\u0000"}'}, {}),
    ({"context": '{"a": "' + "x" * 5000 + '"}', "actor": "alice"}, {"actor": "alice"}),
    ({"traceparent": "00-nonsense-01", "correlation_id": "c"}, {"correlation_id": "c"}),
]


def test_what_is_malformed_is_left_out_and_said_and_the_write_goes_on(db: Connection) -> None:
    for settings, kept in MALFORMED:
        write(db, **settings)
        context = contexts(db)[-1]
        (ignored,) = context.pop("ignored")
        assert ignored.startswith(("rowhook.context is not", "rowhook.traceparent is not"))
        assert context == kept


def test_long_names_are_cut(db: Connection) -> None:
    write(db, actor="ä" * 500, correlation_id="x" * 500)
    assert contexts(db) == [{"actor": "ä" * 200, "correlation_id": "x" * 200}]


# --- skip --------------------------------------------------------------------------------------------------


def test_skip_is_for_members_of_rowhook_skip_by_who_logged_in(
    db: Connection, connect: Connect, new_role: Callable[..., str], events: Events
) -> None:
    may, may_not = new_role(), new_role()
    for role in (may, may_not):
        db.execute(f"GRANT INSERT ON expenses TO {role}; GRANT USAGE ON SEQUENCE expenses_id_seq TO {role}")
    db.execute(f"GRANT rowhook_skip TO {may}")
    write(connect(user=may), skip="on")
    assert events() == []
    write(connect(user=may), skip="off")
    write(connect(user=may))
    write(connect(user=may_not), skip="on")
    assert len(events()) == 3
    admin = connect()
    admin.execute(f"SET ROLE {may_not}")
    write(admin, skip="on")
    assert events() == [], "who logged in is a superuser, whatever it is now"


@pytest.mark.parametrize("on_error", ["abort", "record"])
def test_skip_skips_every_operation_and_rules(db: Connection, events: Events, on_error: str) -> None:
    db.execute("SELECT rowhook.capture('expenses', on_error => %s)", [on_error])
    db.execute("SELECT rowhook.rule('expense.any', on_table => 'expenses', op => 'insert', predicate => 'true')")
    with db.transaction():
        db.execute("SET LOCAL rowhook.skip = on")
        for statement in (
            "INSERT INTO expenses (user_id, amount) VALUES (1, 1)",
            "UPDATE expenses SET amount = 2",
            "TRUNCATE expenses",
        ):
            db.execute(statement)
    assert events() == []
    write(db)
    assert len(events()) == 2


# --- loops -------------------------------------------------------------------------------------------------

LOOPED = """
SELECT row_key, type, count(*) FILTER (WHERE looped IS NULL), count(*) FILTER (WHERE looped)
  FROM rowhook.event GROUP BY 1, 2 ORDER BY 1, 2
"""


def test_a_chain_that_comes_by_a_row_too_often_is_marked(db: Connection) -> None:
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1), (1, 1)")
    db.execute("TRUNCATE rowhook.event")
    for turn in range(25):
        with db.transaction():
            db.execute("SET LOCAL rowhook.correlation_id = 'c'")
            db.execute("UPDATE expenses SET amount = amount + 1 WHERE id = 1 OR %s", [turn < 5])
    db.execute("UPDATE expenses SET amount = amount + 1")  # of no chain
    with db.transaction():
        db.execute("SET LOCAL rowhook.correlation_id = 'another'")
        db.execute("UPDATE expenses SET amount = amount + 1")
        db.execute("DELETE FROM expenses")
    assert db.execute(LOOPED).fetchall() == [
        ("1", "expense.deleted", 1, 0),
        ("1", "expense.updated", 22, 5),
        ("2", "expense.deleted", 1, 0),
        ("2", "expense.updated", 7, 0),
    ]


def test_how_often_is_the_databases_to_say(db: Connection, dsn: str) -> None:
    for _ in range(3):
        with db.transaction():
            db.execute("SET LOCAL rowhook.correlation_id = 'c'")
            db.execute("SET LOCAL rowhook.loop_limit = 1")
            db.execute("SELECT rowhook.capture('expenses', on_error => 'record')")
            db.execute("INSERT INTO expenses (id, user_id, amount) VALUES (1, 1, 1)")
            db.execute("DELETE FROM expenses")
    assert db.execute(LOOPED).fetchall() == [("1", "expense.created", 1, 2), ("1", "expense.deleted", 1, 2)]


def test_chains_of_yesterday_are_forgotten_by_the_way(db: Connection) -> None:
    db.execute("""
        INSERT INTO rowhook.chain (correlation_id, type, table_name, row_key, last_at)
        SELECT i::text, 'a', 'b', 'c', clock_timestamp() - i * interval '1 hour' FROM generate_series(21, 30) AS i
    """)
    for _ in range(5):
        write(db, correlation_id="c")
    assert one(db, "SELECT count(*) FROM rowhook.chain WHERE table_name = 'b'") == 3
    assert one(db, "SELECT count(*) FROM rowhook.chain WHERE table_name = 'expenses'") == 5
