"""10: when everything has healed and nobody writes."""

from __future__ import annotations

from collections import Counter

from tests.torture.records import Evidence, Verdict


def nothing_left(evidence: Evidence) -> Verdict:
    """(10) What waits for an endpoint that is paused or disabled may wait."""
    states = {endpoint.id: endpoint.state for endpoint in evidence.endpoints}
    excused, violations = Counter[str](), list[str]()
    for delivery in evidence.deliveries:
        if delivery.state == "leased":
            violations.append(f"{delivery.id} is leased")
        elif delivery.state == "pending" and states[delivery.endpoint] in ("paused", "disabled"):
            excused[f"endpoint {states[delivery.endpoint]}"] += 1
        elif delivery.state == "pending":
            violations.append(f"{delivery.id} is pending for an endpoint that is {states[delivery.endpoint]}")
    if evidence.undispatched:
        violations.append(f"{evidence.undispatched} events were not dispatched")
    return Verdict(len(evidence.deliveries), violations, excused)
