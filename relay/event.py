"""What is sent: one event, shared by all its deliveries that are here at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from relay.envelope import envelope
from relay.public_id import public_id


@dataclass(eq=False, slots=True)
class Event:
    """A row of rowhook.event, as claimed. ``data`` and ``previous`` are JSON text as Postgres stored it, in UTF-8.

    The body is made at the first send and is the same for every endpoint and each try; what it was made of is then let go of,
    so that a large row is held once.
    """

    id: int
    slot: int
    occurred_at: datetime | None  # None: no time that could be said
    type: str
    tenant: str | None
    row_key: str | None
    moved: bool
    data: bytes | None
    previous: bytes | None
    size: int = 0
    holders: int = 0  # deliveries of it that are outstanding here
    public_id: str = ""
    _body: bytes | None = None

    def __post_init__(self) -> None:
        self.size = len(self.data or b"") + len(self.previous or b"")
        if self.occurred_at is not None:
            self.public_id = public_id("evt", self.occurred_at, self.id, self.slot)

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = self._compose()
            self.data = self.previous = None
        return self._body

    def _compose(self) -> bytes:
        if self.occurred_at is None:
            raise ValueError("the event's occurred_at is not between the years 1 and 9999")
        return envelope(
            event_id=self.public_id,
            type=self.type,
            occurred_at=self.occurred_at,
            tenant=self.tenant,
            data=self.data,
            previous=self.previous,
            moved=self.moved,
        )
