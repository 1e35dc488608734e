"""The receiver where there is no nginx: raw asyncio (on uvloop where that is installed), 204 for every POST, and a count.

Prints its address; a GET answers how many requests came before it that were not a GET. POSTs to /fail/N get 500 for the first N
requests with the same webhook-id. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections import Counter
from typing import cast

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_FAILING = re.compile(rb"POST /fail/(\d+) ")
_ID = re.compile(rb"(?i)\r\nwebhook-id: *([^\r]+)")
_DONE = b"HTTP/1.1 204 No Content\r\n\r\n"
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"

received = 0
failed: Counter[bytes] = Counter()


class Sink(asyncio.Protocol):
    """One connection, kept alive; requests may be pipelined or arrive in pieces."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        global received
        buffer = self._buffer + data if self._buffer else data
        start, answers = 0, []
        while (end := buffer.find(b"\r\n\r\n", start)) >= 0:
            length = _LENGTH.search(buffer, start, end)
            after = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < after:
                break
            if buffer.startswith(b"GET", start):
                answers.append(_counted())
            else:
                received += 1
                failing = _FAILING.match(buffer, start)
                answers.append(_judged(buffer[start:end], int(failing[1])) if failing else _DONE)
            start = after
        self._buffer = buffer[start:]
        if answers:
            self._transport.write(b"".join(answers))


def _judged(head: bytes, failures: int) -> bytes:
    name = _ID.search(head)
    if not name:
        raise ValueError("a request without webhook-id")
    if failed[name[1]] < failures:
        failed[name[1]] += 1
        return _FAILED
    return _DONE


def _counted() -> bytes:
    body = b"%d" % received
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def run() -> None:
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())


if __name__ == "__main__":
    run()
