"""Revisions as entity tags: the same settings, the same tag. What Rowhook itself notes of an endpoint doesn't change it."""

from __future__ import annotations

import re

from relay.api.problem import Problem

_LIST = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*)*')
_ONE = re.compile(r'(W/)?("[^"]*")')


def of(revision: int) -> str:
    return f'"{revision}"'


def check(if_match: str | None, revision: int) -> None:
    """Compare strongly (RFC 9110, 13.1.1); 412 where it is another, 400 where it is no list of tags."""
    if if_match is None or if_match.strip() == "*":
        return
    if not _LIST.fullmatch(if_match):
        raise Problem(400, "malformed-header", 'If-Match is not a list of entity tags; give "…" as ETag had it, or *')
    strong = {tag for weak, tag in _ONE.findall(if_match) if not weak}
    if of(revision) not in strong:
        raise Problem(412, "changed-meanwhile", "it was changed since: read it again, and send If-Match with the new ETag")
