"""Who may speak to a listener on the loopback: programs of this machine, and no page that a browser on it shows.

A page's own name may be rebound to 127.0.0.1, but its requests carry that name as their Host; a page's requests to another place
carry its Origin. Origins that the operator named (ROWHOOK_CORS_ORIGINS) may.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from yarl import URL

from relay.errors import UserMistake

ANY_ORIGIN = "*"
REMEMBERED = 128  # texts that were looked at before: every request of one client names the same


@lru_cache(REMEMBERED)
def is_loopback(host: str) -> bool:
    """Whether this text is an address of the loopback, or ``localhost``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_origins(text: str) -> tuple[str, ...]:
    """``https://app.example,https://other.example:8443``, or ``*``; raises UserMistake."""
    origins = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for origin in origins:
        if origin != ANY_ORIGIN and not _is_origin(origin):
            raise UserMistake(f"{origin!r} is not the origin of web pages", "give https://app.example, with commas between, or *")
    return origins


def _is_origin(text: str) -> bool:
    try:
        url = URL(text)
        return url.scheme in ("http", "https") and bool(url.raw_host) and str(url.origin()) == text
    except ValueError:
        return False


def refusal(hosts: Sequence[str], origins: Sequence[str], named: Sequence[str] = ()) -> str | None:
    """What is wrong with a request's Host and Origin headers; ``named`` origins are not."""
    if len(hosts) != 1 or not _names_loopback(f"http://{hosts[0]}"):
        return "Host is not this machine's loopback: say 127.0.0.1, or listen elsewhere (ROWHOOK_API_LISTEN)"
    if not all(ANY_ORIGIN in named or origin.lower() in named or _names_loopback(origin) for origin in origins):
        return "Origin is another place than this machine; ROWHOOK_CORS_ORIGINS may name it"
    return None


@lru_cache(REMEMBERED)
def _names_loopback(text: str) -> bool:
    try:
        url = URL(text)
        return url.scheme in ("http", "https") and url.user is None and url.path in ("", "/") and is_loopback(url.host or "")
    except ValueError:
        return False
