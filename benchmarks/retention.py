"""Whether tables stay small and the relay fast while events come and go: the soak.

A writer commits expenses a little ahead of a relay, which delivers them; the relay keeps what has ended for as long as a tenth of
all takes, so at full size 10,000,000 events go through and some 1,000,000 are kept. When the last has been delivered the relay is
stopped, and the tables of events, deliveries and attempts are measured with their indexes: as they are, and once more after
VACUUM FULL, which is what the rows in them need. The same flow with ROWHOOK_RETENTION=forever, a million events at most,
before it and after it, is what the rate is compared with. Autovacuum runs with its defaults.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

import psycopg

from benchmarks.clock import LOOK_EVERY, Clock
from benchmarks.drain import EXPENSES, UNFINISHED, asked, temporary
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.programs import RelayProcess
from benchmarks.server import CAPTURE, Server, add_endpoint
from benchmarks.sinks import Sink, sink

EVENTS = {Size.TINY: 3_000, Size.QUICK: 60_000, Size.NORMAL: 1_000_000, Size.FULL: 10_000_000}
KEPT = 10  # of so many events one is kept
COMPARED = 1_000_000  # events of each flow that it is compared with, at most
AHEAD, BATCH = 10_000, 1_000
SMALL, STEADY, FAST = Bar("value", "<=", 1.5), Bar("ratio", ">=", 0.9), Bar("ratio", ">=", 0.9)

SLOTS = ", ".join(f"'rowhook.event_{slot}'::regclass" for slot in range(10))
SIZE = (
    "SELECT sum(pg_total_relation_size(t)) FROM unnest(ARRAY["
    f"'rowhook.delivery'::regclass, 'rowhook.attempt'::regclass, {SLOTS}]) AS t"
)
KEPT_NOW = "SELECT count(*) FROM rowhook.event"


@dataclass(frozen=True, slots=True)
class Soaked:
    """Deliveries per second, of all and by tenths; bytes of the tables and what their rows need; events in them at the end."""

    rate: float
    tenths: list[float]
    size: int
    needed: int
    kept: int


class Shared:
    """A receiver whose counter, one connection, two threads ask."""

    def __init__(self, receiver: Sink) -> None:
        self.name, self.url = receiver.name, receiver.url
        self._receiver = receiver
        self._lock = threading.Lock()

    def count(self) -> int:
        with self._lock:
            return self._receiver.count()


def run(size: Size, say: Say) -> list[Figure]:
    events = EVENTS[size]
    with Server() as server, sink() as real:
        receiver = Shared(real)
        compared = min(events // 2, COMPARED)
        before = _soak(server, receiver, "before", compared, "forever")
        seconds = max(1, round(events / KEPT / before.rate))
        say(f"{before.rate:,.0f}/s and all is kept; from here on for {seconds} s")
        soaked = _soak(server, receiver, "soak", events, f"{seconds}s")
        after = _soak(server, receiver, "after", compared, "forever")
        say(f"{soaked.rate:,.0f}/s, {soaked.kept:,} events kept at the end in {soaked.size / 2**20:,.0f} MB")
        name = f"{events:,} events through"
        return [
            figure(
                "retention",
                f"{name}: size ÷ what is needed",
                "",
                [soaked.size / soaked.needed],
                bar=SMALL,
                note=f"{soaked.kept:,} events kept at the end; receiver: {receiver.name}",
            ),
            figure(
                "retention", f"{name}: last tenth", "deliveries/s", [soaked.tenths[-1]], "first tenth", [soaked.tenths[0]], STEADY
            ),
            figure("retention", name, "deliveries/s", [soaked.rate], "nothing goes", [mean([before.rate, after.rate])], FAST),
        ]


def _soak(server: Server, receiver: Sink, name: str, events: int, keep: str) -> Soaked:
    """One flow in a database of its own."""
    with temporary(server, name, Server.template):
        with server.connect(name) as connection:
            add_endpoint(connection, receiver.url)
            connection.execute(CAPTURE.encode())
        clock = Clock(receiver, events)
        with RelayProcess(server.dsn(name), ROWHOOK_RETENTION=keep):
            with _writing(server.dsn(name), receiver, events):
                clock.run()
            rate = clock.rate(lambda: bool(asked(server, name, UNFINISHED)))
        size, kept = asked(server, name, SIZE), asked(server, name, KEPT_NOW)
        with server.connect(name) as connection:
            for table in ("delivery", "attempt", *(f"event_{slot}" for slot in range(10))):
                connection.execute(f"VACUUM FULL rowhook.{table}".encode())
        return Soaked(rate, clock.tenths(), size, asked(server, name, SIZE), kept)


@contextlib.contextmanager
def _writing(dsn: str, receiver: Sink, events: int) -> Iterator[None]:
    """Commit so many rows, never more than some ahead of what was received, until the end of the block."""
    stop = threading.Event()
    started = receiver.count()

    def write() -> None:
        written = 0
        with psycopg.connect(dsn, autocommit=True) as connection:
            while written < events and not stop.is_set():
                if written - (receiver.count() - started) > AHEAD:
                    stop.wait(LOOK_EVERY)
                    continue
                connection.execute(EXPENSES.encode(), [written + 1, min(events, written + BATCH)])
                written += BATCH

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
