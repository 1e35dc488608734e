"""judge: a delivery and the outcome of its try -> what happens next."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest

from relay import flight
from relay.judge import MOST_FREE_TRIES, classify, judge
from relay.model import ErrorClass, Outcome, Result, State
from tests.unit.making import MOMENT, a_delivery, an_endpoint, an_outcome


def verdict(outcome: Outcome, failures: int = 0, free_tries: int = 0, jitter: float = 0.0) -> Result:
    return judge(a_delivery(failures=failures, free_tries=free_tries), outcome, jitter, MOMENT)


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (101, ErrorClass.PROTOCOL),
        (199, ErrorClass.PROTOCOL),
        (200, None),
        (204, None),
        (299, None),
        (300, ErrorClass.REDIRECT),
        (307, ErrorClass.REDIRECT),
        (399, ErrorClass.REDIRECT),
        (400, ErrorClass.HTTP_4XX),
        (410, ErrorClass.HTTP_4XX),
        (499, ErrorClass.HTTP_4XX),
        (500, ErrorClass.HTTP_5XX),
        (599, ErrorClass.HTTP_5XX),
        (600, ErrorClass.PROTOCOL),
    ],
)
def test_both_sides_of_each_edge_between_statuses(status: int, error_class: ErrorClass | None) -> None:
    assert classify(status) is error_class


def test_success_is_delivered() -> None:
    result = verdict(an_outcome(200))
    assert (result.state, result.counted, result.disable) == (State.DELIVERED, False, None)


def test_a_failure_is_retried_after_the_schedules_waits_and_then_dead() -> None:
    """Two waits are three tries."""
    results = [verdict(an_outcome(500, ErrorClass.HTTP_5XX), failures=n) for n in range(3)]
    assert [(r.state, r.wait) for r in results] == [(State.PENDING, 2.0), (State.PENDING, 4.0), (State.DEAD, 0.0)]
    assert all(r.counted for r in results)


def test_without_a_schedule_one_failure_is_the_end() -> None:
    delivery = a_delivery(endpoint=an_endpoint(waits=()))
    assert judge(delivery, an_outcome(500, ErrorClass.HTTP_5XX), 0.0, MOMENT).state is State.DEAD


def test_jitter_lengthens_a_wait_by_a_tenth_at_most() -> None:
    result = verdict(an_outcome(error=ErrorClass.REFUSED), jitter=0.999)
    assert 2.0 < result.wait < 2.2


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 307, 500, 503])
def test_any_other_status_than_410_is_retried(status: int) -> None:
    result = verdict(an_outcome(status, classify(status)))
    assert (result.state, result.disable) == (State.PENDING, None)


def test_410_is_dead_at_once_and_disables_the_endpoint() -> None:
    result = verdict(an_outcome(410, ErrorClass.HTTP_4XX))
    assert (result.state, result.counted) == (State.DEAD, True)
    assert result.disable and "410" in result.disable


def test_blocked_is_dead_at_once_and_disables_nothing() -> None:
    result = verdict(an_outcome(error=ErrorClass.BLOCKED))
    assert (result.state, result.counted, result.disable) == (State.DEAD, True, None)


@pytest.mark.parametrize("asked", ["60", format_datetime(MOMENT + timedelta(seconds=60), usegmt=True)])
def test_retry_after_lengthens_the_wait(asked: str) -> None:
    assert verdict(an_outcome(503, ErrorClass.HTTP_5XX, retry_after=asked)).wait == 60.0


@pytest.mark.parametrize("asked", ["1", "0", "-5", "NaN", "soon", "1e9"])
def test_retry_after_never_shortens_it_and_nonsense_is_ignored(asked: str) -> None:
    assert verdict(an_outcome(503, ErrorClass.HTTP_5XX, retry_after=asked)).wait == 2.0


def test_retry_after_doesnt_add_a_try_to_the_schedule() -> None:
    assert verdict(an_outcome(503, ErrorClass.HTTP_5XX, retry_after="60"), failures=2).state is State.DEAD


def test_a_stale_connection_is_tried_again_at_once_and_doesnt_use_up_the_schedule() -> None:
    stale = an_outcome(error=ErrorClass.RESET, stale=True)
    result = verdict(stale, failures=2)
    assert (result.state, result.wait, result.counted) == (State.PENDING, 0.0, False)


def test_but_not_for_ever() -> None:
    stale = an_outcome(error=ErrorClass.RESET, stale=True)
    assert not verdict(stale, free_tries=MOST_FREE_TRIES - 2).counted
    assert verdict(stale, free_tries=MOST_FREE_TRIES - 1).counted


@pytest.mark.parametrize(
    ("outcome", "error_class"),
    [(an_outcome(200), ErrorClass.INTERNAL), (an_outcome(error=ErrorClass.TIMEOUT), ErrorClass.TIMEOUT)],
    ids=["answered", "hung"],
)
def test_what_cannot_be_judged_is_dead_and_what_hung_says_so(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, error_class: ErrorClass
) -> None:
    def broken(*_: object) -> Result:
        raise ZeroDivisionError

    monkeypatch.setattr(flight, "judge", broken)
    result = flight.conclude(a_delivery(), outcome)
    assert (result.state, result.outcome.error_class) == (State.DEAD, error_class)
