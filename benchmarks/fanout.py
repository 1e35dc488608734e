"""What many endpoints cost: deliveries a second of events that go to several, against as many deliveries of events for one.

"To all": one event goes to 1,000 endpoints; some such events in one transaction. "By pattern": events of 1,000 types, and 1,000
endpoints, of which each type matches three: two by a pattern over four types (area7.*) and one by the type's name. The baseline
is the plain case of the same run: one type and one endpoint. All events are written by rowhook.emit(). One relay each, warm;
rounds alternate. The endpoints are paths of one receiver; the transport is the default one.
"""

from __future__ import annotations

import contextlib

from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.server import Server, add_endpoints
from benchmarks.sinks import Sink, sink
from benchmarks.warm import Backlog, WarmRelay, events, warm_relay

ENDPOINTS = {Size.TINY: 40, Size.QUICK: 1_000, Size.NORMAL: 1_000, Size.FULL: 1_000}
TO_ALL = {Size.TINY: 2, Size.QUICK: 4, Size.NORMAL: 10, Size.FULL: 20}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 5, Size.FULL: 5}
TYPES_OF_AREA, MATCHES = 4, 3
BAR = Bar("ratio", ">=", 0.7)
ONE, ALL, PATTERNS = "1 type, 1 endpoint", "one event to all", "by pattern"

TYPED = """
SELECT count(rowhook.emit(
    'area' || i %% %(types)s / 4 || '.kind' || i %% %(types)s,
    json_build_object('id', i, 'amount', '12.50', 'notes', 'coffee and a sandwich on the way to the station, paid in cash'),
    i::text
)) FROM generate_series(1, %(rows)s) AS i
"""


def run(size: Size, say: Say) -> list[Figure]:
    number = ENDPOINTS[size]
    deliveries = number * TO_ALL[size]
    backlogs = {
        ONE: events("bench.done", deliveries),
        ALL: events("bench.done", TO_ALL[size], number),
        PATTERNS: Backlog(TYPED, {"types": number, "rows": deliveries // MATCHES}, deliveries // MATCHES * MATCHES),
    }
    found: dict[str, list[float]] = {name: [] for name in backlogs}
    with contextlib.ExitStack() as stack:
        server, receiver = stack.enter_context(Server()), stack.enter_context(sink())
        relays = {
            ONE: _relay(stack, server, receiver, "plain", [["*"]], backlogs[ONE]),
            ALL: _relay(stack, server, receiver, "wide", [["*"]] * number, backlogs[ALL]),
            PATTERNS: _relay(stack, server, receiver, "matched", _patterns(number), backlogs[PATTERNS]),
        }
        names = list(backlogs)
        for turn in range(ROUNDS[size]):
            for name in names[turn % 3 :] + names[: turn % 3]:
                found[name].append(relays[name].drain(backlogs[name]).rate)
            say(f"round {turn + 1} of {ROUNDS[size]}: " + ", ".join(f"{n} {rates[-1]:,.0f}/s" for n, rates in found.items()))
    metrics = {ALL: f"1 event to {number:,} endpoints", PATTERNS: f"{number:,} types, {number:,} endpoints with patterns"}
    return [figure("fanout", metric, "deliveries/s", found[n], ONE, found[ONE], BAR) for n, metric in metrics.items()]


def _relay(
    stack: contextlib.ExitStack, server: Server, receiver: Sink, database: str, patterns: list[list[str]], warm_up: Backlog
) -> WarmRelay:
    with server.connect(server.database(database)) as connection:
        add_endpoints(connection, [(f"{receiver.url}{n}", each) for n, each in enumerate(patterns)])
    return stack.enter_context(warm_relay(server, database, receiver, warm_up))


def _patterns(number: int) -> list[list[str]]:
    """What each endpoint wants: areas twice over for a half of them, the names of two types for each of the others."""
    areas = number // TYPES_OF_AREA
    halves = [[f"area{n % areas}.*"] for n in range(2 * areas)]
    names = [f"area{n // TYPES_OF_AREA}.kind{n}" for n in range(number)]
    return halves + [names[n : n + 2] for n in range(0, number, 2)]
