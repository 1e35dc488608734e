"""An endpoint's attempts: the last ones, and what they come to by the hour or day. Read along (endpoint_id, id), never
further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

import psycopg
from psycopg.rows import DictRow, tuple_row

from relay.database import query
from relay.public_id import public_id
from relay.since import first_id
from relay.walk import HIGHEST, Row, Walked, walk
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


EVERY = Filter()


class Named(NamedTuple):
    """An endpoint by the public id that was given for it, and whose it has to be; None: whatever it is."""

    public_id: str | None = None
    tenant: str | None = None


UNNAMED = Named()


def page(connection: Connection, endpoint: int, which: Filter, before: int | None, limit: int) -> Walked:
    """The endpoint's attempts as ``newest`` tells them, newest first; a delivery's every attempt is a row."""
    if which == EVERY:
        return newest(connection, endpoint, before, limit)
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
    return walked._replace(rows=[_read([*row.values()][len(_WALK) :]) for row in walked.rows])


def newest(connection: Connection, endpoint: int, before: int | None, limit: int, named: Named = UNNAMED) -> Walked:
    """All of them, whatever came of them. Of an endpoint that is not as ``named``, or was removed, there are none."""
    start = HIGHEST if before is None else before
    given = {"endpoint": endpoint, "before": start, "limit": limit + 1, **named._asdict()}
    cursor = cast(psycopg.Cursor[Any], connection.execute(query("api_attempts.newest"), given, prepare=True, binary=True))
    cursor.row_factory = tuple_row  # a dict of each is made once, of what is told
    rows = sorted(cursor.fetchall(), reverse=True)
    shown = rows[:limit]
    return Walked([_read(row) for row in shown if row[_CREATED_AT] is not None], shown[-1][0] if len(rows) > limit else None)


_CREATED_AT = 10  # a column
_WALK = ("walked", "last")  # columns of ``page`` before those
_MILLISECOND = timedelta(milliseconds=1)


def _read(row: Sequence[Any]) -> Row:
    """An attempt as both statements have it, whose columns these are, in their order."""
    id, number, started_at, recorded_at, duration, status_code, error_class, error, excerpt, delivery, *rest = row
    created_at, state, next_attempt_at, event, slot, occurred_at, event_type, row_key = rest
    return {
        "id": id,
        "number": number,
        "started_at": started_at,
        "recorded_at": recorded_at,
        "latency_ms": _latency(duration),
        "status_code": status_code,
        "error_class": error_class,
        "error": error,
        "response_excerpt": excerpt,
        "retry_count": number - 1,
        "delivery_id": public_id("dlv", created_at, delivery),
        "state": state,
        "next_attempt_at": next_attempt_at,
        "event_id": occurred_at and public_id("evt", occurred_at, event, slot),
        "event_type": event_type,
        "row_key": row_key,
    }


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
    return row | {"latency_ms": _latency(row["duration"])}


def _latency(duration: timedelta | None) -> float | None:
    """In milliseconds."""
    return None if duration is None else duration / _MILLISECOND


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
