"""rowhook rule add, list, remove"""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from relay import captures, rules
from relay.audit import by_command
from relay.cli.capture import print_plan
from relay.cli.output import Json, as_fields, as_json, as_table, line, note
from relay.cli.session import as_admin
from relay.rules import Rule

app = typer.Typer(help="Named events of rows for which a predicate holds: add, list, remove.", rich_markup_mode=None)

Type = Annotated[str, Argument(metavar="TYPE", help="The event type, e.g. bill.paid.")]
OnTable = Annotated[str, Option("--on", help="The table, with or without its schema.", metavar="TABLE")]


@app.callback(invoke_without_command=True)
def _rule(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        line(context.get_help())


@app.command("add")
def add_command(
    type: Type,
    on: OnTable,
    op: Annotated[str, Option(help="insert, update or delete.", metavar="OPERATION")],
    when: Annotated[str, Option(help="SQL over old.COLUMN, new.COLUMN and changed (names of columns).", metavar="PREDICATE")],
    description: Annotated[str | None, Option(help="What it is for, in words.", metavar="TEXT")] = None,
    tenant: Annotated[str | None, Option(help="The column that says whose row it is.", metavar="COLUMN")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the SQL and what it costs, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Make events of a type whenever a predicate holds for a row that is written, or change when.

    It works beside the events of rowhook capture and without them.
    """
    rule = Rule(type=type, op=op, predicate=when, description=description, tenant=tenant)
    with as_admin() as connection:
        table = captures.find(connection, on)
        if dry_run:
            print_plan(table, rules.plan(connection, table, rule), json=json)
            return
        result = rules.install(connection, by_command(), table, rule, note)
        (now,) = (row for row in rules.everything(connection, table) if row["type"] == type)
    if json:
        as_json({"result": result, **now})
    else:
        line(f"{type} on {table.label}: {result}")
        if result != "unchanged":
            as_fields({name: value for name, value in now.items() if name not in ("type", "table")})


@app.command("list")
def list_command(
    on: Annotated[str | None, Option("--on", help="Of this table only.", metavar="TABLE")] = None, json: Json = False
) -> None:
    """All rules, by table."""
    with as_admin() as connection:
        rows = rules.everything(connection, captures.find(connection, on) if on is not None else None)
    if json:
        as_json(rows)
    else:
        as_table(("type", "table", "op", "predicate", "tenant", "set_aside", "description"), rows)


@app.command("remove")
def remove_command(type: Type, on: OnTable, json: Json = False) -> None:
    """Remove a rule."""
    with as_admin() as connection:
        table = captures.find(connection, on)
        result = rules.remove(connection, by_command(), table, type, note)
    if json:
        as_json({"type": type, "table": table.label, "result": result})
    else:
        line(f"{type} on {table.label}: {result}")
