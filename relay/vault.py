"""Secrets, headers and client keys in the database: sealed when stored, opened for an endpoint that is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from relay.database import Row, query
from relay.identity import Change, Identity
from relay.keyring import Keyring, Sealed, Unreadable, for_client_key, for_headers, for_secret
from relay.sign import Signer, parse_signer
from relay.sign_ed25519 import SigningKey
from relay.static_headers import packed, unpacked

Connection = psycopg.Connection[Any]


def store_secret(connection: Connection, keyring: Keyring, endpoint: int, secret: Signer) -> None:
    """The endpoint's newest secret from now on."""
    public = secret.public if isinstance(secret, SigningKey) else None
    store_text(connection, keyring, endpoint, secret.text, public)


def store_text(connection: Connection, keyring: Keyring, endpoint: int, text: str, public: str | None = None) -> None:
    """The id comes first: the ciphertext is bound to it."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        (row,) = cursor.execute(query("secrets.next_id")).fetchall()
        sealed = keyring.seal(text, for_secret(endpoint, row["id"]))
        parameters = {"id": row["id"], "endpoint": endpoint, "public_key": public}
        cursor.execute(query("secrets.add"), {**parameters, "key_id": sealed.key_id, "ciphertext": sealed.ciphertext})


def store_headers(connection: Connection, keyring: Keyring, endpoint: int, headers: Mapping[str, str]) -> None:
    """Those that the endpoint has from now on; none takes them back."""
    sealed = keyring.seal(packed(headers), for_headers(endpoint)) if headers else None
    parameters = {"id": endpoint, "names": list(headers), "key_id": None, "ciphertext": None}
    if sealed:
        parameters |= {"key_id": sealed.key_id, "ciphertext": sealed.ciphertext}
    connection.execute(query("secrets.set_headers"), parameters)


def store_identity(connection: Connection, keyring: Keyring | None, endpoint: int, change: Change) -> None:
    """What of it is to change; a keyring is needed for a client certificate."""
    if change.authority is not None:
        connection.execute(query("secrets.set_authority"), {"id": endpoint, "authority": change.authority or None})
    if change.client is not None:
        certificate, key = change.client
        sealed = keyring.seal(key, for_client_key(endpoint)) if certificate and keyring else None
        parameters: dict[str, Any] = {"id": endpoint, "certificate": certificate or None, "key_id": None, "ciphertext": None}
        if sealed:
            parameters |= {"key_id": sealed.key_id, "ciphertext": sealed.ciphertext}
        connection.execute(query("secrets.set_client"), parameters)


def open_identity(keyring: Keyring, row: Row) -> Identity | None:
    """Of a loaded endpoint, where it has one. Raises Unreadable."""
    if row["client_key"] is None:
        return Identity(row["ca_certificates"]) if row["ca_certificates"] else None
    sealed = Sealed(row["client_key_id"], row["client_key"])
    key = _opened(keyring, sealed, for_client_key(row["id"]), "the key of the endpoint's client certificate")
    return Identity(row["ca_certificates"] or "", row["client_certificate"], key)


def open_secrets(keyring: Keyring, row: Row) -> tuple[Signer, ...]:
    """Of a loaded endpoint, newest first. Raises Unreadable, or UserMistake for one that can't sign."""
    sealed = zip(row["secret_ids"], row["secret_keys"], row["secrets"], strict=True)
    return tuple(
        parse_signer(_opened(keyring, Sealed(key, data), for_secret(row["id"], id), "the endpoint's secret"))
        for id, key, data in sealed
    )


def open_headers(keyring: Keyring, row: Row) -> dict[str, str]:
    """Of a loaded endpoint. Raises Unreadable."""
    if row["headers"] is None:
        return {}
    sealed = Sealed(row["headers_key"], row["headers"])
    return unpacked(_opened(keyring, sealed, for_headers(row["id"]), "what the endpoint has for headers"))


def _opened(keyring: Keyring, sealed: Sealed, context: str, what: str) -> str:
    try:
        return keyring.open(sealed, context)
    except Unreadable as why:
        raise Unreadable(f"{what} {why}") from None


def unknown_keys(keyring: Keyring, rows: Iterable[Row]) -> tuple[list[str], list[str]]:
    """Of the keys in use: ids that this keyring lacks, and those that it has."""
    ids = [row["key_id"] for row in rows]
    return [id for id in ids if id not in keyring], [id for id in ids if id in keyring]
