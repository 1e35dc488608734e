"""Pure: a delivery and the outcome of its try -> what happens next."""

from __future__ import annotations

from datetime import datetime

from relay.model import Delivery, ErrorClass, Outcome, Result, State
from relay.retry import longest_retry_after, next_wait, parse_retry_after

MOST_FREE_TRIES = 5
GONE = 410
UNREADABLE_FIRST, UNREADABLE_MOST = 60.0, 900.0


def classify(status_code: int) -> ErrorClass | None:
    """The failure that a status means; None for success. Redirects are not followed: they would carry the signature elsewhere."""
    if 200 <= status_code < 300:
        return None
    if 300 <= status_code < 400:
        return ErrorClass.REDIRECT
    if 400 <= status_code < 500:
        return ErrorClass.HTTP_4XX
    if 500 <= status_code < 600:
        return ErrorClass.HTTP_5XX
    return ErrorClass.PROTOCOL


def judge(delivery: Delivery, outcome: Outcome, jitter: float, now: datetime) -> Result:
    """What follows: delivered; retried after a wait; or dead.

    An endpoint whose secrets can't be decrypted waits, without using up the schedule, until somebody mends that.
    ``jitter`` in [0, 1) spreads retries, ``now`` is for Retry-After as a date. A stale keep-alive connection is tried
    again at once
    and doesn't use up the schedule, at most MOST_FREE_TRIES times in a row; ``blocked`` is dead at once; 410 is dead
    and disables the endpoint.
    """
    if outcome.error_class is None:
        return Result(delivery, outcome, State.DELIVERED)
    if delivery.endpoint.unreadable and outcome.error_class is ErrorClass.INTERNAL:
        wait_for_key = min(UNREADABLE_FIRST * 2.0 ** min(delivery.free_tries, 10), UNREADABLE_MOST)
        return Result(delivery, outcome, State.PENDING, wait=wait_for_key * (1 + jitter / 10))
    if outcome.stale and delivery.free_tries + 1 < MOST_FREE_TRIES:
        return Result(delivery, outcome, State.PENDING)
    if outcome.error_class is ErrorClass.BLOCKED:
        return Result(delivery, outcome, State.DEAD, counted=not delivery.loops)  # a loop speaks against no receiver
    if outcome.status_code == GONE:
        return Result(delivery, outcome, State.DEAD, counted=True, disable="the receiver answered 410 Gone")
    schedule = delivery.endpoint.schedule
    after = parse_retry_after(outcome.retry_after, now)
    asked = None if after is None else min(after, longest_retry_after(schedule)).total_seconds()
    wait = next_wait(schedule, delivery.failures + 1, jitter, after)
    if wait is None:
        return Result(delivery, outcome, State.DEAD, counted=True, asked=asked)
    return Result(delivery, outcome, State.PENDING, wait=wait.total_seconds(), counted=True, asked=asked)
