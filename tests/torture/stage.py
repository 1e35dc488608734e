"""The stage: a Postgres of its own that decodes, the application's tables captured, the slot that says what committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo

from relay.migrations import migrate
from tests.cluster import Cluster, postgres_under_test
from tests.torture.tables import EMITTED, SCHEMA, SOURCES
from tests.torture.wal import SLOT

APP = "shop"  # who owns the tables and writes: no right on anything of Rowhook's
SETTINGS = {
    "wal_level": "logical",
    "deadlock_timeout": "200ms",
    "max_wal_size": "4GB",
    "restart_after_crash": "on",
    "log_min_messages": "log",  # a crash of a backend is told
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %a ",
}


class Stage:
    """Started on entry, removed on exit."""

    def __init__(self, folder: Path) -> None:
        self._kept = 0
        self.log = folder / "postgres.log"
        self.cluster = Cluster.start(*postgres_under_test(), settings=SETTINGS)
        self.version = 0

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.cluster.remove()
            raise
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.keep_log()
        self.cluster.remove()

    def launch(self) -> None:
        """Again, after it was stopped or killed."""
        self.keep_log()
        self._kept = 0
        self.cluster.launch()

    def keep_log(self) -> None:
        """What it has said since the last time; before the server is launched again, which begins its log anew."""
        said = self.cluster.log.read_bytes()
        with self.log.open("ab") as kept:
            kept.write(said[self._kept :])
        self._kept = len(said)

    @property
    def dsn(self) -> str:
        """The operator's, straight to the server."""
        return self.cluster.dsn(connect_timeout=5, application_name="torture")

    @property
    def app_dsn(self) -> str:
        return make_conninfo(self.cluster.dsn(), user=APP, connect_timeout=5, application_name="writer")

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn, autocommit=True)

    def _set_up(self) -> None:
        migrate(self.cluster.dsn())
        with self.connect() as connection:
            self.version = connection.info.server_version // 10_000
            connection.execute(f"CREATE ROLE {APP} LOGIN; GRANT CREATE ON SCHEMA public TO {APP}")
            connection.execute(f"SET ROLE {APP}")
            connection.execute(SCHEMA)
            connection.execute("RESET ROLE")
            for source in SOURCES:
                for table in source.leaves or (source.name,):
                    connection.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
                connection.execute("SELECT rowhook.capture(%s::regclass, tenant => %s)", [source.name, source.tenant])
            connection.execute(f"ALTER TABLE {EMITTED} REPLICA IDENTITY FULL")
            # Before any endpoint: the slot sees each of them come.
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [SLOT])
