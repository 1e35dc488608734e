"""Filters in SQL: what can be saved, what they say of an event, and that none can take longer than it may."""

from __future__ import annotations

import json
import time

import pytest

from tests.conftest import Connection
from tests.sql.conftest import one

SOUND = [
    "$.data.amount > 1000",
    '$.type == "a,b ** like_regex $x ?($"',
    "$.data.amount <> $.previous.amount",
    "!exists($.previous.amount)",
    'exists($.data.items[*] ? (@.qty > 10)) || exists($.data.tags[*] ? (@ == "x"))',
    '$.data.spent_at.datetime() > "2026-01-01".datetime()',
    '$.data.notes starts with "a"',
    "($.data.a > 1) is unknown",
    "strict $.data.a > 1",
    '$.data."$x" == "?("',
    '$.context.actor == "me"',
    "($.data.a + 1) * 2 >= 10",
    "||".join(["$.data.a == $.data.b"] * 4),
]
UNSOUND = {
    "$.data.amount >": "no SQL/JSON path",
    "x y": "no SQL/JSON path",
    "": "no SQL/JSON path",
    "$.data.amount": "no predicate",
    "$.data": "no predicate",
    "$.data ? (@.a == 1)": "no predicate",
    "$.data.a + 1": "no predicate",
    "true": "no predicate",
    "null": "no predicate",
    "$.data.amount > $min": "variable",
    '$.data.a like_regex "(a+)+b"': "like_regex",
    "$.** == 1": "no bound",
    "$.data[0,0][0,0] == 1": "no bound",
    '$.data.keyvalue().keyvalue().key == "a"': "no bound",
    "exists($.a[*] ? (@ == $.b[*]))": "begins at $",
    "exists($.a[*] ? (exists(@.b[*] ? (@ > $.c))))": "begins at $",
    "||".join(["$.data.a == $.data.b"] * 5): "more than 4",
    "$.data.a > 1" + " " * 500: "characters",
}


@pytest.mark.parametrize("filter", SOUND)
def test_a_sound_filter_is_saved(conn: Connection, filter: str) -> None:
    assert one(conn, "SELECT rowhook.filter_fault(%s)", filter) is None
    conn.execute("INSERT INTO rowhook.endpoint (url, filter) VALUES ('https://example.com', %s)", [filter])


@pytest.mark.parametrize("filter", UNSOUND)
def test_an_unsound_one_is_refused_with_what_is_wrong_and_what_would_be_right(conn: Connection, filter: str) -> None:
    wrong, remedy = one(conn, "SELECT rowhook.filter_fault(%s)", filter)
    assert UNSOUND[filter] in wrong
    assert remedy


DATA = '{"amount": 1500.50, "notes": "x", "tags": ["a", "b"], "active": true}'


@pytest.mark.parametrize(
    ("filter", "data", "previous", "verdict"),
    [
        ("$.data.amount > 1000", DATA, None, "matched"),
        ("$.data.amount > 1500.50", DATA, None, "not matched"),
        ("$.data.amount == 1500.5", DATA, None, "matched"),
        ("$.data.missing > 1", DATA, None, "not matched"),
        ('$.data.amount > "x"', DATA, None, "unknown"),
        ('$.data.tags == "b"', DATA, None, "matched"),
        ('$.type == "expense.updated"', DATA, None, "matched"),
        ("exists($.previous.amount)", DATA, '{"amount": 1}', "matched"),
        ("exists($.previous.amount)", DATA, None, "not matched"),
        ("$.data.amount > $.previous.amount", DATA, '{"amount": 1}', "matched"),
        ("$.data == null", None, None, "matched"),
        ("$.context == null", DATA, None, "matched"),
        ("$.data.n == 1", '{"n": 2, "n": 1}', None, "matched"),
        ("$.data.n > 1", '{"n": ' + "9" * 5000 + "}", None, "matched"),
        ("$.data.n > 1", '{"n": 1e400}', None, "matched"),
        ("$.data > 1", "[" * 1000 + "2" + "]" * 1000, None, "unknown"),
    ],
)
def test_what_a_filter_says(conn: Connection, filter: str, data: str | None, previous: str | None, verdict: str) -> None:
    asked = "SELECT rowhook.filter_verdict(%s, 'expense.updated', %s::json, %s::json)"
    assert one(conn, asked, filter, data, previous) == verdict


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ('{"n": "\\u0000"}', "Unicode escape"),
        ('{"n": "\\ud800"}', "surrogate|Unicode|invalid input syntax"),
        ('{"n": 1e200000}', "numeric"),
        ('{"n": "' + "x" * 1_100_000 + '"}', "larger than 1 MiB"),
    ],
    ids=["nul", "half a character", "number", "large"],
)
def test_what_it_cannot_be_asked_of_fails_by_itself(conn: Connection, data: str, why: str) -> None:
    """Beside another that it can, in one statement."""
    asked = (
        "SELECT rowhook.filter_verdict('$.data.n > 1', 'a.b', d::json, NULL) FROM unnest(%s::text[]) WITH ORDINALITY AS t (d, n)"
    )
    rows = conn.execute(f"{asked} ORDER BY n", [[data, '{"n": 2}']]).fetchall()
    assert rows[1] == ("matched",)
    assert rows[0][0].startswith("failed: ")
    assert any(part in rows[0][0] for part in why.split("|")), rows[0][0]


def test_a_filter_that_needs_a_time_zone_fails_where_it_does(conn: Connection) -> None:
    filter = '$.data.at.datetime() > "2026-01-01".datetime()'
    asked = "SELECT rowhook.filter_verdict(%s, 'a.b', %s::json, NULL)"
    assert one(conn, asked, filter, '{"at": "2026-02-01T00:00:00"}') == "matched"
    assert "time zone" in one(conn, asked, filter, '{"at": "2026-02-01T00:00:00+00:00"}')


def test_values_are_compared_with_each_other_only_where_they_are_few(conn: Connection) -> None:
    """Postgres compares each with each, and can't be interrupted while it does."""
    asked = "SELECT rowhook.filter_verdict(%s, 'a.b', %s::json, NULL)"
    pairs = "$.data.a == $.data.b"
    few, many = ({"a": list(range(n)), "b": list(range(-n, 0))} for n in (240, 50_000))
    assert one(conn, asked, pairs, json.dumps(few)) == "not matched"
    text = {"a": 1, "b": 1, "notes": 'one, "two", three, ' * 1000}
    assert one(conn, asked, pairs, json.dumps(text)) == "matched", "commas in a text are no values"
    started = time.monotonic()
    assert "more than 500 values" in one(conn, asked, pairs, json.dumps(many)), "half a minute otherwise"
    assert time.monotonic() - started < 5
    assert one(conn, asked, "$.data.a == 49999", json.dumps(many)) == "matched", "with a literal on one side there is no limit"


def test_a_long_filter_is_not_asked_of_a_large_event(conn: Connection) -> None:
    data = json.dumps({"a": [1] * 300_000})
    asked = "SELECT rowhook.filter_verdict(%s, 'a.b', %s::json, NULL)"
    assert one(conn, asked, "$.data.a == 2", data) == "not matched"
    assert "too large for so long a filter" in one(conn, asked, "$.data.a[*]" + ".abs()" * 70 + " == 2", data)


def test_pairs_are_counted(conn: Connection) -> None:
    counted = {
        "$.data.a == 1": 0,
        '$.data.a == "x" && 1 < $.data.b': 0,
        "$.data.a == null || $.data.a == true": 0,
        "1 < $.data.a && 2 < $.data.b && !($.data.c == 1)": 0,
        "$.data.a == 1 + $.data.b": 1,
        '$.data.a.datetime() < "2026-01-01".datetime()': 0,
        '$.data.a starts with "b"': 0,
        "$.data.a == $.data.b": 1,
        "($.data.a + 1) > $.data.b": 1,
        "$.data.a != $.data.b && $.data.c > 1 && $.data.d <= $.data.e": 2,
    }
    assert {filter: one(conn, "SELECT rowhook.filter_pairs(%s)", filter) for filter in counted} == counted


@pytest.mark.parametrize(("rate", "seconds"), [("10/s", 0.1), ("100/min", 0.6), ("3/h", 1200), ("2/d", 43_200)])
def test_the_gap_of_a_rate(conn: Connection, rate: str, seconds: float) -> None:
    assert float(one(conn, "SELECT extract(epoch FROM rowhook.rate_gap(%s))", rate)) == pytest.approx(seconds)
