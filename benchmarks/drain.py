"""How fast a relay empties a backlog: events are committed first, then it starts; what benches of throughput have in common.

Time runs from the first request that the receiver sees until all have come and are recorded (clock.py). Each run has a database
of its own, copied from a template and dropped afterwards; it is vacuumed and checkpointed before the relay starts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from benchmarks.clock import Clock
from benchmarks.programs import RelayProcess
from benchmarks.server import CAPTURE, Server, add_endpoint
from benchmarks.sinks import Sink

# Two questions, so that each reads its partial index and not all deliveries.
UNFINISHED = """
SELECT EXISTS (SELECT FROM rowhook.delivery WHERE state = 'pending')
    OR EXISTS (SELECT FROM rowhook.delivery WHERE state = 'leased')
"""

EXPENSES = """
INSERT INTO expenses (user_id, category_id, amount, notes, spent_at)
SELECT i %% 1000, i %% 12, i / 100.0, 'coffee and a sandwich on the way to the station, paid in cash', '2026-01-15'
  FROM generate_series(%s::int, %s::int) AS i
"""
ROWS_OF_A_TRANSACTION = 20_000

UNDELIVERED = "SELECT count(*) FROM rowhook.delivery WHERE state <> 'delivered'"
ATTEMPTS = "SELECT count(*) FROM rowhook.attempt"

Fill = Callable[[psycopg.Connection[Any]], None]


@dataclass(frozen=True, slots=True)
class Backlog:
    """``fill`` makes endpoints and events, each statement its own transaction; ``requests`` are what all of it takes."""

    fill: Fill
    requests: int
    template: str = Server.template
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Drained:
    """Requests per second, of all and by tenths; the relay's CPU seconds for each; the most that was resident, in bytes."""

    rate: float
    tenths: Sequence[float]
    cpu: float
    memory: int


def drain(server: Server, receiver: Sink, name: str, backlog: Backlog) -> Drained:
    """One run, in a database of that name. Raises RuntimeError where requests are repeated or lost, or not all is recorded."""
    with temporary(server, name, backlog.template):
        with server.connect(name) as connection:
            backlog.fill(connection)
        settle(server, name)
        attempts = asked(server, name, ATTEMPTS)
        clock = Clock(receiver, backlog.requests)
        with RelayProcess(server.dsn(name), processes=backlog.processes, **backlog.settings) as relay:
            before = relay.cpu_seconds()
            clock.run()
            rate = clock.rate(lambda: bool(asked(server, name, UNFINISHED)))
            cpu = (relay.cpu_seconds() - before) / max(1, clock.counted)
            drained = Drained(rate, clock.tenths(), cpu, relay.peak_memory())
        if (attempts := asked(server, name, ATTEMPTS) - attempts) != backlog.requests:
            raise RuntimeError(f"{attempts} attempts are recorded of {backlog.requests} requests")
        if undelivered := asked(server, name, UNDELIVERED):
            raise RuntimeError(f"{undelivered} deliveries ended without success")
        return drained


def expenses(url: str, rows: int) -> Fill:
    """One endpoint that wants everything, and so many captured rows: events with a body of some 355 bytes."""

    def fill(connection: psycopg.Connection[Any]) -> None:
        add_endpoint(connection, url)
        connection.execute(CAPTURE.encode())
        insert_expenses(connection, rows)

    return fill


def insert_expenses(connection: psycopg.Connection[Any], rows: int) -> None:
    for first in range(1, rows + 1, ROWS_OF_A_TRANSACTION):
        connection.execute(EXPENSES, [first, min(rows, first + ROWS_OF_A_TRANSACTION - 1)])


@contextlib.contextmanager
def temporary(server: Server, name: str, template: str) -> Iterator[str]:
    """A copy of the template until the end of the block."""
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
        try:
            yield name
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def settle(server: Server, database: str) -> None:
    """What autovacuum and the checkpointer would do sooner or later, now rather than while time is taken."""
    with server.connect(database) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def asked(server: Server, database: str, question: str) -> int:
    """The number, or the truth, that a query answers."""
    with server.connect(database) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return int(row[0])
