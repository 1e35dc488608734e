"""Moments as numbers: what they are of, what they become. That Postgres sends them: tests/sql."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import moment
from relay.public_id import id_at, public_id

TIMES = st.datetimes(timezones=st.timezones()).filter(lambda time: 2 < time.year < 9998)


@given(TIMES)
def test_nothing_is_lost(time: datetime) -> None:
    text = moment.rfc3339(moment.of(time))
    assert datetime.fromisoformat(text) == time.astimezone(UTC)
    assert text == f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z".rjust(27, "0")


@given(TIMES, st.integers(0, 2**63 - 1), st.integers(0, 10))
def test_ids_are_those_of_the_time(time: datetime, id: int, slot: int) -> None:
    assert id_at("evt", moment.milliseconds(moment.of(time)), id, slot) == public_id("evt", time, id, slot)


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000000Z"),
        (datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "2026-01-01T00:00:00.000001Z"),
        (
            datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2025-12-31T19:30:00.000000Z",
        ),
        (datetime(987, 6, 5, tzinfo=UTC), "0987-06-05T00:00:00.000000Z"),
    ],
)
def test_rfc3339(time: datetime, text: str) -> None:
    assert moment.rfc3339(moment.of(time)) == text


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without zone"):
        moment.of(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
