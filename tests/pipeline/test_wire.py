"""What receivers see: headers, envelope and signatures, end to end, verified by the libraries that receivers use."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable

import pytest
import svix.webhooks
from standardwebhooks import Webhook

from relay import __version__
from relay.sign import new_secret
from tests.conftest import Connection
from tests.pipeline.commands import rowhook
from tests.pipeline.conftest import AddHook, one, run_text, spend
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Received, Receiver

Relays = Callable[..., LocalRelay]


def is_from_rowhook(secret: str, request: Received) -> bool:
    """As FinMind's pull request documents it."""
    given = request.headers["X-Hub-Signature-256"]
    wanted = "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(given, wanted)


def verify(secret: str, request: Received) -> None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    Webhook(secret).verify(request.body, headers)
    svix.webhooks.Webhook(secret).verify(request.body, headers)


def test_headers_and_envelope(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int) -> None:
    hook = add_hook(receiver.url())
    relays()
    conn.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (%s, 99.50, 'चाय ☕')", [user_id])
    (request,) = receiver.wait_for(1)
    verify(hook.secret, request)
    assert is_from_rowhook(hook.secret, request)

    envelope = json.loads(request.body)
    eventually(lambda: one(conn, "SELECT count(*) FROM rowhook.delivery_history"))
    (history,) = run_text(conn, "SELECT * FROM rowhook.delivery_history")
    (trail,) = run_text(conn, "SELECT * FROM rowhook.event_trail")
    assert list(envelope) == ["id", "type", "timestamp", "tenant", "data"]
    assert envelope["id"] == request.headers["webhook-id"] == history["event_id"] == trail["event_id"]
    assert envelope["type"] == request.headers["X-Rowhook-Event"] == "expense.created"
    assert envelope["timestamp"] == trail["occurred_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert envelope["tenant"] == str(user_id)
    assert request.headers["X-Rowhook-Delivery"] == history["delivery_id"]
    assert request.headers["X-Rowhook-Attempt"] == "1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"Rowhook/{__version__}"
    row = one(conn, "SELECT row_to_json(e)::text FROM expenses AS e")
    assert request.body.endswith(b'"data":' + row.encode() + b"}"), "the row goes out as Postgres wrote it"


def test_an_update_carries_what_it_changed(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    add_hook(receiver.url(), events=["expense.updated"])
    relays()
    spend(conn, user_id, [1])
    conn.execute("UPDATE expenses SET amount = 2.50")
    (request,) = receiver.wait_for(1)
    envelope = json.loads(request.body)
    assert envelope["previous"] == {"amount": 1.00} and envelope["data"]["amount"] == 2.50


def test_a_move_between_tenants_is_two_events_marked_so(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    other = one(conn, "INSERT INTO users (email, password_hash) VALUES ('b@example.com', 'x') RETURNING id")
    add_hook(receiver.url(), events=["expense.created", "expense.deleted"])
    spend(conn, user_id, [1])
    conn.execute("UPDATE expenses SET user_id = %s", [other])
    conn.execute("TRUNCATE expenses")
    relays()
    seen = sorted((e["type"], e["tenant"], e.get("moved")) for e in (json.loads(r.body) for r in receiver.wait_for(3)))
    assert seen == [
        ("expense.created", str(user_id), None),
        ("expense.created", str(other), True),
        ("expense.deleted", str(user_id), True),
    ]


def test_truncate_has_no_data_and_no_tenant(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    add_hook(receiver.url(), events=["expense.truncated"])
    relays()
    conn.execute("TRUNCATE expenses")
    (request,) = receiver.wait_for(1)
    envelope = json.loads(request.body)
    assert (envelope["type"], envelope["tenant"], envelope["data"]) == ("expense.truncated", None, None)


def test_the_prefix_of_headers_is_a_setting(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, dsn: str
) -> None:
    add_hook(receiver.url())
    relays(dsn, header_prefix="X-FinMind")
    spend(conn, user_id)
    (request,) = receiver.wait_for(1)
    assert request.headers["X-FinMind-Event"] == "expense.created"
    assert not any(name.lower().startswith("x-rowhook") for name in request.headers)


def test_while_secrets_rotate_both_verify(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int, dsn: str
) -> None:
    """The running relay uses the new secret with the next event."""
    old = add_hook(receiver.url())
    relays()
    spend(conn, user_id)
    verify(old.secret, receiver.wait_for(1)[0])
    new = rowhook(dsn, "endpoint", "rotate", old.public_id)["secret"]
    spend(conn, user_id)
    request = receiver.wait_for(2)[1]
    verify(old.secret, request)
    verify(new, request)
    assert is_from_rowhook(new, request), "this header has room for one: the newest"


def test_a_plain_secret_is_the_key_of_both(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    plain = "a plain secret, long enough"
    add_hook(receiver.url(), secret=plain)
    relays()
    spend(conn, user_id)
    (request,) = receiver.wait_for(1)
    assert is_from_rowhook(plain, request)
    Webhook(plain.encode()).verify(request.body, {name.lower(): value for name, value in request.headers.items()})


def test_another_secret_does_not_verify(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, user_id: int
) -> None:
    add_hook(receiver.url())
    relays()
    spend(conn, user_id)
    (request,) = receiver.wait_for(1)
    other = new_secret()
    assert not is_from_rowhook(other, request)
    with pytest.raises(Exception, match="No matching signature"):
        verify(other, request)
