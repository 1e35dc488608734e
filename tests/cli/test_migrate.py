"""rowhook migrate, and what every command says of a database that isn't migrated."""

from __future__ import annotations

import psycopg
import pytest

from relay.migrations import known_ids
from tests.cli.conftest import Rowhook


def test_migrates_once(empty_dsn: str, rowhook: Rowhook):
    first = rowhook("migrate", ok=True)
    assert first.out.splitlines() == [f"applied {name}" for name in known_ids()]
    assert rowhook("migrate", ok=True).out == "nothing to do\n"
    assert rowhook("migrate", "--json", ok=True).json == {"applied": []}


def test_json_names_what_was_applied(empty_dsn: str, rowhook: Rowhook):
    assert rowhook("migrate", "--json", ok=True).json == {"applied": known_ids()}


def test_admin_url_is_what_migrates(empty_dsn: str, anywhere: Rowhook):
    anywhere("migrate", env={"ROWHOOK_ADMIN_URL": empty_dsn, "DATABASE_URL": "postgresql://127.0.0.1:1/none"}, ok=True)
    anywhere("endpoint", "list", env={"DATABASE_URL": empty_dsn}, ok=True)


@pytest.mark.parametrize(
    "command",
    [
        ("endpoint", "list"),
        ("capture", "expenses"),
        ("uncapture", "expenses"),
        ("deliveries",),
        ("replay", "--since", "1h"),
        ("run", "--no-api"),
    ],
)
def test_database_without_migrations(empty_dsn: str, rowhook: Rowhook, command: tuple[str, ...]):
    rowhook(*command).refused("no Rowhook schema", "rowhook migrate")


@pytest.mark.parametrize("command", [("migrate",), ("endpoint", "list"), ("run", "--no-api")])
def test_database_with_newer_migrations(dsn: str, rowhook: Rowhook, command: tuple[str, ...]):
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc) VALUES ('x', '9999-tomorrow', now())"
        )
    rowhook(*command).refused("newer migrations (9999-tomorrow)", "upgrade rowhook")


def test_role_that_may_not_migrate(empty_dsn: str, anywhere: Rowhook):
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("DROP ROLE IF EXISTS cli_nobody")
        connection.execute("CREATE ROLE cli_nobody LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    nobody = {"DATABASE_URL": empty_dsn.replace("postgres@", "cli_nobody@")}
    anywhere("migrate", env=nobody).refused("cli_nobody lacks the right CREATE on database", "ROWHOOK_ADMIN_URL")
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO cli_nobody")
    anywhere("migrate", env=nobody).refused("cli_nobody lacks the right CREATE on schema public", "ROWHOOK_ADMIN_URL")
