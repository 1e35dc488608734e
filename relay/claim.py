"""Lease parked and retried work that is due; take back what the dead left.

Endpoints whose circuits are open or ramping, and those with a rate, are claimed for by themselves, under their locks.

A try is counted when it is claimed, so a delivery that kills its relay can't do so for ever. Sources: mechanisms "Lease" 5,
"Rules" 2; hazards 11, 14, 28.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from relay.database import Session, Transaction
from relay.errors import LeaseLost
from relay.judge import MOST_FREE_TRIES
from relay.model import Claimed, Room

RECLAIM_BATCH = 1000


class Claimer:
    """Claims for one instance."""

    def __init__(self, session: Session, instance: int) -> None:
        self._session = session
        self._instance = instance
        self.is_knocked = False  # some endpoint is to be claimed for by claim_gated()
        self.slots: dict[int, float] = {}  # by the monotonic clock, when the next request of each limited endpoint is due

    async def claim(self, room: Room) -> list[Claimed]:
        """Deliveries that were due and now are leased to this instance. Raises LeaseLost when it was declared dead."""
        rows = await self._session.tuples("claim.claim", {**room.params(), "gated": None, "instance": self._instance})
        self.is_knocked = rows[0][1]
        return _claimed(rows)

    async def claim_gated(self, room: Room) -> list[Claimed]:
        """A probe for each open circuit, and what each ramp and rate allows. Who has fewer waiting than that needs no ramp."""
        async with self._session.transaction(("circuit.take", None)) as transaction:
            taken = [row["id"] for row in transaction.first[0]]
            gates = await transaction.rows("circuit.rooms", {"endpoints": taken}) if taken else []
            allowed = {g["id"]: min(g["room"], room.of(g["id"], g["max_in_flight"]), room.capacity) for g in gates}
            if not any(allowed.values()):
                return []
            gated = {"endpoints": list(allowed), "rooms": list(allowed.values()), "gated": list(allowed)}
            claimed = _claimed(await transaction.tuples("claim.claim", {**room.params(), **gated, "instance": self._instance}))
            found = Counter(row.endpoint_id for row in claimed)
            await self._spend(transaction, {g["id"]: found[g["id"]] for g in gates if g["limited"] and found[g["id"]]})
            exhausted = [e for e, most in allowed.items() if found[e] < most] if len(claimed) < room.capacity else []
            if exhausted:
                transaction.at_end("circuit.close", {"endpoints": exhausted})
        return claimed

    async def _spend(self, transaction: Transaction, claimed: Mapping[int, int]) -> None:
        """Move the rates' clocks on by what was claimed."""
        if claimed:
            counts = {"endpoints": list(claimed.keys()), "claimed": list(claimed.values())}
            now = time.monotonic()
            for row in await transaction.rows("circuit.spend", counts):
                self.slots[row["endpoint_id"]] = now + row["wait"]

    async def reclaim(self) -> int:
        """Free what dead instances held, a batch at a time; returns how many."""
        total = 0
        while freed := await self._reclaim():
            total += freed
        return total

    async def _reclaim(self) -> int:
        """A batch; of those that died of it an event each (delivery.dead), in the same transaction."""
        batch = {"batch": RECLAIM_BATCH, "most_lost": MOST_FREE_TRIES}
        async with self._session.transaction(("claim.reclaim", batch)) as transaction:
            row = transaction.first[0][0]
            if row["died"] and await transaction.rows("dead.tell", {"deliveries": row["died"]}):
                transaction.at_end("record.ring")
        return int(row["freed"])

    async def release(self, instance: int, deliveries: Sequence[int]) -> None:
        """Give back what ``instance`` (this one, or one that this process was before) leased ahead and never sent."""
        await self._session.rows("claim.release", {"deliveries": list(deliveries), "instance": instance})


def _claimed(rows: Sequence[tuple[Any, ...]]) -> list[Claimed]:
    """Raises LeaseLost: this instance was declared dead."""
    if not rows[0][0]:
        raise LeaseLost("declared dead while claiming")
    return Claimed.of(rows, 2)
