"""Processes beside the benchmark: the relay as people run it, and small programs of this package."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Self

import psutil
import psycopg

from benchmarks.server import SECRET_KEY, free_port

ROOT = Path(__file__).parents[1]
READY_WITHIN, STOP_WITHIN = 20.0, 30.0
COMMAND = [sys.executable, "-m", "relay", "run", "--no-api"]

_LIVE = "SELECT count(*) FROM rowhook.instance WHERE state = 'live'"


class RelayProcess:
    """`python -m relay run --no-api --processes N` in an empty folder, without the caller's settings; stopped on exit."""

    def __init__(self, dsn: str, *, processes: int = 1, **settings: str) -> None:
        self._dsn = dsn
        self._processes = processes
        self._command = [*COMMAND, "--processes", str(processes)]
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="rh-bench-relay-"))
        self._log = self._folder / "relay.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = _environment(self._dsn, self._settings)
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                before = _count_live(connection)
                with self._log.open("wb") as log:
                    self._process = subprocess.Popen(self._command, cwd=self._folder, env=environment, stdout=log, stderr=log)
                self._wait_until_live(connection, before + self._processes)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc_info: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far, in steps of a clock tick (10 ms)."""
        return sum(process.cpu_times().user + process.cpu_times().system for process in self._all())

    def memory(self) -> int:
        """What is resident now, in bytes, of all its processes together."""
        return sum(process.memory_info().rss for process in self._all())

    def sockets(self, ports: Collection[int]) -> int:
        """How many connections it has to these ports, of whatever state."""
        return sum(
            bool(connection.raddr) and connection.raddr.port in ports
            for process in self._all()
            for connection in process.net_connections("tcp")
        )

    def peak_memory(self) -> int:
        """The most that was ever resident, in bytes: the peaks of all its processes together."""
        return sum(_peak(process.pid) for process in self._all())

    def _all(self) -> list[psutil.Process]:
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        return [process, *process.children()]

    def _wait_until_live(self, connection: psycopg.Connection[tuple[int]], wanted: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_WITHIN
        while _count_live(connection) < wanted:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the relay did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)


@contextlib.contextmanager
def api(dsn: str) -> Iterator[str]:
    """`python -m relay api` until the end of the block; yields its URL. Whoever asks from this machine is the operator."""
    address = f"127.0.0.1:{free_port()}"
    settings = {"ROWHOOK_API_LISTEN": address, "ROWHOOK_API_RATE": "100000"}
    with tempfile.TemporaryDirectory(prefix="rh-bench-api-") as folder:
        command = [sys.executable, "-m", "relay", "api"]
        log = Path(folder) / "api.log"
        with (
            log.open("wb") as written,
            subprocess.Popen(
                command, cwd=folder, env=_environment(dsn, settings), stdout=subprocess.DEVNULL, stderr=written
            ) as process,
        ):
            try:
                _wait_until_it_answers(process, f"http://{address}/health/live", log)
                yield f"http://{address}"
            finally:
                process.terminate()


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the API did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def _environment(dsn: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Without the caller's own settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ROWHOOK_", "PG"))}
    return environment | {
        "DATABASE_URL": dsn,
        "PYTHONPATH": str(ROOT),
        "ROWHOOK_SECRET_KEY": SECRET_KEY,
        "ROWHOOK_ALLOW_HTTP": "1",
        "ROWHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
        **settings,
    }


@contextlib.contextmanager
def program(name: str, *arguments: str) -> Iterator[str]:
    """Run `python -m benchmarks.<name>` until the end of the block; yields its first line. It ends with its standard input."""
    with subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            first = process.stdout.readline().strip()
            if not first:
                raise RuntimeError(f"benchmarks.{name} did not start")
            yield first
        finally:
            process.stdin.close()


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _count_live(connection: psycopg.Connection[tuple[int]]) -> int:
    row = connection.execute(_LIVE).fetchone()
    assert row is not None
    return row[0]
