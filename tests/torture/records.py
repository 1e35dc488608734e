"""What a run leaves behind, as small values: the invariants see nothing else.

Times are seconds of the epoch by this machine's clock, which the server, the receivers and the nemesis share. A *position* is the
place of a change among all that committed, in the order of commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Content(NamedTuple):
    """What an event says; data and previous values as canonical JSON text without what is null."""

    type: str
    tenant: str | None = None
    data: str | None = None
    previous: str | None = None
    moved: bool = False


class Committed(NamedTuple):
    """A change that the WAL holds; ``key`` is the row's, None where there is none."""

    position: int
    content: Content
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``added`` and ``removed`` are positions in the WAL; ``tries`` is how many its schedule allows."""

    id: int
    hook: str
    events: tuple[str, ...]
    tenant: str | None
    state: str
    tries: int
    added: int
    removed: int | None = None
    ordered: bool = False
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a receiver saw it. ``status`` is what it answered in full, None if it didn't; ``ended`` when that was, or
    when the connection was gone. ``verified`` holds the secrets, by their number, under which the signature was right;
    ``reused``: its connection had brought another request before.
    """

    n: int
    hook: str
    webhook_id: str
    delivery: str
    attempt: int
    body: str
    received: float
    ended: float
    status: int | None
    verified: tuple[int, ...]
    content: Content
    key: str | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """One of a hook's, by its number: it signs from some moment in ``begins`` on, and until some moment before ``ends``."""

    hook: str
    number: int
    begins: float
    ends: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    event: str
    endpoint: int
    state: str
    attempts: int
    failures: int
    replayed: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    delivery: str
    number: int
    instance: int
    started: float
    duration: float | None
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Instance:
    """``relay`` is the process of the fleet that ran under this id: its name up to the slash is the fleet's member."""

    id: int
    relay: str
    started: float
    ended: float | None
    missed_rings: int | None = None


AWAY = {"restart_fast", "restart_immediate", "crash", "backend_crash"}  # faults that end all sessions


@dataclass(frozen=True, slots=True)
class Fault:
    """What the nemesis did. ``target`` is a relay, a hook, a table, or * for whoever uses Postgres."""

    kind: str
    target: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Life:
    """One process of the fleet; ``died`` None: it lives at the end."""

    relay: str
    pid: int
    began: float
    died: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A sample: this instance held so many leases at that time."""

    at: float
    instance: int
    leases: int


@dataclass(frozen=True, slots=True)
class WriterError:
    """``said`` is all that the server said: message, detail, hint, context, names."""

    at: float
    writer: str
    sqlstate: str | None
    said: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it."""

    committed: Sequence[Committed] = ()
    endpoints: Sequence[Endpoint] = ()
    requests: Sequence[Request] = ()
    secrets: Sequence[Secret] = ()
    contents: Mapping[str, Content] = field(default_factory=dict)  # of each event's public id, from rowhook.event
    deliveries: Sequence[Delivery] = ()
    attempts: Sequence[Attempt] = ()
    instances: Sequence[Instance] = ()
    faults: Sequence[Fault] = ()
    lives: Sequence[Life] = ()
    held: Sequence[Held] = ()
    sampled: Sequence[float] = ()  # when the sampler asked and got an answer
    errors: Sequence[WriterError] = ()
    statements: int = 0
    undispatched: int = 0
    discarded: frozenset[int] = frozenset()  # endpoints that were resumed with --discard
    differing: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by table: rows that rowhook verify names
    examined: int = 0  # how many verdicts rowhook doctor gave, and which of them are bad
    ailments: Sequence[str] = ()
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an invariant found: ``checked`` things, these violations in words; ``excused`` by cause."""

    checked: int
    violations: Sequence[str] = ()
    excused: Mapping[str, int] = field(default_factory=dict)
