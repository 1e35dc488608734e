"""When to try again, if ever: arithmetic; time and chance are arguments.

A schedule is the list of waits before each retry: five waits make six tries. What doesn't use up the schedule
(lost tries, stale connections) is not counted here; the caller passes only failures that do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Final

from relay.errors import UserMistake

Schedule = tuple[timedelta, ...]

DEFAULT: Final[Schedule] = tuple(timedelta(seconds=seconds) for seconds in (2, 4, 8, 16, 32))
PATIENT: Final[Schedule] = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
PRESETS: Final[dict[str, Schedule]] = {"patient": PATIENT, "none": ()}

MOST_WAITS: Final = 50
LONGEST_WAIT: Final = timedelta(days=30)
# Up to a tenth is added at random, so that what failed together does not come back together.
JITTER: Final = 0.1
# How far a receiver's Retry-After is followed: an hour, or the schedule's longest wait, but a day at most.
RETRY_AFTER_AT_LEAST: Final = timedelta(hours=1)
RETRY_AFTER_AT_MOST: Final = timedelta(hours=24)

_UNITS: Final = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_WAIT: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(ms|s|min|m|h|d)")
_RIGHT: Final = "give waits such as 2s,4s,8s (units ms, s, m or min, h, d), or patient, or none for no retries"

# The three forms of a date that RFC 9110, section 5.6.7, has receivers accept; the first is the one to send.
_HTTP_DATES: Final = (
    re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"),
    re.compile(r"[A-Z][a-z]{5,8}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"),
    re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}"),
)
_SECONDS: Final = re.compile(r"[0-9]{1,10}")


def parse_schedule(text: str) -> Schedule:
    """Waits as a person writes them: ``2s,4s,8s``, or a preset.

    ``none`` is the empty schedule: one try, no retry. An empty text is refused, since it is more often a
    variable that was never set than a wish. A wait of zero is allowed: the retry comes at once.
    """
    stripped = text.strip()
    preset = PRESETS.get(stripped.lower())
    if preset is not None:
        return preset
    if not stripped:
        raise UserMistake("the retry schedule is empty", _RIGHT)
    parts = stripped.split(",")
    if len(parts) > MOST_WAITS:
        raise UserMistake(f"the retry schedule has {len(parts)} waits", f"give {MOST_WAITS} at most")
    return tuple(_parse_wait(part.strip()) for part in parts)


def _parse_wait(part: str) -> timedelta:
    shown = repr(part if len(part) <= 40 else f"{part[:39]}…")
    match = _WAIT.fullmatch(part)
    if match is None:
        raise UserMistake(f"the retry schedule holds {shown}, which is no wait", _RIGHT)
    microseconds = Decimal(match[1]) * _UNITS[match[2]]
    if microseconds > LONGEST_WAIT // timedelta(microseconds=1):
        raise UserMistake(f"the retry schedule holds {shown}", f"a wait is {LONGEST_WAIT.days}d at most")
    return timedelta(microseconds=round(microseconds))


def next_wait(
    schedule: Sequence[timedelta], failures: int, jitter: float, retry_after: timedelta | None = None
) -> timedelta | None:
    """How long to wait after this failure; None: it was the last, the delivery is dead.

    ``failures`` counts those that used up the schedule, this one included: 1 or more. A receiver's
    ``retry_after`` lengthens the wait, never shortens it, up to ``longest_retry_after``. ``jitter`` in [0, 1)
    then adds up to a tenth.
    """
    if failures < 1:
        raise ValueError("there is no wait after no failure")
    if failures > len(schedule):
        return None
    wait = schedule[failures - 1]
    if retry_after is not None:
        wait = max(wait, min(retry_after, longest_retry_after(schedule)))
    return wait + wait * (JITTER * jitter)


def longest_retry_after(schedule: Sequence[timedelta]) -> timedelta:
    """How far Retry-After is followed; one that asks for more gets this much."""
    return min(RETRY_AFTER_AT_MOST, max([RETRY_AFTER_AT_LEAST, *schedule]))


def max_waiting(schedule: Sequence[timedelta]) -> timedelta:
    """All waits together, as the schedule says it: jitter adds up to a tenth, a Retry-After more."""
    return sum(schedule, timedelta())


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """The wait that a receiver asked for (RFC 9110, section 10.2.3).

    None where there is none: no header, anything else than seconds or a date, a date gone by.
    """
    if value is None:
        return None
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=int(text))
    if not any(form.fullmatch(text) for form in _HTTP_DATES):
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    # Every HTTP-date is in GMT; of those without zone the standard library makes a time without zone.
    wait = moment.replace(tzinfo=UTC) - now
    return wait if wait >= timedelta() else None
