"""rowhook capture, rowhook uncapture"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Annotated, Any

from typer import Argument, Option

from relay import captures
from relay.audit import by_command
from relay.captures import Options
from relay.cli.output import Json, as_fields, as_json, as_table, line, note
from relay.cli.session import Connection, as_admin
from relay.errors import UserMistake

TableName = Annotated[str, Argument(metavar="TABLE", help="The table, with or without its schema.")]
CaptureName = Annotated[str, Option("--name", help="Which of the table's captures; the first needs none.", metavar="NAME")]


def capture_command(
    table: TableName,
    name: CaptureName = "",
    events: Annotated[str | None, Option(help="insert,update,delete,truncate, or some of them.", metavar="LIST")] = None,
    type_prefix: Annotated[str | None, Option(help="First part of event types; expenses: expense.", metavar="NAME")] = None,
    tenant: Annotated[str | None, Option(help="The column that says whose row it is.", metavar="COLUMN")] = None,
    include: Annotated[str | None, Option(help="Send only these columns.", metavar="COLUMNS")] = None,
    exclude: Annotated[str | None, Option(help="Send all columns but these.", metavar="COLUMNS")] = None,
    key: Annotated[str | None, Option(help="Columns of the row key, if not the primary key.", metavar="COLUMNS")] = None,
    on_error: Annotated[str | None, Option(help="abort: the write fails; record: it goes on uncaptured.", metavar="HOW")] = None,
    redact: Annotated[str | None, Option(help="email:sha256,card:last4,phone:mask.", metavar="LIST")] = None,
    max_size: Annotated[
        int | None, Option(help="Bytes of an event's JSON above which it has the row's key only; 0: any.", min=0)
    ] = None,
    enrich: Annotated[str | None, Option(help="category_name:category_id.name, by a foreign key.", metavar="LIST")] = None,
    when: Annotated[
        str | None, Option(help="Only rows for which this SQL holds, e.g. 'amount > 100'.", metavar="PREDICATE")
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the SQL and its cost, and change nothing.")] = False,
    pause: Annotated[bool, Option("--pause", help="Disable the triggers.")] = False,
    resume: Annotated[bool, Option("--resume", help="Enable them again.")] = False,
    json: Json = False,
) -> None:
    """Capture a table's changes as events, or change how.

    Options that are not given keep what they were; an empty one ('') takes it back. By another --name a table is captured once
    more, with options of their own.
    """
    if pause and resume:
        raise UserMistake("--pause and --resume are both given", "give one of them")
    options = Options(
        name=name,
        tenant=tenant,
        include=names(include),
        exclude=names(exclude),
        key=names(key),
        events=names(events),
        type_prefix=type_prefix,
        on_error=on_error,
        paused=True if pause else False if resume else None,
        redact=pairs("--redact", redact),
        max_size=max_size,
        enrich=pairs("--enrich", enrich),
        predicate=when,
    )
    with as_admin() as connection:
        _capture(connection, captures.find(connection, table), options, dry_run=dry_run, json=json)


def _capture(connection: Connection, table: captures.Table, options: Options, *, dry_run: bool, json: bool) -> None:
    if dry_run:
        print_plan(table, captures.plan(connection, table, options), json=json)
        return
    result = captures.install(connection, by_command(), table, options, note)
    now = captures.current(connection, table, options.name) or {}
    _print(table, {"result": result, **now}, json=json)


def print_plan(table: captures.Table, plan: Mapping[str, Any], *, json: bool) -> None:
    """What --dry-run says: the SQL, and what a row would cost its writer."""
    if json:
        as_json({"table": table.label, "dry_run": True, **plan})
        return
    line(f"-- {table.label}: would be {plan['result']}")
    line(plan["sql"].rstrip() if plan["result"] != "unchanged" else "-- nothing to do")
    for cost in plan["cost"] or ():
        line(
            f"-- {cost['op']}: {cost['captured_us']:.2f} µs a row, {cost['bare_us']:.2f} µs without capture"
            f" (one statement on a copy of {cost['rows']:,} rows, without indexes)"
        )
    if not plan["cost"]:
        line("-- what it costs can't be told: there are no rows that could be copied")


def _print(table: captures.Table, now: dict[str, Any], *, json: bool) -> None:
    if json:
        as_json({**now, "table": table.label})
    elif now["result"] == "unchanged":
        line(f"{table.label}: unchanged")
    else:
        line(f"{table.label}: {now['result']}")
        as_fields({name: value for name, value in now.items() if name not in ("table", "result")})


def captures_command(json: Json = False) -> None:
    """All captures, with their options."""
    with as_admin() as connection:
        rows = captures.everything(connection)
    if json:
        as_json(rows)
    else:
        as_table(("table", "name", "mode", "events", "type_prefix", "tenant", "predicate", "paused"), rows)


def uncapture_command(table: TableName, name: CaptureName = "", json: Json = False) -> None:
    """Remove a capture; no trace of it is left on the table."""
    with as_admin() as connection:
        found = captures.find(connection, table)
        result = captures.remove(connection, by_command(), found, note, name)
    if json:
        as_json({"table": found.label, "result": result})
    else:
        line(f"{found.label}: {result}")


def pairs(option: str, text: str | None) -> dict[str, str] | None:
    """``email:sha256, card:last4`` as a dict; raises UserMistake."""
    given = names(text)
    if given is None:
        return None
    parts = [part.rpartition(":") for part in given]
    for name, _, value in parts:
        if not name.strip() or not value.strip():
            raise UserMistake(f"{option} {text!r} is not a list of pairs", "give NAME:VALUE,NAME:VALUE")
    return {name.strip(): value.strip() for name, _, value in parts}


def names(text: str | None) -> list[str] | None:
    """``a, b,"odd, name"`` as a list; an empty text is an empty list."""
    if text is None:
        return None
    (parts,) = csv.reader([text.replace("\n", " ")], skipinitialspace=True) if text.strip() else ([],)
    return [part.strip() for part in parts if part.strip()]
