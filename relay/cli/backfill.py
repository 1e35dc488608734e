"""rowhook backfill"""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from relay import backfill, captures
from relay.cli.capture import CaptureName
from relay.cli.output import Json, as_json, line, note
from relay.cli.session import as_admin


def backfill_command(
    table: Annotated[str, Argument(metavar="TABLE", help="A captured table.")],
    name: CaptureName = "",
    rows: Annotated[str | None, Option(help="Only rows for which this holds, e.g. 'amount > 100'.", metavar="SQL")] = None,
    endpoint: Annotated[
        str | None, Option(help="For this endpoint only (end_…), whatever its patterns are.", metavar="ID")
    ] = None,
    rate: Annotated[str | None, Option(help="No faster than so many rows a second.", metavar="N/s")] = None,
    chunk: Annotated[
        int, Option(help="Rows a transaction; writers of these rows wait for it.", metavar="N", min=1, max=10_000)
    ] = backfill.CHUNK,
    restart: Annotated[bool, Option("--restart", help="Begin anew, where one was interrupted.")] = False,
    json: Json = False,
) -> None:
    """Send rows that were there before, as events <prefix>.snapshot.

    Interrupted, the same command goes on where it was. Writers may go on meanwhile: no row is missed, and no older state comes
    after a newer one.
    """
    speed = backfill.parse_rate(rate) if rate is not None else None
    with as_admin() as connection:
        found = captures.find(connection, table)
        progress = backfill.begin(connection, found.oid, rows, endpoint, name)
        if restart and progress.resumed:
            backfill.abandon(connection, progress)
            progress = backfill.begin(connection, found.oid, rows, endpoint, name)
        if progress.resumed:
            note(f"going on after {progress.sent} rows; --restart begins anew")
        sent = sum(backfill.send(connection, progress, chunk, speed))
    if json:
        as_json({"table": found.label, "sent": sent, "in_all": progress.sent + sent})
    else:
        line(f"{found.label}: {sent} rows sent")
