"""Which endpoint wants which event: the rule of the docs, written anew."""

from __future__ import annotations

from tests.torture.records import Content, Endpoint

OWN = {"endpoint.disabled", "delivery.dead", "webhook.ping", "schema.changed"}  # * doesn't match these


def wants(endpoint: Endpoint, content: Content) -> bool:
    if endpoint.tenant is not None and endpoint.tenant != content.tenant:
        return False
    return any(_matches(pattern, content.type) for pattern in endpoint.events)


def _matches(pattern: str, type: str) -> bool:
    if pattern == type:
        return True
    if type in OWN:
        return False
    return pattern == "*" or (pattern.endswith(".*") and type.startswith(pattern[:-1]))
