"""An endpoint is removed at a bad moment: whatever was under way, no delivery is left that nobody would ever claim."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from psycopg.rows import dict_row

from relay import endpoints
from relay.audit import by_command
from relay.endpoints import change
from relay.model import Delivery
from tests.conftest import Connect, Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Hook, attempts_of, one, run, states
from tests.pipeline.relays import eventually
from tests.pipeline.test_lease import BURY, RECLAIM

PARK = """
INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, due_at)
SELECT e.id, e.slot, p.id, clock_timestamp() FROM rowhook.event AS e, rowhook.endpoint AS p
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'removing' AND query LIKE '%%AS under_way%%'"


@pytest.fixture
def hook(add_hook: AddHook, conn: Connection) -> Hook:
    return add_hook("http://127.0.0.1:9/hook", connection=conn)


def remove(connect: Connect, hook: Hook) -> int:
    """How many deliveries were cancelled."""
    connection = connect(row_factory=dict_row, application_name="removing")
    return int(endpoints.remove(connection, by_command(), hook.public_id)[1]["cancelled"])


def test_what_a_dead_relay_held_for_it_is_cancelled(
    conn: Connection, connect: Connect, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery]
) -> None:
    """1 A sends. 2 The endpoint is removed. 3 A dies. 4 B reclaims: the try is on record as lost, and there the delivery ends."""
    instance()
    delivery(hook)
    assert remove(connect, hook) == 0
    run(conn, "lease.bury", BURY)
    assert run(conn, "claim.reclaim", RECLAIM)[0]["freed"] == 1
    assert states(conn) == {"cancelled": 1}
    assert attempts_of(conn) == [(1, None, "lost")]


def test_what_is_given_back_unsent_is_cancelled(
    conn: Connection, connect: Connect, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery]
) -> None:
    """1 A leases ahead. 2 The endpoint is removed. 3 A stops, and gives back what it never sent."""
    instance()
    made = delivery(hook)
    remove(connect, hook)
    run(conn, "claim.release", {"deliveries": [made.id], "instance": 1001})
    assert states(conn) == {"cancelled": 1}
    assert one(conn, "SELECT attempts FROM rowhook.delivery") == 0, "the try was none"


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_removing_waits_for_those_that_still_saw_it(
    conn: Connection, connect: Connect, hook: Hook, monkeypatch: pytest.MonkeyPatch, mutant: bool
) -> None:
    """1 A dispatches and parks a delivery, not committed. 2 The endpoint is removed. 3 A commits. 4 Whoever removes cancels it.

    The mutant doesn't wait for A, and leaves a delivery pending for ever.
    """
    emit(conn)
    if mutant:
        monkeypatch.setattr(change, "let_pass", lambda _connection: None)
    parking = connect(autocommit=False)
    parking.execute(PARK)
    cancelled: list[int] = []
    removing = threading.Thread(target=lambda: cancelled.append(remove(connect, hook)))
    removing.start()
    if mutant:
        removing.join()
    else:
        eventually(lambda: one(conn, WAITING))
    parking.commit()
    removing.join()
    assert (cancelled, states(conn)) == (([0], {"pending": 1}) if mutant else ([1], {"cancelled": 1}))
