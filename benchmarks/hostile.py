"""Whether hostile receivers harm the others: 10 healthy endpoints, with and without those of benchmarks/hostile_receivers.py.

All of them at once, and every second one: what they cost a relay goes with their number, and the rate that is left with that.

The hostile ones get events of their own: a backlog first, so that whoever hangs holds all that it can get; then one each every
two seconds, with the retries that come of them, while the healthy ones' backlog is delivered and timed. Time begins some seconds
after the hostile backlog: what comes of that by then are hanging requests, retries and probes. The rate is that of the healthy
ones, over several such backlogs: from their first request until all of theirs are recorded. The baseline is the same relay with
those alone: as many backlogs before the hostile endpoints are added, and as many once they are paused. Memory is the relay's peak
above what was resident when the hostile ones came; by then it had delivered as much to the healthy ones. Sockets are counted once
the hostile endpoints are paused, and timeouts and idle times are over.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean, mean
from urllib.parse import urlsplit

from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.hostile_receivers import RECEIVERS
from benchmarks.programs import program
from benchmarks.server import Server, add_endpoints
from benchmarks.sinks import sink
from benchmarks.warm import WarmRelay, events, warm_relay
from relay.send import IDLE

TRANSPORTS = ("aiohttp", "lean")
NAMES = tuple(RECEIVERS)
HEALTHY = 10
EVENTS = {Size.TINY: 20, Size.QUICK: 300, Size.NORMAL: 600, Size.FULL: 1000}
DRAINS = {Size.TINY: 1, Size.QUICK: 1, Size.NORMAL: 3, Size.FULL: 4}  # backlogs that a rate is of
ROUNDS = {Size.TINY: 1, Size.QUICK: 1, Size.NORMAL: 3, Size.FULL: 3}
WARM_UP = 40
JAM = {Size.TINY: 2, Size.QUICK: 30, Size.NORMAL: 30, Size.FULL: 30}
TRICKLE = 2.0  # seconds between events of theirs
SETTLE = {Size.TINY: 1.0, Size.QUICK: 4.0, Size.NORMAL: 12.0, Size.FULL: 30.0}
TIMEOUT = 15.0  # the default
GONE_WITHIN = TIMEOUT + IDLE + 15.0

RATE, MEMORY, SOCKETS = Bar("ratio", ">=", 0.9), Bar("value", "<", 20.0), Bar("value", "<", 1)
MEGABYTE = 1e6

UNFINISHED = """
SELECT EXISTS (SELECT FROM rowhook.delivery AS d JOIN rowhook.endpoint AS e ON e.id = d.endpoint_id
                WHERE d.state IN ('pending', 'leased') AND e.description = 'healthy') AS answer
"""
UNTRIED = """
SELECT EXISTS (SELECT FROM rowhook.endpoint AS e WHERE e.description = 'hostile' AND NOT EXISTS (
    SELECT FROM rowhook.delivery AS d WHERE d.endpoint_id = e.id AND (d.state = 'leased' OR d.attempts > 0))) AS answer
"""
PAUSE = """
UPDATE rowhook.endpoint SET state = 'paused', state_reason = 'the end', revision = revision + 1 WHERE description = 'hostile'
"""
EMIT = "SELECT rowhook.emit('hostile.event', '{}') FROM generate_series(1, %(number)s)"


@dataclass(frozen=True, slots=True)
class Once:
    """Rates per second beside the hostile ones and alone, megabytes that were added, sockets left (0 where nobody counted)."""

    beside: float
    alone: float
    memory: float
    sockets: int


def run(size: Size, say: Say) -> list[Figure]:
    return [figure for transport in TRANSPORTS for figure in _by(transport, size, say)]


def _by(transport: str, size: Size, say: Say) -> list[Figure]:
    """``every`` n-th of them is there."""
    found: dict[int, list[Once]] = {2: [], 1: []}
    for number in range(ROUNDS[size]):
        for every in sorted(found, reverse=number % 2 == 0):
            all_at_last = every == 1 and number == ROUNDS[size] - 1
            found[every].append(_once(size, transport, every=every, count_sockets=all_at_last))
        rates = {len(_chosen(every)): f"{ones[-1].beside:,.0f}/s for {ones[-1].alone:,.0f}/s" for every, ones in found.items()}
        told = ", ".join(f"{hostile} beside: {rate}" for hostile, rate in rates.items())
        say(f"{transport}, round {number + 1} of {ROUNDS[size]}: {told}; all: {found[1][-1].memory:.1f} MB more")
    return [
        *(_rates(transport, every, ones) for every, ones in found.items()),
        figure("hostile", f"{transport}: memory added by all", "MB", [one.memory for one in found[1]], bar=MEMORY),
        figure("hostile", f"{transport}: sockets left by all", "sockets", [float(found[1][-1].sockets)], bar=SOCKETS),
    ]


def _rates(transport: str, every: int, ones: Sequence[Once]) -> Figure:
    metric = f"{transport}: {len(_chosen(every))} hostile receivers beside {HEALTHY}"
    rates, alone = [one.beside for one in ones], [one.alone for one in ones]
    return figure("hostile", metric, "deliveries/s", rates, f"the {HEALTHY} alone", alone, RATE)


def _chosen(every: int) -> Sequence[str]:
    return NAMES[::every]


def _once(size: Size, transport: str, *, every: int, count_sockets: bool) -> Once:
    with contextlib.ExitStack() as stack:
        server, receiver = stack.enter_context(Server()), stack.enter_context(sink())
        database = server.database("hostile")
        with server.connect(database) as connection:
            add_endpoints(connection, [(f"{receiver.url}{number}", ["bench.*"]) for number in range(HEALTHY)], "healthy")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hostile = stack.enter_context(contextlib.ExitStack())
        urls = hostile.enter_context(program("hostile_receivers", str(folder))).split()[::every]
        settings = {"ROWHOOK_TRANSPORT": transport, "SSL_CERT_FILE": str(folder / "ca.pem")}
        warm_up = events("bench.done", WARM_UP, HEALTHY)
        relay = stack.enter_context(warm_relay(server, database, receiver, warm_up, 1, **settings))
        _rate(relay, size)
        alone = [_rate(relay, size)]
        before = relay.process.memory()
        with server.connect(database) as connection:
            add_endpoints(connection, [(url, ["hostile.*"]) for url in urls], "hostile")
        beside = _beside_the_hostile(server, database, relay, size)
        added = (max(relay.process.memory(), relay.process.peak_memory()) - before) / MEGABYTE
        with server.connect(database) as connection:
            connection.execute(PAUSE)
        alone.append(_rate(relay, size))
        left = _left(relay, {urlsplit(url).port or 0 for url in urls}) if count_sockets else 0
        hostile.close()  # before the relay, which otherwise waits for those that hang
        return Once(beside, mean(alone), added, left)


def _beside_the_hostile(server: Server, database: str, relay: WarmRelay, size: Size) -> float:
    with server.connect(database) as connection:
        connection.execute(EMIT.encode(), {"number": JAM[size]})
    relay.wait(UNTRIED)
    time.sleep(SETTLE[size])
    with _trickling(server, database):
        return _rate(relay, size)


def _rate(relay: WarmRelay, size: Size) -> float:
    """Deliveries per second to the healthy ones, of several backlogs as if they were one."""
    backlog = events("bench.done", EVENTS[size], HEALTHY)
    return harmonic_mean([relay.drain(backlog, UNFINISHED).rate for _ in range(DRAINS[size])])


@contextlib.contextmanager
def _trickling(server: Server, database: str) -> Iterator[None]:
    over = threading.Event()

    def emit() -> None:
        with server.connect(database) as connection:
            while not over.wait(TRICKLE):
                connection.execute(EMIT.encode(), {"number": 1})

    thread = threading.Thread(target=emit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _left(relay: WarmRelay, ports: set[int]) -> int:
    deadline = time.monotonic() + GONE_WITHIN
    while (left := relay.process.sockets(ports)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left
