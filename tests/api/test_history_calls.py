"""Attempts, statistics, deliveries and replays over HTTP: what is answered, and to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.api.models.attempts import Attempt
from relay.api.pages import Page
from relay.public_id import parse, public_id
from tests.api.conftest import Client, Served
from tests.api.making import add_endpoints, make_past, public
from tests.conftest import Connection
from tests.pipeline.conftest import one

NOBODY = "end_01KG8F2G0G00000000000G0000"


@pytest.fixture
def hooks(conn: Connection) -> dict[str | None, str]:
    """Endpoints with a past, by tenant; their public ids."""
    endpoints = add_endpoints(conn)
    make_past(conn, 120)
    return {tenant: public(conn, id) for tenant, id in endpoints.items()}


@pytest.fixture
def ask(api: Served) -> Callable[[str | None], Client]:
    return lambda tenant: api.operator if tenant is None else api.tenant(tenant)


def pages(client: Client, path: str, limit: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    more = ""
    while True:
        page = client.get(f"{path}?limit={limit}{more}").ok()
        items += page["items"]
        if page["next"] is None:
            return items
        more = f"&before={page['next']}"


def test_the_last_50_attempts_newest_first(api: Served, hooks, conn: Connection) -> None:
    path = f"/webhooks/{hooks['7']}/deliveries"
    told = api.tenant("7").get(path).ok()
    assert len(told["items"]) == 50 and told["next"]
    recorded = [item["recorded_at"] for item in told["items"]]
    assert recorded == sorted(recorded, reverse=True) and recorded[0].endswith("Z")
    dead = next(item for item in told["items"] if item["delivery_status"] == "dead")
    assert (dead["status_code"], dead["error"], dead["error_class"]) == (503, "Service Unavailable", "http_5xx")
    assert dead["retry_count"] == dead["number"] - 1 and dead["next_attempt_at"] is None
    waiting = next(item for item in told["items"] if item["delivery_status"] == "pending")
    assert waiting["next_attempt_at"] > waiting["recorded_at"]
    every = pages(api.operator, path, 7)
    ids = [(item["delivery_id"], item["number"]) for item in every]
    assert (
        len(ids)
        == len(set(ids))
        == one(
            conn,
            "SELECT count(*) FROM rowhook.attempt AS a JOIN rowhook.endpoint AS p ON p.id = a.endpoint_id WHERE p.public_id = %s",
            hooks["7"],
        )
    )
    assert every[:50] == told["items"]


def test_filters(api: Served, hooks, conn: Connection) -> None:
    def found(query: str) -> list[dict[str, Any]]:
        return list(api.operator.get(f"/webhooks/{hooks[None]}/deliveries?limit=100&{query}").ok()["items"])

    assert {item["delivery_status"] for item in found("status=dead")} == {"dead"}
    assert {item["event_type"] for item in found("type=bill.paid")} == {"bill.paid"}
    assert {item["event_type"] for item in found("type=expense.*,no.*")} == {"expense.created", "expense.updated"}
    since = found("")[9]["recorded_at"]
    assert len(found(f"since={since}")) == 10
    assert found("since=2999-01-01T00:00:00Z") == [] and len(found("since=0001-01-01T00:00:00Z")) == 100


def test_attempts_are_told_as_their_model_has_them(api: Served, hooks, conn: Connection) -> None:
    """They are written without one."""
    conn.execute("UPDATE rowhook.attempt SET error_class = 'blocked', error = '10.0.0.1' WHERE id % 5 = 0")
    conn.execute(
        "UPDATE rowhook.attempt SET status_code = NULL, error_class = 'lost', duration = NULL WHERE id % 7 = 0 AND id % 11 > 0"
    )
    conn.execute("UPDATE rowhook.attempt SET duration = '1.234567 s', response_excerpt = 'ä\n\"' WHERE id % 11 = 0")
    conn.execute("UPDATE rowhook.event SET row_key = NULL WHERE id % 2 = 0")
    conn.execute("DELETE FROM rowhook.event WHERE id % 13 = 0")
    for client in (api.operator, api.tenant("8")):
        items = []
        for query in ("", "&status=dead", "&type=expense.*", "&since=2001-01-01T00:00:00Z"):
            told = client.get(f"/webhooks/{hooks['8']}/deliveries?limit=100{query}")
            assert Page[Attempt].model_validate_json(told.text).model_dump(mode="json") == told.ok()
            items += told.json["items"]
        for field in ("latency_ms", "status_code", "error", "response_excerpt", "next_attempt_at", "event_id", "row_key"):
            assert {item[field] is None for item in items} == {True, False}, field
        assert 1234.567 in [item["latency_ms"] for item in items]


def test_whose_attempts_they_are(api: Served, hooks, conn: Connection) -> None:
    """Of none, of one that has none, of one that was removed, of an id that has another's number."""
    path = f"/webhooks/{hooks['7']}/deliveries"
    assert api.tenant("7").get(path.replace(hooks["7"], hooks["7"].lower())).ok() == api.operator.get(path).ok()
    numbered = public_id("end", datetime.now(UTC), parse(hooks["7"], "end")[0])
    api.operator.get(f"/webhooks/{numbered}/deliveries").refused(404, "not-found")
    assert api.tenant("7").get(f"{path}?before=1").ok() == {"items": [], "next": None}
    conn.execute("UPDATE rowhook.endpoint SET state = 'removed' WHERE public_id = %s", [hooks["7"]])
    for query in ("", "?before=1", "?status=dead"):
        api.tenant("7").get(path + query).refused(404, "not-found")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=lost", "status"),
        ("type=a..b", "type"),
        ("since=yesterday", "since"),
        ("since=2026-01-31T09:30:00", "since"),
        ("since=1700000000", "since"),
        ("since=2026-02-30T09:30:00Z", "since"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("before=evt_1", "before"),
        ("colour=red", "colour"),
    ],
)
def test_what_is_wrong_is_named(operator: Client, hooks, query: str, field: str) -> None:
    operator.get(f"/webhooks/{hooks[None]}/deliveries?{query}").refused(422, field=field)


def test_statistics(api: Served, hooks, conn: Connection) -> None:
    told = api.tenant("8").get(f"/webhooks/{hooks['8']}/stats").ok()
    assert told["per"] == "hour" and told["complete"] and told["total"]["attempts"] > 0
    assert told["total"]["succeeded"] + told["total"]["failed"] == told["total"]["attempts"]
    assert sum(bucket["attempts"] for bucket in told["buckets"]) == told["total"]["attempts"]
    assert told["waiting"]["pending"] == told["deliveries"]["pending"] > 0
    assert api.operator.get(f"/webhooks/{hooks['8']}/stats?per=day").ok()["total"] == told["total"]
    api.operator.get(f"/webhooks/{hooks['8']}/stats?per=week").refused(422, field="per")


def test_another_s_is_not_there(api: Served, hooks, conn: Connection) -> None:
    delivery = api.operator.get(f"/webhooks/{hooks['8']}/deliveries").ok()["items"][0]["delivery_id"]
    stranger = api.tenant("7")
    for id in (hooks["8"], hooks[None], NOBODY, "end_1", "x"):
        for part in ("deliveries", "stats"):
            stranger.get(f"/webhooks/{id}/{part}").refused(404, "not-found")
        stranger.post(f"/webhooks/{id}/replay", {}).refused(404, "not-found")
    for id in (delivery, public_id("dlv", conn.execute("SELECT now()").fetchone()[0], 1), "dlv_1", hooks["7"]):  # type: ignore[index]
        stranger.get(f"/deliveries/{id}").refused(404, "not-found")
        for part in ("replay", "cancel"):
            stranger.post(f"/deliveries/{id}/{part}").refused(404, "not-found")
    assert one(conn, "SELECT count(*) FROM rowhook.admin_log") == 0


def test_a_delivery_as_it_is_sent(api: Served, hooks, conn: Connection) -> None:
    conn.execute("UPDATE rowhook.endpoint SET header_names = '{Authorization}', headers = 'secret', headers_key_id = '0123abcd'")
    told = api.tenant("7").get(f"/webhooks/{hooks['7']}/deliveries?status=dead").ok()["items"][0]
    shown = api.tenant("7").get(f"/deliveries/{told['delivery_id']}").ok()
    assert (shown["status"], shown["webhook_id"], shown["attempts_made"]) == ("dead", hooks["7"], 3)
    assert [attempt["number"] for attempt in shown["attempts"]] == [3, 2, 1]
    request = shown["request"]
    assert request["headers"]["Authorization"] == "***" and request["headers"]["webhook-id"] == shown["event_id"]
    assert request["headers"]["X-Rowhook-Event"] == shown["event_type"] and request["url"] == "https://example.com/"
    body = json.loads(request["body"])
    assert (body["id"], body["type"], body["tenant"]) == (shown["event_id"], shown["event_type"], "7")
    conn.execute("TRUNCATE rowhook.event")
    gone = api.tenant("7").get(f"/deliveries/{told['delivery_id']}").ok()
    assert (gone["event_id"], gone["request"]["body"]) == (None, None)


def some(client: Client, hook: str, status: str) -> str:
    return str(client.get(f"/webhooks/{hook}/deliveries?status={status}").ok()["items"][0]["delivery_id"])


STATE = "SELECT state FROM rowhook.delivery WHERE rowhook.public_id('dlv', created_at, id) = %s"
LOG = "SELECT action, subject, tenant FROM rowhook.admin_log ORDER BY id DESC LIMIT 1"


@pytest.mark.parametrize("status", ["dead", "delivered", "cancelled"])
def test_one_is_sent_again(api: Served, hooks, conn: Connection, status: str) -> None:
    client = api.tenant("7")
    delivery = some(client, hooks["7"], status)
    assert client.post(f"/deliveries/{delivery}/replay").ok(202) == {"id": delivery, "status": "pending", "is_out": False}
    assert one(conn, STATE, delivery) == "pending"
    assert conn.execute(LOG).fetchone() == ("delivery.replay", delivery, "7")
    client.post(f"/deliveries/{delivery}/replay", {"new_id": True}).refused(409, "not-replayable")


def test_one_of_a_removed_webhook_is_not_sent_again(api: Served, hooks, conn: Connection) -> None:
    delivery = some(api.operator, hooks["7"], "dead")
    conn.execute("UPDATE rowhook.endpoint SET state = 'removed'")
    api.operator.post(f"/deliveries/{delivery}/replay").refused(409, "not-replayable")
    assert api.operator.get(f"/deliveries/{delivery}").ok()["status"] == "dead"


def test_one_is_given_up(api: Served, hooks, conn: Connection) -> None:
    client = api.tenant("7")
    delivery = some(client, hooks["7"], "pending")
    assert client.post(f"/deliveries/{delivery}/cancel").ok(202) == {"id": delivery, "status": "cancelled", "is_out": False}
    assert one(conn, STATE, delivery) == "cancelled"
    assert conn.execute(LOG).fetchone() == ("delivery.cancel", delivery, "7")
    client.post(f"/deliveries/{delivery}/cancel").refused(409, "ended")


def test_one_that_is_out_is_not_tried_again(api: Served, hooks, conn: Connection) -> None:
    delivery = some(api.operator, hooks["7"], "pending")
    conn.execute(
        "UPDATE rowhook.delivery SET state = 'leased', instance_id = 1, due_at = NULL, leased_at = now() WHERE state = 'pending'"
    )
    assert api.operator.post(f"/deliveries/{delivery}/cancel").ok(202) == {"id": delivery, "status": "leased", "is_out": True}
    given_up = conn.execute("SELECT rowhook.public_id('dlv', created_at, id) FROM rowhook.delivery WHERE last_try").fetchall()
    assert given_up == [(delivery,)]


def count(conn: Connection, hook: str, condition: str) -> int:
    return int(
        one(
            conn,
            "SELECT count(*) FROM rowhook.delivery AS d JOIN rowhook.event AS e ON e.id = d.event_id"
            f"  JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id WHERE p.public_id = %s AND {condition}",
            hook,
        )
    )


def test_a_webhook_s_are_counted_then_sent_again(api: Served, hooks, conn: Connection) -> None:
    client, path = api.tenant("7"), f"/webhooks/{hooks['7']}/replay"
    dead = count(conn, hooks["7"], "d.state = 'dead'")
    counted = client.post(path, {"dry_run": True}).ok()
    assert (counted["matching"], counted["replayed"], counted["dry_run"]) == (dead, 0, True)
    assert count(conn, hooks["7"], "d.state = 'dead'") == dead and one(conn, "SELECT count(*) FROM rowhook.admin_log") == 0
    done = client.post(path).ok()
    assert (done["replayed"], done["remaining"], count(conn, hooks["7"], "d.state = 'dead'")) == (dead, 0, 0)
    assert conn.execute(LOG).fetchone() == ("delivery.replay", hooks["7"], "7")
    assert count(conn, hooks["8"], "d.state = 'dead'") > 0


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        ({"types": ["expense.*"]}, "d.state = 'dead' AND e.type LIKE 'expense.%%'"),
        ({"types": ["bill.paid", "expense.created"]}, "d.state = 'dead' AND e.type IN ('bill.paid', 'expense.created')"),
        ({"row_key": "20"}, "d.state = 'dead' AND e.row_key = '20'"),
        ({"status": "any", "since": "2026-01-01T00:00:00Z", "row_key": "20"}, "d.state <> 'pending' AND e.row_key = '20'"),
        ({"status": "delivered", "since": "{middle}"}, "d.state = 'delivered' AND d.created_at >= '{middle}'"),
        ({"until": "{middle}"}, "d.state = 'dead' AND d.created_at <= '{middle}'"),
    ],
)
def test_what_is_sent_again(api: Served, hooks, conn: Connection, asked: dict[str, Any], condition: str) -> None:
    middle = one(conn, "SELECT created_at FROM rowhook.delivery ORDER BY id LIMIT 1 OFFSET 60").isoformat()
    asked = {name: value.replace("{middle}", middle) if isinstance(value, str) else value for name, value in asked.items()}
    wanted = count(conn, hooks["7"], condition.replace("{middle}", middle))
    assert wanted > 0
    assert api.operator.post(f"/webhooks/{hooks['7']}/replay", asked).ok()["replayed"] == wanted


def test_a_replay_goes_on_where_the_last_ended(api: Served, hooks, monkeypatch: pytest.MonkeyPatch, conn: Connection) -> None:
    from relay.api.calls import replays

    monkeypatch.setattr(replays, "AT_ONCE", 3)
    dead = count(conn, hooks["7"], "d.state = 'dead'")
    path = f"/webhooks/{hooks['7']}/replay"
    assert api.operator.post(path, {}).ok()["remaining"] == dead - 3
    assert api.operator.post(path, {}).ok()["remaining"] == max(dead - 6, 0)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"status": "delivered"}, "since"),
        ({"status": "pending"}, "status"),
        ({"since": "2h"}, "since"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
        ({"types": []}, "types"),
        ({"types": ["a..b"]}, "types.0"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"row_key": "a\u0000"}, "row_key"),
    ],
)
def test_what_is_wrong_in_a_replay_is_named(operator: Client, hooks, asked: dict[str, Any], field: str) -> None:
    operator.post(f"/webhooks/{hooks['7']}/replay", asked).refused(422, "invalid", field)
