"""One delivery: what was sent, what came of it, and what a person may do: send it again, or give it up."""

from __future__ import annotations

import psycopg
from psycopg.rows import DictRow

from relay import event_list, replays
from relay.audit import Actor
from relay.database import query
from relay.errors import UserMistake
from relay.replays import Selection
from relay.shapes import TEMPLATE, headers_of, shaped
from relay.walk import Row

Connection = psycopg.Connection[DictRow]

ENDED = ("dead", "delivered", "cancelled")
MASKED = "***"  # an endpoint's own headers are secrets


def find(connection: Connection, id: int) -> Row | None:
    rows = connection.execute(query("api_deliveries.one"), {"delivery": id}).fetchall()
    return rows[0] if rows else None


def headers(delivery: Row, event: Row | None, prefix: str) -> dict[str, str]:
    """Those of its last request, as far as they are on record: not its time, and so not its signatures."""
    said = {"content-type": "application/json"}
    if event and delivery["shape"] is not None:
        said = headers_of(delivery["shape"], event_list.facts(event))
    if webhook_id := delivery["webhook_id"] or (event and event["public_id"]):
        said["webhook-id"] = webhook_id
    if event:
        said[f"{prefix}-Event"] = event["type"]
    said |= {f"{prefix}-Delivery": delivery["public_id"], f"{prefix}-Attempt": str(max(delivery["attempts"], 1))}
    return said | dict.fromkeys(delivery["header_names"], MASKED)


def body(delivery: Row, event: Row | None) -> str | None:
    """That of its requests, past or to come; None where its event is gone or large, or its template not rendered yet."""
    if delivery["body"] is not None or delivery["shape"] == TEMPLATE:
        kept: str | None = delivery["body"]
        return kept
    if event is None or event["size"] > event_list.LARGEST_BODY:
        return None
    if delivery["shape"] is None:
        return event_list.body(event)
    return shaped(delivery["shape"], event_list.facts(event)).decode()


def replay(connection: Connection, actor: Actor, delivery: Row, *, new_id: bool) -> None:
    """Make it pending again. Raises UserMistake for what has not ended, or can't be sent any more."""
    selection = Selection(ENDED, delivery=delivery["id"])
    found = replays.look(connection, selection)
    if found.removed:
        raise UserMistake("its endpoint was removed", "add another one, which gets what happens from then on")
    if found.event_gone:
        raise UserMistake("its event is not kept any more", "nothing can be sent of it")
    if not replays.replay(connection, actor, selection, found, new_id=new_id):
        raise UserMistake("it has not ended", "it is sent anyway; cancel it first to begin anew")


def cancel(connection: Connection, delivery: Row) -> bool:
    """Give it up; whether it is out, and ends as it ends but is not tried again. Raises UserMistake for what has ended."""
    rows = connection.execute(query("api_deliveries.cancel"), {"delivery": delivery["id"]}).fetchall()
    was = rows[0]["was"] if rows else "not kept any more"
    if was not in ("pending", "leased"):
        raise UserMistake(f"it has ended already: {was}", "only what is pending or out can be cancelled")
    return bool(was == "leased")
