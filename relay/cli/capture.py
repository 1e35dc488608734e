"""rowhook capture, rowhook uncapture"""

from __future__ import annotations

import csv
from typing import Annotated, Any

from typer import Argument, Option

from relay import captures
from relay.captures import Options
from relay.cli.output import Json, as_fields, as_json, line, note
from relay.cli.session import Connection, as_admin
from relay.errors import UserMistake

TableName = Annotated[str, Argument(metavar="TABLE", help="The table, with or without its schema.")]


def capture_command(
    table: TableName,
    events: Annotated[str | None, Option(help="insert,update,delete,truncate, or some of them.", metavar="LIST")] = None,
    type_prefix: Annotated[str | None, Option(help="First part of event types; expenses: expense.", metavar="NAME")] = None,
    tenant: Annotated[str | None, Option(help="The column that says whose row it is.", metavar="COLUMN")] = None,
    include: Annotated[str | None, Option(help="Send only these columns.", metavar="COLUMNS")] = None,
    exclude: Annotated[str | None, Option(help="Send all columns but these.", metavar="COLUMNS")] = None,
    key: Annotated[str | None, Option(help="Columns of the row key, if not the primary key.", metavar="COLUMNS")] = None,
    on_error: Annotated[str | None, Option(help="abort: the write fails; record: it goes on uncaptured.", metavar="HOW")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the SQL and change nothing.")] = False,
    pause: Annotated[bool, Option("--pause", help="Disable the triggers.")] = False,
    resume: Annotated[bool, Option("--resume", help="Enable them again.")] = False,
    json: Json = False,
) -> None:
    """Capture a table's changes as events, or change how.

    Options that are not given keep what they were; an empty one ('') takes it back.
    """
    if pause and resume:
        raise UserMistake("--pause and --resume are both given", "give one of them")
    options = Options(
        tenant=tenant,
        include=names(include),
        exclude=names(exclude),
        key=names(key),
        events=names(events),
        type_prefix=type_prefix,
        on_error=on_error,
        paused=True if pause else False if resume else None,
    )
    with as_admin() as connection:
        _capture(connection, captures.find(connection, table), options, dry_run=dry_run, json=json)


def _capture(connection: Connection, table: captures.Table, options: Options, *, dry_run: bool, json: bool) -> None:
    if dry_run:
        plan = captures.plan(connection, table, options)
        if json:
            as_json({"table": table.label, "dry_run": True, **plan})
        else:
            line(f"-- {table.label}: would be {plan['result']}")
            line(plan["sql"].rstrip() if plan["result"] != "unchanged" else "-- nothing to do")
        return
    result = captures.install(connection, table, options, note)
    now = captures.current(connection, table) or {}
    _print(table, {"result": result, **now}, json=json)


def _print(table: captures.Table, now: dict[str, Any], *, json: bool) -> None:
    if json:
        as_json({**now, "table": table.label})
    elif now["result"] == "unchanged":
        line(f"{table.label}: unchanged")
    else:
        line(f"{table.label}: {now['result']}")
        as_fields({name: value for name, value in now.items() if name not in ("table", "result")})


def uncapture_command(table: TableName, json: Json = False) -> None:
    """Remove a capture; no trace is left on the table."""
    with as_admin() as connection:
        found = captures.find(connection, table)
        result = captures.remove(connection, found, note)
    if json:
        as_json({"table": found.label, "result": result})
    else:
        line(f"{found.label}: {result}")


def names(text: str | None) -> list[str] | None:
    """``a, b,"odd, name"`` as a list; an empty text is an empty list."""
    if text is None:
        return None
    (parts,) = csv.reader([text.replace("\n", " ")], skipinitialspace=True) if text.strip() else ([],)
    return [part.strip() for part in parts if part.strip()]
