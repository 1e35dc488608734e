"""A receiver that costs almost nothing: raw asyncio, answers 200 at once, and notes when each numbered request was complete.

Prints its port; GET takes the journal away as JSON, [[number, seconds], …], by the clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

_NUMBER = re.compile(rb"bench-(\d+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

journal: list[tuple[int, float]] = []


class Receiver(asyncio.Protocol):
    """One connection, kept alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < size:
                return
            request, self._buffer = self._buffer[:size], self._buffer[size:]
            if request.startswith(b"GET"):
                self._answer(json.dumps(journal).encode())
                journal.clear()
            else:
                self._answer(b"ok")
                journal.extend((int(number), now) for number in _NUMBER.findall(request[end:]))

    def _answer(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
