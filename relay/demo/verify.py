"""Verify a request as any receiver would, from what docs/webhooks.md says: nothing of the sender's code is used."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

TOLERANCE = 300  # seconds between a request's timestamp and now


def both_signatures_hold(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Standard Webhooks' signature, recent enough, and GitHub's; compared in constant time."""
    return _standard_holds(secret, headers, body) and _github_holds(secret, headers, body)


def _standard_holds(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id', '')}.{timestamp}.".encode() + body
    right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    given = [part.removeprefix("v1,") for part in headers.get("webhook-signature", "").split() if part.startswith("v1,")]
    return any(hmac.compare_digest(right, candidate.encode()) for candidate in given)


def _github_holds(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    right = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(right.encode(), headers.get("X-Hub-Signature-256", "").encode())
