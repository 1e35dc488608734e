"""The lean transport's connections: which are idle, which are busy, how many there may be.

A connection belongs to a request from ``take`` or ``get`` until ``give``; in between to the pool, which closes it
after ``IDLE`` seconds, when the other side closes, or when another place needs a connection and there are as many as may be.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from relay.dial import Dialler
from relay.head import Place
from relay.identity import Identity
from relay.lean_protocol import LeanConnection
from relay.outbox import Outbox
from relay.send import IDLE
from relay.tls import Contexts, tls_context


class LeanPool:
    """``limit`` connections at most, those that are being opened included."""

    def __init__(self, limit: int, dialler: Dialler) -> None:
        self._limit = limit
        self._dialler = dialler
        self._outbox = Outbox()
        self._tls: ssl.SSLContext | None = None
        self._contexts = Contexts()
        self._idle: dict[LeanConnection, float] = {}  # since when; oldest first
        self._at: dict[Place, list[LeanConnection]] = {}
        self._busy: set[LeanConnection] = set()
        self._dialling = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def size(self) -> int:
        return len(self._idle) + len(self._busy) + self._dialling

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = await asyncio.to_thread(tls_context)

    async def close(self) -> None:
        """Close all, those of requests that are out too."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._loop = None
        for connection in [*self._idle, *self._busy]:
            connection.abort()
        self._idle.clear()
        self._at.clear()
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(ConnectionAbortedError("the relay stops"))
        await self._dialler.close()
        await asyncio.sleep(0)  # the loop closes the sockets

    def take(self, place: Place) -> LeanConnection | None:
        """The idle connection that was used last; None if there is none."""
        idle = self._at.get(place)
        if not idle:
            return None
        connection = idle.pop()
        if not idle:
            del self._at[place]
        del self._idle[connection]
        self._busy.add(connection)
        return connection

    async def get(self, place: Place, identity: Identity | None = None) -> LeanConnection:
        """An idle connection or a new one, when there is room. Raises what ``Dialler.connect`` does."""
        waited = False
        while (connection := self.take(place)) is None:
            if self.size < self._limit:
                return await self._dial(place, identity)
            if self._idle:
                self._close_idle(next(iter(self._idle)))  # the one that is idle for longest
            else:
                await self._turn(waited)
                waited = True
        return connection

    async def _dial(self, place: Place, identity: Identity | None) -> LeanConnection:
        scheme, host, port, _ = place
        self._dialling += 1
        try:
            tls = None
            if scheme == "https":
                tls = await self._contexts.of(identity) if identity else self._tls
            connection = await self._dialler.connect(host, port, tls, lambda: LeanConnection(place, self._outbox, self._lost))
            self._busy.add(connection)
        finally:
            self._dialling -= 1
            self._wake()
        return connection

    def give(self, connection: LeanConnection, place: Place) -> None:
        """Back after use: kept if it can serve again."""
        self._busy.discard(connection)
        if self._loop is None or not connection.reusable:
            connection.abort()
        else:
            self._idle[connection] = now = self._loop.time()
            self._at.setdefault(place, []).append(connection)
            if self._sweeper is None:
                self._sweeper = self._loop.call_at(now + IDLE, self._sweep)
        if self._waiting:
            self._wake()

    def _lost(self, connection: LeanConnection) -> None:
        if self._idle.pop(connection, None) is None:
            return
        place = connection.place
        idle = self._at[place]
        idle.remove(connection)
        if not idle:
            del self._at[place]
        self._wake()

    def _close_idle(self, connection: LeanConnection) -> None:
        connection.abort()
        self._lost(connection)

    async def _turn(self, waited: bool) -> None:
        """Wait until a connection is given back or closed; whoever was woken in vain is the next."""
        assert self._loop is not None
        turn = self._loop.create_future()
        (self._waiting.appendleft if waited else self._waiting.append)(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._wake()  # whose turn it was has gone: the next
            raise

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _sweep(self) -> None:
        assert self._loop is not None
        self._sweeper = None
        before = self._loop.time() - IDLE
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            if since > before:
                self._sweeper = self._loop.call_at(since + IDLE, self._sweep)
                return
            self._close_idle(connection)
