"""A moment as a whole number: microseconds since 2000 in UTC, which is how Postgres sends a ``timestamptz`` in binary.

What only becomes the digits of an id or a body is never made a datetime: for each delivery that took longer than an HMAC.
Source: https://www.postgresql.org/docs/current/datatype-datetime.html (eight bytes, 1 microsecond).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_BEGINNING: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - of what is in UTC by its definition
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECONDS_BEFORE: Final = 946_684_800_000  # from 1970 until then


def of(time: datetime) -> int:
    """Raises ValueError: a time without zone is no moment."""
    if time.tzinfo is None:
        raise ValueError("a time without zone is no moment")
    return (time.astimezone(UTC).replace(tzinfo=None) - _BEGINNING) // _MICROSECOND


def milliseconds(moment: int) -> int:
    """Since 1970, rounded down."""
    return moment // 1000 + _MILLISECONDS_BEFORE


def rfc3339(moment: int) -> str:
    """In UTC, always with six digits of microseconds. Raises OverflowError: not between the years 1 and 9999."""
    second, microsecond = divmod(moment, 1_000_000)
    return f"{_second(second)}.{microsecond:06}Z"


@lru_cache(1024)
def _second(second: int) -> str:
    """Many events have the same."""
    return (_BEGINNING + timedelta(seconds=second)).isoformat()
