"""What the relay knows of endpoints: read at claim when their revision has moved, so an edit or a new secret counts at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay.database import Row, Session
from relay.errors import UserMistake
from relay.keyring import Keyring, Unreadable
from relay.model import Delivery, Endpoint
from relay.sign import Signer
from relay.vault import open_headers, open_secrets

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
        self._known: dict[int, Endpoint] = {}

    async def deliveries(self, session: Session, rows: Sequence[Row], instance: int) -> list[Delivery]:
        """Claimed rows with their endpoints; raises DatabaseLost."""
        await self._refresh(session, rows)
        return [delivery(row, self._known[row["endpoint_id"]], instance) for row in rows]

    def widest_room(self, busy: Mapping[int, int]) -> int:
        """The most deliveries that any one endpoint could still be given; those not known here have all of their room."""
        rooms = (self._room(e) - busy.get(e.id, 0) for e in self._known.values())
        return max(0, max(rooms, default=2 * self._defaults.max_in_flight))

    def is_crowded(self, busy: Mapping[int, int]) -> bool:
        """Whether every known endpoint has less than a quarter of its room left."""
        known = self._known.values()
        return bool(known) and all(self._room(e) - busy.get(e.id, 0) < max(1, self._room(e) // 4) for e in known)

    def has_full(self, busy: Mapping[int, int]) -> bool:
        """Whether some endpoint has no room at all: more may be parked for it."""
        return any(busy.get(e.id, 0) >= self._room(e) for e in self._known.values())

    @staticmethod
    def _room(endpoint: Endpoint) -> int:
        """As many as may be in flight, and as many waiting here; the same as in the queries."""
        return 2 * endpoint.max_in_flight

    async def _refresh(self, session: Session, rows: Iterable[Row]) -> None:
        stale = {row["endpoint_id"] for row in rows if self._revision(row["endpoint_id"]) < row["revision"]}
        if stale:
            for row in await session.rows("endpoint.load", {"endpoints": list(stale)}):
                self._known[row["id"]] = self._endpoint(row)

    def _revision(self, endpoint: int) -> int:
        """0 makes it load: a rekey may have made readable what was not."""
        known = self._known.get(endpoint)
        return known.revision if known and not known.unreadable else 0

    def _endpoint(self, row: Row) -> Endpoint:
        own = tuple(timedelta(seconds=s) for s in row["schedule"])
        unreadable = None
        secrets: tuple[Signer, ...] = ()
        headers: dict[str, str] = {}
        try:
            secrets, headers = self._secrets(row), open_headers(self._keyring, row)
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
            headers=headers,
            unreadable=unreadable,
        )

    def _secrets(self, row: Row) -> tuple[Signer, ...]:
        """All or none. A secret that can't sign, put in by hand, is the mistake of one endpoint: its tries fail, others go on."""
        try:
            return open_secrets(self._keyring, row)
        except UserMistake as mistake:
            log.error("an endpoint's secret cannot sign", extra={"endpoint": row["public_id"], "reason": str(mistake)})
            return ()


_COLUMNS = (
    "id", "created_at", "number", "failures", "free_tries", "webhook_id", "event_id", "event_slot", "occurred_at", "type",
    "tenant", "row_key", "moved", "data", "previous",
)  # fmt: skip


def delivery(row: Row, endpoint: Endpoint, instance: int) -> Delivery:
    return Delivery(endpoint=endpoint, instance_id=instance, **{name: row[name] for name in _COLUMNS})
