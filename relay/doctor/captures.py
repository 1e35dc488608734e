"""Captures: are the triggers there, do they fire, do their functions belong to whom they should, may those do what they must?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from relay.database import Row
from relay.doctor.finding import Finding, bad, counted, ok, warning
from relay.owners import wrong

SET_UP_ROLES = """psql "$ROWHOOK_ADMIN_URL" -c 'SELECT rowhook.set_up_roles()'"""


def can_be_planned(rows: Iterable[Row]) -> list[str]:
    """Of these captures: tables of which rowhook.capture() can say what it would do today."""
    return [row["table"] for row in rows if not row["table_gone"]]


def judge(rows: Sequence[Row], outdated: Iterable[Row]) -> list[Finding]:
    if not rows:
        return [warning("captures", "no table is captured", "rowhook capture TABLE")]
    changed = {(row["table"], row["name"]): row for row in outdated}
    return [_capture(row, changed.get((row["table"], row["name"]))) for row in rows] + [
        f for row in rows if (f := _failures(row))
    ]


def _capture(row: Row, outdated: Row | None) -> Finding:
    check, table = (
        f"capture {row['name']} of {row['table']}" if row["name"] else f"capture of {row['table']}",
        _named(row["table"], row),
    )
    if row["table_gone"]:
        call = f"rowhook.uncapture({row['oid']}, $${row['name']}$$)" if row["name"] else f"rowhook.uncapture({row['oid']})"
        return warning(check, "the table was dropped", f"psql \"$ROWHOOK_ADMIN_URL\" -c 'SELECT {call}'")
    if row["unfit"]:
        why = f"{row['unfit']}: which rows are captured can't be told, so none is; each such statement is a capture failure"
        return bad(
            check, why, f"rowhook capture {table} with another --when, '' for all rows; or give the table back what it lost"
        )
    if row["missing"]:
        return bad(check, f"triggers are missing ({', '.join(row['missing'])}): writes go uncaptured", f"rowhook capture {table}")
    if row["paused"]:
        enabled = "" if row["disabled"] else ", but some triggers are enabled"
        return warning(check, f"it is paused: writes go uncaptured{enabled}", f"rowhook capture {table} --resume")
    if row["disabled"]:
        why = f"triggers are disabled ({', '.join(row['disabled'])}): writes go uncaptured"
        return bad(check, why, f"rowhook capture {table}; what went by: rowhook verify {table}")
    if row["set_aside"]:
        why = f"set aside, since the table has changed: {'; '.join(row['set_aside'])}"
        return bad(check, why, f"rowhook capture {table} with other options; or give the table back what it lost")
    if outdated:
        mode = f", and its mode would be {outdated['mode_now']}" if outdated["mode"] != outdated["mode_now"] else ""
        why = f"the table, its columns or its own triggers have changed since it was installed{mode}"
        return warning(check, why, f"rowhook capture {table}")
    return _sight(check, row)


def _named(table: str, row: Row) -> str:
    """A table and the name of this capture, as commands take them."""
    return f"{table} --name {row['name']}" if row["name"] else table


def _sight(check: str, row: Row) -> Finding:
    """Of triggers that are in place: what they see, and why they are such."""
    if row["within"]:
        why = f"it is a partition of {row['within']}, which is captured too: its rows make events twice"
        return warning(check, why, f"rowhook uncapture {_named(row['table'], row)}")
    if row["heirs"]:
        why = f"rows of tables that inherit from it make no event: {row['heirs']}"
        return warning(check, why, f"rowhook capture {_named(row['heirs'].split(', ')[0], row)}")
    reasons = row["row_reasons"]
    return ok(check, "its triggers are in place" + (f", row by row: it {', '.join(reasons)}" if reasons else ""))


def judge_rules(rows: Iterable[Row]) -> list[Finding]:
    """A rule that doesn't fit its table any more makes no events; writes go on."""
    return [
        bad(
            f"rule {row['type']} on {row['table']}",
            f"{row['problem']}: it is set aside and makes no events",
            f"rowhook rule add {row['type']} --on {row['table']} with another --when; or give the table back what it lost",
        )
        if row["problem"]
        else ok(f"rule {row['type']} on {row['table']}", "its predicate fits the table")
        for row in rows
    ]


def judge_watch(facts: Row) -> Finding:
    """Do captures follow DDL at once?"""
    check = "changes of the schema"
    if facts["watched"]:
        return ok(check, "captures follow them at once")
    if facts["disabled"]:
        why = "the event trigger by which captures follow is disabled: they only do when rowhook run starts"
        return warning(check, why, """psql "$ROWHOOK_ADMIN_URL" -c 'ALTER EVENT TRIGGER rowhook_follow_ddl ENABLE'""")
    if facts["may_watch"]:
        why = "there is no event trigger: captures follow them when rowhook run starts"
        return warning(check, why, """psql "$ROWHOOK_ADMIN_URL" -c 'SELECT rowhook.watch_ddl()'""")
    return ok(check, "captures follow them when rowhook run starts, as this role may make no event trigger")


def _failures(row: Row) -> Finding | None:
    if not row["failures"]:
        return None
    why = f"{counted(row['failures'], 'statement')} went uncaptured in 7 days; the last: {row['last_failure']}"
    check = f"uncaptured writes to {row['table']}" + (f" ({row['name']})" if row["name"] else "")
    return warning(check, why, f"rowhook verify {_named(row['table'], row)} lists the rows")


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
