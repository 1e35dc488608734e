"""7: per row, in order."""

from __future__ import annotations

from collections import Counter

from tests.torture.invariants.excuses import Excuses
from tests.torture.records import Content, Evidence, Request, Verdict


def in_order(evidence: Evidence) -> Verdict:
    """(7) At an ordered endpoint no request of a change comes after one of a change of the same row that committed later.

    A replay starts a delivery anew, long after its turn: from then on it isn't judged.
    """
    positions: dict[Content, int] = {c.content: c.position for c in evidence.committed}
    ordered = {endpoint.id: endpoint.hook for endpoint in evidence.endpoints if endpoint.ordered}
    deliveries = {delivery.id: delivery for delivery in evidence.deliveries if delivery.endpoint in ordered}
    excuses, excused, violations, checked = Excuses(evidence), Counter[str](), list[str](), 0
    latest: dict[tuple[int, str], Request] = {}
    for request in evidence.requests:
        delivery = deliveries.get(request.delivery)
        if delivery is None or request.key is None or request.content not in positions:
            continue
        if delivery.replayed is not None and request.received >= delivery.replayed:
            continue
        checked += 1
        place = (delivery.endpoint, request.key)
        before = latest.setdefault(place, request)
        if positions[request.content] >= positions[before.content]:
            latest[place] = request
        elif cause := excuses.cause(request, before.received):
            excused[cause] += 1
        else:
            hook = ordered[delivery.endpoint]
            violations.append(
                f"{hook} row {request.key}: {request.content.type} after {before.content.type}, which committed later"
            )
    return Verdict(checked, violations, excused)
