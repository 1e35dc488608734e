"""What the tests of the delivering half share: endpoints, writers, relays, and queries broken on purpose.

A test that proves a rule runs twice where it can: with the relay as it is, and with a mutant of one query or one step,
which must show the failure that the rule prevents.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import pytest
import pytest_asyncio
from aiohttp import web
from psycopg.rows import dict_row

import relay.database
from relay import moment
from relay.circuit import Patience
from relay.event import Event
from relay.model import Delivery, Endpoint
from relay.send import Transport
from relay.sign import new_secret
from relay.vault import store_text
from tests.conftest import Connection
from tests.keys import KEYRING
from tests.pipeline.relays import LocalRelay, RelayProcess
from tests.pipeline.transports import OPEN, TRANSPORTS
from tests.receiver import Received, Receiver

QUICK = ("100ms", "100ms")
PATIENCE = Patience(timedelta(seconds=10), timedelta(minutes=1), timedelta(days=5))


@dataclass(frozen=True)
class Hook:
    """An endpoint as added: internal id, public id, the secret that signs."""

    id: int
    public_id: str
    secret: str


class AddHook(Protocol):
    def __call__(
        self, url: str, events: Sequence[str] = ("*",), connection: Connection | None = None, **columns: Any
    ) -> Hook: ...


@pytest.fixture
def add_hook(request: pytest.FixtureRequest) -> AddHook:
    """Add an endpoint with a secret; ``retry_schedule`` and ``timeout`` as Postgres reads intervals."""

    def add_hook(url: str, events: Sequence[str] = ("*",), connection: Connection | None = None, **columns: Any) -> Hook:
        connection = connection or request.getfixturevalue("conn")
        secret = columns.pop("secret", None) or new_secret()
        columns = {"retry_schedule": list(QUICK), "timeout": "5s", **columns, "url": url, "events": list(events)}
        types = {"retry_schedule": "::text[]::interval[]", "timeout": "::text::interval", "events": "::text[]"}
        places = ", ".join(f"%({name})s{types.get(name, '')}" for name in columns)
        with connection.transaction():
            row = connection.execute(
                f"INSERT INTO rowhook.endpoint ({', '.join(columns)}) VALUES ({places}) RETURNING id, public_id", columns
            ).fetchone()
            assert row
            store_text(connection, KEYRING, row[0], secret)
        return Hook(row[0], row[1], secret)

    return add_hook


@pytest.fixture
def user_id(conn: Connection, finmind: str) -> int:
    """FinMind's first user."""
    return add_user(conn, "a@example.com")


def add_user(connection: Connection, email: str) -> int:
    return int(one(connection, "INSERT INTO users (email, password_hash) VALUES (%s, 'x') RETURNING id", email))


def spend(connection: Connection, user_id: int, amounts: Iterable[int] = (1,)) -> None:
    """One expense of each amount, in one statement."""
    connection.execute("INSERT INTO expenses (user_id, amount) SELECT %s, unnest(%s::int[])", [user_id, list(amounts)])


def amounts(requests: Iterable[Received]) -> Counter[int]:
    """The amounts of the expenses that a receiver was told of."""
    return Counter(int(json.loads(request.body)["data"]["amount"]) for request in requests)


def attempts_of(connection: Connection, hook: Hook | None = None) -> list[tuple[Any, ...]]:
    """(number, status_code, error_class) of each attempt, by delivery and number."""
    return connection.execute(
        "SELECT a.number, a.status_code, a.error_class"
        "  FROM rowhook.attempt AS a JOIN rowhook.delivery AS d ON d.id = a.delivery_id"
        " WHERE %s::bigint IS NULL OR d.endpoint_id = %s ORDER BY d.id, a.number",
        [hook and hook.id, hook and hook.id],
    ).fetchall()


def states(connection: Connection) -> dict[str, int]:
    """How many deliveries are in which state."""
    return dict(connection.execute("SELECT state, count(*) FROM rowhook.delivery GROUP BY state").fetchall())


def becomes(connection: Connection, wanted: dict[str, int], timeout: float = 10.0, *, what: str = "") -> None:
    """Wait until deliveries are in just these states; an error tells in which they were."""
    deadline = time.monotonic() + timeout
    while (found := states(connection)) != wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {wanted} (last: {found}) {what}".rstrip())
        time.sleep(0.01)


def one(connection: Connection, statement: str, *parameters: Any) -> Any:
    """The single value that a statement returns."""
    row = connection.execute(statement, parameters or None).fetchone()
    assert row is not None
    return row[0]


# --- answers -----------------------------------------------------------------------------------------------


async def hang(request: web.Request) -> None:
    """Say nothing until the other side has gone."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.01)


class Gate:
    """Holds back answers of a receiver until the test opens it."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    async def answer(self, request: web.Request) -> web.Response:
        """200, once the gate is open."""
        while not self._open.is_set():  # noqa: ASYNC110 - it is opened from another thread
            await asyncio.sleep(0.005)
        return web.Response()


@pytest.fixture
def gate(receiver: Receiver) -> Iterator[Gate]:
    """One that is opened when the test ends: ask for it after the relays, which wait for their requests when they stop."""
    gate = Gate()
    yield gate
    gate.open()


# --- relays ------------------------------------------------------------------------------------------------


@pytest.fixture
def relays(missed_rings: list[logging.LogRecord], dsn: str) -> Iterator[Callable[..., LocalRelay]]:
    """Start relays in this process; at the end each is stopped, and none may have missed a ring."""
    with contextlib.ExitStack() as started:

        def start(database: str = dsn, **given: str) -> LocalRelay:
            relay = LocalRelay(database, **given)
            started.callback(relay.stop)
            return relay.start()

        yield start
    assert not missed_rings, [record.getMessage() for record in missed_rings]


@pytest.fixture
def missed_rings() -> Iterator[list[logging.LogRecord]]:
    """Log records of events for which nobody rang."""
    missed: list[logging.LogRecord] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "missed_rings" in record.__dict__:
                missed.append(record)

    watch = Watch()
    logger = logging.getLogger("relay.doorbell")
    logger.addHandler(watch)
    yield missed
    logger.removeHandler(watch)


@pytest.fixture
def processes(dsn: str) -> Iterator[Callable[..., RelayProcess]]:
    """Relays as processes, not started yet; what still runs at the end is killed."""
    with contextlib.ExitStack() as made:

        def make(database: str = dsn, **given: str) -> RelayProcess:
            process = RelayProcess(database, **given)
            made.callback(process.close)
            return process

        yield make


# --- queries -----------------------------------------------------------------------------------------------


class MutateQuery(Protocol):
    """Replace text in a named query, for the rest of the test or until ``monkeypatch.undo()``."""

    def __call__(self, name: str, *replacements: tuple[str, str]) -> None: ...


@pytest.fixture
def mutate_query(monkeypatch: pytest.MonkeyPatch) -> MutateQuery:
    real = relay.database.query
    mutants: dict[str, str] = {}

    def mutate(name: str, *replacements: tuple[str, str]) -> None:
        mutants[name] = changed(real(name), *replacements)
        monkeypatch.setattr(relay.database, "query", lambda wanted: mutants.get(wanted) or real(wanted))

    return mutate


class MutateFunction(Protocol):
    """Replace text in one of Rowhook's functions, in the test's database."""

    def __call__(self, name: str, *replacements: tuple[str, str]) -> None: ...


@pytest.fixture
def mutate_function(conn: Connection) -> MutateFunction:
    def mutate(name: str, *replacements: tuple[str, str]) -> None:
        conn.execute(changed(one(conn, "SELECT pg_get_functiondef(%s::regproc)", name), *replacements))

    return mutate


def statement(name: str, *replacements: tuple[str, str]) -> str:
    """The text of a named query, or of a mutant of it."""
    return changed(relay.database.query(name), *replacements)


def changed(text: str, *replacements: tuple[str, str]) -> str:
    for old, new in replacements:
        assert old in text, f"nothing to replace in\n{text}"
        text = text.replace(old, new)
    return text


def run(connection: Connection, name: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Run a named query of the relay on a connection of the test."""
    return run_text(connection, statement(name), parameters)


def run_text(connection: Connection, text: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def instance(conn: Connection) -> Callable[[], int]:
    """Rows of instances that nobody runs: with them the stages can be driven one by one."""
    made = 0

    def instance() -> int:
        nonlocal made
        made += 1
        run(conn, "lease.register", {"instance": 1000 + made, "name": f"by hand {made}"})
        return 1000 + made

    return instance


@pytest.fixture
def delivery(conn: Connection) -> Callable[..., Delivery]:
    """Rows of deliveries, each of an event of its own, as a relay holds them; leased unless told otherwise."""

    def delivery(hook: Hook, number: int = 1, instance: int = 1001) -> Delivery:
        row = run_text(
            conn,
            "WITH e AS (INSERT INTO rowhook.event (op, type, data) VALUES ('emit', 'a.b', '1') RETURNING *),"
            " d AS (INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, instance_id, attempts, leased_at)"
            "       SELECT e.id, e.slot, %(hook)s, 'leased', %(instance)s, %(number)s, now() FROM e RETURNING *)"
            " SELECT d.id, d.created_at, e.id AS event_id, e.slot, e.occurred_at, e.type FROM e, d",
            {"hook": hook.id, "instance": instance, "number": number},
        )[0]
        event = Event(row["event_id"], row["slot"], moment.of(row["occurred_at"]), row["type"], None, None, False, b"1", None)
        endpoint = Endpoint(hook.id, hook.public_id, 1, "http://127.0.0.1:9/", (), (), (), 5.0, 10)
        return Delivery(row["id"], moment.of(row["created_at"]), endpoint, instance, number, 0, 0, None, event)

    return delivery


def waits_for_lock(connection: Connection, of: Connection) -> bool:
    """Whether the other connection's backend waits for a lock."""
    return bool(
        one(
            connection,
            "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND wait_event_type = 'Lock'",
            of.info.backend_pid,
        )
    )


ASLEEP = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'rowhook dispatch %' AND state = 'idle'
   AND query !~ 'setval|virtualtransaction|probe'
   AND pg_sequence_last_value('rowhook.doorbell') > extract(epoch FROM clock_timestamp()) * 1000
"""


def asleep(connection: Connection) -> bool:
    """Whether a dispatcher has armed the bell and looked, or dispatched what little it was told of: only a ring wakes it now."""
    return bool(one(connection, ASLEEP))


@pytest_asyncio.fixture(params=TRANSPORTS)
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """Each transport in turn, open."""
    opened = TRANSPORTS[request.param](64, OPEN)
    await opened.open()
    yield opened
    await opened.close()
