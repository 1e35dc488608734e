"""The API on its address: in a relay's own loop, or alone."""

from __future__ import annotations

from aiohttp import web

from relay.api.app import Api
from relay.api.health import Liveness, all_up
from relay.config import Settings
from relay.errors import ConfigError

SHUTDOWN_WITHIN = 5.0  # seconds that a call which is under way has when it stops
LONGEST_LINE = 32_768  # of a request: what parameters may hold, percent-encoded; beyond it the parser answers, in plain text


class Server:
    """Serves on ROWHOOK_API_LISTEN. ``down`` names processes of its own that are; ``delivers``: it is, or has, a relay."""

    def __init__(self, settings: Settings, down: Liveness = all_up, *, delivers: bool = False) -> None:
        self._address = settings.api_address
        self._api = Api(settings, down, delivers=delivers)
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """Where it listens, once it does."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Raises ConfigError when the address is taken or not ours."""
        app = self._api.application()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_WITHIN, max_line_size=LONGEST_LINE)
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
        await self._api.open()

    async def stop(self) -> None:
        self._api.stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._api.close()
