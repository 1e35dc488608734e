"""Rules: named events of rows for which a predicate holds; what is refused, and what happens when one fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect, Connection
from tests.sql.conftest import ARM, Events, Rings, one
from tests.sql.test_capture_options import TRACES, refused

PAID = "new.next_due_date > old.next_due_date or (new.cadence = 'ONCE' and old.active and not new.active)"
RULE = "SELECT rowhook.rule(%s, on_table => 'bills', op => %s, predicate => %s, tenant => 'user_id')"
TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'bills'::regclass AND NOT tgisinternal"
BILL = "INSERT INTO bills (user_id, name, amount, next_due_date, cadence) VALUES (1, %s, %s, '2026-01-31', %s) RETURNING id"


@pytest.fixture
def db(conn: Connection, user_id: int) -> Connection:
    """FinMind with one user; bills are not captured."""
    return conn


def rule(conn: Connection, type: str, op: str, predicate: str) -> str:
    return str(one(conn, RULE, type, op, predicate))


def brief(events: Events) -> list[tuple[str, str, str | None]]:
    return [(event.op, event.type, event.row_key) for event in events()]


# --- what makes events -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["statement", "row"])
def test_a_rule_without_events_of_the_table_itself(db: Connection, events: Events, mode: str) -> None:
    if mode == "row":
        db.execute("SELECT rowhook.capture('bills', key => '{}')")
    assert rule(db, "bill.paid", "update", PAID) == "installed"
    if mode == "row":
        db.execute("SELECT rowhook.capture('bills', events => '{}')")
    rent, once = one(db, BILL, "rent", 10, "MONTHLY"), one(db, BILL, "dentist", 80, "ONCE")
    db.execute("UPDATE bills SET name = 'new', amount = amount + 1")  # an edit
    assert brief(events) == []
    db.execute("UPDATE bills SET next_due_date = next_due_date + 28 WHERE id = %s", [rent])
    db.execute("UPDATE bills SET active = false")
    db.execute("UPDATE bills SET next_due_date = next_due_date - 28")
    paid = events()
    assert [(event.op, event.type, event.tenant) for event in paid] == [("rule", "bill.paid", "1")] * 2
    assert [event.data["id"] for event in paid] == [rent, once]
    assert [event.previous for event in paid] == [{"next_due_date": "2026-01-31"}, {"active": True}]
    assert paid[0].table_name == "bills" and paid[0].data["amount"] == 11


def test_rules_of_all_operations_beside_a_capture(db: Connection, events: Events) -> None:
    db.execute("SELECT rowhook.capture('bills', tenant => 'user_id', exclude => '{amount}')")
    rule(db, "bill.dear", "insert", "new.amount > 100 -- a comment at its end")
    rule(db, "bill.renamed", "update", "'name' = ANY (changed) AND NOT 'amount' = ANY (changed)")
    rule(db, "bill.dropped", "delete", "old.active")
    db.execute(BILL, ["cheap", 1, "ONCE"])
    db.execute(BILL, ["dear", 101, "ONCE"])
    db.execute("UPDATE bills SET name = 'a'")
    db.execute("UPDATE bills SET name = 'b', amount = 5, active = id = 1")
    db.execute("DELETE FROM bills")
    told = events()
    assert [(event.op, event.type, event.row_key) for event in told] == [
        ("insert", "bill.created", "1"),
        ("insert", "bill.created", "2"),
        ("rule", "bill.dear", "2"),
        *[("update", "bill.updated", key) for key in "12"],
        *[("rule", "bill.renamed", key) for key in "12"],
        *[("update", "bill.updated", key) for key in "12"],
        *[("delete", "bill.deleted", key) for key in "12"],
        ("rule", "bill.dropped", "1"),
    ]
    assert not any("amount" in event.data for event in told), "a rule may ask for a column, and yet it is not sent"


def test_rows_whose_keys_change_hands_are_paired_with_themselves(db: Connection, events: Events) -> None:
    rule(db, "bill.raised", "update", "new.amount > old.amount")
    for amount in (10, 20, 30):
        db.execute(BILL, ["b", amount, "ONCE"])
    db.execute("ALTER TABLE bills DROP CONSTRAINT bills_pkey CASCADE")
    db.execute("UPDATE bills SET id = id + 1, amount = amount + CASE amount WHEN 20 THEN 1 ELSE 0 END")
    assert [(event.row_key, event.previous) for event in events()] == [("3", {"id": 2, "amount": 20})]


def test_odd_json_does_not_hide_which_columns_changed(db: Connection, events: Events) -> None:
    db.execute("CREATE TABLE odd (id int PRIMARY KEY, a json, n int)")
    db.execute("SELECT rowhook.rule('odd.counted', on_table => 'odd', op => 'update', predicate => '''n'' = ANY (changed)')")
    db.execute(r"""INSERT INTO odd VALUES (1, '"\u0000"', 1), (2, '"\ud800"', 1)""")
    db.execute("UPDATE odd SET n = 2 WHERE id = 2")
    db.execute(r"""UPDATE odd SET a = '"\u0001"'""")
    assert brief(events) == [("rule", "odd.counted", "2")]


@pytest.mark.parametrize("on_error", ["abort", "record"])
def test_a_rules_event_rings(db: Connection, rings: Rings, on_error: str) -> None:
    db.execute("SELECT rowhook.capture('bills', events => '{insert}', on_error => %s)", [on_error])
    rule(db, "bill.paid", "update", PAID)
    bill = one(db, BILL, "rent", 10, "MONTHLY")
    db.execute(ARM)
    db.execute("UPDATE bills SET amount = 11 WHERE id = %s", [bill])
    assert not rings()
    db.execute("UPDATE bills SET next_due_date = next_due_date + 28 WHERE id = %s", [bill])
    assert rings()
    db.execute(BILL, ["b", 1, "ONCE"])
    assert rings()


SPY = "CREATE FUNCTION spy() RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN EXISTS (SELECT FROM public.users); END'"


def test_a_rule_runs_without_the_writers_rights(
    db: Connection, connect: Connect, new_role: Callable[..., str], events: Events
) -> None:
    """The predicate's own calls run as the role of captures: what it may not read, no rule tells of."""
    rule(db, "bill.paid", "update", PAID)
    bill = one(db, BILL, "rent", 10, "MONTHLY")
    role = new_role()
    db.execute(f"GRANT SELECT, UPDATE ON bills TO {role}")
    connect(user=role).execute("UPDATE bills SET next_due_date = next_due_date + 28 WHERE id = %s", [bill])
    assert brief(events) == [("rule", "bill.paid", "1")]
    db.execute(SPY)
    rule(db, "bill.spied", "update", "public.spy()")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="table users"):
        db.execute("UPDATE bills SET amount = 1")


# --- again, changed, removed -------------------------------------------------------------------------------


def test_defined_again_changed_and_removed(db: Connection, events: Events) -> None:
    assert rule(db, "bill.paid", "update", PAID) == "installed"
    assert rule(db, "bill.paid", "update", PAID) == "unchanged"
    assert rule(db, "bill.paid", "update", "new.active") == "changed"
    assert one(db, "SELECT rowhook.rule('bill.paid', 'bills', 'update', 'new.active', 'so')") == "changed"
    assert one(db, "SELECT description FROM rowhook.rule") == "so"
    assert one(db, "SELECT rowhook.capture('bills')") == "unchanged"
    assert one(db, "SELECT events FROM rowhook.capture WHERE table_name = 'bills'::regclass") == []
    assert one(db, "SELECT rowhook.unrule('bill.paid', 'bills')") == "removed"
    assert one(db, TRIGGERS) == 0
    assert one(db, "SELECT count(*) FROM rowhook.capture") == 1, "expenses stay captured"


def test_a_capture_stays_when_its_rules_go_and_takes_them_along_when_it_goes(db: Connection) -> None:
    db.execute("SELECT rowhook.capture('bills', events => '{insert}')")
    rule(db, "bill.paid", "update", PAID)
    db.execute("SELECT rowhook.unrule('bill.paid', 'bills')")
    assert one(db, "SELECT events FROM rowhook.capture WHERE table_name = 'bills'::regclass") == ["insert"]
    rule(db, "bill.paid", "update", PAID)
    db.execute("SELECT rowhook.uncapture('bills')")
    assert one(db, "SELECT count(*) FROM rowhook.rule") == 0
    assert one(db, TRIGGERS) == 0


def test_pausing_a_capture_pauses_its_rules(db: Connection, events: Events) -> None:
    rule(db, "bill.paid", "update", PAID)
    bill = one(db, BILL, "rent", 10, "MONTHLY")
    for paused in (True, False):
        db.execute("SELECT rowhook.capture('bills', paused => %s)", [paused])
        db.execute("UPDATE bills SET next_due_date = next_due_date + 28 WHERE id = %s", [bill])
        assert len(brief(events)) == (0 if paused else 1)


# --- failures ----------------------------------------------------------------------------------------------


def test_a_predicate_that_fails__abort(db: Connection, events: Events) -> None:
    rule(db, "bill.odd", "update", "1 / (new.amount - 5) > 0")
    db.execute(BILL, ["rent", 10, "MONTHLY"])
    with pytest.raises(psycopg.errors.DivisionByZero):
        db.execute("UPDATE bills SET amount = 5")


def test_a_predicate_that_fails__record(db: Connection, events: Events) -> None:
    """Neither the write nor the row's own event are lost with it."""
    db.execute("SELECT rowhook.capture('bills', events => '{update}', on_error => 'record')")
    rule(db, "bill.odd", "update", "1 / (new.amount - 5) > 0")
    db.execute(BILL, ["rent", 10, "MONTHLY"])
    db.execute("UPDATE bills SET amount = 5")
    assert brief(events) == [("update", "bill.updated", "1")]
    failure = db.execute("SELECT table_name, op, sqlstate, message FROM rowhook.capture_failure").fetchall()
    assert failure == [("bills", "UPDATE", "22012", "rule bill.odd: division by zero")]
    db.execute("UPDATE bills SET amount = 6")
    assert brief(events) == [("update", "bill.updated", "1"), ("rule", "bill.odd", "1")]


REFUSED = [
    ("new.amount > 1); DROP TABLE bills; SELECT (true", "not an expression"),
    ("true; DROP TABLE bills", "not an expression"),
    ("true]; DROP TABLE bills; SELECT ARRAY[true", "not an expression"),
    ("true), ARRAY[1, '", "not an expression"),
    ("true); DROP TABLE bills; SELECT ARRAY[ '", "not an expression"),
    ("true) UNION SELECT (true", "not an expression"),
    ("true /*", "not an expression"),
    ("", "not an expression"),
    ("new.amount", "must be type boolean"),
    ("new.amount > 1, true", "must be type boolean"),
    ("amount > 1", "ambiguous"),
    ("new.nothing > 1", "new.nothing does not exist"),
    ("new.ctid IS NOT NULL", "new.ctid does not exist"),
    ("new.cadence = 'NEVER'", "invalid input value for enum"),
    ("new.amount > 'many'", "invalid input syntax"),
    ("no_such_function(new.amount)", "does not exist"),
    ("tg_op = 'UPDATE'", '"tg_op" does not exist'),
    ("EXISTS (SELECT FROM public.users)", "reads a table"),
    ("new.amount > (SELECT avg(b.amount) FROM public.bills AS b)", "reads a table"),
    ("(WITH x AS (DELETE FROM public.bills RETURNING 1) SELECT true FROM x)", "top level"),
    ("count(*) > 1", "aggregate functions are not allowed"),
    ("row_number() OVER () > 1", "window functions are not allowed"),
    ("generate_series(1, 2) > 1", "set-returning functions are not allowed"),
    ("random() < 0.5", "random() is volatile"),
    ("clock_timestamp() > new.created_at", "clock_timestamp() is volatile"),
    ("pg_notify('rowhook_bell', '') IS NULL", "pg_notify(text,text) is volatile"),
    ("set_config('search_path', 'public', false) = ''", "volatile"),
    ("public.is_dear(new.amount)", "is_dear(numeric) is volatile"),
    ("new.amount OPERATOR(public.<<<) 1", "is_dear_than"),
]


def test_predicates_that_are_refused(db: Connection) -> None:
    db.execute("CREATE FUNCTION is_dear(numeric) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > 100'")
    db.execute("CREATE FUNCTION is_dear_than(numeric, integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > $2'")
    db.execute("CREATE OPERATOR <<< (FUNCTION = is_dear_than, LEFTARG = numeric, RIGHTARG = integer)")
    before = db.execute(TRACES).fetchall()
    for predicate, said in REFUSED:
        message, hint = refused(db, RULE, "bill.bad", "update", predicate)
        assert said in message and message.startswith("predicate: ") and hint, predicate
    assert db.execute(TRACES).fetchall() == before
    assert one(db, "SELECT to_regclass('bills') IS NOT NULL AND NOT EXISTS (SELECT FROM rowhook.rule)")


NOT_THERE = [("insert", "old.active"), ("delete", "new.active"), ("insert", "'name' = ANY (changed)")]


def test_an_operation_has_the_rows_that_it_has(db: Connection) -> None:
    for op, predicate in NOT_THERE:
        message, hint = refused(db, RULE, "bill.bad", op, predicate)
        assert re.search("missing FROM-clause entry|does not exist", message), predicate
        assert hint.startswith(f"It sees {'new' if op == 'insert' else 'old'}.COLUMN;")


FINE = [
    "now() > new.created_at AND current_date <> new.next_due_date",
    "new.name ~* 'rent' AND length(new.name) > 3 AND new.amount BETWEEN 1 AND 9.99",
    "coalesce(new.name, '') <> ')' AND new.name <> 'it''s; DROP TABLE x'",
    "(SELECT count(*) FROM unnest(ARRAY[new.amount, old.amount]) AS a WHERE a > 3) > 1",
    "new.* IS DISTINCT FROM old.*",
    "CASE WHEN new.active THEN true END",
]


def test_predicates_that_are_fine(db: Connection) -> None:
    db.execute(BILL, ["rent", 10, "MONTHLY"])
    for amount, predicate in enumerate(FINE, 11):
        rule(db, "bill.good", "update", predicate)
        db.execute("UPDATE bills SET amount = %s", [amount])
        assert one(db, "SELECT rowhook.rule_problem(r) FROM rowhook.rule AS r") is None


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"type": "no type"}, "is not an event type"),
    ({"type": "delivery.dead"}, "Rowhook's own"),
    ({"op": "truncate"}, "is not an operation that a rule can have"),
    ({"table": "rowhook.event"}, "belongs to Rowhook itself"),
    ({"tenant": "nobody"}, 'has no column "nobody"'),
]


def test_rules_that_are_refused(db: Connection) -> None:
    statement = "SELECT rowhook.rule(%s, on_table => %s::regclass, op => %s, predicate => 'true', tenant => %s)"
    for arguments, said in MISTAKES:
        given = {"type": "bill.paid", "table": "bills", "op": "update", "tenant": None, **arguments}
        assert said in refused(db, statement, given["type"], given["table"], given["op"], given["tenant"])[0]


def test_what_verify_and_doctor_say_of_rules(db: Connection) -> None:
    rule(db, "bill.paid", "update", PAID)
    assert "only rules" in refused(db, "SELECT rowhook.verify('bills')")[0]
    db.execute("SELECT rowhook.capture('bills', events => '{insert,update,delete}')")
    db.execute(BILL, ["rent", 10, "MONTHLY"])
    db.execute("UPDATE bills SET next_due_date = next_due_date + 28")
    db.execute("UPDATE bills SET amount = 11")
    assert db.execute("SELECT verdict, count FROM rowhook.verify('bills')").fetchall() == [("accounted", 1)]
    db.execute("ALTER TABLE bills RENAME COLUMN active TO live")
    assert "active does not exist" in one(db, "SELECT rowhook.rule_problem(r) FROM rowhook.rule AS r")


def test_what_a_capture_and_its_rules_cost_is_measured_and_leaves_nothing(db: Connection) -> None:
    rule(db, "bill.paid", "update", PAID)
    assert db.execute("SELECT * FROM rowhook.capture_plan('bills') AS p, rowhook.cost(p)").fetchall() == []
    db.execute(BILL, ["rent", 10, "MONTHLY"])
    before = db.execute(TRACES).fetchall()
    costs = db.execute("SELECT c.* FROM rowhook.capture_plan('bills') AS p, rowhook.cost(p) AS c").fetchall()
    assert [(op, rows) for op, rows, *_ in costs] == [("update", 1)]
    assert all(bare > 0 and captured > 0 for *_, bare, captured in costs)
    assert db.execute(TRACES).fetchall() == before
    assert one(db, "SELECT count(*) FROM rowhook.event") == 0
