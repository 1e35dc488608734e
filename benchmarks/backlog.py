"""Whether a relay is slower the more is waiting: a backlog of 1,000,000 events (full size) against one of 10,000.

The large one's rate is taken as a whole, over its first tenth and over its last: the relay's queries read from all that waits at
the beginning, and write next to all that is done at the end. The small one takes seconds where the large one takes minutes, so it
is run before and after it, and the baseline is the mean of the two.
"""

from __future__ import annotations

from statistics import mean

from benchmarks.drain import Backlog, Drained, drain, expenses
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.server import Server
from benchmarks.sinks import sink

LARGE = {Size.TINY: 2_000, Size.QUICK: 20_000, Size.NORMAL: 200_000, Size.FULL: 1_000_000}
SMALL = {Size.TINY: 500, Size.QUICK: 5_000, Size.NORMAL: 10_000, Size.FULL: 10_000}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 3, Size.FULL: 3}
BAR = Bar("ratio", ">=", 0.9)


def run(size: Size, say: Say) -> list[Figure]:
    found: list[tuple[float, Drained]] = []
    with Server() as server, sink() as receiver:
        small, large = (Backlog(expenses(receiver.url, rows), rows) for rows in (SMALL[size], LARGE[size]))
        for number in range(ROUNDS[size]):
            before = drain(server, receiver, f"before_{number}", small)
            between = drain(server, receiver, f"large_{number}", large)
            after = drain(server, receiver, f"after_{number}", small)
            found.append((mean([before.rate, after.rate]), between))
            rates = f"{between.rate:,.0f}/s, small ones {before.rate:,.0f}/s and {after.rate:,.0f}/s"
            say(f"round {number + 1} of {ROUNDS[size]}: {rates}")
        return _figures(found, size, f"receiver: {receiver.name}")


def _figures(found: list[tuple[float, Drained]], size: Size, note: str) -> list[Figure]:
    smalls, larges = [small for small, _ in found], [large for _, large in found]
    against = f"{SMALL[size]:,} waiting"

    def compared(part: str, rates: list[float], note: str = "") -> Figure:
        return figure("backlog", f"{LARGE[size]:,} waiting{part}", "deliveries/s", rates, against, smalls, BAR, note)

    return [
        compared("", [large.rate for large in larges], note),
        compared(": first tenth", [large.tenths[0] for large in larges]),
        compared(": last tenth", [large.tenths[-1] for large in larges]),
    ]
