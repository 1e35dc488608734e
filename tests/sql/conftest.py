"""What the tests of the capturing half share: reading events, breaking a function on purpose, listening for the bell.

A test that proves a rule runs twice where it can: with the function as generated, and with a mutant of it in the
same database, which must show the failure that the rule prevents.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.cluster import Cluster
from tests.conftest import Connect, Connection

# By hand the bell is armed for a minute: far longer than any test looks.
ARM = "SELECT setval('rowhook.doorbell', (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000)"

EVENTS = """
SELECT op, type, table_name, row_key, tenant, moved, data, previous, data::text AS text
  FROM rowhook.event WHERE op <> 'probe' AND type <> 'schema.changed' ORDER BY id
"""


class Event(NamedTuple):
    op: str
    type: str
    table_name: str | None
    row_key: str | None
    tenant: str | None
    moved: bool
    data: Any
    previous: Any
    text: str | None


class Warned(NamedTuple):
    message: str
    hint: str


Events = Callable[[], list[Event]]
Mutate = Callable[[str, str, str], None]
Rings = Callable[[], bool]


@pytest.fixture
def events(connect: Connect, dsn: str) -> Events:
    """Committed events that no earlier call has returned, in order of capture."""
    reader = connect(dsn=dsn)
    returned = 0

    def events() -> list[Event]:
        nonlocal returned
        fresh = [Event(*row) for row in reader.execute(EVENTS).fetchall()[returned:]]
        returned += len(fresh)
        return fresh

    return events


@pytest.fixture
def mutate(connect: Connect, dsn: str) -> Mutate:
    """Replace text in the functions of schema rowhook whose name matches a pattern; all of them must contain it."""

    def mutate(pattern: str, old: str, new: str) -> None:
        with connect(dsn=dsn).transaction() as transaction:
            found = transaction.connection.execute(
                "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'rowhook'::regnamespace AND proname ~ %s",
                [f"^({pattern})$"],
            ).fetchall()
            assert found, f"no function is called {pattern}"
            for (definition,) in found:
                assert old in definition, f"nothing to replace in\n{definition}"
                transaction.connection.execute(definition.replace(old, new))

    return mutate


@pytest.fixture
def rings(connect: Connect, dsn: str) -> Rings:
    """Whether the bell has rung since the last call.

    Postgres hands a session the notifications of all transactions that committed before its own statement began,
    so one round trip is enough: nothing to wait for.
    """
    listener = connect(dsn=dsn)
    heard: list[str] = []
    listener.add_notify_handler(lambda notify: heard.append(notify.channel))
    listener.execute("LISTEN rowhook_bell")

    def rings() -> bool:
        assert listener.info.transaction_status == TransactionStatus.IDLE
        for _ in range(2):  # a backend sends them after the statement in which it noticed them
            listener.execute("SELECT 1")
        rung, heard[:] = bool(heard), []
        return rung

    return rings


@pytest.fixture
def warnings(conn: Connection) -> list[Warned]:
    """The server's warnings to `conn`."""
    said: list[Warned] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            said.append(Warned(notice.message_primary or "", notice.message_hint or ""))

    conn.add_notice_handler(keep)
    return said


@pytest.fixture
def user_id(conn: Connection, finmind: str) -> int:
    """FinMind's first user."""
    insert = "INSERT INTO users (email, password_hash) VALUES ('a@example.com', 'secret-hash') RETURNING id"
    return int(one(conn, insert))


@pytest.fixture
def new_role(cluster: Cluster, dsn: str) -> Iterator[Callable[..., str]]:
    """Make login roles; roles belong to the cluster, so they are dropped again."""
    made: list[str] = []

    def new_role(attributes: str = "") -> str:
        made.append(f"role_{secrets.token_hex(4)}")
        with cluster.connect() as connection:
            connection.execute(f"CREATE ROLE {made[-1]} LOGIN {attributes}")
        return made[-1]

    yield new_role
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in made:
            connection.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}")


def one(connection: Connection, statement: str, *parameters: Any) -> Any:
    """The single value that a statement returns."""
    row = connection.execute(statement, parameters or None).fetchone()
    assert row is not None
    return row[0]
