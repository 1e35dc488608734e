"""schema.changed reaches endpoints that name it, and none that is a tenant's."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.conftest import Connection
from tests.pipeline.conftest import AddHook, spend
from tests.pipeline.relays import LocalRelay
from tests.receiver import Receiver


def test_who_gets_it(
    dsn: str, conn: Connection, user_id: int, add_hook: AddHook, receiver: Receiver, relays: Callable[..., LocalRelay]
) -> None:
    add_hook(receiver.url("/all"), events=["*"])
    add_hook(receiver.url("/named"), events=["schema.changed"])
    add_hook(receiver.url("/tenant"), events=["schema.changed", "expense.*"], tenant=str(user_id))
    relays(dsn)
    conn.execute("ALTER TABLE expenses DROP COLUMN notes")
    spend(conn, user_id, [1])
    got = [(request.path, json.loads(request.body)) for request in receiver.wait_for(3)]
    assert sorted((path, body["type"]) for path, body in got) == [
        ("/all", "expense.created"),
        ("/named", "schema.changed"),
        ("/tenant", "expense.created"),
    ]
    (body,) = [body for path, body in got if path == "/named"]
    assert body["tenant"] is None
    assert body["data"]["changes"] == [
        {"change": "dropped", "column": "notes", "type": "character varying(500)", "compatible": False}
    ]
