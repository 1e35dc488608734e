"""What an update changed is told without parsing the rows' JSON: it is cut where columns begin, unless that is ambiguous."""

from __future__ import annotations

import pytest

from tests.conftest import Connection
from tests.sql.conftest import Events, Mutate, one

TABLE = r"""
CREATE TABLE odd (id int PRIMARY KEY, a text, b numeric, c json, d jsonb, "e "":, x" text[], f float8, g json);
INSERT INTO odd VALUES
    (1, 'plain', 1.50, '{"x": 1}', '{"y": [1, 2]}', '{a,b}', 1.5, '{"z": {}}'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, E'two\nlines, "quoted",\n \\', 'NaN', E'{"x": 1,\n "y": 2}', '"},"', '{"},\n {"}', '-0', '[[]]'),
    (4, '', 0.0, '1', '{}', '{}', 0, E'[1,\n 2,\n 3]');
"""
UPDATES = [
    pytest.param("a = coalesce(a, '') || 'x'", id="text"),
    pytest.param("id = id + 10", id="the first column"),
    pytest.param("""g = '{"last": {}}'""", id="the last column"),
    pytest.param("id = -id, g = NULL", id="the first and the last"),
    pytest.param("b = b * 1.0", id="only the scale"),
    pytest.param("b = b + 1, d = NULL, f = -f", id="several"),
    pytest.param(r"""c = E'{"x": 1,\n "y": 3}'""", id="json of several lines"),
    pytest.param("a = NULL, g = c", id="json of several lines into the last column"),
    pytest.param(r""""e "":, x" = '{"\"",c}'""", id="a column with an awkward name"),
    pytest.param("""a = 'x', b = 2, c = '2', d = '2', "e "":, x" = '{x}', f = 2, g = '2', id = id + 10""", id="all"),
]


@pytest.mark.parametrize("key", ["{id}", "{}"], ids=["statement", "row"])
@pytest.mark.parametrize("update", UPDATES)
def test_it_is_what_parsing_them_tells(conn: Connection, events: Events, update: str, key: str) -> None:
    conn.execute(TABLE)
    conn.execute("SELECT rowhook.capture('odd', key => %s)", [key])
    conn.execute("CREATE TABLE was AS SELECT abs(id) % 10 AS n, row_to_json(odd) AS j FROM odd")
    conn.execute(f"UPDATE odd SET {update}")
    parsed = conn.execute("""
        SELECT row_to_json(odd)::text, rowhook.changed(j, row_to_json(odd))::jsonb
          FROM odd JOIN was ON n = abs(id) % 10 WHERE row_to_json(odd)::text <> j::text ORDER BY n
    """).fetchall()
    assert parsed
    told = sorted(events(), key=lambda event: abs(event.data["id"]) % 10)
    assert [(event.text, event.previous) for event in told] == parsed


@pytest.mark.parametrize("options", ["exclude => '{a}'", """redact => '{"a": "last4"}'""", "max_size => 10000"])
def test_of_chosen_columns_too(conn: Connection, events: Events, options: str) -> None:
    conn.execute(TABLE)
    conn.execute(f"SELECT rowhook.capture('odd', {options})")
    conn.execute("UPDATE odd SET b = 7, g = '{}' WHERE id = 1")
    assert [(event.row_key, event.previous) for event in events()] == [("1", {"b": 1.5, "g": {"z": {}}})]


def test_mutant__cut_without_counting_the_pieces_it_is_no_json(conn: Connection, mutate: Mutate) -> None:
    conn.execute(TABLE)
    conn.execute("SELECT rowhook.capture('odd')")
    mutate(r"capture_\d+_update", "cardinality(p.olds) = p.columns AND cardinality(p.news) = p.columns", "true")
    with pytest.raises(Exception, match="invalid input syntax for type json"):
        conn.execute("""UPDATE odd SET c = E'{"x": 1,\\n "y": 3}' WHERE id = 3""")


def test_standard_conforming_strings_may_be_off(conn: Connection, events: Events) -> None:
    conn.execute(TABLE)
    conn.execute("SELECT rowhook.capture('odd')")
    conn.execute("SET standard_conforming_strings = off; SET escape_string_warning = off")
    conn.execute("UPDATE odd SET b = 2 WHERE id = 1")
    assert [event.previous for event in events()] == [{"b": 1.5}]


def test_of_a_row_that_stays_as_it_was_no_json_is_made(conn: Connection, events: Events) -> None:
    conn.execute("""
        CREATE TYPE mood AS ENUM ('glad', 'sad');
        CREATE FUNCTION refuse(mood) RETURNS json LANGUAGE plpgsql AS $fn$ BEGIN RAISE EXCEPTION 'no json of it'; END $fn$;
        CREATE CAST (mood AS json) WITH FUNCTION refuse(mood);
        CREATE TABLE diary (id int PRIMARY KEY, mood mood);
        INSERT INTO diary VALUES (1, 'glad');
    """)
    conn.execute("SELECT rowhook.capture('diary')")
    conn.execute("UPDATE diary SET mood = 'glad'")
    assert events() == []
    with pytest.raises(Exception, match="no json of it"):
        conn.execute("UPDATE diary SET mood = 'sad'")
    assert one(conn, "SELECT mood FROM diary") == "glad"
