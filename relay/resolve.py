"""Names -> addresses, by the system's resolver. Answers are kept for a few seconds, but not those that led nowhere."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence

SECONDS_KEPT = 5.0
MOST_KEPT = 1000

Sockaddr = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, Sockaddr]


class Resolver:
    """Names -> addresses, by the system's resolver in a thread; askers of one name at one time share a look-up."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Sequence[AddrInfo]]] = {}
        self._asking: dict[str, asyncio.Task[Sequence[AddrInfo]]] = {}

    async def resolve(self, host: str) -> Sequence[AddrInfo]:
        """All addresses of a host, with port 0. Raises socket.gaierror."""
        kept = self._kept.get(host)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        task = self._asking.get(host)
        if task is None:
            task = self._asking[host] = asyncio.create_task(self._ask(host))
            task.add_done_callback(lambda done: self._answered(host, done))
        return await asyncio.shield(task)  # whoever gives up leaves the look-up to the others

    def forget(self, host: str) -> None:
        """What was answered led nowhere: ask again next time."""
        self._kept.pop(host, None)

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()

    async def _ask(self, host: str) -> Sequence[AddrInfo]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except UnicodeError as error:  # a label that is empty or too long
            raise socket.gaierror(socket.EAI_NONAME, f"not a name: {error}") from None

    def _answered(self, host: str, task: asyncio.Task[Sequence[AddrInfo]]) -> None:
        self._asking.pop(host, None)
        if task.cancelled() or task.exception() is not None:
            return
        self._kept.pop(host, None)
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[host] = (time.monotonic() + SECONDS_KEPT, task.result())
