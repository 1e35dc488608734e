"""A relay that is running already: connections open, statements prepared. Then a backlog is committed, and it drains it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from benchmarks.clock import LOOK_EVERY, STALLED_AFTER, Clock
from benchmarks.programs import RelayProcess
from benchmarks.server import Server
from benchmarks.sinks import Sink

UNFINISHED = "SELECT EXISTS (SELECT FROM rowhook.delivery WHERE state IN ('pending', 'leased')) AS answer"
SUCCEEDED = "SELECT count(*) AS answer FROM rowhook.attempt WHERE error_class IS NULL"

EMIT = """
SELECT count(rowhook.emit(
    %(type)s,
    json_build_object('id', i, 'amount', '12.50', 'notes', 'coffee and a sandwich on the way to the station, paid in cash'),
    i::text
)) FROM generate_series(1, %(rows)s) AS i
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Requests per second, and the sender's CPU time for each in microseconds."""

    rate: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """What writes events, in one transaction, and how many deliveries come of it."""

    statement: str
    parameters: Mapping[str, object]
    deliveries: int


class WarmRelay:
    """One relay and its database; ``drain`` as often as wanted."""

    def __init__(self, connection: psycopg.Connection[Any], receiver: Sink, relay: RelayProcess) -> None:
        self._connection = connection
        self._receiver = receiver
        self._relay = relay

    @property
    def process(self) -> RelayProcess:
        return self._relay

    def drain(self, backlog: Backlog, unfinished: str = UNFINISHED) -> Run:
        """From the first request until all have come and are recorded. Raises RuntimeError where one is missing."""
        self._connection.execute("VACUUM ANALYZE")
        self._connection.execute("CHECKPOINT")
        recorded, cpu = self.ask(SUCCEEDED), self._relay.cpu_seconds()
        clock = Clock(self._receiver, backlog.deliveries)
        self.write(backlog)
        clock.run()
        rate = clock.rate(lambda: bool(self.ask(unfinished)))
        cpu = self._relay.cpu_seconds() - cpu
        if (count := self.ask(SUCCEEDED) - recorded) < backlog.deliveries:
            raise RuntimeError(f"{count} attempts are on record for {backlog.deliveries} deliveries")
        return Run(rate, 1e6 * cpu / backlog.deliveries)

    def write(self, backlog: Backlog) -> None:
        self._connection.execute(backlog.statement.encode(), backlog.parameters)

    def ask(self, question: str) -> int:
        row = self._connection.execute(question.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def wait(self, unfinished: str) -> None:
        """Until the answer is no. Raises RuntimeError when it stays yes."""
        deadline = time.monotonic() + STALLED_AFTER
        while self.ask(unfinished):
            if time.monotonic() > deadline:
                raise RuntimeError(f"still unfinished after {STALLED_AFTER:.0f} s: {unfinished}")
            time.sleep(LOOK_EVERY)


@contextlib.contextmanager
def warm_relay(
    server: Server, database: str, receiver: Sink, warm_up: Backlog, processes: int = 1, **settings: str
) -> Iterator[WarmRelay]:
    """On a database that has captures and endpoints; it has delivered the first backlog when the block begins."""
    with server.connect(database) as connection, RelayProcess(server.dsn(database), processes=processes, **settings) as relay:
        warm = WarmRelay(connection, receiver, relay)
        warm.drain(warm_up)
        yield warm


def events(kind: str, number: int, endpoints: int = 1) -> Backlog:
    """So many events of a type, each for so many endpoints."""
    return Backlog(EMIT, {"type": kind, "rows": number}, number * endpoints)
