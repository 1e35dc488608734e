"""An endpoint with a tenant never gets another tenant's event, whatever is dispatched, edited, retried and replayed in between.

Random runs through the real statements: emit, dispatch, claim, the command line's edit and replay. What should come of them is
computed here by plain Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from relay import endpoints, replays
from relay.audit import by_command
from relay.claim import Claimer
from relay.database import Session
from relay.dispatch import Dispatcher
from relay.errors import UserMistake
from relay.refusals import refusals
from tests.conftest import Connection
from tests.pipeline.conftest import MutateFunction, MutateQuery, one
from tests.pipeline.relays import eventually
from tests.pipeline.test_cursor import ROOMY

TENANTS = st.sampled_from(["7", "8", None, "", "07"])
TYPES = st.sampled_from(["expense.created", "expense.updated", "expense.note.created", "bill.created", "expense"])
PATTERNS = st.lists(
    st.sampled_from(["*", "expense.*", "expense.created", "expense.note.*", "bill.*", "expense"]),
    min_size=1,
    max_size=3,
    unique=True,
)
EVENTS = st.lists(st.tuples(TYPES, TENANTS), min_size=1, max_size=8)
EDIT = st.tuples(st.just("edit"), st.integers(0, 3), TENANTS)
HOOKS = st.lists(st.tuples(PATTERNS, TENANTS), min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), EVENTS),
        st.tuples(st.just("dispatch"), st.integers(1, 5), EVENTS),
        EDIT,
        st.tuples(st.just("replay"), st.sampled_from(["dead", "delivered", "cancelled", "any"]), st.booleans()),
        st.tuples(st.just("restore")),
    ),
    max_size=8,
)
Events = list[tuple[str, str | None]]
Hooks = list[tuple[list[str], str | None]]
Step = tuple[Any, ...]
Steps = Sequence[Step]

END_ALL = """
UPDATE rowhook.delivery
   SET state = (ARRAY['dead', 'delivered', 'cancelled'])[1 + id % 3], ended_at = now(), due_at = NULL, instance_id = NULL
 WHERE state IN ('leased', 'pending')
"""
OF_RESEED = "WHERE w.tenant IS NULL OR w.tenant = o.tenant"
EMPTY = """
TRUNCATE rowhook.event, rowhook.delivery, rowhook.attempt, rowhook.secret, rowhook.endpoint, rowhook.instance RESTART IDENTITY;
UPDATE rowhook.cursor SET seen = pg_current_snapshot(), target = NULL, position = NULL, fresh_from = NULL;
INSERT INTO rowhook.instance (id, name) VALUES (1, 'by hand');
"""


def wants(patterns: Sequence[str], type_: str) -> bool:
    """The rule of matching, in other words than the database's."""
    return any(p in ("*", type_) or (p.endswith(".*") and type_.startswith(p[:-1])) for p in patterns)


@dataclass
class Endpoint:
    public_id: str
    patterns: list[str]
    tenant: str | None


class Run:
    """One random run on an emptied database."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]], hooks: Hooks) -> None:
        self.connection = connection
        connection.execute(EMPTY)
        add = "INSERT INTO rowhook.endpoint (url, events, tenant) VALUES ('https://example.com/', %s, %s) RETURNING public_id"
        self.endpoints = [
            Endpoint(connection.execute(add, [patterns, tenant]).fetchall()[0]["public_id"], patterns, tenant)
            for patterns, tenant in hooks
        ]
        self.fresh: Events = []
        self.expected = 0
        self.replayed = 0

    async def walk(self, steps: Steps, dispatcher: Dispatcher, claimer: Claimer) -> None:
        for name, *arguments in steps:
            if name in ("dispatch", "claim"):
                await getattr(self, name)(dispatcher if name == "dispatch" else claimer, *arguments)
            else:
                getattr(self, name)(*arguments)

    def emit(self, events: Events) -> None:
        for type_, tenant in events:
            self.connection.execute("SELECT rowhook.emit(%s, '{}', tenant => %s)", [type_, tenant])
        self.fresh.extend(events)

    def edit(self, number: int, tenant: str | None) -> None:
        """Another tenant is refused; none is taken."""
        endpoint = self.endpoints[number % len(self.endpoints)]
        with contextlib.suppress(UserMistake), refusals():
            endpoint.tenant = endpoints.edit(self.connection, by_command(), endpoint.public_id, {"tenant": tenant})["tenant"]

    def restore(self) -> None:
        """As if the database had been restored into another cluster."""
        self.connection.execute("UPDATE rowhook.cursor SET system_identifier = 1")

    def end_all(self) -> None:
        self.connection.execute(END_ALL)

    def replay(self, status: str, new_id: bool) -> None:
        selection = replays.Selection(replays.parse_status(status))
        found = replays.look(self.connection, selection)
        self.replayed += replays.replay(self.connection, by_command(), selection, found, new_id=new_id)

    async def dispatch(self, dispatcher: Dispatcher, chunk: int, events: Events) -> None:
        self.emit(events)
        for _ in range(2):  # the first look after a restore is another
            while (await dispatcher.look(ROOMY, chunk)).events:
                pass
        self.expected += sum(
            wants(endpoint.patterns, type_) and endpoint.tenant in (None, tenant)
            for type_, tenant in self.fresh
            for endpoint in self.endpoints
        )
        self.fresh.clear()
        self.check()

    async def claim(self, claimer: Claimer) -> None:
        await claimer.claim(ROOMY)
        self.check()

    def check(self) -> None:
        """Every delivery, in whatever state, is of an event that its endpoint may get; and none is missing."""
        held = self.connection.execute("""
            SELECT p.events, p.tenant AS theirs, e.type, e.tenant FROM rowhook.delivery AS d
              JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id JOIN rowhook.event AS e ON e.id = d.event_id
        """).fetchall()
        for row in held:
            assert row["theirs"] is None or row["theirs"] == row["tenant"], row
            assert wants(row["events"], row["type"]), row
        assert len(held) == self.expected


ROLE_IS_HELD = """
SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                WHERE l.locktype = 'advisory' AND d.datname = current_database()) AS held
"""


@pytest.fixture
def examine(conn: Connection, dsn: str) -> Callable[..., None]:
    """Try many random runs; raises what the first that fails raised."""

    def examine() -> None:
        @settings(
            max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(hooks=HOOKS, steps=STEPS, last=EVENTS, edit=EDIT)
        def one_run(hooks: Hooks, steps: Steps, last: Events, edit: Step) -> None:
            ending = ("dispatch", 3, last), ("end_all",), edit, ("replay", "any", True), ("claim",)
            asyncio.run(go(hooks, [*steps, *ending]))

        one_run()

    async def go(hooks: Hooks, steps: Steps) -> None:
        session = Session(dsn, "dispatch", secrets.token_hex(4))
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
            try:
                dispatcher = Dispatcher(session, 1)
                assert await dispatcher.take_role()
                run = Run(connection, hooks)
                await run.walk(steps, dispatcher, Claimer(session, 1))
                assert run.replayed >= min(1, run.expected)
            finally:
                await session.close()
                eventually(
                    lambda: connection.execute(ROLE_IS_HELD).fetchone() == {"held": False}
                )  # the next example's dispatcher needs it

    return examine


def test_an_endpoint_with_a_tenant_never_gets_another_tenants_event(examine: Callable[..., None]) -> None:
    examine()


def test_mutant__a_look_that_forgets_the_tenant_is_found_out(
    examine: Callable[..., None], mutate_function: MutateFunction
) -> None:
    mutate_function("rowhook.look", ("(w.tenant IS NULL OR w.tenant = c.tenant) AND ", ""))
    with pytest.raises(AssertionError, match="theirs"):
        examine()


def test_mutant__a_beginning_anew_that_forgets_the_tenant_is_found_out(
    examine: Callable[..., None], mutate_query: MutateQuery
) -> None:
    mutate_query("dispatch.reseed", (OF_RESEED, ""))
    with pytest.raises(AssertionError, match="theirs"):
        examine()


def test_mutant__an_endpoint_that_changes_hands_gets_the_former_tenants_events(
    examine: Callable[..., None], conn: Connection
) -> None:
    conn.execute("DROP TRIGGER keep_tenant ON rowhook.endpoint")
    with pytest.raises(AssertionError, match="theirs"):
        examine()


def test_an_endpoint_becomes_nobody_elses_and_keeps_all_that_is_not_about_that(conn: Connection) -> None:
    conn.execute("INSERT INTO rowhook.endpoint (url, tenant) VALUES ('https://a.example/', '7'), ('https://example.org/', NULL)")
    for change, id in (("'8'", 1), ("''", 1), ("'8'", 2)):
        with pytest.raises(psycopg.DatabaseError, match="keeps its tenant") as refused:
            conn.execute(f"UPDATE rowhook.endpoint SET tenant = {change} WHERE id = {id}")
        assert refused.value.sqlstate == "RH001"
    conn.execute("UPDATE rowhook.endpoint SET tenant = tenant, url = 'https://example.net/'")
    conn.execute("UPDATE rowhook.endpoint SET tenant = NULL")
    assert one(conn, "SELECT count(*) FROM rowhook.endpoint WHERE tenant IS NULL") == 2
