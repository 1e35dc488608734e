"""Webhooks, as they are given and as they are told: what the command line calls an endpoint."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from relay.api.models.base import Answer, Given, PublicId, SomeText, Text
from relay.api.pages import PageQuery
from relay.config import checked
from relay.endpoints.given import MOST_IN_FLIGHT, MOST_PATTERNS, parse_overlap, parse_retry, parse_timeout
from relay.sign import LONGEST_KEY, SHORTEST_PLAIN, parse_signer
from relay.url import check_url
from relay.wishes import parse_rate

State = Literal["active", "paused", "disabled", "removed"]
Scheme = Literal["hmac", "ed25519"]

# Shorter than what the command line reads: what a pattern can say.
_WAIT = r"[0-9]{1,6}(\.[0-9]{1,3})? ?(ms|s|m|min|h|d)"
Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000, pattern=r"^https?://[^\s\u0000-\u0020]+$"),
    checked(check_url),
    Field(examples=["https://example.com/hook"]),
]
Pattern = Annotated[
    str,
    StringConstraints(max_length=500, pattern=r"^(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)$"),
    Field(examples=["expense.*", "expense.created", "*"]),
]
Retry = Annotated[
    str,
    StringConstraints(max_length=500, pattern=rf"^(none|patient|{_WAIT}( ?, ?{_WAIT}){{0,30}})$"),
    checked(parse_retry),
    Field(examples=["2s,4s,8s,16s,32s", "patient", "none"]),
]
Timeout = Annotated[str, StringConstraints(max_length=20, pattern=f"^{_WAIT}$"), checked(parse_timeout), Field(examples=["15s"])]
Overlap = Annotated[str, StringConstraints(max_length=20, pattern=f"^{_WAIT}$"), checked(parse_overlap), Field(examples=["24h"])]
Filter = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\u0000]+$")]
Shape = Literal["standard", "thin", "cloudevents", "cloudevents-binary", "legacy"]
Template = Annotated[str, StringConstraints(min_length=1, max_length=20_000, pattern=r"^[^\u0000]+$")]
Rate = Annotated[
    str, StringConstraints(max_length=20, pattern=r"^([1-9][0-9]{0,2}|1000)/s$|^[1-9][0-9]{0,5}/(min|h|d)$"), checked(parse_rate)
]
HeaderName = Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[!-~]([ -~]*[!-~])?$")]
SecretText = Annotated[
    str,
    StringConstraints(min_length=SHORTEST_PLAIN, max_length=LONGEST_KEY * 4),
    checked(parse_signer),
    Field(json_schema_extra={"writeOnly": True, "format": "password"}),
]

EVENTS = "Patterns of event types: `expense.created`, `expense.*`, or `*` for all that tables and `emit` make."
TENANT = "Only this tenant's events. A tenant's webhooks are always their own; null: the operator's, all tenants' events."
RETRY = "Waits before each retry, `patient` (over a day) or `none`; null: ROWHOOK_RETRY_SCHEDULE."
TIMEOUT = "Total time of one attempt, a day at most; null: ROWHOOK_TIMEOUT. A tenant can make it shorter than that, not longer."
IN_FLIGHT = "Most requests at once from one relay; null: the relay's own bound. The operator's to set."
HEADERS = "Headers of its requests beside Rowhook's own, e.g. Authorization. Their values are encrypted, and never shown."
FILTER = "Only events for which this SQL/JSON path is true: `$.data.amount > 1000`; null: all."
SHAPE = "The body: the standard one, or another; `template`: by the webhook's own."
TEMPLATE = "A Jinja template that makes the body. The operator's to set; null: none."
RATE = "Most requests in a time, over all relays: `10/s`, `100/min`; null: no limit."
ORDERED = "Of one row, send an event only when those before it have ended."


class Certificate(Answer):
    """One of TLS, as far as it is public."""

    subject: str
    expires_at: datetime


class Webhook(Answer):
    """Who gets which events, and how it is doing."""

    id: PublicId
    url: str
    events: list[str] = Field(description=EVENTS)
    tenant: str | None = Field(description=TENANT)
    description: str | None
    state: State = Field(description="`disabled` by Rowhook: it answered 410, or did nothing but fail for long.")
    state_reason: str | None
    retry: str | None = Field(description=RETRY)
    timeout: str | None = Field(description=TIMEOUT)
    max_in_flight: int | None = Field(description=IN_FLIGHT)
    ordered: bool = Field(description=ORDERED)
    filter: str | None = Field(description=FILTER)
    shape: str = Field(description=SHAPE)
    template: str | None = Field(description=TEMPLATE)
    rate: str | None = Field(description=RATE)
    headers: list[str] = Field(description="Names of headers of its own; their values are not shown.")
    ca_certificates: list[Certificate] = Field(description="Authorities that may vouch for it; none: the system's.")
    client_certificate: Certificate | None = Field(description="What it is shown over TLS.")
    failing_since: datetime | None
    circuit: Literal["closed", "open", "ramping"]
    opened_at: datetime | None
    probes: int
    probe_at: datetime | None
    ramp: int | None
    created_at: datetime


class ShownOnce(Answer):
    """A secret, this once. Of ed25519 there is a public key instead, by which receivers verify."""

    secret: str | None = Field(None, description="Key of X-Hub-Signature-256, and of webhook-signature.")
    secret_whsec: str | None = Field(None, description="The same, as libraries for Standard Webhooks take it.")
    public_key: str | None = Field(None, description="ed25519: verifies webhook-signature.")


class NewWebhook(Webhook, ShownOnce):
    """A webhook that was just added, with its secret: it is shown this once."""


class Secret(Answer):
    """One by which it signs now, without its value."""

    created_at: datetime
    expires_at: datetime | None = Field(description="Signs until then; null: until it is replaced.")
    scheme: Scheme
    public_key: str | None


class WebhookDetails(Webhook):
    """A webhook, what waits for it, and by what it signs."""

    pending: int = Field(description="Deliveries that wait.")
    dead: int = Field(description="Deliveries that ended without success, and could be replayed.")
    secrets: list[Secret] = Field(description="Newest first.")


class AddWebhook(Given):
    """What a new webhook takes."""

    url: Url = Field(description="Where to POST.")
    events: list[Pattern] = Field(["*"], min_length=1, max_length=MOST_PATTERNS, description=EVENTS)
    tenant: SomeText | None = Field(None, description=TENANT)
    description: Text | None = Field(None, description="A note for people.")
    headers: dict[HeaderName, HeaderValue] = Field({}, max_length=20, description=HEADERS)
    retry: Retry | None = Field(None, description=RETRY)
    timeout: Timeout | None = Field(None, description=TIMEOUT)
    max_in_flight: Annotated[int, Field(ge=1, le=MOST_IN_FLIGHT)] | None = Field(None, description=IN_FLIGHT)
    ordered: bool = Field(False, description=ORDERED)
    filter: Filter | None = Field(None, description=FILTER)
    shape: Shape | None = Field(None, description=f"{SHAPE} Null: the standard one.")
    template: Template | None = Field(None, description=TEMPLATE)
    rate: Rate | None = Field(None, description=RATE)
    scheme: Scheme | None = Field(None, description="By what it signs; null: hmac.")
    secret: SecretText | None = Field(
        None, description="`whsec_…`, `whsk_…` (ed25519), or any text of 16 characters or more; null: a random one."
    )


def _without_defaults(schema: dict[str, Any]) -> None:
    """What is left out is not what it would be by default: it stays. Generated clients send defaults."""
    for field in schema["properties"].values():
        field.pop("default", None)


class ChangeWebhook(Given):
    """What is to change; what is left out stays. Null takes back what can be null."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    url: Url = Field("", description="Where to POST.", validate_default=False)
    events: list[Pattern] = Field([], min_length=1, max_length=MOST_PATTERNS, description=EVENTS)
    tenant: None = Field(None, description="Null makes a tenant's webhook the operator's; it can't become another tenant's.")
    description: Text | None = Field(None, description="A note for people.")
    headers: dict[HeaderName, HeaderValue] | None = Field(None, max_length=20, description=f"{HEADERS} They replace all it had.")
    retry: Retry | None = Field(None, description=RETRY)
    timeout: Timeout | None = Field(None, description=TIMEOUT)
    max_in_flight: Annotated[int, Field(ge=1, le=MOST_IN_FLIGHT)] | None = Field(None, description=IN_FLIGHT)
    ordered: bool = Field(False, description=ORDERED)
    filter: Filter | None = Field(None, description=FILTER)
    shape: Shape | None = Field(None, description=f"{SHAPE} Null: the standard one.")
    template: Template | None = Field(None, description=TEMPLATE)
    rate: Rate | None = Field(None, description=RATE)
    state: Literal["active", "paused"] = Field(
        "active", description="`paused`: deliveries wait. `active`: it is sent to again, also if it was disabled."
    )
    discard: bool = Field(False, description="With `state: active`: cancel what has been waiting.")

    @field_validator("url", "events", "ordered", "state", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("this can't be null; leave it out to keep it")
        return value


class RotateSecret(Given):
    """The next secret; the old one goes on signing as well until the overlap ends."""

    overlap: Overlap = Field("24h", description="How long the old secret signs too; `0s`: not at all.")
    scheme: Scheme | None = Field(None, description="By what it signs; null: as before.")
    secret: SecretText | None = Field(None, description="Null: a random one.")


class NewSecret(ShownOnce):
    """The new secret, this once."""

    id: PublicId
    overlap_until: datetime = Field(description="Until then the old secret signs too.")


class SendSample(Given):
    """Of which event type a sample is to be sent."""

    type: Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = Field(
        description="One of /event-types.", examples=["expense.created"]
    )


class Sent(Answer):
    """What is on its way to this webhook alone."""

    event_id: PublicId
    delivery_id: PublicId
    type: str


class WebhookQuery(PageQuery):
    """Which webhooks."""

    state: State | None = Field(None, description="Only those in this state. Removed ones are only listed if asked for.")
    tenant: SomeText | None = Field(None, description="Only this tenant's. A tenant can only name themselves.")
