"""Endpoints: who gets nothing, who fails, what died, whose secrets can't be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relay.database import Row
from relay.doctor.finding import Finding, bad, counted, lasting, ok, warning
from relay.doctor.relays import MOST
from relay.errors import UserMistake
from relay.keyring import Keyring, Unreadable
from relay.vault import open_headers, open_identity, open_secrets

LONG_FAILING = 600.0
MOST_NAMED = 5


def judge(rows: Sequence[Row]) -> list[Finding]:
    if not rows:
        return [warning("endpoints", "there are none: events go nowhere", "rowhook endpoint add URL")]
    found = [f for row in rows if (f := _endpoint(row))]
    return [*(found or [ok("endpoints", f"{len(rows)}, all active, none failing for long")]), _dead_letters(rows)]


def _endpoint(row: Row) -> Finding | None:
    check = f"endpoint {row['public_id']}"
    waits = counted(row["pending"], "delivery", MOST)
    if row["state"] in ("paused", "disabled"):
        why = f"{row['url']} is {row['state']} ({row['state_reason']}); {waits} wait"
        return warning(check, why, f"rowhook endpoint resume {row['public_id']}, with --discard without what waits")
    if row["circuit"] == "open" or (row["failing"] or 0.0) >= LONG_FAILING:
        circuit = "its circuit is open, it gets one probe at a time; " if row["circuit"] == "open" else ""
        why = f"{row['url']} has done nothing but fail for {lasting(row['failing'])}; {circuit}{waits} wait"
        return warning(check, why, f"rowhook deliveries --endpoint {row['public_id']} says what it answered")
    return None


def _dead_letters(rows: Sequence[Row]) -> Finding:
    dead = [row for row in rows if row["dead"]]
    total, today = sum(row["dead"] for row in dead), sum(row["dead_today"] for row in dead)
    if not total:
        return ok("dead letters", "none")
    most = sorted(dead, key=lambda row: row["dead"], reverse=True)[:MOST_NAMED]
    names = ", ".join(f"{row['public_id']}: {row['dead']}" for row in most)
    why = f"{counted(total, 'delivery', MOST)} ended without success, {today} of them in the last 24 h ({names})"
    return warning("dead letters", why, f"rowhook replay --endpoint {most[0]['public_id']}, once it works again")


def unreadable(keyring: Keyring, rows: Sequence[Row]) -> dict[str, str]:
    """Of loaded endpoints: those whose secrets, headers or client's key can't be opened, and why."""
    found = {}
    for row in rows:
        try:
            if not open_secrets(keyring, row):
                found[row["public_id"]] = "it has no secret"
            open_headers(keyring, row)
            open_identity(keyring, row)
        except (Unreadable, UserMistake) as why:
            found[row["public_id"]] = str(why)
    return found


def judge_secrets(unreadable: Mapping[str, str], total: int) -> Finding:
    check = "secrets"
    if not unreadable:
        return ok(check, f"those of {counted(total, 'endpoint')} can be decrypted")
    named = "; ".join(f"{id}: {why}" for id, why in list(unreadable.items())[:MOST_NAMED])
    why = f"{len(unreadable)} of {counted(total, 'endpoint')} can't be signed for, their deliveries wait ({named})"
    return bad(
        check, why, f"add the key that is missing to ROWHOOK_SECRET_KEY, or: rowhook endpoint rotate {next(iter(unreadable))}"
    )


def judge_no_key() -> Finding:
    return bad(
        "secrets",
        "ROWHOOK_SECRET_KEY is not set: no relay starts without it",
        "rowhook keygen makes one, for a first installation",
    )
