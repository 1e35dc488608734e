"""A small run without a flaw, to be changed in one place: what each invariant must notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.torture.records import (
    Attempt,
    Committed,
    Content,
    Delivery,
    Endpoint,
    Evidence,
    Fault,
    Held,
    Instance,
    Request,
    Secret,
)

NOW = 1_000_000.0
FIRST, SECOND = Content("expense.created", data='{"id": 1}'), Content("expense.updated", data='{"id": 1, "n": 2}')
KEY = '["expense", "1"]'

ENDPOINT = Endpoint(1, "hook", ("*",), None, "active", 3, added=0, ordered=True)
REQUEST = Request(1, "hook", "evt_1", "dlv_1", 1, "body 1", NOW, NOW + 0.1, 200, (0,), FIRST, KEY)
LATER = Request(2, "hook", "evt_2", "dlv_2", 1, "body 2", NOW + 3, NOW + 3.1, 200, (0,), SECOND, KEY)

WELL = Evidence(
    committed=[Committed(1, FIRST, KEY), Committed(2, SECOND, KEY)],
    endpoints=[ENDPOINT],
    requests=[REQUEST, LATER],
    secrets=[Secret("hook", 0, NOW - 60)],
    contents={"evt_1": FIRST, "evt_2": SECOND},
    deliveries=[Delivery("dlv_1", "evt_1", 1, "delivered", 1, 0), Delivery("dlv_2", "evt_2", 1, "delivered", 1, 0)],
    attempts=[Attempt("dlv_1", 1, 11, NOW, 0.1, 200, None), Attempt("dlv_2", 1, 11, NOW + 3, 0.1, 200, None)],
    instances=[Instance(11, "r1", NOW - 60, None), Instance(12, "r2/1", NOW - 60, None)],
    sampled=[NOW + n / 5 for n in range(70)],
    held=[Held(NOW, 11, 1)],
    statements=2,
    differing={"expenses": []},
    examined=1,
    ended=NOW + 100,
)


def also(evidence: Evidence, **more: Any) -> Evidence:
    """With these records beside those that there are; a mapping, set or number takes the place of what was."""
    parts: dict[str, Any] = {
        name: [*getattr(evidence, name), *value] if isinstance(value, list) else value for name, value in more.items()
    }
    changed = replace(evidence, **parts)
    return replace(changed, requests=sorted(changed.requests, key=lambda request: request.received))


def without(evidence: Evidence, name: str, *positions: int) -> Evidence:
    """Without some records of that name."""
    kept = [record for n, record in enumerate(getattr(evidence, name)) if n not in positions]
    changed: dict[str, Any] = {name: kept}
    return replace(evidence, **changed)


def put(evidence: Evidence, name: str, position: int, **changed: Any) -> Evidence:
    """With one record changed."""
    records = list(getattr(evidence, name))
    records[position] = replace(records[position], **changed)
    all_of_them: dict[str, Any] = {name: records}
    return replace(evidence, **all_of_them)


def again(attempt: int, instance: int, **changed: Any) -> tuple[Request, Attempt]:
    """A further request for the first delivery, two seconds later, and its row."""
    sent = replace(REQUEST, **{"n": 10 + attempt, "attempt": attempt, "received": NOW + 2, "ended": NOW + 2.1, **changed})
    return sent, Attempt(sent.delivery, attempt, instance, sent.received, 0.1, sent.status, None)


def twice(instance: int = 12, fault: Fault | None = None, **changed: Any) -> Evidence:
    """The first delivery is sent once more."""
    request, row = again(2, instance, **changed)
    evidence = put(also(WELL, requests=[request], attempts=[row]), "deliveries", 0, attempts=2)
    return evidence if fault is None else also(evidence, faults=[fault])
