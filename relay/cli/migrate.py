"""rowhook migrate"""

from __future__ import annotations

from relay import migrations
from relay.cli.output import Json, as_json, line
from relay.cli.session import admin_dsn, connect, connect_wait, settings


def migrate_command(json: Json = False) -> None:
    """Bring the database's schema rowhook to this version; again: nothing to do."""
    given = settings()
    dsn, setting = admin_dsn(given)
    connect(dsn, setting, connect_wait(given)).close()
    applied = migrations.migrate(dsn)
    if json:
        as_json({"applied": applied})
    elif not applied:
        line("nothing to do")
    else:
        for name in applied:
            line(f"applied {name}")
