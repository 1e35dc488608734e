"""Redacted columns, rows that are too large, values found by a foreign key: what is stored, and what verify says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.sql.conftest import Events, Warned, one
from tests.sql.test_capture_options import refused

PEOPLE = "CREATE TABLE people (id int PRIMARY KEY, email text, card text, phone text, born date, note text)"
REDACT = """{"email": "sha256", "card": "last4", "phone": "mask"}"""
PERSON = "INSERT INTO people (id, email, card, phone, note) VALUES (%s, %s, %s, %s, %s)"
VERDICTS = "SELECT verdict, count FROM rowhook.verify(%s::regclass)"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def verdicts(conn: Connection, table: str) -> dict[str, int]:
    return dict(conn.execute(VERDICTS, [table]).fetchall())


@pytest.fixture
def db(conn: Connection, user_id: int) -> Connection:
    conn.execute(PEOPLE)
    return conn


# --- redacted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["statement", "row"])
def test_redacted_values_are_nowhere(db: Connection, events: Events, mode: str) -> None:
    key = ", key => '{}'" if mode == "row" else ""
    db.execute(f"SELECT rowhook.capture('people', type_prefix => 'person', redact => '{REDACT}'{key})")
    db.execute("SELECT rowhook.rule('person.moved', on_table => 'people', op => 'update', predicate => 'new.phone <> old.phone')")
    db.execute(PERSON, [1, "ä@example.com", "4000123412341234", "+49 123", "hello"])
    db.execute(PERSON, [2, None, "1234567", None, None])
    db.execute("UPDATE people SET email = 'b@example.com', card = '5000123412349999', note = 'bye' WHERE id = 1")
    db.execute("UPDATE people SET phone = '+49 456' WHERE id = 1")  # what a mask hides is no change, but a rule may ask for it
    db.execute("DELETE FROM people WHERE id = 1")
    told = events()
    assert [event.type for event in told] == [
        *["person.created"] * 2, "person.updated", "person.moved", "person.deleted",
    ]  # fmt: skip
    first = {"id": 1, "email": sha256("ä@example.com"), "card": "****1234", "phone": "****", "born": None, "note": "hello"}
    assert told[0].data == first
    assert list(told[0].data) == ["id", "email", "card", "phone", "born", "note"]
    assert told[1].data == {"id": 2, "email": None, "card": "****", "phone": None, "born": None, "note": None}
    assert told[2].previous == {"email": first["email"], "card": "****1234", "note": "hello"}
    assert told[3].previous == {}
    stored = db.execute("SELECT string_agg(e::text, '') FROM rowhook.event AS e").fetchall()[0][0]
    for secret in ("example.com", "4000", "5000", "+49"):
        assert secret not in stored


def test_redacted_ones_may_be_few_of_many_or_be_excluded(db: Connection, events: Events) -> None:
    db.execute("SELECT rowhook.capture('people', redact => '{\"email\": \"mask\"}', include => '{id,email}')")
    db.execute(PERSON, [1, "a@example.com", "1", "2", "3"])
    db.execute("SELECT rowhook.capture('people', include => '{}', exclude => '{email,born}')")
    db.execute(PERSON, [2, "a@example.com", "1", "2", "3"])
    assert [event.data for event in events()] == [
        {"id": 1, "email": "****"},
        {"id": 2, "card": "1", "phone": "2", "note": "3"},
    ]
    db.execute("SELECT rowhook.capture('people', exclude => '{}', redact => '{}')")
    db.execute(PERSON, [3, "a@example.com", "1", "2", "3"])
    assert events()[0].data["email"] == "a@example.com"


def test_verify_knows_redacted_columns(db: Connection) -> None:
    redact = '{"email": "sha256", "card": "last4", "phone": "mask", "born": "sha256"}'
    db.execute("SELECT rowhook.capture('people', redact => %s)", [redact])
    with db.transaction():
        db.execute("SET LOCAL datestyle = 'German'")
        db.execute("INSERT INTO people VALUES (1, 'a@example.com', '4000123412341234', '1', '2000-01-31', 'x')")
    db.execute(PERSON, [2, "b@example.com", "4000123412341234", "1", "y"])
    assert verdicts(db, "people") == {"accounted": 2}
    db.execute("SELECT rowhook.capture('people', paused => true)")
    db.execute("UPDATE people SET email = 'c@example.com' WHERE id = 2")
    stale = db.execute("SELECT row_key, columns FROM rowhook.verify('people') WHERE verdict = 'stale'").fetchall()
    assert stale == [("2", ["email"])]


# --- too large ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["statement", "row"])
def test_of_a_row_over_the_limit_only_its_key_is_told(db: Connection, events: Events, mode: str) -> None:
    if mode == "row":
        db.execute("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        db.execute("CREATE TRIGGER nothing AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION nothing()")
    db.execute("SELECT rowhook.capture('people', type_prefix => 'person', max_size => 200, tenant => 'email')")
    assert one(db, "SELECT mode FROM rowhook.capture WHERE table_name = 'people'::regclass") == mode
    db.execute("SELECT rowhook.rule('person.noted', on_table => 'people', op => 'update', predicate => 'new.note <> old.note')")
    small, large = "x" * 10, "x" * 200
    db.execute(PERSON, [1, "a", None, None, small])
    db.execute(PERSON, [2, "a", None, None, large])
    db.execute("UPDATE people SET note = %s WHERE id = 1", [large])
    db.execute("UPDATE people SET id = 3 WHERE id = 1")
    db.execute("UPDATE people SET email = 'b' WHERE id = 2")
    db.execute("DELETE FROM people WHERE id = 2")
    db.execute("TRUNCATE people")
    told = db.execute("SELECT type, row_key, data, previous, truncated, moved FROM rowhook.event ORDER BY id").fetchall()
    whole = {"id": 1, "email": "a", "card": None, "phone": None, "born": None, "note": small}
    assert told == [
        ("person.created", "1", whole, None, None, False),
        ("person.created", "2", {"id": 2}, None, True, False),
        ("person.updated", "1", {"id": 1}, None, True, False),
        ("person.noted", "1", {"id": 1}, None, True, False),
        ("person.updated", "3", {"id": 3}, {"id": 1}, True, False),
        ("person.deleted", "2", {"id": 2}, None, True, True),
        ("person.created", "2", {"id": 2}, None, True, True),
        ("person.deleted", "2", {"id": 2}, None, True, False),
        ("person.truncated", None, None, None, None, False),
    ]


def test_what_is_exactly_at_the_limit_is_whole(db: Connection, events: Events) -> None:
    size = len('{"id":1,"note":"' + "x" * 50 + '"}')
    for over in (0, 1):
        db.execute("SELECT rowhook.capture('people', include => '{id,note}', max_size => %s)", [size])
        db.execute("INSERT INTO people (id, note) VALUES (%s, %s)", [over + 1, "x" * (50 + over)])
    assert db.execute("SELECT truncated FROM rowhook.event ORDER BY id").fetchall() == [(None,), (True,)]


def test_verify_holds_a_truncated_event_for_its_row(db: Connection) -> None:
    db.execute("SELECT rowhook.capture('people', max_size => 100)")
    db.execute(PERSON, [1, None, None, None, "x" * 200])
    db.execute("UPDATE people SET id = 2")
    db.execute("INSERT INTO people (id) VALUES (3)")
    assert verdicts(db, "people") == {"accounted": 2}


# --- further values ----------------------------------------------------------------------------------------

ENRICH = """{"category_name": "category_id.name"}"""
GRANTED = "SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = 'categories'::regclass AND a.attacl IS NOT NULL ORDER BY 1"


def test_a_value_that_a_foreign_key_leads_to(
    db: Connection, connect: Connect, new_role: Callable[..., str], events: Events
) -> None:
    db.execute("SELECT rowhook.capture('expenses', enrich => %s, exclude => '{created_at}')", [ENRICH])
    role = new_role()
    db.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON expenses TO {role}; GRANT USAGE ON SEQUENCE expenses_id_seq TO {role}")
    db.execute("INSERT INTO categories (user_id, name) VALUES (1, 'Food'), (1, 'Rent')")
    writer = connect(user=role)  # who may read no categories
    writer.execute("INSERT INTO expenses (user_id, amount, category_id) VALUES (1, 1, 1), (1, 2, NULL)")
    writer.execute("UPDATE expenses SET category_id = 2 WHERE id = 1")
    with db.transaction():
        db.execute("UPDATE categories SET name = 'Home' WHERE id = 2")  # in the writer's own snapshot
        db.execute("DELETE FROM expenses WHERE id = 1")
    first, none, updated, deleted = events()
    assert first.data["category_name"] == "Food" and list(first.data)[-1] == "category_name"
    assert none.data["category_name"] is None
    assert (updated.data["category_name"], updated.previous) == ("Rent", {"category_id": 1, "category_name": "Food"})
    assert deleted.data["category_name"] == "Home"
    assert verdicts(db, "expenses") == {"accounted": 1}
    db.execute("UPDATE categories SET name = 'other'")
    assert events() == []
    assert verdicts(db, "expenses") == {"accounted": 1}


def test_rights_are_those_on_two_columns_and_go_with_the_capture(db: Connection) -> None:
    assert one(db, "SELECT rowhook.capture('expenses', enrich => %s)", ENRICH) == "changed"
    assert db.execute(GRANTED).fetchall() == [("id",), ("name",)]
    assert not one(db, "SELECT has_table_privilege('rowhook_capture', 'categories', 'SELECT')")
    db.execute("SELECT rowhook.capture('recurring_expenses', enrich => %s)", [ENRICH])
    db.execute("SELECT rowhook.uncapture('recurring_expenses')")
    assert db.execute(GRANTED).fetchall() == [("id",), ("name",)], "the other capture still reads them"
    db.execute("REVOKE SELECT (id, name) ON categories FROM rowhook_capture")  # as a restore may
    assert one(db, "SELECT rowhook.capture('expenses')") == "changed"
    assert one(db, "SELECT rowhook.capture('expenses')") == "unchanged"
    assert one(db, "SELECT rowhook.capture('expenses', enrich => '{}')") == "changed"
    assert db.execute("SELECT attname FROM pg_attribute WHERE attacl::text ~ 'rowhook_capture=r'").fetchall() == []


REFUSED = [
    ('redact => \'{"nothing": "mask"}\'', 'has no column "nothing"'),
    ('redact => \'{"notes": "rot13"}\'', '"rot13" is no way'),
    ('redact => \'{"id": "mask"}\'', "is the row key's or the tenant's"),
    ('redact => \'{"user_id": "sha256"}\'', "is the row key's or the tenant's"),
    ("redact => '[]'", "is not a JSON object"),
    ("max_size => -1", "-1 is not a number of bytes"),
    ("enrich => '[]'", "is not a JSON object"),
    ('enrich => \'{"a": "category_id"}\'', "does not say where"),
    ('enrich => \'{"a": "nothing.name"}\'', 'has no column "nothing"'),
    ('enrich => \'{"a": "amount.name"}\'', "is no foreign key"),
    ('enrich => \'{"a": "category_id.nothing"}\'', 'table categories has no column "nothing"'),
    ('enrich => \'{"notes": "category_id.name"}\'', 'has a column "notes" itself'),
]


def test_what_is_refused(db: Connection) -> None:
    for options, said in REFUSED:
        message, hint = refused(db, f"SELECT rowhook.capture('expenses', {options})")
        assert said in message and hint


def test_the_plan_shows_the_rights_it_needs(db: Connection, cluster: Cluster) -> None:
    sql = one(db, "SELECT rowhook.capture_ddl(p) FROM rowhook.capture_plan('expenses', enrich => %s) AS p", ENRICH)
    assert "GRANT SELECT (id, name) ON public.categories TO rowhook_capture;" in sql
    assert db.execute(GRANTED).fetchall() == []


def test_a_capture_keeps_these_options(db: Connection, warnings: list[Warned]) -> None:
    db.execute("SELECT rowhook.capture('expenses', redact => '{\"notes\": \"mask\"}', max_size => 1000, enrich => %s)", [ENRICH])
    assert one(db, "SELECT rowhook.capture('expenses', exclude => '{currency}')") == "changed"
    row: Any = db.execute("SELECT redact, max_size, enrich FROM rowhook.capture").fetchone()
    assert row == ({"notes": "mask"}, 1000, {"category_name": "category_id.name"})
    db.execute("SELECT rowhook.capture('expenses', redact => '{}', max_size => 0, enrich => '{}')")
    assert db.execute("SELECT redact, max_size, enrich FROM rowhook.capture").fetchone() == (None, None, None)
