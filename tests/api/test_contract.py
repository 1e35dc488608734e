"""FinMind's contract: two users with FinMind's own JWTs manage their webhooks, and neither sees the other's by any call there is.

The last of these walks through every operation of the served document: a call that is added is tried too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.conftest import Client, Serve, Served, Told
from tests.conftest import Connection
from tests.pipeline.conftest import one

URL = "https://example.com/hook"


def add(client: Client, **more: Any) -> dict[str, Any]:
    added: dict[str, Any] = client.post("/webhooks/", {"url": URL, "events": ["expense.*"], **more}).ok(201)
    return added


def ids(client: Client) -> list[str]:
    return [item["id"] for item in client.get("/webhooks/").ok()["items"]]


def test_two_users_manage_their_own(api: Served) -> None:
    alice, bob = api.tenant(1), api.tenant(2)
    mine, his = add(alice), add(bob)
    assert (mine["tenant"], his["tenant"]) == ("1", "2")
    assert (ids(alice), ids(bob)) == ([mine["id"]], [his["id"]])
    assert alice.patch(f"/webhooks/{mine['id']}/", {"events": ["bill.*"]}).ok()["events"] == ["bill.*"]
    for ask in (bob.get, bob.delete):
        ask(f"/webhooks/{mine['id']}").refused(404, "not-found")
    bob.patch(f"/webhooks/{mine['id']}", {"state": "paused"}).refused(404, "not-found")
    assert alice.get(f"/webhooks/{mine['id']}").ok()["state"] == "active"
    alice.delete(f"/webhooks/{mine['id']}").ok(204)
    assert (ids(alice), ids(bob)) == ([], [his["id"]])
    assert len(api.operator.get("/webhooks?state=removed").ok()["items"]) == 1


def test_what_is_the_operators_is_refused_to_a_tenant(api: Served) -> None:
    alice = api.tenant(1)
    theirs = add(api.operator)["id"]
    alice.get(f"/webhooks/{theirs}").refused(404)
    for body, field in (({"tenant": "2"}, "tenant"), ({"max_in_flight": 100}, "max_in_flight"), ({"timeout": "1h"}, "timeout")):
        told = alice.post("/webhooks", {"url": URL, **body})
        told.refused(403, "forbidden", field)
        assert 'error="insufficient_scope"' in told.headers["www-authenticate"]
    mine = add(alice, tenant="1", timeout="5s")["id"]
    alice.patch(f"/webhooks/{mine}", {"tenant": None}).refused(403, "forbidden", "tenant")
    alice.patch(f"/webhooks/{mine}", {"timeout": "16s"}).refused(403, "forbidden", "timeout")
    alice.get("/webhooks?tenant=2").refused(403, "forbidden", "tenant")
    alice.post("/webhooks", {"url": URL, "ca_file": "/etc/passwd"}).refused(422, "invalid", "ca_file")


def test_a_tenant_is_not_shown_the_default_secret(serve: Serve) -> None:
    """It signs for the operator's."""
    api = serve(default_secret="the operator's default secret")
    assert add(api.operator)["secret"] == "the operator's default secret"
    secrets = [add(api.tenant(user))["secret"] for user in (1, 2)]
    assert all(secret.startswith("whsec_") for secret in secrets) and len(set(secrets)) == 2


def test_the_limit_holds_whoever_comes_at_once(serve: Serve, conn: Connection) -> None:
    import threading

    api = serve(max_endpoints_per_tenant="3", api_connections="8")
    alice = api.tenant(1)
    told: list[Told] = []
    asking = [threading.Thread(target=lambda: told.append(alice.post("/webhooks", {"url": URL}))) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert sorted(one.status for one in told) == [201] * 3 + [409] * 5
    next(one for one in told if one.status == 409).refused(409, "too-many-webhooks")
    assert one(conn, "SELECT count(*) FROM rowhook.endpoint WHERE tenant = '1'") == 3
    add(api.operator, tenant="1")
    add(api.tenant(2))
    alice.delete(f"/webhooks/{ids(alice)[0]}").ok(204)
    alice.post("/webhooks", {"url": URL}).refused(409)
    alice.delete(f"/webhooks/{ids(alice)[0]}").ok(204)
    add(alice)


# --- every call that there is -----------------------------------------------------------------------------------------


@pytest.fixture
def history(api: Served, conn: Connection) -> Callable[[str], dict[str, str]]:
    """Make a tenant's webhook, with an event, a delivery and an attempt of it: their ids, and words that are nobody else's."""

    def make(tenant: str) -> dict[str, str]:
        word = f"word-of-{tenant}"
        hook = add(api.tenant(tenant), url=f"https://example.com/{word}", description=word)["id"]
        sent = api.tenant(tenant).post(f"/webhooks/{hook}/ping").ok(202)
        conn.execute(
            "UPDATE rowhook.delivery SET state = 'dead', due_at = NULL, ended_at = now(), attempts = 1"
            " WHERE rowhook.public_id('dlv', created_at, id) = %s",
            [sent["delivery_id"]],
        )
        columns = {"delivery_id": "d.id", "number": "1", "instance_id": "1", "started_at": "now()", "error_class": "'timeout'"}
        columns["error"] = f"'{word}'"
        if one(conn, "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'rowhook' AND table_name = 'attempt'"
                     " AND column_name = 'endpoint_id'"):  # fmt: skip
            columns["endpoint_id"] = "d.endpoint_id"
        conn.execute(
            f"INSERT INTO rowhook.attempt ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM rowhook.delivery AS d"
            " WHERE rowhook.public_id('dlv', d.created_at, d.id) = %s",
            [sent["delivery_id"]],
        )
        event = one(conn, "SELECT rowhook.emit('order.placed', json_build_object('said', %s::text), %s, %s)", word, word, tenant)
        return {"webhooks": hook, "events": sent["event_id"], "deliveries": sent["delivery_id"], "emitted": event, "word": word}

    return make


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def with_ids(path: str, theirs: dict[str, str]) -> str:
    """``/webhooks/{id}/…`` with that tenant's id of such a thing."""
    return path.replace("{id}", theirs.get(path.split("/")[1], "none"))


def body_of(operation: dict[str, Any], document: dict[str, Any]) -> Any:
    """The smallest one that its schema takes."""
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    examples = {"url": URL, "type": "order.placed", "data": {}}
    return {name: examples.get(name, "order.placed") for name in schema.get("required", [])}


OF_THE_OTHER = """
SELECT (SELECT json_agg(p) FROM rowhook.endpoint AS p WHERE p.tenant = '2')::text,
       (SELECT json_agg(d ORDER BY d.id) FROM rowhook.delivery AS d JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
         WHERE p.tenant = '2')::text,
       (SELECT count(*) FROM rowhook.event WHERE tenant IS DISTINCT FROM '1')
"""


def test_neither_sees_the_others_by_any_call(api: Served, conn: Connection, history: Callable[[str], dict[str, str]]) -> None:
    """Each operation with the other's ids: 404, nothing of theirs in the answer, and nothing of theirs has changed."""
    mine, theirs = history("1"), history("2")
    alice = api.tenant("1")
    document = alice.get("/openapi.json").ok()
    before = conn.execute(OF_THE_OTHER).fetchall()
    calls = [one for one in operations(document) if "text/event-stream" not in str(one[2]["responses"])]  # those have no end
    for method, path, operation in calls:
        for known in (theirs, {**theirs, "events": theirs["emitted"]}):
            told = alice.ask(method, with_ids(path, known), body_of(operation, document))
            if "{id}" in path:
                told.refused(404)
            assert theirs["word"] not in told.text, (method, path)
            shown = [kind for kind in ("webhooks", "events", "deliveries", "emitted") if theirs[kind] in told.text]
            assert not shown or told.status == 404, (method, path)
    assert conn.execute(OF_THE_OTHER).fetchall() == before
    assert len(calls) >= 8
    assert mine["word"] in alice.get("/webhooks").text and theirs["word"] in api.tenant("2").get("/webhooks").text
