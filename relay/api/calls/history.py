"""A webhook's attempts: the last ones, and what they come to."""

from __future__ import annotations

from datetime import UTC, timedelta

from relay import attempts, endpoints
from relay.api.call import Call
from relay.api.discreet import error_for
from relay.api.models.attempts import Attempt, AttemptQuery, Bucket, Figures, Stats, StatsQuery, Waiting
from relay.api.operation import operation
from relay.api.pages import Page
from relay.api.principal import Principal
from relay.api.walked import paged, place
from relay.attempts import Filter
from relay.walk import Row
from relay.wanted import Wanted

LONGEST = timedelta(days=3650)
REACH = {"hour": timedelta(days=1), "day": timedelta(days=30)}


@operation("GET", "/webhooks/{id}/deliveries", tag="deliveries", refuses=(404,))
def list_attempts(call: Call, id: str, query: AttemptQuery) -> Page[Attempt]:
    """The last attempts to deliver to a webhook, newest first.

    Every request is one item, with its outcome, how often its delivery was tried before, and when it is tried next. A page looks
    at 10,000 attempts at most: where a filter matches few, it may hold fewer than `limit`, or none, and still have a `next`.
    """
    endpoint = call.webhook(id, briefly=True)
    which = Filter(query.status, Wanted.of(endpoints.parse_patterns(query.type or "*")), query.since)
    found = attempts.page(call.connection, endpoint["id"], which, place(query.before), query.limit)
    return paged(Page[Attempt], found, lambda row: _attempt(call.principal, row))


def _attempt(principal: Principal, row: Row) -> Attempt:
    said = {name: row[name] for name in _SAME}
    return Attempt(delivery_status=row["state"], error=error_for(principal, row), **said)


_SAME = tuple(Attempt.model_fields.keys() - {"delivery_status", "error"})


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
