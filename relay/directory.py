"""What the relay knows of endpoints: read at claim when their revision has moved, so an edit or a new secret counts at once."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay.database import Row, Session
from relay.errors import UserMistake
from relay.event import Event
from relay.identity import Identity
from relay.keyring import Keyring, Unreadable
from relay.model import Claimed, Delivery, Endpoint
from relay.sign import Signer
from relay.vault import open_headers, open_identity, open_secrets

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Defaults:
    """For endpoints that say nothing themselves; ``timeout`` in seconds."""

    schedule: tuple[timedelta, ...]
    timeout: float
    max_in_flight: int


class Directory:
    """Endpoints by id, at the newest revision seen, with their secrets decrypted and ready to sign."""

    def __init__(self, defaults: Defaults, keyring: Keyring) -> None:
        self._defaults = defaults
        self._keyring = keyring
        self.known: dict[int, Endpoint] = {}

    async def deliveries(self, session: Session, rows: Sequence[Claimed], instance: int) -> list[Delivery]:
        """Claimed rows, those of one event side by side, with their events and endpoints; raises DatabaseLost."""
        await self._refresh(session, rows)
        deliveries = list(_deliveries(rows, self.known, instance))
        if any(row.shape for row in rows):
            _tell_shapes(deliveries)
        return deliveries

    async def notice(self, session: Session, endpoints: Collection[int]) -> None:
        """Read again those of these that have changed."""
        rows = await session.rows("endpoint.revisions", {"endpoints": list(endpoints)})
        await self._load(session, {(row["id"], row["revision"]) for row in rows})

    async def _refresh(self, session: Session, rows: Iterable[Claimed]) -> None:
        await self._load(session, {(row.endpoint_id, row.revision) for row in rows})

    async def _load(self, session: Session, newest: Iterable[tuple[int, int]]) -> None:
        stale = [endpoint for endpoint, revision in newest if self._revision(endpoint) < revision]
        if stale:
            for row in await session.rows("endpoint.load", {"endpoints": stale}):
                self.known[row["id"]] = self._endpoint(row)

    def _revision(self, endpoint: int) -> int:
        """0 makes it load: a rekey may have made readable what was not."""
        known = self.known.get(endpoint)
        return known.revision if known and not known.unreadable else 0

    def _endpoint(self, row: Row) -> Endpoint:
        own = tuple(timedelta(seconds=s) for s in row["schedule"])
        unreadable = None
        secrets: tuple[Signer, ...] = ()
        headers: dict[str, str] = {}
        identity: Identity | None = None
        try:
            secrets, headers = self._secrets(row), open_headers(self._keyring, row)
            identity = open_identity(self._keyring, row)
        except Unreadable as why:
            unreadable = str(why)
            log.error("an endpoint's deliveries wait", extra={"endpoint": row["public_id"], "reason": unreadable})
        return Endpoint(
            id=row["id"],
            public_id=row["public_id"],
            revision=row["revision"],
            url=row["url"],
            secrets=secrets,
            expiries=tuple(row["expiries"]) if secrets else (),
            schedule=own if row["has_schedule"] else self._defaults.schedule,
            timeout=row["timeout"] or self._defaults.timeout,
            max_in_flight=row["max_in_flight"] or self._defaults.max_in_flight,
            ordered=row["ordered"],
            limited=row["limited"],
            template=row["template"],
            sendable=row["sendable"],
            headers=headers,
            identity=identity,
            unreadable=unreadable,
        )

    def _secrets(self, row: Row) -> tuple[Signer, ...]:
        """All or none. A secret that can't sign, put in by hand, is the mistake of one endpoint: its tries fail, others go on."""
        try:
            return open_secrets(self._keyring, row)
        except UserMistake as mistake:
            log.error("an endpoint's secret cannot sign", extra={"endpoint": row["public_id"], "reason": str(mistake)})
            return ()


def _deliveries(rows: Iterable[Claimed], endpoints: Mapping[int, Endpoint], instance: int) -> Iterator[Delivery]:
    event: Event | None = None
    for row in rows:
        if event is None or event.id != row.event_id:
            event = _event(row)
        endpoint = endpoints[row.endpoint_id]
        yield Delivery(
            row.id, row.created_at, endpoint, instance, row.number, row.failures, row.free_tries, row.webhook_id, event,
            row.shape, row.body,
        )  # fmt: skip


def _tell_shapes(deliveries: Iterable[Delivery]) -> None:
    """Each event knows in which it will be asked for."""
    shapes: dict[Event, set[str]] = {}
    for delivery in deliveries:
        if delivery.shape is not None:
            shapes.setdefault(delivery.event, set()).add(delivery.shape)
    for event, wanted in shapes.items():
        event.goes_out_as(wanted)


def _event(row: Claimed) -> Event:
    assert row.type is not None
    assert row.moved is not None
    return Event(
        row.event_id, row.event_slot, row.occurred_at, row.type, row.tenant, row.row_key, row.moved, row.data, row.previous,
        row.table_name, row.context, bool(row.truncated), bool(row.looped),
    )  # fmt: skip
