"""The aiohttp transport: the default, for http and https, directly or by a proxy.

It takes aiohttp's connector (pool, TLS, proxies, limits), connections and parser; a request is written to the connection as
bytes, where aiohttp's session would make many objects of it (half of its time). So there are no redirects (a 307 re-POSTs body
and signature to another host), no cookies, no proxy from the environment, no decompression (204 kB of gzip become 200 MB). The
timeout is one for all of the request, slow drips included; of the answer at most 64 kB are read. Sources: hazards 32, 34, 35.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import NamedTuple

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from relay.aiohttp_connector import Connector, Handler, size_of
from relay.dial import Dialler
from relay.errors import DestinationDenied
from relay.guard import Guard
from relay.head import absolute, head, target
from relay.identity import Identity
from relay.judge import classify
from relay.model import ErrorClass, Outcome
from relay.outbox import Outbox
from relay.send import EXCERPT, IDLE, MOST_HEADERS, MOST_READ, describe, one_line, refuses_us, text_of
from relay.tls import Contexts, tls_context

log = logging.getLogger(__name__)

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # there is one for all of a request, and it is here
MOST_TARGETS = 1024


class _Target(NamedTuple):
    """``request`` is what the connector asks for; it is never sent."""

    request: aiohttp.ClientRequest
    lines: str


class AiohttpTransport:
    """See ``relay.send.Transport``."""

    def __init__(self, max_in_flight: int, guard: Guard, proxy: str = "") -> None:
        self._max_in_flight = max_in_flight
        self._dialler = Dialler(guard)
        self._proxy = URL(proxy) if proxy else None
        self._connector: Connector | None = None
        self._contexts = Contexts()
        self._outbox = Outbox()
        self._targets: dict[tuple[str, str], _Target] = {}

    async def open(self) -> None:
        self._connector = Connector(
            self._dialler,
            await asyncio.to_thread(tls_context),
            limit=self._max_in_flight,
            keepalive_timeout=IDLE,
        )

    async def close(self) -> None:
        if self._connector is not None:
            await self._connector.close()
        await self._dialler.close()

    async def post(self, url: str, fields: str, body: bytes, timeout: float, identity: Identity | None = None) -> Outcome:
        assert self._connector is not None
        started = time.monotonic()
        status: int | None = None
        connection: Connection | None = None
        handler: Handler | None = None
        try:
            there = self._targets.get((url, identity.name if identity else ""))
            connection = there and self._connector.take(there.request)
            timeout_left = timeout
            if there is None or connection is None:
                async with asyncio.timeout(timeout):
                    there = there or await self._target(url, identity)
                    connection = await self._connector.connect(there.request, [], _NO_TIMEOUT)
                timeout_left = started + timeout - time.monotonic()
            lines = head(there.lines + _proxy_authorization(there.request), fields, len(body))
            handler = _handler(connection)
            handler.expect(timeout_left)
            message, content = await self._exchange(handler, lines, body)
            status = message.code
            excerpt = await _read_excerpt(content)
            handler.rest()
            _give_back(connection, content)
            connection = None
            return Outcome(
                started,
                time.monotonic() - started,
                status_code=status,
                error_class=classify(status),
                error=None if 200 <= status < 300 else one_line(f"answered {status} {message.reason or ''}"),
                excerpt=excerpt,
                retry_after=message.headers.get(hdrs.RETRY_AFTER),
            )
        except Exception as error:
            error_class = error_class_of(error)
            if error_class is ErrorClass.INTERNAL:
                log.exception("a request failed in a way that should not be")
            elif error_class in (ErrorClass.REFUSED, ErrorClass.TLS):
                self._dialler.forget(target(url).place[1])
            return Outcome(
                started,
                time.monotonic() - started,
                status_code=status,
                error_class=error_class,
                error=_described(error, timeout),
                stale=error_class is ErrorClass.RESET and status is None and handler is not None and handler.reused,
            )
        finally:
            if connection is not None:
                connection.close()

    async def _target(self, url: str, identity: Identity | None) -> _Target:
        """Made once for each URL and identity, whose context is part of what connections are kept by. Raises ValueError."""
        place, lines = target(url)
        if self._proxy and place[0] == "http":
            lines = absolute(url)
        request = aiohttp.ClientRequest(
            hdrs.METH_POST,
            URL(url).with_user(None),
            loop=asyncio.get_running_loop(),
            proxy=self._proxy,
            ssl=await self._contexts.of(identity) if identity else True,
        )
        if len(self._targets) >= MOST_TARGETS:
            self._targets.clear()
        made = self._targets[url, identity.name if identity else ""] = _Target(request, lines)
        return made

    async def _exchange(self, handler: Handler, lines: bytes, body: bytes) -> tuple[RawResponseMessage, StreamReader]:
        """Write a request, read the head of its answer; 1xx answers are passed over."""
        if handler.transport is None:
            raise aiohttp.ServerDisconnectedError
        handler.send(lines, body, self._outbox)
        while True:
            message, content = await handler.read()
            if not 100 <= message.code <= 199 or message.code == 101:
                break
        if handler.raw > MOST_HEADERS and size_of(message.raw_headers) > MOST_HEADERS:
            raise _TooLarge(f"the answer's headers have more than {MOST_HEADERS} bytes")
        return message, content


def _handler(connection: Connection) -> Handler:
    handler = connection.protocol
    assert isinstance(handler, Handler)
    return handler


def _proxy_authorization(request: aiohttp.ClientRequest) -> str:
    """The connector puts it there when it dials a proxy for plain http."""
    value = request.headers.get(hdrs.PROXY_AUTHORIZATION)
    return f"{hdrs.PROXY_AUTHORIZATION}: {value}\r\n" if value else ""


def _give_back(connection: Connection, content: StreamReader) -> None:
    """For the next request, unless some of this one's answer or of its body is still under way."""
    transport = connection.transport
    if content.is_eof() and transport is not None and not transport.get_write_buffer_size():
        connection.release()
    else:
        connection.close()


class _TooLarge(Exception):
    """The headers in all, where each of them is small enough for aiohttp."""


async def _read_excerpt(content: StreamReader) -> str:
    """The first 4 kB of at most 64 kB that are read."""
    if content.is_eof():  # all of it came with the head, as small answers do
        return text_of(content.read_nowait()[:EXCERPT])
    kept = bytearray()
    read = 0
    async for piece in content.iter_any():
        kept += piece[: EXCERPT - len(kept)]
        read += len(piece)
        if read >= MOST_READ:
            break
    return text_of(bytes(kept))


# The first that fits, from the narrow to the wide.
_CLASSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ErrorClass], ...] = (
    (TimeoutError, ErrorClass.TIMEOUT),
    (DestinationDenied, ErrorClass.BLOCKED),
    (aiohttp.ClientConnectorDNSError, ErrorClass.DNS),
    ((aiohttp.ClientSSLError, ssl.SSLError), ErrorClass.TLS),
    (aiohttp.ClientConnectorError, ErrorClass.REFUSED),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError), ErrorClass.RESET),
    ((aiohttp.http_exceptions.LineTooLong, _TooLarge), ErrorClass.TOO_LARGE),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.http_exceptions.HttpProcessingError), ErrorClass.PROTOCOL),
    (OSError, ErrorClass.REFUSED),
)


def error_class_of(error: BaseException) -> ErrorClass:
    """The class of a failure; a cause that says more (a header too long, TLS within a connect) decides."""
    cause = error.__cause__ or error.__context__
    if refuses_us(cause):
        return ErrorClass.TLS
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.http_exceptions.HttpProcessingError) and (
        isinstance(cause, aiohttp.http_exceptions.LineTooLong) or _says_too_much(error.message.lower())
    ):
        return ErrorClass.TOO_LARGE
    for kinds, error_class in _CLASSES:
        if isinstance(error, kinds):
            return error_class
    return ErrorClass.INTERNAL


def _described(error: Exception, timeout: float) -> str:
    """aiohttp's own text of what a proxy answered has the proxy's URL in it, and that its password."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return one_line(f"the proxy answered {error.status} {error.message}")
    if isinstance(error, aiohttp.ClientResponseError):
        return one_line(f"the answer is not HTTP: {error.message}")
    return describe(error, timeout)


def _says_too_much(message: str) -> bool:
    """aiohttp has no type for it."""
    return "more than" in message or "too many headers" in message
