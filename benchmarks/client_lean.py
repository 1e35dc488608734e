"""The bare lean client: asyncio's protocols and llhttp (httptools), connections that stay open, and nothing around it.

No timeout, no limits, no kinds of failure, one receiver: a floor for what an HTTP client in Python can cost.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

from httptools import HttpResponseParser


class LeanClient:
    """See ``benchmarks.client.Client``."""

    def __init__(self) -> None:
        self._idle: list[_Connection] = []

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        for connection in self._idle:
            connection.transport.close()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        connection = self._idle.pop() if self._idle else await self._connect(url)
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        status = await connection.exchange(f"{_first_lines(url)}{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self._idle.append(connection)
        return status

    async def _connect(self, url: str) -> _Connection:
        address = urlsplit(url)
        assert address.hostname is not None, url
        _, connection = await self._loop.create_connection(lambda: _Connection(self._loop), address.hostname, address.port or 80)
        return connection


@lru_cache
def _first_lines(url: str) -> str:
    address = urlsplit(url)
    return f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n"


class _Connection(asyncio.Protocol):
    """One exchange after the other."""

    transport: asyncio.Transport
    _waiter: asyncio.Future[int]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by type

    def exchange(self, request: bytes) -> asyncio.Future[int]:
        self._waiter = self._loop.create_future()
        self.transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._waiter.set_result(self._parser.get_status_code())

    def connection_lost(self, reason: Exception | None) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(reason or ConnectionResetError("the receiver closed the connection"))
