"""Is a transaction pooler between us and Postgres? Sessions' locks, LISTEN and settings don't survive one."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import cast

import psycopg

from relay.database import CLIENT_SETTINGS, query
from relay.doctor.finding import Finding, bad, ok, warning

PATIENCE = 5.0  # a pool of one connection makes the second wait
CHECK = "pooler"


class Way(Enum):
    """What lies between."""

    DIRECT = auto()
    SESSIONS = auto()
    TRANSACTIONS = auto()


async def way(dsn: str) -> Way:
    """Whether two statements of one connection run in one session while another transaction is open; raises psycopg.Error."""
    async with await _connect(dsn) as ours:
        first = await _backend(ours)
        if first == ours.info.backend_pid:
            return Way.DIRECT  # a pooler makes up its own ids, to pass cancellations on
        try:
            async with asyncio.timeout(PATIENCE), await _connect(dsn) as other, other.transaction():
                if await _backend(other) == first or await _backend(ours) != first:
                    return Way.TRANSACTIONS
        except TimeoutError:
            pass
    return Way.SESSIONS


async def _connect(dsn: str) -> psycopg.AsyncConnection[tuple[int]]:
    settings = {"connect_timeout": CLIENT_SETTINGS["connect_timeout"], "application_name": "rowhook doctor"}
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None, **settings)  # type: ignore[arg-type]
    return cast("psycopg.AsyncConnection[tuple[int]]", connection)


async def _backend(connection: psycopg.AsyncConnection[tuple[int]]) -> int:
    row = await (await connection.execute(query("doctor.backend"))).fetchone()
    assert row
    return row[0]


def judge(listening: Way, working: Way) -> Finding:
    """``listening``: the way of ROWHOOK_LISTEN_URL, or of DATABASE_URL where that is not set; ``working``: of DATABASE_URL."""
    if listening is Way.TRANSACTIONS:
        why = "relays would listen through a transaction pooler: no ring arrives, and no lock of a relay holds"
        return bad(CHECK, why, "let ROWHOOK_LISTEN_URL name Postgres itself, not the pooler; better DATABASE_URL too")
    if working is Way.TRANSACTIONS:
        why = "DATABASE_URL leads through a transaction pooler: prepared statements and settings of a session don't survive it"
        return bad(CHECK, why, "let DATABASE_URL name Postgres itself: a relay needs six connections")
    if Way.SESSIONS in (listening, working):
        return warning(CHECK, "a pooler is in between; sessions pass through it whole", "nothing, as long as it pools sessions")
    return ok(CHECK, "none: the connection is direct")
