"""One process that the supervisor keeps running, a relay or the API: started, listened to, started again, asked to stop.

It runs in an interpreter of its own, not in a fork: neither libpq nor an event loop survives one. child.py is its side.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

from relay import child
from relay.config import Settings, duration
from relay.errors import UserMistake
from relay.process import STOPPING

log = logging.getLogger(__name__)

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 5.0
STEADY_AFTER = 30.0  # who lived for so long starts anew with the shortest backoff
TRUSTED_AFTER = 5.0  # of one that died before, signs of life count from this age on: else a crash loop would look alive
OVERTIME = 20.0  # beyond a request's timeout, for a relay that stops (service.py needs less); then it is killed
DOWN_AFTER = 15.0  # without a sign of life; more than the longest backoff and a slow start take together

# -P: the working folder, which may hold a module of any name, is in its path only where it is in the supervisor's own.
COMMAND = (sys.executable, "-P", "-m", "relay.child")


class Ward:
    """keep() runs it until ``stop``. ``order`` says what it is to be told first, and whether it died before."""

    def __init__(self, settings: Settings, name: str, order: Callable[[bool], bytes], what: str = "a relay") -> None:
        self.name = name
        self.ended_in_order = True
        self._order, self._what = order, what
        self._process: Process | None = None
        self._patience = duration(settings.timeout).total_seconds() + OVERTIME
        self._heard = time.monotonic()
        self._died = False
        self._mistake: UserMistake | None = None

    @property
    def is_down(self) -> bool:
        """Whether it has given no sign of life for longer than a restart takes: a crash loop, or a loop that hangs."""
        return time.monotonic() - self._heard > DOWN_AFTER

    async def keep(self, stop: asyncio.Event) -> None:
        """Returns when ``stop`` is set and it has ended. Raises UserMistake where it ended with one."""
        self._heard = time.monotonic()
        try:
            await self._keep(stop)
        finally:
            self._heard = math.inf  # no sign of life is expected any more

    async def _keep(self, stop: asyncio.Event) -> None:
        backoff = FIRST_BACKOFF
        while not stop.is_set():
            started = time.monotonic()
            ending = await self._life(stop)
            lived = time.monotonic() - started
            if self._mistake:
                raise self._mistake
            if stop.is_set():
                self._judge_end(ending)
                return
            self._died = True
            backoff = FIRST_BACKOFF if lived >= STEADY_AFTER else backoff
            await self._pause(backoff, ending, stop)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _judge_end(self, ending: dict[str, object]) -> None:
        self.ended_in_order = ending.get("exit_code") == 0
        if not self.ended_in_order:
            log.error(f"{self._what} did not end in order", extra={"relay": self.name, **ending})

    async def _pause(self, backoff: float, ending: dict[str, object], stop: asyncio.Event) -> None:
        wait = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        fields = {"relay": self.name, **ending, "in_seconds": round(wait, 2)}
        log.error(f"{self._what} has died and is started again", extra=fields)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await stop.wait()

    async def _life(self, stop: asyncio.Event) -> dict[str, object]:
        """One process from start to end; how it ended, as fields for the log."""
        self._mistake = None
        try:
            process = await self._spawn()
        except OSError as error:
            return {"reason": f"can't be started: {error.strerror}"}
        stopping = asyncio.create_task(self._pass_on(stop, process))
        try:
            await self._listen(process)
            code = await process.wait()
        finally:
            stopping.cancel()
        return {"pid": process.pid, **self._ending(code)}

    def _ending(self, code: int) -> dict[str, object]:
        if code < 0:
            known = {number.value: number.name for number in signal.Signals}
            return {"signal": known.get(-code, -code)}
        return {"exit_code": code}

    async def _spawn(self) -> Process:
        # Blocked signals stay so in the child until it has handlers: a stop at that moment is neither lost nor a traceback.
        # The fork comes before the first await, so that another ward's unblocking can't slip in between.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            process = await asyncio.create_subprocess_exec(*COMMAND, self.name, stdin=PIPE, stdout=PIPE, env=env)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        assert process.stdin
        with contextlib.suppress(ConnectionError):  # it is dead already, which its end will show
            process.stdin.write(self._order(self._died))
            await process.stdin.drain()
        self._process = process
        return process

    def tell(self, line: bytes) -> None:
        """Something more than its order; one that doesn't read is not waited for, and told the next thing only."""
        stdin = self._process.stdin if self._process else None
        if stdin is not None and not stdin.transport.get_write_buffer_size():
            stdin.write(line)

    async def _listen(self, process: Process) -> None:
        started = time.monotonic()
        assert process.stdout
        async for line in process.stdout:
            self._mistake = child.mistake(line) or self._mistake
            if not self._died or time.monotonic() - started > TRUSTED_AFTER:
                self._heard = time.monotonic()

    async def _pass_on(self, stop: asyncio.Event, process: Process) -> None:
        """Ask it to end, and end it where it can't: one that is frozen or hangs would hold up the stop for ever."""
        await stop.wait()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            await asyncio.sleep(self._patience)
            log.error(f"{self._what} does not end and is killed", extra={"relay": self.name, "pid": process.pid})
            process.kill()
