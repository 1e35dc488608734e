"""Whoever writes to a captured table, and however: what commits is captured, once, and the writer needs no right."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.sql.conftest import Event, Events, Mutate, one


@pytest.fixture
def db(conn: Connection, user_id: int) -> Connection:
    """FinMind with one user; expenses are captured."""
    return conn


def brief(told: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.type, event.row_key) for event in told]


def test_an_insert_carries_type_table_key_tenant_and_the_row(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (1, 99.5, 'Masala dosa')")
    (event,) = events()
    assert event[:6] == ("insert", "expense.created", "expenses", "1", "1", False)
    assert event.data["notes"] == "Masala dosa" and event.previous is None
    assert event.text == one(db, "SELECT row_to_json(expenses)::text FROM expenses")


def test_an_update_carries_the_new_row_and_the_old_values_of_what_changed(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (1, 99.5, 'Masala dosa')")
    db.execute("UPDATE expenses SET amount = 80, currency = 'EUR'")
    _, event = events()
    assert event[:6] == ("update", "expense.updated", "expenses", "1", "1", False)
    assert event.text == one(db, "SELECT row_to_json(expenses)::text FROM expenses")
    assert event.previous == {"amount": 99.5, "currency": "INR"}


def test_a_delete_carries_the_old_row(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 99.5)")
    row = one(db, "SELECT row_to_json(expenses)::text FROM expenses")
    db.execute("DELETE FROM expenses")
    _, event = events()
    assert event[:6] == ("delete", "expense.deleted", "expenses", "1", "1", False)
    assert event.text == row and event.previous is None


def test_an_update_that_changes_nothing_is_no_event(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (1, 1, 'a'), (1, 2, 'b')")
    events()
    db.execute("UPDATE expenses SET amount = amount, notes = notes")
    assert events() == []
    db.execute("UPDATE expenses SET notes = 'b'")
    assert brief(events()) == [("expense.updated", "1")]


def test_an_update_of_the_primary_key_is_one_event_that_tells_the_old_key(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    events()
    db.execute("UPDATE expenses SET id = 77")
    (event,) = events()
    assert (event.type, event.row_key, event.previous) == ("expense.updated", "77", {"id": 1})


def test_a_truncate_is_an_event_without_data(db: Connection, events: Events) -> None:
    db.execute("TRUNCATE expenses")
    (event,) = events()
    assert event == ("truncate", "expense.truncated", "expenses", None, None, False, None, None, None)


def test_a_row_that_moves_to_another_tenant_is_deleted_for_one_and_created_for_the_other(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO users (email, password_hash) VALUES ('b@example.com', 'x')")
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 5), (1, 6)")
    events()
    db.execute("UPDATE expenses SET user_id = 2, amount = 7 WHERE id = 1")
    deleted, created = events()
    assert deleted[:6] == ("delete", "expense.deleted", "expenses", "1", "1", True)
    assert created[:6] == ("insert", "expense.created", "expenses", "1", "2", True)
    assert (deleted.data["amount"], created.data["amount"]) == (5, 7)
    assert deleted.previous is None and created.previous is None


def test_a_change_of_tenant_or_key_is_an_event_even_if_the_payload_leaves_them_out(db: Connection, events: Events) -> None:
    db.execute("SELECT rowhook.capture('expenses', include => '{amount}')")
    db.execute("INSERT INTO users (email, password_hash) VALUES ('b@example.com', 'x')")
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 5)")
    events()
    db.execute("UPDATE expenses SET user_id = 2")
    assert [(e.op, e.tenant, e.moved) for e in events()] == [("delete", "1", True), ("insert", "2", True)]
    db.execute("UPDATE expenses SET id = 9")
    assert [(e.op, e.row_key, e.data, e.previous) for e in events()] == [("update", "9", {"amount": 5}, {})]


def test_psql(cluster: Cluster, finmind: str, user_id: int, events: Events) -> None:
    cluster.run("psql", "-qX", "-v", "ON_ERROR_STOP=1", finmind, "-c", "INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert brief(events()) == [("expense.created", "1")]


def test_copy(db: Connection, events: Events) -> None:
    with db.cursor() as cursor, cursor.copy("COPY expenses (user_id, amount) FROM STDIN") as copy:
        for amount in range(100):
            copy.write_row((1, amount))
    told = events()
    assert [event.data["amount"] for event in told] == list(range(100))


def test_one_insert_of_many_rows(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1), (1, 2), (1, 3)")
    assert brief(events()) == [("expense.created", str(key)) for key in (1, 2, 3)]


def test_two_thousand_rows_in_one_transaction(db: Connection, events: Events) -> None:
    with db.transaction(), db.cursor() as cursor:
        cursor.executemany("INSERT INTO expenses (user_id, amount) VALUES (1, %s)", [(n,) for n in range(2000)])
    told = events()
    assert [int(event.row_key or 0) for event in told] == list(range(1, 2001))
    assert one(db, "SELECT count(DISTINCT xid) FROM rowhook.event") == 1


def test_on_conflict_do_update_tells_inserted_from_updated(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    events()
    db.execute(
        "INSERT INTO expenses (id, user_id, amount) VALUES (1, 1, 10), (50, 1, 20)"
        " ON CONFLICT (id) DO UPDATE SET amount = excluded.amount"
    )
    told = {event.type: event for event in events()}
    assert told["expense.created"].row_key == "50"
    assert (told["expense.updated"].row_key, told["expense.updated"].previous) == ("1", {"amount": 1.00})


def test_on_conflict_do_nothing_and_an_update_to_the_same_are_silent(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (id, user_id, amount) VALUES (1, 1, 10)")
    events()
    db.execute("INSERT INTO expenses (id, user_id, amount) VALUES (1, 1, 11) ON CONFLICT DO NOTHING")
    db.execute(
        "INSERT INTO expenses (id, user_id, amount) VALUES (1, 1, 10) ON CONFLICT (id) DO UPDATE SET amount = excluded.amount"
    )
    assert events() == []


def test_merge_tells_all_three(db: Connection, events: Events) -> None:
    if db.info.server_version < 150000:
        return
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1), (1, 2)")
    events()
    db.execute("""
        MERGE INTO expenses AS e USING (VALUES (1, 0), (2, 20), (30, 30)) AS s (id, amount) ON e.id = s.id
        WHEN MATCHED AND s.amount = 0 THEN DELETE
        WHEN MATCHED THEN UPDATE SET amount = s.amount
        WHEN NOT MATCHED THEN INSERT (id, user_id, amount) VALUES (s.id, 1, s.amount)
    """)
    assert sorted(brief(events())) == [
        ("expense.created", "30"),
        ("expense.deleted", "1"),
        ("expense.updated", "2"),
    ]


def test_a_category_that_goes_updates_its_expenses(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO categories (user_id, name) VALUES (1, 'Food'), (1, 'Rent')")
    db.execute("INSERT INTO expenses (user_id, category_id, amount) VALUES (1, 1, 1), (1, 2, 2), (1, 1, 3)")
    events()
    db.execute("DELETE FROM categories WHERE name = 'Food'")
    told = events()
    assert brief(told) == [("expense.updated", "1"), ("expense.updated", "3")]
    assert all(e.previous == {"category_id": 1} and e.data["category_id"] is None for e in told)


def test_a_user_who_goes_deletes_their_expenses(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1), (1, 2)")
    events()
    db.execute("DELETE FROM users")
    assert brief(events()) == [("expense.deleted", "1"), ("expense.deleted", "2")]


def test_what_rolls_back_is_not_captured(db: Connection, events: Events) -> None:
    with db.transaction(force_rollback=True):
        db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1), (99, 1)")
    assert events() == []


def test_of_savepoints_only_what_was_kept_is_captured(db: Connection, events: Events) -> None:
    with db.transaction():
        db.execute("INSERT INTO expenses (id, user_id, amount) VALUES (1, 1, 1)")
        with db.transaction(force_rollback=True):
            db.execute("INSERT INTO expenses (id, user_id, amount) VALUES (2, 1, 1)")
        with db.transaction():
            db.execute("INSERT INTO expenses (id, user_id, amount) VALUES (3, 1, 1)")
    assert brief(events()) == [("expense.created", "1"), ("expense.created", "3")]
    assert one(db, "SELECT count(DISTINCT xid) FROM rowhook.event") == 1


def test_what_is_not_committed_yet_is_seen_by_nobody(db: Connection, connect: Connect, events: Events) -> None:
    writer = connect()
    with writer.transaction():
        writer.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
        assert events() == []
    assert len(events()) == 1


APPLICATION = """
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON expenses TO {0};
GRANT USAGE ON SEQUENCE expenses_id_seq TO {0}
"""
WRITES = [
    "INSERT INTO expenses (user_id, amount) VALUES (1, 1)",
    "UPDATE expenses SET amount = 2",
    "DELETE FROM expenses",
    "TRUNCATE expenses",
]


def test_a_writer_without_any_right_on_the_schema_is_captured(
    db: Connection, connect: Connect, events: Events, new_role: Callable[..., str]
) -> None:
    role = new_role()
    db.execute(APPLICATION.format(role))
    assert not one(db, "SELECT has_schema_privilege(%s, 'rowhook', 'USAGE')", role)
    writer = connect(user=role)
    for statement in WRITES:
        writer.execute(statement)
    assert [event.op for event in events()] == ["insert", "update", "delete", "truncate"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        writer.execute("SELECT * FROM rowhook.event")


def test_mutant__a_function_that_runs_as_the_writer_fails_it(
    db: Connection, connect: Connect, mutate: Mutate, new_role: Callable[..., str]
) -> None:
    role = new_role()
    db.execute(APPLICATION.format(role))
    mutate(r"capture_\d+_insert", "SECURITY DEFINER", "SECURITY INVOKER")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connect(user=role).execute(WRITES[0])


def test_the_writer_is_captured_where_public_may_execute_nothing(
    db: Connection, connect: Connect, events: Events, new_role: Callable[..., str]
) -> None:
    """Hardened databases take from PUBLIC what it has by default."""
    role = new_role()
    db.execute(APPLICATION.format(role))
    db.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rowhook FROM PUBLIC")
    db.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    db.execute("SELECT rowhook.capture('expenses', type_prefix => 'cost')")
    writer = connect(user=role)
    for statement in WRITES:
        writer.execute(statement)
    assert len(events()) == 4


def test_row_level_security_of_the_table_does_not_matter(
    db: Connection, connect: Connect, events: Events, new_role: Callable[..., str]
) -> None:
    role = new_role()
    db.execute(APPLICATION.format(role))
    db.execute("""
        ALTER TABLE expenses ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY cheap ON expenses USING (amount < 10) WITH CHECK (amount < 100);
    """)
    writer = connect(user=role)
    for statement in WRITES[:2]:
        writer.execute(statement)
    assert [event.op for event in events()] == ["insert", "update"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_stricter_isolation_is_captured_and_fails_no_more_often(
    db: Connection, connect: Connect, events: Events, level: str
) -> None:
    writers = [connect(autocommit=False) for _ in range(4)]
    for writer in writers:
        writer.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    for number, writer in enumerate(writers):
        writer.execute("INSERT INTO expenses (user_id, amount) VALUES (1, %s)", [number])
    for writer in reversed(writers):
        writer.commit()
    assert [event.data["amount"] for event in events()] == [0, 1, 2, 3]


def test_an_empty_search_path_changes_nothing(db: Connection, events: Events) -> None:
    db.execute("SET search_path = ''")
    db.execute("INSERT INTO public.expenses (user_id, amount) VALUES (1, 1)")
    assert brief(events()) == [("expense.created", "1")]


# --- hijackers ---------------------------------------------------------------------------------------------

TRAPS = """
CREATE TEMP TABLE event (occurred_at timestamptz, slot smallint, kept_in smallint, op text, type text, table_name text,
                         row_key text, tenant text, data json, previous json, moved boolean, context json, looped boolean);
CREATE TEMP TABLE doorbell (x int);
CREATE FUNCTION pg_temp.row_to_json(anyelement) RETURNS json LANGUAGE sql AS $fn$ SELECT '{"stolen": 1}'::json $fn$;
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $fn$ SELECT 'infinity'::timestamptz $fn$;
CREATE FUNCTION pg_temp.differ(text, text) RETURNS boolean LANGUAGE sql AS $fn$ SELECT false $fn$;
CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.differ);
SET search_path = pg_temp, rowhook, public;
"""


def test_temporary_tables_functions_and_operators_of_the_writer_steal_nothing(
    db: Connection, connect: Connect, events: Events, new_role: Callable[..., str]
) -> None:
    role = new_role()
    db.execute(APPLICATION.format(role))
    writer = connect(user=role)
    writer.execute(TRAPS)
    for statement in WRITES[:3]:
        writer.execute(statement)
    told = events()
    assert [event.op for event in told] == ["insert", "update", "delete"]
    assert all("stolen" not in event.data for event in told)
    assert one(writer, "SELECT count(*) FROM pg_temp.event") == 0


def test_mutant__unqualified_names_without_a_pinned_search_path_are_stolen(
    db: Connection, connect: Connect, events: Events, mutate: Mutate, new_role: Callable[..., str]
) -> None:
    role = new_role()
    db.execute(APPLICATION.format(role))
    db.execute(f"GRANT USAGE ON SCHEMA rowhook TO {role}")
    mutate(r"capture_\d+_insert", "SET search_path TO 'pg_catalog', 'pg_temp'", "SET work_mem TO '4MB'")
    mutate(r"capture_\d+_insert", "INTO rowhook.event", "INTO event")
    writer = connect(user=role)
    writer.execute(TRAPS)
    writer.execute("GRANT INSERT ON event TO PUBLIC")
    writer.execute(WRITES[0])
    assert events() == []
    assert one(writer, "SELECT count(*) FROM pg_temp.event") == 1
