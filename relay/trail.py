"""An event's trail: what became of it at each endpoint, and where it got nothing, or nothing yet, why.

What an endpoint wanted when the event was dispatched is not on record; what it wants now is. So where an endpoint would get the
event today and didn't, that is what is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import psycopg
from psycopg.rows import DictRow

from relay.database import query
from relay.public_id import public_id
from relay.walk import Row

MOST = 1000  # endpoints that are told of: those that got it first


class Reason(StrEnum):
    """Why an endpoint has not got an event: no delivery was made, or it waits, or it ended without."""

    NOT_DISPATCHED = "not_dispatched"
    PROBE = "probe"
    ADDRESSED = "addressed"
    ADDED_LATER = "added_later"
    TENANT = "tenant"
    PATTERN = "pattern"
    REMOVED = "removed"
    FILTER = "filter"
    CHANGED = "changed"
    PAUSED = "paused"
    DISABLED = "disabled"
    CIRCUIT = "circuit"
    ORDERED = "ordered"
    RATE = "rate"
    RETRY = "retry"
    WAITS = "waits"
    UNDER_WAY = "under_way"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Stop:
    """One endpoint on the trail. ``delivery_id`` None: no delivery was made; ``reason`` None: delivered."""

    endpoint_id: str
    url: str
    endpoint_state: str
    delivery_id: str | None
    state: str | None
    attempts: int
    status_code: int | None
    error_class: str | None
    next_attempt_at: object
    ended_at: object
    reason: Reason | None
    because: str | None


@dataclass(frozen=True, slots=True)
class Trail:
    """``more``: there are further endpoints that got nothing."""

    event: Row
    stops: list[Stop]
    more: bool


def trail(connection: psycopg.Connection[DictRow], event: int, slot: int, tenant: str | None = None) -> Trail | None:
    """None: there is no such event. With a tenant: its endpoints only; whether the event is its own is for others to ask."""
    found = connection.execute(query("trail.event"), {"event": event, "event_slot": slot}).fetchall()
    if not found:
        return None
    about = found[0]
    asked = {"type": about["type"], "addressee": about["addressee"], "tenant": tenant, "most": MOST + 1}
    rows = connection.execute(query("trail.endpoints"), {**asked, "event": event, "event_slot": slot}).fetchall()
    return Trail(about, [_stop(about, row) for row in rows[:MOST]], len(rows) > MOST)


def _stop(event: Row, row: Row) -> Stop:
    reason, because = why(event, row)
    return Stop(
        endpoint_id=row["endpoint_id"],
        url=row["url"],
        endpoint_state=row["endpoint_state"],
        delivery_id=row["delivery"] and public_id("dlv", row["created_at"], row["delivery"]),
        state=row["state"],
        attempts=row["attempts"] or 0,
        status_code=row["status_code"],
        error_class=row["error_class"],
        next_attempt_at=row["due_at"],
        ended_at=row["ended_at"],
        reason=reason,
        because=because,
    )


def why(event: Row, row: Row) -> tuple[Reason, str] | tuple[None, None]:
    """The reason, and the same in words."""
    match row["state"]:
        case None:
            return _why_none(event, row)
        case "pending":
            return _why_waiting(row)
        case "leased":
            return Reason.UNDER_WAY, f"try {row['attempts']} is under way"
        case "dead":
            return Reason.FAILED, f"a dead letter after {row['attempts']} tries: {row['error_class'] or 'nothing was sent'}"
        case "cancelled":
            return Reason.CANCELLED, "cancelled: its endpoint was removed, or it was discarded, skipped or cancelled by hand"
    return None, None


def _why_none(event: Row, row: Row) -> tuple[Reason, str]:
    if event["op"] == "probe":
        return Reason.PROBE, "a test of the bell goes to nobody"
    if event["addressee"] is not None and not row["wants"]:
        return Reason.ADDRESSED, "the event is for another endpoint alone"
    if not row["wants"]:
        return Reason.PATTERN, f"it wants {', '.join(row['events'])}, which {event['type']} is not"
    if row["tenant"] is not None and row["tenant"] != event["tenant"]:
        return Reason.TENANT, f"it gets events of tenant {row['tenant']} only; this one's is {event['tenant'] or 'none'}"
    if not event["dispatched"]:
        return Reason.NOT_DISPATCHED, "no relay has dispatched the event yet"
    if row["added_at"] > event["occurred_at"]:
        return Reason.ADDED_LATER, "the endpoint was added after the event had been dispatched"
    if row["endpoint_state"] == "removed":
        return Reason.REMOVED, "the endpoint has been removed"
    if row["verdict"] not in (None, "matched"):
        return Reason.FILTER, f"its filter {row['filter']} says: {row['verdict']}"
    return (
        Reason.CHANGED,
        "it would get it now, but wanted something else when the event was dispatched, or its delivery was deleted",
    )


def _why_waiting(row: Row) -> tuple[Reason, str]:
    if row["endpoint_state"] in ("paused", "disabled"):
        return Reason(
            row["endpoint_state"]
        ), f"the endpoint is {row['endpoint_state']} ({row['state_reason'] or 'no reason given'})"
    if row["is_behind"]:
        return Reason.ORDERED, "the endpoint is ordered, and an earlier event of the same row has not ended"
    if row["circuit"] != "closed":
        return (
            Reason.CIRCUIT,
            f"the endpoint's circuit is {row['circuit']}: it failed, and gets few requests until it answers well",
        )
    if row["rate"] is not None and not row["is_early"]:
        return Reason.RATE, f"the endpoint gets {row['rate']} at most, and others are before it"
    if row["attempts"]:
        return Reason.RETRY, f"try {row['attempts']} failed ({row['error_class'] or 'unknown'}); the next is due"
    return Reason.WAITS, "it waits for a relay with room for it"
