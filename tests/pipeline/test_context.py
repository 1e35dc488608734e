"""What a session said, and what is said beside the row, reaches the receiver; what loops does not, until it is replayed."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.conftest import Connection
from tests.pipeline.commands import rowhook
from tests.pipeline.conftest import AddHook, attempts_of, one, spend
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]


def test_context_and_truncated_are_in_the_envelope(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    """Of those that are dispatched leased, and of those that are claimed."""
    conn.execute("SELECT rowhook.capture('expenses', max_size => 300)")
    hook = add_hook(receiver.url(), state="paused")
    relays()
    with conn.transaction():
        conn.execute("SET LOCAL rowhook.actor = 'alice'")
        conn.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (%s, 1, repeat('x', 400))", [user_id])
    eventually(lambda: one(conn, "SELECT count(*) FROM rowhook.delivery WHERE state = 'pending'"))
    conn.execute("UPDATE rowhook.endpoint SET state = 'active' WHERE id = %s", [hook.id])
    receiver.wait_for(1)
    conn.execute("SELECT rowhook.emit('a.b', '1')")
    receiver.wait_for(2)
    with conn.transaction():
        conn.execute("SET LOCAL rowhook.context = '{\"b\": 1.50}'")
        spend(conn, user_id)
    requests = receiver.wait_for(3)
    assert requests[0].body.endswith(b'"data":{"id":1},"truncated":true,"context":{"actor": "alice"}}')
    assert requests[1].body.endswith(b'"data":1}')
    assert requests[2].body.endswith(b',"context":{"b": 1.50}}')
    assert all(json.loads(request.body) for request in requests)


def test_a_loop_is_a_dead_letter_with_its_reason_until_it_is_replayed(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, dsn: str
) -> None:
    """And it speaks against no receiver."""
    hook = add_hook(receiver.url(), ["expense.updated"])
    relays()
    spend(conn, user_id)
    for _ in range(3):
        with conn.transaction():
            conn.execute("SET LOCAL rowhook.correlation_id = 'c'")
            conn.execute("SET LOCAL rowhook.loop_limit = 2")
            conn.execute("UPDATE expenses SET amount = amount + 1")
    receiver.wait_for(2)
    eventually(lambda: one(conn, "SELECT count(*) FROM rowhook.dead_letters WHERE error_class = 'blocked'"))
    eventually(lambda: len(attempts_of(conn, hook)) == 3)
    assert one(conn, "SELECT error FROM rowhook.dead_letters").startswith("not sent: its correlation id has come by this row")
    assert one(conn, "SELECT failures FROM rowhook.endpoint") == 0
    assert len(receiver.requests) == 2
    rowhook(dsn, "replay", "--endpoint", hook.public_id)
    assert json.loads(receiver.wait_for(3)[2].body)["context"] == {"correlation_id": "c"}
