"""Endpoints that change while their deliveries are out or claimed ahead: paused, disabled, removed, discarded, another secret.

A relay with one request in flight holds a second delivery that it claimed ahead; the gate keeps the first one out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from relay.model import Delivery
from tests.conftest import Connection
from tests.pipeline.commands import emit, rowhook
from tests.pipeline.conftest import AddHook, Gate, Hook, attempts_of, becomes, one, run, states
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]


@pytest.fixture
def status() -> list[int]:
    """What the receiver answers once the gate is open."""
    return [200]


@pytest.fixture
def running(relays: Relays) -> LocalRelay:
    return relays()


@pytest.fixture
def held(running: LocalRelay, receiver: Receiver, add_hook: AddHook, conn: Connection, gate: Gate, status: list[int]) -> Hook:
    """An endpoint with one request out, one delivery claimed ahead, and two that wait.

    These come after the others: what a look parks, a claim that began beside it takes as if the look had leased nothing.
    """

    async def answer(request: web.Request) -> web.Response:
        await gate.answer(request)
        return web.Response(status=status[0])

    receiver.answer("/hook", answer)
    hook = add_hook(receiver.url(), max_in_flight=1, timeout="60s", retry_schedule=["100ms"] * 5)
    for leased in (1, 2):
        emit(conn)
        becomes(conn, {"leased": leased})
    for _ in range(2):
        emit(conn)
    receiver.wait_for(1)
    becomes(conn, {"leased": 2, "pending": 2})
    return hook


def test_a_paused_endpoints_claimed_ahead_deliveries_are_given_back(
    held: Hook, receiver: Receiver, conn: Connection, gate: Gate, dsn: str
) -> None:
    rowhook(dsn, "endpoint", "pause", held.public_id)
    becomes(conn, {"leased": 1, "pending": 3})
    assert one(conn, "SELECT sum(attempts) FROM rowhook.delivery") == 1, "what was not sent was no try"
    gate.open()
    becomes(conn, {"delivered": 1, "pending": 3})
    assert len(receiver.requests) == 1
    rowhook(dsn, "endpoint", "resume", held.public_id)
    becomes(conn, {"delivered": 4})
    assert attempts_of(conn) == [(1, 200, None)] * 4


def test_a_removed_endpoints_claimed_ahead_deliveries_are_cancelled(
    held: Hook, receiver: Receiver, conn: Connection, gate: Gate, dsn: str
) -> None:
    assert rowhook(dsn, "endpoint", "remove", held.public_id)["cancelled"] >= 2
    becomes(conn, {"leased": 1, "cancelled": 3})
    gate.open()
    becomes(conn, {"delivered": 1, "cancelled": 3})
    assert len(receiver.requests) == 1


def test_an_endpoint_disabled_by_its_answer_gets_nothing_more(
    held: Hook, receiver: Receiver, conn: Connection, gate: Gate, status: list[int], dsn: str
) -> None:
    """410 to the one that is out; what waits is kept until somebody resumes it."""
    status[0] = 410
    gate.open()
    eventually(lambda: one(conn, "SELECT state FROM rowhook.endpoint") == "disabled")
    eventually(lambda: states(conn).get("leased", 0) == 0)
    sent = len(receiver.requests)
    assert sent <= 2, "the next may have gone before the answer was on record, no more"
    assert states(conn) == {"dead": sent, "pending": 4 - sent}
    status[0] = 200
    rowhook(dsn, "endpoint", "resume", held.public_id)
    becomes(conn, {"dead": sent, "delivered": 4 - sent})


@pytest.mark.parametrize("overlap", ["0s", "1h"])
def test_a_claimed_ahead_delivery_is_signed_by_the_secrets_of_the_moment_it_is_sent(
    held: Hook, running: LocalRelay, receiver: Receiver, conn: Connection, gate: Gate, dsn: str, overlap: str
) -> None:
    new = rowhook(dsn, "endpoint", "rotate", held.public_id, "--overlap", overlap)["secret"]
    revision = one(conn, "SELECT revision FROM rowhook.endpoint")
    eventually(lambda: running.relay._directory.known[held.id].revision == revision, what="the relay has noticed")
    gate.open()
    becomes(conn, {"delivered": 4})
    first, *later = receiver.requests
    Webhook(held.secret).verify(first.body, dict(first.headers))
    for request in later:
        Webhook(new).verify(request.body, dict(request.headers))
        assert verifies(held.secret, request) == (overlap != "0s")


def verifies(secret: str, request: Any) -> bool:
    try:
        Webhook(secret).verify(request.body, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


# --- given up ----------------------------------------------------------------------------------------------


def test_what_is_out_while_the_rest_is_discarded_does_not_come_back(
    held: Hook, receiver: Receiver, conn: Connection, gate: Gate, status: list[int], dsn: str
) -> None:
    """1 Paused with a request out. 2 Resumed with --discard. 3 The request fails: cancelled, not retried. 4 New ones go."""
    rowhook(dsn, "endpoint", "pause", held.public_id)
    becomes(conn, {"leased": 1, "pending": 3})
    told = rowhook(dsn, "endpoint", "resume", held.public_id, "--discard")
    assert (told["cancelled"], told["out"]) == (3, 1)
    status[0] = 500
    gate.open()
    becomes(conn, {"cancelled": 4})
    assert attempts_of(conn) == [(1, 500, "http_5xx")]
    status[0] = 200
    emit(conn)
    becomes(conn, {"cancelled": 4, "delivered": 1})
    rowhook(dsn, "replay", "--endpoint", held.public_id, "--status", "cancelled")
    becomes(conn, {"delivered": 5})


def test_what_succeeds_while_the_rest_is_discarded_is_delivered(held: Hook, conn: Connection, gate: Gate, dsn: str) -> None:
    rowhook(dsn, "endpoint", "pause", held.public_id)
    becomes(conn, {"leased": 1, "pending": 3})
    rowhook(dsn, "endpoint", "resume", held.public_id, "--discard")
    gate.open()
    becomes(conn, {"cancelled": 3, "delivered": 1})


@pytest.mark.parametrize("how", ["discard", "remove"])
def test_what_a_dead_relay_held_when_it_was_given_up_is_cancelled(
    add_hook: AddHook, conn: Connection, instance: Callable[[], int], delivery: Callable[..., Delivery], dsn: str, how: str
) -> None:
    """1 A relay dies with a request out. 2 The endpoint is given up. 3 Its try is lost, and the last."""
    hook = add_hook("http://127.0.0.1:9/")
    delivery(hook, instance=instance())
    if how == "discard":
        rowhook(dsn, "endpoint", "resume", hook.public_id, "--discard")
    else:
        rowhook(dsn, "endpoint", "remove", hook.public_id)
    run(conn, "lease.bury", {"instances": [1001]})
    run(conn, "claim.reclaim", {"batch": 10, "most_lost": 5})
    assert states(conn) == {"cancelled": 1}
    assert attempts_of(conn) == [(1, None, "lost")]
