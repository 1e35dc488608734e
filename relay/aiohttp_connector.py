"""aiohttp's connections as the aiohttp transport takes them.

Where they go is judged, whether they were used before is known, 1xx answers are bounded.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterable
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader

from relay.dial import Dialler
from relay.errors import DestinationDenied
from relay.hang_up import hang_up
from relay.outbox import Outbox
from relay.policy import Scheme
from relay.send import MOST_FIELDS, MOST_HEADERS, MOST_RAW, MOST_READ

SMALL = 16 * 1024  # bytes of a body: to copy more would cost more than a second write
_NO_TIMER = TimerNoop()
scheme: ContextVar[Scheme] = ContextVar("scheme")  # of the connection that is being made


class Handler(ResponseHandler):
    """A connection that knows whether it was used before (a TraceConfig says it too, but costs more), and bounds
    1xx answers, and bodies with all that is around them.
    """

    used = False
    reused = False
    interim = 0
    raw = 0  # bytes since the request
    rested = 0  # of them, when the answer was complete
    _request: tuple[bytes, ...] | None = None  # what waits in the outbox
    _deadline: float | None = None  # of the answer that is awaited, by the loop's clock
    _expiry: asyncio.TimerHandle | None = None

    def expect(self, timeout: float) -> None:
        """An answer, within so many seconds: then a TimeoutError is raised wherever it is read.

        The parser of the answer before is kept: it has come to an end, or the connection wouldn't serve again.
        """
        if self._parser is None:
            self.set_response_params(
                timer=_NO_TIMER,
                read_until_eof=True,
                auto_decompress=False,
                max_line_size=MOST_HEADERS,
                max_field_size=MOST_HEADERS,
                max_headers=MOST_FIELDS,
                read_bufsize=MOST_READ // 4,
            )
        self._deadline = self._loop.time() + timeout
        if self._expiry is None or self._expiry.when() > self._deadline:
            self._set_timer(self._deadline)

    def rest(self) -> None:
        """The answer is here."""
        self._deadline = None
        self.rested = self.raw

    def _set_timer(self, when: float) -> None:
        """One for many requests: it is left to run when an answer comes, and set anew where another is awaited by then."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
            return
        error = TimeoutError()
        self.set_exception(error)
        if self._payload is not None:
            self._payload.set_exception(error)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        super().connection_lost(exc)

    def send(self, head: bytes, body: bytes, outbox: Outbox) -> None:
        self._request = (head + body,) if len(body) <= SMALL else (head, body)
        outbox.add(self._send)

    def _send(self) -> None:
        request, self._request = self._request, None
        if request is not None and self.transport is not None and not self.transport.is_closing():
            for part in request:
                self.transport.write(part)

    def data_received(self, data: bytes) -> None:
        if self._request is not None:
            self._send()
        super().data_received(data)
        self.raw += len(data)
        if self.raw > MOST_RAW and self._payload is not None:
            self._payload.feed_eof()  # read as far as it is read
            self.close_now()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        message = data[0]
        if message.code < 200 and message.code != 101:
            self.interim += 16 + len(message.reason) + size_of(message.raw_headers)
            if self.interim > MOST_HEADERS:
                self.set_exception(HttpProcessingError(message=f"more than {MOST_HEADERS} bytes of 1xx answers"))
                self.close_now()
                return
        super().feed_data(data, size)

    def close(self) -> None:
        self.close_now()
        super().close()

    def close_now(self) -> None:
        if self.transport is not None:
            hang_up(self.transport)


class Connector(aiohttp.TCPConnector):
    """Makes connections of our kind, and drops those that said something while nothing was asked: no answer to the next."""

    def __init__(self, dialler: Dialler, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(
            ssl=tls,
            resolver=_Names(dialler),
            use_dns_cache=False,
            socket_factory=lambda info: dialler.open_socket(info, scheme.get()),
            **options,
        )
        self._dialler = dialler
        self._own_context = tls
        self._factory = partial(Handler, loop=self._loop)  # type: ignore[assignment]

    def take(self, req: aiohttp.ClientRequest) -> Connection | None:
        """One that was used before and is free, at once; None: ``connect`` may have to wait, or a proxy has its say."""
        if req.proxy is not None:
            return None
        while (connection := _at_once(self._get(req.connection_key, []))) is not None:
            if _begun(connection):
                return connection
        return None

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: Any) -> Connection:
        while not _begun(connection := await super().connect(req, traces, timeout)):
            pass
        return connection

    def _get_ssl_context(self, req: aiohttp.ClientRequest) -> ssl.SSLContext | None:
        """An endpoint's identity is for who is behind a proxy, not for the proxy."""
        to_proxy = req.is_ssl() and req.proxy is None and scheme.get() == "proxy"
        return self._own_context if to_proxy else super()._get_ssl_context(req)

    async def _create_connection(self, req: aiohttp.ClientRequest, traces: Any, timeout: Any) -> ResponseHandler:
        """A new one, judged before and after; in between each address is, in ``open_socket``."""
        asked: Scheme = "https" if req.is_ssl() else "http"
        await self._dialler.prepare(req.url.raw_host or "", req.url.port or 0, asked)
        dialled: Scheme = "proxy" if req.proxy else asked
        scheme.set(dialled)
        handler = await super()._create_connection(req, traces, timeout)
        peer = handler.transport and handler.transport.get_extra_info("peername")
        try:
            if peer:
                self._dialler.check_peer(peer, dialled)
        except DestinationDenied:
            handler.close()
            raise
        return handler


def _at_once(work: Coroutine[Any, Any, Connection | None]) -> Connection | None:
    """What a coroutine comes to that waits for nothing, as that of the pool does where nobody traces it."""
    try:
        work.send(None)
    except StopIteration as done:
        found: Connection | None = done.value
        return found
    raise AssertionError("aiohttp's pool waits for something")


def _begun(connection: Connection) -> bool:
    """Whether it can serve; otherwise it is closed."""
    handler = connection.protocol
    assert isinstance(handler, Handler)
    if handler.used and (handler.should_close or handler.raw > handler.rested):
        connection.close()
        return False
    handler.reused, handler.used, handler.interim, handler.raw, handler.rested = handler.used, True, 0, 0, 0
    return True


class _Names(AbstractResolver):
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
            for info in await self._dialler.addresses(host, port, scheme.get())
        ]

    async def close(self) -> None:
        """The transport closes the dialler."""


def size_of(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """In bytes, names and values."""
    return sum([len(name) + len(value) for name, value in headers])
