"""The catalog's schemas against bodies that Rowhook really makes, of every type of column; its examples against them."""

from __future__ import annotations

import json

import psycopg
import pytest
from jsonschema import Draft202012Validator, ValidationError
from psycopg.rows import DictRow

from relay import catalog, event_list
from tests.api.making import open_as_api
from tests.conftest import Connection

TABLE = """
CREATE TYPE mood AS ENUM ('good', 'so-so');
CREATE TYPE place AS (name text, at numeric(6, 2));
CREATE DOMAIN short AS varchar(5);
CREATE TABLE things (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    truth    boolean, small smallint, whole integer, ratio double precision, single real,
    price    numeric(12, 2) NOT NULL, tiny numeric(2, 4), any_number numeric, rounded numeric(3, -2),
    words    text, code varchar(10), padded char(4), nick short,
    day      date, moment timestamp, instant timestamptz, clock time, zoned timetz, span interval,
    uid      uuid, bytes bytea, doc json, docb jsonb, feeling mood, spot place,
    numbers  integer[], grid integer[][], spots place[], feelings mood[],
    address  inet, period daterange, bits bit(3), secret text
);
COMMENT ON TABLE things IS 'All sorts.';
COMMENT ON COLUMN things.price IS 'What it costs';
"""
FULL = """
INSERT INTO things (truth, small, whole, ratio, single, price, tiny, any_number, rounded, words, code,
                    padded, nick, day, moment, instant, clock, zoned, span, uid, bytes, doc, docb, feeling, spot, numbers, grid,
                    spots, feelings, address, period, bits, secret)
VALUES (true, -32768, 2147483647, 1.5e300, 0.1, 99.50, 0.0012, 12345678901234567890.123, 1200, 'wörds', '1234567890',
        'ab', 'nick', '2026-01-31', '2026-01-31 09:30:00.25', '2026-01-31 09:30+05:30', '09:30', '09:30+01', '1 day 2 hours',
        '6f1c1f5e-3d0b-4c55-9e0a-0d5f7b1f2a11', '\\x00ff', '{"a": [1, null]}', '[1]', 'so-so', ROW('here', 1.25), '{1,NULL,3}',
        '{{1,2},{3,4}}',
        ARRAY[ROW('there', NULL)::place], '{good,NULL}', '10.1.2.3/8', '[2026-01-01,2026-02-01)', B'101', 'hidden')
"""
ODD = """
INSERT INTO things (price, ratio, any_number, day, moment, instant)
VALUES ('NaN', '-Infinity', 'Infinity', 'infinity', '-infinity', '0044-03-15 09:30+00 BC'),
       (0, 'NaN', 'NaN', '12026-01-31', '0001-01-01', 'infinity')
"""


@pytest.fixture
def things(dsn: str, conn: Connection) -> psycopg.Connection[DictRow]:
    conn.execute(TABLE)
    conn.execute("SELECT rowhook.capture('things', exclude => '{secret}', tenant => 'whole')")
    return open_as_api(dsn)


def bodies(connection: psycopg.Connection[DictRow]) -> dict[str, list[str]]:
    """What was captured, as it would be sent, by event type."""
    found: dict[str, list[str]] = {}
    for row in connection.execute("SELECT id, slot FROM rowhook.event ORDER BY id").fetchall():
        event = event_list.find(connection, row["id"], row["slot"])
        assert event is not None
        found.setdefault(event["type"], []).append(event_list.body(event) or "")
    return found


def validators(connection: psycopg.Connection[DictRow]) -> dict[str, Draft202012Validator]:
    schemas = {known.name: known.schema for known in catalog.event_types(connection)}
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    return {name: Draft202012Validator(schema) for name, schema in schemas.items()}


def test_what_is_captured_is_as_the_schema_says(things: psycopg.Connection[DictRow], conn: Connection) -> None:
    conn.execute(FULL)
    conn.execute(ODD)
    conn.execute("INSERT INTO things (price) VALUES (1)")
    conn.execute("UPDATE things SET words = 'other', feeling = 'good', price = 2 WHERE id = 1")
    conn.execute("DELETE FROM things WHERE id = 2")
    conn.execute("TRUNCATE things")
    check = validators(things)
    found = bodies(things)
    assert {name: len(of) for name, of in found.items()} == {
        "thing.created": 4,
        "thing.updated": 1,
        "thing.deleted": 1,
        "thing.truncated": 1,
    }
    for name, of in found.items():
        for body in of:
            check[name].validate(json.loads(body))


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("price", None),
        ("price", "99.50"),
        ("price", 1e11),
        ("whole", 2**31),
        ("code", "12345678901"),
        ("nick", "123456"),
        ("feeling", "bad"),
        ("moment", "2026-01-31 09:30:00"),
        ("instant", "2026-01-31T09:30:00"),
        ("day", "31.1.2026"),
        ("numbers", "{1}"),
        ("spot", {"name": "here"}),
        ("truth", "true"),
    ],
)
def test_the_schema_is_not_for_anything(
    things: psycopg.Connection[DictRow], conn: Connection, column: str, wrong: object
) -> None:
    """A body with one value that the column can't have, or not in that form."""
    conn.execute(FULL)
    body = json.loads(bodies(things)["thing.created"][0])
    check = validators(things)["thing.created"]
    check.validate(body)
    body["data"][column] = wrong
    with pytest.raises(ValidationError):
        check.validate(body)


def test_examples_are_as_the_schema_says(things: psycopg.Connection[DictRow]) -> None:
    check = validators(things)
    known = {one.name: one for one in catalog.event_types(things)}
    assert {"thing.created", "thing.updated", "thing.deleted", "thing.truncated"} < known.keys()
    assert {"endpoint.disabled", "delivery.dead", "webhook.ping"} < known.keys()
    for name, one in known.items():
        check[name].validate(one.example())
    text = catalog.sample(things, "thing.created")
    assert text is not None and '"price":99.50' in text and '"secret"' not in text
    assert catalog.sample(things, "thing.truncated") == "null"
    assert catalog.sample(things, "nothing.happened") is None


def test_comments_are_descriptions(things: psycopg.Connection[DictRow]) -> None:
    (created,) = [one for one in catalog.event_types(things) if one.name == "thing.created"]
    assert created.description == "A row of things was inserted; data is the row. All sorts."
    data = created.schema["properties"]["data"]
    assert data["properties"]["price"]["description"] == "What it costs"
    assert data["properties"]["code"] == {"type": ["string", "null"], "maxLength": 10}
    assert "secret" not in data["properties"] and "secret" not in data["required"]


def test_chosen_columns_come_in_their_order(dsn: str, conn: Connection) -> None:
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY, body text, mine text)")
    conn.execute("SELECT rowhook.capture('notes', include => '{body,id}', events => '{insert}')")
    with open_as_api(dsn) as connection:
        names = [one.name for one in catalog.event_types(connection) if one.table]
        assert (names, catalog.sample(connection, "note.created")) == (["note.created"], '{"body":"text","id":42}')


def test_a_type_that_has_a_cast_to_json_is_anything(dsn: str, conn: Connection) -> None:
    conn.execute("CREATE TYPE colour AS ENUM ('red')")
    conn.execute("CREATE FUNCTION to_it(colour) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT '[255, 0, 0]'::json $$")
    conn.execute("CREATE CAST (colour AS json) WITH FUNCTION to_it(colour)")
    conn.execute("CREATE TABLE paints (id int PRIMARY KEY, colour colour)")
    conn.execute("SELECT rowhook.capture('paints')")
    with open_as_api(dsn) as connection:
        (created,) = [one for one in catalog.event_types(connection) if one.name == "paint.created"]
        assert created.schema["properties"]["data"]["properties"]["colour"] == {}


def test_rules_and_changed_columns(dsn: str, conn: Connection) -> None:
    conn.execute("CREATE TABLE kinds (id int PRIMARY KEY, name text)")
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY, body text, kind_id int REFERENCES kinds, hour int)")
    conn.execute("""
        SELECT rowhook.capture('notes', events => '{insert}', redact => '{"body": "mask", "hour": "sha256"}', max_size => 160,
                               enrich => '{"kind": "kind_id.name"}')
    """)
    conn.execute("SELECT rowhook.rule('note.moved', 'notes', 'update', 'new.kind_id <> old.kind_id', 'It has another kind.')")
    conn.execute("INSERT INTO kinds VALUES (1, 'a'), (2, repeat('b', 100))")
    conn.execute("INSERT INTO notes VALUES (1, 'secret', 1, 7)")
    conn.execute("UPDATE notes SET kind_id = 2")
    with open_as_api(dsn) as connection:
        known = {one.name: one for one in catalog.event_types(connection) if one.table}
        assert list(known) == ["note.created", "note.moved"]
        assert known["note.moved"].description == "It has another kind."
        check, found = validators(connection), bodies(connection)
        for name, one in known.items():
            check[name].validate(one.example())
            check[name].validate(json.loads(found[name][0]))
        assert json.loads(found["note.created"][0])["data"]["body"] == "****"
        assert json.loads(found["note.moved"][0])["truncated"] is True
