"""How long after a row's commit the receiver has the whole request.

Time runs from the moment the writer sent COMMIT, on either path and by the clock that all processes of a machine share. The
flush is in both, and the INSERT with its triggers in neither (see `writers`). Counted from COMMIT's return, the baseline is
often negative, as it posts before the writer hears of the commit; that median is given too, and it flatters nobody: without the
flush that both share, ratios are larger. One psycopg connection inserts single rows, spaced with some jitter.

The baseline is the least that could do the job: a row trigger with a NOTIFY each, and a program that LISTENs and posts at once
with aiohttp, without a signature, a record or a retry. Both run all the time, on databases of one server; rounds of inserts
alternate. The note says which rate was kept: at 1,000/s a row has 1 ms for its three round trips and its flush.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import psycopg

from benchmarks import bare
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.programs import RelayProcess, program
from benchmarks.server import CAPTURE, Server, add_endpoint

RATES = {Size.TINY: (20,), Size.QUICK: (20, 200, 1000), Size.NORMAL: (20, 200, 1000), Size.FULL: (20, 200, 1000)}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 5, Size.FULL: 5}
SECONDS = {Size.TINY: 1.0, Size.QUICK: 1.5, Size.NORMAL: 10.0, Size.FULL: 10.0}
WARM_UP = 2.0
ARRIVE_WITHIN = 30.0
BAR = Bar("ratio", "<=", 2.0)

INSERT = "INSERT INTO expenses (user_id, category_id, amount, notes) VALUES (7, 3, 99.50, %s)"
AGAINST = "LISTEN and aiohttp, nothing else"


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds to each row's request since COMMIT was sent and since it had returned; rows per second that were written."""

    sent: list[float]
    returned: list[float]
    rate: float

    def percentile(self, p: int) -> float:
        return quantiles(self.sent, n=100, method="inclusive")[p - 1]


class Path:
    """Rows into one database, requests out of a receiver; numbers tie them together."""

    def __init__(self, connection: psycopg.Connection[Any], receiver: str, numbers: Iterator[int]) -> None:
        self._connection = connection
        self._receiver = receiver
        self._numbers = numbers

    def round(self, rate: float, seconds: float) -> Times:
        """Each row's milliseconds to its receipt."""
        sent: dict[int, float] = {}
        returned: dict[int, float] = {}
        start = due = time.monotonic()
        while (due := due + random.uniform(0.8, 1.2) / rate) < start + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            number = next(self._numbers)
            self._connection.execute("BEGIN")
            self._connection.execute(INSERT, [f"bench-{number}"])
            sent[number] = time.monotonic()
            self._connection.execute("COMMIT")
            returned[number] = time.monotonic()
        kept = len(sent) / (max(returned.values()) - start)
        arrived = self._journal(set(sent))
        since_sent, since_returned = ([1000 * (arrived[n] - at) for n, at in since.items()] for since in (sent, returned))
        return Times(since_sent, since_returned, kept)

    def _journal(self, wanted: set[int]) -> dict[int, float]:
        """When each number came first; a repeat would be another attempt."""
        arrived: dict[int, float] = {}
        deadline = time.monotonic() + ARRIVE_WITHIN
        while wanted - arrived.keys():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(wanted - arrived.keys())} of {len(wanted)} rows did not arrive")
            time.sleep(0.1)
            with urllib.request.urlopen(self._receiver, timeout=5) as answer:
                for number, at in json.load(answer):
                    arrived.setdefault(number, at)
        return arrived


def run(size: Size, say: Say) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server())
        numbers = itertools.count(1)
        relay, baseline = _relay(stack, server, numbers), _bare(stack, server, numbers)
        for path in (relay, baseline):
            path.round(20, WARM_UP if size > Size.TINY else 0.5)
        return [f for rate in RATES[size] for f in _at_rate(rate, ROUNDS[size], SECONDS[size], relay, baseline, say)]


def _at_rate(rate: int, rounds: int, seconds: float, relay: Path, baseline: Path, say: Say) -> list[Figure]:
    found: dict[Path, list[Times]] = {relay: [], baseline: []}
    for number in range(rounds):
        for path in (relay, baseline) if number % 2 == 0 else (baseline, relay):
            found[path].append(path.round(rate, seconds))
        ours, other = (found[path][-1].percentile(50) for path in (relay, baseline))
        say(f"{rate}/s, round {number + 1} of {rounds}: p50 {ours:.1f} ms, baseline {other:.1f} ms")

    def compared(metric: str, of: Callable[[Times], float], bar: Bar | None = None, note: str = "") -> Figure:
        values, baselines = ([of(times) for times in found[path]] for path in (relay, baseline))
        return figure("latency", f"{metric} at {rate}/s", "ms", values, AGAINST, baselines, bar, note)

    rows = sum(len(times.sent) for times in found[relay])
    kept, other_kept = (median(times.rate for times in found[path]) for path in (relay, baseline))
    note = f"{rows} rows in {rounds} rounds; written at {kept:,.0f}/s, for the baseline at {other_kept:,.0f}/s"
    return [
        compared("p50", lambda times: times.percentile(50), BAR, note),
        compared("p90", lambda times: times.percentile(90)),
        compared("p99", lambda times: times.percentile(99)),
        compared("p50 since COMMIT returned", lambda times: median(times.returned)),
    ]


def _receiver(stack: contextlib.ExitStack) -> str:
    return f"http://127.0.0.1:{stack.enter_context(program('receiver'))}/"


def _relay(stack: contextlib.ExitStack, server: Server, numbers: Iterator[int]) -> Path:
    receiver = _receiver(stack)
    connection = stack.enter_context(server.connect(server.database("relayed", CAPTURE)))
    add_endpoint(connection, receiver)
    stack.enter_context(RelayProcess(server.dsn("relayed")))
    return Path(connection, receiver, numbers)


def _bare(stack: contextlib.ExitStack, server: Server, numbers: Iterator[int]) -> Path:
    receiver = _receiver(stack)
    connection = stack.enter_context(server.connect(server.database("bare", bare.TRIGGER)))
    stack.enter_context(program("bare", server.dsn("bare"), receiver))
    return Path(connection, receiver, numbers)
