"""3: what was sent, and under which secret."""

from __future__ import annotations

from collections import defaultdict

from tests.torture.records import Evidence, Request, Secret, Verdict

SLACK = 15.0  # seconds that a request signed before the end of an overlap may still be on its way, or a relay behind


def same_bytes_and_verified(evidence: Evidence) -> Verdict:
    """(3) The same body and webhook-id at each attempt; a signature under a secret that was the hook's at the time."""
    secrets = {(secret.hook, secret.number): secret for secret in evidence.secrets}
    first: dict[str, Request] = {}
    violations = []
    for request in evidence.requests:
        known = first.setdefault(request.delivery, request)
        if (known.body, known.webhook_id) != (request.body, request.webhook_id):
            violations.append(f"{request.delivery} attempt {request.attempt} differs from attempt {known.attempt}")
        if not any(_signs(secrets.get((request.hook, number)), request) for number in request.verified):
            violations.append(f"{request.delivery} attempt {request.attempt}: signed under {request.verified or 'no secret'}")
    events: dict[str, set[str]] = defaultdict(set)
    for request in first.values():
        events[request.webhook_id].add(request.body)
    violations += [f"{event} has {len(bodies)} bodies" for event, bodies in events.items() if len(bodies) > 1]
    return Verdict(len(evidence.requests), violations)


def _signs(secret: Secret | None, request: Request) -> bool:
    if secret is None or request.received < secret.begins:
        return False
    return secret.ends is None or request.received <= secret.ends + SLACK
