"""Many deliveries sent again: an event's, or a webhook's by time, state, type and row."""

from __future__ import annotations

from relay import replays
from relay.api.call import Call
from relay.api.calls.events import find_event
from relay.api.models.attempts import Replayed, ReplayEvent, ReplayWebhook
from relay.api.operation import operation
from relay.api.problem import Problem
from relay.replays import REPLAYABLE, Selection
from relay.wanted import Wanted

AT_ONCE = 10_000  # in one transaction with its row of the audit


@operation("POST", "/webhooks/{id}/replay", tag="deliveries", refuses=(404,))
def replay_webhook(call: Call, id: str, body: ReplayWebhook) -> Replayed:
    """Send a webhook's deliveries again that have ended: the dead ones, or others by `status`.

    `dry_run` first says how many. One call replays 10,000 at most; the same call again goes on.
    """
    endpoint = call.webhook(id)
    if body.status != "dead" and body.since is None:
        raise Problem(422, "invalid", "say since when: only dead letters can be replayed without it", field="since")
    if body.since and body.until and body.since > body.until:
        raise Problem(422, "invalid", "until is earlier than since", field="until")
    selection = Selection(
        REPLAYABLE[body.status],
        endpoint=endpoint["id"],
        since=body.since,
        until=body.until,
        wanted=Wanted.of(body.types or ()),
        row_key=body.row_key,
    )
    return _replayed(call, selection, body)


@operation("POST", "/events/{id}/replay", tag="events", refuses=(404,))
def replay_event(call: Call, id: str, body: ReplayEvent) -> Replayed:
    """Send an event's deliveries again that have ended, to all webhooks that got it."""
    found = find_event(call, id)
    tenant = call.principal.tenant
    selection = Selection(REPLAYABLE[body.status], event=found["id"], event_slot=found["slot"], tenant=tenant)
    return _replayed(call, selection, body)


def _replayed(call: Call, selection: Selection, body: ReplayEvent) -> Replayed:
    found = replays.look(call.connection, selection)
    done = 0
    if not body.dry_run:
        done = replays.replay(call.connection, call.actor, selection, found, new_id=body.new_id, most=AT_ONCE)
    return Replayed(
        replayed=done,
        matching=found.count,
        remaining=max(found.count - done, 0),
        dry_run=body.dry_run,
        removed=found.removed,
        event_gone=found.event_gone,
        waiting=found.waiting,
    )
