"""What flows through the relay: frozen values, from a claimed delivery to the result that is recorded.

"Event" always means a captured row change or an emitted one, never an asyncio.Event. An outcome is a value, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Self

from relay.errors import UserMistake
from relay.event import Event
from relay.identity import Identity
from relay.sign import Signer

MOST_PADDING = 8  # bytes that Postgres adds to both texts of an event, as it counts their size
ROLE_KEY = 0x726F77686F6F6B  # "rowhook": the dispatcher's advisory lock


class ErrorClass(StrEnum):
    """Why an attempt failed; the same names as the CHECK on rowhook.attempt."""

    DNS = "dns"
    REFUSED = "refused"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    BLOCKED = "blocked"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    REDIRECT = "redirect"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    LOST = "lost"
    INTERNAL = "internal"


LOOP = "not sent: its correlation id has come by this row with this type too often, as in a loop; replay it if it is none"


class State(StrEnum):
    """States of a delivery that a result can lead to."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send, how to sign, when to retry; as of one revision.

    ``secrets`` are newest first, ``expiries`` the seconds of the epoch until which each signs; ``timeout`` is in seconds;
    ``limited``: it has a rate; ``template`` makes its bodies, where its shape is that one;
    ``sendable``: it is active and its circuit not open; ``headers`` are its own, and so is its ``identity`` on TLS, where it has
    one; ``unreadable`` says why what it has can't be decrypted, where it can't.
    """

    id: int
    public_id: str
    revision: int
    url: str
    secrets: tuple[Signer, ...]
    expiries: tuple[float, ...]
    schedule: tuple[timedelta, ...]
    timeout: float
    max_in_flight: int
    ordered: bool = False
    limited: bool = False
    template: str | None = None
    sendable: bool = True
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity: Identity | None = None
    unreadable: str | None = None

    def signing(self, now: float) -> Sequence[Signer]:
        """The secrets that sign at ``now`` (seconds of the epoch); the newest always does. Raises UserMistake: none."""
        if self.unreadable:
            raise UserMistake(self.unreadable)
        if not self.secrets:
            raise UserMistake("the endpoint has no secret that can sign", "give it a new one: rowhook endpoint rotate")
        if len(self.secrets) == 1:
            return self.secrets
        return [s for i, (s, until) in enumerate(zip(self.secrets, self.expiries, strict=True)) if i == 0 or until > now]


class Claimed(NamedTuple):
    """A row that dispatch or claim leased; of several for one event only the first has what is in the event.

    Times are as moment.py has them.
    """

    id: int
    created_at: int
    endpoint_id: int
    revision: int
    number: int
    failures: int
    free_tries: int
    webhook_id: str | None
    shape: str | None
    body: str | None
    event_id: int
    event_slot: int
    occurred_at: int | None
    type: str | None
    tenant: str | None
    table_name: str | None
    row_key: str | None
    moved: bool | None
    data: bytes | None
    previous: bytes | None
    context: bytes | None
    truncated: bool | None
    looped: bool | None

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]], start: int) -> list[Self]:
        """What a query leased; before ``start`` it says something else, and it has a row even where it leased nothing."""
        return [cls._make(row[start:]) for row in rows if row[start] is not None]


class Delivery(NamedTuple):
    """One claimed try: leased to ``instance_id``, counted as attempt ``number``.

    ``shape`` is what its body looks like, as of its first claim (None: standard); ``body`` what a template made of it by then.
    """

    id: int
    created_at: int
    endpoint: Endpoint
    instance_id: int
    number: int
    failures: int
    free_tries: int
    webhook_id: str | None
    event: Event
    shape: str | None = None
    body: str | None = None

    @property
    def loops(self) -> bool:
        """Its event is one too many of its chain, and nobody has asked for it since: a replay is another try."""
        return self.event.looped and self.number - self.free_tries == 1


class Outcome(NamedTuple):
    """What one POST came to. ``started`` is the monotonic clock in seconds, ``duration`` seconds.

    ``stale`` marks a failure on a kept-alive connection that the receiver had closed: it says nothing about the receiver.
    """

    started: float
    duration: float
    status_code: int | None = None
    error_class: ErrorClass | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_after: str | None = None
    stale: bool = False


class Result(NamedTuple):
    """An outcome and what follows from it: the next state, and for a retry the seconds to wait.

    ``counted`` tells whether the try used up the schedule; ``disable`` why the endpoint is to be disabled; ``asked`` the seconds
    of a Retry-After.
    """

    delivery: Delivery
    outcome: Outcome
    state: State
    wait: float = 0.0
    counted: bool = False
    disable: str | None = None
    asked: float | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How much this relay can take: deliveries and bytes of events in all, deliveries for each endpoint.

    ``left`` is for endpoints that have some here already; any other may have twice its own ``max_in_flight`` or, where it says
    nothing, ``endpoint_room``.
    """

    capacity: int
    endpoint_room: int
    left: Mapping[int, int] = field(default_factory=dict)
    size: int = 2**62

    def of(self, endpoint: int, max_in_flight: int | None) -> int:
        """What is left for one endpoint."""
        return self.left.get(endpoint, 2 * max_in_flight if max_in_flight else self.endpoint_room)

    def is_spent_on(self, claimed: Sequence[Claimed]) -> bool:
        """Whether, for its number or bytes, more may have been due than was claimed; each endpoint's own room aside."""
        if len(claimed) >= self.capacity:
            return True
        sizes = {row.event_id: len(row.data or b"") + len(row.previous or b"") for row in claimed if row.type is not None}
        return sum(sizes[row.event_id] + MOST_PADDING for row in claimed) >= self.size

    def params(self) -> dict[str, object]:
        return {
            "capacity": self.capacity,
            "size": self.size,
            "endpoint_room": self.endpoint_room,
            "endpoints": list(self.left.keys()),
            "rooms": list(self.left.values()),
        }
