"""What retries cost: attempts per second where each delivery fails twice before it succeeds, against ones that succeed at once.

The endpoint's schedule waits a second before each retry, so while some wait others are tried; what comes due is found and claimed
again, and each failure is recorded with when to go on. The receiver is one program for both: it counts each webhook-id's tries.
"""

from __future__ import annotations

from typing import Any

import psycopg

from benchmarks.drain import Backlog, Fill, drain, expenses
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.server import Server
from benchmarks.sinks import own_sink

JOBS = {Size.TINY: 200, Size.QUICK: 6_000, Size.NORMAL: 20_000, Size.FULL: 100_000}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 3, Size.FULL: 3}
FAILURES = 2
BAR = Bar("ratio", ">=", 0.6)

SCHEDULE = f"UPDATE rowhook.endpoint SET retry_schedule = array_fill(interval '1 s', '{{{FAILURES}}}')"


def run(size: Size, say: Say) -> list[Figure]:
    jobs, rounds = JOBS[size], ROUNDS[size]
    with Server() as server, own_sink() as receiver:
        backlogs = {
            "failing": Backlog(_failing(f"{receiver.url}fail/{FAILURES}", jobs), jobs * (FAILURES + 1)),
            "plain": Backlog(expenses(receiver.url, jobs), jobs),
        }
        found: dict[str, list[float]] = {name: [] for name in backlogs}
        for number in range(rounds):
            for name in sorted(backlogs, reverse=number % 2 == 1):
                found[name].append(drain(server, receiver, f"{name}_{number}", backlogs[name]).rate)
            rates = ", ".join(f"{name} {rates[-1]:,.0f}/s" for name, rates in found.items())
            say(f"round {number + 1} of {rounds}: {rates}")
        note = f"{jobs:,} deliveries a round, a second before each retry; receiver: {receiver.name}"
        metric, against = f"each fails {FAILURES} times", "each succeeds at once"
        return [figure("retries", metric, "attempts/s", found["failing"], against, found["plain"], BAR, note)]


def _failing(url: str, rows: int) -> Fill:
    make = expenses(url, rows)

    def fill(connection: psycopg.Connection[Any]) -> None:
        make(connection)
        connection.execute(SCHEDULE)

    return fill
