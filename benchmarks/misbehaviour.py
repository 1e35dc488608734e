"""What a hostile receiver does with a connection, on raw asyncio streams: makers of behaviours, each a few lines.

A behaviour is called with each connection, which is closed when it returns. Whoever wrote to it closes first, as a rule.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Serve = Callable[[Reader, Writer], Awaitable[None]]

NOTHING = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
DRIP_EVERY = 0.02

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


async def request(reader: Reader) -> bytes:
    """One whole request. Raises EOFError when there is none any more."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


def answer(*pieces: bytes) -> Serve:
    """Read a request, send these, close."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return serve


def status(line: bytes, *headers: bytes, body: bytes = b"") -> Serve:
    return answer(whole(line, *headers, body=body))


def whole(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + line, b"content-length: %d" % len(body), *headers]) + b"\r\n\r\n" + body


def again(*answers: bytes) -> Serve:
    """Answer every request of a connection, with these in turn."""

    async def serve(reader: Reader, writer: Writer) -> None:
        number = 0
        while await request(reader):
            writer.write(answers[number % len(answers)])
            number += 1

    return serve


def hold(*pieces: bytes) -> Serve:
    """Read a request, send these, and wait until the other side has gone."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await answer(*pieces)(reader, writer)
        await reader.read()

    return serve


def drip(first: bytes, piece: bytes) -> Serve:
    async def serve(reader: Reader, writer: Writer) -> None:
        await request(reader)
        await _drip(writer, first, piece)

    return serve


def begin(first: bytes, piece: bytes) -> Serve:
    """The same at the first byte that comes, whatever it is: below HTTP."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        await _drip(writer, first, piece)

    return serve


async def _drip(writer: Writer, first: bytes, piece: bytes) -> None:
    writer.write(first)
    while not _is_gone(writer):
        await asyncio.sleep(DRIP_EVERY)
        writer.write(piece)
        await writer.drain()


def flood(first: bytes, piece: bytes, *, reads: int = 0) -> Serve:
    """As fast as it goes, until the other side has had enough; after a request, or after so many bytes of anything."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await (reader.readexactly(reads) if reads else request(reader))
        writer.write(first)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return serve


def reset_after(data: bytes) -> Serve:
    """Close with a reset instead of an orderly end."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await answer(data)(reader, writer)
        _break_off(writer)

    return serve


async def never_reads(reader: Reader, writer: Writer) -> None:
    """Not a byte beyond what its kernel takes; gone with the other side."""
    await _ignore(writer)


async def closes_at_once(reader: Reader, writer: Writer) -> None:
    """Before the request can have come."""


async def closes_midway(reader: Reader, writer: Writer) -> None:
    """Of a large body it reads a part, of a small request a half; then it has had enough."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    await reader.readexactly(min(200_000, int(length[1]) // 2 if length else 0))
    _break_off(writer)


async def ends_first(reader: Reader, writer: Writer) -> None:
    """Half-closes before it has said anything, and goes on reading."""
    writer.write_eof()
    await reader.read()


async def ends_after(reader: Reader, writer: Writer) -> None:
    """Half-closes after its answer, and goes on reading."""
    await request(reader)
    writer.write(NOTHING)
    writer.write_eof()
    await reader.read()


async def answers_early(reader: Reader, writer: Writer) -> None:
    """By the headers alone; of a large body it reads nothing."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(whole(b"413 Too Large"))
    await _ignore(writer)


async def _ignore(writer: Writer) -> None:
    """Until the other side has gone, as the kernel says: nothing is read, so no end is seen."""
    cast(asyncio.ReadTransport, writer.transport).pause_reading()
    while not _is_gone(writer):  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(DRIP_EVERY)


def _break_off(writer: Writer) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _is_gone(writer: Writer) -> bool:
    if writer.is_closing():
        return True
    state = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return bool(state != 1)  # TCP_ESTABLISHED
