"""Retention: does somebody keep house, and does it keep up?"""

from __future__ import annotations

from datetime import timedelta

from relay.database import Row
from relay.doctor.finding import Finding, bad, lasting, ok, warning

CHECK = "retention"
LATE = 6 * 3600.0  # seconds that a slot may be overdue: large ones are swept for a while
SILENT = 24 * 3600.0


def judge(keep: timedelta | None, row: Row) -> Finding:
    """``keep``: ROWHOOK_RETENTION here; the row says what the keeper that ran last was told."""
    if row["idle"] is None:
        return ok(CHECK, f"{_kept(keep)}; no relay has looked yet (they do within a quarter of a minute)")
    if row["overdue"] is not None and row["overdue"] > LATE:
        return _overdue(row)
    if row["trouble"]:
        return warning(CHECK, f"the last round did not finish: {row['trouble']}", "nothing yet: it is tried again each minute")
    if row["keep"] != keep:
        why = f"the relay that ran last keeps {_kept(row['keep'])}, and here ROWHOOK_RETENTION says {_kept(keep)}"
        return warning(CHECK, why, "give all relays the same ROWHOOK_RETENTION")
    return ok(CHECK, f"{_kept(keep)}; last looked {lasting(row['idle'])} ago")


def _overdue(row: Row) -> Finding:
    why = f"slot {row['slot']} of the ring should have gone {lasting(row['overdue'])} ago"
    if row["idle"] > SILENT:
        return bad(CHECK, f"{why}; nobody has kept house for {lasting(row['idle'])}", "rowhook run")
    if row["holders"]:
        why += f"; session {row['holders'][0]} holds it"
        return bad(CHECK, why, f"SELECT pg_terminate_backend({row['holders'][0]}), or let it end its transaction")
    remedy = "rowhook archive --remove --to FOLDER does it now, and says what is in the way"
    return bad(CHECK, f"{why}: {row['trouble'] or 'there is more than it gets done'}", remedy)


def _kept(keep: timedelta | None) -> str:
    return "everything is kept" if keep is None else f"what has ended is kept for {lasting(keep.total_seconds())}"
