"""The asymmetric scheme of Standard Webhooks, ``v1a``: ed25519; ``whsk_`` is the secret key, ``whpk_`` the public one.

The base64 behind ``whsk_`` is the seed and the public key after it, 64 bytes; the seed alone, 32 bytes, is taken as well.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.errors import UserMistake

WHSK: Final = "whsk_"
WHPK: Final = "whpk_"
SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What Rowhook signs with and nobody else knows. Its text and key appear in no repr; the public key is for everybody."""

    text: str = field(repr=False)
    public: str
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a key as a person gave it; what is wrong with it is said without showing it."""
        right = f"after {WHSK} comes the base64 of the 32 bytes of a seed, or of 64: the seed and its public key"
        try:
            pair = base64.b64decode(text.removeprefix(WHSK), validate=True)
        except ValueError:
            pair = b""
        if base64.b64encode(pair).decode() != text.removeprefix(WHSK) or len(pair) not in (SEED_BYTES, 2 * SEED_BYTES):
            raise UserMistake(f"the secret begins with {WHSK} but does not go on with a key", right)
        key = Ed25519PrivateKey.from_private_bytes(pair[:SEED_BYTES])
        public = key.public_key().public_bytes_raw()
        if pair[SEED_BYTES:] not in (b"", public):
            raise UserMistake("the two halves of the secret are not a pair", right)
        return cls(_spelled(WHSK, pair[:SEED_BYTES] + public), _spelled(WHPK, public), key)

    @classmethod
    def new(cls) -> Self:
        return cls.parse(_spelled(WHSK, Ed25519PrivateKey.generate().private_bytes_raw()))

    def sign(self, begin: bytes, body: bytes) -> str:
        """One ``v1a`` signature over ``id.timestamp.`` (which is ``begin``) and the body."""
        return "v1a," + binascii.b2a_base64(self._key.sign(begin + body), newline=False).decode()


def _spelled(prefix: str, data: bytes) -> str:
    return prefix + base64.b64encode(data).decode()
