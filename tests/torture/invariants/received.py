"""1 and 2: the WAL against the receivers' journal. Rowhook's tables are asked only why something did not arrive."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tests.torture.invariants.matching import wants
from tests.torture.records import Content, Delivery, Endpoint, Evidence, Request, Verdict


def committed_was_received(evidence: Evidence) -> Verdict:
    """(1) Answered with 2xx; otherwise the delivery is dead after a failure, waits for an endpoint that isn't active, or was
    discarded by hand. An endpoint is owed what committed after it was added; one that was removed is owed nothing more.
    """
    checked, violations, excused = 0, list[str](), Counter[str]()
    answered = {request.delivery for request in evidence.requests if request.status and 200 <= request.status < 300}
    arrived = _by_endpoint(evidence)
    events = _by_content(evidence.contents)
    deliveries = {(delivery.event, delivery.endpoint): delivery for delivery in evidence.deliveries}
    for endpoint in (e for e in evidence.endpoints if e.removed is None):
        owed = Counter(c.content for c in evidence.committed if c.position > endpoint.added and wants(endpoint, c.content))
        got = Counter(content for delivery, content in arrived[endpoint.id].items() if delivery in answered)
        checked += owed.total()
        for content, missing in (owed - got).items():
            found = [deliveries.get((event, endpoint.id)) for event in events[content]]
            causes = [cause for delivery in found if (cause := _cause(evidence, endpoint, delivery, answered))]
            excused.update(causes[:missing])
            if len(causes) < missing:
                violations.append(f"{endpoint.hook} never received {content}: {found or 'there is no such event'}")
    return Verdict(checked, violations, excused)


def received_was_committed(evidence: Evidence) -> Verdict:
    """(2) By an endpoint that wanted it; and one that was removed before a commit did not hear of it."""
    checked, violations = 0, list[str]()
    arrived = _by_endpoint(evidence)
    for endpoint in evidence.endpoints:
        known = Counter(
            c.content
            for c in evidence.committed
            if wants(endpoint, c.content) and (endpoint.removed is None or c.position < endpoint.removed)
        )
        got = Counter(arrived[endpoint.id].values())
        checked += got.total()
        violations += [
            f"{endpoint.hook} received {n} times {content}: not committed so often" for content, n in (got - known).items()
        ]
    strangers = {request.delivery for request in evidence.requests} - {delivery.id for delivery in evidence.deliveries}
    violations += [f"a request for {delivery}, which is no delivery" for delivery in sorted(strangers)]
    return Verdict(checked, violations)


def _cause(evidence: Evidence, endpoint: Endpoint, delivery: Delivery | None, answered: set[str]) -> str | None:
    if delivery is None or delivery.id in answered:
        return None
    if delivery.state == "dead" and delivery.attempts:
        return "dead letter"
    if delivery.state == "pending" and endpoint.state in ("paused", "disabled"):
        return f"pending: endpoint {endpoint.state}"
    if delivery.state == "cancelled" and endpoint.id in evidence.discarded:
        return "discarded by hand"
    return None


def _by_endpoint(evidence: Evidence) -> Mapping[int, Mapping[str, Content]]:
    """What each endpoint's deliveries said when they arrived."""
    endpoints = {delivery.id: delivery.endpoint for delivery in evidence.deliveries}
    found: dict[int, dict[str, Content]] = defaultdict(dict)
    for request in _known(evidence.requests, endpoints):
        found[endpoints[request.delivery]][request.delivery] = request.content
    return found


def _known(requests: Iterable[Request], endpoints: Mapping[str, int]) -> Iterable[Request]:
    return (request for request in requests if request.delivery in endpoints)


def _by_content(contents: Mapping[str, Content]) -> Mapping[Content, list[str]]:
    found: dict[Content, list[str]] = defaultdict(list)
    for event, content in contents.items():
        found[content].append(event)
    return found
