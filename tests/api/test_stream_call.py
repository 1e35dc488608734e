"""The stream over HTTP: live, a tenant's own, resumed without a loss or a repeat."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from relay.api.calls import stream
from tests.api.conftest import Client, Served
from tests.api.making import add_endpoints, public
from tests.api.test_follow import RECORD
from tests.conftest import Connection
from tests.pipeline.relays import eventually


class Heard:
    """A stream that is read: one event after the other."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.last_id: str | None = None

    def next(self) -> dict[str, Any]:
        """The next that tells something."""
        while True:
            fields = self._fields()
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                assert fields["event"] == "attempt"
                return dict(json.loads(fields["data"]))

    def ends(self) -> None:
        while self._response.readline():
            pass

    def _fields(self) -> dict[str, str]:
        """Of one block, up to its empty line."""
        fields: dict[str, str] = {}
        while line := self._response.readline().decode():
            if line == "\n":
                return fields
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
        raise AssertionError(f"the stream has ended: {fields}")


@contextlib.contextmanager
def heard(client: Client, query: str = "", last_id: str | None = None) -> Iterator[Heard]:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    headers = {"Authorization": f"Bearer {client.token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    connection.request("GET", f"/stream{query}", headers=headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.headers["content-type"].startswith("text/event-stream")
    try:
        yield Heard(response)
    finally:
        connection.close()


@pytest.fixture
def endpoints(conn: Connection) -> dict[str | None, int]:
    conn.execute("CREATE SEQUENCE numbers")
    return add_endpoints(conn)


def record(conn: Connection, endpoint: int, count: int = 1) -> list[int]:
    return sorted(id for (id,) in conn.execute(RECORD, {"endpoint": endpoint, "count": count}).fetchall())


def test_a_tenant_hears_its_own_as_they_are_recorded(api: Served, conn: Connection, endpoints) -> None:
    with heard(api.tenant("7")) as mine, heard(api.operator) as every:
        record(conn, endpoints["8"])
        record(conn, endpoints["7"])
        assert [every.next()["tenant"], every.next()["tenant"]] == ["8", "7"]
        told = mine.next()
        assert (told["webhook_id"], told["status_code"], told["delivery_status"]) == (
            public(conn, endpoints["7"]),
            204,
            "delivered",
        )
        assert told["recorded_at"].endswith("Z") and told["retry_count"] == 0


def test_it_goes_on_where_it_ended(api: Served, conn: Connection, endpoints) -> None:
    ids = []
    with heard(api.tenant("7")) as first:
        ids += record(conn, endpoints["7"], 3)
        told = [first.next()["delivery_id"] for _ in range(2)]
        last_id = first.last_id
    record(conn, endpoints["7"], 4)
    with heard(api.tenant("7"), last_id=last_id) as again:
        told += [again.next()["delivery_id"] for _ in range(5)]
        record(conn, endpoints["7"])
        told.append(again.next()["delivery_id"])
    every = "SELECT rowhook.public_id('dlv', created_at, id) FROM rowhook.delivery ORDER BY id"
    assert told == [id for (id,) in conn.execute(every)]


def test_one_webhook_or_one_outcome(api: Served, conn: Connection, endpoints) -> None:
    hook = public(conn, endpoints["8"])
    with heard(api.operator, f"?webhook={hook}&outcome=succeeded") as one:
        record(conn, endpoints["7"], 2)
        record(conn, endpoints["8"])
        assert one.next()["webhook_id"] == hook


def test_what_is_refused(api: Served, conn: Connection, endpoints) -> None:
    api.nobody.get("/stream").refused(401)
    api.tenant("7").get(f"/stream?webhook={public(conn, endpoints['8'])}").refused(404, "not-found")
    api.operator.get("/stream?type=a..b").refused(422, field="type")
    api.operator.get("/stream", Last_Event_ID="evt_1").refused(422, field="Last-Event-ID")


def test_it_has_an_end_and_a_limit(api: Served, conn: Connection, endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST", 1)
    monkeypatch.setattr(stream, "HEARTBEAT", 0.1)
    with heard(api.operator):
        assert api.operator.get("/stream").refused(503)["detail"] == "1 streams are open already"
    monkeypatch.setattr(stream, "LONGEST", 0.5)

    def is_let_in() -> bool:
        try:
            with heard(api.operator) as short:
                short.ends()
        except AssertionError:
            return False
        return True

    eventually(is_let_in)


def test_a_heartbeat_says_how_far_it_has_come(api: Served, conn: Connection, endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.1)
    with heard(api.tenant("7")) as mine:
        (other,) = record(conn, endpoints["8"])
        eventually(lambda: mine._fields().get("id") == str(other))


def test_the_server_ends_while_somebody_listens(serve, conn: Connection, endpoints) -> None:
    served: Served = serve()
    with heard(served.operator) as listening:
        served._loop.call_soon_threadsafe(served._stop.set)
        listening.ends()
