"""The record of changes: each in the transaction of its change, never with a secret."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from relay import audit
from tests.api.conftest import Client, Served
from tests.cli.conftest import Rowhook, anywhere, in_folder, rowhook, settings  # noqa: F401 - fixtures
from tests.conftest import Connection
from tests.pipeline.conftest import one
from tests.pipeline.relays import eventually

URL = "https://example.com/hook"
SECRET = "a secret of its own, 30 chars."


def log(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT action, who, via, subject, tenant, before, after FROM rowhook.admin_log ORDER BY id").fetchall()


def test_each_change_through_the_api_is_a_row_with_what_differs(operator: Client, conn: Connection) -> None:
    id = operator.post("/webhooks", {"url": URL, "tenant": "7"}, X_Request_Id="req-1").ok(201)["id"]
    operator.patch(f"/webhooks/{id}", {"events": ["bill.*"], "state": "paused"}).ok()
    operator.patch(f"/webhooks/{id}", {"state": "active", "discard": True}).ok()
    operator.post(f"/webhooks/{id}/rotate-secret", {}).ok()
    operator.post(f"/webhooks/{id}/ping").ok(202)
    operator.delete(f"/webhooks/{id}").ok(204)
    rows = log(conn)
    assert [row[0] for row in rows] == [
        *("endpoint.add", "endpoint.edit", "endpoint.pause", "endpoint.resume", "endpoint.rotate", "endpoint.ping"),
        "endpoint.remove",
    ]
    assert {row[1:5] for row in rows} == {("alice", "api", id, "7")}
    added, edited, paused, *_ = rows
    assert added[5] is None and added[6]["url"] == URL
    assert edited[5:] == ({"events": ["*"]}, {"events": ["bill.*"]})
    assert paused[5:] == ({"state": "active", "state_reason": None}, {"state": "paused", "state_reason": "paused by hand"})
    assert one(conn, "SELECT request_id FROM rowhook.admin_log ORDER BY id LIMIT 1") == "req-1"


def test_each_change_by_a_command_is_one_too(rowhook: Rowhook, conn: Connection, finmind_dsn: str) -> None:  # noqa: F811
    id = rowhook("endpoint", "add", URL, "--json", ok=True).json["id"]
    for command in (("edit", id, "--description", "x"), ("pause", id), ("resume", id), ("rotate", id), ("remove", id)):
        rowhook("endpoint", *command, ok=True)
    rowhook("capture", "expenses", ok=True)
    rowhook("capture", "expenses", ok=True)
    rowhook("capture", "expenses", "--exclude", "notes", ok=True)
    rowhook("uncapture", "expenses", ok=True)
    assert [(row[0], row[2], row[3]) for row in log(conn)] == [
        *((f"endpoint.{action}", "cli", id) for action in ("add", "edit", "pause", "resume", "rotate", "remove")),
        *((action, "cli", "expenses") for action in ("capture.install", "capture.install", "capture.remove")),
    ]
    assert log(conn)[-2][5:] == ({"exclude": None}, {"exclude": ["notes"]})


def test_a_change_that_cannot_be_recorded_is_not_made(operator: Client, conn: Connection) -> None:
    """For each call that changes: the record fails, and so nothing has happened."""
    id = operator.post("/webhooks", {"url": URL}).ok(201)["id"]
    before = conn.execute("SELECT p.*, (SELECT max(s.id) FROM rowhook.secret AS s) FROM rowhook.endpoint AS p").fetchall()
    conn.execute("ALTER TABLE rowhook.admin_log ADD CONSTRAINT no_more CHECK (id < 2)")
    calls = [
        ("POST", "/webhooks", {"url": URL}),
        ("PATCH", f"/webhooks/{id}", {"description": "x"}),
        ("PATCH", f"/webhooks/{id}", {"state": "paused"}),
        ("PATCH", f"/webhooks/{id}", {"state": "active", "discard": True}),
        ("POST", f"/webhooks/{id}/rotate-secret", {}),
        ("POST", f"/webhooks/{id}/ping", None),
        ("DELETE", f"/webhooks/{id}", None),
    ]
    for call in calls:
        operator.ask(*call).refused(500)
    after = conn.execute("SELECT p.*, (SELECT max(s.id) FROM rowhook.secret AS s) FROM rowhook.endpoint AS p").fetchall()
    assert after == before
    assert [one(conn, f"SELECT count(*) FROM rowhook.{table}") for table in ("admin_log", "event", "delivery")] == [1, 0, 0]


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_a_server_process_that_dies_in_the_middle_leaves_nothing(
    api: Served, conn: Connection, monkeypatch: pytest.MonkeyPatch, mutant: bool
) -> None:
    """1 The change is made, its record not yet. 2 The backend is ended. 3 Neither is there. The mutant commits in between."""
    arrived, go_on = threading.Event(), threading.Event()
    real = audit.write

    def held(connection: psycopg.Connection[Any], *args: Any, **kwargs: Any) -> None:
        if mutant:
            connection.execute("COMMIT")
        arrived.set()
        go_on.wait(20)
        real(connection, *args, **kwargs)

    monkeypatch.setattr(audit, "write", held)
    asking = threading.Thread(target=lambda: api.operator.post("/webhooks", {"url": URL}))
    asking.start()
    assert arrived.wait(20)
    pid = one(conn, "SELECT pid FROM pg_stat_activity WHERE application_name = 'rowhook api' AND state LIKE '%in transaction%'"
                    " OR application_name = 'rowhook api' AND query = 'COMMIT'")  # fmt: skip
    assert one(conn, "SELECT pg_terminate_backend(%s)", pid)
    eventually(lambda: one(conn, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid) == 0)
    go_on.set()
    asking.join()
    monkeypatch.setattr(audit, "write", real)
    counts = [one(conn, f"SELECT count(*) FROM rowhook.{table}") for table in ("endpoint", "secret", "admin_log")]
    assert counts == ([1, 1, 0] if mutant else [0, 0, 0])
    api.operator.post("/webhooks", {"url": URL}).ok(201)


def test_no_secret_is_in_the_record_in_an_answer_or_in_the_log(
    api: Served, conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Every kind of secret that the API takes or makes; it is in the one answer that shows it, and nowhere else."""
    caplog.set_level("DEBUG")
    client, answers = api.operator, []
    given = {"url": URL, "secret": SECRET, "headers": {"Authorization": "Bearer header-of-the-endpoint"}}
    added = client.post("/webhooks", given, Idempotency_Key="k").ok(201)
    made = client.post("/webhooks", {"url": URL, "scheme": "ed25519"}).ok(201)
    assert made["secret"] is None and made["public_key"].startswith("whpk_")
    rotated = client.post(f"/webhooks/{added['id']}/rotate-secret", {}).ok()
    client.post("/webhooks", {**given, "color": SECRET}).refused(422)
    client.post("/webhooks", {"url": URL, "secret": "short secret"}).refused(422, field="secret")
    client.patch(f"/webhooks/{added['id']}", {"headers": {"X-Key": "another-header-value"}}).ok()
    for path in ("/webhooks", f"/webhooks/{added['id']}", "/openapi.json", "/health/ready"):
        answers.append(client.get(path).text)
    answers.append(client.patch(f"/webhooks/{added['id']}", {"description": "x"}).text)
    answers.append(client.post("/webhooks", {"url": URL, "secret": "short secret"}).text)
    answers.append(client.post("/webhooks", {**given, "color": SECRET}).text)
    dump = str(
        conn.execute("SELECT l::text FROM rowhook.admin_log AS l UNION SELECT p::text FROM rowhook.endpoint AS p").fetchall()
    )
    secrets = [SECRET, rotated["secret"], "header-of-the-endpoint", "another-header-value", client.token, "short secret"]
    secrets += [secret.removeprefix("whsec_") for secret in (rotated["secret"], added["secret_whsec"])]
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    assert "/webhooks" in logged, "this was a log"
    for secret in secrets:
        for where, text in {"answers": "".join(answers), "record": dump, "log": logged}.items():
            assert str(secret) not in text, where
