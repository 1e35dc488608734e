"""How a receiver answers: well, badly, or not at all. Each mood takes a request's place and says what it answered in full."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping

# Reader, writer -> the status that was answered in full, None if none was; and whether the connection goes on.
Answered = tuple[int | None, bool]
Mood = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Answered]]

LONGEST_HANG = 60.0
DRIP_EVERY = 0.25

_REASONS = {200: "OK", 204: "No Content", 410: "Gone", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Unavailable"}


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} {_REASONS[status]}", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


async def _say(writer: asyncio.StreamWriter, status: int, *headers: str) -> Answered:
    writer.write(response(status, b"noted", *headers))
    await writer.drain()
    return status, True


async def ok(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    return await _say(writer, 200)


async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    await asyncio.sleep(random.uniform(0.05, 0.5))
    return await _say(writer, 200)


async def error(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    return await _say(writer, random.choice((500, 503)))


async def busy(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    return await _say(writer, 429, f"retry-after: {random.choice((0, 1))}")


async def gone(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    return await _say(writer, 410)


async def closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    """Well, and then the connection is closed without a word: the next request on it may find it stale."""
    status, _ = await _say(writer, 200)
    return status, False


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> Answered:
    """Until the other side gives up."""
    try:
        async with asyncio.timeout(LONGEST_HANG):
            await reader.read(1)
    except TimeoutError:
        pass
    return None, False


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    """A byte at a time: longer than anybody waits."""
    for byte in response(200, b"x" * 200):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(DRIP_EVERY)
    return 200, True


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    """RST instead of an answer."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return None, False


async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    """The beginning of an answer that promises more."""
    writer.write(response(200, b"x" * 100)[:60])
    await writer.drain()
    return None, False


async def mixed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answered:
    """Any of them, mostly well."""
    return await random.choices((ok, error, busy, reset, half, closing, slow), (10, 2, 1, 1, 1, 1, 1))[0](reader, writer)


MOODS: Mapping[str, Mood] = {
    mood.__name__: mood for mood in (ok, slow, error, busy, gone, closing, hang, drip, reset, half, mixed)
}
REFUSE = "refuse"  # nobody listens, and what was open is reset


def answering(mood: str) -> Mood:
    """What has arrived before the port was closed is reset."""
    return reset if mood == REFUSE else MOODS[mood]
