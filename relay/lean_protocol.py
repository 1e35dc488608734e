"""One HTTP/1.1 connection of the lean transport: a request goes out, its answer comes in (`lean_answer.py`).

A connection whose end of the answer is not beyond doubt (more bytes behind it, a body cut at the limit, an answer before the
request was out) is not ``reusable``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from relay.hang_up import hang_up
from relay.head import Place
from relay.lean_answer import Broken, LeanAnswer
from relay.outbox import Outbox

SLICE = 64 * 1024  # of a body, handed to the socket at a time: a receiver that doesn't read holds no second copy


class LeanConnection(LeanAnswer, asyncio.Protocol):
    """``exchange`` one request at a time; in between ``lost_idle`` is called should anything come or the other side close."""

    __slots__ = (
        "_body",
        "_deadline",
        "_loop",
        "_outbox",
        "_paused",
        "_request",
        "_sent",
        "_timer",
        "_transport",
        "_waiter",
        "closed",
        "lost_idle",
        "place",
        "reusable",
        "used",
    )

    def __init__(self, place: Place, outbox: Outbox, lost_idle: Callable[[LeanConnection], None]) -> None:
        self.place = place
        self.lost_idle = lost_idle
        self._outbox = outbox
        self.closed = False
        self.used = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._request: bytes | None = None  # what waits in the outbox
        self._body: memoryview | None = None  # what is left to send of a large one
        self._sent = 0
        self.reusable = False
        super().__init__()

    # --- the request ---------------------------------------------------------------------------------------

    def exchange(self, head: bytes, body: bytes, timeout: float) -> asyncio.Future[None]:
        """Send a request; done when the answer has been read as far as it is. Raises Broken or TimeoutError there."""
        assert self._transport is not None
        self.begin()
        self.reusable = False
        self._waiter = self._loop.create_future()
        self._deadline = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()
        if len(body) <= SLICE:
            self._request = head + body
        else:
            self._request, self._body, self._sent = head, memoryview(body), 0
        self._outbox.add(self._send)
        return self._waiter

    def _send(self) -> None:
        request, self._request = self._request, None
        if request is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.write(request)
            self._send_more()

    def _send_more(self) -> None:
        while self._body is not None and self._request is None and not self._paused and self._transport is not None:
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
        self.reusable = False
        self._request = self._body = None
        self._drop_timer()
        if self._transport is not None:
            hang_up(self._transport)
            self._transport = None

    def eof_received(self) -> None:
        if self._waiter is None:
            self._unasked()

    def connection_lost(self, exc: Exception | None) -> None:
        idle = self._waiter is None and not self.closed
        self.closed = True
        self.reusable = False
        self._body = None
        if self._waiter is not None:
            self._end(exc)
        elif idle:
            self.lost_idle(self)
        self._drop_timer()
        self._transport = None

    def _unasked(self) -> None:
        """Something came while nothing was asked: this connection answers nothing more."""
        if not self.closed:
            self.abort()
            self.lost_idle(self)

    def _end(self, reason: Exception | None) -> None:
        try:
            self.end(reason)
        except Broken as error:
            self._finish(error)
        else:
            self._settle()

    # --- the answer ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self._unasked()
            return
        if self._request is not None:
            self._send()
        try:
            over = self.feed(data)
        except Broken as error:
            self._finish(error)
            return
        if over:
            self._settle()

    def _settle(self) -> None:
        transport = self._transport
        self.reusable = (
            not self.last
            and self._body is None
            and not self.closed
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )
        self.used = True
        self._finish(None)

    # --- the timeout ---------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """One for many requests: it is left to run when an answer comes, and set anew where another request is out by then."""
        self._drop_timer()
        self._timer = self._loop.call_at(self._deadline, self._expire)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self._finish(TimeoutError())

    def _finish(self, error: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
