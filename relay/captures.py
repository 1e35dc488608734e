"""Captures from outside the database: find the table, plan, install, remove; make sure of those that ROWHOOK_CAPTURE names.

What a capture does is rowhook.capture()'s to know (sql/0008-capture-triggers.sql). Here: names as people write them, the default
type prefix by a dictionary, and the lock on a table that is being written to: asked for briefly and again, so that writers never
queue long.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import DictRow

from relay import audit
from relay.audit import Actor, by_command
from relay.config import Settings, duration
from relay.database import connect_once, query
from relay.errors import RowhookError, UserMistake
from relay.refusals import refusals

if TYPE_CHECKING:
    from pluralizer import Pluralizer

log = logging.getLogger(__name__)

Connection = psycopg.Connection[DictRow]
Say = Callable[[str], None]

_PINNED = "SET LOCAL search_path = pg_catalog, pg_temp"
LOCK_TIMEOUT = "2s"  # writers queue behind us for as long, at most
PATIENCE = 10.0
PAUSE = 0.5  # who queued behind us goes first
MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Options:
    """As given; None keeps what it was, an empty text or list takes it back. ``name``: which of the table's captures."""

    name: str = ""
    tenant: str | None = None
    include: list[str] | None = None
    exclude: list[str] | None = None
    key: list[str] | None = None
    events: list[str] | None = None
    type_prefix: str | None = None
    on_error: str | None = None
    paused: bool | None = None
    redact: dict[str, str] | None = None
    max_size: int | None = None
    enrich: dict[str, str] | None = None
    predicate: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table that exists; ``label`` is its name as events show it."""

    oid: int
    name: str
    label: str


def find(connection: Connection, given: str) -> Table:
    """The table of this name, with or without schema, as a session of this role would find it."""
    try:
        rows = connection.execute(query("capture.find"), {"name": given}).fetchall()
    except (psycopg.ProgrammingError, psycopg.NotSupportedError, psycopg.DataError) as error:
        if error.sqlstate not in ("42601", "42602", "0A000", "22023"):
            raise
        rows = []  # not even the form of a name
    if not rows:
        raise _unknown(connection, given)
    return Table(**rows[0])


def _unknown(connection: Connection, given: str) -> UserMistake:
    with pinned(connection):
        labels = [row["label"] for row in connection.execute(query("capture.tables")).fetchall()]
    near = near_matches(given, labels)
    shown = repr(given if len(given) <= 80 else f"{given[:79]}…")
    if near:
        remedy = f"did you mean {' or '.join(near)}?"
    elif labels:
        more = ", …" if len(labels) > MOST_NAMED else ""
        remedy = f"the tables of this database are {', '.join(labels[:MOST_NAMED])}{more}"
    else:
        remedy = f"database {connection.info.dbname} has no tables yet; is it the right one?"
    return UserMistake(f"there is no table {shown}", remedy)


def near_matches(given: str, labels: list[str]) -> list[str]:
    """Labels that look like the name, whatever their schema, case and quotes."""
    by_plain: dict[str, list[str]] = {}
    for label in labels:
        for plain in {_plain(label), _plain(label.rpartition(".")[2])}:
            by_plain.setdefault(plain, []).append(label)
    wanted = [_plain(given), _plain(given.rpartition(".")[2])]
    close = [match for name in wanted for match in difflib.get_close_matches(name, by_plain, n=3, cutoff=0.6)]
    return list(dict.fromkeys(label for match in close for label in by_plain[match]))[:3]


def _plain(name: str) -> str:
    return name.replace('"', "").casefold()


def everything(connection: Connection) -> Sequence[DictRow]:
    """The options of all captures."""
    with pinned(connection):
        return connection.execute(query("capture.current"), {"table": None, "name": None}).fetchall()


def current(connection: Connection, table: Table, name: str = "") -> DictRow | None:
    """The options in force; None for a table that is not captured, by that name."""
    with pinned(connection):
        rows = connection.execute(query("capture.current"), {"table": table.oid, "name": name}).fetchall()
    return rows[0] if rows else None


def plan(connection: Connection, table: Table, options: Options) -> DictRow:
    """What installing would come to (``result``), its SQL and its cost; changes nothing."""
    with pinned(connection, force_rollback=True):
        (row,) = connection.execute(query("capture.plan"), _parameters(connection, table, options)).fetchall()
    return row


def install(connection: Connection, actor: Actor, table: Table, options: Options, say: Say) -> str:
    """Capture the table, or change how: installed, changed or unchanged."""
    return patiently(connection, actor, table, "capture.install", _parameters(connection, table, options), say)


def remove(connection: Connection, actor: Actor, table: Table, say: Say, name: str = "") -> str:
    """Leave no trace of this capture on the table."""
    return patiently(connection, actor, table, "capture.remove", {"table": table.oid, "name": name}, say)


def _parameters(connection: Connection, table: Table, options: Options) -> dict[str, Any]:
    given = asdict(options)
    if given["type_prefix"] is None and current(connection, table, options.name) is None:
        given["type_prefix"] = "_".join(filter(None, [singular(table.name), options.name]))
    as_json = {name: None if given[name] is None else json.dumps(given[name]) for name in ("redact", "enrich")}
    return {**given, **as_json, "table": table.oid}


def singular(table_name: str) -> str:
    """The default type prefix: expenses -> expense, sales_people -> sales_person."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", table_name)
    word = re.split(r"[_-]", name)[-1]
    return name.removesuffix(word) + (_dictionary().singular(word) or word)


@functools.cache
def _dictionary() -> Pluralizer:
    from pluralizer import Pluralizer  # only needed the first time that a table is captured

    dictionary = Pluralizer()  # type: ignore[no-untyped-call]
    dictionary.add_irregular_rule("cache", "caches")  # it makes "cach" of them
    return dictionary


def patiently(connection: Connection, actor: Actor, table: Table, name: str, parameters: Mapping[str, Any], say: Say) -> str:
    """Run it with a short lock_timeout, again and again for a while."""

    def ask() -> str:
        return _recorded(connection, actor, table, name, parameters)

    return with_locks(connection, table, ask, say)


def with_locks(connection: Connection, table: Table, work: Callable[[], str], say: Say) -> str:
    """Do what locks tables, this one the first, in a transaction with a short lock_timeout; again and again for a while."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with pinned(connection):
                connection.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                return work()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            holders = _holders(connection, table)
            if time.monotonic() + PAUSE >= deadline:
                raise RowhookError(
                    f"table {table.label} stayed locked for {PATIENCE:.0f} s ({holders}): try again when that has ended"
                ) from None
            say(f"table {table.label} is locked ({holders}); trying again")
            time.sleep(PAUSE)


def _recorded(connection: Connection, actor: Actor, table: Table, name: str, parameters: Mapping[str, Any]) -> str:
    """Do it, and say so in the audit, unless nothing has changed."""
    capture = parameters.get("name", "")
    before = current(connection, table, capture)
    (row,) = connection.execute(query(name), parameters).fetchall()
    result = str(row["result"])
    after = current(connection, table, capture)
    if name.startswith("rule.") and result != "unchanged":
        audit.write(connection, actor, name, table.label, after={**parameters, "table": table.label, "result": result})
    elif before != after or result == "changed":  # changed with the same options: it was not whole
        audit.write(connection, actor, name, table.label, before=before, after=after)
    return result


def _holders(connection: Connection, table: Table) -> str:
    with pinned(connection):
        rows = connection.execute(query("capture.holders"), {"table": table.oid}).fetchall()
    return ", ".join(row["holder"] for row in rows) or "by a transaction that has just ended"


@contextlib.contextmanager
def pinned(connection: Connection, *, force_rollback: bool = False) -> Iterator[None]:
    """A transaction without the session's search_path: what others put into its schemas must not run as whoever captures."""
    with connection.transaction(force_rollback=force_rollback):
        connection.execute(_PINNED)
        yield


@contextlib.contextmanager
def as_admin(settings: Settings) -> Iterator[Connection]:
    """A connection as who may install captures, for a relay that starts; what it is told by Postgres is logged."""
    setting = "ROWHOOK_ADMIN_URL" if settings.admin_url else "DATABASE_URL"
    wait = duration(settings.connect_wait).total_seconds()
    with refusals(), connect_once(settings.url_for_admin, setting, wait) as connection:
        connection.add_notice_handler(log_notice)
        yield connection


def ensure(settings: Settings) -> None:
    """Capture what ROWHOOK_CAPTURE names: install what is missing, mend what is not whole; options given otherwise stay."""
    if not settings.captures:
        return
    with as_admin(settings) as connection:
        for name, tenant in settings.captures:
            try:
                _ensure_one(connection, name, tenant)
            except UserMistake as mistake:
                raise UserMistake(f"ROWHOOK_CAPTURE: {mistake.message}", mistake.remedy) from None


def _ensure_one(connection: Connection, name: str, tenant: str | None) -> None:
    with refusals():
        table = find(connection, name)
        was = current(connection, table)
        options = Options() if was else Options(tenant=tenant)
        result = install(connection, by_command("run"), table, options, log.warning)
    if was and was["tenant"] != tenant and tenant is not None:
        log.warning(
            "ROWHOOK_CAPTURE names another tenant column than the capture has; it stays as it is",
            extra={"table": table.label, "tenant": was["tenant"], "named": tenant},
        )
    if result != "unchanged":
        log.info("captured", extra={"table": table.label, "result": result})


def log_notice(notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        log.warning("%s", ". ".join(filter(None, [notice.message_primary, notice.message_hint])))
