"""One instance id's time: the loops that feed the flight, from registration until the id is lost or the relay stops.

Dispatch and claim both take room from the same flight. Losing the lock or a connection ends the tenure; the service
begins another
under a fresh id. Source: mechanisms "Rules" 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from relay.archive_formats import FORMATS
from relay.claim import Claimer
from relay.config import Settings
from relay.database import Session
from relay.directory import Directory
from relay.dispatch import UNLIMITED, Dispatcher, Look
from relay.doorbell import SOME, Bell, Doorbell, Listener
from relay.errors import ConfigError, DatabaseBusy, LeaseLost, RoleLost
from relay.flight import Flight
from relay.lease import BEAT_EVERY, Lease, tag
from relay.model import Claimed, Delivery, Result, Room, State
from relay.outage import Outage
from relay.retention import Keeper
from relay.rooms import Rooms

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_EVENTS = 1000  # a chunk: one short transaction
MOST_BYTES = 16 * 2**20  # of it, of large rows: while these are sent Postgres unpacks the next
STANDBY_POLL = 5.0  # each beat tells a standby whether the role is free
LIMITED_EVERY = 0.05  # between looks at endpoints with a rate, whose next requests may be due
LINGER = (0.001, 0.002)  # after an event the next one is often near: looks before the bell is armed
CALM = 10  # looks in a row that find some events at the most: then let writers ring, who are heard of at once
# Events are parked rather than kept waiting when no room at all became free for so long, or too little for so long.
STUCK_AFTER, CROWDED_AFTER = 0.1, 0.25
SHED_AFTER = 1.0  # without room: what was claimed ahead for who can't take it any more is given back
# Seconds between claims of more for endpoints that are doubted; retries after the usual 2 s fall on the same moments.
TURN = 0.125


class Due:
    """When parked work is due, as far as this relay knows; wakes the claim loop. Each beat tells the next time again.

    Times are those of a grid, so that what falls due at nearly the same moment is claimed together: hundreds of retries of one
    endpoint would otherwise be as many claims.
    """

    def __init__(self) -> None:
        self._times: set[float] = set()
        self._poked = False
        self._changed = asyncio.Event()

    def poke(self) -> None:
        """Claim now."""
        self._poked = True
        self._changed.set()

    def at(self, seconds_from_now: float) -> None:
        """Claim then; what is farther away than two beats a later beat will tell."""
        if seconds_from_now <= 0:
            self.poke()
        elif seconds_from_now < 2 * BEAT_EVERY:
            grid = 2.0 ** (math.frexp(seconds_from_now)[1] - 5)  # between a 16th and a 32nd of the wait
            self._times.add(math.ceil((time.monotonic() + seconds_from_now) / grid) * grid)
            self._changed.set()

    def at_next_turn(self) -> None:
        """Claim for those that may hang or refuse: for all of them together, a few times a second."""
        self._times.add((math.floor(time.monotonic() / TURN) + 1) * TURN)
        self._changed.set()

    async def wait(self) -> None:
        """Return when poked or when something is due."""
        while not self._poked:
            timeout = min(self._times) - time.monotonic() if self._times else None
            if timeout is not None and timeout <= 0:
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()

    def clear(self) -> None:
        """Before a claim: what is due by now is taken care of."""
        self._poked = False
        now = time.monotonic()
        self._times = {at for at in self._times if at > now}


class Tenure:
    """Wires the stages for one instance id."""

    def __init__(self, settings: Settings, name: str, flight: Flight, directory: Directory, rooms: Rooms, *, first: bool) -> None:
        self.lease = Lease(settings.url_for_listening, settings.database_url, name)
        own = tag(self.lease.id)
        self._flight = flight
        self._directory = directory
        self._rooms = rooms
        self._first = first
        self._claim_session = Session(settings.database_url, "claim", own)
        self._dispatch_session = Session(settings.url_for_listening, "dispatch", own, holds=True)
        self.claimer = Claimer(self._claim_session, self.lease.id)
        self._dispatcher = Dispatcher(self._dispatch_session, self.lease.id)
        self.bell = Bell()
        self._doorbell = Doorbell(self._dispatch_session, self.bell, self.lease.id)
        form = FORMATS[settings.archive_format]
        self.keeper = Keeper(settings.url_for_listening, own, settings.keep, settings.archive_folder, form)
        self._due = Due()
        self._endpoints_changed = asyncio.Event()
        self._suspects: set[int] = set()
        self._listener = Listener(settings.url_for_listening, own, self.bell.ring, self._due.poke, self._endpoints_changed.set)
        self._role_may_be_free = asyncio.Event()
        self._freed = asyncio.Event()
        self._parked_for: set[int] | None = None  # endpoints whose work found no room; None: any may have, until a claim has told
        self._limited_at = 0.0  # the last look at endpoints with a rate that was not foreseen
        self._peers = 0
        self._fanout = 1.0
        self._bytes_of_event = 1.0
        self._stopping = False
        self._is_dispatcher = False
        self._left_behind = asyncio.Event()
        self._left_behind.set()
        self._busy = Outage(log, "waits for a lock that somebody holds")

    async def keep_alive(self) -> None:
        """Beat, and look after the dead; raises LeaseLost or DatabaseLost at the end of this tenure."""
        while True:
            report = await self._patiently(self.lease.beat)
            self._peers = report.peers
            if report.role_is_free:
                self._role_may_be_free.set()
            with contextlib.suppress(DatabaseBusy):  # the next beat finds the dead again
                if await self.lease.tend(report):
                    self._role_may_be_free.set()
                    self._left_behind.set()
            if report.next_due is not None:
                self._due.at(report.next_due)
            if self._flight.lanes.busy or self._flight.unsent:
                self._endpoints_changed.set()
            await asyncio.sleep(BEAT_EVERY)

    async def reclaim(self) -> None:
        """Take back what the dead held, whenever there may be some: beside the beat, which must not wait for it."""
        await self._patiently(self._reclaim)

    async def _reclaim(self) -> None:
        while True:
            await self._left_behind.wait()
            freed = await self.claimer.reclaim()
            self._left_behind.clear()
            if freed:
                log.warning("reclaimed what a dead relay held", extra={"deliveries": freed})
                self._due.poke()

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """What met a lock or a deadlock did nothing: the same again, a little later, under the same id."""
        while True:
            try:
                return await work()
            except DatabaseBusy as busy:
                await asyncio.sleep(self._busy.wait(busy))

    async def watch_lock(self) -> None:
        await self.lease.watch()
        raise LeaseLost("the session of the lock has ended")

    async def listen(self) -> None:
        await self._listener.run()

    async def watch_endpoints(self) -> None:
        """What was claimed ahead and may not be sent any more is given back; the rest is sent as its endpoint now says."""
        while True:
            await self._endpoints_changed.wait()
            await self._patiently(self._notice_endpoints)

    async def _notice_endpoints(self) -> None:
        self._endpoints_changed.clear()
        suspects = self._suspects | self._flight.lanes.busy.keys()
        if suspects:
            await self._directory.notice(self._claim_session, suspects)
            self._flight.recall()
        await self.give_back()
        self._suspects -= suspects

    async def give_back(self) -> None:
        """Deliveries that were leased ahead and not sent, by this instance or one that this process was before."""
        by_instance: dict[int, list[Delivery]] = {}
        for delivery in self._flight.unsent:
            by_instance.setdefault(delivery.instance_id, []).append(delivery)
        self._flight.unsent = []
        if by_instance:
            self._freed.set()  # nothing of this will be recorded, which is what tells of room otherwise
            self._claim_parked()
        while by_instance:
            instance, deliveries = by_instance.popitem()
            try:
                await self.claimer.release(instance, [delivery.id for delivery in deliveries])
            except BaseException:
                self._flight.unsent += deliveries + [d for others in by_instance.values() for d in others]
                raise

    async def dispatch(self) -> None:
        """Be the dispatcher, or wait to become it."""
        while not self._stopping:
            self._role_may_be_free.clear()
            if await self._dispatcher.take_role():
                self._is_dispatcher = True
                await self._listener.listening.wait()
                try:
                    await self._patiently(self._test_bell)
                    await self._patiently(self._serve_bell)
                except RoleLost as lost:
                    self._is_dispatcher = False
                    log.warning("stands by: another relay may dispatch now", extra={"reason": str(lost)})
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STANDBY_POLL):
                        await self._role_may_be_free.wait()

    async def _serve_bell(self) -> None:
        while not self._stopping:
            await self._dispatch_all()
            if not self._stopping:
                await self._doorbell.sleep(self._dispatcher.peek)

    async def _test_bell(self) -> None:
        if await self._doorbell.has_two_phase():
            self._doorbell.deaf = True
            log.warning("max_prepared_transactions is above 0: writers do not ring, new events are polled for")
        elif not (await self._doorbell.test() or await self._doorbell.test()):  # twice: a server may stall for seconds
            if self._first:
                raise ConfigError(
                    "this relay does not hear its own bell",
                    "connect directly, not through a transaction pooler (ROWHOOK_LISTEN_URL), and let the owner of the "
                    "capture functions SELECT on rowhook.doorbell",
                )
            self._doorbell.deaf = True
            log.error("this relay does not hear its own bell any more: new events are polled for")

    async def _dispatch_all(self) -> None:
        """Look until nothing is found, and a little longer; or until little is, where the next writer rings."""
        pauses = iter(LINGER)
        found = calm = 0
        while not self._stopping:
            room, chunk, most_size = await self._room_for_events()
            look = await self._dispatcher.look(room, chunk, most_size, disarm=self._doorbell.before_look(found))
            if look.skipped:
                await asyncio.sleep(LINGER[-1])
                continue
            await self._take(look)
            found = look.events
            calm = calm + 1 if found <= SOME else 0
            if found:
                pauses = iter(LINGER)
            if look.more:
                continue
            if self._doorbell.is_relied_on:
                if await self._doorbell.suffices(found):
                    return
            elif calm > CALM or not await self._linger(pauses):
                return

    async def _linger(self, pauses: Iterator[float]) -> bool:
        """Whether something new shows up soon."""
        while not await self._dispatcher.peek():
            if (pause := next(pauses, None)) is None:
                return False
            await asyncio.sleep(pause)
        return True

    async def _take(self, look: Look) -> None:
        if look.events:
            self._fanout += 0.2 * ((len(look.leased) + look.parked) / look.events - self._fanout)
            self._bytes_of_event += 0.2 * (look.size / look.events - self._bytes_of_event)
        await self._offer(look.leased, self._dispatch_session)
        if look.leased and not look.more:
            # Requests are composed in one turn of the loop and written in the next; only then the next statement is made. In a
            # backlog it is made first: Postgres is at work on it while these are sent.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if look.parked:
            if not look.events:  # the cursor began anew
                self._parked_for = None
            elif self._parked_for is not None:
                self._parked_for.update(look.parked_for)
            self._claim_parked()
            self._look_at_limited(look.parked_for)
            if self._peers and not (look.parked_for and all(map(self._is_limited, look.parked_for))):
                await self._dispatch_session.rows("dispatch.tell_peers")

    async def claim(self) -> None:
        """Claim what is due whenever something may be, while there is room."""
        await self._patiently(self._claim_what_is_due)

    async def _claim_what_is_due(self) -> None:
        while not self._stopping:
            self._due.clear()
            while not self._stopping:
                await self._wait_for_room()
                room = self._rooms.room()
                self._parked_for = None if room.size <= 0 else self._rooms.full(room)  # others would be claimed for now
                rows = await self.claimer.claim(room)
                await self._offer(rows, self._claim_session)
                if self._parked_for is not None and (filled := self._rooms.filled(rows, room)):
                    self._parked_for |= filled
                    self._claim_parked()  # their room may be free again by now
                if self.claimer.is_knocked:
                    gated = await self.claimer.claim_gated(self._rooms.room())
                    await self._offer(gated, self._claim_session)
                    self._look_at_limited({row.endpoint_id for row in gated})
                if not room.is_spent_on(rows):
                    break
            await self._due.wait()

    async def _offer(self, rows: Sequence[Claimed], session: Session) -> None:
        """Rows that are leased by now: whatever happens, they are not left lying about.

        What was claimed before a change that is known by now is given back, or sent by what is so now.
        """
        if not rows:
            return
        deliveries = await self._patiently(lambda: self._directory.deliveries(session, rows, self.lease.id))
        if all(delivery.endpoint.sendable for delivery in deliveries):
            self._flight.offer(deliveries)
            return
        is_late = [
            not d.endpoint.sendable and row.revision < d.endpoint.revision for row, d in zip(rows, deliveries, strict=True)
        ]
        self._flight.offer(d for d, late in zip(deliveries, is_late, strict=True) if not late)
        self._flight.unsent += [d for d, late in zip(deliveries, is_late, strict=True) if late]
        await self._patiently(self.give_back)

    def circuit(self, opened: Sequence[int], look_in: float) -> None:
        """These have opened; and something may be claimed then where one is open or ramping."""
        self._due.at(look_in)
        if opened:
            self._suspects.update(opened)
            self._endpoints_changed.set()

    def recorded(self, batch: Sequence[Result]) -> None:
        """Results are in the tables: their room is free, retries have a time, the next of an ordered key may go."""
        self._freed.set()
        ordered, limited = False, set[int]()
        for result in batch:
            if result.state is State.PENDING:
                self._due.at(result.wait)
            endpoint = result.delivery.endpoint
            ordered = ordered or endpoint.ordered
            if endpoint.limited:
                limited.add(endpoint.id)
        self._look_at_limited(limited)
        if ordered:
            self._due.poke()
        else:
            self._claim_parked()

    def _claim_parked(self) -> None:
        """Soon, where work is parked whose endpoints have room: beside a slow one others would pay for each claim."""
        if self._parked_for is None or self._rooms.is_free_for(self._parked_for - self._flight.lanes.doubted):
            self._due.poke()
        elif self._rooms.is_free_for(self._parked_for & self._flight.lanes.doubted):
            self._due.at_next_turn()

    def _is_limited(self, endpoint: int) -> bool:
        known = self._directory.known.get(endpoint)
        return known is not None and known.limited

    def _look_at_limited(self, endpoints: Iterable[int]) -> None:
        """Claim when the next requests of those with a rate are due, 20 times a second at most, whatever comes in."""
        now = time.monotonic()
        for due in {self.claimer.slots.get(e, 0.0) for e in endpoints if self._is_limited(e)}:
            if (at := due if due > now else self._limited_at + LIMITED_EVERY) > now:
                self._due.at(math.ceil(at / LIMITED_EVERY) * LIMITED_EVERY - now)
            else:
                self._limited_at = now
                self._due.poke()

    async def _wait_for_room(self) -> None:
        while not self._rooms.is_roomy():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHED_AFTER):
                    while not self._rooms.is_roomy():
                        self._freed.clear()
                        await self._freed.wait()
                    return
            self._shed()

    def _shed(self) -> None:
        """Whoever was quick and hangs must not hold everybody's room until its requests time out."""
        excess = self._rooms.excess()
        self._flight.shed(excess)
        if self._flight.unsent:
            if self._parked_for is not None:
                self._parked_for |= excess.keys()
            self._endpoints_changed.set()  # they are given back there

    async def _room_for_events(self) -> tuple[Room, int, int]:
        """Room, and how many events and bytes of them to look for.

        Alone, as many as can be leased: parking costs a second look-up. With peers, as many again for each; after a while
        without room, more: the rest is parked. Of large ones no more are read than, by those of late, will do.
        """
        await self._wait_for_room()
        if self._rooms.is_crowded() and not await self._becomes_less_crowded():
            return self._rooms.room(), MOST_EVENTS, UNLIMITED
        room = self._rooms.room()
        widest = self._rooms.widest(room) or MOST_EVENTS
        size = min(room.size, MOST_BYTES)
        fits = min(room.capacity / max(1.0, self._fanout), widest, size / max(1.0, self._bytes_of_event))
        return room, max(1, int(min(MOST_EVENTS, fits * (1 + self._peers)))), size * (1 + self._peers)

    async def _becomes_less_crowded(self) -> bool:
        """Whether it does before long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CROWDED_AFTER):
                while self._rooms.is_crowded():
                    self._freed.clear()
                    async with asyncio.timeout(STUCK_AFTER):
                        await self._freed.wait()
                return True
        return False

    def wind_up(self) -> None:
        """Take no new work; the loops end at their next step."""
        self._stopping = True
        self._flight.ground()
        self.bell.ring()
        self._due.poke()
        self._freed.set()
        self._role_may_be_free.set()

    def cut(self) -> None:
        """Nobody waits any longer for what Postgres was asked: it may never answer."""
        self.lease.cut()
        self.keeper.cut()
        self._listener.cut()
        self._claim_session.cut()
        self._dispatch_session.cut()

    async def end(self) -> None:
        """The orderly end: writers need not ring, work is free at once."""
        if self._is_dispatcher and self._dispatch_session.is_open:
            await self._doorbell.disarm()
        await self.lease.retire()

    async def close(self) -> None:
        for session in (self._claim_session, self._dispatch_session):
            await session.close()
        await self.lease.close()
