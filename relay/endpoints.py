"""Endpoints: what a person may say of one, checked; added, edited, paused, resumed, removed, their secrets rotated.

Each change ends with a notification in a statement of its own, so that relays look at once. Deliveries are locked in batches, in
id order as everybody locks them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow

from relay import public_id
from relay.config import Settings, duration
from relay.database import query
from relay.errors import UserMistake
from relay.guard import check_saved
from relay.identity import Change
from relay.identity import described as certificates_described
from relay.keyring import Keyring
from relay.retry import parse_schedule
from relay.sign import Signer, new_secret, parse_signer
from relay.sign_ed25519 import SigningKey
from relay.url import check_url
from relay.vault import store_headers, store_identity, store_secret
from relay.wishes import NOTHING_SAID, check_filter, parse_filter, parse_rate

Connection = psycopg.Connection[DictRow]
Row = dict[str, Any]

BATCH = 5000
MOST_PATTERNS = 100
MOST_IN_FLIGHT = 10_000
LONGEST_TEXT = 500
LONGEST_STATEMENT = 35.0  # seconds; a relay's end after 30
HMAC, ED25519 = "hmac", "ed25519"
CIRCUIT = ("circuit", "opened_at", "probes", "probe_at", "ramp")

_PATTERN = re.compile(r"\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?")
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)), ("s", timedelta(seconds=1)))


# --- what a person may say ------------------------------------------------------------------------------------------


def parse_patterns(text: str) -> list[str]:
    """``expense.*,bill.paid`` as a list, each pattern once."""
    patterns = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern) or len(pattern) > LONGEST_TEXT:
            shown = repr(pattern if len(pattern) <= 80 else f"{pattern[:79]}…")
            raise UserMistake(
                f"{shown} is not a pattern of event types", "give *, expense.* or expense.created, with commas between"
            )
    if len(patterns) > MOST_PATTERNS:
        raise UserMistake(f"these are {len(patterns)} patterns", f"give {MOST_PATTERNS} at most; expense.* stands for many")
    return patterns


def parse_retry(text: str) -> list[timedelta] | None:
    """Waits between tries; empty: as ROWHOOK_RETRY_SCHEDULE says."""
    return list(parse_schedule(text)) if text else None


def parse_timeout(text: str) -> timedelta | None:
    """Total time of one attempt; empty: as ROWHOOK_TIMEOUT says."""
    return one_duration(text, "timeout") if text else None


def one_duration(text: str, what: str) -> timedelta:
    try:
        return duration(text)
    except UserMistake:
        raise UserMistake(
            f"the {what} {text!r} is not a duration above zero", "give a number and a unit, e.g. 15s, 5min, 24h"
        ) from None


def parse_overlap(text: str) -> timedelta:
    """How long an old secret goes on signing; 0s ends it at once."""
    return timedelta() if re.fullmatch(r"0 ?[a-z]*", text.strip()) else one_duration(text, "overlap")


def parse_max_in_flight(text: str) -> int | None:
    """Requests at once from one relay; empty: the relay's default."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_IN_FLIGHT:
        raise UserMistake(f"{text!r} is not a number of requests at once", f"give 1 to {MOST_IN_FLIGHT}")
    return int(text)


def parse_text(text: str, what: str) -> str | None:
    """A tenant or a description; empty: none."""
    if len(text) > LONGEST_TEXT:
        raise UserMistake(f"the {what} has {len(text)} characters", f"give {LONGEST_TEXT} at most")
    return text or None


def parse_fields(given: Mapping[str, str | None]) -> Row:
    """The columns that these options set; those that are None set nothing."""
    parsers: dict[str, Any] = {
        "url": check_url,
        "events": parse_patterns,
        "tenant": lambda text: parse_text(text, "tenant"),
        "description": lambda text: parse_text(text, "description"),
        "retry_schedule": parse_retry,
        "timeout": parse_timeout,
        "max_in_flight": parse_max_in_flight,
        "filter": parse_filter,
        "rate": parse_rate,
    }
    return {name: parsers[name](text) for name, text in given.items() if text is not None}


def parse_scheme(text: str) -> str:
    if text not in (HMAC, ED25519):
        raise UserMistake(f"{text!r} is not a scheme of signatures", f"give {HMAC} or {ED25519}")
    return text


def chosen(given: Signer | None, scheme: str | None, default: str = "") -> Signer:
    """The secret that was given, which must fit the scheme; else the default one, which is by HMAC, or a random one."""
    if given is not None:
        is_by = ED25519 if isinstance(given, SigningKey) else HMAC
        if scheme not in (None, is_by):
            raise UserMistake(f"the secret is one for {is_by}, not for {scheme}", "ed25519 takes whsk_…, hmac anything else")
        return given
    if scheme == ED25519:
        return SigningKey.new()
    return parse_signer(default or new_secret())


def check_destination(fields: Row, settings: Settings) -> None:
    """Requests may go to the URL among these columns, if there is one; raises UserMistake. When dialled it is judged again."""
    if "url" in fields:
        check_saved(fields["url"], settings)


def spelled(waits: Sequence[timedelta] | None) -> str | None:
    """A schedule as --retry takes it."""
    return None if waits is None else ",".join(map(spell, waits)) or "none"


def spell(wait: timedelta) -> str:
    for unit, length in _UNITS:
        if wait >= length and not wait % length:
            return f"{wait // length}{unit}"
    return f"{wait.total_seconds():f}".rstrip("0").rstrip(".") + "s"


# --- what is there --------------------------------------------------------------------------------------------------


def find(connection: Connection, text: str) -> Row:
    """The endpoint of this public id, removed ones too."""
    id, _ = public_id.parse(text, "end")
    rows = connection.execute(query("endpoints.by_id"), {"id": id}).fetchall()
    if not rows or rows[0]["public_id"].lower() != text.lower():
        raise UserMistake(f"there is no endpoint {text}", "rowhook endpoint list shows those that there are")
    return rows[0]


def find_present(connection: Connection, text: str) -> Row:
    """The same, but a removed one is refused."""
    endpoint = find(connection, text)
    if endpoint["state"] == "removed":
        raise UserMistake(f"endpoint {endpoint['public_id']} was removed", "it stays for the record only; add a new one")
    return endpoint


def everything(connection: Connection, *, removed: bool) -> list[Row]:
    return connection.execute(query("endpoints.all"), {"removed": removed}).fetchall()


def details(connection: Connection, endpoint: Row) -> Row:
    """Secrets by their times, never their values, and how many deliveries wait or died."""
    (row,) = connection.execute(query("endpoints.details"), {"id": endpoint["id"]}).fetchall()
    return row


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


# --- what changes it ------------------------------------------------------------------------------------------------


def add(
    connection: Connection,
    keyring: Keyring,
    fields: Row,
    secret: Signer,
    headers: Mapping[str, str] | None = None,
    identity: Change = Change(),  # noqa: B008 - frozen
) -> Row:
    """A new endpoint with its first secret."""
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
    notify(connection)
    return row


def edit(
    connection: Connection,
    text: str,
    fields: Row,
    keyring: Keyring | None = None,
    headers: Mapping[str, str] | None = None,
    identity: Change = Change(),  # noqa: B008 - frozen
) -> Row:
    """Other values for some columns, other headers for all it had; relays reload it because its revision moves.

    A keyring is needed for headers, and for a client certificate. Made ordered, it has its order when this returns: what is open
    by then has been given keys.
    """
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
        _in_batches(connection, "ordered.give_keys", endpoint)
    notify(connection)
    return row


def _check_identity_is_for_https(endpoint: Row) -> None:
    if not endpoint["url"].startswith("https:") and (endpoint["ca_certificates"] or endpoint["client_certificate"]):
        raise UserMistake(
            "certificates say nothing over plain http", "give an https URL, or take them back: --ca-file '' --client-cert ''"
        )


def pause(connection: Connection, text: str) -> Row:
    """Its deliveries wait."""
    return _set_state(connection, text, "paused", "paused by hand")


def resume(connection: Connection, text: str, *, discard: bool) -> tuple[Row, Row]:
    """Active again, and as if it had never failed; what waited is sent, or given up before that. Returns what was given up."""
    given_up = give_up(connection, find_present(connection, text)) if discard else {}
    return _set_state(connection, text, "active", None), given_up


def remove(connection: Connection, text: str) -> tuple[Row, Row]:
    """No more events; what waits is given up, the history stays. Returns what was given up."""
    endpoint = find(connection, text)
    if endpoint["state"] != "removed":
        endpoint = _set_state(connection, text, "removed", "removed by hand")
    return endpoint, give_up(connection, endpoint)


def scheme_of(connection: Connection, endpoint: Row) -> str:
    """By what its newest secret signs."""
    rows = connection.execute(query("endpoints.newest_public_key"), {"id": endpoint["id"]}).fetchall()
    return ED25519 if rows and rows[0]["public_key"] else HMAC


def rotate(connection: Connection, keyring: Keyring, text: str, secret: Signer, overlap: timedelta) -> Row:
    """A new secret signs from now on, the old ones too until the overlap ends. Returns the endpoint and ``overlap_until``."""
    with connection.transaction():
        endpoint = _locked(connection, text)
        parameters = {"id": endpoint["id"], "overlap": overlap}
        (until,) = connection.execute(query("endpoints.expire_secrets"), parameters).fetchall()
        store_secret(connection, keyring, endpoint["id"], secret)
        (row,) = connection.execute(query("endpoints.revise"), parameters).fetchall()
    notify(connection)
    return {**row, **until}


def give_up(connection: Connection, endpoint: Row) -> Row:
    """Cancel what waits for this endpoint; a request that is ``out`` ends as it ends, but is not tried again.

    Those that are out first: one that fails meanwhile waits by then, or is cancelled by its relay.
    """
    _let_pass(connection)
    out = _in_batches(connection, "endpoints.give_up_leased", endpoint)
    return {"cancelled": _in_batches(connection, "endpoints.cancel_pending", endpoint), "out": out}


def _in_batches(connection: Connection, name: str, endpoint: Row) -> int:
    """Run a query that says how many rows it changed until there are no more; how many there were."""
    total: int = 0
    while True:
        (row,) = connection.execute(query(name), {"id": endpoint["id"], "batch": BATCH}).fetchall()
        (changed,) = row.values()
        total += changed
        if changed < BATCH:
            return total


def _let_pass(connection: Connection) -> None:
    """Wait for what began before the last commit: dispatch, claim, record or reclaim may be about to leave a delivery open. They
    are short; none outlasts a relay's statement timeout.
    """
    deadline = time.monotonic() + LONGEST_STATEMENT
    under_way = _under_way(connection)
    while under_way and time.monotonic() < deadline:
        time.sleep(0.005)
        under_way &= _under_way(connection)


def _under_way(connection: Connection) -> set[str]:
    (row,) = connection.execute(query("endpoints.under_way")).fetchall()
    return set(row["under_way"])


def notify(connection: Connection) -> None:
    """Relays look at once. A statement of its own, after the commit of what they are to see."""
    connection.execute(query("endpoints.notify"))


def _locked(connection: Connection, text: str) -> Row:
    connection.execute(query("endpoints.lock"), {"id": find(connection, text)["id"]})
    return find_present(connection, text)


def _set_state(connection: Connection, text: str, state: str, reason: str | None) -> Row:
    with connection.transaction():
        endpoint = _locked(connection, text)
        (row,) = connection.execute(
            query("endpoints.set_state"), {"id": endpoint["id"], "state": state, "reason": reason}
        ).fetchall()
        if state == "active":
            (row,) = connection.execute(query("endpoints.forget_failures"), {"id": endpoint["id"]}).fetchall()
    notify(connection)
    return row
