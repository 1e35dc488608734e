"""Captures that a change of their tables has left behind are made anew when a relay starts, where no event trigger did it.

What following means is rowhook.follow()'s to know (sql/0024-schema-versions.sql). No writer waits for it or needs it. A relay
that may not do it says so and goes on.
"""

from __future__ import annotations

import logging

import psycopg

from relay import audit
from relay.audit import by_command
from relay.captures import Connection, Table, as_admin, pinned, with_locks
from relay.config import Settings
from relay.database import Row, query
from relay.errors import RowhookError

log = logging.getLogger(__name__)


def ensure(settings: Settings) -> None:
    """Follow what has changed; what can't be followed now is a line in the log, and a finding of the doctor's."""
    try:
        with as_admin(settings) as connection:
            for row in _behind(connection):
                _follow(connection, row)
    except RowhookError as error:
        log.warning("changes of the schema were not followed; rowhook doctor lists them", extra={"reason": str(error)})


def _behind(connection: Connection) -> list[Row]:
    try:
        with pinned(connection):
            return connection.execute(query("schema.behind")).fetchall()
    except psycopg.errors.InsufficientPrivilege:
        log.debug("DATABASE_URL names a mere relay: whether captures fit their tables is for ROWHOOK_ADMIN_URL to see")
        return []


def _follow(connection: Connection, row: Row) -> None:
    table = Table(row["oid"], row["name"] or row["label"], row["label"])

    def follow() -> str:
        if row["wants_triggers"]:
            connection.execute(f"LOCK TABLE ONLY {row['name']} IN ACCESS EXCLUSIVE MODE".encode())
        connection.execute(query("schema.take_turns"))
        done = connection.execute(query("schema.follow"), {"capture": row["id"]}).fetchone()
        if done is None:  # another relay was first
            return "unchanged"
        audit.write(
            connection, by_command("run"), "capture.follow", table.label, after={"name": row["capture"], "result": done["result"]}
        )
        return str(done["result"])

    if (result := with_locks(connection, table, follow, log.warning)) != "unchanged":
        log.info("a capture follows its table", extra={"table": table.label, "result": result})
