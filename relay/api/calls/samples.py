"""What is sent to one webhook alone: a ping, a sample."""

from __future__ import annotations

from relay import single
from relay.api.call import Call
from relay.api.models.webhook import SendSample, Sent
from relay.api.operation import operation
from relay.api.problem import Problem
from relay.catalog import sample

TAG = "webhooks"
PING = "webhook.ping"


@operation("POST", "/webhooks/{id}/ping", tag=TAG, status=202, refuses=(404,))
def ping_webhook(call: Call, id: str) -> Sent:
    """Send `webhook.ping` to this webhook alone, whatever its patterns are.

    It is an event and a delivery like any other: signed, retried, on record. To one that is paused or disabled it waits.
    """
    return _send(call, id, PING, '{"message":"A ping, asked for through the API."}')


@operation("POST", "/webhooks/{id}/test", tag=TAG, status=202, refuses=(404,))
def test_webhook(call: Call, id: str, body: SendSample) -> Sent:
    """Send a sample of an event type to this webhook alone, whatever its patterns are.

    Its data is the catalog's example (/event-types).
    """
    call.webhook(id, briefly=True)  # first: of another's nothing is said
    data = sample(call.connection, body.type)
    if data is None:
        raise Problem(422, "invalid", "there is no such event type; /event-types has those that there are", field="type")
    return _send(call, id, body.type, data)


def _send(call: Call, id: str, type: str, data: str) -> Sent:
    endpoint = call.webhook(id)
    event, delivery = single.send_one(call.connection, endpoint, type, data)
    call.audit("endpoint.ping" if type == PING else "endpoint.test", endpoint["public_id"], tenant=endpoint["tenant"],
               after={"type": type, "delivery": delivery})  # fmt: skip
    call.notify()
    return Sent(event_id=event, delivery_id=delivery, type=type)
