"""Revisions as entity tags: the same settings, the same tag. What Rowhook itself notes of an endpoint doesn't change it."""

from __future__ import annotations

import re

from relay.api.problem import Problem

_ONE = re.compile(r'(W/)?("[^"]*")')


def of(revision: int) -> str:
    return f'"{revision}"'


def check(if_match: str | None, revision: int) -> None:
    """Compare strongly (RFC 9110, 13.1.1); 412 where it is another, or no tag at all."""
    if if_match is None or if_match.strip() == "*":
        return
    strong = {tag for weak, tag in _ONE.findall(if_match) if not weak}
    if of(revision) not in strong:
        raise Problem(412, "changed-meanwhile", "it was changed since: read it again, and send If-Match with the new ETag")
