"""rowhook explain"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from typer import Argument

from relay import replays
from relay.cli.output import Json, as_fields, as_json, as_table, line, note
from relay.cli.session import at_work
from relay.errors import UserMistake
from relay.trail import Trail, trail

EVENT = ("type", "occurred_at", "op", "table_name", "row_key", "tenant", "moved", "dispatched")
COLUMNS = ("endpoint_id", "url", "delivery_id", "state", "attempts", "result", "next_attempt_at", "because")


def explain_command(
    event: Annotated[str, Argument(help="The event: evt_…", metavar="EVENT")],
    json: Json = False,
) -> None:
    """What became of an event at each endpoint, and where it got nothing, why."""
    with at_work() as (_, connection):
        found = trail(connection, *replays.find_event(connection, event))
    if found is None:  # its slot of the ring was emptied this very moment
        raise UserMistake(f"there is no event {event}", "give the id of one that is still kept; rowhook deliveries shows some")
    if json:
        as_json({**_about(found), "endpoints": [asdict(stop) for stop in found.stops], "more": found.more})
        return
    as_fields(_about(found))
    line("")
    stops = [asdict(stop) for stop in found.stops]
    as_table(COLUMNS, [{**stop, "result": stop["error_class"] or stop["status_code"]} for stop in stops])
    if not found.stops:
        note("there are no endpoints")
    if found.more:
        note("there are more endpoints, which got nothing")


def _about(found: Trail) -> dict[str, object]:
    return {"event": found.event["public_id"], **{name: found.event[name] for name in EVENT}}
