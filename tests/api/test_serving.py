"""What is around every call: pages, problems, request ids, CORS, limits, health, the reference."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import pytest

from relay.api.limits import Buckets
from relay.api.problem import Problem
from relay.migrations import migrate
from tests.api.conftest import Client, Serve, Served, Told
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.pipeline.conftest import one
from tests.pipeline.relays import eventually

URL = "https://example.com/hook"
END_SESSIONS = """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                   WHERE application_name = 'rowhook api' AND datname = current_database()"""


# --- pages ------------------------------------------------------------------------------------------------------------


def test_pages_hold_each_once_newest_first_whatever_is_added_meanwhile(operator: Client) -> None:
    added = [operator.post("/webhooks", {"url": URL}).ok(201)["id"] for _ in range(7)]
    seen: list[str] = []
    path = "/webhooks?limit=3"
    while path:
        told = operator.get(path).ok()
        seen += [item["id"] for item in told["items"]]
        path = f"/webhooks?limit=3&before={told['next']}" if told["next"] else ""
        operator.post("/webhooks", {"url": URL}).ok(201)
    assert seen == added[::-1]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=1.0", "limit=", "limit=1_0", "before=x", "before=evt_00", "color=red", "limit=1&limit=2"],
)
def test_a_parameter_that_is_wrong_is_named(operator: Client, query: str) -> None:
    operator.get(f"/webhooks?{query}").refused(422, "invalid", query.split("=")[0])


# --- problems ---------------------------------------------------------------------------------------------------------


def test_refusals_of_every_kind_are_problem_documents(operator: Client) -> None:
    operator.get("/nowhere").refused(404, "not-found")
    told = operator.ask("PUT", "/webhooks", {})
    told.refused(405, "method-not-allowed")
    assert set(told.headers["allow"].split(",")) >= {"GET", "POST"}
    operator.ask("POST", "/webhooks", b"url=x", {"Content-Type": "application/x-www-form-urlencoded"}).refused(415)
    operator.ask("POST", "/webhooks", b"[]").refused(422, "invalid")
    operator.ask("POST", "/webhooks", b'{"url": "\\ud800"}').refused(400, "not-json")
    operator.ask("POST", "/webhooks", b'{"url": "https://example.com/", "description": "\\u0000"}').refused(
        422, field="description"
    )
    operator.get("/webhooks/end_00000000000000000000000000").refused(404)
    operator.get("/webhooks/%00").refused(404)


def test_a_body_that_is_too_large_is_413(serve: Serve) -> None:
    api = serve(api_max_body="2KiB")
    api.operator.post("/webhooks", {"url": URL, "description": "x" * 4000}).refused(413, "too-large")


def test_without_the_database_it_is_503_and_ready_says_so(serve: Serve, cluster: Cluster) -> None:
    api = serve(cluster.dsn("no_such_database"))
    told = api.operator.get("/webhooks")
    told.refused(503, "unavailable")
    assert told.headers["retry-after"] == "1"
    ready = api.nobody.get("/health/ready")
    assert (ready.status, ready.json["status"], ready.json["checks"]["database"]["verdict"]) == (503, "not ready", "bad")
    assert api.nobody.get("/health/live").ok()["status"] == "live"


def test_who_asks_hears_nothing_of_a_connection_that_was_ended(operator: Client, conn: Connection) -> None:
    for _ in range(5):
        operator.get("/webhooks").ok()
        assert one(conn, END_SESSIONS)
        operator.get("/webhooks").ok()


def test_it_comes_back_with_the_database(serve: Serve, start_cluster: Callable[..., Cluster]) -> None:
    """1 Asked once. 2 Postgres crashes; a call is refused. 3 It is there again, and so is the API, at once."""
    cluster = start_cluster()
    migrate(cluster.dsn(database := cluster.create_database()))
    api = serve(cluster.dsn(database))
    api.operator.post("/webhooks", {"url": URL}).ok(201)
    cluster.kill()
    api.operator.get("/webhooks").refused(503, "unavailable")
    cluster.launch()
    assert len(api.operator.get("/webhooks").ok()["items"]) == 1


def test_a_request_id_is_given_back_and_stands_in_the_log(operator: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "relay.api.doors")
    assert operator.get("/webhooks", X_Request_Id="mine-1").headers["x-request-id"] == "mine-1"
    made = operator.get("/webhooks", X_Request_Id="no good: one").headers["x-request-id"]
    assert made != "no good: one" and len(made) == 16
    (line,) = [record for record in caplog.records if getattr(record, "request_id", "") == "mine-1"]
    assert (line.getMessage(), line.status, line.who) == ("GET /webhooks", 200, "alice")  # type: ignore[attr-defined]


# --- CORS -------------------------------------------------------------------------------------------------------------


def test_pages_of_named_origins_may_ask_and_no_others(serve: Serve) -> None:
    client = serve(cors_origins="https://app.example").operator
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    told = client.ask("OPTIONS", "/webhooks", headers=preflight)
    assert told.status == 204 and "POST" in told.headers["access-control-allow-methods"]
    for status in (client.get("/webhooks", Origin="https://app.example"), client.get("/none", Origin="https://app.example")):
        assert status.headers["access-control-allow-origin"] == "https://app.example"
        assert "ETag" in status.headers["access-control-expose-headers"] and status.headers["vary"] == "Origin"
    refused = client.get("/webhooks", Origin="https://evil.example")
    refused.refused(403, "foreign-page")
    assert "access-control-allow-origin" not in refused.headers
    assert client.ask("OPTIONS", "/webhooks", headers={**preflight, "Origin": "https://evil.example"}).status == 403


# --- limits -----------------------------------------------------------------------------------------------------------


def test_each_principal_has_a_rate_of_its_own(serve: Serve) -> None:
    api = serve(api_rate="2")
    told = [api.operator.get("/webhooks") for _ in range(20)]
    refused = [one for one in told if one.status == 429]
    assert told[0].status == 200 and refused
    refused[0].refused(429, "too-many-requests")
    assert int(refused[0].headers["retry-after"]) == 1
    api.tenant(1).get("/webhooks").ok()


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(2.0, clock=lambda: now[0])
    for _ in range(4):
        buckets.take("a")
    with pytest.raises(Problem):
        buckets.take("a")
    now[0] = 0.49
    with pytest.raises(Problem):
        buckets.take("a")
    now[0] = 0.5
    buckets.take("a")
    now[0] = 100.0
    for _ in range(4):
        buckets.take("a")
    with pytest.raises(Problem):
        buckets.take("a")


# --- health and the reference -----------------------------------------------------------------------------------------


def _not_ready(api: Served) -> Told | None:
    told = api.nobody.get("/health/ready")
    return told if told.status == 503 else None


def test_ready_names_each_check(api: Served, conn: Connection) -> None:
    told = api.nobody.get("/health/ready").ok()
    assert list(told["checks"]) == ["database", "migrations", "bell", "dispatcher"]
    conn.execute("DELETE FROM _yoyo_migration WHERE migration_id LIKE '0014%'")
    refused = eventually(partial(_not_ready, api))
    assert refused
    assert refused.json["checks"]["migrations"]["verdict"] == "bad" and "0014" in refused.json["checks"]["migrations"]["why"]


def test_ready_says_that_nobody_dispatches_what_waits(api: Served, conn: Connection) -> None:
    conn.execute(
        "INSERT INTO rowhook.event (op, type, data, occurred_at) VALUES ('emit', 'a.b', '1', now() - interval '2 minutes')"
    )
    told = eventually(partial(_not_ready, api))
    assert told and (told.json["checks"]["dispatcher"]["verdict"], told.json["checks"]["bell"]["verdict"]) == ("bad", "bad")


def test_the_reference_and_all_that_it_loads_is_served_here(api: Served) -> None:
    page = api.nobody.get("/docs/")
    assert page.status == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert "http:" not in page.text and "https:" not in page.text, "nothing comes from elsewhere"
    for path in ("/docs/page.js", "/docs/page.css", "/openapi.json"):
        assert api.nobody.get(path).status == 200
    assert api.nobody.get("/docs").status == 308
    assert "innerHTML" not in api.nobody.get("/docs/page.js").text


def test_the_loop_goes_on_while_calls_wait_for_the_database(api: Served, conn: Connection, connect: Connect) -> None:
    """Calls that wait for a lock take threads, not the loop: what needs no database is answered meanwhile."""
    import threading

    id = api.operator.post("/webhooks", {"url": URL}).ok(201)["id"]
    with connect(autocommit=False) as holding:
        holding.execute("SELECT FROM rowhook.endpoint FOR UPDATE")
        asking = [threading.Thread(target=api.operator.patch, args=(f"/webhooks/{id}", {"state": "paused"})) for _ in range(4)]
        for thread in asking:
            thread.start()
        eventually(lambda: one(conn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") >= 3)
        started = time.monotonic()
        api.nobody.get("/health/live").ok()
        assert time.monotonic() - started < 2
    for thread in asking:
        thread.join()
