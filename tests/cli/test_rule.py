"""rowhook rule, and the recipes that run installs."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Rowhook
from tests.conftest import Connection

PAID = ("bill.paid", "--on", "bills", "--op", "update", "--when", "new.next_due_date > old.next_due_date")
TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'bills'::regclass AND tgname LIKE '!rowhook%'"

pytestmark = pytest.mark.usefixtures("finmind_dsn")


def test_added_listed_changed_and_removed(rowhook: Rowhook, conn: Connection):
    done = rowhook("rule", "add", *PAID, "--tenant", "user_id", "--description", "A bill was paid", ok=True)
    assert done.out.startswith("bill.paid on bills: installed\n")
    assert "predicate    new.next_due_date > old.next_due_date\n" in done.out
    assert rowhook("rule", "add", *PAID, ok=True).out == "bill.paid on bills: unchanged\n"
    changed = rowhook("rule", "add", *PAID[:-1], "new.active", "--json", ok=True).json
    assert (changed["result"], changed["predicate"], changed["description"]) == ("changed", "new.active", "A bill was paid")
    assert rowhook("rule", "list", ok=True).out == (
        "type\ttable\top\tpredicate\ttenant\tset_aside\tdescription\n"
        "bill.paid\tbills\tupdate\tnew.active\tuser_id\t-\tA bill was paid\n"
    )
    assert rowhook("rule", "list", "--on", "expenses", "--json", ok=True).json == []
    assert rowhook("rule", "remove", "bill.paid", "--on", "bills", ok=True).out == "bill.paid on bills: removed\n"
    assert conn.execute(TRIGGERS).fetchall() == [(0,)]


def test_dry_run_prints_sql_and_cost_and_changes_nothing(rowhook: Rowhook, conn: Connection):
    dry = rowhook("rule", "add", *PAID, "--dry-run", ok=True).out
    assert dry.startswith("-- bills: would be installed\n")
    assert "WHERE coalesce((new.next_due_date > old.next_due_date" in dry
    assert "there are no rows" in dry
    conn.execute("INSERT INTO users (email, password_hash) VALUES ('a', 'x')")
    conn.execute("INSERT INTO bills (user_id, name, amount, next_due_date, cadence) VALUES (1, 'a', 1, '2026-01-31', 'MONTHLY')")
    (cost,) = rowhook("rule", "add", *PAID, "--dry-run", "--json", ok=True).json["cost"]
    assert (cost["op"], cost["rows"]) == ("update", 1)
    assert cost["captured_us"] > 0
    dry = rowhook("rule", "add", *PAID, "--dry-run", ok=True).out
    assert "-- update: " in dry
    assert "a row, " in dry
    assert conn.execute(TRIGGERS).fetchall() == [(0,)]


def test_mistakes(rowhook: Rowhook):
    rowhook("rule", "add", *PAID[:-1], "new.no_such > 1").refused("predicate: column new.no_such does not exist", "new.COLUMN")
    rowhook("rule", "add", *PAID[:-1], "true; DROP TABLE bills").refused("not an expression")
    rowhook("rule", "add", "bill.paid", "--on", "bill", "--op", "update", "--when", "true").refused("did you mean bills")
    rowhook("rule", "add", "bill.paid", "--on", "bills", "--op", "upsert", "--when", "true").refused("insert, update, delete")
    rowhook("rule", "remove", "bill.paid", "--on", "bills").refused('table bills has no rule "bill.paid"', "none")


def test_doctor_knows_broken_rules(rowhook: Rowhook, conn: Connection):
    rowhook("rule", "add", *PAID, ok=True)
    found = {f["check"]: f for f in rowhook("doctor", "--json").json["checks"]}
    assert found["rule bill.paid on bills"]["verdict"] == "ok"
    conn.execute("ALTER TABLE bills RENAME COLUMN next_due_date TO due")
    found = {f["check"]: f for f in rowhook("doctor", "--json").json["checks"]}
    assert found["rule bill.paid on bills"]["verdict"] == "bad"
    assert "next_due_date does not exist" in found["rule bill.paid on bills"]["why"]


def test_run_refuses_a_recipe_that_there_is_not(rowhook: Rowhook):
    rowhook("run", "--no-api", env={"ROWHOOK_RECIPES": "finmind, shop"}).refused("ROWHOOK_RECIPES", "'shop'", "finmind")


def test_run_says_where_the_recipes_tables_are_missing(rowhook: Rowhook, conn: Connection):
    conn.execute("DROP TABLE expenses")
    rowhook("run", "--no-api", env={"ROWHOOK_RECIPES": "finmind"}).refused("ROWHOOK_RECIPES=finmind", "'expenses'")
