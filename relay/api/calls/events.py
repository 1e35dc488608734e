"""Events: listed, each with its way over all webhooks, and emitted."""

from __future__ import annotations

import json

from relay import endpoints, event_list, public_id, trail
from relay.api.auth import forbidden
from relay.api.call import Call
from relay.api.models.events import Emit, Emitted, Event, EventQuery, EventTrail, Stop
from relay.api.operation import operation
from relay.api.pages import Page
from relay.api.problem import Problem, not_found
from relay.api.walked import paged, place
from relay.errors import UserMistake
from relay.event_list import Filter
from relay.walk import Row
from relay.wanted import Wanted


@operation("GET", "/events", tag="events")
def list_events(call: Call, query: EventQuery) -> Page[Event]:
    """Events that are kept, newest first.

    A page looks at 10,000 events at most: where a filter matches few, it may hold fewer than `limit`, or none, and still have a
    `next`.
    """
    if query.tenant is not None and not call.principal.sees(query.tenant):
        raise forbidden("this is another tenant", "tenant")
    tenant = call.principal.tenant or query.tenant
    which = Filter(
        Wanted.of(endpoints.parse_patterns(query.type or "*")), query.table, query.row_key, tenant, query.since, query.until
    )
    return paged(Page[Event], event_list.page(call.connection, which, place(query.before), query.limit), _event)


@operation("GET", "/events/{id}", tag="events", refuses=(404,))
def get_event(call: Call, id: str) -> EventTrail:
    """An event, and what became of it at each webhook; where one got nothing, or nothing yet, why."""
    found = find_event(call, id)
    told = trail.trail(call.connection, found["id"], found["slot"], call.principal.tenant)
    if told is None:
        raise not_found("event", id)
    return EventTrail(
        **_event(found).model_dump(),
        body=event_list.body(found),
        dispatched=told.event["dispatched"],
        webhooks=[_stop(stop) for stop in told.stops],
        more=told.more,
    )


@operation("POST", "/events", tag="events", status=201, operator=True)
def emit_event(call: Call, body: Emit) -> Emitted:
    """Write an event that no row carries, as `rowhook.emit()` does; webhooks that want its type get it.

    For the operator only: whoever emits speaks in the name of the application. Numbers of `data` are taken as JSON libraries do:
    with the precision of doubles, unless they are whole.
    """
    try:
        data = json.dumps(body.data, ensure_ascii=False, allow_nan=False)
        data.encode()
    except ValueError:
        raise Problem(422, "invalid", "data holds a number or a text that can't be sent on", field="data") from None
    given = {"type": body.type, "data": data, "key": body.key, "tenant": body.tenant}
    (made,) = call.rows("api_events.emit", given)
    call.audit("event.emit", made["id"], tenant=body.tenant, after={"type": body.type, "key": body.key})
    call.headers["Location"] = f"/events/{made['id']}"
    return Emitted(id=made["id"])


def find_event(call: Call, id: str) -> Row:
    """404 where there is none (any more), or it is another tenant's."""
    try:
        number, slot = public_id.parse(id, "evt")
    except UserMistake:
        raise not_found("event", id) from None
    found = event_list.find(call.connection, number, slot) if slot < 10 else None
    if found is None or found["public_id"].lower() != id.lower() or not call.principal.sees(found["tenant"]):
        raise not_found("event", id)
    return found


def _event(row: Row) -> Event:
    said = {name: row[name] for name in ("type", "occurred_at", "op", "row_key", "tenant", "moved")}
    return Event(id=row["public_id"], table=row["table_name"], **said)


def _stop(stop: trail.Stop) -> Stop:
    said = {
        name: getattr(stop, name) for name in ("url", "delivery_id", "status_code", "error_class", "next_attempt_at", "ended_at")
    }
    return Stop(
        webhook_id=stop.endpoint_id,
        webhook_state=stop.endpoint_state,
        status=stop.state,
        attempts_made=stop.attempts,
        reason=stop.reason,
        because=stop.because,
        **said,
    )
