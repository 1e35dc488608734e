"""A command in a process of its own that begins once `python -m relay` has read the program: that is most of a command's time.

The processes are forked off one that has imported what the command line imports and done nothing else: multiprocessing's
forkserver. Each gets the folder, the environment and the arguments of its command, files for its three streams, and nothing of
the test run's. A test of what comes before that asks for `really`, a command from its first import on.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["relay.cli.app", __name__])


@dataclass(frozen=True)
class Ended:
    """Exit code (negative: the signal), and what was written."""

    code: int
    out: str
    err: str


def forked(arguments: Sequence[str], folder: Path, env: Mapping[str, str], given: str, timeout: float) -> Ended:
    """Run one to its end. Raises subprocess.TimeoutExpired."""
    with tempfile.NamedTemporaryFile() as stdin, tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
        stdin.write(given.encode())
        stdin.flush()
        streams = (stdin.name, stdout.name, stderr.name)
        process = _SERVER.Process(target=_command, args=(tuple(arguments), str(folder), dict(env), streams))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout, _read(stdout), _read(stderr))
        return Ended(process.exitcode, _read(stdout), _read(stderr))


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _command(arguments: Sequence[str], folder: str, env: Mapping[str, str], streams: tuple[str, str, str]) -> None:
    """In the new process: what the interpreter does before it runs `relay`, and after it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.argv = ["rowhook", *arguments]
    time.tzset()

    from relay.__main__ import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()
