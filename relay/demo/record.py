"""What Rowhook's tables say at the end, and the plain SQL that a person may run on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import DictRow, dict_row

from relay.demo.claims import Evidence, expected_at
from relay.demo.ledger import Ledger
from relay.demo.receiver import HOOKS, Receipt

SETTLE_WITHIN = 30.0
QUIET_FOR = 2.0  # longer than the longest wait between two attempts
LOOK_EVERY = 0.1

_OPEN = "SELECT count(*) AS n FROM rowhook.delivery WHERE state IN ('pending', 'leased')"
_ON_RECORD = "SELECT delivery_id, attempt, status_code FROM rowhook.delivery_history"
_DEAD = "SELECT url, event_id, attempts FROM rowhook.dead_letters"

QUERIES: tuple[LiteralString, ...] = (
    "SELECT event_type, row_key, attempt, status_code, error_class, delivery_status\n"
    "  FROM rowhook.delivery_history ORDER BY started_at DESC LIMIT 5",
    "SELECT url, tenant, delivered, dead, state FROM rowhook.endpoint_health",
)


async def connect(dsn: str) -> psycopg.AsyncConnection[DictRow]:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=dict_row, application_name="rowhook demo")


async def settled(connection: psycopg.AsyncConnection[Any], ledger: Ledger, journal: Sequence[Receipt]) -> None:
    """Wait until nothing is open and all has come that should; or until nothing comes any more."""
    deadline = time.time() + SETTLE_WITHIN
    while time.time() < deadline:
        rows = await _all(connection, _OPEN)
        last = max((receipt.at for receipt in journal), default=0.0)
        if not rows[0]["n"] and (_complete(ledger, journal) or time.time() - last > QUIET_FOR):
            return
        await asyncio.sleep(LOOK_EVERY)


def _complete(ledger: Ledger, journal: Sequence[Receipt]) -> bool:
    for hook in HOOKS:
        events = {receipt.event_id for receipt in journal if receipt.path == hook.path}
        if len(events) < expected_at(hook, ledger).total():
            return False
    return True


async def evidence(connection: psycopg.AsyncConnection[DictRow], ledger: Ledger, journal: Sequence[Receipt]) -> Evidence:
    attempts = [(row["delivery_id"], row["attempt"], row["status_code"]) for row in await _all(connection, _ON_RECORD)]
    dead = [(urlsplit(row["url"]).path, row["event_id"], row["attempts"]) for row in await _all(connection, _DEAD)]
    return Evidence(ledger, list(journal), attempts, dead)


async def answers(connection: psycopg.AsyncConnection[DictRow]) -> list[tuple[str, list[DictRow]]]:
    """The queries for people, each with what it returns now."""
    return [(query, await _all(connection, query)) for query in QUERIES]


async def _all(connection: psycopg.AsyncConnection[DictRow], query: LiteralString) -> list[DictRow]:
    return await (await connection.execute(query)).fetchall()
