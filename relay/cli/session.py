"""Settings and a connection for a command that does its work and ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row, tuple_row

from relay import config
from relay.cli.output import pass_on
from relay.config import Settings, duration
from relay.database import UNPRUNED, connect_once
from relay.errors import ConfigError
from relay.keyring import Keyring
from relay.migrations import applied_ids, problem

Connection = psycopg.Connection[DictRow]

FOR_WORK = {"search_path": "pg_catalog, pg_temp", "lock_timeout": "10s", "statement_timeout": "60s"}
# A capture's table is looked up as the application would; installing has a lock_timeout of its own.
FOR_CAPTURE = {"statement_timeout": "0"}
# What a role or database may have set otherwise, and psycopg reads in these forms only.
FOR_BOTH = {"timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres", "idle_in_transaction_session_timeout": "0"}


def settings() -> Settings:
    """The settings, from the environment and .env; raises ConfigError."""
    try:
        return config.load()
    except UnicodeDecodeError:
        raise ConfigError(".env in this folder is not UTF-8 text", "write it in UTF-8, a line for each NAME=value") from None
    except OSError as error:
        raise ConfigError(f".env in this folder can't be read ({error.strerror})", "let this user read it") from None


def admin_dsn(settings: Settings) -> tuple[str, str]:
    """What may install migrations and captures, and the setting that says it."""
    if settings.admin_url:
        return settings.admin_url, "ROWHOOK_ADMIN_URL"
    return config.require_database(settings).database_url, "DATABASE_URL"


def connect_wait(settings: Settings) -> float:
    return duration(settings.connect_wait).total_seconds()


def connect(dsn: str, setting: str, wait: float = 0.0) -> Connection:
    """A first connection. What can't be read as a DSN is not repeated: a password may be anywhere in it."""
    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ConfigError(f"{setting} is not a connection string", "give postgresql://user:password@host:port/database") from None
    connection = connect_once(dsn, setting, wait)
    connection.execute(sql.SQL("SELECT {}").format(UNPRUNED))
    return connection


def check_schema(connection: Connection) -> None:
    """Refuse a database whose migrations this version can't work with."""
    connection.row_factory = tuple_row  # type: ignore[assignment]
    try:
        wrong = problem(applied_ids(connection), connection.info.dbname)
    finally:
        connection.row_factory = dict_row
    if wrong:
        raise wrong


@contextlib.contextmanager
def at_work(wait: float = 0.0) -> Iterator[tuple[Settings, Connection]]:
    """The database of DATABASE_URL, migrated."""
    given = config.require_database(settings())
    with connect(given.database_url, "DATABASE_URL", wait) as connection:
        _prepare(connection, FOR_WORK)
        yield given, connection


@contextlib.contextmanager
def at_work_with_keys() -> Iterator[tuple[Settings, Connection, Keyring]]:
    """The same for a command that stores or reads secrets; without a key it does not begin."""
    keyring = config.require_keyring(config.require_database(settings()))
    with at_work() as (given, connection):
        yield given, connection, keyring


@contextlib.contextmanager
def as_admin() -> Iterator[Connection]:
    """The same database through what may install captures, with the search_path of a normal session."""
    with connect(*admin_dsn(settings())) as connection:
        _prepare(connection, FOR_CAPTURE)
        connection.add_notice_handler(_once(set()))
        yield connection


def _prepare(connection: Connection, session: dict[str, str]) -> None:
    for name, value in {**FOR_BOTH, **session}.items():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
    check_schema(connection)


def _once(passed: set[tuple[str | None, ...]]) -> Callable[[psycopg.errors.Diagnostic], None]:
    """A statement that is tried again says the same again."""

    def handle(notice: psycopg.errors.Diagnostic) -> None:
        said = (notice.message_primary, notice.message_detail)
        if said not in passed:
            passed.add(said)
            pass_on(notice)

    return handle
