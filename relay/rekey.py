"""Seal everything anew under the newest key: in small transactions, each of which stands, so one that was cut off goes on.

Relays keep what they have loaded, and load either form; a row that does not decrypt is left as it is, and told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import DictRow

from relay import audit
from relay.audit import Actor
from relay.database import query
from relay.keyring import Keyring, Sealed, Unreadable, for_client_key, for_headers, for_secret

Connection = psycopg.Connection[DictRow]

BATCH = 100


@dataclass
class Done:
    """How many were sealed anew; ``unreadable`` are public ids of endpoints."""

    secrets: int = 0
    headers: int = 0
    client_keys: int = 0
    unreadable: list[str] = field(default_factory=list)


def rekey(connection: Connection, actor: Actor, keyring: Keyring, batch: int = BATCH) -> Done:
    """All secrets, headers and client keys that are not under the newest key."""
    done = Done()
    done.secrets = _all(connection, actor, keyring, "secrets", batch, done.unreadable)
    done.headers = _all(connection, actor, keyring, "headers", batch, done.unreadable)
    done.client_keys = _all(connection, actor, keyring, "client_keys", batch, done.unreadable)
    return done


def _all(connection: Connection, actor: Actor, keyring: Keyring, what: str, batch: int, unreadable: list[str]) -> int:
    total, after = 0, 0
    while True:
        before = total
        with connection.transaction():
            parameters = {"newest": keyring.newest, "after": after, "batch": batch}
            rows = connection.execute(query(f"rekey.old_{what}"), parameters).fetchall()
            for row in rows:
                after = row["id"]
                if _again(connection, keyring, what, row):
                    total += 1
                elif row["public_id"] not in unreadable:
                    unreadable.append(row["public_id"])
            if total > before:
                audit.write(connection, actor, "key.rekey", keyring.newest, after={"what": what, "count": total - before})
        if len(rows) < batch:
            return total


def _again(connection: Connection, keyring: Keyring, what: str, row: dict[str, Any]) -> bool:
    context = _context(what, row)
    try:
        text = keyring.open(Sealed(row["key_id"], row["ciphertext"]), context)
    except Unreadable:
        return False
    sealed = keyring.seal(text, context)
    parameters = {"id": row["id"], "key_id": sealed.key_id, "ciphertext": sealed.ciphertext}
    connection.execute(query(f"rekey.renew_{what}"), parameters)
    return True


def _context(what: str, row: dict[str, Any]) -> str:
    match what:
        case "secrets":
            return for_secret(row["endpoint_id"], row["id"])
        case "headers":
            return for_headers(row["id"])
        case _:
            return for_client_key(row["id"])
