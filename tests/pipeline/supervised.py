"""Several relays under their supervisor, as an operator runs them: the real command, whose processes a test can name and kill."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import psutil
import psycopg

from tests.pipeline.relays import RelayProcess


class Supervised(RelayProcess):
    """`rowhook run --processes N` in a process of its own; spawn() it or start() it."""

    def __init__(self, dsn: str, count: int, *, api: bool, **given: str) -> None:
        super().__init__(dsn, **given)
        self.names = [f"{self.name}/{number}" for number in range(1, count + 1)]
        self._arguments = ["--processes", str(count), "--instance-name", self.name, *([] if api else ["--no-api"])]
        self._known: set[psutil.Process] = set()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "relay", "run", *self._arguments]

    def instance(self, connection: psycopg.Connection[Any]) -> int | None:
        """Some id, once all of them live."""
        live = self.live(connection)
        return live[self.names[0]] if set(live) == set(self.names) else None

    def live(self, connection: psycopg.Connection[Any]) -> dict[str, int]:
        """The live instances of this supervisor: name and id."""
        return dict(
            connection.execute(
                "SELECT name, id FROM rowhook.instance WHERE state = 'live' AND name = ANY (%s) ORDER BY started_at", [self.names]
            ).fetchall()
        )

    def child(self, number: int) -> psutil.Process | None:
        """The process that is relay /number at the moment."""
        for one in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended just now
                if one.cmdline()[-1:] == [f"{self.name}/{number}"]:
                    return one
        return None

    def children(self) -> list[psutil.Process]:
        """Those that run now; remembered, so that none outlives the test."""
        found = []
        for one in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [one] if one.is_running() and one.status() != psutil.STATUS_ZOMBIE else []
        self._known.update(found)
        return found

    def close(self) -> None:
        if self.running:
            self.children()
        super().close()
        for child in self._known:
            if child.is_running():
                child.kill()


def gone(processes: list[psutil.Process]) -> Callable[[], bool]:
    """A condition: none of them runs any more."""
    return lambda: not any(_runs(process) for process in processes)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has gone between the two
        return False
