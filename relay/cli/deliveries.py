"""rowhook deliveries"""

from __future__ import annotations

from typing import Annotated

from typer import Option

from relay import endpoints, replays
from relay.cli.output import Json, as_json, as_table
from relay.cli.session import Connection, at_work
from relay.database import query
from relay.errors import UserMistake

MOST = 10_000
COLUMNS = (
    "created_at",
    "delivery_id",
    "event_type",
    "row_key",
    "endpoint_id",
    "delivery_status",
    "attempt",
    "result",
    "duration_ms",
    "next_attempt_at",
)


def deliveries_command(
    endpoint: Annotated[str | None, Option(help="Only of this endpoint: end_…", metavar="ID")] = None,
    status: Annotated[str | None, Option(help=f"Only in this state: {', '.join(replays.STATES)}.", metavar="S")] = None,
    event: Annotated[str | None, Option(help="Only of this event: evt_…", metavar="ID")] = None,
    limit: Annotated[str, Option(help="How many attempts at most.", metavar="N")] = "50",
    json: Json = False,
) -> None:
    """What was sent to whom, when, and what did they say: newest deliveries first, one line for each attempt."""
    if status is not None and status not in replays.STATES:
        raise UserMistake(f"--status {status!r} is not a state of deliveries", f"give one of: {', '.join(replays.STATES)}")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit) <= MOST):
        raise UserMistake(f"--limit {limit!r} is not a number of attempts", f"give 1 to {MOST}")
    with at_work() as (_, connection):
        parameters = {**_ids(connection, endpoint, event), "state": status, "limit": int(limit)}
        rows = connection.execute(query("deliveries.history"), parameters).fetchall()
    if json:
        as_json(rows)
    else:
        as_table(COLUMNS, [{**row, "result": row["error_class"] or row["status_code"]} for row in rows])


def _ids(connection: Connection, endpoint: str | None, event: str | None) -> dict[str, int | None]:
    """Public ids as internal ones, which have indexes; raises UserMistake for one that there is not."""
    id, slot = replays.find_event(connection, event) if event is not None else (None, None)
    wanted = endpoints.find(connection, endpoint)["id"] if endpoint is not None else None
    return {"endpoint": wanted, "event": id, "event_slot": slot}
