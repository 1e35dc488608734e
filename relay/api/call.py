"""What a call has at hand while it is answered: who asks, a connection, the audit, headers of the answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from aiohttp import web
from psycopg.rows import DictRow

from relay import audit, endpoints, public_id
from relay.api import etag
from relay.api.principal import Principal
from relay.api.problem import not_found
from relay.audit import Actor
from relay.config import Settings
from relay.database import Row, query
from relay.errors import UserMistake
from relay.keyring import Keyring

Connection = psycopg.Connection[DictRow]


@dataclass
class Call:
    """One call that is being answered, in a thread. ``if_match`` is the header's value; ``headers`` go into the answer."""

    connection: Connection
    principal: Principal
    settings: Settings
    keyring: Keyring
    request_id: str
    if_match: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def actor(self) -> Actor:
        """Who is named in the audit."""
        return Actor(self.principal.name, "api", self.request_id)

    def rows(self, name: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run a named query of relay/queries."""
        cursor = self.connection.execute(query(name), parameters)
        return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self.connection.transaction():
            yield

    def webhook(self, id: str, *, lock: bool = False, briefly: bool = False) -> Row:
        """The endpoint of this public id; 404 where there is none, it was removed, or it is another tenant's.

        Locked, it stays as it is until the transaction ends. ``briefly``: its ids, tenant and state.
        """
        try:
            endpoint = endpoints.find_present(self.connection, id, briefly=briefly and not lock)
            if lock and self.principal.sees(endpoint["tenant"]):
                self.rows("endpoints.lock", {"id": endpoint["id"]})
                endpoint = endpoints.find_present(self.connection, id)
        except UserMistake:
            raise not_found("webhook", id) from None
        if not self.principal.sees(endpoint["tenant"]):
            raise not_found("webhook", id)
        return endpoint

    def number(self, id: str) -> int:
        """Where a webhook of this public id has to be, if there is one; 404 where it is no id."""
        try:
            return public_id.parse(id, "end")[0]
        except UserMistake:
            raise not_found("webhook", id) from None

    def etag(self, revision: int) -> None:
        """The answer is of this revision."""
        self.headers["ETag"] = etag.of(revision)

    def check_match(self, revision: int) -> None:
        """412 where If-Match names another revision than this."""
        etag.check(self.if_match, revision)

    def audit(
        self, action: str, subject: str | None, *, tenant: str | None = None, before: Row | None = None, after: Row | None = None
    ) -> None:
        """A row of the audit, in the transaction of the change; never a secret in it. ``tenant``: whose the subject is."""
        audit.write(self.connection, self.actor, action, subject, tenant=tenant, before=before, after=after)

    def notify(self) -> None:
        """Relays look, once this is committed."""
        endpoints.notify(self.connection)


@dataclass(frozen=True)
class StreamCall:
    """A call that answers by itself, on the loop. ``run`` runs a function(connection, …) in a thread and a transaction."""

    request: web.Request
    principal: Principal
    settings: Settings
    request_id: str
    run: Callable[..., Awaitable[Any]]
    stopping: asyncio.Event
