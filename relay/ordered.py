"""Per-row order of an endpoint: turned on for what is open already; a row that is stuck, skipped.

Who sends what when is decided by queries/claim.sql alone. Turned off, all that waits may go at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import DictRow

from relay import audit, endpoints
from relay.audit import Actor
from relay.database import query
from relay.errors import UserMistake

Connection = psycopg.Connection[DictRow]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Skipped:
    """What became of one row's deliveries: ``out`` are those whose present try is the last."""

    table: str | None
    cancelled: int
    out: int


def skip(
    connection: Connection, actor: Actor, text: str, key: str, table: str | None, *, everything: bool
) -> tuple[Row, Skipped]:
    """Give up the delivery at the head of a row's, or all of them; the next one is sent at once."""
    endpoint = endpoints.find_present(connection, text)
    if not endpoint["ordered"]:
        raise UserMistake(
            f"endpoint {endpoint['public_id']} is not ordered",
            "no delivery of it waits for another; rowhook endpoint edit --ordered makes it so",
        )
    while True:
        row = _one_row(connection, endpoint, key, table)
        found = {"id": endpoint["id"], "order_key": row["order_key"], "most": None if everything else 1}
        with connection.transaction():
            (done,) = connection.execute(query("ordered.skip"), found).fetchall()
            if done["cancelled"] or done["out"]:
                skipped = {"table": row["table_name"], "row_key": key, "cancelled": done["cancelled"], "out": done["out"]}
                audit.write(connection, actor, "endpoint.skip", endpoint["public_id"], tenant=endpoint["tenant"], after=skipped)
        if done["cancelled"] or done["out"]:  # otherwise it ended at this very moment
            endpoints.notify(connection)
            return endpoint, Skipped(row["table_name"], done["cancelled"], done["out"])


def _one_row(connection: Connection, endpoint: Row, key: str, table: str | None) -> Row:
    rows = connection.execute(query("ordered.open_keys"), {"id": endpoint["id"], "key": key, "table": table}).fetchall()
    if not rows:
        of = f" of table {table!r}" if table else ""
        raise UserMistake(
            f"nothing waits for row key {key!r}{of} at {endpoint['public_id']}",
            "rowhook deliveries --status pending shows what waits",
        )
    if len(rows) > 1:
        tables = ", ".join(str(row["table_name"]) for row in rows)
        raise UserMistake(f"row key {key!r} waits in several tables ({tables})", "say which: --table T")
    return rows[0]
