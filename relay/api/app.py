"""The application: every call of the registry under its path, behind the doors that all pass (doors.py)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web

from relay.api import calls, health, openapi, reference
from relay.api.asked import asked, path_and_query
from relay.api.auth import Authenticator, forbidden
from relay.api.call import StreamCall
from relay.api.doors import REQUEST_ID, WHO, cross_origin, loopback_only, outermost
from relay.api.health import Liveness, Readiness
from relay.api.limits import Buckets
from relay.api.operation import REGISTRY, Operation
from relay.api.perform import in_transaction, perform
from relay.api.pool import Pool
from relay.api.principal import Principal
from relay.config import Settings, require_keyring
from relay.loopback import is_loopback, parse_origins

log = logging.getLogger(__name__)

__all__ = ["Api", "calls"]


class Api:
    """The application and what it holds: connections, keys, buckets. open() before it serves, close() after."""

    def __init__(self, settings: Settings, liveness: Liveness, *, delivers: bool = False) -> None:
        self.settings = settings
        self._keyring = require_keyring(settings)
        self._auth = Authenticator(settings)
        self._pool = Pool(settings)
        self._buckets = Buckets(settings.api_rate)
        self._liveness = liveness
        self._delivers = delivers
        self.stopping = asyncio.Event()

    async def open(self) -> None:
        await self._pool.open()
        if self._auth.is_open:
            log.warning(
                "neither ROWHOOK_API_TOKEN nor a key for JWTs is set: the API answers this machine's loopback only,"
                " and there anybody is the operator"
            )

    async def close(self) -> None:
        self.stopping.set()
        await self._pool.close()

    def application(self) -> web.Application:
        # Where anybody is the operator, no page may ask.
        origins = () if self._auth.is_open else parse_origins(self.settings.cors_origins)
        doors: list[Any] = [outermost]
        if is_loopback(self.settings.api_address[0]):
            doors.append(loopback_only(origins))
        doors.append(cross_origin(origins))
        app = web.Application(middlewares=doors, client_max_size=self.settings.api_max_body)
        health.add(app, self._liveness, Readiness(self._pool, delivers=self._delivers))
        openapi.add(app)
        reference.add(app)
        for operation in REGISTRY:
            handler = self._handler(operation)
            for path in (operation.path, operation.path + "/"):
                if operation.method == "GET":
                    app.router.add_get(path, handler)
                else:
                    app.router.add_route(operation.method, path, handler)
        return app

    def _handler(self, operation: Operation) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            principal = await self._admitted(request, operation)
            if operation.is_stream:
                return await self._stream(request, operation, principal)
            wanted = await asked(request, operation, principal, request[REQUEST_ID])
            made = await self._pool.run(perform, self.settings, self._keyring, wanted)
            kind = "application/json" if made.body else None
            return web.Response(status=made.status, body=made.body or None, headers=made.headers, content_type=kind)

        return answer

    async def _admitted(self, request: web.Request, operation: Operation) -> Principal:
        """Who asks, if they may ask this, and not too often."""
        principal = await self._auth.who(request)
        request[WHO] = principal.name
        self._buckets.take(principal.key)
        if operation.operator and not principal.is_operator:
            raise forbidden("only the operator may do this")
        return principal

    async def _stream(self, request: web.Request, operation: Operation, principal: Principal) -> web.StreamResponse:
        async def run(function: Any, *args: Any) -> Any:
            return await self._pool.run(in_transaction, function, *args)

        call = StreamCall(request, principal, self.settings, request[REQUEST_ID], run, self.stopping)
        response: web.StreamResponse = await operation.function(call, **path_and_query(request, operation))
        return response
