"""Give up what waits for an endpoint. Deliveries are locked in batches, in id order as everybody locks them.

Called in the transaction of what it belongs to, so that a crash gives up all or nothing. What is out ends as it ends, but is not
tried again.
"""

from __future__ import annotations

import time

import psycopg
from psycopg.rows import DictRow

from relay.database import Row, query

Connection = psycopg.Connection[DictRow]

BATCH = 5000
LONGEST_STATEMENT = 35.0  # seconds; a relay's end after 30


def give_up(connection: Connection, endpoint: Row) -> Row:
    """Cancel what waits; how many were ``cancelled``, and how many are ``out``.

    The many that wait come first, while nobody else is held up; then those that are out; then what of these has failed meanwhile.
    """
    cancelled = in_batches(connection, "endpoints.cancel_pending", endpoint)
    out = in_batches(connection, "endpoints.give_up_leased", endpoint)
    return {"cancelled": cancelled + in_batches(connection, "endpoints.cancel_pending", endpoint), "out": out}


def cancel_waiting(connection: Connection, endpoint: Row) -> int:
    """Only what waits. Of a removed endpoint the rest follows by itself: who records a failure sees that it was removed."""
    return in_batches(connection, "endpoints.cancel_pending", endpoint)


def in_batches(connection: Connection, name: str, endpoint: Row) -> int:
    """Run a query that says how many rows it changed until there are no more; how many there were."""
    total: int = 0
    while True:
        (row,) = connection.execute(query(name), {"id": endpoint["id"], "batch": BATCH}).fetchall()
        (changed,) = row.values()
        total += changed
        if changed < BATCH:
            return total


def let_pass(connection: Connection) -> None:
    """Wait for what began before the last commit: dispatch, claim, record or reclaim may be about to leave a delivery open. They
    are short; none outlasts a relay's statement timeout.
    """
    deadline = time.monotonic() + LONGEST_STATEMENT
    under_way = _under_way(connection)
    while under_way and time.monotonic() < deadline:
        time.sleep(0.005)
        under_way &= _under_way(connection)


def _under_way(connection: Connection) -> set[str]:
    (row,) = connection.execute(query("endpoints.under_way")).fetchall()
    return set(row["under_way"])
