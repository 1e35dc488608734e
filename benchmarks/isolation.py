"""Whether receivers that are not well slow down the others: 97 healthy endpoints with and without three sick ones beside them.

Every event goes to all endpoints. One of the three never answers, one refuses connections, one answers after half a second. They
are jammed when time begins: the warm-up has gone to all, and whoever hangs holds all the requests that an endpoint may have out.
The rate is that of the 97: from their first request until all of theirs are recorded. The baseline is another relay, on a
database of its own, with the 97 alone. The healthy ones are paths of one receiver. The transport is the default one.
"""

from __future__ import annotations

import contextlib

from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.programs import program
from benchmarks.server import Server, add_endpoints
from benchmarks.sinks import sink
from benchmarks.warm import events, warm_relay

HEALTHY = {Size.TINY: 7, Size.QUICK: 97, Size.NORMAL: 97, Size.FULL: 97}
EVENTS = {Size.TINY: 50, Size.QUICK: 50, Size.NORMAL: 200, Size.FULL: 400}
WARM_UP = {Size.TINY: 10, Size.QUICK: 40, Size.NORMAL: 80, Size.FULL: 80}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 5, Size.FULL: 5}
BAR = Bar("ratio", ">=", 0.9)

UNFINISHED = """
SELECT EXISTS (SELECT FROM rowhook.delivery AS d JOIN rowhook.endpoint AS e ON e.id = d.endpoint_id
                WHERE d.state IN ('pending', 'leased') AND e.description = 'healthy')
"""


def run(size: Size, say: Say) -> list[Figure]:
    found: dict[bool, list[float]] = {True: [], False: []}
    for number in range(ROUNDS[size]):
        for sick in (True, False) if number % 2 == 0 else (False, True):
            found[sick].append(_once(size, sick))
        say(f"round {number + 1} of {ROUNDS[size]}: {found[True][-1]:,.0f}/s, without the sick {found[False][-1]:,.0f}/s")
    healthy = HEALTHY[size]
    metric, against = f"{healthy} endpoints, 3 sick ones beside them", f"the same {healthy} alone"
    return [figure("isolation", metric, "deliveries/s", found[True], against, found[False], BAR)]


def _once(size: Size, sick: bool) -> float:
    """The sick receivers end before the relay does: it need not wait for their timeouts."""
    healthy = HEALTHY[size]
    with contextlib.ExitStack() as stack:
        server, receiver = stack.enter_context(Server()), stack.enter_context(sink())
        database = server.database("isolation")
        with server.connect(database) as connection:
            add_endpoints(connection, [(f"{receiver.url}{number}", ["*"]) for number in range(healthy)], "healthy")
        warm_up = events("bench.done", WARM_UP[size], healthy)
        relay = stack.enter_context(warm_relay(server, database, receiver, warm_up))
        if sick:
            urls = stack.enter_context(program("sick")).split()
            with server.connect(database) as connection:
                add_endpoints(connection, [(url, ["*"]) for url in urls], "sick")
            relay.drain(warm_up, UNFINISHED)
        backlog = events("bench.done", EVENTS[size], healthy)
        return relay.drain(backlog, UNFINISHED).rate
