"""Transactions that hold something back: events until they commit, or vacuum."""

from __future__ import annotations

from collections.abc import Sequence

from relay.database import Row
from relay.doctor.finding import Finding, bad, counted, lasting, ok, warning

LONG_WRITER, FAR_TOO_LONG_WRITER = 60.0, 3600.0
LONG_SNAPSHOT = 3600.0
OLD_SLOT = 10_000_000  # transactions
MANY_DEAD, DEAD_PER_LIVE = 100_000, 2.0


def judge_writers(rows: Sequence[Row]) -> Finding:
    """The oldest transaction that has written events: they are dispatched when it commits. Rows are oldest first."""
    check = "open writers"
    if not rows:
        return ok(check, "no open transaction has written events")
    oldest = rows[0]
    why = f"{_who(oldest)} has written events and been open for {lasting(oldest['age'])}: they go out when it commits"
    age = oldest["age"] or 0.0
    if age >= FAR_TOO_LONG_WRITER:
        return bad(check, why, _ending(oldest))
    if age >= LONG_WRITER:
        return warning(check, why, _ending(oldest))
    return ok(check, f"{len(rows)} open, the oldest for {lasting(oldest['age'])}")


def judge_snapshots(rows: Sequence[Row]) -> Finding:
    """What keeps vacuum from cleaning up after deliveries."""
    check = "oldest snapshot"
    for row in rows:
        if (row["age"] or 0.0) >= LONG_SNAPSHOT:
            return warning(check, f"{_who(row)} has kept vacuum from cleaning for {lasting(row['age'])}", _ending(row))
        if row["kind"] == "slot" and row["xids"] >= OLD_SLOT:
            why = f"replication slot {row['id']} keeps vacuum from cleaning what {row['xids']} transactions left"
            return warning(check, why, f"SELECT pg_drop_replication_slot('{row['id']}'), if nobody needs it any more")
    return ok(check, "nothing keeps vacuum from cleaning for long")


def judge_bloat(rows: Sequence[Row]) -> Finding:
    check = "dead rows"
    if rows and not rows[0]["autovacuum"]:
        return warning(
            check, "autovacuum is off: tables grow for ever", "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf()"
        )
    for row in rows:
        if row["dead"] > MANY_DEAD and row["dead"] > DEAD_PER_LIVE * row["live"]:
            why = f"rowhook.{row['table']} has {counted(row['dead'], 'dead row')} beside {row['live']} live ones"
            return warning(check, why, f"VACUUM (VERBOSE) rowhook.{row['table']}")
    return ok(check, f"{rows[0]['dead']} at most in a table" if rows else "no figures yet")


def _who(row: Row) -> str:
    if row["kind"] == "prepared":
        return f"prepared transaction {row['id']!r} of {row['who']}"
    name = f" ({row['application']})" if row["application"] else ""
    return f"process {row['id']} of {row['who'] or 'another role'}{name}"


def _ending(row: Row) -> str:
    if row["kind"] == "prepared":
        return f"COMMIT PREPARED '{row['id']}' or ROLLBACK PREPARED '{row['id']}'"
    return f"SELECT pg_terminate_backend({row['id']})"
