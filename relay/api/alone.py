"""The API in a process of its own: `rowhook api`, or beside the relays of `rowhook run --processes`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Sequence

from relay.api.server import Server
from relay.config import Settings
from relay.process import run_quickly, stop_on_signals

log = logging.getLogger(__name__)

KINDER = 19  # nice's steps: all of them


class Alone:
    """run() until ``stop`` is set. Where it answers for relays, their supervisor says which are ``down``."""

    def __init__(self, settings: Settings, down: Sequence[str] | None = None) -> None:
        self._down: Sequence[str] = down or ()
        self._settings = settings
        self._server = Server(settings, lambda: self._down, delivers=down is not None)
        self._rest = b""

    def told(self, data: bytes) -> None:
        """Lines of JSON, cut anywhere; the last whole one holds."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            with contextlib.suppress(ValueError):
                self._down = json.loads(lines[-1])

    async def run(self, stop: asyncio.Event) -> None:
        """Raises UserMistake for what only a person can mend."""
        await self._server.start()
        log.info("the API is served", extra={"listen": self._settings.api_listen})
        try:
            await stop.wait()
        finally:
            await self._server.stop()


def let_relays_go_first() -> None:
    """This process takes what they leave of the processor, where they run on the same machine."""
    os.nice(KINDER)


def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    let_relays_go_first()

    async def until_signal() -> None:
        await Alone(settings).run(stop_on_signals())

    run_quickly(until_signal())
