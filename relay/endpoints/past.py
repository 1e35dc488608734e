"""A new endpoint's past: deliveries of what happened before it was there."""

from __future__ import annotations

from datetime import datetime

import psycopg
from psycopg.rows import DictRow

from relay.audit import Actor
from relay.database import Row, query
from relay.endpoints.change import activate, notify

Connection = psycopg.Connection[DictRow]

BATCH = 5000  # events


def give_past(connection: Connection, actor: Actor, endpoint: Row, since: datetime) -> int:
    """Deliveries of what happened since then and is kept; the endpoint is paused meanwhile. Returns how many.

    So nothing newer of a row goes out before what is older of it. Interrupted, it stays paused, and says why.
    """
    (upto,) = connection.execute(query("endpoints.last_event")).fetchall()
    made = after = 0
    while True:
        given = {"id": endpoint["id"], "since": since, "after": after, "upto": upto["last_id"], "batch": BATCH}
        (row,) = connection.execute(query("endpoints.deliver_past"), given).fetchall()
        if row["last_id"] is None:
            break
        made, after = made + row["made"], row["last_id"]
    with connection.transaction():
        activate(connection, actor, endpoint["public_id"], {"past": made})
    notify(connection)
    return made
