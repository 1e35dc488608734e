"""Connections and threads for calls: the modules behind the command line are synchronous, and the loop must not wait for them.

As many threads as connections; what comes while all are taken waits its turn, up to a bound, and is refused beyond it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from relay.api.problem import busy
from relay.config import Settings
from relay.database import CLIENT_SETTINGS, UNPRUNED

P = ParamSpec("P")
T = TypeVar("T")
Connection = psycopg.Connection[DictRow]

CONNECT_WITHIN = 3.0
# What is not prepared is planned for its values: optional filters ("is null or …") have to be folded away, for their indexes to
# be used. What is asked often, and has one plan whatever is asked for, says prepare=True, and is planned a few times only.
UNLESS_TOLD = 2**31
MOST_WAITING = 64  # calls for each connection
SESSION = {
    "search_path": "pg_catalog, pg_temp",
    "default_transaction_isolation": "read committed",
    "lock_timeout": "5s",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "0",
    "client_connection_check_interval": "500",
    "plan_cache_mode": "auto",
    # No list reads a table from end to end, also where statistics are of a time when it was small.
    "enable_seqscan": "off",
    "jit": "off",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
}


class Pool:
    """run() a function(connection, …) in a thread, on a connection in autocommit."""

    def __init__(self, settings: Settings) -> None:
        size = settings.api_connections
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            settings.database_url,
            kwargs={"autocommit": True, "row_factory": dict_row, "application_name": "rowhook api", **CLIENT_SETTINGS},
            min_size=0,  # an idle API holds none
            max_size=size,
            timeout=CONNECT_WITHIN,
            reconnect_timeout=CONNECT_WITHIN,  # who asks next begins anew, however long Postgres was away
            max_idle=300.0,
            open=False,
            configure=_configure,
            name="rowhook-api",
        )
        self._threads = ThreadPoolExecutor(size, "rowhook-api")
        self._room = size * MOST_WAITING
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # what is refused for it is logged by who asked

    async def open(self) -> None:
        """Without waiting: whether Postgres is there is seen when it is asked for."""
        self._pool.open(wait=False)

    async def close(self) -> None:
        """What is under way ends first."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._pool.close)

    async def run(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises Problem 503 where Postgres is not to be had, or too many wait already."""
        if self._room <= 0:
            raise busy("too many calls wait for the database already")
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: self._in_thread(function, *args, **kwargs)
            )
        finally:
            self._room += 1

    def _in_thread(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._connection() as connection:
            return function(connection, *args, **kwargs)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Given back by itself: the pool's own context would open a transaction."""
        connection = self._alive()
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    def _alive(self) -> Connection:
        """The pool's own check would wait a second and longer after each that is gone."""
        for _ in range(self._pool.max_size + 1):  # all may have ended at once
            try:
                connection = self._pool.getconn()
            except PoolTimeout:
                break
            if _is_alive(connection):
                return connection
            self._pool.putconn(connection)  # which makes another
        raise busy("the database is not to be had at this moment")


def _is_alive(connection: Connection) -> bool:
    """It is asked only where its server has said something meanwhile, as one does that ends it: asking is a round trip."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            return False
    return True


def _configure(connection: psycopg.Connection[Any]) -> None:
    connection.prepare_threshold = UNLESS_TOLD
    calls = sql.SQL(", ").join(sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in SESSION.items())
    connection.execute(sql.SQL("SELECT {}, {}").format(calls, UNPRUNED))
