"""What is told of attempts, deliveries and their statistics, and what may be asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from relay.api.models.base import Answer, Given, PublicId, Query, SomeText
from relay.api.models.times import GivenTime, Time
from relay.api.models.webhook import Pattern
from relay.api.pages import PageQuery
from relay.config import checked
from relay.endpoints.given import MOST_PATTERNS, parse_patterns

State = Literal["pending", "leased", "delivered", "dead", "cancelled"]
_ONE = r"(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)"
Patterns = Annotated[str, StringConstraints(max_length=500, pattern=f"^{_ONE}(,{_ONE})*$"), checked(parse_patterns)]


class AttemptQuery(PageQuery):
    """Which attempts of a webhook."""

    status: State | None = Field(None, description="Only those of deliveries that are in this state now.")
    type: Patterns | None = Field(None, description="Only those of these event types: `expense.*,bill.paid`.")
    since: GivenTime | None = Field(None, description="Only those that were recorded then or later.")


class Tried(Answer):
    """One request, and what came of it."""

    number: int = Field(description="1, 2, 3 … within the delivery, over all replays.")
    started_at: Time
    recorded_at: Time = Field(description="When its outcome was written; attempts are listed in this order.")
    latency_ms: float | None = Field(description="From the start of the request to the end of the answer or the error.")
    status_code: int | None = Field(description="HTTP status, where an answer came.")
    error_class: str | None = Field(description="What kind of failure; null for success.")
    error: str | None = Field(description="The failure in words.")
    response_excerpt: str | None = Field(description="The first 4 kB of the answer's body.")


class Attempt(Tried):
    """An attempt in the list of its webhook."""

    retry_count: int = Field(description="How many attempts of this delivery came before.")
    delivery_id: PublicId
    delivery_status: State
    next_attempt_at: Time | None = Field(description="When the delivery may be tried next, while it is pending.")
    event_id: PublicId | None = Field(description="Null where the event is not kept any more.")
    event_type: str | None
    row_key: str | None


class StatsQuery(Query):
    """Of which time, and by what."""

    per: Literal["hour", "day"] = Field("hour", description="Length of a bucket, in UTC.")
    since: GivenTime | None = Field(None, description="How far back; without it a day by the hour, 30 days by the day.")


class Figures(Answer):
    """What some attempts come to."""

    attempts: int
    succeeded: int
    failed: int
    success_rate: float | None = Field(description="Between 0 and 1; null where there was no attempt.")
    p50_ms: float | None = Field(description="Latency that half of the attempts stayed within.")
    p90_ms: float | None
    p99_ms: float | None


class Bucket(Figures):
    start: Time


class Waiting(Answer):
    """What there is at this moment; each number is counted up to 50,000."""

    pending: int
    leased: int
    dead: int
    next_due_at: Time | None


class Stats(Answer):
    """A webhook's attempts by hour or day."""

    per: Literal["hour", "day"]
    since: Time = Field(description="How far back these figures reach.")
    complete: bool = Field(description="False: there were more than 50,000 attempts, and only the last of them are counted.")
    total: Figures
    buckets: list[Bucket] = Field(description="Newest first; those without attempts are left out.")
    deliveries: dict[str, int] = Field(description="Of the deliveries tried in that time: how many are in which state now.")
    waiting: Waiting


class RequestSent(Answer):
    """The last request of a delivery, as far as it is on record; URL and own headers are the webhook's present ones."""

    method: Literal["POST"] = "POST"
    url: str
    headers: dict[str, str] = Field(description="Without time and signatures, which are made for each request and not kept.")
    body: str | None = Field(description="Null where the event is not kept any more, or is larger than 1 MB.")


class Delivery(Answer):
    """One event on its way to one webhook."""

    id: PublicId
    webhook_id: PublicId
    event_id: PublicId | None = Field(description="Null where the event is not kept any more.")
    event_type: str | None
    status: State
    created_at: Time
    next_attempt_at: Time | None
    ended_at: Time | None
    attempts_made: int
    last_try: bool = Field(description="It was given up while a request was out: if that fails, it is cancelled.")
    request: RequestSent
    attempts: list[Tried] = Field(description="Newest first, the last 100.")


class ReplayOne(Given):
    new_id: bool = Field(False, description="Under a new webhook-id, for receivers that drop one they have seen.")


class Moved(Answer):
    """What became of a delivery."""

    id: PublicId
    status: State
    is_out: bool = Field(description="A request is out: it ends as it ends, and is not tried again.")


class ReplayEvent(ReplayOne):
    status: Literal["dead", "delivered", "cancelled", "any"] = Field("dead", description="Which of its deliveries.")
    dry_run: bool = Field(False, description="Only count.")


class ReplayWebhook(ReplayEvent):
    """Which of a webhook's deliveries are sent again; all that is given must hold."""

    since: GivenTime | None = Field(None, description="Those made then or later. Needed unless `status` is dead.")
    until: GivenTime | None = Field(None, description="Those made then or earlier.")
    types: list[Pattern] | None = Field(None, min_length=1, max_length=MOST_PATTERNS, description="Of these event types.")
    row_key: SomeText | None = Field(None, description="Of the row with this key.")


class Replayed(Answer):
    replayed: int
    matching: int = Field(description="How many there were when they were counted.")
    remaining: int = Field(description="Left for another call: one replays 10,000 at most.")
    dry_run: bool
    removed: int = Field(description="Left out, because their webhooks were removed.")
    event_gone: int = Field(description="Left out, because their events are not kept any more.")
    waiting: dict[str, str] = Field(description="Webhooks that are not active: what is replayed waits there.")
