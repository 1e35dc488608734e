"""Pure: how an endpoint and Rowhook know each other over TLS: who vouches for the receiver, and the certificate shown to it.

What a person gives is checked and written anew, certificates apart from the key, which is a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from relay.errors import UserMistake

LARGEST: Final = 100_000  # bytes of PEM


@dataclass(frozen=True, slots=True)
class Identity:
    """All in PEM. No ``authority``: the system's; no ``certificate``: none is shown. ``name`` stands for all of it."""

    authority: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)
    name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = "\0".join((self.authority, self.certificate, self.key))
        object.__setattr__(self, "name", hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Change:
    """Of an endpoint's identity. None leaves as it was, empty texts take back; ``client`` is a certificate and its key."""

    authority: str | None = None
    client: tuple[str, str] | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.authority is not None or self.client is not None

    @property
    def needs_key(self) -> bool:
        """Whether something of it is stored encrypted."""
        return bool(self.client and self.client[0])

    @property
    def alone(self) -> Identity:
        """What is given, as an identity by itself."""
        return Identity(self.authority or "", *(self.client or ()))


def parse_authority(data: bytes, now: datetime) -> str:
    """Certificates that sign a receiver's. Raises UserMistake."""
    return _written(_certificates(data, "the authority", now))


def parse_client(certificate: bytes, key: bytes, now: datetime) -> tuple[str, str]:
    """The certificate with those that lead to its authority, and its key; raises UserMistake, which never shows the key."""
    chain = _certificates(certificate, "the client certificate", now)
    private = _key(key)
    if _public(private.public_key()) != _public(chain[0].public_key()):
        raise UserMistake(
            "the key is not that of the client certificate",
            "give the key that the certificate was asked for with; the certificate itself comes first in its file",
        )
    written = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return _written(chain), written.decode()


def described(pem: str) -> list[dict[str, str]]:
    """What may be shown of certificates."""
    found = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    return [
        {"subject": one.subject.rfc4514_string(), "expires_at": one.not_valid_after_utc.isoformat().replace("+00:00", "Z")}
        for one in found
    ]


def _certificates(data: bytes, what: str, now: datetime) -> Sequence[x509.Certificate]:
    if len(data) > LARGEST:
        raise UserMistake(f"{what} has more than {LARGEST} bytes", "give the certificates that are needed, and no others")
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise UserMistake(
            f"{what} is not in PEM", "give a file with -----BEGIN CERTIFICATE-----; of DER: openssl x509 -inform der -in FILE"
        ) from None
    for one in found:
        if one.not_valid_after_utc <= now:
            raise UserMistake(f"{what} ({_name(one)}) expired on {one.not_valid_after_utc:%Y-%m-%d}", "give one that is valid")
        if one.not_valid_before_utc > now:
            raise UserMistake(
                f"{what} ({_name(one)}) is valid from {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on only",
                "give one that is valid now",
            )
    return found


def _key(data: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(data, password=None)
    except TypeError:
        raise UserMistake(
            "the client certificate's key is locked with a passphrase", "unlock a copy: openssl pkey -in FILE -out FILE2"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UserMistake(
            "there is no key of the client certificate in PEM",
            "give --client-key a file with -----BEGIN PRIVATE KEY-----, or --client-cert one with both",
        ) from None


def _written(certificates: Sequence[x509.Certificate]) -> str:
    """Nothing but the certificates: a key or a remark beside them in the file is left behind."""
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial number {certificate.serial_number:x}"
