"""What the tests of the transports share: how to post, and what of an outcome both must agree on."""

from __future__ import annotations

from relay.guard import Guard
from relay.head import fields
from relay.identity import Identity
from relay.model import Outcome
from relay.policy import policy
from relay.send import Transport
from relay.send_aiohttp import AiohttpTransport
from relay.send_lean import LeanTransport

TRANSPORTS: dict[str, type[AiohttpTransport] | type[LeanTransport]] = {"aiohttp": AiohttpTransport, "lean": LeanTransport}
LOOPBACK = "127.0.0.0/8,::1/128"  # where the receivers of tests are
OPEN = Guard(policy(LOOPBACK))
HEADERS = {"content-type": "application/json", "user-agent": "Rowhook/0", "webhook-id": "evt_1"}


async def post(
    transport: Transport,
    url: str,
    *,
    body: bytes = b"{}",
    headers: dict[str, str] | None = None,
    timeout: float = 10,
    identity: Identity | None = None,
) -> Outcome:
    return await transport.post(url, fields({**HEADERS, **(headers or {})}), body, timeout, identity)


def said(outcome: Outcome) -> tuple[int | None, str | None, bool]:
    """As in the tables of cases: status, class, stale."""
    return outcome.status_code, outcome.error_class, outcome.stale
