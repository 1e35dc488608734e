"""Which endpoint wants which event: the rule of the docs, written anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from tests.torture.records import Content, Endpoint

# What each filter means, in other words than Postgres'.
FILTERS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "$.data.amount > 5000": lambda data: Decimal(data.get("amount", "0")) > 5000
}
OWN = {"endpoint.disabled", "delivery.dead", "webhook.ping", "schema.changed"}  # * doesn't match these


def wants(endpoint: Endpoint, content: Content) -> bool:
    if endpoint.tenant is not None and endpoint.tenant != content.tenant:
        return False
    if not any(_matches(pattern, content.type) for pattern in endpoint.events):
        return False
    return endpoint.filter is None or FILTERS[endpoint.filter](json.loads(content.data or "{}"))


def _matches(pattern: str, type: str) -> bool:
    if pattern == type:
        return True
    if type in OWN:
        return False
    return pattern == "*" or (pattern.endswith(".*") and type.startswith(pattern[:-1]))
