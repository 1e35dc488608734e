"""The envelope: its fields come back, and what Postgres stored goes out byte by byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import moment
from relay.envelope import envelope

MOMENT = datetime(2026, 1, 1, 9, 30, 0, 123456, tzinfo=UTC)

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates and all


def _utf8(value: object, **how: Any) -> bytes:
    return json.dumps(value, **how).encode("utf-8", "backslashreplace")


JSON_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
).flatmap(lambda value: st.sampled_from([_utf8(value), _utf8(value, ensure_ascii=False), _utf8(value, indent=1)]))


def made(**fields: Any) -> bytes:
    return envelope(
        **{
            "event_id": "evt_1",
            "type": "expense.created",
            "occurred_at": moment.of(MOMENT),
            "tenant": "7",
            "data": b'{"amount":99.50}',
            "previous": None,
            "moved": False,
            **fields,
        }
    )


def test_whole() -> None:
    assert made(previous=b'{"amount":90.00}', moved=True) == (
        b'{"id":"evt_1","type":"expense.created","timestamp":"2026-01-01T09:30:00.123456Z","tenant":"7",'
        b'"data":{"amount":99.50},"previous":{"amount":90.00},"moved":true}'
    )


def test_what_follows_where_it_applies() -> None:
    assert made(moved=True, truncated=True, context=b'{"actor": "a"}').endswith(
        b'"data":{"amount":99.50},"moved":true,"truncated":true,"context":{"actor": "a"}}'
    )
    assert made(truncated=True).endswith(b'"data":{"amount":99.50},"truncated":true}')


def test_least() -> None:
    assert made(tenant=None, data=None) == (
        b'{"id":"evt_1","type":"expense.created","timestamp":"2026-01-01T09:30:00.123456Z","tenant":null,"data":null}'
    )


@given(
    event_id=ANY_TEXT,
    type=ANY_TEXT,
    occurred_at=st.datetimes(timezones=st.timezones()).filter(lambda t: 2 < t.year < 9998),
    tenant=st.none() | ANY_TEXT,
    data=st.none() | JSON_TEXT,
    previous=st.none() | JSON_TEXT,
    moved=st.booleans(),
)
def test_fields_come_back(**fields: Any) -> None:
    given = {**fields, "occurred_at": moment.of(fields["occurred_at"])}
    body = envelope(**given)
    found = json.loads(body)
    assert found["id"] == fields["event_id"]
    assert found["type"] == fields["type"]
    # A time in the gap or the fold of a clock change equals none of another zone: compare in UTC.
    assert datetime.fromisoformat(found["timestamp"]) == fields["occurred_at"].astimezone(UTC)
    assert found["tenant"] == fields["tenant"]
    assert found["data"] == (None if fields["data"] is None else json.loads(fields["data"]))
    assert ("previous" in found) == (fields["previous"] is not None)
    if fields["previous"] is not None:
        assert found["previous"] == json.loads(fields["previous"])
    assert found.get("moved", False) is fields["moved"]
    assert list(found) == [name for name in ("id", "type", "timestamp", "tenant", "data", "previous", "moved") if name in found]
    assert envelope(**given) == body


@given(JSON_TEXT, JSON_TEXT)
def test_stored_json_goes_out_verbatim(data: bytes, previous: bytes) -> None:
    body = made(data=data, previous=previous)
    assert b'"data":' + data + b',"previous":' + previous + b"}" in body


@pytest.mark.parametrize(
    "data",
    [
        '{"amount":99.50}',
        '{"amount":1e400}',
        '{"amount":' + "9" * 4301 + "}",  # one digit more than Python's int() takes from a text
        '{"a":1,"a":2}',
        '{ "spaces" :\n[1 , 2]}',
        r'{"escaped":"\u0000\ud800\u00e9"}',
        '{"notes":"Größe 😀"}',
        "[]",
        "null",
    ],
)
def test_nothing_is_parsed(data: str) -> None:
    assert b'"data":' + data.encode() + b"}" in made(data=data.encode())


def test_beyond_ascii_is_utf8() -> None:
    body = made(tenant="Größe 😀", data='"日本"'.encode())
    assert "Größe 😀".encode() in body
    assert "日本".encode() in body
    assert b"\\u" not in body


def test_lone_surrogates_stay_json() -> None:
    body = made(tenant="\ud800", data=rb'{"a":"\udfff"}')
    found = json.loads(body.decode("utf-8", "strict"))
    assert (found["tenant"], found["data"]) == ("\ud800", {"a": "\udfff"})


def test_quotes_and_control_characters_cannot_break_out() -> None:
    nasty = '","data":"x\\\n\x00\x1f\x7f'
    assert json.loads(made(tenant=nasty, type=nasty))["tenant"] == nasty
