"""What is changed through the API is used by relays that run, all of them, within a second; pings and samples go to one alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.api.conftest import Client, Serve
from tests.conftest import Connection
from tests.pipeline.conftest import one
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

PINGED = "SELECT state FROM rowhook.delivery WHERE rowhook.public_id('dlv', created_at, id) = %s"


@pytest.fixture
def relays(dsn: str) -> Iterator[list[LocalRelay]]:
    both = [LocalRelay(dsn).start() for _ in range(2)]
    yield both
    for relay in both:
        relay.stop()


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve().operator


# Of the events with these public ids: how many relays have sent them; how long after a change the last of them was.
OF_EVENTS = """
  FROM rowhook.attempt AS a JOIN rowhook.delivery AS d ON d.id = a.delivery_id
  JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
 WHERE rowhook.public_id('evt', e.occurred_at, e.id, e.slot) = ANY (%s)
"""
SENDERS = f"SELECT count(DISTINCT a.instance_id) {OF_EVENTS}"
SENT_AFTER = f"""
SELECT extract(epoch FROM last.sent - l.at)::float8
  FROM rowhook.admin_log AS l, (SELECT max(a.started_at) AS sent {OF_EVENTS}) AS last WHERE l.request_id = %s
"""


def test_a_change_is_used_within_a_second_by_all_relays(
    client: Client, conn: Connection, receiver: Receiver, relays: list[LocalRelay]
) -> None:
    """Pings all the time, which any relay claims. What still went the old way was sent less than a second after the change."""
    id = client.post("/webhooks", {"url": receiver.url("/old"), "events": ["order.*"]}).ok(201)["id"]

    def came(path: str) -> list[str]:
        return [json.loads(request.body)["id"] for request in receiver.requests if request.path == path]

    def ping_until_all_have_sent_to(path: str) -> None:
        deadline = time.monotonic() + 40
        while one(conn, SENDERS, came(path)) < len(relays):
            assert time.monotonic() < deadline
            client.post(f"/webhooks/{id}/ping").ok(202)

    ping_until_all_have_sent_to("/old")
    changed = client.patch(f"/webhooks/{id}", {"url": receiver.url("/new")})
    ping_until_all_have_sent_to("/new")
    request_id = changed.headers["x-request-id"]
    assert one(conn, SENT_AFTER, came("/old"), request_id) < 1.0
    client.patch(f"/webhooks/{id}", {"state": "paused"}).ok()
    client.post(f"/webhooks/{id}/ping").ok(202)
    eventually(lambda: one(conn, "SELECT count(*) FROM rowhook.delivery WHERE state = 'pending'") >= 1)
    before = len(receiver.requests)
    client.patch(f"/webhooks/{id}", {"state": "active"}).ok()
    receiver.wait_for(before + 1)


def test_a_sample_of_a_captured_type_goes_to_one_webhook_alone(
    finmind: str, client: Client, receiver: Receiver, relays: list[LocalRelay]
) -> None:
    asked = client.post("/webhooks", {"url": receiver.url("/asked"), "events": ["nothing.like.it"]}).ok(201)["id"]
    client.post("/webhooks", {"url": receiver.url("/other")}).ok(201)
    sent = client.post(f"/webhooks/{asked}/test", {"type": "expense.created"}).ok(202)
    (request,) = receiver.wait_for(1)
    body = json.loads(request.body)
    assert (request.path, body["id"], body["type"]) == ("/asked", sent["event_id"], "expense.created")
    assert {"id", "user_id", "amount"} <= body["data"].keys()
    client.post(f"/webhooks/{asked}/test", {"type": "no.such.type"}).refused(422, "invalid", "type")


def test_a_ping_goes_to_one_webhook_alone_and_is_on_record(
    client: Client, conn: Connection, receiver: Receiver, relays: list[LocalRelay]
) -> None:
    asked = client.post("/webhooks", {"url": receiver.url("/asked"), "events": ["nothing.like.it"], "tenant": "7"}).ok(201)["id"]
    client.post("/webhooks", {"url": receiver.url("/other"), "events": ["webhook.ping", "*"]}).ok(201)
    sent = client.post(f"/webhooks/{asked}/ping/").ok(202)
    (request,) = receiver.wait_for(1, path="/asked")
    body = json.loads(request.body)
    assert (body["id"], body["type"], body["tenant"]) == (sent["event_id"], "webhook.ping", "7")
    assert request.headers["X-Rowhook-Delivery"] == sent["delivery_id"]
    eventually(lambda: one(conn, PINGED, sent["delivery_id"]) == "delivered")
    conn.execute("SELECT rowhook.emit('later.one', '1')")
    receiver.wait_for(1, path="/other")
    assert [json.loads(r.body)["type"] for r in receiver.requests if r.path == "/other"] == ["later.one"]
