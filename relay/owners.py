"""To whom the trigger functions belong: they run inside writers' transactions with their owner's rights.

A dump of a database carries no roles. Restored where they are missing, the functions belong to who restored them, a superuser as
a rule, and grants are gone. A relay that may mend that does when it starts; one that may not refuses.
"""

from __future__ import annotations

import logging

import psycopg
from psycopg.rows import DictRow

from relay.config import Settings, duration
from relay.database import Row, connect_once, query
from relay.errors import ConfigError
from relay.refusals import refusals

log = logging.getLogger(__name__)

Connection = psycopg.Connection[DictRow]

MENDING = """let a superuser run: psql "$ROWHOOK_ADMIN_URL" -c 'SELECT rowhook.set_up_roles()'"""


def wrong(row: Row) -> str | None:
    """What is the matter with an owner of trigger functions."""
    if row["lacks"]:
        return f"the trigger functions belong to role {row['owner']}, which lacks {', '.join(row['lacks'])}: captured writes fail"
    if row["is_superuser"]:
        return f"the trigger functions belong to superuser {row['owner']}: what owners of captured tables define runs as that"
    return None


def ensure(settings: Settings, connection: Connection) -> None:
    """Mend what a restore did to owners and grants; raises ConfigError where this needs somebody else."""
    if not _wrong(connection):
        return
    setting = "ROWHOOK_ADMIN_URL" if settings.admin_url else "DATABASE_URL"
    wait = duration(settings.connect_wait).total_seconds()
    with refusals(), connect_once(settings.url_for_admin, setting, wait) as admin:
        why = _wrong(admin)
        _mend(admin)
        if still := _wrong(admin):
            raise ConfigError(f"{still} (a restore does that)", MENDING)
    log.warning("the trigger functions have been given to the role without power again (a restore?)", extra={"reason": why})


def _wrong(connection: Connection) -> str | None:
    rows = connection.execute(query("owners.of_functions")).fetchall()
    return next((why for row in rows if (why := wrong(row))), None)


def _mend(admin: Connection) -> None:
    """As far as this role may; what it could not do shows afterwards."""
    try:
        with admin.transaction():
            admin.execute("SET LOCAL search_path = pg_catalog, pg_temp")
            admin.execute(query("owners.set_up"))
    except psycopg.errors.InsufficientPrivilege as error:
        log.debug("set_up_roles", exc_info=error)
