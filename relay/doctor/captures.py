"""Captures: are the triggers there, do they fire, do their functions belong to whom they should, may those do what they must?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from relay.database import Row
from relay.doctor.finding import Finding, bad, counted, ok, warning
from relay.owners import wrong

SET_UP_ROLES = """psql "$ROWHOOK_ADMIN_URL" -c 'SELECT rowhook.set_up_roles()'"""


def can_be_planned(rows: Iterable[Row]) -> list[str]:
    """Of these captures: tables of which rowhook.capture() can say what it would do today."""
    return [row["table"] for row in rows if not (row["table_gone"] or row["lost"] or row["unknown_excluded"] or row["unfit"])]


def judge(rows: Sequence[Row], outdated: Iterable[Row]) -> list[Finding]:
    if not rows:
        return [warning("captures", "no table is captured", "rowhook capture TABLE")]
    changed = {row["table"]: row for row in outdated}
    return [_capture(row, changed.get(row["table"])) for row in rows] + [f for row in rows if (f := _failures(row))]


def _capture(row: Row, outdated: Row | None) -> Finding:
    check, table = f"capture of {row['table']}", row["table"]
    if row["table_gone"]:
        return warning(check, "the table was dropped", f"psql \"$ROWHOOK_ADMIN_URL\" -c 'SELECT rowhook.uncapture({row['oid']})'")
    if row["lost"]:
        why = f"the table has no column {', '.join(row['lost'])} any more, which the capture names: writes to it fail"
        return bad(check, why, f"rowhook capture {table} with other --key, --tenant or --include")
    if row["unfit"]:
        why = f"{row['unfit']}: which rows are captured can't be told, and writes fail unless the capture has --on-error record"
        return bad(check, why, f"rowhook capture {table} with another --when; '' for all rows")
    if row["missing"]:
        return bad(check, f"triggers are missing ({', '.join(row['missing'])}): writes go uncaptured", f"rowhook capture {table}")
    if row["paused"]:
        enabled = "" if row["disabled"] else ", but some triggers are enabled"
        return warning(check, f"it is paused: writes go uncaptured{enabled}", f"rowhook capture {table} --resume")
    if row["disabled"]:
        why = f"triggers are disabled ({', '.join(row['disabled'])}): writes go uncaptured"
        return bad(check, why, f"rowhook capture {table}; what went by: rowhook verify {table}")
    if row["unknown_excluded"]:
        why = f"it excludes {', '.join(row['unknown_excluded'])}, which the table doesn't have (renamed?)"
        return warning(check, why, f"rowhook capture {table} --exclude COLUMNS, the names as they are now")
    if outdated:
        mode = f", and its mode would be {outdated['mode_now']}" if outdated["mode"] != outdated["mode_now"] else ""
        why = f"the table, its columns or its own triggers have changed since it was installed{mode}"
        return warning(check, why, f"rowhook capture {table}")
    return _sight(check, row)


def _sight(check: str, row: Row) -> Finding:
    """Of triggers that are in place: what they see, and why they are such."""
    if row["within"]:
        why = f"it is a partition of {row['within']}, which is captured too: its rows make events twice"
        return warning(check, why, f"rowhook uncapture {row['table']}")
    if row["heirs"]:
        why = f"rows of tables that inherit from it make no event: {row['heirs']}"
        return warning(check, why, f"rowhook capture {row['heirs'].split(', ')[0]}")
    reasons = row["row_reasons"]
    return ok(check, "its triggers are in place" + (f", row by row: it {', '.join(reasons)}" if reasons else ""))


def judge_rules(rows: Iterable[Row]) -> list[Finding]:
    """A rule that would be refused today fails when it runs, and under on_error = abort the write with it."""
    return [
        bad(
            f"rule {row['type']} on {row['table']}",
            f"{row['problem']}: it fails, and writes with it unless the capture has --on-error record",
            f"rowhook rule add {row['type']} --on {row['table']} with another --when; or rule remove",
        )
        if row["problem"]
        else ok(f"rule {row['type']} on {row['table']}", "its predicate fits the table")
        for row in rows
    ]


def _failures(row: Row) -> Finding | None:
    if not row["failures"]:
        return None
    why = f"{counted(row['failures'], 'statement')} went uncaptured in 7 days; the last: {row['last_failure']}"
    return warning(f"uncaptured writes to {row['table']}", why, f"rowhook verify {row['table']} lists the rows")


def judge_owners(rows: Sequence[Row], wanted: str) -> Finding:
    """Trigger functions run with their owner's rights, inside the writer's transaction."""
    check = "owner of trigger functions"
    for row in rows:
        if why := wrong(row):
            return bad(check, f"{why} (a restore does that)", SET_UP_ROLES)
        if row["owner"] != wanted:
            why = f"{counted(row['functions'], 'function')} belong to {row['owner']}, not to {wanted}, which can do nothing else"
            return bad(check, why, SET_UP_ROLES)
    return ok(check, f"they belong to {wanted}, which may do what they need")


def judge_log(facts: Row) -> list[Finding]:
    """What makes the order of ids the order of commit; and whether the cursor knows this cluster."""
    found = [ok("ids of events", "each is taken singly: their order per row is that of commit")]
    if facts["cache"] != 1:
        why = f"sessions take {facts['cache']} ids ahead: events of a row may be dispatched in the wrong order"
        found = [bad("ids of events", why, "ALTER TABLE rowhook.event ALTER COLUMN id SET CACHE 1")]
    if facts["renumbered"]:
        why = "the cursor is another cluster's (a restore or an upgrade): the next look of a relay begins it anew"
        found.append(warning("cursor", why, "rowhook run"))
    return found
