"""rowhook.emit(), public ids, and which patterns match an event type."""

from __future__ import annotations

import datetime
from fnmatch import fnmatchcase

import psycopg
import pytest
from psycopg.types.numeric import Int8BinaryLoader

from relay import moment
from tests.conftest import Connection
from tests.sql.conftest import Events, one

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
OWN = ["endpoint.disabled", "delivery.dead", "webhook.ping", "schema.changed", "rowhook.probe"]


def test_emit_writes_an_event_and_returns_its_public_id(conn: Connection, events: Events) -> None:
    public_id = one(conn, "SELECT rowhook.emit('order.shipped', '{\"n\" : 1.50}', key => '7', tenant => 'acme')")
    (event,) = events()
    assert event[:6] == ("emit", "order.shipped", None, "7", "acme", False)
    assert event.text == '{"n" : 1.50}'
    assert public_id == one(conn, "SELECT event_id FROM rowhook.event_trail")


def test_emit_is_part_of_the_callers_transaction(conn: Connection, events: Events) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("SELECT rowhook.emit('order.shipped')")
    assert events() == []


@pytest.mark.parametrize("given", [None, "", "order shipped", "order.*", "*", ".order", "order.", "a..b", "é", "a\nb"])
def test_emit_refuses_what_is_no_event_type(conn: Connection, given: str | None) -> None:
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT rowhook.emit(%s)", [given])
    assert caught.value.sqlstate == "RH001"
    assert "order.shipped" in (caught.value.diag.message_hint or "")


@pytest.mark.parametrize("given", OWN)
def test_emit_refuses_rowhooks_own_types(conn: Connection, given: str, events: Events) -> None:
    with pytest.raises(psycopg.Error, match="one of Rowhook's own") as caught:
        conn.execute("SELECT rowhook.emit(%s)", [given])
    assert caught.value.sqlstate == "RH001"
    assert events() == []


def decode(public_id: str) -> tuple[str, int, int, int]:
    """Prefix, milliseconds, id and slot of a public id."""
    prefix, _, text = public_id.partition("_")
    number = 0
    for letter in text:
        number = number * 32 + ALPHABET.index(letter)
    return prefix, number >> 80, (number >> 16) & (2**64 - 1), number & 0xFFFF


@pytest.mark.parametrize(
    ("made_at", "number", "slot"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("2026-01-01T09:30:00.123456Z", 1, 9),
        ("2026-01-01T09:30:00.999999Z", 2**63 - 1, 32767),
        ("9999-12-31T23:59:59.999Z", 12345678901, 3),
    ],
)
def test_a_public_id_is_time_id_and_slot(conn: Connection, made_at: str, number: int, slot: int) -> None:
    public_id = one(conn, "SELECT rowhook.public_id('evt', %s::timestamptz, %s, %s::smallint)", made_at, number, slot)
    moment = datetime.datetime.fromisoformat(made_at)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert len(public_id) == 30
    assert decode(public_id) == ("evt", (moment - epoch) // datetime.timedelta(milliseconds=1), number, slot)


def test_public_ids_sort_by_time_and_then_by_id(conn: Connection) -> None:
    """In any collation: digits and capitals, all of one length."""
    ids = [
        row[0]
        for row in conn.execute("""
            SELECT rowhook.public_id('evt', '2026-01-01'::timestamptz + n / 50 * interval '1 ms', n, (n % 10)::smallint)
              FROM generate_series(0, 5000) AS n ORDER BY n
        """).fetchall()
    ]
    assert ids == sorted(set(ids))


def test_a_rewound_sequence_does_not_repeat_public_ids(conn: Connection) -> None:
    """As after a restore: the same number at another time is another id."""
    first = one(conn, "SELECT rowhook.emit('order.shipped')")
    conn.execute("DELETE FROM rowhook.event")
    conn.execute("ALTER SEQUENCE rowhook.event_id_seq RESTART")
    conn.execute("SELECT pg_sleep(0.002)")
    assert first < one(conn, "SELECT rowhook.emit('order.shipped')")


@pytest.mark.parametrize(
    ("event_type", "patterns"),
    [
        ("expense.created", ["expense.created", "expense.*", "*"]),
        ("a.b.c", ["a.b.c", "a.*", "a.b.*", "*"]),
        ("alone", ["alone", "*"]),
        *((own, [own]) for own in OWN),
    ],
)
def test_the_patterns_that_match_an_event_type(conn: Connection, event_type: str, patterns: list[str]) -> None:
    rows = conn.execute("SELECT rowhook.pattern_candidates(%s)", [event_type]).fetchall()
    assert sorted(row[0] for row in rows) == sorted(patterns)
    assert all(fnmatchcase(event_type, pattern) for pattern in patterns)


@pytest.mark.parametrize("pattern", ["expense", "exp*", "*.created", "expense.created.*", "EXPENSE.*", "**"])
def test_patterns_that_look_alike_do_not_match(conn: Connection, pattern: str) -> None:
    rows = conn.execute("SELECT rowhook.pattern_candidates('expense.created')").fetchall()
    assert (pattern,) not in rows


def test_event_ids_come_one_by_one(conn: Connection) -> None:
    """With a larger cache per session, ids would not follow the order of commit of a row."""
    caches = conn.execute("SELECT seqcache FROM pg_sequence WHERE seqrelid = 'rowhook.event_id_seq'::regclass")
    assert caches.fetchall() == [(1,)]


@pytest.mark.parametrize(
    "time",
    ["0001-01-01 00:00:00+00", "1999-12-31 23:59:59.999999+00", "2026-01-15 12:34:56.789012+05:30", "9999-12-31 23:59:59+00"],
)
def test_postgres_sends_them(conn: Connection, time: str) -> None:
    cursor = conn.cursor(binary=True)
    cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
    assert cursor.execute("SELECT %s::timestamptz", [time]).fetchone() == (moment.of(datetime.datetime.fromisoformat(time)),)
