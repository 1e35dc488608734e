"""An event for one endpoint alone, whatever its patterns are: a ping, a sample.

The event names its endpoint, and goes to no other; its one delivery is written along with it, so that who asked can be told its
id. From there on they are like any other.
"""

from __future__ import annotations

import psycopg
from psycopg.rows import DictRow

from relay.database import Row, query

Connection = psycopg.Connection[DictRow]


def send_one(connection: Connection, endpoint: Row, type: str, data: str) -> tuple[str, str]:
    """Public ids of the event and its delivery, in the present transaction. ``data`` is JSON text; relays are to be notified."""
    parameters = {"type": type, "tenant": endpoint["tenant"], "data": data, "endpoint": endpoint["id"]}
    (row,) = connection.execute(query("single.send"), parameters).fetchall()
    connection.execute(query("record.ring"))
    return row["event"], row["delivery"]
