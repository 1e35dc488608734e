"""Connections to Postgres: one Session per purpose, named queries, and psycopg's errors translated.

A session connects when it is first used and again after it was lost; whoever uses it sees DatabaseLost, waits a little and tries
again. Server-side settings that a role or database may carry (timeouts above all) are overridden for every session.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row, tuple_row
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

from relay.errors import ConfigError, DatabaseBusy, DatabaseLost, FiltersTooSlow

Row = dict[str, Any]
Params = Mapping[str, Any] | None
Statement = tuple[str, Params]

BEGIN: Statement = ("begin", None)
COMMIT: Statement = ("commit", None)
_BY_ITSELF: Mapping[str, LiteralString] = {"begin": "BEGIN ISOLATION LEVEL READ COMMITTED", "commit": "COMMIT"}

# A dead peer's session ends in about 2 s, on both sides of a cut network (measured: 1.6 s with these, over 9 s by default).
CLIENT_SETTINGS = {
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "2000",
}
SERVER_SETTINGS = {
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "2000",
    "client_connection_check_interval": "500",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "1000",
    "statement_timeout": "30000",
    "lock_timeout": "5000",
    "timezone": "UTC",
    "search_path": "pg_catalog, pg_temp",
    "default_transaction_isolation": "read committed",
    # The statements are small and known: index scans, one plan, no compiler.
    "enable_seqscan": "off",
    "enable_hashagg": "off",  # a hash table for as many groups as a generic plan fears costs a millisecond; there are few
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
# From Postgres 18 on no partition is pruned while a statement runs: servers died of it, in the claim (perform_pruning_base_step),
# the more so the more relays claimed at once. A row to be locked that has changed meanwhile is checked by a second copy of the
# plan (EvalPlanQual), and what pruning works with is shared by both.
UNPRUNED = sql.SQL(
    "set_config('enable_partition_pruning',"
    " CASE WHEN current_setting('server_version_num')::int < 180000 THEN 'on' ELSE 'off' END, false)"
)
# Longer than the server lets any statement take: then what stands between acknowledges and says nothing (a stalled pooler).
ANSWER_WITHIN = 40.0
WATCH_EVERY = 1.0
# Connection (08), resources (53: a full disk, too many connections), operator and statement_timeout (57), the server's own
# input and output (58), a standby or what is read-only (25006), idle_in_transaction_session_timeout (25P03).
_LOST = re.compile(r"08|53|57|58|25006|25P03")
_BUSY = frozenset({"55P03", "40P01", "40001"})  # lock_timeout, deadlock, serialization
_FILTERS_TOO_SLOW = "RH002"  # rowhook.filters_take_too_long()


@cache
def query(name: str) -> LiteralString:
    """Text of the query ``file.name`` in ``relay/queries/file.sql``, where ``-- name: name`` begins it."""
    file, _, wanted = name.partition(".")
    text = resources.files("relay").joinpath("queries", f"{file}.sql").read_text("utf-8")
    parts = re.split(r"(?m)^-- name: (\w+)$", text)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return cast(LiteralString, found[wanted].strip())


@cache
def numbered(text: LiteralString) -> tuple[LiteralString, Sequence[str]]:
    """A query with ``$1`` for its first parameter, and the parameters' names in that order.

    psycopg translates by itself, but each time anew where a text has more than 4 kB: 0.1 ms for what records results.
    """
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if not found[1]:
            return "%"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return re.sub(r"%(?:%|\((\w+)\)s)", number, text), names


async def _run(cursor: psycopg.AsyncCursor[Any], name: str, params: Params) -> None:
    text = _BY_ITSELF.get(name) or query(name)
    if params is None:
        await cursor.execute(text)
    else:
        numbered_text, names = numbered(text)
        await cursor.execute(numbered_text, [params[n] for n in names])


class Session:
    """One connection, made when needed; not shared by tasks that run at once (a lock sees to it).

    A session that ``holds`` an advisory lock is never made again: what it held went with it. Any other that was ended while it
    had nothing to do is made again before its next statement, and nobody is the worse for it. A statement that is not answered
    within ``patience`` seconds ends it: TCP notices a cut network in 2 s, but not who acknowledges and says nothing.
    """

    def __init__(self, dsn: str, purpose: str, tag: str = "", *, holds: bool = False, patience: float | None = None) -> None:
        self.dsn = dsn
        self.purpose = purpose
        self.tag = tag
        self.holds = holds
        self._patience = ANSWER_WITHIN if patience is None else patience
        self._was_made = False
        self._deadline: float | None = None  # of the answer that is waited for
        self._is_watched = False
        self._connection: psycopg.AsyncConnection[DictRow] | None = None
        self._lock = asyncio.Lock()

    @property
    def name(self) -> str:
        """``application_name``: by the tag (the instance) a peer finds the backends of a frozen relay."""
        return application_name(self.purpose, self.tag)

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    @property
    def was_ended(self) -> bool:
        """Of one that has nothing to do and does not listen: the server has spoken unasked, which is nearly always its end."""
        if self._connection is None or self._connection.closed:
            return False
        unasked = select.poll()
        unasked.register(self._connection.fileno(), select.POLLIN)
        return bool(unasked.poll(0))

    async def connection(self) -> psycopg.AsyncConnection[DictRow]:
        """The open connection, made now if there is none; raises DatabaseLost."""
        if not self.holds and self.was_ended:
            self._drop()
        if self._connection is None or self._connection.closed:
            if self._was_made and self.holds:
                raise DatabaseLost(f"the {self.purpose} session was lost, and what it held with it")
            self._was_made = True
            with translated():
                self._connection = await psycopg.AsyncConnection.connect(
                    self.dsn,
                    autocommit=True,
                    row_factory=dict_row,
                    cursor_factory=psycopg.AsyncRawCursor,
                    application_name=self.name,
                    **cast(Any, CLIENT_SETTINGS),
                )
            with self.answering():
                await self._configure(self._connection)
        return self._connection

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Around what waits for the server: raises DatabaseLost also when no answer comes within ``patience``."""
        deadline = self._deadline = time.monotonic() + self._patience
        if not self._is_watched:
            self._watch(self._patience)
        try:
            with translated(self._drop):
                yield
        except DatabaseLost as lost:
            if time.monotonic() < deadline:
                raise
            raise DatabaseLost(f"no answer from Postgres within {self._patience:g} s ({self.purpose})") from lost
        finally:
            self._deadline = None

    def _watch(self, seconds: float) -> None:
        """One timer goes on while statements follow each other: one for each would cost as much as five of them."""
        self._is_watched = True
        asyncio.get_running_loop().call_later(min(seconds, WATCH_EVERY), self._look_after)

    def _look_after(self) -> None:
        self._is_watched = False
        if self._deadline is not None and self._connection is not None:
            left = self._deadline - time.monotonic()
            if left > 0:
                self._watch(left)
            else:
                end(self._connection)

    async def _configure(self, connection: psycopg.AsyncConnection[DictRow]) -> None:
        connection.prepare_threshold = 2
        connection.adapters.register_loader("json", ByteaBinaryLoader)  # in binary json is its text, wanted as it is
        connection.adapters.register_loader("timestamptz", Int8BinaryLoader)  # and a time is a number: moment.py
        calls = sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in SERVER_SETTINGS.items()
        )
        configure = sql.SQL("SELECT pg_is_in_recovery() AS standby, {}, {}").format(calls, UNPRUNED)
        cursor = await connection.execute(configure, prepare=False)
        row = await cursor.fetchone()
        if row and row["standby"]:
            await self.close()
            raise DatabaseLost("this server is a standby in recovery; a primary is needed")

    async def rows(self, name: str, params: Params = None) -> list[Row]:
        """Run the query ``file.name`` by itself and return its rows; raises DatabaseLost."""
        async with self._lock:
            return await self._rows(await self.connection(), name, params)

    async def row(self, name: str, params: Params = None) -> Row:
        """The one row of a query that always has one."""
        return (await self.rows(name, params))[0]

    async def _rows(self, connection: psycopg.AsyncConnection[DictRow], name: str, params: Params) -> list[Row]:
        with self.answering():
            cursor = connection.cursor()
            await _run(cursor, name, params)
            return await cursor.fetchall() if cursor.description else []

    async def tuples(self, name: str, params: Params = None) -> list[tuple[Any, ...]]:
        """The same for many rows: in binary, as tuples."""
        async with self._lock:
            return await self._tuples(await self.connection(), name, params)

    async def _tuples(self, connection: psycopg.AsyncConnection[DictRow], name: str, params: Params) -> list[tuple[Any, ...]]:
        with self.answering():
            cursor = connection.cursor(binary=True, row_factory=tuple_row)
            await _run(cursor, name, params)
            return await cursor.fetchall()

    @contextlib.asynccontextmanager
    async def transaction(self, *first: Statement) -> AsyncIterator[Transaction]:
        """BEGIN ISOLATION LEVEL READ COMMITTED, explicitly: a database may default to another; COMMIT or ROLLBACK at the end.

        ``first`` go with BEGIN in one round trip, what is due ``at_end`` with COMMIT; each is a statement of its own still.
        """
        async with self._lock:
            connection = await self.connection()
            transaction = Transaction(self, connection)
            try:
                _, *transaction.first = await self._together(connection, BEGIN, *first)
                yield transaction
                await self._together(connection, *transaction.ending, COMMIT)
            except BaseException:
                # Not execute("ROLLBACK"): what came after the failed statement in its pipeline was not prepared, though psycopg
                # has noted its name already. This forgets all names, always; that does so only as long as it isn't prepared too.
                with contextlib.suppress(psycopg.Error):
                    await connection.rollback()
                raise

    async def _together(self, connection: psycopg.AsyncConnection[DictRow], *statements: Statement) -> list[list[Row]]:
        """In one round trip, by libpq's pipeline mode; the rows of each."""
        with self.answering():
            async with connection.pipeline():
                cursors = [connection.cursor() for _ in statements]
                for cursor, (name, params) in zip(cursors, statements, strict=True):
                    await _run(cursor, name, params)
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    def _drop(self) -> None:
        """Forget a connection whose state is unknown; the server sees it close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._lock.locked()

    def cut(self) -> None:
        """Whoever waits on it gets DatabaseLost now."""
        if self._connection is not None:
            end(self._connection)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()


class Transaction:
    """The statements of one transaction. ``first`` is what the first ones gave."""

    def __init__(self, session: Session, connection: psycopg.AsyncConnection[DictRow]) -> None:
        self._session = session
        self._connection = connection
        self.first: list[list[Row]] = []
        self.ending: list[Statement] = []

    async def rows(self, name: str, params: Params = None) -> list[Row]:
        return await self._session._rows(self._connection, name, params)

    async def tuples(self, name: str, params: Params = None) -> list[tuple[Any, ...]]:
        return await self._session._tuples(self._connection, name, params)

    def at_end(self, name: str, params: Params = None) -> None:
        """To be run with COMMIT; its rows are of no interest."""
        self.ending.append((name, params))


async def notifications(connection: psycopg.AsyncConnection[Any], timeout: float | None = None) -> AsyncIterator[psycopg.Notify]:
    """Those that come within ``timeout`` seconds; raises psycopg.Error when the connection ends.

    psycopg's own waiting wakes ten times a second for each session, nine tenths of an idle relay's CPU; this sleeps until the
    socket has something to say, and then asks libpq alone, which takes a tenth of the time.
    """
    async for note in connection.notifies(timeout=0):  # what came with the answers of other statements
        yield note
    libpq = connection.pgconn
    try:
        async with asyncio.timeout(timeout):
            while True:
                libpq.consume_input()
                while (told := libpq.notifies()) is not None:
                    yield psycopg.Notify(told.relname.decode(), told.extra.decode(), told.be_pid)
                await _readable(connection.fileno())
    except TimeoutError:
        return


async def _readable(socket: int) -> None:
    """Registered anew for each wait: psycopg registers the same socket for its own."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(socket, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(socket)


def application_name(purpose: str, tag: str) -> str:
    return f"rowhook {purpose} {tag}".strip()


@contextlib.contextmanager
def translated(drop: Any = None) -> Any:
    """psycopg's errors of a lost or refusing server become DatabaseLost; a programming error stays what it is."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate
        if state in _BUSY:
            raise DatabaseBusy(first_line(error)) from error
        if state == _FILTERS_TOO_SLOW:
            raise FiltersTooSlow(first_line(error)) from error
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) if state is None else bool(_LOST.match(state))
        if not lost:
            raise
        if drop is not None:
            drop()
        raise DatabaseLost(first_line(error)) from error


def end(connection: psycopg.AsyncConnection[Any]) -> None:
    """Shut its socket down: who waits on it sees that at once. Closed, they would wait on a number that is soon another's."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def where(dsn: str) -> str:
    """What a DSN names, without its password."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "(a connection string that cannot be read)"
    host, port = parts.get("host") or parts.get("hostaddr") or "localhost", parts.get("port") or "5432"
    return f"{parts.get('user') or os.environ.get('PGUSER', '')}@{host}:{port}/{parts.get('dbname') or ''}"


def connect_once(dsn: str, setting: str = "DATABASE_URL", wait: float = 0.0, **kwargs: Any) -> psycopg.Connection[DictRow]:
    """A plain connection for a command, or the first one of a relay.

    A wrong DSN, password or database ends at once; a server that refuses or is starting up is tried for ``wait`` seconds.

    Raises:
        ConfigError: says the setting, what it names and what the server answered.
    """
    try:
        psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # its text repeats what was given, which may hold a password
        raise ConfigError(f"{setting} is not a connection string", "give postgresql://user:password@host:port/database") from None
    deadline = time.monotonic() + wait
    while True:
        try:
            return psycopg.connect(
                dsn,
                **{"autocommit": True, "row_factory": dict_row, "connect_timeout": 5, "application_name": "rowhook", **kwargs},
            )
        except psycopg.OperationalError as error:
            if not _may_pass(error) or time.monotonic() >= deadline:
                raise ConfigError(
                    f"{setting} does not connect to {where(dsn)} ({_reason(error)})",
                    "name a running Postgres, a database in it, and a role that may log in",
                ) from None
            time.sleep(0.25)


def _may_pass(error: psycopg.OperationalError) -> bool:
    """Refused, unreachable or starting up may pass; a wrong password, database or host name won't."""
    text = str(error)
    final = (
        "password authentication",
        "no password supplied",
        "does not exist",
        "pg_hba.conf",
        "not permitted to log in",
        "could not translate host name",
        "failed to resolve host",
        "SSL",
    )
    return not any(f in text for f in final)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line]
    return (fatal or lines or [type(error).__name__])[0]
