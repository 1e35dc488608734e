"""Single deliveries: shown, sent again, given up."""

from __future__ import annotations

from relay import attempts, deliveries, event_list, public_id
from relay.api.call import Call
from relay.api.discreet import error_for
from relay.api.models.attempts import Delivery, Moved, ReplayOne, RequestSent, Tried
from relay.api.operation import operation
from relay.api.problem import Problem, not_found
from relay.errors import UserMistake
from relay.walk import Row


@operation("GET", "/deliveries/{id}", tag="deliveries", refuses=(404,))
def get_delivery(call: Call, id: str) -> Delivery:
    """One delivery: the request as it is sent, and what came of each attempt.

    Values of the webhook's own headers are masked.
    """
    found = _found(call, id)
    event = event_list.find(call.connection, found["event_id"], found["event_slot"])
    return Delivery(
        id=found["public_id"],
        webhook_id=found["endpoint_public_id"],
        event_id=event and event["public_id"],
        event_type=event and event["type"],
        status=found["state"],
        created_at=found["created_at"],
        next_attempt_at=found["next_attempt_at"],
        ended_at=found["ended_at"],
        attempts_made=found["attempts"],
        last_try=found["last_try"],
        request=RequestSent(
            url=found["url"],
            headers=deliveries.headers(found, event, call.settings.header_prefix),
            body=event and event_list.body(event),
        ),
        attempts=[
            Tried(error=error_for(call.principal, row), **{name: row[name] for name in Tried.model_fields.keys() - {"error"}})
            for row in attempts.of_delivery(call.connection, found["id"])
        ],
    )


@operation("POST", "/deliveries/{id}/replay", tag="deliveries", status=202, refuses=(404, 409))
def replay_delivery(call: Call, id: str, body: ReplayOne) -> Moved:
    """Send a delivery again that has ended, however it did: the same bytes, and its schedule starts anew."""
    found = _found(call, id)
    try:
        deliveries.replay(call.connection, call.actor, found, new_id=body.new_id)
    except UserMistake as mistake:
        raise Problem(409, "not-replayable", str(mistake)) from None
    return Moved(id=found["public_id"], status="pending", is_out=False)


@operation("POST", "/deliveries/{id}/cancel", tag="deliveries", status=202, refuses=(404, 409))
def cancel_delivery(call: Call, id: str) -> Moved:
    """Give a delivery up that waits.

    A request that is out ends as it ends: the delivery is delivered if it succeeds, and cancelled if it doesn't.
    """
    found = _found(call, id)
    try:
        is_out = deliveries.cancel(call.connection, found)
    except UserMistake as mistake:
        raise Problem(409, "ended", str(mistake)) from None
    status = "leased" if is_out else "cancelled"
    before, after = {"status": found["state"], "last_try": found["last_try"]}, {"status": status, "last_try": is_out}
    call.audit("delivery.cancel", found["public_id"], tenant=found["endpoint_tenant"], before=before, after=after)
    call.notify()
    return Moved(id=found["public_id"], status=status, is_out=is_out)


def _found(call: Call, id: str) -> Row:
    """404 where there is none, or it is another tenant's."""
    try:
        number, _ = public_id.parse(id, "dlv")
    except UserMistake:
        raise not_found("delivery", id) from None
    found = deliveries.find(call.connection, number)
    if found is None or found["public_id"].lower() != id.lower() or not call.principal.sees(found["endpoint_tenant"]):
        raise not_found("delivery", id)
    return found
