"""From event to deliveries: what has become visible since the last look, times who wants it.

Ids become visible out of order, so the cursor is a snapshot (PgQ): a window holds the events visible in its target
and not in "seen", and is cut into chunks in id order. Each look is one call of rowhook.look() (sql/0025-look.sql), whose
statements have snapshots of their own. Sources: mechanisms "Cursor" 1-7; hazards 1-3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from relay.database import Session
from relay.errors import FiltersTooSlow, LeaseLost, RoleLost
from relay.model import ROLE_KEY, Claimed, Room

log = logging.getLogger(__name__)

UNLIMITED = 2**63 - 1  # the largest bigint


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to; ``size`` in bytes of the events' JSON.

    ``more``: there may be some that it didn't look at: the window wasn't read to its end, or was opened by an earlier look, and
    whoever has committed since may have rung before this one began.

    ``parked_for`` are endpoints of what was parked, those that may be sent to now.

    ``skipped``: somebody else holds the cursor, so this was no look at all.
    """

    events: int = 0
    more: bool = False
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
        self._most = UNLIMITED  # events at once; less for a while after filters were too slow

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

    async def look(self, room: Room, chunk: int, most_size: int = UNLIMITED, *, disarm: bool = False) -> Look:
        """Dispatch the next chunk of at most ``chunk`` events. Raises LeaseLost when this instance was declared dead.

        ``most_size``: the chunk ends where so many bytes of JSON are reached; the first event is taken whatever its size.

        ``disarm``: first tell writers that they need not ring.
        """
        while True:
            try:
                return await self._look(room, min(chunk, self._most), most_size, disarm)
            except FiltersTooSlow:
                self._most = max(1, min(chunk, self._most) // 8)
                log.warning("filters are slow: fewer events are dispatched at once", extra={"events": self._most})

    async def _look(self, room: Room, chunk: int, most_size: int, disarm: bool) -> Look:
        system = self._require_role()
        given = {"instance": self._instance, "system": system, "disarm": disarm, "chunk": chunk, "most_size": most_size}
        rows = await self.session.tuples("dispatch.look", {**room.params(), **given})
        if not rows:
            return Look()
        refusal, events, more, parked, parked_for, size = rows.pop()[:6]
        if refusal == "dead":
            raise LeaseLost("declared dead while dispatching")
        if refusal == "elsewhere":
            return await self._begin_anew(system)
        if refusal:
            return Look(skipped=True)
        self._most *= 2 if self._most < UNLIMITED else 1
        return Look(events, more, Claimed.of(rows, 6), parked, parked_for, size)

    async def _begin_anew(self, system: int) -> Look:
        """The cursor's snapshot is of another cluster, so its transaction ids mean nothing here."""
        mine = "dispatch.live", {"instance": self._instance}
        async with self.session.transaction(mine, ("dispatch.cursor", None)) as transaction:
            live, cursors = transaction.first
            if not live:
                raise LeaseLost("declared dead while dispatching")
            if not cursors or cursors[0]["system_identifier"] == system:
                return Look(skipped=True)
            row = (await transaction.rows("dispatch.reseed", {"system": system, "instance": self._instance}))[0]
        log.warning("this is another cluster than the cursor's (a restore or an upgrade): began anew", extra=dict(row))
        return Look(parked=row["parked"])
