"""Encryption at rest: AES-256-GCM under the keys of ROWHOOK_SECRET_KEY, the newest first.

The newest key encrypts, any of them decrypts; a ciphertext is stored with the id of its key. The context (whose ciphertext it is)
is authenticated along with it, so one that was moved to another row does not decrypt.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import RowhookError, UserMistake

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MOST_KEYS: Final = 20


class Unreadable(RowhookError):
    """A ciphertext that this keyring does not decrypt; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is stored: the nonce and the ciphertext, and the id of the key."""

    key_id: str
    ciphertext: bytes = field(repr=False)


class Keyring:
    """Keys by id. No key appears in its repr."""

    def __init__(self, keys: Mapping[str, AESGCM]) -> None:
        self._keys = dict(keys)
        self.newest = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._keys

    @classmethod
    def parse(cls, text: str) -> Self:
        """Keys with commas or spaces between, newest first; what is wrong is said without showing one."""
        keys = [_decoded(part) for part in re.split(r"[,\s]+", text) if part]
        if not keys:
            raise UserMistake("there is no key in it", "make one with: rowhook keygen")
        if len(keys) > MOST_KEYS:
            raise UserMistake(
                f"these are {len(keys)} keys", f"give {MOST_KEYS} at most; rowhook rekey makes the old ones superfluous"
            )
        return cls({_id(key): AESGCM(key) for key in keys})

    def seal(self, text: str, context: str) -> Sealed:
        """Encrypt under the newest key."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return Sealed(self.newest, nonce + self._keys[self.newest].encrypt(nonce, text.encode(), context.encode()))

    def open(self, sealed: Sealed, context: str) -> str:
        """Decrypt; raises Unreadable."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Unreadable(
                f"is encrypted with key {sealed.key_id}, which ROWHOOK_SECRET_KEY lacks:"
                " add that key to it and restart, or rotate the secret and set the headers again"
            )
        nonce, ciphertext = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
        try:
            return key.decrypt(nonce, ciphertext, context.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unreadable(
                f"does not decrypt with its key {sealed.key_id}: it was changed, or belongs to another row;"
                " restore the row, or rotate the secret and set the headers again"
            ) from None


def new_key() -> str:
    """A random key, as ROWHOOK_SECRET_KEY takes it. It does not begin with a dash, which commands take for an option."""
    while (text := base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode().rstrip("=")).startswith("-"):
        pass
    return text


def for_secret(endpoint: int, secret: int) -> str:
    """The context of a signing secret."""
    return f"rowhook secret {endpoint} {secret}"


def for_headers(endpoint: int) -> str:
    """The context of an endpoint's own headers."""
    return f"rowhook headers {endpoint}"


def for_client_key(endpoint: int) -> str:
    """The context of the key of an endpoint's client certificate."""
    return f"rowhook client key {endpoint}"


def _decoded(text: str) -> bytes:
    bare = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        key = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or base64.urlsafe_b64encode(key).decode().rstrip("=") != bare:
        raise UserMistake(
            f"what it holds is not a key: {KEY_BYTES} bytes in base64, no passphrase", "make one with: rowhook keygen"
        )
    return key


def _id(key: bytes) -> str:
    """Names a key without telling anything of it that would help to guess it."""
    return hashlib.sha256(b"rowhook key id\0" + key).hexdigest()[:8]
