"""The admin API as it is served: on the loopback, over HTTP, on the test's own database; and who asks it.

A client is one principal: `operator` has a token, `tenant("7")` a JWT as FinMind makes them. What is answered is told as it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
import pytest

from relay.api.server import Server
from relay.config import load
from tests.keys import KEY
from tests.pipeline.relays import environment

TOKEN, OTHER_TOKEN = "0123456789abcdef-operator", "fedcba9876543210-other"
JWT_SECRET = "finmind's own secret, which is long enough"
DEFAULTS = {
    "api_token": f"alice:{TOKEN},bob:{OTHER_TOKEN}",
    "jwt_secret": JWT_SECRET,
    "api_listen": "127.0.0.1:0",
    "api_rate": "0",
    "allow_ports": "80,443,1024-65535",
}


@dataclass(frozen=True)
class Told:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=True)

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def ok(self, status: int = 200) -> Any:
        """Its JSON; it must have this status."""
        assert self.status == status, self
        return self.json if self.text else None

    def refused(self, status: int, kind: str | None = None, field: str | None = None) -> dict[str, Any]:
        """A problem document of this status, of this kind, which names this field."""
        assert self.status == status, self
        assert self.headers["content-type"] == "application/problem+json; charset=utf-8" or self.headers[
            "content-type"
        ].startswith("application/problem+json"), self
        document: dict[str, Any] = self.json
        assert document["status"] == status and document["title"] and document["detail"], self
        assert document["request_id"] == self.headers["x-request-id"], self
        if kind is not None:
            assert document["type"] == f"urn:rowhook:problem:{kind}", self
        if field is not None:
            assert field in [error["field"] for error in document["errors"]], self
        return document


@dataclass(frozen=True)
class Client:
    """Asks as one principal."""

    port: int
    token: str | None

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Told:
        """``body``: what becomes JSON, or bytes as they are."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            given["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, data, {**given, **(headers or {})})
            response = connection.getresponse()
            return Told(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Told:
        return self.ask("GET", path, headers=_named(headers))

    def post(self, path: str, body: Any = None, **headers: str) -> Told:
        return self.ask("POST", path, body, _named(headers))

    def patch(self, path: str, body: Any, **headers: str) -> Told:
        return self.ask("PATCH", path, body, _named(headers))

    def delete(self, path: str, **headers: str) -> Told:
        return self.ask("DELETE", path, headers=_named(headers))


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def token_of(user: str | int, secret: str = JWT_SECRET, **claims: Any) -> str:
    """As FinMind's Flask-JWT-Extended makes them."""
    now = int(time.time())
    made = {"fresh": False, "iat": now, "jti": "8f1c", "type": "access", "sub": str(user), "nbf": now, "exp": now + 900, **claims}
    return jwt.encode({name: value for name, value in made.items() if value is not None}, secret, algorithm="HS256")


class Served:
    """The API in a thread with a loop of its own."""

    def __init__(self, dsn: str, **given: str) -> None:
        self._settings = load(**environment(dsn, **{"secret_key": KEY, **DEFAULTS, **given}))
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self.port = 0

    async def _serve(self) -> None:
        server = Server(self._settings)
        await server.start()
        self.port = server.port
        self._ready.set()
        await self._stop.wait()
        await server.stop()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20), "the API does not start"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the API does not stop"
        self._loop.close()

    @property
    def operator(self) -> Client:
        return self.client(TOKEN)

    @property
    def nobody(self) -> Client:
        return self.client(None)

    def tenant(self, user: str | int) -> Client:
        return self.client(token_of(user))

    def client(self, token: str | None) -> Client:
        return Client(self.port, token)


class Serve(Protocol):
    """Serve the test's database, with these settings (names as in tests/pipeline/relays.py)."""

    def __call__(self, database: str = ..., **given: str) -> Served: ...


@pytest.fixture
def serve(dsn: str) -> Iterator[Serve]:
    with contextlib.ExitStack() as started:

        def serve(database: str = dsn, **given: str) -> Served:
            served = Served(database, **given)
            served.start()
            started.callback(served.stop)
            return served

        yield serve


@pytest.fixture
def api(serve: Callable[..., Served]) -> Served:
    """Served with an operator's tokens and FinMind's secret; requests are not counted."""
    return serve()


@pytest.fixture
def operator(api: Served) -> Client:
    return api.operator
