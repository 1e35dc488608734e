"""The rate of a run, as the receiver counts: from the first request that is seen until all have come and are known to be done."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.sinks import Sink

LOOK_EVERY = 0.005
STALLED_AFTER = 60.0


class Clock:
    """Made before the worker starts. What is there at the first look counts as the start, and not as done in the time."""

    def __init__(self, receiver: Sink, wanted: int) -> None:
        self._receiver = receiver
        self._before = receiver.count()
        self._wanted = wanted
        self._began = 0.0
        self._at_once = 0

    def run(self, check: Callable[[], None] = lambda: None) -> None:
        """Until all have come. Raises RuntimeError when they stop coming, or what ``check`` raises."""
        seen, moved = 0, time.monotonic()
        while seen < self._wanted:
            time.sleep(LOOK_EVERY)
            check()
            now, count = time.monotonic(), self._receiver.count() - self._before
            if count > seen:
                if not seen:
                    self._began, self._at_once = now, count
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
        seconds = max(LOOK_EVERY, time.monotonic() - self._began)
        if (count := self._receiver.count() - self._before) > self._wanted:
            raise RuntimeError(f"{count} requests came for {self._wanted} bodies")
        return (self._wanted - self._at_once) / seconds
