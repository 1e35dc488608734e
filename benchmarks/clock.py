"""The rate of a run, as the receiver counts: from the first request that is seen until all have come and are known to be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

from benchmarks.sinks import Sink

LOOK_EVERY = 0.005
STALLED_AFTER = 60.0


class Clock:
    """Made before the worker starts. What is there at the first look counts as the start, and not as done in the time."""

    def __init__(self, receiver: Sink, wanted: int) -> None:
        self._receiver = receiver
        self._before = receiver.count()
        self._wanted = wanted
        self._looks: list[tuple[float, int]] = []  # when more had come, and how many

    def run(self, check: Callable[[], None] = lambda: None) -> None:
        """Until all have come. Raises RuntimeError when they stop coming, or what ``check`` raises."""
        seen, moved = 0, time.monotonic()
        while seen < self._wanted:
            time.sleep(LOOK_EVERY)
            check()
            now, count = time.monotonic(), self._receiver.count() - self._before
            if count > seen:
                self._looks.append((now, count))
                seen, moved = count, now
            elif now > moved + STALLED_AFTER:
                raise RuntimeError(f"{seen} of {self._wanted} requests came, then none for {STALLED_AFTER:.0f} s")

    def rate(self, unfinished: Callable[[], bool] = lambda: False) -> float:
        """Per second, once nothing is unfinished. Raises RuntimeError where requests were repeated, or something stays so."""
        deadline = time.monotonic() + STALLED_AFTER
        while unfinished():
            if time.monotonic() > deadline:
                raise RuntimeError(f"all requests came, but not all were done {STALLED_AFTER:.0f} s later")
            time.sleep(LOOK_EVERY)
        seconds = max(LOOK_EVERY, time.monotonic() - self._looks[0][0])
        if (count := self._receiver.count() - self._before) > self._wanted:
            raise RuntimeError(f"{count} requests came for {self._wanted} bodies")
        return self.counted / seconds

    @property
    def counted(self) -> int:
        """Those that came after the first look."""
        return self._wanted - self._looks[0][1]

    def tenths(self) -> list[float]:
        """Per second, for each tenth of the requests in the order in which they came."""
        edges = [self._look(number * self._wanted / 10) for number in range(11)]
        return [(now - before) / max(LOOK_EVERY, end - start) for (start, before), (end, now) in pairwise(edges)]

    def _look(self, reached: float) -> tuple[float, int]:
        return next(look for look in self._looks if look[1] >= reached)
