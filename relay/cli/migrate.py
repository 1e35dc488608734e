"""rowhook migrate"""

from __future__ import annotations

from relay import migrations
from relay.cli.output import Json, as_json, line
from relay.cli.session import Connection, admin_dsn, connect, connect_wait, settings
from relay.errors import UserMistake

# A first migration makes the schema rowhook, and its record's tables where new tables go.
RIGHTS = """
SELECT current_user AS role, pg_catalog.current_database() AS database, coalesce(current_schema(), 'pg_catalog') AS schema,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create_schemas,
       coalesce(pg_catalog.has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create_tables
 WHERE pg_catalog.to_regnamespace('rowhook') IS NULL
"""


def migrate_command(json: Json = False) -> None:
    """Bring the database's schema rowhook to this version; again: nothing to do."""
    given = settings()
    dsn, setting = admin_dsn(given)
    with connect(dsn, setting, connect_wait(given)) as connection:
        check_rights(connection)
    applied = migrations.migrate(dsn)
    if json:
        as_json({"applied": applied})
    elif not applied:
        line("nothing to do")
    else:
        for name in applied:
            line(f"applied {name}")


def check_rights(connection: Connection) -> None:
    """Say what is missing before a first migration stumbles over it."""
    for row in connection.execute(RIGHTS).fetchall():
        role, database, schema = row["role"], row["database"], row["schema"]
        remedy = "let its owner grant that, or name a role that may in ROWHOOK_ADMIN_URL"
        if not row["may_create_schemas"]:
            raise UserMistake(f"role {role} lacks the right CREATE on database {database}", remedy)
        if not row["may_create_tables"]:
            raise UserMistake(f"role {role} lacks the right CREATE on schema {schema}, where new tables go", remedy)
