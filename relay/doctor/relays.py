"""Relays: who runs, who is frozen, who dispatches and how far behind, what the dead have left."""

from __future__ import annotations

from collections.abc import Sequence

from relay.database import Row
from relay.doctor.finding import Finding, bad, counted, lasting, ok, warning
from relay.lease import FROZEN_AFTER

LATE, FAR_TOO_LATE = 5.0, 60.0  # seconds: events undispatched, deliveries due and unclaimed
TAKEN_OVER_WITHIN = 10.0
MOST = 10_000  # counting ends here


def live(relays: Sequence[Row]) -> list[Row]:
    return [row for row in relays if row["state"] == "live" and row["holds_lock"]]


def judge_running(relays: Sequence[Row], waiting: int) -> Finding:
    """``waiting``: events and deliveries that a relay would take up now."""
    check = "running relays"
    running = live(relays)
    if frozen := [row for row in running if row["silent"] >= FROZEN_AFTER]:
        why = f"{_names(frozen)} holds its lock and has given no sign of life for {lasting(max(r['silent'] for r in frozen))}"
        return bad(check, why, "end it (kill -9 its process) or let it go on (kill -CONT); a second relay ends it by itself")
    if running:
        return ok(check, f"{len(running)}: {_names(running)}")
    if waiting:
        return bad(check, f"none, and work waits ({waiting})", "rowhook run")
    return warning(check, "none; nothing waits yet", "rowhook run")


def judge_dispatcher(relays: Sequence[Row], lag: Row) -> Finding:
    check = "dispatcher"
    who = [row for row in live(relays) if row["dispatches"]]
    age = lag["age"] or 0.0
    behind = f"{counted(lag['events'], 'event', MOST)} not dispatched yet"
    if lag["events"]:
        behind += f", the oldest for {lasting(age)}"
    if not who:
        if live(relays) and age >= LATE:
            return bad(check, f"relays run and none dispatches; {behind}", "restart the relays; their logs say what keeps them")
        return (bad if age >= FAR_TOO_LATE else warning)(check, f"there is none; {behind}", "rowhook run")
    if age >= FAR_TOO_LATE:
        return bad(check, f"{_names(who)}; {behind}", "look at its log and its CPU; rowhook run --processes N shares the work")
    if age >= LATE:
        return warning(
            check, f"{_names(who)}; {behind}", "look at its log and its CPU; rowhook run --processes N shares the work"
        )
    return ok(check, f"{_names(who)}; {behind}")


def judge_due(relays: Sequence[Row], due: Row) -> Finding:
    """Deliveries whose time has come and that nobody has claimed."""
    check = "due deliveries"
    age = due["age"] or 0.0
    why = f"{counted(due['deliveries'], 'delivery', MOST)} due and not claimed"
    if due["deliveries"]:
        why += f", the oldest for {lasting(age)}"
    if age < LATE:
        return ok(check, why)
    remedy = "rowhook run --processes N shares the work" if live(relays) else "rowhook run"
    return (bad if age >= FAR_TOO_LATE and not live(relays) else warning)(check, why, remedy)


def judge_leases(relays: Sequence[Row], leases: Row) -> Finding:
    check = "leases of the dead"
    if not leases["deliveries"]:
        return ok(check, "none")
    why = f"{counted(leases['deliveries'], 'delivery')} held by relays that have ended, for {lasting(leases['age'])}"
    if live(relays) and (leases["age"] or 0.0) >= TAKEN_OVER_WITHIN:
        return bad(
            check, f"{why}; the relays that run should have taken them over", "restart the relays; their logs say what keeps them"
        )
    return warning(check, why, "rowhook run takes them over" if not live(relays) else "nothing: they are taken over in a moment")


def judge_missed_rings(relays: Sequence[Row]) -> Finding:
    check = "missed rings"
    missed = sum(row["missed_rings"] for row in relays)
    if not missed:
        return ok(check, "none in 7 days")
    names = _names([row for row in relays if row["missed_rings"]])
    why = f"{counted(missed, 'event')} found by a safety look, for which nobody had rung ({names}): up to 15 s late each"
    return warning(check, why, "say so to Rowhook's authors; meanwhile nothing is lost")


def _names(relays: Sequence[Row]) -> str:
    return ", ".join(row["name"] for row in relays)


def judge_rights(role: str, lacks: Sequence[str]) -> Finding:
    """Of the role that DATABASE_URL names."""
    if lacks:
        return bad("rights of relays", f"role {role} lacks {', '.join(lacks)}", f"GRANT rowhook_relay TO {role}")
    return ok("rights of relays", f"role {role} has what a relay needs")
