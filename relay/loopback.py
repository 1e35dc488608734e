"""Who may speak to a listener on the loopback: programs of this machine, and no page that a browser on it shows.

A page's own name may be rebound to 127.0.0.1, but its requests carry that name as their Host; a page's requests to another place
carry its Origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

from aiohttp import web
from yarl import URL

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether this text is an address of the loopback, or ``localhost``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(hosts: list[str], origins: list[str]) -> str | None:
    """What is wrong with a request's Host and Origin headers."""
    if len(hosts) != 1 or not _names_loopback(f"http://{hosts[0]}"):
        return "Host is not this machine's loopback: say 127.0.0.1, or listen elsewhere (ROWHOOK_API_LISTEN)"
    if not all(_names_loopback(origin) for origin in origins):
        return "Origin is another place than this machine"
    return None


def _names_loopback(text: str) -> bool:
    try:
        url = URL(text)
        return url.scheme in ("http", "https") and url.user is None and url.path in ("", "/") and is_loopback(url.host or "")
    except ValueError:
        return False


@web.middleware
async def loopback_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """403 for what a page of elsewhere made the browser send."""
    if wrong := refusal(request.headers.getall("Host", []), request.headers.getall("Origin", [])):
        return web.json_response({"error": wrong}, status=403)
    return await handler(request)
