"""The recipe finmind: FinMind's seven events from a replay of its writers by SQL alone, counted exactly."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from relay import recipes
from relay.migrations import rollback
from tests.conftest import Connect, Connection
from tests.sql.conftest import Event, Events, one
from tests.sql.test_capture_options import TRACES

JANUARY, FEBRUARY = "2026-01-15", "2026-02-15"
EXPENSE = "INSERT INTO expenses (user_id, amount, spent_at) VALUES (%s, %s, %s)"
LEFT_BEHIND = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'rowhook'::regnamespace AND relname LIKE 'budget%'
UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'rowhook'::regnamespace AND proname ~ 'budget|finmind'
UNION ALL SELECT tgname FROM pg_trigger WHERE tgrelid = 'expenses'::regclass AND tgname ~ 'budget'
UNION ALL SELECT attname FROM pg_attribute WHERE attrelid = 'expenses'::regclass AND attacl::text <> '{}'
"""


def install(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        recipes.install(connection, "finmind")


@pytest.fixture
def db(finmind_dsn: str, conn: Connection) -> Iterator[Connection]:
    """FinMind with three users, and the recipe."""
    install(finmind_dsn)
    for name in "abc":
        conn.execute("INSERT INTO users (email, password_hash) VALUES (%s, 'x')", [name])
    yield conn
    assert one(conn, "SELECT count(*) FROM rowhook.capture_failure") == 0
    assert one(conn, "SELECT count(*) FROM rowhook.budget_touch") == 0


AUDIT = "SELECT who, via, action, subject, before, after FROM rowhook.admin_log ORDER BY id"


def test_what_a_recipe_changes_is_on_record_once_and_in_its_own_transaction(db: Connection, finmind_dsn: str) -> None:
    told = db.execute(AUDIT).fetchall()
    assert {(who, via, before) for who, via, _, _, before, _ in told} == {("recipe finmind", "run", None)}
    captured = [subject for _, _, action, subject, _, _ in told if action == "capture.install"]
    ruled = [(subject, after["type"]) for _, _, action, subject, _, after in told if action == "rule.install"]
    assert captured == [table for (table,) in db.execute("SELECT table_name::text FROM rowhook.capture ORDER BY 1")]
    assert ruled == db.execute("SELECT table_name::text, type FROM rowhook.rule ORDER BY 1, 2").fetchall()
    assert ("bills", "bill.paid") in ruled and "expenses" in captured
    assert one(db, "SELECT count(DISTINCT xmin::text) FROM rowhook.admin_log") == 1
    install(finmind_dsn)
    assert db.execute(AUDIT).fetchall() == told, "nothing was changed"
    db.execute("SELECT rowhook.unrule('bill.paid', 'bills')")
    install(finmind_dsn)
    assert [(action, after["type"]) for _, _, action, _, _, after in db.execute(AUDIT).fetchall()[len(told) :]] == [
        ("rule.install", "bill.paid")
    ]


def exceeded(events: Events) -> list[tuple[Any, ...]]:
    """Of whom, in which month, how much was spent."""
    return [(e.tenant, e.data["month"], e.data["spent"]) for e in events() if e.type == "budget.exceeded"]


# --- the seven, from a replay ------------------------------------------------------------------------------


def test_captures_by_other_names_are_not_taken_for_its_own(finmind_dsn: str, conn: Connection) -> None:
    for table in ("expenses", "bills", "reminders"):
        conn.execute("SELECT rowhook.capture(%s::regclass, name => 'audit')", [table])
    install(finmind_dsn)
    captures = "SELECT table_name::text, tenant, events FROM rowhook.capture WHERE name = '' ORDER BY 1"
    assert conn.execute(captures).fetchall() == [
        ("bills", "user_id", ["insert"]),
        ("expenses", "user_id", ["insert", "update", "delete"]),
        ("reminders", "user_id", []),
    ]


def test_finminds_writers_make_its_seven_events_and_no_others(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO rowhook.budget VALUES (1, 1000)")
    # POST, PATCH (without a real change, too), DELETE of /expenses
    db.execute(EXPENSE, [1, 600, JANUARY])
    db.execute("UPDATE expenses SET amount = 650, notes = 'rent' WHERE id = 1")
    db.execute("UPDATE expenses SET amount = 650 WHERE id = 1")
    db.execute("DELETE FROM expenses WHERE id = 1")
    # A CSV import, and the recurring generator: batches in one transaction
    db.execute("INSERT INTO categories (user_id, name) VALUES (1, 'Food')")
    imported = (
        "INSERT INTO expenses (user_id, category_id, amount, spent_at) SELECT 1, 1, 1, '2026-01-01' FROM generate_series(1, 2000)"
    )
    db.execute(imported)
    db.execute("DELETE FROM categories")  # an update of each
    # Bills: created, edited, paid, paid once and for all
    db.execute("""
        INSERT INTO bills (user_id, name, amount, next_due_date, cadence)
        VALUES (1, 'rent', 600, '2026-01-31', 'MONTHLY'), (2, 'dentist', 80, '2026-01-10', 'ONCE'),
               (2, 'phone', 20, '2026-01-05', 'WEEKLY')
    """)
    db.execute("UPDATE bills SET amount = amount + 1, name = name || '!', autopay_enabled = true")
    for _ in range(3):
        db.execute("UPDATE bills SET next_due_date = next_due_date + interval '1 month' WHERE cadence = 'MONTHLY'")
    db.execute("UPDATE bills SET active = false WHERE cadence = 'ONCE'")
    db.execute("UPDATE bills SET active = false WHERE cadence = 'WEEKLY'")  # switched off, not paid
    db.execute("UPDATE bills SET next_due_date = '2026-01-01' WHERE cadence = 'MONTHLY'")  # put right
    # Reminders: planned, changed, sent, changed
    db.execute("INSERT INTO reminders (user_id, bill_id, message, send_at) SELECT user_id, id, name, now() FROM bills")
    db.execute("UPDATE reminders SET message = 'soon'")
    db.execute("UPDATE reminders SET sent = true WHERE user_id = 2")
    db.execute("UPDATE reminders SET sent = true, channel = 'whatsapp'")
    db.execute("DELETE FROM users WHERE id = 1")  # and all that is theirs
    told = events()
    assert Counter(event.type for event in told) == {
        "expense.created": 1 + 2000,
        "expense.updated": 1 + 2000,
        "expense.deleted": 1 + 2000,
        "budget.exceeded": 1,
        "bill.created": 3,
        "bill.paid": 3 + 1,
        "reminder.fired": 3,
    }
    assert all(event.tenant == str(event.data["user_id"]) for event in told)
    paid = [(e.data["name"], e.previous) for e in told if e.type == "bill.paid"]
    assert paid == [
        *[("rent!", {"next_due_date": day}) for day in ("2026-01-31", "2026-02-28", "2026-03-28")],
        ("dentist!", {"active": True}),
    ]
    (over,) = [event for event in told if event.type == "budget.exceeded"]
    assert over == Event(
        op="rule",
        type="budget.exceeded",
        table_name="rowhook.budget",
        row_key='["1", "2026-01"]',
        tenant="1",
        moved=False,
        data={"user_id": 1, "month": "2026-01", "monthly_limit": 1000.0, "spent": 2000.0},
        previous=None,
        text='{"user_id" : 1, "month" : "2026-01", "monthly_limit" : 1000.00, "spent" : 2000.00}',
    )


# --- budgets -----------------------------------------------------------------------------------------------


def test_a_crossing_is_told_once_and_anew_after_it_was_undone(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO rowhook.budget VALUES (1, 100)")
    steps: list[tuple[str, list[tuple[Any, ...]]]] = [
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 100, '{JANUARY}')", []),  # at the limit is not over it
        (f"INSERT INTO expenses (user_id, amount, spent_at, expense_type) VALUES (1, 9, '{JANUARY}', 'INCOME')", []),
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (2, 500, '{JANUARY}')", []),  # has no budget
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 1, '{JANUARY}')", [("1", "2026-01", 101)]),
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 1, '{JANUARY}')", []),  # told already
        ("UPDATE expenses SET notes = 'x'", []),
        ("UPDATE expenses SET expense_type = 'EXPENSE'", []),
        ("DELETE FROM expenses WHERE amount <= 9", []),  # 100 again: not over it any more
        ("UPDATE expenses SET amount = 150 WHERE user_id = 1", [("1", "2026-01", 150)]),
        (f"UPDATE expenses SET spent_at = '{FEBRUARY}'", [("1", "2026-02", 150)]),  # and January is free
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 101, '{JANUARY}')", [("1", "2026-01", 101)]),
        ("UPDATE expenses SET user_id = 3 WHERE user_id = 1", []),  # has no budget
        ("UPDATE rowhook.budget SET monthly_limit = 200", []),
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 150, '{JANUARY}')", []),
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 51, '{JANUARY}')", [("1", "2026-01", 201)]),
        ("TRUNCATE expenses", []),
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 201, '{JANUARY}')", [("1", "2026-01", 201)]),
        ("UPDATE rowhook.budget SET monthly_limit = 300", []),  # raised: January is not over it any more
        (f"INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 100, '{JANUARY}')", [("1", "2026-01", 301)]),
        ("DELETE FROM users WHERE id = 1", []),
    ]
    for statement, expected in steps:
        db.execute(statement)
        assert exceeded(events) == expected, statement


def test_a_transaction_is_judged_by_what_it_ends_with(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO rowhook.budget VALUES (1, 100), (2, 100)")
    with db.transaction():
        db.execute(EXPENSE, [1, 200, JANUARY])
        db.execute("DELETE FROM expenses")
        db.execute(EXPENSE, [2, 60, JANUARY])
        with db.transaction(force_rollback=True):
            db.execute(EXPENSE, [1, 200, JANUARY])
        db.execute(EXPENSE, [2, 60, JANUARY])
        db.execute(EXPENSE, [2, 60, JANUARY])
    assert exceeded(events) == [("2", "2026-01", 180)]
    with db.transaction(force_rollback=True):
        db.execute(EXPENSE, [1, 200, JANUARY])
    assert exceeded(events) == []


def test_a_limit_that_this_month_has_passed_is_told_and_of_months_gone_by_it_is_not(db: Connection, events: Events) -> None:
    db.execute("INSERT INTO expenses (user_id, amount, spent_at) VALUES (1, 200, current_date), (1, 200, %s)", [JANUARY])
    db.execute("INSERT INTO rowhook.budget VALUES (1, 300)")
    assert exceeded(events) == []
    db.execute("UPDATE rowhook.budget SET monthly_limit = 100")
    ((tenant, month, _),) = exceeded(events)
    assert (tenant, month) == ("1", one(db, "SELECT to_char(current_date, 'YYYY-MM')"))
    db.execute(EXPENSE, [1, 1, JANUARY])
    db.execute("UPDATE rowhook.budget SET monthly_limit = 90")
    assert exceeded(events) == []


def test_two_writers_that_together_cross_make_one_event(db: Connection, connect: Connect, events: Events) -> None:
    """Neither sees the other's row when it writes; the second commit waits for the first and sees it then."""
    db.execute("INSERT INTO rowhook.budget VALUES (1, 100)")
    first, second = connect(autocommit=False), connect(autocommit=False)
    for writer in (first, second):
        writer.execute(EXPENSE, [1, 60, JANUARY])
        assert one(writer, "SELECT sum(amount) FROM expenses") == 60
    first.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as a commit does, with the end of it held back
    committing = threading.Thread(target=second.commit)
    committing.start()
    waits = "SELECT %s = ANY (pg_blocking_pids(%s))"
    deadline = time.monotonic() + 30
    while not one(db, waits, first.info.backend_pid, second.info.backend_pid):
        assert time.monotonic() < deadline
    first.commit()
    committing.join()
    assert exceeded(events) == [("1", "2026-01", 120)]


def test_a_commit_waits_only_for_another_commit_of_the_same_user(db: Connection, connect: Connect, events: Events) -> None:
    """An open transaction of the same user stands in nobody's way, whatever it wrote."""
    db.execute("INSERT INTO rowhook.budget VALUES (1, 100), (2, 100)")
    idle, other = connect(autocommit=False), connect(autocommit=False)
    idle.execute(EXPENSE, [1, 60, JANUARY])
    idle.execute(EXPENSE, [2, 60, JANUARY])
    other.execute("SET lock_timeout = '2s'")
    other.execute(EXPENSE, [2, 60, JANUARY])
    other.execute(EXPENSE, [1, 60, JANUARY])
    other.commit()
    assert exceeded(events) == []
    idle.commit()
    assert sorted(exceeded(events)) == [("1", "2026-01", 120), ("2", "2026-01", 120)]


def test_eight_writers_at_once(db: Connection, connect: Connect, finmind_dsn: str, events: Events) -> None:
    """Each month of each user is crossed once, whoever of them does it and however they come together."""
    users, limit = (1, 2, 3), 500
    for user in users:
        db.execute("INSERT INTO rowhook.budget VALUES (%s, %s)", [user, limit])
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        chance = random.Random(seed)
        try:
            with psycopg.connect(finmind_dsn) as connection:
                for _ in range(40):
                    for _ in range(chance.randint(1, 3)):
                        day = f"2026-0{chance.randint(1, 2)}-1{chance.randint(0, 9)}"
                        connection.execute(EXPENSE, [chance.choice(users), chance.randint(1, 20), day])
                    connection.commit()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    months = db.execute("SELECT user_id::text, to_char(spent_at, 'YYYY-MM') FROM expenses GROUP BY 1, 2").fetchall()
    assert len(months) == 6
    told = exceeded(events)
    assert sorted((tenant, month) for tenant, month, _ in told) == sorted(months)
    assert all(spent > limit for *_, spent in told)
    assert one(db, "SELECT count(*) FROM rowhook.event WHERE type = 'expense.created'") == one(
        db, "SELECT count(*) FROM expenses"
    )


def test_mutant__without_the_lock_two_that_cross_together_are_missed(db: Connection, connect: Connect, events: Events) -> None:
    """The second commit would not wait: it sums without the first one's row, which is not committed yet."""
    body = one(db, "SELECT pg_get_functiondef('rowhook.budget_committed'::regproc)")
    assert " FOR UPDATE;" in body
    db.execute(body.replace(" FOR UPDATE;", ";"))
    db.execute("INSERT INTO rowhook.budget VALUES (1, 100)")
    first, second = connect(autocommit=False), connect(autocommit=False)
    for writer in (first, second):
        writer.execute(EXPENSE, [1, 60, JANUARY])
        writer.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as a commit does, with the end of it held back
    first.commit()
    second.commit()
    assert exceeded(events) == []


# --- installing --------------------------------------------------------------------------------------------


def test_installing_again_changes_nothing_and_locks_nothing(db: Connection, finmind_dsn: str, connect: Connect) -> None:
    before = db.execute(TRACES).fetchall(), db.execute("SELECT oid FROM pg_trigger ORDER BY 1").fetchall()
    writer = connect(autocommit=False)
    writer.execute(EXPENSE, [1, 1, JANUARY])
    writer.execute("UPDATE bills SET amount = 1")
    install(finmind_dsn)
    assert (db.execute(TRACES).fetchall(), db.execute("SELECT oid FROM pg_trigger ORDER BY 1").fetchall()) == before


def test_what_an_operator_chose_stays(finmind_dsn: str, conn: Connection) -> None:
    conn.execute("SELECT rowhook.capture('bills', type_prefix => 'invoice', exclude => '{name}')")
    conn.execute("SELECT rowhook.rule('bill.paid', on_table => 'bills', op => 'update', predicate => 'new.amount = 0')")
    install(finmind_dsn)
    chosen = "SELECT type_prefix, exclude, tenant, events FROM rowhook.capture WHERE table_name = 'bills'::regclass"
    assert conn.execute(chosen).fetchall() == [("invoice", ["name"], None, ["insert", "update", "delete", "truncate"])]
    assert one(conn, "SELECT predicate FROM rowhook.rule WHERE type = 'bill.paid'") == "new.amount = 0"


def test_it_goes_without_a_trace(finmind_dsn: str, conn: Connection) -> None:
    install(finmind_dsn)
    assert conn.execute(LEFT_BEHIND).fetchall()
    conn.execute("SELECT rowhook.remove_finmind()")
    assert conn.execute(LEFT_BEHIND).fetchall() == []
    assert conn.execute("SELECT table_name::text FROM rowhook.capture ORDER BY 1").fetchall() == [("bills",), ("expenses",)]
    install(finmind_dsn)
    rollback(finmind_dsn)
    assert one(conn, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == 0
