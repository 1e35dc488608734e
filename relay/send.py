"""The seam to the outside: one POST -> one outcome. Two transports stand behind it, and mean the same by each outcome.

`send_aiohttp.py` is the default and can do everything; `send_lean.py` does the same work at a fraction of the CPU, and leaves
proxies to the other. What they share is here: what is read of an answer, and the texts that go on record.
`tests/pipeline/test_transports.py` holds both to one contract.
"""

from __future__ import annotations

import ssl
from typing import Protocol

from relay.config import Settings
from relay.guard import guard
from relay.identity import Identity
from relay.model import Outcome

MOST_READ = 64 * 1024  # of an answer's body; the status counts, the rest is left unread
MOST_RAW = 2 * MOST_READ  # of it with its chunk headers, however small the chunks
EXCERPT = 4 * 1024  # of what was read, kept on record
MOST_HEADERS = 16 * 1024  # of an answer's headers in all, names and values
MOST_FIELDS = 128
IDLE = 30.0  # seconds that a connection is kept open for the next request


class Transport(Protocol):
    """A pool of connections with keep-alive; ``open`` it inside the running loop, ``close`` it at the end."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def post(self, url: str, fields: str, body: bytes, timeout: float, identity: Identity | None = None) -> Outcome:
        """Send and say what came of it; never raises but for cancellation. ``timeout`` is seconds in all.

        ``fields`` are the lines of the headers (head.py), but for those that say where to and how much.

        ``identity`` is the endpoint's own on TLS; its connections serve no request without it.
        """
        ...


def transport(settings: Settings, *, listens: bool = False) -> Transport:
    """The one that is set, for a relay that serves its API or doesn't. Imported when asked for: both import this module."""
    asked = guard(settings, listens=listens)
    if settings.transport == "lean" and not settings.proxy:
        from relay.send_lean import LeanTransport

        return LeanTransport(settings.max_in_flight, asked)
    from relay.send_aiohttp import AiohttpTransport

    return AiohttpTransport(settings.max_in_flight, asked, settings.proxy)


def text_of(body: bytes) -> str:
    """As Postgres can keep it: no NUL, no broken UTF-8."""
    return body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def refuses_us(error: object) -> bool:
    """Whether the other side ended TLS with an alert: in TLS 1.3 it looks at a client certificate after the handshake."""
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def describe(error: BaseException, timeout: float) -> str:
    """One line for the record."""
    if isinstance(error, TimeoutError):
        return f"no complete answer within {timeout:g} s"
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """At most 500 characters that Postgres can keep."""
    return text_of(" ".join(text.split()).encode("utf-8", "replace"))[:500]
