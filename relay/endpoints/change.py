"""What changes an endpoint: added, edited, paused, resumed, removed, its secret rotated.

Each change is one transaction with its row of the audit (relay/audit.py), within the caller's if there is one open; it ends with
a notification, so that relays look at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import psycopg
from psycopg.rows import DictRow

from relay import audit
from relay.audit import Actor
from relay.database import Row, query
from relay.endpoints.discard import cancel_waiting, give_up, in_batches, let_pass
from relay.endpoints.shown import described, find, find_present
from relay.errors import UserMistake
from relay.identity import Change
from relay.keyring import Keyring
from relay.sign import Signer
from relay.sign_ed25519 import SigningKey
from relay.vault import store_headers, store_identity, store_secret
from relay.wishes import NOTHING_SAID, check_filter

Connection = psycopg.Connection[DictRow]

SAME_IDENTITY = Change()


def add(
    connection: Connection,
    actor: Actor,
    keyring: Keyring,
    fields: Row,
    secret: Signer,
    headers: Mapping[str, str] | None = None,
    identity: Change = SAME_IDENTITY,
    *,
    has_past: bool = False,
) -> Row:
    """A new endpoint with its first secret; paused, if it is to be given a past."""
    columns = dict.fromkeys(("tenant", "description", "retry_schedule", "timeout", "max_in_flight"))
    check_filter(connection, fields)
    fields = {"events": ["*"], "ordered": False, **NOTHING_SAID, **columns, **fields}
    with connection.transaction():
        (row,) = connection.execute(query("endpoints.add"), fields).fetchall()
        store_secret(connection, keyring, row["id"], secret)
        store_headers(connection, keyring, row["id"], headers or {})
        store_identity(connection, keyring, row["id"], identity)
        (row,) = connection.execute(query("endpoints.by_id"), {"id": row["id"]}).fetchall()
        _check_identity_is_for_https(row)
        if has_past:
            row = _set_state(connection, row, "paused", "its past is being added (endpoint add --since)")
        _log(connection, actor, "endpoint.add", None, row)
    notify(connection)
    return row


def edit(
    connection: Connection,
    actor: Actor,
    text: str,
    fields: Row,
    keyring: Keyring | None = None,
    headers: Mapping[str, str] | None = None,
    identity: Change = SAME_IDENTITY,
) -> Row:
    """Other values for some columns, other headers for all it had; relays reload it because its revision moves.

    A keyring is needed for headers, and for a client certificate. Made ordered, it has its order when this returns: what is open
    by then has keys. Most get theirs before, when it changes nothing yet, so that dispatch is not held up for long.
    """
    if fields.get("ordered"):
        ordered_ahead(connection, find_present(connection, text))
    with connection.transaction():
        check_filter(connection, fields)
        if fields.get("ordered"):
            connection.execute(query("ordered.hold_dispatch"))
        endpoint = _locked(connection, text)
        if headers is not None and keyring is not None:
            store_headers(connection, keyring, endpoint["id"], headers)
        store_identity(connection, keyring, endpoint["id"], identity)
        (row,) = connection.execute(query("endpoints.edit"), {**endpoint, **fields}).fetchall()
        _check_identity_is_for_https(row)
        if fields.get("ordered"):
            in_batches(connection, "ordered.give_keys", endpoint)
        _log(connection, actor, "endpoint.edit", endpoint, row)
    notify(connection)
    return row


def ordered_ahead(connection: Connection, endpoint: Row) -> None:
    """Give keys to what is open, of an endpoint that is about to be ordered: a key by itself changes nothing."""
    in_batches(connection, "ordered.give_keys", endpoint)


def pause(connection: Connection, actor: Actor, text: str) -> Row:
    """Its deliveries wait."""
    with connection.transaction():
        endpoint = _locked(connection, text)
        row = _set_state(connection, endpoint, "paused", "paused by hand")
        _log(connection, actor, "endpoint.pause", endpoint, row)
    notify(connection)
    return row


def resume(connection: Connection, actor: Actor, text: str, *, discard: bool) -> tuple[Row, Row]:
    """Active again, and as if it had never failed; what waited is sent, or given up before that. Returns what was given up."""
    if discard:
        let_pass(connection)
    with connection.transaction():
        given_up = give_up(connection, find_present(connection, text)) if discard else {}
        row = activate(connection, actor, text, given_up)
    notify(connection)
    return row, given_up


def activate(connection: Connection, actor: Actor, text: str, given_up: Mapping[str, object]) -> Row:
    """The end of resuming, in its transaction: after what was given up, because recorders lock deliveries before endpoints."""
    endpoint = _locked(connection, text)
    row = _set_state(connection, endpoint, "active", None)
    (row,) = connection.execute(query("endpoints.forget_failures"), {"id": row["id"]}).fetchall()
    _log(connection, actor, "endpoint.resume", endpoint, row, given_up)
    return row


def remove(connection: Connection, actor: Actor, text: str) -> tuple[Row, Row]:
    """No more events; what waits is given up, the history stays. Returns what was given up.

    With the change goes what waits by then. What was under way and may not have seen it is waited for and swept up after it: not
    to be called with a transaction open. Of one that was removed before it sweeps again.
    """
    with connection.transaction():
        endpoint = find(connection, text)
        cancelled = cancel_waiting(connection, endpoint)
        connection.execute(query("endpoints.lock"), {"id": endpoint["id"]})
        endpoint = row = find(connection, text)
        if endpoint["state"] != "removed":
            row = _set_state(connection, endpoint, "removed", "removed by hand")
            _log(connection, actor, "endpoint.remove", endpoint, row, {"cancelled": cancelled})
    notify(connection)
    let_pass(connection)
    with connection.transaction():
        left = give_up(connection, row)
    return row, {"cancelled": cancelled + left["cancelled"], "out": left["out"]}


def rotate(connection: Connection, actor: Actor, keyring: Keyring, text: str, secret: Signer, overlap: timedelta) -> Row:
    """A new secret signs from now on, the old ones too until the overlap ends. Returns the endpoint and ``overlap_until``."""
    with connection.transaction():
        endpoint = _locked(connection, text)
        parameters = {"id": endpoint["id"], "overlap": overlap}
        (until,) = connection.execute(query("endpoints.expire_secrets"), parameters).fetchall()
        store_secret(connection, keyring, endpoint["id"], secret)
        (row,) = connection.execute(query("endpoints.revise"), parameters).fetchall()
        public = {"public_key": secret.public} if isinstance(secret, SigningKey) else {}
        _log(connection, actor, "endpoint.rotate", endpoint, row, {**until, **public})
    notify(connection)
    return {**row, **until}


def notify(connection: Connection) -> None:
    """Relays look at once; in an open transaction it goes out with its commit."""
    connection.execute(query("endpoints.notify"))


def _log(
    connection: Connection, actor: Actor, action: str, before: Row | None, after: Row, more: Mapping[str, object] = {}
) -> None:
    old = None if before is None else described(before)
    new = {**described(after), **more}
    audit.write(connection, actor, action, after["public_id"], tenant=after["tenant"], before=old, after=new)


def _check_identity_is_for_https(endpoint: Row) -> None:
    if not endpoint["url"].startswith("https:") and (endpoint["ca_certificates"] or endpoint["client_certificate"]):
        raise UserMistake(
            "certificates say nothing over plain http", "give an https URL, or take them back: --ca-file '' --client-cert ''"
        )


def _locked(connection: Connection, text: str) -> Row:
    connection.execute(query("endpoints.lock"), {"id": find(connection, text)["id"]})
    return find_present(connection, text)


def _set_state(connection: Connection, endpoint: Row, state: str, reason: str | None) -> Row:
    parameters = {"id": endpoint["id"], "state": state, "reason": reason}
    (row,) = connection.execute(query("endpoints.set_state"), parameters).fetchall()
    return row
