"""rowhook archive"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

from typer import Option

from relay import archive, config, replays
from relay.archive import Archived
from relay.archive_formats import Format, format_named
from relay.cli.ending import DONE, FAILED
from relay.cli.output import Json, as_fields, as_json, note
from relay.cli.session import Connection, at_work
from relay.errors import RowhookError, UserMistake
from relay.retention import Keeper


def archive_command(
    to: Annotated[
        Path | None, Option("--to", help="The folder for the file; default: ROWHOOK_ARCHIVE.", metavar="FOLDER")
    ] = None,
    before: Annotated[str | None, Option(help="Events older than that: 30d (ago), or an ISO time.", metavar="T")] = None,
    remove: Annotated[
        bool, Option("--remove", help="And do now what retention does: archive and empty the slots that are old enough.")
    ] = False,
    format: Annotated[
        str | None, Option("--format", help="jsonl (gzipped) or parquet; default: ROWHOOK_ARCHIVE_FORMAT.", metavar="FORMAT")
    ] = None,
    json: Json = False,
) -> int:
    """Write events, their deliveries and attempts to a file: a line of JSON each, or a row of Parquet.

    With --remove, slots of the ring that were left longer ago than --before (an age; default: ROWHOOK_RETENTION) are archived,
    each in a file of its own, and then emptied. What has not ended is moved and stays.
    """
    with at_work() as (settings, connection):
        folder = to or settings.archive_folder
        if folder is None:
            raise UserMistake("archive is not told where to", "give --to FOLDER, or set ROWHOOK_ARCHIVE")
        form = format_named(format or settings.archive_format)
        if remove:
            keep = settings.keep if before is None else config.keep(before)
            return _remove(Keeper(settings.url_for_listening, "archive", keep, folder, form))
        written = _write(connection, replays.moment(connection, before or "0s", "--before"), folder, form)
    data = {"file": str(written.path) if written.path else None, "events": written.events}
    as_json(data) if json else as_fields(data)
    return DONE


def _write(connection: Connection, before: datetime, folder: Path, form: type[Format]) -> Archived:
    try:
        return archive.archive_before(connection, before, folder, form)
    except OSError as error:
        raise RowhookError(f"the archive could not be written: {error}") from None


def _remove(keeper: Keeper) -> int:
    done = asyncio.run(keeper.round())
    if not done:
        note("not finished: another keeper is at it, or the log above says what is in the way; rowhook doctor does too")
    return DONE if done else FAILED
