"""Several relays as one: `rowhook run --processes N`. Starts them and their API, passes a stop on to all.

Each is a relay like any other, an instance under a name of its own (``name/1``, ``name/2``, …); they share work as relays on
several machines do. The API is a process too (``name/api``); it is told which relays are down, so that /health/live answers for
all. The supervisor itself has no connection to the database and delivers nothing: there is little in it to fail.
If it is killed the others notice and end in order (child.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from relay import child
from relay.config import Settings
from relay.errors import UserMistake
from relay.process import own_name, stop_on_signals
from relay.ward import Ward

TELL_EVERY = 2.0


class Supervisor:
    """run() until ``stop`` is set."""

    def __init__(self, settings: Settings, processes: int, *, name: str | None = None, api: bool = True) -> None:
        stem = name or own_name()
        self._relays = [self._relay(settings, f"{stem}/{number}", api) for number in range(1, processes + 1)]
        self._api = Ward(settings, f"{stem}/api", partial(self._api_order, settings, f"{stem}/api"), "the API") if api else None
        self._mistake: UserMistake | None = None

    @staticmethod
    def _relay(settings: Settings, name: str, listens: bool) -> Ward:
        def order(died: bool) -> bytes:
            return child.relay_order(settings, name, listens=listens, first=not died)

        return Ward(settings, name, order)

    def _api_order(self, settings: Settings, name: str, _died: bool) -> bytes:
        return child.api_order(settings, name, self.down())

    async def run(self, stop: asyncio.Event) -> bool:
        """Whether all ended in order. Raises UserMistake: what only a person can mend, once all have ended."""
        wards = [*self._relays, *([self._api] if self._api else [])]
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(self._keep(ward, stop)) for ward in wards]
            if self._api:
                telling = group.create_task(self._tell(self._api))
                await asyncio.wait(keeping)
                telling.cancel()
        if self._mistake:
            raise self._mistake
        return all(ward.ended_in_order for ward in wards)

    def down(self) -> Sequence[str]:
        """Names of the relays that have given no sign of life for too long."""
        return [ward.name for ward in self._relays if ward.is_down]

    async def _tell(self, api: Ward) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            api.tell(child.down_line(self.down()))

    async def _keep(self, ward: Ward, stop: asyncio.Event) -> None:
        """A mistake is told once, whichever process finds it first; the others end in order."""
        try:
            await ward.keep(stop)
        except UserMistake as mistake:
            self._mistake = self._mistake or mistake
            stop.set()


def supervise(settings: Settings, processes: int, *, name: str | None = None, api: bool = True) -> bool:
    """Run that many relays until SIGTERM or SIGINT; whether all ended in order. Raises UserMistake."""

    async def until_signal() -> bool:
        return await Supervisor(settings, processes, name=name, api=api).run(stop_on_signals())

    return asyncio.run(until_signal())
