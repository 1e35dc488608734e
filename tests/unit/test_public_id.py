"""Public ids: the same in Python and SQL, sortable, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import UserMistake
from relay.public_id import parse, public_id
from tests.cluster import Cluster

SCHEMA = Path(__file__).parents[2] / "sql" / "0001-schema.sql"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(), timedelta(days=365 * 131)).map(EPOCH.__add__)
IDS = st.integers(0, 2**62)
SLOTS = st.integers(0, 2**15 - 1)


@pytest.fixture(scope="module")
def with_schema(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database that has the SQL half of public ids."""
    name = cluster.create_database()
    with cluster.connect(name) as connection:
        connection.execute(SCHEMA.read_text())
        yield connection
    cluster.drop_database(name)


@settings(deadline=None, max_examples=100)
@given(rows=st.lists(st.tuples(MOMENTS, IDS, SLOTS), min_size=1, max_size=30))
def test_sql_makes_the_same(with_schema: psycopg.Connection[Any], rows: list[tuple[datetime, int, int]]) -> None:
    found = with_schema.execute(
        "SELECT rowhook.public_id('evt', made_at, id, slot)"
        "  FROM unnest(%s::timestamptz[], %s::bigint[], %s::smallint[]) WITH ORDINALITY"
        "       AS given (made_at, id, slot, n) ORDER BY n",
        [list(column) for column in zip(*rows, strict=True)],
    ).fetchall()
    assert [text for (text,) in found] == [public_id("evt", *row) for row in rows]


@pytest.mark.parametrize(
    ("made_at", "id", "slot"),
    [
        ("1970-01-01 00:00:00.000000+00", 0, 0),
        ("1970-01-01 00:00:00.000999+00", 1, 1),
        ("1970-01-01 00:00:00.001000+00", 1, 1),
        ("1969-12-31 23:59:59.999999+00", 1, 1),  # floored, not cut off
        ("2026-01-01 09:30:00.123999+00", 2**62, 32767),
        ("2099-12-31 23:59:59.999999+14", 2**63 - 1, 9),
        ("2026-01-01 09:30:00+00", -1, -1),
    ],
)
def test_sql_makes_the_same_at_the_edges(with_schema: psycopg.Connection[Any], made_at: str, id: int, slot: int) -> None:
    row = with_schema.execute(
        "SELECT rowhook.public_id('dlv', %s::timestamptz, %s, %s::smallint)", (made_at, id, slot)
    ).fetchone()
    assert row == (public_id("dlv", datetime.fromisoformat(made_at), id, slot),)


def test_sql_leaves_the_slot_out_alike(with_schema: psycopg.Connection[Any]) -> None:
    made_at = datetime(2026, 1, 1, tzinfo=UTC)
    row = with_schema.execute("SELECT rowhook.public_id('end', %s, 7)", (made_at,)).fetchone()
    assert row == (public_id("end", made_at, 7),)


def test_is_the_same_in_every_zone() -> None:
    moment = datetime(2026, 1, 1, 9, 30, 0, 123456, tzinfo=UTC)
    assert public_id("evt", moment, 5) == public_id("evt", moment.astimezone(timezone(timedelta(hours=5, minutes=30))), 5)
    with pytest.raises(TypeError):
        public_id("evt", moment.replace(tzinfo=None), 5)


@given(MOMENTS, IDS, SLOTS)
def test_comes_back(made_at: datetime, id: int, slot: int) -> None:
    text = public_id("evt", made_at, id, slot)
    assert len(text) == 30
    assert parse(text, "evt") == parse(text.lower(), "evt") == parse(text.upper(), "evt") == (id, slot)


@given(st.tuples(MOMENTS, IDS, SLOTS), st.tuples(MOMENTS, IDS, SLOTS))
def test_sorts_by_time_then_id(one: tuple[datetime, int, int], other: tuple[datetime, int, int]) -> None:
    def order(row: tuple[datetime, int, int]) -> tuple[int, int, int]:
        return (row[0] - EPOCH) // timedelta(milliseconds=1), row[1], row[2]

    assert (public_id("evt", *one) < public_id("evt", *other)) == (order(one) < order(other))


GOOD = public_id("evt", datetime(2026, 1, 1, 9, 30, tzinfo=UTC), 41, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begins with evt_"),
        ("evt", "begins with evt_"),
        (GOOD[4:], "begins with evt_"),
        (GOOD.replace("evt_", "dlv_"), "begins with evt_"),
        (" " + GOOD, "begins with evt_"),
        (GOOD + "0", "these are 27"),
        (GOOD[:-1], "these are 25"),
        ("evt_", "these are 0"),
        (GOOD[:-1] + "I", "other than I, L, O and U"),
        (GOOD[:-1] + "l", "other than I, L, O and U"),
        (GOOD[:-1] + "-", "other than I, L, O and U"),
        (GOOD[:-1] + "ſ", "begins with evt_"),  # noqa: RUF001 - its upper case is S
        (GOOD[:-1] + "\n", "other than I, L, O and U"),
        ("evt_8" + "0" * 25, "no evt_ id is so high"),
        ("evt_" + "Z" * 26, "no evt_ id is so high"),
        ("evt_7" + "Z" * 25, "no evt_ id is so high"),  # a negative id
    ],
)
def test_refuses_what_is_no_id(text: str, says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        parse(text, "evt")
    assert says in str(caught.value)
    assert ascii(text)[1:-1] in str(caught.value)


def test_accepts_up_to_the_highest_id() -> None:
    highest = public_id("evt", datetime(2026, 1, 1, tzinfo=UTC), 2**63 - 1, 2**16 - 1)
    assert parse(highest, "evt") == (2**63 - 1, 2**16 - 1)


def test_a_refusal_is_one_short_line() -> None:
    with pytest.raises(UserMistake) as caught:
        parse("evt_\n" + "x" * 10_000, "evt")
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)
