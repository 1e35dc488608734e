"""Attempts as they are recorded, as Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from relay import endpoints
from relay.api.call import Connection, StreamCall
from relay.api.models.events import StreamQuery
from relay.api.operation import operation
from relay.api.problem import Problem, busy, not_found
from relay.api.streamed import Streamed
from relay.database import Row
from relay.errors import DatabaseLost, UserMistake
from relay.follow import Follower, Listener
from relay.wanted import Wanted

MOST = 200  # streams of one process
LONGEST = 3600.0  # seconds; then the client comes again, with a token that is valid still
HEARTBEAT = 15.0
WRITE_WITHIN = 30.0  # who takes nothing for so long is gone
AGAIN = 1.0  # after the database was lost

_followers: WeakKeyDictionary[web.Application, Follower] = WeakKeyDictionary()
_open: WeakKeyDictionary[web.Application, int] = WeakKeyDictionary()


@operation("GET", "/stream", tag="deliveries", media="text/event-stream", refuses=(404,))
async def stream_attempts(call: StreamCall, query: StreamQuery) -> web.StreamResponse:
    """Attempts as they are recorded, live, as Server-Sent Events of type `attempt`.

    With `Last-Event-ID`, as browsers send it by themselves when they come back, it goes on where it ended: nothing is lost and
    nothing comes twice. It ends after an hour.
    """
    which = await _which(call, query)
    after = _last_id(call.request.headers.get("Last-Event-ID"))
    app = call.request.app
    if _open.get(app, 0) >= MOST:
        raise busy(f"{MOST} streams are open already", seconds=10)
    follower = _followers.setdefault(app, Follower(call.settings.database_url))
    _open[app] = _open.get(app, 0) + 1
    try:
        async with follower.listening(call.principal.tenant, after) as listener:
            return await _tell(call, follower, listener, which)
    except DatabaseLost:
        raise busy("the database is not to be had at this moment") from None
    finally:
        _open[app] -= 1


async def _tell(call: StreamCall, follower: Follower, listener: Listener, which: Streamed) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(call.request)
    await _write(response, b"retry: 2000\n\n")
    stopping = asyncio.ensure_future(call.stopping.wait())
    until, quiet_since = time.monotonic() + LONGEST, time.monotonic()
    try:
        while not stopping.done() and time.monotonic() < until:
            told = which.told(await _next(follower, listener, stopping))
            if told or time.monotonic() - quiet_since >= HEARTBEAT:
                quiet_since = time.monotonic()
                # An id without data: nothing is told of, and the client knows how far it has come.
                await _write(response, told + f": still here\nid: {listener.position}\n\n".encode())
    except (TimeoutError, ConnectionError):
        pass  # the client has gone
    finally:
        stopping.cancel()
    return response


async def _next(follower: Follower, listener: Listener, stopping: asyncio.Future[Any]) -> list[Row]:
    waiting = asyncio.ensure_future(follower.next(listener, HEARTBEAT))
    try:
        await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
        return await waiting if waiting.done() else []
    except DatabaseLost:
        await asyncio.wait((stopping,), timeout=AGAIN)
        return []
    finally:
        waiting.cancel()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Waits while the client is slow, and so does not read on for it."""
    async with asyncio.timeout(WRITE_WITHIN):
        await response.write(data)


async def _which(call: StreamCall, query: StreamQuery) -> Streamed:
    """404 for a webhook that is another tenant's."""
    if query.webhook is not None and not await call.run(_sees, query.webhook, call.principal.tenant):
        raise not_found("webhook", query.webhook)
    webhook = query.webhook and query.webhook[:4] + query.webhook[4:].upper()
    return Streamed(call.principal, webhook, Wanted.of(endpoints.parse_patterns(query.type or "*")), query.outcome)


def _sees(connection: Connection, webhook: str, tenant: str | None) -> bool:
    try:
        found = endpoints.find_present(connection, webhook)
    except UserMistake:
        return False
    return tenant in (None, found["tenant"])


def _last_id(given: str | None) -> int | None:
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", given, re.ASCII):
        raise Problem(422, "invalid", "Last-Event-ID is not one that this stream gave", field="Last-Event-ID")
    return int(given)
