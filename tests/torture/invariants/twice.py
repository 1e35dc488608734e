"""6 and 11: one delivery at two relays, and one delivery after it had been answered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from tests.torture.invariants.excuses import Excuses
from tests.torture.records import Evidence, Request, Verdict

UNHEARD = {"timeout", "reset", "protocol"}  # the answer did not come, or not whole


def not_at_two_relays(evidence: Evidence) -> Verdict:
    """(6) From the receipt of a request to the end of its answer or of its connection; if it is on record that the relay
    had given up before, to that: a receiver hears a little later of a connection's end.
    """
    excuses, excused, violations = Excuses(evidence), Counter[str](), []
    for first, second in _pairs(evidence):
        if second.received >= excuses.end(first) or excuses.instance(first) == excuses.instance(second):
            continue
        if cause := _cause(excuses, first, second):
            excused[cause] += 1
        else:
            tries = f"attempts {first.attempt} and {second.attempt}"
            violations.append(f"{first.delivery}: {tries} were out at once at {excuses.relays(first, second)}")
    return Verdict(len({request.delivery for request in evidence.requests}), violations, excused)


def not_twice(evidence: Evidence) -> Verdict:
    """(11) After a request was answered with 2xx no other comes, unless a fault of its relay or a lost answer explains it."""
    replayed = {delivery.id: delivery.replayed for delivery in evidence.deliveries}
    excuses, excused, violations = Excuses(evidence), Counter[str](), []
    for first, second in _pairs(evidence):
        if first.status is None or not 200 <= first.status < 300:
            continue
        row = excuses.attempt(first)
        if first.received < (replayed.get(first.delivery) or 0.0) <= second.received:
            excused["replay"] += 1
        elif row and row.error in UNHEARD:
            excused["lost answer"] += 1
        elif cause := _cause(excuses, first, second):
            excused[cause] += 1
        else:
            violations.append(
                f"{first.delivery}: attempt {first.attempt} was answered, attempt {second.attempt} came; on record {row}"
            )
    return Verdict(len({request.delivery for request in evidence.requests}), violations, excused)


def _cause(excuses: Excuses, first: Request, second: Request) -> str | None:
    """Why the relay of the earlier try no longer had it when the later one was sent; a frozen one may come last of all."""
    earlier, later = sorted((first, second), key=lambda request: request.attempt)
    return excuses.cause(earlier, later.received)


def _pairs(evidence: Evidence) -> Iterator[tuple[Request, Request]]:
    """Each request of a delivery with each later one."""
    for requests in _by_delivery(evidence).values():
        for position, first in enumerate(requests):
            for second in requests[position + 1 :]:
                yield first, second


def _by_delivery(evidence: Evidence) -> Mapping[str, list[Request]]:
    found: dict[str, list[Request]] = defaultdict(list)
    for request in evidence.requests:
        found[request.delivery].append(request)
    return found
