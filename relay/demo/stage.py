"""Set the stage: FinMind's database with its own role, then Rowhook beside it, as an operator would do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from relay import endpoints
from relay.audit import by_command
from relay.config import Settings
from relay.demo.receiver import Hook
from relay.demo.server import Server
from relay.keyring import Keyring, new_key
from relay.migrations import migrate
from relay.sign import Secret

DATABASE = APP_ROLE = "finmind"
RETRY_SCHEDULE = "200ms,400ms,800ms"
TABLES = Path(__file__).with_name("finmind.sql")


@dataclass(frozen=True)
class Stage:
    """The connection strings: the operator's (and the relay's), and the application's; and the key of its secrets."""

    operator: str
    application: str
    key: str = field(default_factory=new_key, repr=False)


class OwnSettings(Settings):
    """Nothing but what is given: neither the environment nor a .env of the user's counts here."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings(stage: Stage) -> Settings:
    """What the relay is told; its receiver is on the loopback."""
    given: dict[str, Any] = {
        "DATABASE_URL": stage.operator,
        "ROWHOOK_SECRET_KEY": stage.key,
        "ROWHOOK_RETRY_SCHEDULE": RETRY_SCHEDULE,
        "ROWHOOK_ALLOW_HTTP": "1",
        "ROWHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
    }
    return OwnSettings(**given)


def prepare(server: Server) -> Stage:
    """Two roles, one database: the application owns its tables and has no right on schema rowhook."""
    stage = Stage(server.dsn("postgres", DATABASE), server.dsn(APP_ROLE, DATABASE))
    with psycopg.connect(server.dsn("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {APP_ROLE} LOGIN")
        connection.execute(f"CREATE DATABASE {DATABASE} OWNER {APP_ROLE}")
    with psycopg.connect(stage.application) as connection:
        connection.execute(TABLES.read_bytes())
    migrate(stage.operator)
    with psycopg.connect(stage.operator) as connection:
        connection.execute("SELECT rowhook.capture('expenses', tenant => 'user_id')")
    return stage


def add_endpoints(stage: Stage, wanted: Sequence[tuple[Hook, str, str]]) -> None:
    """One for each hook, with its URL and its secret."""
    with psycopg.connect(stage.operator, autocommit=True, row_factory=dict_row) as connection:
        for hook, url, secret in wanted:
            given = {"url": url, "events": hook.events, "tenant": hook.tenant, "description": hook.habit}
            fields = endpoints.parse_fields(given)
            endpoints.check_destination(fields, settings(stage))
            endpoints.add(connection, by_command(), Keyring.parse(stage.key), fields, Secret.parse(secret))
