"""The API with nothing but role rowhook_relay: it has all that every call needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import Client, Serve
from tests.cluster import Cluster
from tests.conftest import Connection

URL = "https://example.com/hook"


@pytest.fixture
def client(cluster: Cluster, conn: Connection, serve: Serve) -> Iterator[Client]:
    conn.execute("DROP ROLE IF EXISTS api_of_the_test; CREATE ROLE api_of_the_test LOGIN IN ROLE rowhook_relay")
    yield serve(cluster.dsn(conn.info.dbname, user="api_of_the_test")).operator
    conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'api_of_the_test'")
    conn.execute("DROP ROLE api_of_the_test")


def test_every_call_works(client: Client) -> None:
    id = client.post("/webhooks", {"url": URL, "headers": {"X-Key": "v"}}, Idempotency_Key="k").ok(201)["id"]
    client.post("/webhooks", {"url": URL, "headers": {"X-Key": "v"}}, Idempotency_Key="k").ok(201)
    client.post(f"/webhooks/{id}/ping").ok(202)
    client.patch(f"/webhooks/{id}", {"ordered": True, "state": "paused"}).ok()
    client.patch(f"/webhooks/{id}", {"state": "active", "discard": True}).ok()
    client.post(f"/webhooks/{id}/rotate-secret", {"overlap": "0s"}).ok()
    assert client.get(f"/webhooks/{id}").ok()["ordered"] is True
    assert client.get("/webhooks").ok()["next"] is None
    client.delete(f"/webhooks/{id}").ok(204)
    assert client.get("/health/ready").status == 200
