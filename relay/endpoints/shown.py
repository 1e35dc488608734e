"""Endpoints that are there: found by their public ids, and described as programs see them."""

from __future__ import annotations

import psycopg
from psycopg.rows import DictRow

from relay import public_id
from relay.database import Row, query
from relay.endpoints.given import ED25519, HMAC, spell, spelled
from relay.errors import UserMistake
from relay.identity import described as certificates_described
from relay.sign import Signer
from relay.sign_ed25519 import SigningKey
from relay.wishes import NOTHING_SAID

Connection = psycopg.Connection[DictRow]

CIRCUIT = ("circuit", "opened_at", "probes", "probe_at", "ramp")


def find(connection: Connection, text: str, *, briefly: bool = False) -> Row:
    """The endpoint of this public id, removed ones too. ``briefly``: its ids, tenant and state, for what is asked often."""
    id, _ = public_id.parse(text, "end")
    name = "endpoints.briefly" if briefly else "endpoints.by_id"
    rows = connection.execute(query(name), {"id": id}, prepare=True).fetchall()
    if not rows or rows[0]["public_id"].lower() != text.lower():
        raise UserMistake(f"there is no endpoint {text}", "rowhook endpoint list shows those that there are")
    return rows[0]


def find_present(connection: Connection, text: str, *, briefly: bool = False) -> Row:
    """The same, but a removed one is refused."""
    endpoint = find(connection, text, briefly=briefly)
    if endpoint["state"] == "removed":
        raise UserMistake(f"endpoint {endpoint['public_id']} was removed", "it stays for the record only; add a new one")
    return endpoint


def everything(connection: Connection, *, removed: bool) -> list[Row]:
    return connection.execute(query("endpoints.all"), {"removed": removed}).fetchall()


def details(connection: Connection, endpoint: Row) -> Row:
    """Secrets by their times, never their values, and how many deliveries wait or died."""
    (row,) = connection.execute(query("endpoints.details"), {"id": endpoint["id"]}).fetchall()
    return row


def scheme_of(connection: Connection, endpoint: Row) -> str:
    """By what its newest secret signs."""
    rows = connection.execute(query("endpoints.newest_public_key"), {"id": endpoint["id"]}).fetchall()
    return ED25519 if rows and rows[0]["public_key"] else HMAC


def described(endpoint: Row) -> Row:
    """An endpoint as programs see it."""
    shown = ("url", "events", "tenant", "description", "state", "state_reason")
    return {
        "id": endpoint["public_id"],
        **{name: endpoint[name] for name in shown},
        "retry": spelled(endpoint["retry_schedule"]),
        "timeout": None if endpoint["timeout"] is None else spell(endpoint["timeout"]),
        "max_in_flight": endpoint["max_in_flight"],
        "ordered": endpoint["ordered"],
        **{name: endpoint[name] for name in NOTHING_SAID},
        "headers": endpoint["header_names"],
        "ca_certificates": certificates_described(endpoint["ca_certificates"] or ""),
        "client_certificate": next(iter(certificates_described(endpoint["client_certificate"] or "")), None),
        "failing_since": endpoint["failing_since"],
        **{name: endpoint[name] for name in CIRCUIT},
        "created_at": endpoint["created_at"],
    }


def shown_once(secret: Signer) -> Row:
    """Both forms of a secret, for a ``whsec_`` one they are the same; of ed25519 the public key, which stays to be seen."""
    if isinstance(secret, SigningKey):
        return {"public_key": secret.public}
    return {"secret": secret.text, "secret_whsec": secret.whsec}
