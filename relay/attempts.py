"""An endpoint's attempts: the last ones, and what they come to by the hour or day. Read along (endpoint_id, id), never
further."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow

from relay.database import query
from relay.public_id import public_id
from relay.since import first_id
from relay.walk import Row, Walked, walk
from relay.wanted import ALL, Wanted

Connection = psycopg.Connection[DictRow]

MOST_COUNTED = 50_000  # attempts that statistics are made of, and deliveries in one state that are counted
SHOWN = 100  # attempts of one delivery


@dataclass(frozen=True, slots=True)
class Filter:
    """Which attempts: in deliveries of this state, of these event types, recorded since then."""

    state: str | None = None
    wanted: Wanted = ALL
    since: datetime | None = None


def page(connection: Connection, endpoint: int, which: Filter, before: int | None, limit: int) -> Walked:
    """The endpoint's attempts as ``attempt`` makes them, newest first; a delivery's every attempt is a row."""
    given = {
        "endpoint": endpoint,
        "from": first_id(connection, "attempt", which.since, endpoint=endpoint),
        "since": which.since,
        "state": which.state,
        **which.wanted._asdict(),
    }

    def read(before: int, size: int, limit: int) -> list[Row]:
        asked = {**given, "before": before, "walk": size, "limit": limit}
        return connection.execute(query("api_attempts.page"), asked, prepare=True, binary=True).fetchall()

    filtered = which.state is not None or which.wanted.types is not None
    walked = walk(read, before, limit, filtered=filtered)
    return walked._replace(rows=[attempt(row) for row in walked.rows])


def attempt(row: Row) -> Row:
    """With public ids, which are quicker made here than by Postgres, and how often it was tried again."""
    return _timed(row) | {
        "delivery_id": public_id("dlv", row["created_at"], row["delivery"]),
        "event_id": row["occurred_at"] and public_id("evt", row["occurred_at"], row["event"], row["slot"]),
        "retry_count": row["number"] - 1,
    }


def of_delivery(connection: Connection, delivery: int) -> list[Row]:
    """Its last attempts, newest first."""
    rows = connection.execute(query("api_attempts.of_delivery"), {"delivery": delivery, "limit": SHOWN}).fetchall()
    return [_timed(row) for row in rows]


def _timed(row: Row) -> Row:
    duration: timedelta | None = row["duration"]
    return row | {"latency_ms": None if duration is None else round(duration.total_seconds() * 1000, 3)}


@dataclass(frozen=True, slots=True)
class Stats:
    """``since``: how far back they reach, later than asked where there was too much (``complete`` is False then).

    ``total`` and ``buckets``: attempts, succeeded, and the latencies' percentiles (50, 90, 99). ``deliveries``: of those that
    were tried in that time, how many are in which state. ``waiting``: what there is now.
    """

    since: datetime
    complete: bool
    total: Row
    buckets: list[Row]
    deliveries: dict[str, int]
    waiting: Row


def stats(connection: Connection, endpoint: int, per: str, since: datetime) -> Stats:
    """By ``hour`` or ``day`` (in UTC)."""
    given = {
        "endpoint": endpoint,
        "from": first_id(connection, "attempt", since, endpoint=endpoint),
        "since": since,
        "per": per,
        "walk": MOST_COUNTED,
    }
    total, *buckets = connection.execute(query("api_stats.attempts"), given).fetchall()
    states = connection.execute(query("api_stats.deliveries"), given).fetchall()
    (waiting,) = connection.execute(query("api_stats.waiting"), {"endpoint": endpoint, "most": MOST_COUNTED}).fetchall()
    complete = total["walked"] < MOST_COUNTED or total["oldest"] < since
    return Stats(
        since if complete else total["oldest"],
        complete,
        _percentiles(total),
        [_percentiles(row) for row in buckets],
        {row["state"]: row["total"] for row in states},
        waiting,
    )


def _percentiles(row: Row) -> Row:
    attempts, succeeded = row["attempts"] or 0, row["succeeded"] or 0
    latencies: Any = row["latencies"] or [None, None, None]
    return {
        "start": row["start"],
        "attempts": attempts,
        "succeeded": succeeded,
        "failed": attempts - succeeded,
        "success_rate": succeeded / attempts if attempts else None,
        **{f"p{p}_ms": ms and round(ms, 3) for p, ms in zip((50, 90, 99), latencies, strict=True)},
    }
