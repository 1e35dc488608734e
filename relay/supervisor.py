"""Several relays as one: `rowhook run --processes N`. Starts them, serves /health/live for all, passes a stop on to all.

Each is a relay like any other, an instance under a name of its own (``name/1``, ``name/2``, …); they share work as relays on
several machines do. The supervisor itself has no connection to the database and delivers nothing: there is little in it to fail.
If it is killed the relays notice and end in order (child.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relay.config import Settings
from relay.errors import UserMistake
from relay.health import Health
from relay.process import own_name, stop_on_signals
from relay.ward import Ward


class Supervisor:
    """run() until ``stop`` is set."""

    def __init__(self, settings: Settings, processes: int, *, name: str | None = None, api: bool = True) -> None:
        stem = name or own_name()
        self._wards = [Ward(settings, f"{stem}/{number}", listens=api) for number in range(1, processes + 1)]
        self._health = Health(settings.api_address, self.down) if api else None
        self._mistake: UserMistake | None = None

    async def run(self, stop: asyncio.Event) -> bool:
        """Whether all ended in order. Raises UserMistake: what only a person can mend, once all have ended."""
        if self._health:
            await self._health.start()
        try:
            async with asyncio.TaskGroup() as group:
                for ward in self._wards:
                    group.create_task(self._keep(ward, stop))
        finally:
            if self._health:
                await self._health.stop()
        if self._mistake:
            raise self._mistake
        return all(ward.ended_in_order for ward in self._wards)

    def down(self) -> Sequence[str]:
        """Names of the relays that have given no sign of life for too long."""
        return [ward.name for ward in self._wards if ward.is_down]

    async def _keep(self, ward: Ward, stop: asyncio.Event) -> None:
        """A mistake is told once, whichever relay finds it first; the others end in order."""
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
