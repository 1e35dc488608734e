"""How many deliveries a second the relay makes of a backlog, against bare clients that sign and post the same bodies.

Events are committed in one transaction while the relay is running, its connections open. Time runs from the first request that
the receiver sees until all have come and all attempts are in the tables. A bare client (benchmarks/client.py) has the very bodies
of such events in memory, sends the same headers with the same two signatures, and reads no database: what is left is HTTP.
Both have 64 requests out at most (two processes as many each), to one receiver that is never the limit. CPU is that of those who
send, Postgres and the receiver not included. Two processes are measured against one of the same transport. Each runs all the
time; rounds go through all in turn.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.bare_clients import bare_client
from benchmarks.client import AT_ONCE
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.server import CAPTURE, Server, add_endpoint
from benchmarks.sinks import Sink, sink
from benchmarks.warm import Backlog, Run, WarmRelay, warm_relay
from relay import moment
from relay.envelope import envelope
from relay.public_id import public_id

ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 5, Size.FULL: 7}
WARM_UP = {Size.TINY: 50, Size.QUICK: 1_000, Size.NORMAL: 1_000, Size.FULL: 2_000}

WIDE = "ALTER TABLE expenses ALTER notes TYPE text"
ONE_ENDPOINT = f"UPDATE rowhook.endpoint SET max_in_flight = {AT_ONCE}"
ROWS = """
INSERT INTO expenses (user_id, category_id, amount, notes, spent_at)
SELECT i %% 1000, i %% 12, i / 100.0, %(notes)s, '2026-01-15' FROM generate_series(1, %(rows)s) AS i
"""
EVENTS = """
SELECT occurred_at, id, slot, type, tenant, data::text AS data, previous::text AS previous, moved FROM rowhook.event ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Load:
    """Bodies of one length; how many, and what the relay should reach of the bare aiohttp client, by transport."""

    name: str
    notes: str
    rows: dict[Size, int]
    bars: dict[str, Bar]

    def backlog(self, size: Size) -> Backlog:
        rows = self.rows[size]
        return Backlog(ROWS, {"notes": self.notes, "rows": rows}, rows)


def _text(length: int) -> str:
    """Compresses to about a half, as JSON does."""
    chance = random.Random(length)
    return "; ".join(f"coffee and a sandwich {chance.getrandbits(128):032x}" for _ in range(length // 56))


LOADS = (
    Load(
        "",
        "coffee and a sandwich on the way to the station, paid in cash",
        {Size.TINY: 200, Size.QUICK: 4_000, Size.NORMAL: 20_000, Size.FULL: 20_000},
        {"aiohttp": Bar("ratio", ">=", 0.75), "lean": Bar("ratio", ">=", 1.5)},
    ),
    Load(
        ", 10 kB bodies",
        _text(10_000),
        {Size.TINY: 400, Size.QUICK: 1_000, Size.NORMAL: 5_000, Size.FULL: 10_000},
        {"aiohttp": Bar("ratio", ">=", 0.75)},
    ),
    Load(
        ", 200 kB bodies",
        _text(200_000),
        {Size.TINY: 60, Size.QUICK: 200, Size.NORMAL: 500, Size.FULL: 1_000},
        {"aiohttp": Bar("ratio", ">=", 0.5)},
    ),
)
TRANSPORTS = ("aiohttp", "lean")
OF_BARE_LEAN = Bar("ratio", ">=", 0.4)

Name = tuple[str, str]  # who sends, and the load's name
Once = Callable[[], Run]


def run(size: Size, say: Say) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        server, receiver = stack.enter_context(Server()), stack.enter_context(sink())
        say(f"receiver: {receiver.name}; warming up")
        runs = _relays(stack, server, receiver, size) | _clients(stack, server, receiver, size)
        return _figures(_rounds(ROUNDS[size], runs, say), receiver.name)


def _relays(stack: contextlib.ExitStack, server: Server, receiver: Sink, size: Size) -> dict[Name, Once]:
    runs: dict[Name, Once] = {}
    for transport in TRANSPORTS:
        relay = stack.enter_context(_relay(server, receiver, size, transport))
        runs |= {(transport, load.name): partial(relay.drain, load.backlog(size)) for load in LOADS}
        pair = stack.enter_context(_relay(server, receiver, size, transport, 2))
        runs[f"{transport}, 2 processes", ""] = partial(pair.drain, LOADS[0].backlog(size))
    return runs


def _relay(
    server: Server, receiver: Sink, size: Size, transport: str, processes: int = 1
) -> contextlib.AbstractContextManager[WarmRelay]:
    database = server.database(f"{transport}_{processes}", WIDE, CAPTURE)
    with server.connect(database) as connection:
        add_endpoint(connection, receiver.url)
        connection.execute(ONE_ENDPOINT.encode())
    warm_up = Backlog(ROWS, {"notes": LOADS[0].notes, "rows": WARM_UP[size]}, WARM_UP[size])
    return warm_relay(server, database, receiver, warm_up, processes, ROWHOOK_TRANSPORT=transport)


def _clients(stack: contextlib.ExitStack, server: Server, receiver: Sink, size: Size) -> dict[Name, Once]:
    runs: dict[Name, Once] = {}
    for number, load in enumerate(LOADS):
        bodies = server.folder / f"bodies_{number}"
        _write_bodies(server, f"bodies_{number}", load.backlog(size), bodies)
        for kind in ("aiohttp", "lean") if load.bars.keys() >= set(TRANSPORTS) else ("aiohttp",):
            client = bare_client(kind, bodies, load.rows[size], receiver)
            runs[f"bare {kind}", load.name] = stack.enter_context(client)
    return runs


def _write_bodies(server: Server, database: str, backlog: Backlog, file: Path) -> None:
    """What the relay would send of such events, a line each."""
    with server.connect(server.database(database, WIDE, CAPTURE)) as connection, file.open("wb") as lines:
        connection.execute(backlog.statement.encode(), backlog.parameters)
        for at, number, slot, kind, tenant, data, previous, moved in connection.execute(EVENTS):
            body = envelope(
                event_id=public_id("evt", at, number, slot),
                type=kind,
                occurred_at=moment.of(at),
                tenant=tenant,
                data=data and data.encode(),
                previous=previous and previous.encode(),
                moved=moved,
            )
            lines.write(body + b"\n")
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {database}".encode())


def _rounds(rounds: int, runs: dict[Name, Once], say: Say) -> dict[Name, list[Run]]:
    found: dict[Name, list[Run]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            done = runs[name]()
            found[name].append(done)
            say(f"round {number + 1} of {rounds}: {''.join(name)} {done.rate:,.0f}/s, CPU {done.cpu:.0f} µs each")
    return found


def _figures(found: dict[Name, list[Run]], receiver: str) -> list[Figure]:
    def rate(who: str, load: str, against: str, bar: Bar | None = None, note: str = "") -> Figure:
        values, baselines = ([run.rate for run in found[name, load]] for name in (who, against))
        return figure("throughput", f"{who}{load}", "deliveries/s", values, against, baselines, bar, note)

    def cpu(who: str, load: str, against: str) -> Figure:
        values, baselines = ([run.cpu for run in found[name, load]] for name in (who, against))
        return figure("throughput", f"{who}{load}: CPU", "µs/delivery", values, against, baselines)

    figures = [
        rate("aiohttp", "", "bare aiohttp", LOADS[0].bars["aiohttp"], f"receiver: {receiver}"),
        rate("lean", "", "bare aiohttp", LOADS[0].bars["lean"]),
        rate("lean", "", "bare lean", OF_BARE_LEAN),
        *(rate(w, d.name, "bare aiohttp", d.bars.get(w)) for d in LOADS[1:] for w in TRANSPORTS),
        *(rate(f"{t}, 2 processes", "", t) for t in TRANSPORTS),
        *(cpu(f"{t}, 2 processes", "", t) for t in TRANSPORTS),
        cpu("aiohttp", "", "bare aiohttp"),
        cpu("lean", "", "bare lean"),
    ]
    return figures + [cpu(who, load.name, "bare aiohttp") for load in LOADS[1:] for who in TRANSPORTS]
