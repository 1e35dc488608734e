"""Deliveries and endpoints for tests of what is pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from relay import moment
from relay.event import Event
from relay.model import Delivery, Endpoint, ErrorClass, Outcome

MOMENT = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)


def an_endpoint(id: int = 1, max_in_flight: int = 2, waits: tuple[int, ...] = (2, 4)) -> Endpoint:
    schedule = tuple(timedelta(seconds=wait) for wait in waits)
    return Endpoint(id, f"end_{id}", 1, "http://127.0.0.1:9/", (), (), schedule, 15.0, max_in_flight)


def a_delivery(id: int = 1, endpoint: Endpoint | None = None, failures: int = 0, free_tries: int = 0) -> Delivery:
    return Delivery(
        id=id,
        created_at=moment.of(MOMENT),
        endpoint=endpoint or an_endpoint(),
        instance_id=1,
        number=failures + free_tries + 1,
        failures=failures,
        free_tries=free_tries,
        webhook_id=None,
        event=an_event(id),
    )


def an_event(id: int = 1, data: bytes = b"{}") -> Event:
    return Event(id, 0, moment.of(MOMENT), "expense.created", None, str(id), False, data, None)


def an_outcome(
    status: int | None = None, error: ErrorClass | None = None, retry_after: str | None = None, stale: bool = False
) -> Outcome:
    return Outcome(0.0, 0.1, status_code=status, error_class=error, retry_after=retry_after, stale=stale)
