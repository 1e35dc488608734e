"""What is sent: one event, shared by all its deliveries that are here at once."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from relay.envelope import envelope
from relay.moment import milliseconds
from relay.public_id import id_at
from relay.shapes import WHOLE, Facts, shaped


@dataclass(eq=False, slots=True)
class Event:
    """A row of rowhook.event, as claimed. ``data`` and ``previous`` are JSON text as Postgres stored it, in UTF-8.

    The body is made at the first send and is the same for every endpoint and each try; what it was made of is then let go of,
    so that a large row is held once. Where it goes out in other shapes than the standard one, it is held once more for each.
    """

    id: int
    slot: int
    occurred_at: int | None  # as moment.py has it; None: no time that could be said
    type: str
    tenant: str | None
    row_key: str | None
    moved: bool
    data: bytes | None
    previous: bytes | None
    table_name: str | None = None
    context: bytes | None = None
    truncated: bool = False
    looped: bool = False
    size: int = 0
    holders: int = 0  # deliveries of it that are outstanding here
    public_id: str = ""
    _body: bytes | None = None
    _keeps_data: bool = False
    _shaped: dict[str, bytes] | None = None  # bodies of other shapes than the standard one

    def __post_init__(self) -> None:
        self.size = len(self.data or b"") + len(self.previous or b"")
        if self.occurred_at is not None:
            self.public_id = id_at("evt", milliseconds(self.occurred_at), self.id, self.slot)

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = self._compose()
            if not self._keeps_data:
                self.data = self.previous = self.context = None
        return self._body

    def goes_out_as(self, shapes: Set[str]) -> None:
        """Before anything is sent: these, too, will be asked for. What holds the row once more counts once more."""
        self._keeps_data = bool(shapes & WHOLE)
        self.size += len(self.data or b"") * len(shapes & WHOLE)

    def body_as(self, shape: str) -> bytes:
        """The same in another shape; templates are none that an event knows."""
        if self._shaped is None:
            self._shaped = {}
        body = self._shaped.get(shape)
        if body is None:
            body = self._shaped[shape] = shaped(shape, self.facts())
        return body

    def facts(self) -> Facts:
        """What other shapes are made of. Raises ValueError for a time that can't be said."""
        return Facts(self.public_id, self.type, self._time(), self.tenant, self.table_name, self.row_key, self.moved, self.data)

    def _time(self) -> int:
        if self.occurred_at is None:
            raise ValueError("the event's occurred_at is not between the years 1 and 9999")
        return self.occurred_at

    def _compose(self) -> bytes:
        return envelope(
            event_id=self.public_id,
            type=self.type,
            occurred_at=self._time(),
            tenant=self.tenant,
            data=self.data,
            previous=self.previous,
            moved=self.moved,
            truncated=self.truncated,
            context=self.context,
        )
