"""4, 5 and 8: the attempt rows against the journal, and against themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tests.torture.invariants.excuses import Excuses
from tests.torture.records import Attempt, Evidence, Request, Verdict

# The beginning of an answer was read, and then no more of it.
BROKEN_OFF = {"reset", "timeout", "protocol"}


def on_record(evidence: Evidence) -> Verdict:
    """(4) A request of a relay that was killed before it recorded has the row `lost`. No try is seen twice."""
    rows = {(row.delivery, row.number): row for row in evidence.attempts}
    seen: dict[tuple[str, int], Request] = {}
    violations = []
    for request in evidence.requests:
        key = (request.delivery, request.attempt)
        if key in seen:
            violations.append(f"attempt {key} was seen twice")
        elif key not in rows:
            violations.append(f"attempt {key} was seen, and is not on record")
        seen[key] = request
    answered = [row for row in evidence.attempts if row.status is not None]
    for row in answered:
        found = seen.get((row.delivery, row.number))
        if found is None or not _agree(row, found):
            said = "nothing" if found is None else found.status
            violations.append(
                f"attempt {(row.delivery, row.number)}: status {row.status} on record, the receiver answered {said}"
            )
    return Verdict(len(evidence.requests) + len(answered), violations)


def _agree(row: Attempt, request: Request) -> bool:
    return row.status == request.status or (request.status is None and row.error in BROKEN_OFF)


def numbered_without_gap(evidence: Evidence) -> Verdict:
    """(5) And as many as the delivery says; one that is leased has its last one still to come."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in evidence.attempts:
        numbers[row.delivery].append(row.number)
    violations = []
    for delivery in evidence.deliveries:
        wanted = list(range(1, delivery.attempts + 1 - (delivery.state == "leased")))
        if sorted(numbers[delivery.id]) != wanted:
            violations.append(f"{delivery.id} ({delivery.state}) has attempts {sorted(numbers[delivery.id])}, not {wanted}")
    return Verdict(len(evidence.deliveries), violations)


def within_schedule(evidence: Evidence) -> Verdict:
    """(8) Failures since the last replay, by the rows, and by the delivery's own count.

    Not counted: lost tries; those that were taken for lost, because a fault hit their relay, and whose result came late; resets
    on a connection that had been used before (or that no receiver saw), which are tried again at once, up to four in a row.
    """
    failures = _failures(evidence)
    allowed = {endpoint.id: endpoint.tries for endpoint in evidence.endpoints}
    violations = [
        f"{delivery} had failures {failures[delivery.id]}, its schedule allows {allowed[delivery.endpoint]}"
        for delivery in evidence.deliveries
        if max(len(failures[delivery.id]), delivery.failures) > allowed[delivery.endpoint]
    ]
    return Verdict(len(evidence.deliveries), violations)


def _failures(evidence: Evidence) -> Mapping[str, list[str]]:
    """Of each delivery, those that use up the schedule."""
    excuses = Excuses(evidence)
    fresh = {(request.delivery, request.attempt) for request in evidence.requests if not request.reused}
    replayed = {delivery.id: delivery.replayed or 0.0 for delivery in evidence.deliveries}
    began = {(row.delivery, row.number): row.started for row in evidence.attempts}
    found: dict[str, list[str]] = defaultdict(list)
    for row in evidence.attempts:
        stale = row.error == "reset" and (row.delivery, row.number) not in fresh
        if row.error in (None, "lost") or stale or row.started < replayed.get(row.delivery, 0.0):
            continue
        ended = row.started + (row.duration or 0.0)
        again = began.get((row.delivery, row.number + 1), evidence.ended)
        if not excuses.fault(row.instance, row.started, ended, again):
            found[row.delivery].append(str(row.error))
    return found
