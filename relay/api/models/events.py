"""What is told of events and their types, and what may be asked and emitted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from relay.api.models.attempts import Patterns, State
from relay.api.models.base import Answer, Given, PublicId, Query, SomeText
from relay.api.models.times import GivenTime, Time
from relay.api.pages import PageQuery
from relay.trail import Reason


class EventQuery(PageQuery):
    """Which events; all that is given must hold."""

    type: Patterns | None = Field(None, description="Of these event types: `expense.*,bill.paid`.")
    table: SomeText | None = Field(None, description="Of this table, with its schema unless that is public.")
    row_key: SomeText | None = Field(None, description="Of the row with this key.")
    tenant: SomeText | None = Field(None, description="Of this tenant.")
    since: GivenTime | None = Field(None, description="Of then or later.")
    until: GivenTime | None = Field(None, description="Of then or earlier.")


class Event(Answer):
    """A row change that was captured, or what was emitted."""

    id: PublicId
    type: str
    occurred_at: Time
    op: str = Field(description="How it came about: insert, update, delete, truncate, emit, own, …")
    table: str | None
    row_key: str | None
    tenant: str | None
    moved: bool = Field(description="One half of a row's move from one tenant to another.")


class Stop(Answer):
    """What became of an event at one webhook."""

    webhook_id: PublicId
    url: str
    webhook_state: str
    delivery_id: PublicId | None = Field(description="Null: no delivery was made.")
    status: State | None
    attempts_made: int
    status_code: int | None = Field(description="Of the last attempt.")
    error_class: str | None = Field(description="Of the last attempt.")
    next_attempt_at: Time | None
    ended_at: Time | None
    reason: Reason | None = Field(description="Why it has not got the event; null where it has.")
    because: str | None = Field(description="The same in words.")


class EventTrail(Event):
    """An event, its body, and what became of it at each webhook."""

    body: str | None = Field(description="What is sent: JSON text, as it goes out. Null where that is larger than 1 MB.")
    dispatched: bool
    webhooks: list[Stop] = Field(description="Those that got it first; 1,000 at most.")
    more: bool = Field(description="There are further webhooks, which got nothing.")


class Emit(Given):
    """An event that no row carries."""

    type: Annotated[str, StringConstraints(max_length=500, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = Field(
        description="Letters, digits, _ and -, with dots between: `order.shipped`; none of Rowhook's own."
    )
    data: Any = Field(None, description="Any JSON.")
    key: SomeText | None = Field(None, description="What it is about, as a row key; ordered webhooks go by it.")
    tenant: SomeText | None = None


class Emitted(Answer):
    id: PublicId


class SchemaChange(Answer):
    """One thing that differs from the version before."""

    change: Literal["added", "dropped", "renamed", "retyped", "table renamed", "table dropped"]
    compatible: bool = Field(description="False: who reads the events has to know.")
    column: str | None = Field(None, description="As it is called now; of a dropped one, as it was.")
    type: str | None = Field(None, description="Its type in Postgres; of a dropped one, as it was.")
    was: str | None = Field(None, description="The name or type before.")
    table: str | None = Field(None, description="The table's new name.")


class SchemaVersion(Answer):
    """What `data` held from then on."""

    version: int
    since: Time
    compatible: bool = Field(description="Whether who understood the version before understands this one.")
    changes: list[SchemaChange]


class EventType(Answer):
    name: str
    description: str
    table: str | None = Field(description="Where it is captured; null for Rowhook's own.")
    body_schema: dict[str, Any] = Field(description="JSON Schema (2020-12) of the body that is sent.")
    example: dict[str, Any] = Field(description="Such a body.")
    versions: list[SchemaVersion] = Field(description="Of what `data` holds, the present one last; none for Rowhook's own.")
    set_aside: str | None = Field(description="What it needs and its table no longer has; shown to operators.")


class EventTypes(Answer):
    items: list[EventType]


class StreamQuery(Query):
    """What is listened to."""

    webhook: SomeText | None = Field(None, description="Only this webhook's: `end_…`.")
    type: Patterns | None = Field(None, description="Only of these event types: `expense.*,bill.paid`.")
    outcome: Literal["succeeded", "failed"] | None = Field(None, description="Only those that succeeded, or failed.")
