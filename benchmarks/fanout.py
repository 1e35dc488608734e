"""What many endpoints cost: deliveries a second of events that go to several, against as many of one event for one endpoint.

"To all": one event goes to 1,000 endpoints, some such events after each other, each committed when the one before is recorded.
"By pattern": events of 1,000 types, and 1,000 endpoints, of which each event's type matches three: two by their pattern (area7.*)
and one by the type's name. The baseline is the plain case of the same run: one type and one endpoint, a backlog committed in one
transaction, as `throughput` has it. All events are written by rowhook.emit(). One relay each, warm; rounds alternate. The
endpoints are paths of one receiver; the transport is the default one.
"""

from __future__ import annotations

import contextlib

from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.server import Server
from benchmarks.sinks import Sink, sink
from benchmarks.warm import Backlog, WarmRelay, add_endpoints, events, warm_relay

ENDPOINTS = {Size.TINY: 100, Size.QUICK: 1_000, Size.NORMAL: 1_000, Size.FULL: 1_000}
TO_ALL = {Size.TINY: 1, Size.QUICK: 5, Size.NORMAL: 10, Size.FULL: 20}  # events, one after the other
MATCHES = 3
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 5, Size.FULL: 5}
BAR = Bar("ratio", ">=", 0.7)
ONE, ALL, PATTERNS = "one endpoint", "one event to all", "by pattern"


def run(size: Size, say: Say) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        server, receiver = stack.enter_context(Server()), stack.enter_context(sink())
        number = ENDPOINTS[size]
        urls = [f"{receiver.url}{n}" for n in range(number)]
        plain = _relay(stack, server, receiver, "plain", urls[:1], ["*"], Backlog(*events("plain"), number, number))
        wide = _relay(stack, server, receiver, "wide", urls, ["*"], Backlog(*events("bench.done"), 1, number))
        typed = Backlog(*events(f"area' || i % {number} / 4 || '.kind' || i % {number} || '"), number, number * MATCHES)
        matched = _relay(stack, server, receiver, "matched", urls, _patterns(number), typed)
        found: dict[str, list[float]] = {ONE: [], ALL: [], PATTERNS: []}
        for turn in range(ROUNDS[size]):
            runs = {
                ONE: lambda: _rate(plain, Backlog(*events("plain"), number * TO_ALL[size], number * TO_ALL[size]), 1),
                ALL: lambda: _rate(wide, Backlog(*events("bench.done"), 1, number), TO_ALL[size]),
                PATTERNS: lambda: _rate(matched, Backlog(typed.statement, {}, number * 2, number * 2 * MATCHES), 1),
            }
            for name in list(runs)[turn % 3 :] + list(runs)[: turn % 3]:
                found[name].append(runs[name]())
            say(f"round {turn + 1} of {ROUNDS[size]}: " + ", ".join(f"{n} {rates[-1]:,.0f}/s" for n, rates in found.items()))
    metrics = {ALL: f"1 event to {number:,} endpoints", PATTERNS: f"{number:,} types, {number:,} endpoints with patterns"}
    return [figure("fanout", m, "deliveries/s", found[n], "1 type, 1 endpoint", found[ONE], BAR) for n, m in metrics.items()]
