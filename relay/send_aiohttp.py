"""The aiohttp transport: the default.

aiohttp's defaults that would hurt are off: redirects (a 307 re-POSTs body and signature to another host), cookies, the proxy
environment, decompression (204 kB of gzip become 200 MB). The timeout is one for all of the request, slow drips included;
of the answer at most 64 kB are read. Sources: hazards 32, 34, 35.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from relay.dial import Dialler, tls_context
from relay.errors import DestinationDenied
from relay.guard import Guard
from relay.judge import classify
from relay.model import ErrorClass, Outcome
from relay.policy import Scheme
from relay.send import EXCERPT, IDLE, MOST_FIELDS, MOST_HEADERS, MOST_READ, describe, one_line, text_of

log = logging.getLogger(__name__)

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # asyncio.timeout covers everything, in one place
_reused: ContextVar[bool] = ContextVar("reused", default=False)
_scheme: ContextVar[Scheme] = ContextVar("scheme")  # of the connection that is being made
_url = lru_cache(1024)(URL)


class AiohttpTransport:
    """See ``relay.send.Transport``."""

    def __init__(self, max_in_flight: int, guard: Guard, proxy: str = "") -> None:
        self._max_in_flight = max_in_flight
        self._dialler = Dialler(guard)
        self._proxy = URL(proxy) if proxy else None
        self._client: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._client = aiohttp.ClientSession(
            connector=_Connector(
                self._dialler,
                limit=self._max_in_flight,
                keepalive_timeout=IDLE,
                resolver=_NamesForAiohttp(self._dialler),
                use_dns_cache=False,
                socket_factory=lambda info: self._dialler.open_socket(info, _scheme.get()),
                ssl=await asyncio.to_thread(tls_context),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
            trust_env=False,
            auto_decompress=False,
            max_line_size=MOST_HEADERS,
            max_field_size=MOST_HEADERS,
            max_headers=MOST_FIELDS,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        await self._dialler.close()

    async def post(self, url: str, headers: dict[str, str], body: bytes, timeout: float) -> Outcome:
        assert self._client is not None
        started = time.monotonic()
        status: int | None = None
        _reused.set(False)
        try:
            async with (
                asyncio.timeout(timeout),
                self._client.post(_url(url), data=body, headers=headers, allow_redirects=False, timeout=_NO_TIMEOUT) as answer,
            ):
                _check_size(answer)
                status = answer.status
                excerpt = await _read_excerpt(answer)
                return Outcome(
                    started,
                    time.monotonic() - started,
                    status_code=status,
                    error_class=classify(status),
                    error=None if 200 <= status < 300 else one_line(f"answered {status} {answer.reason or ''}"),
                    excerpt=excerpt,
                    retry_after=answer.headers.get("Retry-After"),
                )
        except Exception as error:
            error_class = error_class_of(error)
            if error_class is ErrorClass.INTERNAL:
                log.exception("a request failed in a way that should not be")
            elif error_class in (ErrorClass.REFUSED, ErrorClass.TLS):
                self._dialler.forget(_url(url).raw_host or "")
            return Outcome(
                started,
                time.monotonic() - started,
                status_code=status,
                error_class=error_class,
                error=describe(error, timeout),
                stale=error_class is ErrorClass.RESET and status is None and _reused.get(),
            )


class _Handler(ResponseHandler):
    """A connection that knows whether it was used before (a TraceConfig says it too, but costs more), and bounds 1xx answers."""

    used = False
    interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        message = data[0]
        if message.code < 200 and message.code != 101:
            self.interim += 16 + len(message.reason) + _size(message.raw_headers)
            if self.interim > MOST_HEADERS:
                self.set_exception(HttpProcessingError(message=f"more than {MOST_HEADERS} bytes of 1xx answers"))
                self.close_now()
                return
        super().feed_data(data, size)

    def close_now(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Makes connections of our kind, and drops those that said something while nothing was asked: no answer to the next."""

    def __init__(self, dialler: Dialler, **options: Any) -> None:
        super().__init__(**options)
        self._dialler = dialler
        self._factory = partial(_Handler, loop=self._loop)  # type: ignore[assignment]

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: Any) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            assert isinstance(handler, _Handler)
            if not (handler.used and handler.should_close):
                break
            connection.close()
        _reused.set(handler.used)
        handler.used, handler.interim = True, 0
        return connection

    async def _create_connection(self, req: aiohttp.ClientRequest, traces: Any, timeout: Any) -> ResponseHandler:
        """A new one, judged before and after; in between each address is, in ``open_socket``."""
        scheme: Scheme = "https" if req.is_ssl() else "http"
        await self._dialler.prepare(req.url.raw_host or "", req.url.port or 0, scheme)
        dialled: Scheme = "proxy" if req.proxy else scheme
        _scheme.set(dialled)
        handler = await super()._create_connection(req, traces, timeout)
        peer = handler.transport and handler.transport.get_extra_info("peername")
        try:
            if peer:
                self._dialler.check_peer(peer, dialled)
        except DestinationDenied:
            handler.close()
            raise
        return handler


class _NamesForAiohttp(AbstractResolver):
    """The dialler's addresses, as aiohttp asks for them."""

    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(info[4][0]),
                port=port,
                family=info[0],
                proto=info[2],
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for info in await self._dialler.addresses(host, port, _scheme.get())
        ]

    async def close(self) -> None:
        """The transport closes the dialler."""


class _TooLarge(Exception):
    """The headers in all, where each of them is small enough for aiohttp."""


def _check_size(answer: aiohttp.ClientResponse) -> None:
    if _size(answer.raw_headers) > MOST_HEADERS:
        answer.close()
        raise _TooLarge(f"the answer's headers have more than {MOST_HEADERS} bytes")


def _size(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return sum([len(name) + len(value) for name, value in headers])


async def _read_excerpt(answer: aiohttp.ClientResponse) -> str:
    """The first 4 kB of at most 64 kB that are read; a longer body is cut and its connection not used again."""
    if answer.content.is_eof():  # all of it came with the head, as small answers do
        return text_of(answer.content.read_nowait()[:EXCERPT])
    kept = bytearray()
    read = 0
    async for piece in answer.content.iter_any():
        kept += piece[: EXCERPT - len(kept)]
        read += len(piece)
        if read >= MOST_READ:
            answer.close()
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
    if isinstance(error, aiohttp.ClientResponseError) and (
        isinstance(cause, aiohttp.http_exceptions.LineTooLong) or _says_too_much(error.message.lower())
    ):
        return ErrorClass.TOO_LARGE
    for kinds, error_class in _CLASSES:
        if isinstance(error, kinds):
            return error_class
    return ErrorClass.INTERNAL


def _says_too_much(message: str) -> bool:
    """aiohttp has no type for it."""
    return "more than" in message or "too many headers" in message
