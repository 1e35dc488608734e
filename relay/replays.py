"""Send again what has ended: dead letters, and on request what was delivered or cancelled.

A replay makes deliveries pending and due; the same bytes go out, attempts are numbered on, the schedule starts afresh. Those that
are pending or leased are never touched. Batches in id order, each one statement under row locks: safe beside running relays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow

from relay import audit, endpoints, public_id
from relay.audit import Actor
from relay.database import query
from relay.errors import UserMistake
from relay.since import first_id, last_id
from relay.walk import HIGHEST
from relay.wanted import ALL, Wanted

Connection = psycopg.Connection[DictRow]

BATCH = 1000
STATES = ("pending", "leased", "delivered", "dead", "cancelled")
REPLAYABLE = {"dead": ["dead"], "delivered": ["delivered"], "cancelled": ["cancelled"], "any": ["dead", "delivered", "cancelled"]}

ASKED = ("states", "since", "until", "row_key", "types", "prefixes")

_AGO = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deliveries: all that is given must hold. Times are of the delivery's making, which follows the event's commit.

    ``tenant`` is the endpoint's, ``wanted`` and ``row_key`` are the event's.
    """

    states: Sequence[str]
    event: int | None = None
    event_slot: int | None = None
    delivery: int | None = None
    endpoint: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    wanted: Wanted = ALL
    row_key: str | None = None
    tenant: str | None = None

    def parameters(self) -> dict[str, Any]:
        names = ("event", "event_slot", "delivery", "endpoint", "since", "until", "row_key", "tenant")
        return {"states": list(self.states), **{name: getattr(self, name) for name in names}, **self.wanted._asdict()}


@dataclass(slots=True)
class Found:
    """What a selection comes to before anything is changed."""

    count: int = 0
    removed: int = 0
    event_gone: int = 0
    waiting: dict[str, str] = field(default_factory=dict)
    first_id: int = 0
    last_id: int = 0


def parse_status(text: str) -> list[str]:
    if text not in REPLAYABLE:
        raise UserMistake(f"--status {text!r} can't be replayed", f"give one of: {', '.join(REPLAYABLE)}")
    return REPLAYABLE[text]


def moment(connection: Connection, text: str, option: str) -> datetime:
    """``2h`` ago by the server's clock, or an ISO time; without a zone it is UTC, as all times that are shown."""
    if match := _AGO.fullmatch(text.strip()):
        ago = timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
        (row,) = connection.execute(query("replay.ago"), {"ago": min(ago, timedelta(days=36_500))}).fetchall()
        return row["moment"]  # type: ignore[no-any-return]
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserMistake(
            f"{option} {text!r} is not a time", "give how long ago, such as 2h or 7d, or an ISO time such as 2026-01-31T09:30:00Z"
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def find_event(connection: Connection, text: str) -> tuple[int, int]:
    """Id and slot of the event with this public id."""
    id, slot = public_id.parse(text, "evt")
    rows = connection.execute(query("replay.event"), {"event": id, "event_slot": slot}).fetchall()
    if not rows or rows[0]["public_id"].lower() != text.lower():
        raise UserMistake(f"there is no event {text}", "give the id of one that is still kept; rowhook deliveries shows some")
    return id, slot


def find_delivery(connection: Connection, text: str) -> DictRow:
    """Id and state of the delivery with this public id."""
    id, _ = public_id.parse(text, "dlv")
    rows = connection.execute(query("replay.delivery"), {"delivery": id}).fetchall()
    if not rows or rows[0]["public_id"].lower() != text.lower():
        raise UserMistake(f"there is no delivery {text}", "rowhook deliveries shows those that there are")
    return rows[0]


def look(connection: Connection, selection: Selection) -> Found:
    """Count what would be replayed, and what is left out because its endpoint was removed or its event is gone."""
    first, last = _range(connection, selection)
    found = Found(first_id=first)
    for row in connection.execute(
        query("replay.look"), {**selection.parameters(), "first_id": first, "last_id": last}
    ).fetchall():
        found.last_id = max(found.last_id, row["last_id"])
        if row["state"] == "removed":
            found.removed += row["total"]
            continue
        found.count += row["kept"]
        found.event_gone += row["total"] - row["kept"]
        if row["state"] != "active" and row["kept"]:
            found.waiting[row["public_id"]] = row["state"]
    return found


def _range(connection: Connection, selection: Selection) -> tuple[int, int]:
    """Between which ids they lie. Dead letters have an index of their own, for others all that there ever was would be read."""
    if set(selection.states) == {"dead"}:
        return 0, HIGHEST
    return first_id(connection, "delivery", selection.since), last_id(connection, "delivery", selection.until)


def replay(
    connection: Connection, actor: Actor, selection: Selection, found: Found, *, new_id: bool, most: int | None = None
) -> int:
    """Make them pending, ``most`` at most; how many. What ends meanwhile is above ``last_id`` or below what has been passed.

    Each batch is a transaction with its row of the audit; within the caller's, where there is one open, all are one.
    """
    total: int = 0
    after = found.first_id - 1
    while most is None or total < most:
        batch = BATCH if most is None else min(BATCH, most - total)
        parameters = {**selection.parameters(), "after": after, "last_id": found.last_id, "batch": batch, "new_id": new_id}
        with connection.transaction():
            (row,) = connection.execute(query("replay.replay"), parameters).fetchall()
            if row["replayed"]:
                _log(connection, actor, selection, row["replayed"], new_id)
        total += row["replayed"]
        if row["replayed"]:
            endpoints.notify(connection)
        if row["last_id"] is None:
            return total
        after = row["last_id"]
    return total


def _log(connection: Connection, actor: Actor, selection: Selection, count: int, new_id: bool) -> None:
    """What was asked for in public ids, by the first of its deliveries' endpoint, event or id; and how many it came to."""
    (names,) = connection.execute(query("replay.names"), selection.parameters()).fetchall()
    asked = {name: value for name, value in selection.parameters().items() if name in ASKED and value is not None}
    subject = names["delivery"] or names["event"] or names["endpoint"]
    audit.write(
        connection,
        actor,
        "delivery.replay",
        subject,
        tenant=names["tenant"],
        after={**asked, "new_id": new_id, "replayed": count},
    )


def other_states(connection: Connection, selection: Selection) -> Counter[str]:
    """Of one event or delivery: how many are in which state, for a person who found nothing."""
    every = Selection(STATES, selection.event, selection.event_slot, selection.delivery, selection.endpoint)
    rows = connection.execute(query("replay.states"), every.parameters()).fetchall()
    return Counter({row["state"]: row["total"] for row in rows})
