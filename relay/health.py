"""The relay's own small HTTP server: /health/live answers 200 while the process runs its loop.

Where one process answers for several, 503 says that some of them are down, and which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from relay import __version__
from relay.errors import ConfigError
from relay.loopback import is_loopback, loopback_only


class Health:
    """Serves on (host, port); port 0 takes a free one. ``down`` names the processes that are."""

    def __init__(self, address: tuple[str, int], down: Callable[[], Sequence[str]] = tuple) -> None:
        self._down = down
        self._address = address
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises ConfigError when the address is taken or not ours."""
        app = web.Application(middlewares=[loopback_only] if is_loopback(self._address[0]) else [])
        app.router.add_get("/health/live", self._live)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        host, port = self._address
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"ROWHOOK_API_LISTEN: {host}:{port} can't be listened on ({error.strerror})",
                "give a free address, or run with --no-api",
            ) from None

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _request: web.Request) -> web.Response:
        if down := self._down():
            return web.json_response({"status": "down", "down": list(down), "version": __version__}, status=503)
        return web.json_response({"status": "live", "version": __version__})
