"""From event to deliveries: what has become visible since the last look, times who wants it.

Ids become visible out of order, so the cursor is a snapshot (PgQ): a window holds the events visible in its target
and not in "seen",
and is cut into chunks in id order. Lock, target, read, move are statements of their own, in READ COMMITTED.
Sources: mechanisms "Cursor" 1-7; hazards 1-3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from relay.database import Row, Session, Statement, Transaction
from relay.errors import FiltersTooSlow, LeaseLost, RoleLost
from relay.model import ROLE_KEY, Claimed, Room

log = logging.getLogger(__name__)

LAST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to; ``size`` in bytes of the events' JSON.

    ``parked_for`` are endpoints of what was parked, those that may be sent to now.

    ``skipped``: somebody else holds the cursor, so this was no look at all.
    """

    events: int = 0
    leased: Sequence[Claimed] = ()
    parked: int = 0
    parked_for: Sequence[int] = ()
    size: int = 0
    skipped: bool = False


class Dispatcher:
    """The sticky role and its looks; one at a time in the cluster, any relay may become it."""

    def __init__(self, session: Session, instance: int) -> None:
        self.session = session
        self._instance = instance
        self._system: int | None = None
        self._most = LAST_ID  # events at once; less for a while after filters were too slow

    async def take_role(self) -> bool:
        """Try to become the dispatcher; the role lasts as long as the session."""
        if not (await self.session.row("dispatch.take_role", {"key": ROLE_KEY}))["taken"]:
            return False
        self.session.holds = True
        self._system = (await self.session.row("dispatch.system"))["system_identifier"]
        return True

    def _require_role(self) -> int:
        """Raises RoleLost: the role went with its session, between two statements. Another session may take it."""
        if self._system is None or not self.session.is_open or self.session.was_ended:
            self._system = None
            self.session.holds = False
            raise RoleLost("the dispatcher's session was ended, and its role with it")
        return self._system

    async def peek(self) -> bool:
        """Whether there is anything new, without a lock."""
        return bool((await self.session.row("dispatch.peek", {"system": self._require_role()}))["found"])

    async def look(self, room: Room, chunk: int, *before: Statement) -> Look:
        """Dispatch the next chunk of at most ``chunk`` events. Raises LeaseLost when this instance was declared dead.

        ``before`` are statements that cost no round trip of their own here.
        """
        while True:
            try:
                return await self._look(room, min(chunk, self._most), *before)
            except FiltersTooSlow:
                self._most = max(1, min(chunk, self._most) // 8)
                log.warning("filters are slow: fewer events are dispatched at once", extra={"events": self._most})

    async def _look(self, room: Room, chunk: int, *before: Statement) -> Look:
        system = self._require_role()
        steps = ("dispatch.live", {"instance": self._instance}), ("dispatch.cursor", None), ("dispatch.open_window", None)
        async with self.session.transaction(*before, *steps) as transaction:
            live, cursors, opened = transaction.first[len(before) :]
            if not live:
                raise LeaseLost("declared dead while dispatching")
            if not cursors:
                return Look(skipped=True)
            cursor = cursors[0]
            if cursor["system_identifier"] != system:
                return await self._reseed(transaction, system)
            window = _window(cursor, opened)
            if window is None:
                return Look()
            look = await self._dispatch(transaction, window, room, chunk)
        self._most *= 2 if self._most < LAST_ID else 1
        return look

    async def _dispatch(self, transaction: Transaction, window: Row, room: Room, chunk: int) -> Look:
        rows = await transaction.tuples(
            "dispatch.dispatch",
            {
                **room.params(),
                **{name: window[name] for name in ("seen", "target", "position", "fresh_from")},
                "instance": self._instance,
                "chunk": chunk,
            },
        )
        events, last_id, parked, parked_for, size, failed, faults = rows[0][:7]
        if failed:
            attempts = {"deliveries": failed, "faults": faults, "instance": self._instance}
            transaction.at_end("dispatch.record_faults", attempts)
        whole = events < chunk
        move = {
            "seen": window["target"] if whole else None,
            "target": None if whole else window["target"],
            "position": None if whole else last_id,
            "fresh_from": None if whole else window["fresh_from"],
            "last_id": last_id,
        }
        transaction.at_end("dispatch.move", move)
        return Look(events, Claimed.of(rows, 7), parked, parked_for, size)

    async def _reseed(self, transaction: Transaction, system: int) -> Look:
        row = (await transaction.rows("dispatch.reseed", {"system": system, "instance": self._instance}))[0]
        log.warning("this is another cluster than the cursor's (a restore or an upgrade): began anew", extra=dict(row))
        return Look(parked=row["parked"])


def _window(cursor: Row, opened: Sequence[Row]) -> Row | None:
    """The window left open by the last chunk, or the one that is opened now; None when nothing is new."""
    if not opened:
        return cursor
    fresh_from, late_from = opened[0]["fresh_from"], opened[0]["late_from"]
    starts = [i for i in (fresh_from, late_from) if i is not None]
    if not starts:
        return None
    return {
        **cursor,
        "target": opened[0]["target"],
        "fresh_from": LAST_ID if fresh_from is None else fresh_from,
        "position": min(starts) - 1,
    }
