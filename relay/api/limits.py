"""How much one principal may ask: a bucket each, which fills at ROWHOOK_API_RATE and holds two seconds' worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from relay.api.problem import Problem

BURST_SECONDS = 2.0
MOST_BUCKETS = 10_000


class Buckets:
    """take() raises Problem 429, with Retry-After, when a bucket is empty. Without a rate it never does."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._most = max(rate * BURST_SECONDS, 1.0)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> None:
        if self._rate <= 0:
            return
        level = self._level(who)
        if level < 1:
            wait = math.ceil((1 - level) / self._rate)
            raise Problem(429, "too-many-requests", f"ask again in {wait} s", headers={"Retry-After": str(wait)})
        self._buckets.pop(who, None)
        self._buckets[who] = (level - 1, self._clock())
        if len(self._buckets) > MOST_BUCKETS:  # who asked least lately begins anew
            del self._buckets[next(iter(self._buckets))]

    def _level(self, who: str) -> float:
        level, at = self._buckets.get(who, (self._most, self._clock()))
        return min(self._most, level + (self._clock() - at) * self._rate)
