"""The relays: real processes, started again like a service manager would; who lived when is on record."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
from psycopg.conninfo import make_conninfo

from tests.pipeline.proxy import Proxy
from tests.pipeline.relays import environment
from tests.torture.operating import ROOT
from tests.torture.records import Life

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
NO_FAKETIME = "libfaketime is not installed (apt-get install libfaketime)"


@dataclass(frozen=True, slots=True)
class Kind:
    """``processes`` above 1: under a supervisor. ``drifts``: its clock can be put wrong."""

    name: str
    transport: str = "aiohttp"
    processes: int = 1
    drifts: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """The names of its instances."""
        return (self.name,) if self.processes == 1 else tuple(f"{self.name}/{n}" for n in range(1, self.processes + 1))


KINDS = (Kind("r1"), Kind("r2", processes=2), Kind("r3", transport="lean", drifts=True))
MEMBERS = tuple(member for kind in KINDS for member in kind.members)


class Relay:
    """One of the fleet; kept running unless it is down on purpose."""

    def __init__(self, kind: Kind, dsn: str, way: Proxy, folder: Path) -> None:
        self.kind, self.way = kind, way
        self.log = folder / f"{kind.name}.log"
        self.clock = folder / f"{kind.name}.clock"
        self.ended_by_itself = 0
        self._environment = self._variables(make_conninfo(dsn, port=way.port, sslmode="disable", gssencmode="disable"))
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._changing = threading.RLock()  # the nemesis and the keeper must not both start one

    def _variables(self, dsn: str) -> dict[str, str]:
        ours = environment(dsn, transport=self.kind.transport, connect_wait="60s", log_level="warning", timeout="2s")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ROWHOOK_", "PG"))}
        if self.kind.drifts and FAKETIME:
            self.drift(0)
            ours |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return {**plain, "PYTHONPATH": str(ROOT), "ROWHOOK_MAX_IN_FLIGHT": "64", **ours}

    def drift(self, seconds: float) -> None:
        """Put its clock wrong by so much, within a second from now."""
        self.clock.write_text(f"{seconds:+.0f}\n")

    def start(self) -> None:
        command = [sys.executable, "-m", "relay", "run", "--no-api", "--instance-name", self.kind.name]
        command += ["--processes", str(self.kind.processes)]
        with self._changing, self.log.open("ab") as log:
            self._wanted = True
            self._process = subprocess.Popen(
                command, cwd="/", env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> int:
        """kill -9; what a supervisor leaves behind ends by itself."""
        with self._changing:
            self._wanted = False
            assert self._process is not None
            self._process.kill()
            self._process.wait()
            return self._process.pid

    def stop(self) -> None:
        """In order, as an operator does."""
        self._wanted = False
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def member(self, name: str) -> psutil.Process | None:
        """The process that runs as this instance now."""
        if self._process is None or self._process.poll() is not None:
            return None
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            if self.kind.processes == 1:
                return process
            return next((child for child in process.children() if child.cmdline()[-1:] == [name]), None)
        return None

    def keep(self) -> None:
        """Start it again if it has ended without being asked."""
        with self._changing:
            if self._wanted and self._process is not None and self._process.poll() is not None:
                self.ended_by_itself += 1
                self.start()


class Fleet:
    """All of them, while this is entered."""

    def __init__(self, dsn: str, port: int, folder: Path) -> None:
        self.relays = {kind.name: Relay(kind, dsn, Proxy(port), folder) for kind in KINDS}
        self.deaths: list[Life] = []
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")

    def __enter__(self) -> Self:
        for relay in self.relays.values():
            relay.way.__enter__()
            relay.start()
        self._keeper.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._over.set()
        self._keeper.join()
        for relay in self.relays.values():
            self.thaw_all(relay)
            relay.stop()
            relay.way.__exit__()

    def of(self, member: str) -> Relay:
        return self.relays[member.partition("/")[0]]

    def kill(self, member: str) -> None:
        """kill -9 of the process that runs as this instance."""
        relay = self.of(member)
        if relay.kind.processes == 1:
            pid = relay.kill()
        else:
            process = relay.member(member)
            if process is None:
                return
            process.kill()
            psutil.wait_procs([process], timeout=10)
            pid = process.pid
        self.deaths.append(Life(member, pid, 0.0, time.time()))

    def freeze(self, member: str) -> psutil.Process | None:
        process = self.of(member).member(member)
        if process is not None:
            process.send_signal(signal.SIGSTOP)
        return process

    def heal(self) -> None:
        """Everybody runs, and every way is free."""
        for relay in self.relays.values():
            relay.way.drag(0.0)
            relay.way.let_go()
            self.thaw_all(relay)

    def thaw_all(self, relay: Relay) -> None:
        for member in relay.kind.members:
            if process := relay.member(member):
                process.send_signal(signal.SIGCONT)

    def ended_by_themselves(self) -> int:
        return sum(relay.ended_by_itself for relay in self.relays.values())

    def logs(self) -> Sequence[Path]:
        return [relay.log for relay in self.relays.values() if relay.log.exists()]

    def _keep(self) -> None:
        while not self._over.wait(0.5):
            for relay in self.relays.values():
                relay.keep()
