"""Rows that were there before, sent as <prefix>.snapshot events: in chunks, no faster than asked, resumed where interrupted.

What keeps it consistent with the live stream is in the statement itself (sql/0019-backfill.sql). Here is the pace. A chunk holds
its rows for as long as it takes, and writers of these wait for it; so chunks are small. It gives up a lock before Postgres looks
for deadlocks, which might end the writer: then a smaller chunk is tried.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg.rows import DictRow

from relay.captures import pinned
from relay.database import Row, query
from relay.errors import UserMistake

Connection = psycopg.Connection[DictRow]

CHUNK = 500
LOCK_TIMEOUT = timedelta(milliseconds=300)  # deadlock_timeout is a second, and rarely less than half of one
_RATE = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(?:/s)?")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backfill is; ``resumed``: it had been interrupted."""

    id: int
    sent: int
    resumed: bool = False


def parse_rate(text: str) -> float:
    """``100/s`` or ``100``: rows a second."""
    match = _RATE.fullmatch(text.strip())
    if not match or float(match[1]) <= 0:
        raise UserMistake(f"--rate {text!r} is not a rate", "give rows per second, such as 100/s")
    return float(match[1])


def begin(connection: Connection, table: int, rows: str | None, endpoint: str | None, name: str = "") -> Progress:
    """A new one, or the same one that was interrupted. Raises what the schema refuses."""
    given = {"table": table, "rows": rows, "endpoint": endpoint, "name": name}
    with pinned(connection):
        (row,) = connection.execute(query("backfill.begin"), given).fetchall()
    return Progress(row["id"], row["sent"], resumed=row["after"] is not None)


def abandon(connection: Connection, progress: Progress) -> None:
    """It is not to go on; another begins from the first row."""
    connection.execute(query("backfill.abandon"), {"id": progress.id})


def send(
    connection: Connection,
    progress: Progress,
    chunk: int = CHUNK,
    rate: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
    """Chunk by chunk to the end; how many rows each sent."""
    connection.execute(
        "SELECT pg_catalog.set_config('lock_timeout', %s, false)", [f"{LOCK_TIMEOUT / timedelta(milliseconds=1):.0f}ms"]
    )
    most = min(chunk, max(1, int(rate))) if rate else chunk
    size = most
    while True:
        started = time.monotonic()
        try:
            row = _chunk(connection, progress.id, size)
        except psycopg.errors.LockNotAvailable:
            size = max(1, size // 4)
            sleep(0.05)
            continue
        if row["sent"] is None:
            return
        yield row["sent"]
        if rate:
            sleep(max(0.0, row["sent"] / rate - (time.monotonic() - started)))
        size = min(most, size * 2)


def _chunk(connection: Connection, id: int, size: int) -> Row:
    with pinned(connection):
        (row,) = connection.execute(query("backfill.chunk"), {"id": id, "chunk": size}).fetchall()
    return row
