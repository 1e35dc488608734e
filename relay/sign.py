"""Sign a request: secret, id, time and bytes of body become headers.

Two headers, so that receivers of either kind can verify: ``webhook-signature`` as Standard Webhooks has it, by HMAC
(``v1``, here) or by ed25519 (``v1a``, sign_ed25519.py)
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), and GitHub's
``X-Hub-Signature-256`` (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries), by HMAC alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets as chance
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, Self

from relay import __version__
from relay.errors import UserMistake
from relay.sign_ed25519 import WHPK, WHSK, SigningKey

WHSEC: Final = "whsec_"
# Standard Webhooks, "Signature scheme": 24 bytes (192 bits) to 64 bytes (512 bits) of random.
SHORTEST_KEY: Final = 24
LONGEST_KEY: Final = 64
# A plain secret: as short as the schema lets in (sql/0003-endpoint.sql).
SHORTEST_PLAIN: Final = 16
_BLOCK: Final = 64  # bytes that SHA-256 takes at a time

if TYPE_CHECKING:
    from hashlib import _Hash

_USER_AGENT: Final = f"Rowhook/{__version__}"
_JSON: Final = "application/json"


P = ParamSpec("P")


class Mac(NamedTuple):
    """HMAC-SHA-256 (RFC 2104) as its two hashes, which have taken in the key; hashlib's cost two thirds of hmac's own."""

    inner: _Hash
    outer: _Hash

    @classmethod
    def of(cls, key: bytes) -> Self:
        """The blocks of a key."""
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        return cls(hashlib.sha256(bytes([b ^ 0x36 for b in block])), hashlib.sha256(bytes([b ^ 0x5C for b in block])))

    def over(self, *parts: bytes) -> _Hash:
        """Of all parts, one after the other: to join them would copy a large one."""
        inner = self.inner.copy()
        for part in parts:
            inner.update(part)
        outer = self.outer.copy()
        outer.update(inner.digest())
        return outer


@dataclass(frozen=True, slots=True)
class Secret:
    """What one endpoint and Rowhook both know. Its text and keys appear in no repr.

    Of ``whsec_<base64>`` the decoded bytes are the key of ``webhook-signature``, and the text as shown,
    prefix included, is that of ``X-Hub-Signature-256``. A plain text is the key of both, as UTF-8.
    """

    text: str = field(repr=False)
    key: bytes = field(repr=False)
    _standard: Mac = field(repr=False, compare=False)
    _hub: Mac = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a secret as a person gave it; what is wrong with it is said without showing it."""
        try:
            hub_key = text.encode()
        except UnicodeEncodeError:
            raise UserMistake("the secret is not valid Unicode", "give it as UTF-8 text") from None
        if text != text.strip() or not text.isprintable():
            raise UserMistake(
                "the secret has white space at an end, or holds a character that does not print",
                "give it on one line, without spaces around it",
            )
        key = _decoded(text.removeprefix(WHSEC)) if text.startswith(WHSEC) else hub_key
        if len(text) < SHORTEST_PLAIN:
            raise UserMistake(
                f"the secret has {len(text)} characters",
                f"give {SHORTEST_PLAIN} or more, or {WHSEC} and the base64 of {SHORTEST_KEY} to {LONGEST_KEY} bytes",
            )
        return cls(text, key, Mac.of(key), Mac.of(hub_key))

    @property
    def whsec(self) -> str:
        """The form that libraries for Standard Webhooks take; of a plain secret it differs from the text."""
        return self.text if self.text.startswith(WHSEC) else WHSEC + base64.b64encode(self.key).decode()

    def sign(self, begin: bytes, body: bytes) -> str:
        """One ``v1`` signature over ``id.timestamp.`` (which is ``begin``) and the body."""
        return "v1," + binascii.b2a_base64(self._standard.over(begin, body).digest(), newline=False).decode()

    def sign_for_hub(self, body: bytes) -> str:
        """GitHub's signature, over the body alone."""
        return "sha256=" + self._hub.over(body).hexdigest()


Signer = Secret | SigningKey


def parse_signer(text: str) -> Signer:
    """A secret of either scheme, told apart by its prefix; what is wrong with it is said without showing it."""
    if text.startswith(WHPK):
        raise UserMistake(f"the secret begins with {WHPK}: that is a public key", f"give the secret one, {WHSK}…")
    return SigningKey.parse(text) if text.startswith(WHSK) else Secret.parse(text)


def _decoded(text: str) -> bytes:
    """The bytes behind ``whsec_``. Strict: on anything but canonical base64 receivers' libraries disagree."""
    right = f"after {WHSEC} comes the base64 of {SHORTEST_KEY} to {LONGEST_KEY} bytes, with its padding"
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one; so is the complaint about characters beyond ASCII
        key = b""
    if base64.b64encode(key).decode() != text:
        raise UserMistake(f"the secret begins with {WHSEC} but goes on with something else than base64", right)
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise UserMistake(f"the secret's base64 decodes to {len(key)} bytes", right)
    return key


def new_secret() -> str:
    """A random secret, of 32 bytes."""
    return WHSEC + base64.b64encode(chance.token_bytes(32)).decode()


def signature(secrets: Sequence[Signer], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``: a signature by each secret, in the order given (newest first)."""
    begin = f"{webhook_id}.{timestamp}.".encode()
    return secrets[0].sign(begin, body) if len(secrets) == 1 else " ".join([secret.sign(begin, body) for secret in secrets])


def hub_signature(secret: Secret, body: bytes) -> str:
    """The value of ``X-Hub-Signature-256``, which has room for one secret: the newest of those by HMAC."""
    return secret.sign_for_hub(body)


def signed(
    secrets: Sequence[Signer],
    webhook_id: str,
    timestamp: int,
    event_type: str,
    delivery_id: str,
    attempt: int,
    body: bytes,
    prefix: str = "X-Rowhook",
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and values of the headers of one request that are Rowhook's to say; ``secrets`` newest first, at least one."""
    hub = None
    for secret in secrets:
        if isinstance(secret, Secret):
            hub = secret
            break
    first = _JSON, _USER_AGENT, webhook_id, str(timestamp), signature(secrets, webhook_id, timestamp, body)
    last = event_type, delivery_id, str(attempt)
    return _names(prefix, hub is not None), (*first, *last) if hub is None else (*first, hub_signature(hub, body), *last)


def _by_name(make: Callable[P, tuple[tuple[str, ...], tuple[str, ...]]]) -> Callable[P, dict[str, str]]:
    def headers(*given: P.args, **named: P.kwargs) -> dict[str, str]:
        """What ``signed`` gives, by name."""
        return dict(zip(*make(*given, **named), strict=True))

    return headers


headers = _by_name(signed)


@lru_cache(8)
def _names(prefix: str, with_hub: bool) -> tuple[str, ...]:
    standard = "content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature"
    hub = ("X-Hub-Signature-256",) if with_hub else ()
    return *standard, *hub, f"{prefix}-Event", f"{prefix}-Delivery", f"{prefix}-Attempt"
