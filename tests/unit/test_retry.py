"""Schedules, waits and Retry-After: both sides of each edge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import UserMistake
from relay.retry import (
    DEFAULT,
    PATIENT,
    longest_retry_after,
    max_waiting,
    next_wait,
    parse_retry_after,
    parse_schedule,
)

NOW = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))

WAITS = st.timedeltas(timedelta(), 30 * DAY)
SCHEDULES = st.lists(WAITS, max_size=50)
JITTERS = st.floats(0, 1, exclude_max=True)


# --- schedules ---------------------------------------------------------------------------------------------


def test_presets() -> None:
    assert parse_schedule("2s,4s,8s,16s,32s") == DEFAULT
    assert parse_schedule("5s, 5min, 30min, 2h, 5h, 10h, 10h") == parse_schedule("patient") == PATIENT
    assert parse_schedule(" Patient ") == PATIENT
    assert parse_schedule("none") == ()


def test_waiting_in_all() -> None:
    assert max_waiting(DEFAULT) == 62 * SECOND
    assert max_waiting(PATIENT) == 27 * HOUR + 35 * MINUTE + 5 * SECOND
    assert max_waiting(()) == timedelta()


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("250ms", [0.25]),
        ("1.5s", [1.5]),
        ("0.1s", [0.1]),
        ("0s", [0]),
        ("007s", [7]),
        ("2m", [120]),
        ("2min", [120]),
        ("1h,1d", [3600, 86400]),
        ("30d", [30 * 86400]),
        ("2592000s", [30 * 86400]),
        ("2 s , 4 s", [2, 4]),
        (",".join(["1s"] * 50), [1] * 50),
    ],
)
def test_reads(text: str, waits: list[float]) -> None:
    assert parse_schedule(text) == tuple(timedelta(seconds=wait) for wait in waits)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("2", "holds '2', which is no wait: give waits such as 2s,4s,8s"),
        ("2s,,4s", "holds '', which is no wait"),
        ("2s,", "holds '', which is no wait"),
        ("2s;4s", "holds '2s;4s'"),
        ("2s 4s", "holds '2s 4s'"),
        ("-2s", "holds '-2s'"),
        ("+2s", "holds '+2s'"),
        ("2S", "holds '2S'"),
        ("2y", "holds '2y'"),
        ("2 weeks", "holds '2 weeks'"),
        ("2s,4x,8s", "holds '4x'"),
        ("1e3s", "holds '1e3s'"),
        ("infs", "holds 'infs'"),
        ("nan", "holds 'nan'"),
        (".5s", "holds '.5s'"),
        ("5.s", "holds '5.s'"),
        ("٣s", "which is no wait"),
        ("2s\n4s", "which is no wait"),
        ("patient,2s", "holds 'patient'"),
        ("30d,30.000001d", "holds '30.000001d': a wait is 30d at most"),
        ("2592001s", "holds '2592001s': a wait is 30d at most"),
        ("9" * 12 + "d", "a wait is 30d at most"),
        ("9" * 13 + "s", "which is no wait"),
        (",".join(["1s"] * 51), "has 51 waits: give 50 at most"),
        ("x" * 10_000, "xxx…'"),
    ],
)
def test_refuses(text: str, says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        parse_schedule(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


# --- waits -------------------------------------------------------------------------------------------------


def test_default_schedule_from_first_to_last() -> None:
    waits = [next_wait(DEFAULT, failures, 0.0) for failures in range(1, 8)]
    assert waits == [*DEFAULT, None, None]


def test_no_retries_at_all() -> None:
    assert next_wait((), 1, 0.5, HOUR) is None


def test_no_wait_without_a_failure() -> None:
    with pytest.raises(ValueError, match="no failure"):
        next_wait(DEFAULT, 0, 0.0)


@pytest.mark.parametrize(
    ("schedule", "retry_after", "wait"),
    [
        (DEFAULT, timedelta(), 2 * SECOND),
        (DEFAULT, 1 * SECOND, 2 * SECOND),  # never shortens
        (DEFAULT, 3 * SECOND, 3 * SECOND),
        (DEFAULT, HOUR, HOUR),
        (DEFAULT, HOUR + SECOND, HOUR),
        (DEFAULT, 10_000 * DAY, HOUR),
        (PATIENT, 9 * HOUR, 9 * HOUR),  # as long as the schedule's own longest wait
        (PATIENT, 11 * HOUR, 10 * HOUR),
        ((SECOND, 3 * DAY), 24 * HOUR, 24 * HOUR),
        ((SECOND, 3 * DAY), 25 * HOUR, 24 * HOUR),
        ((3 * DAY,), 25 * HOUR, 3 * DAY),
    ],
)
def test_retry_after_is_followed_within_limits(schedule: tuple[timedelta, ...], retry_after: timedelta, wait: timedelta) -> None:
    assert next_wait(schedule, 1, 0.0, retry_after) == wait


@given(SCHEDULES, st.integers(1, 60), JITTERS, st.none() | st.timedeltas(timedelta(), 200_000 * DAY))
def test_a_wait_is_never_shorter_than_the_schedule_nor_much_longer(
    schedule: list[timedelta], failures: int, jitter: float, retry_after: timedelta | None
) -> None:
    wait = next_wait(schedule, failures, jitter, retry_after)
    if failures > len(schedule):
        assert wait is None
        return
    assert wait is not None
    own = schedule[failures - 1]
    longest = own if retry_after is None else max(own, min(retry_after, longest_retry_after(schedule)))
    assert own <= longest <= wait <= longest * 1.1
    assert longest <= max(own, 24 * HOUR)
    assert wait == next_wait(schedule, failures, jitter, retry_after)


@given(st.lists(WAITS, min_size=1, max_size=50), JITTERS, JITTERS)
def test_more_jitter_is_a_longer_wait(schedule: list[timedelta], one: float, other: float) -> None:
    short, long = (next_wait(schedule, 1, jitter) for jitter in sorted((one, other)))
    assert short is not None
    assert long is not None
    assert short <= long


@given(st.lists(st.integers(0, 30 * 86_400_000), min_size=1, max_size=50))
def test_a_schedule_that_was_written_down_comes_back(milliseconds: list[int]) -> None:
    text = ",".join(f"{wait}ms" for wait in milliseconds)
    assert parse_schedule(text) == tuple(timedelta(milliseconds=wait) for wait in milliseconds)


# --- Retry-After -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, None),
        ("0", timedelta()),
        ("120", 120 * SECOND),
        (" 120\t", 120 * SECOND),
        ("9" * 10, 9_999_999_999 * SECOND),
        ("9" * 11, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        ("0x10", None),
        ("1 2", None),
        ("120s", None),
        ("120, 60", None),
        ("NaN", None),
        ("Infinity", None),
        ("٣", None),
        ("²", None),
        ("120\n", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 09:31:00 GMT", MINUTE),
        ("Thursday, 01-Jan-26 09:31:00 GMT", MINUTE),
        ("Thu Jan  1 09:31:00 2026", MINUTE),
        ("Thu, 01 Jan 2026 09:30:00 GMT", timedelta()),
        ("Thu, 01 Jan 2026 09:29:59 GMT", None),
        ("Thu, 01 Jan 2026 09:31:00 UTC", None),
        ("Thu, 01 Jan 2026 09:31:00 +0100", None),
        ("Thu, 01 Jan 2026 09:31:00", None),
        ("Thu, 1 Jan 2026 09:31:00 GMT", None),
        ("Thu, 32 Jan 2026 09:31:00 GMT", None),
        ("Thu, 01 Foo 2026 09:31:00 GMT", None),
        ("Thu, 01 Jan 2026 25:31:00 GMT", None),
        ("Thu, 01 Jan 0000 09:31:00 GMT", None),
        ("2026-01-01T09:31:00Z", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - NOW),
    ],
)
def test_retry_after(value: str | None, wait: timedelta | None) -> None:
    assert parse_retry_after(value, NOW) == wait


@given(st.text())
def test_nonsense_is_no_retry_after(text: str) -> None:
    wait = parse_retry_after(text, NOW)
    assert wait is None or wait >= timedelta()


@given(st.integers(-1_000_000_000, 250_000_000_000))
def test_every_http_date_is_read(seconds: int) -> None:
    moment = NOW + timedelta(seconds=seconds)
    expected = moment - NOW if moment >= NOW else None
    assert parse_retry_after(format_datetime(moment, usegmt=True), NOW) == expected
