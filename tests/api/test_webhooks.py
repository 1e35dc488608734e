"""Webhooks through the API: each call's success and its refusals."""

from __future__ import annotations

from tests.api.conftest import Client, Served

URL = "https://example.com/hook"


def test_add_shows_the_secret_once(operator: Client) -> None:
    told = operator.post("/webhooks", {"url": URL, "events": ["expense.*"], "headers": {"Authorization": "Bearer x"}})
    added = told.ok(201)
    assert {"id", "url", "events", "tenant", "secret", "state"} <= added.keys()
    assert added["secret"].startswith("whsec_") and added["state"] == "active" and added["headers"] == ["Authorization"]
    assert told.headers["location"] == f"/webhooks/{added['id']}" and told.headers["etag"] == '"1"'
    shown = operator.get(told.headers["location"])
    assert shown.ok()["secrets"][0]["scheme"] == "hmac"
    assert added["secret"] not in shown.text and "Bearer x" not in shown.text
    assert operator.get("/webhooks/").ok()["items"][0]["id"] == added["id"]


def test_no_token_is_401_and_a_wrong_one_too(api: Served) -> None:
    for client in (api.nobody, api.client("0123456789abcdef-wrong"), api.client("a.b.c")):
        told = client.get("/webhooks")
        told.refused(401, "unauthorized")
        assert told.headers["www-authenticate"].startswith('Bearer realm="rowhook"')
    assert "error=" not in api.nobody.get("/webhooks").headers["www-authenticate"]


def test_a_field_that_is_wrong_is_named(operator: Client) -> None:
    operator.post("/webhooks", {"url": "ftp://x"}).refused(422, "invalid", "url")
    operator.post("/webhooks", {"url": URL, "events": ["a", "b..c"]}).refused(422, "invalid", "events.1")
    operator.post("/webhooks", {"url": URL, "color": "red"}).refused(422, "invalid", "color")
    for field, value in (("timeout", "25h"), ("timeout", "999999.999d"), ("retry", "2s,31d"), ("max_in_flight", 10_001)):
        operator.post("/webhooks", {"url": URL, field: value}).refused(422, "invalid", field)
    operator.post("/webhooks", {"url": "https://10.1.2.3/"}).refused(422, "invalid", "url")
    operator.post("/webhooks", b"{").refused(400, "not-json")


def test_a_tenant_is_not_told_where_a_name_leads_nor_what_would_allow_it(api: Served) -> None:
    for url in ("https://10.1.2.3/", "https://example.com:22/"):
        assert "ROWHOOK_" in api.operator.post("/webhooks", {"url": url}).refused(422, "invalid", "url")["detail"]
        told = api.tenant("7").post("/webhooks", {"url": url}).refused(422, "invalid", "url")["detail"]
        assert "may not go there" in told and "ROWHOOK_" not in told and "10.1" not in told


def test_a_call_without_a_body_takes_an_empty_object_too(operator: Client) -> None:
    id = operator.post("/webhooks", {"url": URL}).ok(201)["id"]
    operator.post(f"/webhooks/{id}/ping", {}).ok(202)
    operator.post(f"/webhooks/{id}/ping", {"a": 1}).refused(422, "invalid", "body")


def test_change_pause_resume_remove(operator: Client) -> None:
    id = operator.post("/webhooks", {"url": URL}).ok(201)["id"]
    told = operator.patch(f"/webhooks/{id}", {"events": ["bill.*"], "state": "paused"})
    assert (told.ok()["events"], told.ok()["state"]) == (["bill.*"], "paused")
    operator.patch(f"/webhooks/{id}", {"description": "x"}, If_Match='"1"').refused(412)
    assert operator.patch(f"/webhooks/{id}", {"description": "x"}, If_Match=told.headers["etag"]).ok()["description"] == "x"
    assert operator.patch(f"/webhooks/{id}/", {"state": "active", "discard": True}).ok()["state"] == "active"
    assert operator.delete(f"/webhooks/{id}").ok(204) is None
    for told in (operator.get(f"/webhooks/{id}"), operator.delete(f"/webhooks/{id}"), operator.patch(f"/webhooks/{id}", {})):
        told.refused(404, "not-found")


def test_filter_shape_template_and_rate(api: Served) -> None:
    client = api.operator
    given = {"url": URL, "filter": "$.data.amount > 1000", "shape": "thin", "rate": "10/s"}
    added = client.post("/webhooks", given).ok(201)
    assert {name: added[name] for name in given} == given
    path = f"/webhooks/{added['id']}"
    assert client.patch(path, {"filter": None, "rate": None, "shape": None}).ok()["shape"] == "standard"
    assert client.patch(path, {"template": '{"text": {{ type | tojson }}}'}).ok()["shape"] == "template"
    assert client.patch(path, {"template": None}).ok()["shape"] == "standard"
    client.post("/webhooks", {"url": URL, "filter": "$.data.amount >"}).refused(422, "invalid", "filter")
    client.post("/webhooks", {"url": URL, "rate": "5000/s"}).refused(422, "invalid", "rate")
    client.patch(path, {"template": "{% for"}).refused(422, "invalid", "template")
    api.tenant(1).post("/webhooks", {"url": URL, "template": "{}"}).refused(403, "forbidden", "template")
