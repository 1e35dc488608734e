"""Bring the database's schema "rowhook" to the version of this package: the files of sql/, with yoyo as a library.

All pending migrations are one transaction, yoyo's record of them included, so a migration that fails or a process
that dies leaves nothing half done. A session's advisory lock makes relays that start at once take turns.

yoyo keeps its record in tables of the schema that was the default when it first ran; later sessions may have another
search_path, so the record is looked up in the catalog. Errors of Postgres pass through as psycopg raises them.
"""

from __future__ import annotations

import contextlib
import glob
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import MigrationList

from relay import __version__
from relay.errors import ConfigError

RECORD = "_yoyo_migration"  # the name that yoyo.ini gives as well

_OURS = re.compile(r"\d{4}-[a-z0-9-]+")  # the application may use yoyo too, in the same table
_LOCK = 0x526F77686F6F6B  # "Rowhook": the key of the advisory lock under which a database is migrated

_PINNED = "SET LOCAL search_path = pg_catalog, pg_temp"

_RECORD_SCHEMAS = f"""
SELECT pg_catalog.quote_ident(n.nspname)
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = '{RECORD}' AND c.relkind = 'r' AND c.relpersistence <> 't'
 ORDER BY c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('{RECORD}')::pg_catalog.oid DESC,
          n.nspname = 'public' DESC, n.nspname
 LIMIT 1
"""  # noqa: S608 - a constant

log = logging.getLogger(__name__)
logging.getLogger("yoyo").setLevel(logging.CRITICAL)  # its progress is no news to anyone


def migrations_folder(package: Path = Path(__file__).parent) -> Path:
    """Where the migrations are: inside the package in a wheel, beside it in a checkout."""
    shipped = package / "_sql"
    return shipped if shipped.is_dir() else package.parent / "sql"


def known_ids() -> list[str]:
    """The migrations of this version, in order."""
    names = (path.name.removesuffix(".sql") for path in migrations_folder().glob("*.sql"))
    return sorted(name for name in names if not name.endswith(".rollback"))


def problem(applied: set[str], database: str) -> ConfigError | None:
    """What keeps this version from working with a database that has these migrations."""
    if ahead := newer(applied, database):
        return ahead
    missing = [name for name in known_ids() if name not in applied]
    if missing == known_ids():
        return ConfigError(f"database {database} has no Rowhook schema", "run: rowhook migrate")
    if missing:
        return ConfigError(f"database {database} lacks the migrations {', '.join(missing)}", "run: rowhook migrate")
    return None


def newer(applied: set[str], database: str) -> ConfigError | None:
    """Is the database ahead of this version?"""
    unknown = sorted(name for name in applied.difference(known_ids()) if _OURS.fullmatch(name))
    if not unknown:
        return None
    return ConfigError(
        f"database {database} has newer migrations ({', '.join(unknown)})",
        f"upgrade rowhook, which is {__version__} here",
    )


def applied_ids(connection: psycopg.Connection[Any]) -> set[str]:
    """The migrations on record; none if there is no record."""
    schema = connection.execute(_RECORD_SCHEMAS).fetchone()
    return set() if schema is None else _ids(connection.execute(_record_query(schema)).fetchall())


async def check(connection: psycopg.AsyncConnection[Any]) -> None:
    """Refuse a database that this version can't work with."""
    schema = await (await connection.execute(_RECORD_SCHEMAS)).fetchone()
    rows = [] if schema is None else await (await connection.execute(_record_query(schema))).fetchall()
    if wrong := problem(_ids(rows), connection.info.dbname):
        raise wrong


def migrate(dsn: str) -> list[str]:
    """Apply what is pending, all or nothing; the ids of what was applied."""
    with _locked(dsn) as backend:
        pending = list(backend.to_apply(_migrations()))
        try:
            with _changing(backend):
                for migration in pending:
                    with _pinned(backend):
                        migration.process_steps(backend, "apply")
                    backend.mark_one(migration, log=False)
        except psycopg.errors.DuplicateSchema as error:
            raise ConfigError(
                f"database {backend.connection.info.dbname} has a schema rowhook, but no record of its migrations",
                f"restore the tables _yoyo_* that belong to it, or drop the schema ({error.diag.message_primary})",
            ) from error
        return [migration.id for migration in pending]


def rollback(dsn: str) -> list[str]:
    """Undo all of them, captures included, all or nothing; the ids of what was undone, newest first."""
    with _locked(dsn) as backend:
        applied = list(backend.to_rollback(_migrations()))
        with _changing(backend):
            for migration in applied:
                with _pinned(backend):
                    migration.process_steps(backend, "rollback")
                backend.unmark_one(migration, log=False)
        return [migration.id for migration in applied]


def _record_query(schema: tuple[str]) -> str:
    return f"SELECT migration_id FROM {schema[0]}.{RECORD}"  # noqa: S608 - quote_ident()'s own result


def _ids(rows: list[tuple[str]]) -> set[str]:
    return {name for (name,) in rows}


def _migrations() -> MigrationList:
    return read_migrations(glob.escape(str(migrations_folder())))


@contextlib.contextmanager
def _locked(dsn: str) -> Iterator[PostgresqlPsycopgBackend]:
    """yoyo's backend on a session of its own, which holds the lock; refuses a database that is ahead of us."""
    with _backend(dsn) as backend:
        connection = backend.connection
        connection.add_notice_handler(_pass_on)
        connection.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [_LOCK])
        if schema := connection.execute(_RECORD_SCHEMAS).fetchone():
            backend.schema = schema[0]
            backend.init_connection(connection)
        else:
            backend.create_lock_table()
            backend.ensure_internal_schema_updated()
        if ahead := newer(applied_ids(connection), connection.info.dbname):
            raise ahead
        yield backend


def _backend(dsn: str) -> PostgresqlPsycopgBackend:
    # A DatabaseURI is what yoyo makes of a URL: given ready, nothing gets lost in quoting. The password, the socket's
    # folder and all else are handed to psycopg as they are.
    parameters = conninfo_to_dict(dsn)
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, parameters.get("dbname"), parameters)
    return PostgresqlPsycopgBackend(uri, RECORD)


@contextlib.contextmanager
def _changing(backend: PostgresqlPsycopgBackend) -> Iterator[None]:
    """One transaction; the `yoyo` command waits for it, and it refuses to run beside one."""
    with backend.transaction(), contextlib.redirect_stdout(io.StringIO()):  # yoyo prints what SELECTs return
        lock_table = backend.lock_table_quoted
        backend.execute(f"LOCK TABLE {lock_table} IN SHARE ROW EXCLUSIVE MODE")
        if holder := backend.execute(f"SELECT pid FROM {lock_table}").fetchone():  # noqa: S608 - a constant
            raise ConfigError(
                f"process {holder[0]} is migrating database {backend.connection.info.dbname} with yoyo, or died of it",
                "wait for it, or run: yoyo break-lock",
            )
        yield


@contextlib.contextmanager
def _pinned(backend: PostgresqlPsycopgBackend) -> Iterator[None]:
    """Without the session's search_path: what others put into its schemas must not run as whoever migrates."""
    connection = backend.connection
    (path,) = connection.execute("SELECT pg_catalog.current_setting('search_path')").fetchone()
    connection.execute(_PINNED)
    yield
    connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", [path])


def _pass_on(notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        log.warning("%s", ". ".join(filter(None, [notice.message_primary, notice.message_hint])))
