"""Keys that verify JWTs, each with the algorithms that it may be used for: so no token can choose how it is verified.

A shared secret verifies HMAC and nothing else; a public key never does. Public keys come from a file (PEM or a JWK set) or from a
JWK set behind a URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from relay.errors import ConfigError, UserMistake

HMAC = ("HS256", "HS384", "HS512")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
SHORTEST_RSA = 2048
MOST_KEYS = 100


@dataclass(frozen=True, slots=True)
class Key:
    """``id``: the kid that tokens name it by, where it has one."""

    key: Any = field(repr=False)
    algorithms: Sequence[str]
    id: str | None = None


def shared(secret: str) -> Key:
    return Key(secret, HMAC)


def read_file(path: str) -> list[Key]:
    """Raises ConfigError."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"ROWHOOK_JWT_KEY_FILE {path!r} can't be read ({error})", "name a file that this user can read"
        ) from None
    try:
        keys = parse_set(json.loads(text)) if text.lstrip().startswith("{") else [Key(*_public(_pem(text.encode())))]
    except ValueError:
        keys = []
    if not keys:
        raise ConfigError(
            f"ROWHOOK_JWT_KEY_FILE {path!r} holds no public key that can be used",
            "give a PEM file of an RSA (2048 bits or more), EC or Ed25519 public key, or a JWK set",
        )
    return keys


def parse_set(document: Any) -> list[Key]:
    """Of a JWK set those that verify signatures; what is not understood is passed over, and shared secrets are."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise UserMistake("this is no JWK set", 'it has to be an object with "keys"')
    return list(_usable(listed[:MOST_KEYS]))


def _usable(listed: Iterable[Any]) -> Iterable[Key]:
    for one in listed:
        if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC", "OKP") or one.get("use", "sig") != "sig":
            continue
        try:
            public = {name: value for name, value in one.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
            key, algorithms = _public(jwt.PyJWK(public).key)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        named = one.get("alg")
        chosen = [name for name in algorithms if named in (None, name)]
        if chosen:
            yield Key(key, chosen, one["kid"] if isinstance(one.get("kid"), str) else None)


def _pem(data: bytes) -> Any:
    if b"BEGIN CERTIFICATE" in data:
        return load_pem_x509_certificate(data).public_key()
    try:
        return load_pem_public_key(data)
    except UnsupportedAlgorithm:
        raise ValueError("unsupported") from None


def _public(key: Any) -> tuple[Any, Sequence[str]]:
    """The key and what it may be used for; raises ValueError."""
    if isinstance(key, RSAPublicKey) and key.key_size >= SHORTEST_RSA:
        return key, RSA
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key, (CURVES[key.curve.name],)
    if isinstance(key, Ed25519PublicKey):
        return key, ("EdDSA",)
    raise ValueError("this key verifies no JWT here")
