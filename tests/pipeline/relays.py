"""Relays for tests: one in a thread of the test's own process, one as a process that can be stopped, frozen and killed."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg

from relay.config import Settings, load
from relay.service import Relay
from tests.cluster import ClusterError
from tests.keys import KEY
from tests.pipeline.transports import LOOPBACK

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
START_WITHIN = 20.0


def eventually(condition: Callable[[], T], timeout: float = 10.0, *, what: str = "") -> T:
    """The condition's value as soon as it is true; for what nothing announces: rows, locks, processes."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition!r} (last: {value!r})")
        time.sleep(0.01)
    return value


def settings(dsn: str, **given: str) -> Settings:
    """Settings of a relay on this database; ``given`` by environment name without ROWHOOK_, in lower case."""
    return load(**environment(dsn, **given))


def environment(dsn: str, **given: str) -> dict[str, str]:
    """The same as variables; requests may go to the loopback, where the receivers are."""
    given = {"allow_networks": LOOPBACK, "secret_key": KEY, **given}
    return {"DATABASE_URL": dsn, **{f"ROWHOOK_{name.upper()}": value for name, value in given.items()}}


class LocalRelay:
    """A relay in a thread with a loop of its own; what it raises is raised by start() and stop()."""

    def __init__(self, dsn: str, **given: str) -> None:
        self.name = f"local-{secrets.token_hex(4)}"
        self.relay = Relay(settings(dsn, **given), name=self.name, api=False)
        self.error: BaseException | None = None
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> Self:
        """Return when it has registered; raise what made it end instead."""
        self._thread.start()
        eventually(lambda: self.relay.ready.is_set() or not self.running, START_WITHIN, what="the relay is ready")
        self._raise()
        return self

    def stop(self, timeout: float = 30.0) -> None:
        """End it in order."""
        if self.running:
            self._loop.call_soon_threadsafe(self._stop.set)
        self.join(timeout)

    def join(self, timeout: float = 30.0) -> None:
        """Wait for its end; raise what ended it."""
        self._thread.join(timeout)
        assert not self.running, "the relay did not stop"
        self._raise()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def _raise(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self.relay.run(self._stop))
        except BaseException as error:
            self.error = error
        finally:
            self._loop.close()


class RelayProcess:
    """A relay as an operator runs it: a process of its own."""

    def __init__(self, dsn: str, **given: str) -> None:
        self.name = f"process-{secrets.token_hex(4)}"
        self._dsn = dsn
        self._environment = {**os.environ, **environment(dsn, **given)}
        self._process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.pipeline.relay_process", self.name]

    def spawn(self) -> Self:
        """Start it, and don't wait."""
        self._process = subprocess.Popen(
            self.command(), cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        return self

    def start(self) -> Self:
        """Start it, and wait until it has registered."""
        self.spawn()
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            eventually(lambda: self.instance(connection) or not self.running, START_WITHIN, what="the process registers")
        if not self.running:
            raise ClusterError(f"the relay ended at once:\n{self.output()}")
        return self

    def instance(self, connection: psycopg.Connection[Any]) -> int | None:
        """Its present instance id."""
        row = connection.execute(
            "SELECT id FROM rowhook.instance WHERE name = %s AND state = 'live' ORDER BY started_at DESC", [self.name]
        ).fetchone()
        return row[0] if row else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP, and wait until it has stopped."""
        self.signal(signal.SIGSTOP)
        eventually(lambda: " T " in Path(f"/proc/{self.pid}/stat").read_text(), what="the process is stopped")

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(timeout)

    def output(self) -> str:
        """What it said, once it has ended."""
        assert self._process is not None and self._process.stderr is not None
        return self._process.stderr.read()

    def close(self) -> None:
        if self._process is None:
            return
        if self.running:
            self.signal(signal.SIGCONT)
            self.kill()
        if self._process.stderr is not None:
            self._process.stderr.close()
