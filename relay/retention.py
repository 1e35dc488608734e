"""Retention: what has ended and is older than is kept goes, a slot of the ring at a time; what has not ended is moved on.

The steps are functions of the schema, and why they lose nothing is told there (sql/0018-retention.sql). Here is who takes them:
one relay at a time, the keeper, by an advisory lock that its session holds; each step is a transaction of milliseconds, with a
pause as long as it took, so that no snapshot is held and deliveries hardly notice. Wherever it is cut off, the next goes on.

Ten slots: one is written to, eight hold what is kept, one is empty. So each covers an eighth of the time that is kept, and an
event goes when it is as old as that and up to an eighth more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from datetime import timedelta
from pathlib import Path

import psycopg

from relay import archive
from relay.archive_formats import Format, Lines
from relay.database import Session, first_line
from relay.errors import DatabaseBusy, DatabaseLost, UserMistake
from relay.outage import Outage

log = logging.getLogger(__name__)

ROLE_KEY = 0x726F776B656570  # "rowkeep"
SLOTS_KEPT = 8
BATCH = 500  # events a step
PATIENCE = timedelta(milliseconds=50)  # for the lock on a slot: who reads events waits as long
TRIES = (0.25, 0.5, 1.0, 2.0)  # seconds between asking for it again; after the last, in the next round
FIRST_ROUND = (5.0, 15.0)  # seconds after the start: not while a relay has other things to catch up with
ROUND = 60.0
LONGEST_PAUSE = 0.2
VACUUM_WITHIN = 3600.0

FULL = "every slot of the ring holds events: none could be emptied in time"
LOCKED = "slot {slot} of the ring is locked by somebody all the time: {why}"
LATE = "slot {slot} of the ring got events that were not dispatched when it was swept; the next round sweeps it again"
RENUMBERED = "this database was restored from another cluster, and no relay has dispatched since"


class Keeper:
    """Keeps house in one database: ``keep`` None is for ever; ``folder``: what goes is archived there first, in this format."""

    def __init__(
        self, dsn: str, tag: str, keep: timedelta | None, folder: Path | None = None, form: type[Format] = Lines
    ) -> None:
        self._dsn = dsn
        self._tag = tag
        self._keep = keep
        self._folder = folder
        self._form = form
        self._session: Session | None = None
        self._vacuuming: Session | None = None
        self._outage = Outage(log, "retention could not finish; trying again")

    async def run(self) -> None:
        """A round, a pause; whatever befalls it, the relay goes on."""
        pause = ROUND if self._keep is None else min(ROUND, (self._keep / (2 * SLOTS_KEPT)).total_seconds())
        await asyncio.sleep(min(pause, random.uniform(*FIRST_ROUND)))  # noqa: S311 - so that relays started together ask one by one
        while True:
            try:
                await self.round()
            except (DatabaseLost, psycopg.Error) as error:
                self._outage.wait(error)
            await asyncio.sleep(pause)

    async def round(self) -> bool:
        """Everything that is due, unless another keeper is at it; returns whether it was done."""
        self._session = session = Session(self._dsn, "keep", self._tag, holds=True)
        try:
            if not (await session.row("retention.take_role", {"key": ROLE_KEY}))["taken"]:
                return False
            try:
                trouble = await self._keep_house(session)
            except (DatabaseBusy, UserMistake, OSError, psycopg.Error) as error:
                trouble = first_line(error)
            await session.rows("retention.report", {"keep": self._keep, "trouble": trouble})
            if trouble:
                self._outage.wait(trouble)
            return not trouble
        finally:
            await session.close()

    def cut(self) -> None:
        """Nobody waits any longer for what Postgres was asked."""
        for session in (self._session, self._vacuuming):
            if session is not None:
                session.cut()

    async def _keep_house(self, session: Session) -> str | None:
        """What is in the way, if anything is."""
        slots = await session.rows("retention.survey", {"keep": self._keep})
        if self._keep is None:
            return None
        trouble = None
        due = [row for row in slots if row["due"]]
        for row in due:
            trouble = await self._empty(session, row["slot"], row["archived_in"]) or trouble
        if (await session.row("retention.turn", {"width": self._keep / SLOTS_KEPT}))["outcome"] == "full":
            trouble = trouble or FULL
        await self._sweep_failures(session)
        if due:
            await self._vacuum()
        return trouble

    async def _empty(self, session: Session, slot: int, archived_in: str | None) -> str | None:
        """Archive it if asked, sweep it, empty it."""
        if not (await session.row("retention.begin_sweep", {"slot": slot}))["begun"]:
            return RENUMBERED
        if self._folder is not None and not archived_in:
            await self._archive(slot, self._folder)
        moved = await self._sweep(session, slot)
        trouble = await self._truncate(session, slot)
        if trouble is None:
            log.info("a slot of the ring was emptied", extra={"slot": slot, "moved": moved})
        return trouble

    async def _archive(self, slot: int, folder: Path) -> None:
        """In a thread: writing and compressing would hold up deliveries."""
        stop = threading.Event()
        try:
            await asyncio.to_thread(archive.archive_slot, self._dsn, slot, folder, self._form, stop)
        finally:
            stop.set()

    async def _sweep(self, session: Session, slot: int) -> int:
        after, moved = 0, 0
        while True:
            started = time.monotonic()
            step = await session.row("retention.sweep", {"slot": slot, "after": after, "batch": BATCH, "keep": self._keep})
            if step["last_id"] is None:
                return moved
            after, moved = step["last_id"], moved + step["moved"]
            await asyncio.sleep(min(LONGEST_PAUSE, time.monotonic() - started))

    async def _truncate(self, session: Session, slot: int) -> str | None:
        """Ask for the slot a few times; whoever reads events waits for the lock as long as this does."""
        why = ""
        for pause in (*TRIES, None):
            try:
                outcome = (await session.row("retention.empty", {"slot": slot, "patience": PATIENCE}))["outcome"]
                return None if outcome == "emptied" else LATE.format(slot=slot)
            except DatabaseBusy as busy:
                why = str(busy)
            if pause is not None:
                await asyncio.sleep(pause)
        return LOCKED.format(slot=slot, why=why)

    async def _vacuum(self) -> None:
        """On a session of its own, which waits for it however long it takes; it holds nobody up, and no snapshot."""
        session = self._vacuuming = Session(self._dsn, "keep", self._tag, patience=VACUUM_WITHIN)
        try:
            await session.rows("retention.vacuum_settings")
            await session.rows("retention.vacuum_deliveries")
            await session.rows("retention.vacuum_attempts")
        finally:
            await session.close()

    async def _sweep_failures(self, session: Session) -> None:
        removed = BATCH
        while removed == BATCH:
            removed = (await session.row("retention.sweep_failures", {"keep": self._keep, "batch": BATCH}))["removed"]
