"""A webhook's attempts: the last ones, and what they come to."""

from __future__ import annotations

from datetime import UTC, timedelta
from functools import partial

from relay import attempts, endpoints
from relay.api.call import Call
from relay.api.discreet import error_for
from relay.api.models.attempts import Attempt, AttemptQuery, Bucket, Figures, Stats, StatsQuery, Waiting
from relay.api.operation import operation
from relay.api.pages import Page
from relay.api.principal import Principal
from relay.api.walked import place, told
from relay.attempts import EVERY, Filter, Named
from relay.walk import Row, Walked
from relay.wanted import Wanted

LONGEST = timedelta(days=3650)
REACH = {"hour": timedelta(days=1), "day": timedelta(days=30)}


@operation("GET", "/webhooks/{id}/deliveries", tag="deliveries", refuses=(404,))
def list_attempts(call: Call, id: str, query: AttemptQuery) -> Page[Attempt]:
    """The last attempts to deliver to a webhook, newest first.

    Every request is one item, with its outcome, how often its delivery was tried before, and when it is tried next. A page looks
    at 10,000 attempts at most: where a filter matches few, it may hold fewer than `limit`, or none, and still have a `next`.
    """
    which = Filter(query.status, Wanted.of(endpoints.parse_patterns(query.type or "*")), query.since)
    found = _all(call, id, query) if which == EVERY else _some(call, id, which, query)
    return told(_PAGE, found, partial(_attempt, call.principal))


def _all(call: Call, id: str, query: AttemptQuery) -> Walked:
    """In one statement, which finds none where there is no such webhook: then that is looked for."""
    number = call.number(id)
    named = Named(id, call.principal.tenant)
    found = attempts.newest(call.connection, number, place(query.before), query.limit, named)
    if not found.rows:
        call.webhook(id, briefly=True)
    return found


def _some(call: Call, id: str, which: Filter, query: AttemptQuery) -> Walked:
    endpoint = call.webhook(id, briefly=True)
    return attempts.page(call.connection, endpoint["id"], which, place(query.before), query.limit)


def _attempt(principal: Principal, row: Row) -> Row:
    said = row.copy()
    del said["id"]
    said["delivery_status"] = said.pop("state")
    said["error"] = error_for(principal, row)
    return said


_PAGE = Page[Attempt]


@operation("GET", "/webhooks/{id}/stats", tag="deliveries", refuses=(404,))
def webhook_stats(call: Call, id: str, query: StatsQuery) -> Stats:
    """A webhook's attempts by hour or day: how many, how many succeeded, how long they took.

    The last 50,000 attempts are counted at most; `since` in the answer says how far back that reaches.
    """
    endpoint = call.webhook(id, briefly=True)
    (clock,) = call.rows("api_stats.now")
    since = max(query.since or clock["now"] - REACH[query.per], clock["now"] - LONGEST)
    found = attempts.stats(call.connection, endpoint["id"], query.per, since)
    return Stats(
        per=query.per,
        since=found.since.astimezone(UTC),
        complete=found.complete,
        total=Figures(**{name: found.total[name] for name in Figures.model_fields}),
        buckets=[Bucket(**bucket) for bucket in found.buckets],
        deliveries=found.deliveries,
        waiting=Waiting(**found.waiting),
    )
