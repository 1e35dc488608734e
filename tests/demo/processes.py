"""Run the demo as a person does: a process of its own, in a folder of its own, with or without a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil

REPOSITORY = Path(__file__).parents[2]
WITHIN = 60.0
DEMO = ("-m", "relay", "demo")

# All of it is about somebody else's database; the demo must not care.
ENVIRONMENT = {
    "DATABASE_URL": "postgresql://nobody@192.0.2.1/other",
    "ROWHOOK_LISTEN_URL": "postgresql://nobody@192.0.2.1/other",
    "ROWHOOK_HEADER_PREFIX": "X-Other",
    "PGHOST": "192.0.2.1",
    "PGPORT": "1",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "LC_ALL": "xx_XX.UTF-8",
    "PYTHONUTF8": "1",
}


class Place:
    """An own working folder, and an own folder for temporary ones: what the demo starts can be told by its path."""

    def __init__(self, working: Path, temporary: Path) -> None:
        self.working = working
        self.temporary = temporary

    @property
    def processes(self) -> list[str]:
        """Command lines of all that works on a temporary folder of the demo's."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if str(self.temporary) in line:
                    found.append(line)
        return found

    @property
    def is_clean(self) -> bool:
        return not self.processes and not list(self.temporary.glob("rh-demo-*"))

    def options(self) -> dict[str, Any]:
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(self.temporary)}
        return {"cwd": self.working, "env": environment}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, **self.options(), capture_output=True, text=True, timeout=WITHIN, check=False)


@contextlib.contextmanager
def place(working: Path) -> Iterator[Place]:
    # Short, because a socket's path has 107 bytes at most.
    temporary = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))
    temporary.chmod(0o755)
    try:
        yield Place(working, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class OnTerminal:
    """The demo as the foreground of a terminal of 80 x 24."""

    def __init__(self, place: Place, *arguments: str) -> None:
        self.screen = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            **place.options(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def until(self, text: str) -> None:
        """Read on until the screen has shown this."""
        deadline = time.monotonic() + WITHIN
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} did not appear within {WITHIN:.0f} s:\n{self.screen}"
            assert self._read(), f"the demo ended before {text!r} appeared:\n{self.screen}"

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def end(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + WITHIN
        while self._read():
            assert time.monotonic() < deadline, f"the demo did not end:\n{self.screen}"
        return self.process.wait(WITHIN)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return True
        try:
            read = os.read(self._master, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            return False
        self.screen += read.decode(errors="replace")
        return bool(read)
