"""Wake the dispatcher when Postgres rings.

A ring carries no data; the tables are the truth. Before it sleeps the dispatcher arms the bell; writers ring only
while it is armed.
A writer that looked at the flag before it was armed does not ring: so arm, ask who is in flight, look, and look again
while any of those
lives. Only then is sleeping safe. While looks find little it stays armed: a ring, a look, and asleep again.
Sources: mechanisms "Doorbell" 1-8; hazards 5-9.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import psycopg
from psycopg import sql

from relay.database import Session, notifications, translated
from relay.errors import DatabaseLost

log = logging.getLogger(__name__)

ARMED_FOR = 30.0  # seconds; a dead dispatcher's bell costs writers for so long at the most
RENEW_AFTER = 15.0
NEVER = float("-inf")
CHECK_EVERY = CHECK_WITHIN = 5.0  # a listener that went deaf is found before the next renewal would find what it missed
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05  # while writers in flight may not have seen the flag
FEW = 1  # event of a look: while it finds no more, ringing costs writers less than it saves
SOME = 4  # the same, as long as no writer waits for another's ring
IDLE_POLL, LONGEST_POLL = 0.002, 0.5  # where there is no bell (two-phase commit)


class Bell:
    """The in-process end of the bell: set by the listener, cleared before a look, never after."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    @property
    def has_rung(self) -> bool:
        return self._event.is_set()

    async def wait(self, timeout: float) -> bool:
        """True when it rang within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class Listener:
    """A session of its own that only listens.

    To the bell, to ``rowhook_work`` (replays, resumed endpoints, parked deliveries), to ``rowhook_endpoint`` (one has changed).
    """

    def __init__(
        self,
        listen_dsn: str,
        tag: str,
        on_bell: Callable[[], None],
        on_work: Callable[[], None],
        on_endpoint: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = Session(listen_dsn, "bell", tag, patience=CHECK_WITHIN)
        self._handlers = {"rowhook_bell": on_bell, "rowhook_work": on_work, "rowhook_endpoint": on_endpoint}
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until the session is lost (DatabaseLost); every so often ask whether it is still there."""
        connection = await self._session.connection()
        try:
            with self._session.answering():
                for channel in self._handlers:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self.listening.set()
            while True:
                with translated():
                    async for note in notifications(connection, CHECK_EVERY):
                        self._handlers[note.channel]()
                with self._session.answering():
                    async with connection.pipeline():  # nothing but its Sync: an answer without a statement
                        pass
        finally:
            self.listening.clear()
            await self._session.close()
        raise DatabaseLost("the listening session ended")

    def cut(self) -> None:
        """Hear nothing more."""
        self._session.cut()


class Doorbell:
    """The dispatcher's side: arm, disarm, who is in flight. Runs on the dispatcher's own session."""

    def __init__(self, session: Session, bell: Bell, instance: int = 0) -> None:
        """``instance``: in whose row missed rings are counted; 0: in none."""
        self._session = session
        self._instance = instance
        self.bell = bell
        self.missed_rings = 0
        self.deaf = False
        self._is_armed = False
        self._renew_at = NEVER  # by the monotonic clock: until then whoever commits rings

    async def arm(self) -> None:
        self._is_armed = True
        await self._session.rows("doorbell.arm", {"until": timedelta(seconds=ARMED_FOR)})

    async def disarm(self) -> None:
        if self._give_up():
            await self._session.rows("doorbell.disarm")

    def _give_up(self) -> bool:
        """It is not relied on any more; whether it was armed, and is to be disarmed by whoever asks."""
        was_armed, self._is_armed, self._renew_at = self._is_armed, False, NEVER
        return was_armed

    @property
    def is_relied_on(self) -> bool:
        """Whether it is armed, and nobody is in flight who may have read the flag before: who commits rings."""
        return self._renew_at != NEVER

    def before_look(self, found: int) -> bool:
        """Clears the bell. ``found`` is what the last look came to: after much, whether the next one is to disarm it."""
        self.bell.clear()
        return found > FEW and self._give_up()

    async def suffices(self, found: int) -> bool:
        """Whether to go on relying on it after a look that found so many; not where writers wait for each other to ring."""
        return found <= FEW or (found <= SOME and not (await self._session.row("doorbell.queue"))["waits"])

    async def holders(self) -> frozenset[str]:
        """Virtual transactions that hold a writer's lock on rowhook.event now."""
        return frozenset((await self._session.row("doorbell.holders"))["holders"])

    async def test(self, timeout: float = 3.0) -> bool:
        """Ring the own bell through a real trigger: False when no ring arrived (a pooler in between, a missing right)."""
        await self.arm()
        self.bell.clear()
        try:
            await self._session.rows("doorbell.probe")
            return await self.bell.wait(timeout)
        except psycopg.errors.InsufficientPrivilege:
            return False  # Postgres 15 refuses the writer; later ones read NULL and never ring
        finally:
            await self.disarm()

    async def has_two_phase(self) -> bool:
        """Whether writers may PREPARE: then they never ring."""
        return bool((await self._session.row("doorbell.two_phase"))["two_phase"])

    async def sleep(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Return when there may be something to dispatch, the bell still armed.

        ``look`` tells whether there is, in a statement of its own.
        """
        if self.deaf:
            await self._poll(look)
        else:
            await self._sleep_armed(look)

    async def _sleep_armed(self, look: Callable[[], Awaitable[bool]]) -> None:
        if time.monotonic() >= self._renew_at:
            self.bell.clear()
            if await self._renew(look):
                return
        while not await self.bell.wait(self._renew_at - time.monotonic()):
            if await self._renew(look):
                await self._count_missed_ring()
                break

    async def _renew(self, look: Callable[[], Awaitable[bool]]) -> bool:
        """A full cycle; the bell is relied on until the next one where nobody is left who may not ring."""
        renew_at = time.monotonic() + RENEW_AFTER
        found = await self._arm_and_look(look)
        self._renew_at = NEVER if found else renew_at
        return found

    async def _arm_and_look(self, look: Callable[[], Awaitable[bool]]) -> bool:
        """One full cycle; True when something was found or it rang. Each renewal is one, so it is also the safety look."""
        await self.arm()
        in_flight = await self.holders()
        found = await look()
        pause = FIRST_PAUSE
        while in_flight and not found and not await self.bell.wait(pause):
            in_flight &= await self.holders()
            found = await look()
            pause = min(pause * 2, LONGEST_PAUSE)
        return found or self.bell.has_rung

    async def _count_missed_ring(self) -> None:
        """Something was found after a long silence: if no ring comes for it, one was missed."""
        if not await self.bell.wait(0.25):
            self.missed_rings += 1
            log.error("an event was found for which nobody rang", extra={"missed_rings": self.missed_rings})
            await self._session.rows("doorbell.missed", {"instance": self._instance, "missed": self.missed_rings})

    async def _poll(self, look: Callable[[], Awaitable[bool]]) -> None:
        self.bell.clear()
        pause = IDLE_POLL
        while not await look():
            if await self.bell.wait(pause):
                return
            pause = min(pause * 1.5, LONGEST_POLL)
