"""What flows through the relay: frozen values, from a claimed delivery to the result that is recorded.

"Event" always means a captured row change or an emitted one, never an asyncio.Event. An outcome is a value, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from relay.errors import UserMistake
from relay.sign import Signer

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


class State(StrEnum):
    """States of a delivery that a result can lead to."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send, how to sign, when to retry; as of one revision.

    ``secrets`` are newest first, ``expiries`` the seconds of the epoch until which each signs; ``timeout`` is in seconds;
    ``headers`` are its own; ``unreadable`` says why secrets or headers can't be decrypted, where they can't.
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
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    unreadable: str | None = None

    def signing(self, now: float) -> Sequence[Signer]:
        """The secrets that sign at ``now`` (seconds of the epoch); the newest always does. Raises UserMistake: none."""
        if self.unreadable:
            raise UserMistake(self.unreadable)
        if not self.secrets:
            raise UserMistake("the endpoint has no secret that can sign", "give it a new one: rowhook endpoint rotate")
        return [s for i, (s, until) in enumerate(zip(self.secrets, self.expiries, strict=True)) if i == 0 or until > now]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One claimed try: leased to ``instance_id``, counted as attempt ``number``."""

    id: int
    created_at: datetime
    endpoint: Endpoint
    instance_id: int
    number: int
    failures: int
    free_tries: int
    webhook_id: str | None
    event_id: int
    event_slot: int
    occurred_at: datetime
    type: str
    tenant: str | None
    row_key: str | None
    moved: bool
    data: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
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


@dataclass(frozen=True, slots=True)
class Result:
    """An outcome and what follows from it: the next state, and for a retry the seconds to wait.

    ``counted`` tells whether the try used up the schedule; ``disable`` why the endpoint is to be disabled.
    """

    delivery: Delivery
    outcome: Outcome
    state: State
    wait: float = 0.0
    counted: bool = False
    disable: str | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How much this relay can take: deliveries in all, and how many each endpoint has here already."""

    capacity: int
    endpoint_room: int
    busy: Mapping[int, int] = field(default_factory=dict)

    def params(self) -> dict[str, object]:
        return {
            "capacity": self.capacity,
            "endpoint_room": self.endpoint_room,
            "busy_endpoints": list(self.busy.keys()),
            "busy_counts": list(self.busy.values()),
        }
