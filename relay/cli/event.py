"""rowhook event types"""

from __future__ import annotations

from typing import Any

import typer

from relay import catalog
from relay.catalog import EventType
from relay.cli.output import Json, as_json, as_table, line
from relay.cli.session import at_work

app = typer.Typer(help="What is known of events: types.", rich_markup_mode=None)

COLUMNS = ("name", "table", "version", "changed", "set_aside", "description")


@app.callback(invoke_without_command=True)
def _event(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        line(context.get_help())


@app.command("types")
def types_command(json: Json = False) -> None:
    """Which event types there are, the version of each one's schema, and what changed with it.

    --json has all versions and the schemas. Types that are emitted by hand are not listed.
    """
    with at_work() as (_, connection):
        known = catalog.event_types(connection)
    if json:
        as_json([_everything(one) for one in known])
    else:
        as_table(COLUMNS, [_briefly(one) for one in known])


def _briefly(one: EventType) -> dict[str, Any]:
    last = one.versions[-1] if one.versions else None
    return {
        "name": one.name,
        "table": one.table,
        "version": last and last.number,
        "changed": "; ".join(catalog.in_words(change) for change in last.changes) or None if last else None,
        "set_aside": one.set_aside,
        "description": one.description,
    }


def _everything(one: EventType) -> dict[str, Any]:
    return {
        "name": one.name,
        "table": one.table,
        "description": one.description,
        "set_aside": one.set_aside,
        "versions": [
            {"version": v.number, "since": v.since, "compatible": v.compatible, "changes": v.changes} for v in one.versions
        ],
        "body_schema": one.schema,
        "example": one.example(),
    }
