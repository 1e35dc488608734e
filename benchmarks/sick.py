"""Receivers that are not well: one takes requests and never answers, one answers 204 after half a second.

Prints their addresses and that of a port where nobody listens, with spaces between. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from benchmarks.server import free_port

ANSWERS_AFTER = 0.5
_DONE = b"HTTP/1.1 204 No Content\r\n\r\n"


class Hanging(asyncio.Protocol):
    """Reads, and says nothing."""


class Slow(asyncio.Protocol):
    """Answers each request, which comes alone on its connection and is small, some time after its first bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._due = False

    def data_received(self, _data: bytes) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(ANSWERS_AFTER, self._answer)

    def _answer(self) -> None:
        self._due = False
        self._transport.write(_DONE)


async def main() -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(kind, "127.0.0.1", 0, backlog=1024) for kind in (Hanging, Slow)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(*(f"http://127.0.0.1:{port}/" for port in [*ports, free_port()]), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
