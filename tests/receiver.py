"""A webhook receiver for tests: a real HTTP server that keeps a journal and answers as told.

It runs in a thread with a loop of its own, so that blocking tests and tests that run the relay in their own
loop can both use it. Its methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from multidict import CIMultiDict

from tests.cluster import free_port

Answerer = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]
Answer = int | Answerer | Sequence[int]


@dataclass(frozen=True)
class Received:
    """One request, as it came in."""

    method: str
    path: str
    query: str
    headers: CIMultiDict[str]
    body: bytes
    at: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)


class Receiver:
    """Answers 200 until told otherwise, path by path."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = free_port()
        self._journal: list[Received] = []
        self._changed = threading.Condition()
        self._answers: dict[str, Answer] = {}
        self._used: dict[str, int] = {}
        self._runner: web.AppRunner | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}:{self.port}{path}"

    @property
    def requests(self) -> list[Received]:
        """The journal so far, oldest first."""
        with self._changed:
            return list(self._journal)

    def clear(self) -> None:
        """Forget the journal; the answers stay."""
        with self._changed:
            self._journal.clear()

    def answer(self, path: str, answer: Answer) -> None:
        """What to say on this path: a status, several in order of which the last repeats, or a function."""
        with self._changed:
            self._answers[path] = answer
            self._used[path] = 0

    def wait_for(self, n: int, timeout: float = 10.0, path: str | None = None) -> list[Received]:
        """Block until n requests (on this path) have come; all that came by then."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._on(path)) >= n, timeout):
                raise AssertionError(f"{len(self._on(path))} of {n} requests came within {timeout} s")
            return self._on(path)

    async def arrived(self, n: int, timeout: float = 10.0, path: str | None = None) -> list[Received]:
        """The same, without blocking the loop of an async test."""
        return await asyncio.to_thread(self.wait_for, n, timeout, path)

    def start(self) -> None:
        """Take connections (again), on the same port as before."""
        self._in_loop(self._start())

    def stop(self) -> None:
        """Refuse connections, and break those that are open."""
        self._in_loop(self._stop())

    def _on(self, path: str | None) -> list[Received]:
        return [request for request in self._journal if path is None or request.path == path]

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _start(self) -> None:
        if self._runner is not None:
            return
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, self.host, self.port, backlog=1024).start()
        self._runner = runner

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        received = Received(request.method, request.path, request.query_string, CIMultiDict(request.headers), body)
        with self._changed:
            self._journal.append(received)
            answer = self._next_answer(request.path)
            self._changed.notify_all()
        if isinstance(answer, int):
            return web.Response(status=answer)
        response = answer(request)
        return await response if inspect.isawaitable(response) else response

    def _next_answer(self, path: str) -> int | Answerer:
        answer = self._answers.get(path, 200)
        if not isinstance(answer, Sequence):
            return answer
        position = min(self._used[path], len(answer) - 1)
        self._used[path] += 1
        return answer[position]
