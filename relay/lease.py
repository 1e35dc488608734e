"""This relay's life in Postgres' eyes: the lock, the row, the beat; and what to do about those who have none.

An instance lives while a session of its own, which does nothing else, holds the advisory lock of its id. The beat tells a frozen
relay (SIGSTOP, a suspended machine) from a living one, because a frozen one keeps its lock.
Sources: mechanisms "Lease" 1-5; hazards 11, 12 (orphaned claims, premature rescue).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import psycopg

from relay.database import Session, application_name, notifications
from relay.errors import DatabaseLost, LeaseLost
from relay.model import ROLE_KEY

log = logging.getLogger(__name__)

BEAT_EVERY = 1.75  # seconds; work of a dead peer is found within that
STALE_AFTER = 6.0  # without a beat for so long this relay sends nothing more …
FROZEN_AFTER = 7.0  # … and only later do its peers end it

PURPOSES = ("lease", "bell", "dispatch", "claim", "record", "house", "keep")


# Seconds that go on while the process is stopped or the machine asleep.
clock: Callable[[], float] = time.monotonic
if hasattr(time, "CLOCK_BOOTTIME"):
    clock = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


def tag(instance: int) -> str:
    """The instance's id as its sessions carry it in application_name."""
    return f"{instance:016x}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a beat learnt of the others, and the seconds until parked work is due."""

    peers: int
    dead: tuple[int, ...]
    frozen: tuple[int, ...]
    orphans: bool
    role_is_free: bool
    next_due: float | None


class Lease:
    """One instance id from registration to its end; a relay that lost it makes a new Lease."""

    def __init__(self, listen_dsn: str, dsn: str, name: str) -> None:
        self.id = secrets.randbits(62) + 1
        self.name = name
        self._lock_session = Session(listen_dsn, "lease", tag(self.id), holds=True)
        self._house = Session(dsn, "house", tag(self.id), patience=STALE_AFTER)  # a beat that is later than that is none
        self._beaten = 0.0
        self._lost = False

    async def register(self) -> None:
        """Take the lock, then insert the row: a row without its lock is a dead instance. Raises DatabaseLost."""
        if not (await self._lock_session.row("lease.take_lock", {"instance": self.id}))["taken"]:
            raise LeaseLost(f"instance {tag(self.id)}: its lock is taken")
        started = clock()
        await self._house.rows("lease.register", {"instance": self.id, "name": self.name})
        self._beaten = started

    @property
    def is_fresh(self) -> bool:
        """Whether this relay may send: its lock's session is open and its last beat recent. Asked before each request."""
        return not self._lost and self._lock_session.is_open and clock() - self._beaten < STALE_AFTER

    async def watch(self) -> None:
        """Return when the lock's session has ended: the server or the network closed it."""
        with contextlib.suppress(psycopg.Error, DatabaseLost):
            connection = await self._lock_session.connection()
            async for _ in notifications(connection):
                pass
        self._lost = True

    async def beat(self) -> Report:
        """A sign of life. Raises LeaseLost when a peer has declared this instance dead, DatabaseLost when it can't be said."""
        started = clock()
        row = await self._house.row(
            "lease.beat", {"instance": self.id, "role": ROLE_KEY, "frozen_after": timedelta(seconds=FROZEN_AFTER)}
        )
        if not row["alive"]:
            self._lost = True
            raise LeaseLost(f"instance {tag(self.id)} was declared dead")
        # Asked after the answer: a lapse, however it came about, may have refused requests, whose leases a new tenure gives back.
        if clock() - self._beaten >= STALE_AFTER:
            self._lost = True
            raise LeaseLost(f"instance {tag(self.id)} gave no sign of life for {clock() - self._beaten:.1f} s")
        self._beaten = started
        return Report(
            row["peers"], tuple(row["dead"]), tuple(row["frozen"]), row["orphans"], row["role_is_free"], row["next_due"]
        )

    async def tend(self, report: Report) -> bool:
        """End the frozen, bury the dead; True when there may be work to reclaim."""
        dead = [*report.dead, *report.frozen]
        if not dead:
            return report.orphans
        ended = await self._end_sessions(dead)
        if report.frozen:
            log.warning("ended a frozen relay", extra={"instances": [tag(i) for i in report.frozen], "backends": ended})
            await asyncio.sleep(0.05)
        buried = await self._house.rows("lease.bury", {"instances": dead})
        for row in buried:
            log.warning("took over from a dead relay", extra={"instance": tag(row["id"])})
        await self._house.rows("lease.forget")
        return bool(buried) or report.orphans

    async def _end_sessions(self, instances: Sequence[int]) -> int:
        """Those left of the frozen, and of the dead: behind a stalled pooler one may go on holding the dispatcher's role."""
        names = [application_name(p, tag(i)) for i in instances for p in PURPOSES]
        return int((await self._house.row("lease.end_sessions", {"names": names}))["ended"])

    async def retire(self) -> None:
        """Mark this instance dead: its work is free at once."""
        await self._house.rows("lease.retire", {"instance": self.id})

    async def succeed(self, previous: int) -> None:
        """The same for one that this process was before, whose sessions the server may not know to be gone."""
        await self._end_sessions([previous])
        await self._house.rows("lease.retire", {"instance": previous})

    def cut(self) -> None:
        """The end of this id, on either side: nobody waits any longer for what these sessions were asked."""
        self._lost = True
        self._house.cut()
        self._lock_session.cut()

    async def close(self) -> None:
        self._lost = True
        with contextlib.suppress(DatabaseLost):
            await self._lock_session.close()
        await self._house.close()
