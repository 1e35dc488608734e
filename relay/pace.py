"""Pure: how fast results of late have come, by endpoint. By it work is claimed ahead: enough to keep busy, no more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

MEMORY = 0.25  # seconds: what is so old counts a third
FEW = 8  # results of late from which no pace is seen
LEAST = 0.05  # of MEMORY: how long it has gone on at the first results after a pause
AHEAD = 0.2  # seconds of work: a look takes a tenth of that on a busy machine, and must find something left when it ends


class Pace:
    """Deliveries per second as an exponential average; times in seconds of a monotonic clock.

    A pause says nothing of how quick a receiver is. So after one the average is that of the time since those requests began whose
    results are the first: else it would be too low by what is still to come of ``MEMORY``, and a backlog's first tenth of a
    second would starve.
    """

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}
        self._rate = 0.0
        self._share = 1.0  # of MEMORY that was looked at
        self._as_of = 0.0

    def note(self, endpoints: Iterable[int], now: float, since: float) -> None:
        """One endpoint for each delivery that has ended since the last call; the first of their requests began at ``since``."""
        fade = self._fade(now)
        if now - self._as_of > MEMORY:
            fade, self._share = 0.0, max(LEAST, 1 - math.exp((since - now) / MEMORY))
        else:
            self._share = self._share * fade + 1 - fade
        self._as_of = now
        self._rates = {endpoint: rate * fade for endpoint, rate in self._rates.items() if rate * fade * AHEAD >= 1}
        counted = Counter(endpoints)
        self._rate = self._rate * fade + counted.total() / MEMORY
        for endpoint, count in counted.items():
            self._rates[endpoint] = self._rates.get(endpoint, 0.0) + count / MEMORY

    def ahead_in_all(self, now: float) -> int:
        """How many deliveries this relay makes in ``AHEAD`` seconds, however many endpoints share them."""
        return int(self._rate * self._fade(now) * AHEAD / self._share)

    def ahead(self, now: float) -> dict[int, int]:
        """How many deliveries each endpoint takes in ``AHEAD`` seconds; only those of which enough is known."""
        fade = self._fade(now)
        ahead, least = fade * AHEAD / self._share, FEW / MEMORY
        return {endpoint: int(rate * ahead) for endpoint, rate in self._rates.items() if rate * fade >= least}

    def _fade(self, now: float) -> float:
        return math.exp((self._as_of - now) / MEMORY)
