"""An event for one endpoint goes there and nowhere else, whatever patterns say; never to another tenant's.

By dispatch and by the beginning anew in a restored cluster, which both decide who gets what.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relay.database import Session
from relay.dispatch import Dispatcher
from relay.model import Room
from tests.conftest import Connection
from tests.pipeline.conftest import AddHook, Hook, MutateFunction, run

URL = "http://127.0.0.1:9/"
# For the one that asks for nothing of the kind, for nobody in particular, for one of another tenant, for one that was removed.
EVENTS = """
INSERT INTO rowhook.event (op, type, tenant, endpoint_id, data)
VALUES ('own', 'webhook.ping', '7', %(named)s, '1'), ('emit', 'a.b', '7', NULL, '2'),
       ('emit', 'a.b', '8', %(theirs)s, '3'), ('emit', 'a.b', '7', %(removed)s, '4')
"""
GOT = """
SELECT d.endpoint_id, e.data::text
  FROM rowhook.delivery AS d JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
"""


@pytest.fixture
def hooks(add_hook: AddHook, conn: Connection) -> dict[str, Hook]:
    hooks = {
        "named": add_hook(URL, ["x.y"]),
        "all": add_hook(URL, ["*", "webhook.ping"]),
        "theirs": add_hook(URL, ["*"], tenant="7"),
        "removed": add_hook(URL, ["*"]),
    }
    conn.execute("UPDATE rowhook.endpoint SET state = 'removed' WHERE id = %s", [hooks["removed"].id])
    conn.execute(EVENTS, {name: hook.id for name, hook in hooks.items()})
    return hooks


def got(conn: Connection, hooks: dict[str, Hook]) -> set[tuple[str, str]]:
    names = {hook.id: name for name, hook in hooks.items()}
    return {(names[endpoint], data) for endpoint, data in conn.execute(GOT).fetchall()}


RIGHT = {("named", "1"), ("all", "2"), ("theirs", "2")}


async def dispatch(dsn: str, instance: int) -> None:
    session = Session(dsn, "dispatch", "addressed")
    try:
        dispatcher = Dispatcher(session, instance)
        assert await dispatcher.take_role()
        await dispatcher.look(Room(100, 100), 100)
    finally:
        await session.close()


async def test_dispatch_gives_it_to_its_endpoint_alone(
    dsn: str, conn: Connection, hooks: dict[str, Hook], instance: Callable[[], int]
) -> None:
    await dispatch(dsn, instance())
    assert got(conn, hooks) == RIGHT


async def test_mutant__dispatch_that_looks_at_patterns_only(
    dsn: str, conn: Connection, hooks: dict[str, Hook], instance: Callable[[], int], mutate_function: MutateFunction
) -> None:
    mutate_function("rowhook.look", ("w.addressee IS NOT DISTINCT FROM c.endpoint_id", "true"))
    await dispatch(dsn, instance())
    assert ("all", "1") in got(conn, hooks)


def test_beginning_anew_in_another_cluster_gives_it_to_its_endpoint_alone(conn: Connection, hooks: dict[str, Hook]) -> None:
    run(conn, "dispatch.reseed", {"system": 1, "instance": 1})
    assert got(conn, hooks) == RIGHT
