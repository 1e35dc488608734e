"""How long to wait before the next try, and how often to say so: a night without Postgres fills no disk with log lines."""

from __future__ import annotations

import logging
import random
import time

FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0  # seconds; so that work goes on within 3 s of Postgres' being back
ONE_TROUBLE = 30.0  # what fails again within that is the same trouble still
QUIET_FIRST, QUIET_LONGEST = 1.0, 60.0  # between two lines about one trouble


class Outage:
    """Failures of one kind, one after the other; ``message`` is what the log says of them."""

    def __init__(self, log: logging.Logger, message: str, longest: float = LONGEST_WAIT) -> None:
        self._log = log
        self._message = message
        self._longest = longest
        self._failures = 0
        self._failed_at = 0.0
        self._quiet = 0.0
        self._quiet_until = 0.0
        self._unsaid = 0

    def wait(self, reason: object) -> float:
        """One more failure: seconds until the next try, with jitter."""
        now = time.monotonic()
        if now - self._failed_at > ONE_TROUBLE:
            self._failures, self._quiet, self._quiet_until = 0, 0.0, 0.0
        self._failures += 1
        self._failed_at = now
        seconds: float = min(FIRST_WAIT * 2.0 ** min(self._failures - 1, 10), self._longest) * (0.5 + random.random() / 2)  # noqa: S311
        self._say(now, reason, seconds)
        return seconds

    def _say(self, now: float, reason: object, seconds: float) -> None:
        if now < self._quiet_until:
            self._unsaid += 1
            return
        extra = {"reason": str(reason), "in_seconds": round(seconds, 1)} | ({"unsaid": self._unsaid} if self._unsaid else {})
        self._log.warning(self._message, extra=extra)
        self._quiet = min(max(QUIET_FIRST, self._quiet * 2), QUIET_LONGEST)
        self._quiet_until = now + self._quiet
        self._unsaid = 0
