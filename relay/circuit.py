"""Pure: what a batch of results says of each endpoint. By it the endpoint's circuit opens and closes, in record.sql.

A circuit opens after nothing but failures: FAILURES in a row, more than a delivery by itself has tries, and over a time
(ROWHOOK_CIRCUIT_AFTER) in which a receiver restarts. While it is open one probe is out at a time over all relays; a probe that
succeeds begins the ramp. A failure counts from when its request was begun, so that one that hangs opens it after one timeout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from relay.model import ErrorClass, Result, State

FAILURES = 20
STEPS = 64  # the first wait for a probe is this part of the longest; each failed one doubles it
FULL_RAMP = 64  # a ramp of so many has no herd before it; or of what the endpoint takes at once, where it says that


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint may do nothing but fail until its circuit opens, the longest wait for a probe, when it is disabled."""

    open_after: timedelta
    longest_probe_wait: timedelta
    disable_after: timedelta


class Sign(NamedTuple):
    """What one batch says of one endpoint: successes, or failures that count.

    ``since`` is for how many seconds nothing but failures is known here, ``latest`` how many ago the last request that failed was
    begun, ``asked`` the longest Retry-After.
    """

    endpoint: int
    well: int
    ill: int
    since: float = 0.0
    latest: float = 0.0
    asked: float | None = None


class Signs:
    """Reads batches. Remembers when each endpoint last succeeded here: what hung since before that says nothing of now."""

    def __init__(self) -> None:
        self._well_at: dict[int, float] = {}

    def of(self, batch: Sequence[Result], now: float) -> list[Sign]:
        """In order of endpoints, as their rows are locked; ``now`` is the monotonic clock."""
        well = Counter([r.delivery.endpoint.id for r in batch if r.state is State.DELIVERED])
        self._well_at.update(dict.fromkeys(well, now))
        signs = [Sign(endpoint, count, 0) for endpoint, count in well.items()]
        if len(batch) > well.total():
            ill: dict[int, list[Result]] = {}
            for result in batch:
                if is_failure(result) and result.delivery.endpoint.id not in well:
                    ill.setdefault(result.delivery.endpoint.id, []).append(result)
            signs += [self._ill(endpoint, results, now) for endpoint, results in ill.items()]
        return sorted(signs)

    def _ill(self, endpoint: int, results: Sequence[Result], now: float) -> Sign:
        begun = [r.outcome.started for r in results]
        since = max(min(begun), self._well_at.get(endpoint, 0.0))
        asked = max((r.asked for r in results if r.asked is not None), default=None)
        return Sign(endpoint, 0, len(results), now - since, now - max(begun), asked)


def is_failure(result: Result) -> bool:
    """Whether it speaks against the receiver: what went wrong in here doesn't."""
    return result.counted and result.outcome.error_class is not ErrorClass.INTERNAL
