"""The lean transport: asyncio's protocols and llhttp (httptools), for relays whose CPU is the limit.

A request on a kept connection costs no task, no context and no second copy of a small body: its bytes are put together, written,
and one future is awaited. URLs mean what they mean to aiohttp, by the same parser (yarl). Where a proxy is set aiohttp does the
work; redirects, cookies and decompression are off in both. One difference is left: where garbage comes
in one piece with a whole answer, the answer counts here, while aiohttp loses it. Sources: hazards 32 to 35; RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time

from relay.dial import Dialler
from relay.errors import DestinationDenied
from relay.guard import Guard
from relay.head import Place, head, target
from relay.identity import Identity
from relay.judge import classify
from relay.lean_answer import Broken
from relay.lean_pool import LeanPool
from relay.lean_protocol import LeanConnection
from relay.model import ErrorClass, Outcome
from relay.send import describe, one_line, text_of

log = logging.getLogger(__name__)


class LeanTransport:
    """See ``relay.send.Transport``."""

    def __init__(self, max_in_flight: int, guard: Guard) -> None:
        self._pool = LeanPool(max_in_flight, Dialler(guard))

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def post(self, url: str, fields: str, body: bytes, timeout: float, identity: Identity | None = None) -> Outcome:
        started = time.monotonic()
        connection: LeanConnection | None = None
        place: Place = ("", "", 0, "")
        try:
            place, lines = target(url)
            if identity is not None:
                place = (*place[:3], identity.name)
            lines_and_fields = head(lines, fields, len(body))
            connection = self._pool.take(place)
            if connection is None:
                async with asyncio.timeout(timeout):
                    connection = await self._get(place, identity)
                timeout_left = started + timeout - time.monotonic()
            else:
                timeout_left = timeout
            await connection.exchange(lines_and_fields, body, timeout_left)
            return _answered(connection, started)
        except Exception as error:
            return _failed(connection, started, error, timeout)
        finally:
            if connection is not None:
                self._pool.give(connection, place)

    async def _get(self, place: Place, identity: Identity | None) -> LeanConnection:
        try:
            return await self._pool.get(place, identity)
        except TimeoutError as error:
            if error.errno is None:
                raise
            raise Broken(ErrorClass.TIMEOUT, str(error)) from None  # the kernel's own, ETIMEDOUT
        except OSError as error:
            raise Broken(_class_of_dial(error), str(error)) from error


def _answered(connection: LeanConnection, started: float) -> Outcome:
    status = connection.status
    assert status is not None
    retry_after = connection.retry_after
    error_class = classify(status)
    return Outcome(
        started,
        time.monotonic() - started,
        status,
        error_class,
        one_line(f"answered {status} {_text(connection.reason)}") if error_class else None,
        text_of(connection.kept) if connection.kept else "",
        None if retry_after is None else _text(retry_after),
    )


def _failed(connection: LeanConnection | None, started: float, error: Exception, timeout: float) -> Outcome:
    status = None if connection is None else connection.status
    error_class = _class_of(error)
    if error_class is ErrorClass.INTERNAL:
        log.error("a request failed in a way that should not be", exc_info=error)
    return Outcome(
        started,
        time.monotonic() - started,
        status_code=status,
        error_class=error_class,
        error=describe(error, timeout),
        stale=error_class is ErrorClass.RESET and status is None and connection is not None and connection.used,
    )


def _class_of(error: Exception) -> ErrorClass:
    if isinstance(error, Broken):
        return error.error_class
    if isinstance(error, DestinationDenied):
        return ErrorClass.BLOCKED
    return ErrorClass.TIMEOUT if isinstance(error, TimeoutError) else ErrorClass.INTERNAL


def _class_of_dial(error: OSError) -> ErrorClass:
    if isinstance(error, socket.gaierror):
        return ErrorClass.DNS
    return ErrorClass.TLS if isinstance(error, ssl.SSLError) else ErrorClass.REFUSED


def _text(raw: bytes) -> str:
    return raw.rstrip(b" \t").decode("utf-8", "surrogateescape")
