"""Where a time lies among ids, so that a list of what happened since then begins there and not at the beginning of all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg
from psycopg.rows import DictRow

from relay.database import query
from relay.walk import HIGHEST

# What was under way at the same moment may have its ids and times in another order than what is beside it.
MARGIN = timedelta(minutes=1)


def first_id(
    connection: psycopg.Connection[DictRow], of: Literal["attempt", "event", "delivery"], since: datetime | None, **whose: Any
) -> int:
    """No row of that time or later has a lower id; attempts are those of ``endpoint``."""
    if since is None or since < datetime.min.replace(tzinfo=since.tzinfo) + 2 * MARGIN:
        return 0
    (row,) = connection.execute(query(f"since.{of}"), {"since": since - MARGIN, **whose}).fetchall()
    return int(row["id"])


def last_id(connection: psycopg.Connection[DictRow], of: Literal["event", "delivery"], until: datetime | None) -> int:
    """No row of that time or earlier has a higher id."""
    if until is None or until > datetime.max.replace(tzinfo=until.tzinfo) - 2 * MARGIN:
        return HIGHEST
    (row,) = connection.execute(query(f"since.{of}"), {"since": until + MARGIN}).fetchall()
    return int(row["id"]) or HIGHEST
