"""What the demo needs of the process and its loop, put back as it was afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Iterator

from rich.console import Console

from relay.demo.server import SIGNALS
from relay.logging_setup import TextFormatter
from relay.service import Relay

RELAY_STOPS_WITHIN = 25.0


async def interruptible(work: Coroutine[object, object, None]) -> None:
    """Run it to its end or to a signal, which cancels it. Only the first one counts: what then cleans up is left in peace."""
    task = asyncio.ensure_future(work)
    interrupted = asyncio.Event()

    def interrupt() -> None:
        if not interrupted.is_set():
            interrupted.set()
            task.cancel()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupted.is_set():
            raise


@contextlib.asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    """The relay in its own task, ready when the block begins, stopped in order at its end. If it fails, so does the block."""
    stop = asyncio.Event()
    block = asyncio.current_task()
    assert block is not None
    task = asyncio.create_task(relay.run(stop))
    task.add_done_callback(lambda _: None if stop.is_set() else block.cancel())
    try:
        await relay.ready.wait()
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, RELAY_STOPS_WITHIN)


@contextlib.contextmanager
def without_libpq_variables() -> Iterator[None]:
    """PGHOST, PGOPTIONS and their like are about another server."""
    own = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    for name in own:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(own)


@contextlib.contextmanager
def warnings_shown(console: Console) -> Iterator[None]:
    """The relay's log goes through the console, where it does not tear a table; only what a person should know."""
    log = logging.getLogger("relay")
    before = log.handlers, log.level, log.propagate
    log.handlers, log.propagate = [_ToConsole(console)], False
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.handlers, log.propagate = before[0], before[2]
        log.setLevel(before[1])


class _ToConsole(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(TextFormatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), style="red", markup=False, soft_wrap=True)
