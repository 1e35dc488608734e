"""Lease parked and retried work that is due; take back what the dead left.

A try is counted when it is claimed, so a delivery that kills its relay can't do so for ever. Sources: mechanisms "Lease" 5,
"Rules" 2; hazards 11, 14, 28.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.database import Session
from relay.errors import LeaseLost
from relay.judge import MOST_FREE_TRIES
from relay.model import Claimed, Room

RECLAIM_BATCH = 1000


class Claimer:
    """Claims for one instance."""

    def __init__(self, session: Session, instance: int) -> None:
        self._session = session
        self._instance = instance

    async def claim(self, room: Room) -> list[Claimed]:
        """Deliveries that were due and now are leased to this instance. Raises LeaseLost when it was declared dead."""
        rows = await self._session.tuples("claim.claim", {**room.params(), "instance": self._instance})
        if not rows[0][0]:
            raise LeaseLost("declared dead while claiming")
        return Claimed.of(rows, 1)

    async def reclaim(self) -> int:
        """Free what dead instances held, a batch at a time; returns how many."""
        total = 0
        while freed := (await self._session.row("claim.reclaim", {"batch": RECLAIM_BATCH, "most_lost": MOST_FREE_TRIES}))[
            "freed"
        ]:
            total += freed
        return total

    async def release(self, instance: int, deliveries: Sequence[int]) -> None:
        """Give back what ``instance`` (this one, or one that this process was before) leased ahead and never sent."""
        await self._session.rows("claim.release", {"deliveries": list(deliveries), "instance": instance})
