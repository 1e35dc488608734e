"""What the admin API costs, and whether it is slower the more there is.

A webhook's last 50 attempts are asked for, one request after the other over one connection, of two databases: with 3,000,000
attempts to that webhook (full size, as `history` makes them) and with 1,000. Rounds alternate; the figure is p99.

And latency, from COMMIT to receipt, at half load: half of the rows per second that one connection can commit singly while the
relay delivers them. With `rowhook api` in a process of its own that is asked for the last attempts 200 times a second, against
the same process that is asked nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.history import with_history
from benchmarks.latency import INSERT, Path, Times
from benchmarks.programs import ROOT, RelayProcess, api, program
from benchmarks.server import CAPTURE, Server, add_endpoint

FEW = 1_000
MANY = {Size.TINY: 2_000, Size.QUICK: 50_000, Size.NORMAL: 1_000_000, Size.FULL: 3_000_000}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 5, Size.FULL: 7}
REQUESTS = {Size.TINY: 50, Size.QUICK: 300, Size.NORMAL: 1_000, Size.FULL: 1_000}
SECONDS = {Size.TINY: 1.0, Size.QUICK: 2.0, Size.NORMAL: 10.0, Size.FULL: 15.0}
RATE = 200.0  # requests a second
HALF = 0.5
WARM_UP = 100
GROWTH = Bar("ratio", "<=", 2.0)
BESIDE = Bar("ratio", "<=", 1.5)
NOBODY = "http://127.0.0.1:9/"  # old deliveries: nothing is sent


def run(size: Size, say: Say) -> list[Figure]:
    with Server() as server:
        return [_growth(server, size, say), *_beside(server, size, say)]


# --- the more there is -------------------------------------------------------------------------------------------------


def _growth(server: Server, size: Size, say: Say) -> Figure:
    say(f"making {MANY[size]:,} old attempts")
    databases = [with_history(server, name, NOBODY, old) for name, old in (("many", MANY[size]), ("few", FEW))]
    found: dict[str, list[float]] = {name: [] for name in databases}
    with contextlib.ExitStack() as stack:
        askers = {name: stack.enter_context(_client(server, name)) for name in databases}
        for name in databases:
            askers[name].p99(WARM_UP)
        for number in range(ROUNDS[size]):
            for name in databases if number % 2 == 0 else reversed(databases):
                found[name].append(askers[name].p99(REQUESTS[size]))
            say(f"round {number + 1} of {ROUNDS[size]}: p99 {found['many'][-1]:.2f} ms, with few {found['few'][-1]:.2f} ms")
    note = f"{REQUESTS[size]:,} requests a round, one after the other"
    metric = f"last 50 of {MANY[size]:,} attempts: p99"
    return figure("api", metric, "ms", found["many"], f"of {FEW:,}", found["few"], GROWTH, note)


class Client:
    """One connection to an API, which asks for one webhook's last attempts."""

    def __init__(self, url: str, path: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._path = path

    def p99(self, requests: int) -> float:
        """Milliseconds."""
        return quantiles([self._ask() for _ in range(requests)], n=100, method="inclusive")[98]

    def _ask(self) -> float:
        began = time.monotonic()
        self._connection.request("GET", self._path)
        answer = self._connection.getresponse()
        body = answer.read()
        took = 1000 * (time.monotonic() - began)
        if answer.status != 200 or len(json.loads(body)["items"]) != 50:
            raise RuntimeError(f"the API answered {answer.status}: {body[:200]!r}")
        return took


@contextlib.contextmanager
def _client(server: Server, database: str) -> Iterator[Client]:
    with api(server.dsn(database)) as url:
        yield Client(url, _path(server, database))


def _path(server: Server, database: str) -> str:
    with server.connect(database) as connection:
        row = connection.execute("SELECT public_id FROM rowhook.endpoint").fetchone()
    assert row is not None
    return f"/webhooks/{row[0]}/deliveries"


# --- beside a relay ----------------------------------------------------------------------------------------------------


def _beside(server: Server, size: Size, say: Say) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(server.connect(server.database("relayed", CAPTURE)))
        receiver = f"http://127.0.0.1:{stack.enter_context(program('receiver'))}/"
        add_endpoint(connection, receiver)
        stack.enter_context(RelayProcess(server.dsn("relayed")))
        url = stack.enter_context(api(server.dsn("relayed"))) + _path(server, "relayed")
        path = Path(connection, receiver, itertools.count(1))
        path.round(20, 1.0)
        rates: list[float] = []
        found: dict[bool, list[Times]] = {True: [], False: []}
        asked: list[dict[str, float]] = []
        for number in range(ROUNDS[size]):
            rates.append(rate := HALF * _most(connection, SECONDS[size] / 4))  # anew: shared machines change their speed
            for is_asked in (True, False) if number % 2 == 0 else (False, True):
                with _asking(url, asked) if is_asked else contextlib.nullcontext():
                    found[is_asked].append(path.round(rate, SECONDS[size]))
            ours, alone = (found[is_asked][-1].percentile(99) for is_asked in (True, False))
            say(f"{rate:.0f} rows/s, round {number + 1} of {ROUNDS[size]}: p99 {ours:.1f} ms, alone {alone:.1f} ms")
    if refused := sum(one["refused"] for one in asked):
        raise RuntimeError(f"{refused:.0f} requests to the API were refused")
    kept, slowest = median(one["rate"] for one in asked), median(one["p99"] for one in asked)
    note = f"{median(rates):.0f} rows/s; asked {kept:.0f} times a second, p99 of the answers {slowest:.1f} ms"
    return [_compared(found, 99, BESIDE, note), _compared(found, 50, None, "")]


def _compared(found: dict[bool, list[Times]], percentile: int, bar: Bar | None, note: str) -> Figure:
    values, baselines = ([times.percentile(percentile) for times in found[is_asked]] for is_asked in (True, False))
    metric = f"delivery at half load, API asked {RATE:.0f}/s: p{percentile}"
    return figure("api", metric, "ms", values, "API asked nothing", baselines, bar, note)


def _most(connection: psycopg.Connection[Any], seconds: float) -> float:
    """Rows per second that this connection commits singly, one after the other."""
    rows, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        connection.execute(INSERT, ["as many as can be"])
        rows += 1
    return rows / (time.monotonic() - began)


@contextlib.contextmanager
def _asking(url: str, asked: list[dict[str, float]]) -> Iterator[None]:
    """Requests at the rate until the end of the block; how it went is added."""
    command = [sys.executable, "-m", "benchmarks.asker", url, str(RATE)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()
            asked.append(json.loads(process.stdout.readline()))
