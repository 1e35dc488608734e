"""A tenant is told that a request may not go there or could not be made; only the operator where the name led."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from relay.model import LOOP
from tests.api.conftest import Served
from tests.api.test_stream_call import heard
from tests.conftest import Connection
from tests.pipeline.conftest import AddHook, one
from tests.pipeline.conftest import add_hook as add_hook
from tests.pipeline.relays import LocalRelay, eventually

Relays = Callable[..., LocalRelay]


@pytest.fixture
def relays(dsn: str) -> Iterator[Relays]:
    started: list[LocalRelay] = []

    def start(**given: str) -> LocalRelay:
        started.append(LocalRelay(dsn, **given))
        return started[-1].start()

    yield start
    for relay in started:
        relay.stop()


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.mark.parametrize("transport", ["aiohttp", "lean"])
@pytest.mark.parametrize("error_class", ["blocked", "refused"])
def test_where_a_name_leads_is_for_the_operator_to_know(
    api: Served, relays: Relays, add_hook: AddHook, conn: Connection, transport: str, error_class: str
) -> None:
    """The list, the delivery, the trail and the stream, of one real attempt."""
    hook = add_hook(f"https://localhost:{closed_port()}/hook", tenant="7", retry_schedule=[])
    with heard(api.tenant("7")) as tenants, heard(api.operator) as operators:
        relays(transport=transport, allow_networks="127.0.0.0/8,::1/128" if error_class == "refused" else "")
        event = one(conn, "SELECT rowhook.emit('a.b', '{}', tenant => '7')")
        eventually(lambda: one(conn, "SELECT count(*) FROM rowhook.delivery WHERE state = 'dead'"))
        streamed = {"7": tenants.next(), None: operators.next()}
    kept = one(conn, "SELECT error FROM rowhook.attempt")
    assert "127.0.0.1" in kept or "::1" in kept

    def seen(tenant: str | None) -> list[dict[str, Any]]:
        client = api.tenant(tenant) if tenant else api.operator
        (listed,) = client.get(f"/webhooks/{hook.public_id}/deliveries").ok()["items"]
        (tried,) = client.get(f"/deliveries/{listed['delivery_id']}").ok()["attempts"]
        return [listed, tried, streamed[tenant]]

    assert [attempt["error"] for attempt in seen(None)] == [kept] * 3
    for attempt in seen("7"):
        assert attempt["error_class"] == error_class
        assert attempt["error"].startswith("requests may not go there" if error_class == "blocked" else "no connection")
    trail = api.tenant("7").get(f"/events/{event}").text
    assert "127.0.0.1" not in trail and "::1" not in trail and "ROWHOOK_" not in trail


def test_a_loop_is_told_of_to_everybody(api: Served, add_hook: AddHook, conn: Connection) -> None:
    hook = add_hook("https://example.com/", tenant="7")
    conn.execute("SELECT rowhook.emit('a.b', '{}', tenant => '7')")
    conn.execute(
        "WITH d AS (INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, attempts, ended_at)"
        "  SELECT id, slot, %(hook)s, 'dead', 1, now() FROM rowhook.event RETURNING id)"
        " INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class, error)"
        " SELECT id, %(hook)s, 1, 1, now(), 'blocked', %(error)s FROM d",
        {"hook": hook.id, "error": LOOP},
    )
    (listed,) = api.tenant("7").get(f"/webhooks/{hook.public_id}/deliveries").ok()["items"]
    assert listed["error"] == LOOP
