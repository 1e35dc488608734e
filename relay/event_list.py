"""Events as the API lists and shows them, newest first, along the primary key.

There is no index by type, table, row or tenant, as each would cost every captured write: a page that is filtered looks at a
bounded number of events (walk.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import DictRow

from relay import moment, public_id
from relay.database import query
from relay.envelope import envelope
from relay.shapes import Facts
from relay.since import first_id, last_id
from relay.walk import Row, Walked, walk
from relay.wanted import ALL, Wanted

Connection = psycopg.Connection[DictRow]

LARGEST_BODY = 2**20  # bytes; a larger one is not shown


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold."""

    wanted: Wanted = ALL
    table: str | None = None
    row_key: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def page(connection: Connection, which: Filter, before: int | None, limit: int) -> Walked:
    given = {
        **which.wanted._asdict(),
        **{name: getattr(which, name) for name in ("table", "row_key", "tenant", "since", "until")},
        "from": first_id(connection, "event", which.since),
    }

    def read(before: int, size: int, limit: int) -> list[Row]:
        asked = {**given, "before": before, "walk": size, "limit": limit}
        return connection.execute(query("api_events.page"), asked).fetchall()

    if which.until is not None:
        highest = last_id(connection, "event", which.until)
        before = highest if before is None else min(before, highest)
    filtered = which.wanted.types is not None or any(getattr(which, name) is not None for name in ("table", "row_key", "tenant"))
    return walk(read, before, limit, filtered=filtered)


def find(connection: Connection, id: int, slot: int) -> Row | None:
    """One event, with ``data`` and ``previous`` as JSON text; None where it is not kept (any more)."""
    rows = connection.execute(query("api_events.one"), {"event": id, "event_slot": slot, "most": LARGEST_BODY}).fetchall()
    return rows[0] if rows else None


def body(event: Row) -> str | None:
    """The body of its requests; None where it is too large to be shown."""
    if event["size"] > LARGEST_BODY:
        return None
    made = envelope(
        event_id=public_id.public_id("evt", event["occurred_at"], event["id"], event["slot"]),
        type=event["type"],
        occurred_at=moment.of(event["occurred_at"]),
        tenant=event["tenant"],
        data=event["data"] and event["data"].encode(),
        previous=event["previous"] and event["previous"].encode(),
        moved=event["moved"],
        truncated=event["truncated"],
        context=event["context"] and event["context"].encode(),
    )
    return made.decode()


def facts(event: Row) -> Facts:
    """What other shapes of it are made of; its data must be there."""
    return Facts(
        public_id.public_id("evt", event["occurred_at"], event["id"], event["slot"]),
        event["type"],
        moment.of(event["occurred_at"]),
        event["tenant"],
        event["table_name"],
        event["row_key"],
        event["moved"],
        event["data"] and event["data"].encode(),
    )
