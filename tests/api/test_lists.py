"""Lists and statistics against what plain SQL says of the same tables, in pages of any size."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.rows import DictRow

from relay import attempts, event_list, walk
from relay.public_id import public_id
from relay.wanted import ALL, Wanted
from tests.api.making import add_endpoints, make_past, open_as_api
from tests.cluster import Cluster

EVENTS = 400


class Past(NamedTuple):
    connection: psycopg.Connection[DictRow]
    endpoints: dict[str | None, int]
    attempts: list[dict[str, Any]]
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def past(cluster: Cluster, template: str) -> Iterator[Past]:
    """One database for all that only read."""
    name = cluster.create_database(template=template)
    connection = open_as_api(cluster.dsn(name))
    endpoints = add_endpoints(connection)
    make_past(connection, EVENTS)
    all_attempts = connection.execute(
        "SELECT a.*, d.state, e.type, d.created_at FROM rowhook.attempt AS a JOIN rowhook.delivery AS d ON d.id = a.delivery_id"
        "  JOIN rowhook.event AS e ON e.id = d.event_id ORDER BY a.id DESC"
    ).fetchall()
    all_events = connection.execute("SELECT * FROM rowhook.event ORDER BY id DESC").fetchall()
    yield Past(connection, endpoints, all_attempts, all_events)
    connection.close()
    cluster.drop_database(name)


PATTERNS = st.sampled_from([(), ("*",), ("expense.*",), ("bill.paid",), ("expense.created", "bill.*"), ("nothing.*",)])
TIMES = st.none() | st.integers(0, EVENTS + 10)


def ago(past: Past, seconds: int | None) -> datetime | None:
    return None if seconds is None else past.events[0]["occurred_at"] - timedelta(seconds=seconds, milliseconds=500)


def walked(read: Any) -> list[int]:
    """All pages, one after the other."""
    ids: list[int] = []
    before: int | None = None
    while True:
        page = read(before)
        ids += [row["id"] for row in page.rows]
        if (before := page.next) is None:
            return ids


@settings(max_examples=60)
@given(
    tenant=st.sampled_from([None, "7", "8"]),
    state=st.sampled_from([None, "pending", "delivered", "dead", "cancelled", "leased"]),
    patterns=PATTERNS,
    seconds=TIMES,
    limit=st.integers(1, 100),
    most=st.sampled_from([walk.MOST, 30]),
)
def test_pages_of_attempts_give_each_once(past: Past, tenant, state, patterns, seconds, limit: int, most: int) -> None:
    """Also where a page ends before it is full, because it has looked at as many as it may."""
    since, endpoint = ago(past, seconds), past.endpoints[tenant]
    which = attempts.Filter(state, Wanted.of(patterns), since)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "MOST", most)
        patch.setattr(walk, "FIRST", min(walk.FIRST, most))
        found = walked(lambda before: attempts.page(past.connection, endpoint, which, before, limit))
    assert found == [
        row["id"]
        for row in past.attempts
        if row["endpoint_id"] == endpoint
        and state in (None, row["state"])
        and Wanted.of(patterns).matches(row["type"])
        and (since is None or row["recorded_at"] >= since)
    ]


@settings(max_examples=60)
@given(
    tenant=st.sampled_from([None, "7", "9"]),
    table=st.sampled_from([None, "bills", "nothing"]),
    key=st.sampled_from([None, "1", "49", "50"]),
    patterns=PATTERNS,
    seconds=TIMES,
    until=TIMES,
    limit=st.integers(1, 100),
)
def test_pages_of_events_give_each_once(past: Past, tenant, table, key, patterns, seconds, until, limit: int) -> None:
    since, end = ago(past, seconds), ago(past, until)
    which = event_list.Filter(Wanted.of(patterns), table, key, tenant, since, end)
    assert walked(lambda before: event_list.page(past.connection, which, before, limit)) == [
        row["id"]
        for row in past.events
        if tenant in (None, row["tenant"])
        and table in (None, row["table_name"])
        and key in (None, row["row_key"])
        and Wanted.of(patterns).matches(row["type"])
        and (since is None or row["occurred_at"] >= since)
        and (end is None or row["occurred_at"] <= end)
    ]


def test_what_is_told_of_an_attempt(past: Past) -> None:
    page = attempts.page(past.connection, past.endpoints["7"], attempts.Filter(state="dead"), None, 2)
    last = next(row for row in past.attempts if row["endpoint_id"] == past.endpoints["7"] and row["state"] == "dead")
    told = page.rows[0]
    assert told["delivery_id"] == public_id("dlv", last["created_at"], last["delivery_id"])
    assert told["event_id"].startswith("evt_") and told["event_type"] == last["type"]
    assert (told["number"], told["retry_count"], told["status_code"], told["error_class"]) == (3, 2, 503, "http_5xx")
    assert told["next_attempt_at"] is None and told["state"] == "dead"
    assert told["latency_ms"] == last["duration"].total_seconds() * 1000
    waits = attempts.page(past.connection, past.endpoints["7"], attempts.Filter(state="pending"), None, 1).rows[0]
    assert waits["next_attempt_at"] is not None


def test_an_event_that_is_gone_leaves_its_attempts(cluster: Cluster, past: Past) -> None:
    with past.connection.transaction(force_rollback=True):
        past.connection.execute("TRUNCATE rowhook.event")
        told = attempts.page(past.connection, past.endpoints["7"], attempts.Filter(), None, 5).rows
    assert len(told) == 5 and {row["event_id"] for row in told} == {None}


def test_statistics_are_what_the_attempts_come_to(past: Past) -> None:
    since, endpoint = ago(past, 200), past.endpoints[None]
    assert since is not None
    mine = [row for row in past.attempts if row["endpoint_id"] == endpoint and row["recorded_at"] >= since]
    found = attempts.stats(past.connection, endpoint, "hour", since)
    well = sum(row["error_class"] is None for row in mine)
    assert (found.complete, found.since) == (True, since)
    assert (found.total["attempts"], found.total["succeeded"], found.total["failed"]) == (len(mine), well, len(mine) - well)
    assert found.total["success_rate"] == well / len(mine)
    latencies = sorted(row["duration"].total_seconds() * 1000 for row in mine)
    assert latencies[0] <= found.total["p50_ms"] <= found.total["p90_ms"] <= found.total["p99_ms"] <= latencies[-1]
    assert sum(bucket["attempts"] for bucket in found.buckets) == len(mine)
    assert [bucket["start"] for bucket in found.buckets] == sorted((bucket["start"] for bucket in found.buckets), reverse=True)
    assert sum(found.deliveries.values()) == len({row["delivery_id"] for row in mine})
    waiting = [row for row in past.attempts if row["endpoint_id"] == endpoint and row["state"] == "pending"]
    assert found.waiting["pending"] == len(waiting)


def test_statistics_of_too_much_say_how_far_they_reach(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MOST_COUNTED", 100)
    since, endpoint = ago(past, EVENTS + 10), past.endpoints[None]
    assert since is not None
    mine = [row for row in past.attempts if row["endpoint_id"] == endpoint][:100]
    found = attempts.stats(past.connection, endpoint, "day", since)
    assert (found.complete, found.since, found.total["attempts"]) == (False, mine[-1]["recorded_at"], 100)


def test_an_endpoint_without_a_past(past: Past) -> None:
    found = attempts.stats(past.connection, 0, "hour", past.events[-1]["occurred_at"])
    assert (found.total["attempts"], found.total["success_rate"], found.buckets, found.deliveries) == (0, None, [], {})
    assert attempts.page(past.connection, 0, attempts.Filter(since=found.since), None, 50) == ([], None)


def test_all_types_are_also_rowhooks_own() -> None:
    assert Wanted.of(["*"]) == ALL and ALL.matches("endpoint.disabled") and ALL.matches(None)
    assert not Wanted.of(["a.*"]).matches("a") and Wanted.of(["a.*"]).matches("a.b.c") and not Wanted.of(["a.*"]).matches(None)
