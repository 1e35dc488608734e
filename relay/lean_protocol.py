"""One HTTP/1.1 connection of the lean transport: a request goes out, llhttp reads the answer.

The parser is as lenient as aiohttp's (white space around values, bare line feeds), so that both transports take the same for
an answer. Limits: ``relay.send``. A connection whose end of the answer is not beyond doubt (more bytes behind it, a body cut
at the limit, an answer before the request was out) is not ``reusable``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from relay.model import ErrorClass
from relay.send import EXCERPT, MOST_FIELDS, MOST_HEADERS, MOST_READ

SLICE = 64 * 1024  # of a body, handed to the socket at a time: a receiver that doesn't read holds no second copy
MOST_RAW = 8 * MOST_READ  # of a body with its chunk headers, however small the chunks


class Broken(Exception):
    """An exchange that failed, and how."""

    def __init__(self, error_class: ErrorClass, text: str) -> None:
        super().__init__(text)
        self.error_class = error_class


class LeanConnection(asyncio.Protocol):
    """``exchange`` one request at a time; in between ``lost_idle`` is called should anything come or the other side close."""

    __slots__ = (
        "_begun",
        "_body",
        "_done",
        "_fields",
        "_head_size",
        "_in_body",
        "_keep_alive",
        "_loop",
        "_parser",
        "_paused",
        "_raw",
        "_read",
        "_sent",
        "_sized",
        "_timer",
        "_transport",
        "_waiter",
        "closed",
        "kept",
        "lost_idle",
        "place",
        "reason",
        "retry_after",
        "reusable",
        "status",
        "used",
    )

    def __init__(self, place: tuple[str, str, int], lost_idle: Callable[[LeanConnection], None]) -> None:
        self.place = place
        self.lost_idle = lost_idle
        self.closed = False
        self.used = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._reset()

    def _reset(self) -> None:
        self.status: int | None = None
        self.reason = b""
        self.retry_after: bytes | None = None
        self.kept = b""
        self.reusable = False
        self._begun = self._in_body = self._sized = self._done = self._keep_alive = False
        self._fields = self._head_size = self._raw = self._read = self._sent = 0
        self._body: memoryview | None = None

    # --- the request ---------------------------------------------------------------------------------------

    def exchange(self, head: bytes, body: bytes, timeout: float) -> asyncio.Future[None]:
        """Send a request; done when the answer has been read as far as it is. Raises Broken or TimeoutError there."""
        assert self._transport is not None
        self._reset()
        self._waiter = self._loop.create_future()
        self._timer = self._loop.call_later(timeout, self._expire)
        if len(body) <= SLICE:
            self._transport.write(head + body)
        else:
            self._body = memoryview(body)
            self._transport.write(head)
            self._send_more()
        return self._waiter

    def _send_more(self) -> None:
        while self._body is not None and not self._paused and self._transport is not None:
            if self._transport.is_closing():
                return
            self._transport.write(self._body[self._sent : self._sent + SLICE])
            self._sent += SLICE
            if self._sent >= len(self._body):
                self._body = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send_more()

    # --- the connection ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by type

    def abort(self) -> None:
        """Close at once; what has not gone out never will."""
        self.closed = True
        self._body = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def eof_received(self) -> None:
        if self._waiter is None and not self.closed:
            self.abort()
            self.lost_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        idle = self._waiter is None and not self.closed
        self.closed = True
        self._body = None
        if self._waiter is not None:
            self._end(exc)
        elif idle:
            self.lost_idle(self)
        self._transport = None

    def _end(self, exc: Exception | None) -> None:
        """The other side closed before the answer was over, or by closing says that it is."""
        if not self._in_body:
            self._fail(Broken(ErrorClass.RESET, str(exc or "") or "the connection was closed before there was an answer"))
        elif self._sized or exc is not None:
            self._fail(Broken(ErrorClass.PROTOCOL, "the connection was closed in the middle of the answer"))
        else:
            self._settle()

    # --- the answer ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            if not self.closed:
                self.abort()
                self.lost_idle(self)
            return
        self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._keep_alive = False
        except HttpParserError as error:
            self._keep_alive = False
            if not (self._done or self._is_large):
                self._fail(Broken(ErrorClass.PROTOCOL, f"the answer is not HTTP: {error}"))
                return
        if self._is_large and self._read < MOST_READ:
            self._fail(Broken(ErrorClass.TOO_LARGE, f"the answer's headers have more than {MOST_HEADERS} bytes"))
        elif self._done:
            self._settle()
        elif self._read >= MOST_READ or self._raw > MOST_RAW:
            self._keep_alive = False
            self._settle()

    @property
    def _is_large(self) -> bool:
        """Headers beyond the limits: those that are complete, or all that came while the head is not."""
        return self._head_size > MOST_HEADERS or self._fields > MOST_FIELDS or (not self._in_body and self._raw > MOST_HEADERS)

    def on_message_begin(self) -> None:
        if self._done:
            self._keep_alive = False  # a second answer: to nothing that was asked

    def on_status(self, reason: bytes) -> None:
        if not self._done:
            self.reason += reason
            self._head_size += len(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._done:
            return
        self._fields += 1
        self._head_size += len(name) + len(value)
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and b"chunked" in value.lower()):
            self._sized = True
        elif name == b"retry-after" and self.retry_after is None:
            self.retry_after = value

    def on_headers_complete(self) -> None:
        if self._done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.reason, self.retry_after, self._sized = b"", None, False
            return
        self._in_body = True
        self.status = status
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        if self._done:
            return
        self._read += len(piece)
        if len(self.kept) < EXCERPT:
            self.kept += piece[: EXCERPT - len(self.kept)]

    def on_message_complete(self) -> None:
        if self._in_body:
            self._done = True

    # --- how it ends ---------------------------------------------------------------------------------------

    def _settle(self) -> None:
        transport = self._transport
        self.reusable = (
            self._keep_alive
            and self._body is None
            and not self.closed
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )
        self.used = True
        self._finish(None)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, Broken) and error.error_class is ErrorClass.TOO_LARGE:
            self.status = None  # whether or not the rest of the head was there already
        self._finish(error)

    def _expire(self) -> None:
        self._finish(TimeoutError())

    def _finish(self, error: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
