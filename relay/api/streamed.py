"""Pure: which attempts a stream tells of, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from relay.api.discreet import error_for
from relay.api.models.attempts import State
from relay.api.models.base import Answer, PublicId
from relay.api.models.times import Time
from relay.api.principal import Principal
from relay.walk import Row
from relay.wanted import Wanted


class StreamedAttempt(Answer):
    """The data of an event of the stream."""

    webhook_id: PublicId
    delivery_id: PublicId
    delivery_status: State
    event_id: PublicId | None
    event_type: str | None
    row_key: str | None
    tenant: str | None = Field(description="The webhook's; null: the operator's.")
    number: int
    retry_count: int
    started_at: Time
    recorded_at: Time
    latency_ms: float | None
    status_code: int | None
    error_class: str | None
    error: str | None
    next_attempt_at: Time | None


SAME = StreamedAttempt.model_fields.keys() - {"webhook_id", "delivery_status", "error"}


@dataclass(frozen=True, slots=True)
class Streamed:
    """To whom; of these: those of one webhook, of some event types, with one outcome."""

    principal: Principal
    webhook: str | None
    wanted: Wanted
    outcome: Literal["succeeded", "failed"] | None

    def told(self, rows: Iterable[Row]) -> bytes:
        return b"".join(_told(self.principal, row) for row in rows if self._wants(row))

    def _wants(self, row: Row) -> bool:
        outcome = "failed" if row["error_class"] else "succeeded"
        return (
            self.webhook in (None, row["endpoint_id"])
            and self.outcome in (None, outcome)
            and self.wanted.matches(row["event_type"])
        )


def _told(principal: Principal, row: Row) -> bytes:
    """JSON has no line breaks of its own, so it is one line of data. Made once for all who listen: they share the rows."""
    kept = "told" if principal.is_operator else "told_to_tenant"
    if kept not in row:
        row[kept] = _made(principal, row)
    told: bytes = row[kept]
    return told


def _made(principal: Principal, row: Row) -> bytes:
    said = {name: row[name] for name in SAME}
    error = error_for(principal, row)
    attempt = StreamedAttempt(webhook_id=row["endpoint_id"], delivery_status=row["state"], error=error, **said)
    return f"id: {row['id']}\nevent: attempt\ndata: {attempt.model_dump_json()}\n\n".encode()
