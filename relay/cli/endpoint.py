"""rowhook endpoint list, show, pause, resume, remove, skip"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay import endpoints, ordered
from relay.audit import by_command
from relay.cli.output import Json, as_fields, as_json, as_table, line
from relay.cli.session import at_work

app = typer.Typer(
    help="Who gets which events: add, list, show, edit, pause, resume, rotate, skip, remove.", rich_markup_mode=None
)

EndpointId = Annotated[str, typer.Argument(metavar="ID", help="The endpoint: end_…")]


@app.callback(invoke_without_command=True)
def _endpoint(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        line(context.get_help())


@app.command("list")
def list_command(
    removed: Annotated[bool, typer.Option("--removed", help="Those that were removed, too.")] = False, json: Json = False
) -> None:
    """All endpoints."""
    with at_work() as (_, connection):
        rows = [endpoints.described(row) for row in endpoints.everything(connection, removed=removed)]
    if json:
        as_json(rows)
    else:
        as_table(("id", "state", "events", "tenant", "url", "description"), rows)


@app.command("show")
def show_command(endpoint: EndpointId, json: Json = False) -> None:
    """One endpoint: its options, since when it fails, its circuit, what waits for it."""
    with at_work() as (_, connection):
        row = endpoints.find(connection, endpoint)
        details = endpoints.details(connection, row)
    shown = {**endpoints.described(row), **details}
    if json:
        as_json(shown)
    else:
        secrets = [
            f"{s['public_key'] or s['scheme']} since {s['created_at']}{', until ' + s['expires_at'] if s['expires_at'] else ''}"
            for s in details["secrets"]
        ]
        as_fields({**shown, "secrets": secrets})


@app.command("pause")
def pause_command(endpoint: EndpointId, json: Json = False) -> None:
    """Send nothing to it for now; its deliveries wait."""
    with at_work() as (_, connection):
        _say(endpoints.pause(connection, by_command(), endpoint), {}, json=json)


@app.command("resume")
def resume_command(
    endpoint: EndpointId,
    discard: Annotated[
        bool, typer.Option("--discard", help="Cancel what has been waiting; what is out is not tried again.")
    ] = False,
    json: Json = False,
) -> None:
    """Send to it again, whether it was paused or disabled; an open circuit is closed."""
    with at_work() as (_, connection):
        row, given_up = endpoints.resume(connection, by_command(), endpoint, discard=discard)
    _say(row, given_up, json=json)


@app.command("remove")
def remove_command(endpoint: EndpointId, json: Json = False) -> None:
    """Send nothing to it any more; what waits is cancelled, the history stays."""
    with at_work() as (_, connection):
        row, given_up = endpoints.remove(connection, by_command(), endpoint)
    _say(row, given_up, json=json)


@app.command("skip")
def skip_command(
    endpoint: EndpointId,
    key: Annotated[str, typer.Option("--key", help="The row's key, as rowhook deliveries shows it.", metavar="KEY")],
    table: Annotated[str | None, typer.Option(help="The row's table, where several have such a key.", metavar="T")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that wait for this row, not just the first.")] = False,
    json: Json = False,
) -> None:
    """Of an ordered endpoint: cancel the delivery that a row is stuck at, so that the next one is sent."""
    with at_work() as (_, connection):
        row, skipped = ordered.skip(connection, by_command(), endpoint, key, table, everything=everything)
    if json:
        as_json({"id": row["public_id"], "table": skipped.table, "key": key, "cancelled": skipped.cancelled, "out": skipped.out})
    else:
        line(f"{row['public_id']}: row {key}{_counts({'cancelled': skipped.cancelled, 'out': skipped.out})}")


def _say(row: dict[str, Any], more: dict[str, Any], *, json: bool) -> None:
    if json:
        as_json({**endpoints.described(row), **more})
        return
    line(f"{row['public_id']}: {row['state']}{_counts(more)}")


def _counts(given_up: dict[str, int]) -> str:
    """What was cancelled, and what is out and won't be tried again."""
    said = {"cancelled": "cancelled deliveries: {}", "out": "out, and not tried again: {}"}
    return "".join(", " + said[name].format(count) for name, count in given_up.items() if count or name == "cancelled")
