"""Follow attempts as they are recorded: one reader for all who listen, and none while nobody does.

Ids are drawn in one order and committed in another, so a reader that goes on after the highest id it saw would lose what
commits late. Here a range of ids is read only once it is *settled*: nobody who may have drawn one of them is still writing. In
order: ask for the highest id drawn; then who writes; wait until all of those have ended; then read. Whoever drew an id before
the first question either had ended by the second, or is among those waited for. So ids come in order, each once, and the last
one that a listener had is all that it takes to go on.

A listener has no queue of its own: it has a position, and takes what comes after it from the last chunks that were read for
all, or, where it is behind those, from the tables. A slow one costs the others nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from relay.attempts import attempt
from relay.database import Row, Session
from relay.errors import DatabaseLost
from relay.outage import Outage

log = logging.getLogger(__name__)

TICK = 0.25  # seconds between looks at what was drawn
SETTLING = 0.02  # between looks at who is still writing
PATIENCE = 35.0  # nobody's statement takes longer (SERVER_SETTINGS); who does, by hand, is not waited for
CHUNK = 500  # attempts read at once
KEPT = 2000  # attempts that are kept for all listeners
MOST_CHUNKS = 100
AT_ONCE = 1.0  # seconds that a new listener waits at most

Tenants = frozenset[str] | None  # None: everybody's


class Chunk(NamedTuple):
    """All attempts of these tenants' endpoints with ids above ``after``, up to ``upto``."""

    after: int
    upto: int
    tenants: Tenants
    rows: Sequence[Row]

    def serves(self, tenant: str | None, position: int) -> bool:
        return self.after <= position < self.upto and (self.tenants is None or (tenant is not None and tenant in self.tenants))


@dataclass(eq=False, slots=True)
class Listener:
    """``tenant`` None: hears everything. ``position``: it has had what has this id or a lower one."""

    tenant: str | None
    position: int
    behind: int = 0  # times that it read for itself


class Follower:
    """Many listeners, one session; it runs while there are listeners.

    ``between``: a step of the reader's that a test waits at.
    """

    def __init__(
        self, dsn: str, *, tick: float = TICK, patience: float = PATIENCE, between: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._session = Session(dsn, "follow")
        self._tick = tick
        self._patience = patience
        self._between = between
        self._listeners: set[Listener] = set()
        self._chunks: deque[Chunk] = deque(maxlen=MOST_CHUNKS)
        self._settled = 0
        self._news = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listening(self, tenant: str | None, after: int | None = None) -> AsyncIterator[Listener]:
        """``after``: the id of the last attempt it had; None, or one that was never drawn: from now on. Raises DatabaseLost."""
        drawn = (await self._session.row("follow.allocated"))["id"]
        if after is None:
            await self._settle(AT_ONCE)  # what is being written is not after this
        listener = Listener(tenant, drawn if after is None else min(after, drawn))
        self._listeners.add(listener)
        if self._reader is None:
            self._chunks.clear()
            self._settled = 0
            self._reader = asyncio.create_task(self._read())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                await self._end()

    async def next(self, listener: Listener, timeout: float) -> list[Row]:
        """What comes next, a chunk at most; nothing after ``timeout`` seconds, or where what came is others'. Raises
        DatabaseLost."""
        try:
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: self._settled > listener.position)
        except TimeoutError:
            return []
        for chunk in self._chunks:
            if chunk.serves(listener.tenant, listener.position):
                rows = [r for r in chunk.rows if r["id"] > listener.position and listener.tenant in (None, r["tenant"])]
                listener.position = chunk.upto
                return rows
        listener.behind += 1
        tenants = None if listener.tenant is None else frozenset([listener.tenant])
        chunk = await self._chunk(listener.position, self._settled, tenants)
        listener.position = chunk.upto
        return list(chunk.rows)

    async def close(self) -> None:
        self._listeners.clear()
        await self._end()

    async def _end(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait((reader,))
        await self._session.close()

    async def _read(self) -> None:
        outage = Outage(log, "attempts can't be followed; trying again")
        while True:
            try:
                await self._go_on()
                await asyncio.sleep(self._tick)
            except DatabaseLost as lost:
                await asyncio.sleep(outage.wait(lost))

    async def _go_on(self) -> None:
        """Read up to what has been drawn by now."""
        drawn = (await self._session.row("follow.allocated"))["id"]
        if drawn <= self._settled:
            return
        await self._settle(self._patience)
        if self._between:
            await self._between()
        after = self._settled or max(listener.position for listener in self._listeners)
        while after < drawn:
            chunk = await self._chunk(after, drawn, self._tenants())
            after = chunk.upto
            async with self._news:
                self._keep(chunk)
                self._settled = after
                self._news.notify_all()
        async with self._news:
            self._settled = drawn
            self._news.notify_all()

    async def _settle(self, patience: float) -> None:
        """Wait until nobody writes who may have drawn an id by now."""
        deadline = asyncio.get_running_loop().time() + patience
        writing = set((await self._session.row("follow.recording"))["recording"])
        while writing and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(SETTLING)
            writing &= set((await self._session.row("follow.recording"))["recording"])
        if writing and patience > AT_ONCE:
            log.warning("somebody has been writing to rowhook.attempt for long, and is not waited for by those who follow it")

    async def _chunk(self, after: int, upto: int, tenants: Tenants) -> Chunk:
        asked = {"after": after, "upto": upto, "tenants": None if tenants is None else sorted(tenants), "limit": CHUNK}
        rows = await self._session.rows("follow.attempts", asked)
        return Chunk(after, rows[-1]["id"] if len(rows) == CHUNK else upto, tenants, [attempt(row) for row in rows])

    def _tenants(self) -> Tenants:
        """Of all who listen."""
        tenants = {listener.tenant for listener in self._listeners}
        return None if None in tenants else frozenset(tenant for tenant in tenants if tenant is not None)

    def _keep(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        while len(self._chunks) > 1 and sum(len(kept.rows) for kept in self._chunks) > KEPT:
            self._chunks.popleft()
