"""Headers that an endpoint's requests carry beside Rowhook's own: ``Authorization`` and its like. Values are secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from relay.errors import UserMistake

MOST_HEADERS = 20
LONGEST_NAME = 100
LONGEST_VALUE = 4096

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~]+( +[!-~]+)*")
# What the relay or its transports say themselves, and what concerns one connection only (RFC 9110, 7.6.1).
_RESERVED = frozenset(
    {
        *("accept-encoding", "content-encoding", "content-length", "content-type", "date", "expect", "host", "user-agent"),
        *("connection", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("x-hub-signature", "x-hub-signature-256"),
    }
)
_RESERVED_PREFIXES = ("webhook-", "proxy-", "ce-")
_OWN = ("event", "delivery", "attempt")


def parse_headers(lines: Iterable[str], prefix: str = "X-Rowhook") -> dict[str, str]:
    """``Name: value`` lines; empty ones are skipped. Raises UserMistake, which shows names at most."""
    found: dict[str, str] = {}
    for number, text in enumerate(lines, 1):
        if text.strip():
            name, value = _parsed(text, number, prefix)
            if name.lower() in {known.lower() for known in found}:
                raise UserMistake(f"the header {name} is given twice", "give it once")
            found[name] = value
    if len(found) > MOST_HEADERS:
        raise UserMistake(f"these are {len(found)} headers", f"give {MOST_HEADERS} at most")
    return found


def _parsed(text: str, number: int, prefix: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    value = value.strip(" \t\r\n")
    if not colon or not _TOKEN.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UserMistake(
            f"header {number} has no name that HTTP allows", "give 'Name: value', the name of letters, digits and -"
        )
    if not _VALUE.fullmatch(value) or len(value) > LONGEST_VALUE:
        raise UserMistake(
            f"the value of the header {name} is empty, too long, or not printable ASCII",
            f"give 1 to {LONGEST_VALUE} characters of ASCII on one line",
        )
    if is_reserved(name, prefix):
        raise UserMistake(f"the header {name} is not an endpoint's to set", "Rowhook or its connection sets it; leave it out")
    return name, value


def is_reserved(name: str, prefix: str) -> bool:
    """Whether Rowhook sets it, or it is about one connection; ``prefix`` is ROWHOOK_HEADER_PREFIX."""
    lower = name.lower()
    own = {f"{p.lower()}-{part}" for p in (prefix, "X-Rowhook") for part in _OWN}
    return lower in _RESERVED or lower.startswith(_RESERVED_PREFIXES) or lower in own


def packed(headers: Mapping[str, str]) -> str:
    return json.dumps(dict(headers), separators=(",", ":"))


def unpacked(text: str) -> dict[str, str]:
    return dict(json.loads(text))
