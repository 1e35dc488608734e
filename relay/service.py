"""READ FIRST. Wires the stages of a relay and owns its start and stop.

    bell -> dispatch ─┐
                      ├─> flight (lanes -> compose -> sign -> send -> judge) -> record
             claim  ──┘

The recorder and the flight live as long as the process; the rest belongs to a tenure, the time of one instance id (tenure.py).
When the lock or a connection is lost the tenure ends, results wait in the recorder, and another tenure begins with backoff.
SIGTERM or SIGINT: nothing new is claimed, requests that are out end and are recorded, the rest is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from relay.api.server import Server
from relay.bodies import Bodies
from relay.config import Settings, duration, require_keyring
from relay.database import Session
from relay.directory import Defaults, Directory
from relay.errors import DatabaseLost, LeaseLost, UserMistake
from relay.flight import Flight
from relay.lanes import Lanes
from relay.model import Delivery, Result
from relay.outage import Outage
from relay.process import own_name, run_quickly, stop_on_signals
from relay.record import Recorder
from relay.rooms import Rooms, endpoint_room
from relay.send import transport
from relay.tenure import Tenure

log = logging.getLogger(__name__)

CUT = 0.05  # seconds in which whoever waited for a lost Postgres comes back
GRACE = 5.0  # beyond a request's own timeout, for recording what it came to


class _Stopped(Exception):
    """The orderly end of a tenure."""


class Relay:
    """One relay: run() until ``stop`` is set."""

    def __init__(
        self, settings: Settings, *, name: str | None = None, api: bool = True, listens: bool | None = None, first: bool = True
    ) -> None:
        """``listens``: the API is served, if not by this process then by its supervisor. ``first``: not a restart of its."""
        self._settings = settings
        self._name = name or own_name()
        timeout = duration(settings.timeout).total_seconds()
        self._drain_timeout = timeout + GRACE
        self._transport = transport(settings, listens=api if listens is None else listens)
        self._directory = Directory(Defaults(settings.schedule, timeout, endpoint_room(settings)), require_keyring(settings))
        self._record_session = Session(settings.database_url, "record")
        self._recorder = Recorder(self._record_session, settings.patience, self._recorded, self._circuit)
        self._bodies = Bodies(Session(settings.database_url, "body"))
        lanes = Lanes(settings.max_in_flight)
        self._rooms = Rooms(settings, lanes, self._directory)
        self._flight = Flight(
            self._transport,
            lanes,
            self._directory.known,
            settings.header_prefix,
            self._may_send,
            self._recorder.put,
            self._bodies.prepared,
        )
        self._api = Server(settings, delivers=True) if api else None
        self._tenure: Tenure | None = None
        self._previous: int | None = None
        self._first = first
        self.ready = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop``; returns when all that was out is recorded. Raises UserMistake: what only a person can mend."""
        if self._api:
            await self._api.start()
        await self._transport.open()
        recording, serving = asyncio.create_task(self._keep_recording()), asyncio.create_task(self._tenures(stop))
        try:
            # The recorder never ends by itself: an error in it is the relay's end, not a silence.
            done, _ = await asyncio.wait((serving, recording), return_when=asyncio.FIRST_COMPLETED)
            await done.pop()
        finally:
            self._record_session.cut()
            serving.cancel()
            recording.cancel()
            await asyncio.wait((serving, recording))
            self._flight.abandon()
            if self._api:
                await self._api.stop()
            await self._transport.close()
            await self._bodies.close()
            await self._record_session.close()

    async def _tenures(self, stop: asyncio.Event) -> None:
        """One tenure after the other, with jittered backoff in between."""
        outage = Outage(log, "lost the database or the lease; trying again")
        while not stop.is_set():
            tenure = Tenure(self._settings, self._name, self._flight, self._directory, self._rooms, first=self._first)
            lost = await self._serve(tenure, stop)
            if lost is None:
                return
            self.ready.clear()
            self._first = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(outage.wait(lost)):
                    await stop.wait()

    async def _serve(self, tenure: Tenure, stop: asyncio.Event) -> BaseException | None:
        """One tenure to its end: None if it was orderly, otherwise what was lost."""
        lost: BaseException | None = None
        try:
            await self._begin(tenure)
            async with asyncio.TaskGroup() as group:
                for loop in (tenure.keep_alive, tenure.watch_lock, tenure.reclaim, tenure.watch_endpoints, tenure.keeper.run):
                    group.create_task(self._until_lost(tenure, loop))
                feeding = [
                    group.create_task(self._until_lost(tenure, loop)) for loop in (tenure.listen, tenure.dispatch, tenure.claim)
                ]
                group.create_task(self._stop(tenure, stop, feeding))
                self.ready.set()
        except* _Stopped:
            pass
        except* (DatabaseLost, LeaseLost) as group_of_lost:
            lost = group_of_lost.exceptions[0]
        except* UserMistake as mistakes:
            raise mistakes.exceptions[0] from None
        finally:
            self._tenure = None
            self._previous = tenure.lease.id
            self._flight.ground()
            await tenure.close()
        return lost

    async def _until_lost(self, tenure: Tenure, loop: Callable[[], Awaitable[None]]) -> None:
        """One loop of a tenure. The first that ends it makes the others' statements end too: a cut-off server answers nobody."""
        try:
            await loop()
        except (DatabaseLost, LeaseLost):
            tenure.cut()
            self._bodies.cut()
            if self._record_session.is_busy:
                self._record_session.cut()
            await asyncio.sleep(CUT)
            raise

    async def _begin(self, tenure: Tenure) -> None:
        """Register; then settle what an earlier id of this process left: results first, so that they still count."""
        await tenure.lease.register()
        if self._previous is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._recorder.flushed()
            await tenure.give_back()
            await tenure.lease.succeed(self._previous)
        self._tenure = tenure

    async def _stop(self, tenure: Tenure, stop: asyncio.Event, feeding: Sequence[asyncio.Task[None]]) -> None:
        """Drain: no new work, what is out lands and is recorded, the rest is given back."""
        await stop.wait()
        log.info("stopping: requests that are out are awaited", extra={"in_flight": self._flight.lanes.in_flight})
        tenure.wind_up()
        await asyncio.wait(feeding[1:], timeout=GRACE)
        self._flight.ground()
        await tenure.give_back()
        if not await self._flight.landed(self._drain_timeout):
            log.warning("requests were still out at the end; their deliveries will be tried again")
        try:
            async with asyncio.timeout(GRACE):
                await self._recorder.flushed()
        except TimeoutError:
            log.warning("results could not be recorded before the end; their deliveries will be tried again")
        await tenure.give_back()
        await tenure.end()
        raise _Stopped

    async def _keep_recording(self) -> None:
        """The recorder outlives connections: what it could not write it keeps."""
        outage = Outage(log, "results wait for the database", longest=1.0)
        while True:
            try:
                await self._recorder.run()
            except DatabaseLost as lost:
                await asyncio.sleep(outage.wait(lost))

    def _may_send(self, delivery: Delivery) -> bool:
        lease = self._tenure.lease if self._tenure else None
        return lease is not None and lease.id == delivery.instance_id and lease.is_fresh

    def _circuit(self, opened: Sequence[int], look_in: float) -> None:
        self._flight.hold(opened)
        if self._tenure:
            self._tenure.circuit(opened, look_in)

    def _recorded(self, batch: Sequence[Result]) -> None:
        self._flight.settled(batch)
        self._rooms.recorded(batch)
        if self._tenure:
            self._tenure.recorded(batch)


def serve(settings: Settings, *, name: str | None = None, api: bool = True) -> None:
    """Run a relay until SIGTERM or SIGINT. Raises UserMistake for what only a person can mend."""
    run_quickly(_serve_until_signal(settings, name, api))


async def _serve_until_signal(settings: Settings, name: str | None, api: bool) -> None:
    await Relay(settings, name=name, api=api).run(stop_on_signals())
