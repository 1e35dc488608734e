"""How much memory a relay takes at most: through a backlog of 1,000,000 events (full size), and through rows of 1 MB.

The relay's process as it is run by default; its resident memory at the peak, as the kernel notes it (VmHWM). The baseline is the
same program with nothing to do. The large rows are text that doesn't compress; each is in a table of its own with one column.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.drain import Backlog, Fill, drain, expenses, temporary
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.programs import RelayProcess
from benchmarks.server import CAPTURE, Server, add_endpoint
from benchmarks.sinks import Sink, sink

EVENTS = {Size.TINY: 1_000, Size.QUICK: 20_000, Size.NORMAL: 200_000, Size.FULL: 1_000_000}
LARGE = {Size.TINY: 5, Size.QUICK: 200, Size.NORMAL: 1_000, Size.FULL: 1_000}
ROUNDS = {Size.TINY: 1, Size.QUICK: 1, Size.NORMAL: 3, Size.FULL: 3}
SETTLE = {Size.TINY: 0.2, Size.QUICK: 3.0, Size.NORMAL: 3.0, Size.FULL: 3.0}
MB = 1e6
EVENTS_BAR, LARGE_BAR = Bar("value", "<", 150), Bar("value", "<", 400)
AGAINST = "the same relay, idle"

# 1 MB of hexadecimal digits, which begins elsewhere in each row.
DOCUMENTS = """
CREATE TABLE documents (id serial PRIMARY KEY, body text NOT NULL);
SELECT rowhook.capture('documents');
INSERT INTO documents (body)
WITH digits AS MATERIALIZED (SELECT string_agg(md5(i::text), '') AS text FROM generate_series(1, 31250) AS i)
SELECT substr(d.text, 1 + i * 997 % 1000000) || left(d.text, i * 997 % 1000000)
  FROM digits AS d CROSS JOIN generate_series(1, {}) AS i
"""


def run(size: Size, say: Say) -> list[Figure]:
    with Server() as server, sink() as receiver:
        events, large = EVENTS[size], LARGE[size]
        through: dict[str, Callable[[int], int]] = {
            "idle": lambda number: _idle(server, f"idle_{number}", SETTLE[size]),
            "events": _backlog(server, receiver, "events", Backlog(expenses(receiver.url, events), events)),
            "large": _backlog(server, receiver, "large", Backlog(_documents(receiver.url, large), large)),
        }
        found: dict[str, list[float]] = {name: [] for name in through}
        for number in range(ROUNDS[size]):
            for name, peak in through.items():
                found[name].append(peak(number) / MB)
            peaks = ", ".join(f"{name} {values[-1]:,.0f} MB" for name, values in found.items())
            say(f"round {number + 1} of {ROUNDS[size]}: {peaks}")
        note = f"receiver: {receiver.name}"
        return [
            figure("memory", f"{events:,} events", "MB", found["events"], AGAINST, found["idle"], EVENTS_BAR, note),
            figure("memory", f"{large:,} rows of 1 MB", "MB", found["large"], AGAINST, found["idle"], LARGE_BAR),
        ]


def _backlog(server: Server, receiver: Sink, name: str, backlog: Backlog) -> Callable[[int], int]:
    return lambda number: drain(server, receiver, f"{name}_{number}", backlog).memory


def _idle(server: Server, name: str, seconds: float) -> int:
    with temporary(server, name, server.template):
        with server.connect(name) as connection:
            connection.execute(CAPTURE.encode())
        with RelayProcess(server.dsn(name)) as relay:
            time.sleep(seconds)
            return relay.peak_memory()


def _documents(url: str, rows: int) -> Fill:
    def fill(connection: psycopg.Connection[Any]) -> None:
        add_endpoint(connection, url)
        connection.execute(DOCUMENTS.format(rows).encode())

    return fill
