"""Events over HTTP: listed, each with its trail, emitted; the catalog."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import Client, Served
from tests.api.making import add_endpoints, make_past, public
from tests.conftest import Connection
from tests.pipeline.conftest import one


@pytest.fixture
def hooks(conn: Connection) -> dict[str | None, str]:
    endpoints = add_endpoints(conn)
    make_past(conn, 60)
    return {tenant: public(conn, id) for tenant, id in endpoints.items()}


def test_a_tenant_s_events_are_its_own(api: Served, hooks) -> None:
    every = api.operator.get("/events?limit=100").ok()["items"]
    own = api.tenant("7").get("/events/?limit=100").ok()["items"]
    assert own == [event for event in every if event["tenant"] == "7"] and 0 < len(own) < len(every) == 60
    assert api.tenant("7").get("/events?tenant=7&limit=100").ok()["items"] == own
    api.tenant("7").get("/events?tenant=8").refused(403, "forbidden", "tenant")
    assert api.tenant("9").get("/events").ok()["items"] == []
    of_eight = api.operator.get("/events?tenant=8&limit=100").ok()["items"]
    assert [event["id"] for event in of_eight] == [event["id"] for event in every if event["tenant"] == "8"]


def test_pages_and_filters(operator: Client, hooks) -> None:
    every = operator.get("/events?limit=100").ok()["items"]
    first = operator.get("/events?limit=25").ok()
    second = operator.get(f"/events?limit=25&before={first['next']}").ok()
    third = operator.get(f"/events?limit=25&before={second['next']}").ok()
    assert first["items"] + second["items"] + third["items"] == every and third["next"] is None
    found = operator.get("/events?type=expense.*&table=bills&row_key=3").ok()["items"]
    assert found and all((event["table"], event["row_key"]) == ("bills", "3") for event in found)
    times = f"since={every[40]['occurred_at']}&until={every[20]['occurred_at']}"
    assert operator.get(f"/events?limit=100&{times}").ok()["items"] == every[20:41]


def test_an_event_s_trail(api: Served, hooks, conn: Connection) -> None:
    event = api.tenant("7").get("/events").ok()["items"][0]
    shown = api.operator.get(f"/events/{event['id']}").ok()
    assert {name: shown[name] for name in event} == event and shown["dispatched"] and not shown["more"]
    assert json.loads(shown["body"])["id"] == event["id"]
    ways = {stop["webhook_id"]: stop for stop in shown["webhooks"]}
    assert ways.keys() == set(hooks.values())
    assert (ways[hooks["8"]]["reason"], ways[hooks["8"]]["delivery_id"]) == ("tenant", None)
    assert ways[hooks["7"]]["delivery_id"].startswith("dlv_")
    own = api.tenant("7").get(f"/events/{event['id'].lower()}").ok()
    assert [stop["webhook_id"] for stop in own["webhooks"]] == [hooks["7"]]
    for id in (event["id"], "evt_1", "x", hooks["7"], f"evt_{'0' * 26}", f"evt_{'7' + 'Z' * 25}"):
        api.tenant("8").get(f"/events/{id}").refused(404, "not-found")
        api.tenant("8").post(f"/events/{id}/replay", {}).refused(404, "not-found")


def test_a_tenant_s_replay_of_an_event_reaches_its_own_webhooks(api: Served, hooks, conn: Connection) -> None:
    conn.execute("UPDATE rowhook.delivery SET state = 'dead', due_at = NULL, ended_at = now()")
    event = api.tenant("7").get("/events").ok()["items"][0]["id"]
    assert api.operator.post(f"/events/{event}/replay", {"dry_run": True}).ok()["matching"] == 2
    assert api.tenant("7").post(f"/events/{event}/replay").ok()["replayed"] == 1
    pending = (
        "SELECT p.public_id FROM rowhook.delivery AS d JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id"
        " WHERE d.state = 'pending'"
    )
    assert conn.execute(pending).fetchall() == [(hooks["7"],)]
    assert api.operator.post(f"/events/{event}/replay", {"status": "any"}).ok()["replayed"] == 1


def test_an_event_is_emitted_once_per_key(api: Served, conn: Connection) -> None:
    asked = {
        "type": "order.shipped",
        "data": {"price": 99.5, "who": "Zoë", "big": 12345678901234567890},
        "key": "42",
        "tenant": "7",
    }
    told = api.operator.post("/events", asked, Idempotency_Key="order-42")
    id = told.ok(201)["id"]
    assert told.headers["location"] == f"/events/{id}"
    assert api.operator.post("/events", asked, Idempotency_Key="order-42").ok(201)["id"] == id
    rows = conn.execute("SELECT op::text, type, row_key, tenant, data::text FROM rowhook.event WHERE op <> 'probe'").fetchall()
    assert rows == [("emit", "order.shipped", "42", "7", json.dumps(asked["data"], ensure_ascii=False))]
    assert api.tenant("7").get(f"/events/{id}").ok()["type"] == "order.shipped"
    assert conn.execute("SELECT action, subject, tenant FROM rowhook.admin_log").fetchall() == [("event.emit", id, "7")]


def test_a_tenant_may_not_emit(api: Served, conn: Connection) -> None:
    api.tenant("7").post("/events", {"type": "order.shipped"}).refused(403)
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 0


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"type": "a..b"},
        {"type": "endpoint.disabled"},
        {"type": "a.b", "tenant": ""},
        {"type": "a.b", "id": 1},
        {"type": "a\u0000"},
    ],
)
def test_what_can_t_be_emitted(operator: Client, asked: dict[str, object]) -> None:
    operator.post("/events", asked).refused(422, "invalid")


def test_numbers_that_json_does_not_have(operator: Client) -> None:
    told = operator.post("/events", b'{"type": "a.b", "data": 1e999}')
    assert told.status in (400, 422)


def test_the_catalog(api: Served, finmind: str, conn: Connection) -> None:
    conn.execute("CREATE TABLE settings (id int PRIMARY KEY)")
    conn.execute("SELECT rowhook.capture('settings')")
    known = {one["name"]: one for one in api.operator.get("/event-types").ok()["items"]}
    assert {"expense.created", "expense.updated", "expense.deleted", "setting.created", "endpoint.disabled"} <= known.keys()
    created = known["expense.created"]
    assert created["table"] == "expenses" and created["example"]["data"]["id"] == 42
    assert created["body_schema"]["properties"]["data"]["properties"]["currency"]["maxLength"] == 10
    own = {one["name"] for one in api.tenant("7").get("/event-types").ok()["items"]}
    assert "expense.created" in own and not own & {"setting.created", "expense.truncated", "schema.changed"}


def test_versions_of_schemas(api: Served, finmind: str, conn: Connection) -> None:
    conn.execute("ALTER TABLE expenses RENAME user_id TO whose; ALTER TABLE expenses DROP COLUMN whose")
    for caller, aside in ((api.operator, "there is no column whose any more"), (api.tenant("7"), None)):
        known = {one["name"]: one for one in caller.get("/event-types").ok()["items"]}
        if "expense.created" in known:
            created = known["expense.created"]
            assert (created["set_aside"], [version["version"] for version in created["versions"]]) == (aside, [1, 2, 3])
            (renamed,) = created["versions"][1]["changes"]
            assert renamed.items() >= {"change": "renamed", "column": "whose", "was": "user_id", "compatible": False}.items()
