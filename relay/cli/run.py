"""rowhook run"""

from __future__ import annotations

import logging
import re
from typing import Annotated

from typer import Option

from relay import captures, config, logging_setup, owners, recipes, schema_follow
from relay.archive_formats import format_named
from relay.cli.ending import DONE, FAILED
from relay.cli.session import Connection, check_schema, connect, connect_wait, settings
from relay.config import MOST_PROCESSES, Settings
from relay.database import query
from relay.errors import ConfigError, UserMistake
from relay.vault import unknown_keys

log = logging.getLogger(__name__)


def run_command(
    no_api: Annotated[bool, Option("--no-api", help="Without the HTTP server.")] = False,
    instance_name: Annotated[str | None, Option(help="What to call this relay; host:process otherwise.", metavar="N")] = None,
    processes: Annotated[
        str | None,
        Option(
            help="Relays under one supervisor, 1 to 64; each has ROWHOOK_MAX_IN_FLIGHT for itself. ROWHOOK_PROCESSES otherwise.",
            metavar="N",
        ),
    ] = None,
) -> int:
    """Run a relay: deliver what is committed, until SIGTERM."""
    count = None if processes is None else parse_processes(processes)
    if instance_name is not None and not 1 <= len(instance_name.strip()) <= 200:
        raise UserMistake(f"--instance-name {instance_name!r} is no name", "give 1 to 200 characters, or leave it out")
    given = config.require_database(settings())
    config.require_keyring(given)
    recipes.check(given.recipe_names)
    if given.archive_folder:
        format_named(given.archive_format)
    logging_setup.set_up(given.log_format, given.log_level)
    check(given)
    schema_follow.ensure(given)
    captures.ensure(given)
    recipes.ensure(given)
    # Here, because they bring aiohttp and all: no other command needs it.
    if (count or given.processes) == 1:
        from relay.service import serve

        serve(given, name=instance_name, api=not no_api)
        return DONE
    from relay.supervisor import supervise

    return DONE if supervise(given, count or given.processes, name=instance_name, api=not no_api) else FAILED


def parse_processes(text: str) -> int:
    """How many relays; raises UserMistake."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_PROCESSES:
        raise UserMistake(f"--processes {text!r} is not a number of relays", f"give 1 to {MOST_PROCESSES}")
    return int(text)


def check_keys(given: Settings, connection: Connection) -> None:
    """Refuse to start with a key that none of what is stored was encrypted with; say what else can't be read."""
    rows = connection.execute(query("secrets.keys_in_use")).fetchall()
    unknown, known = unknown_keys(config.require_keyring(given), rows)
    if unknown and not known:
        raise ConfigError(
            "ROWHOOK_SECRET_KEY does not hold the key that the stored secrets were encrypted with"
            f" (its id is {', '.join(unknown)})",
            "add that key to it, after the new one: NEW,OLD; where it is lost, each endpoint needs rowhook endpoint rotate",
        )
    for key_id in unknown:
        log.error(
            "secrets or headers can't be read; their endpoints' deliveries wait: ROWHOOK_SECRET_KEY lacks a key",
            extra={"key_id": key_id},
        )


def check(given: Settings) -> None:
    """What is wrong from the start ends the relay; what goes wrong later is waited for."""
    wait = connect_wait(given)
    with connect(given.database_url, "DATABASE_URL", wait) as connection:
        check_schema(connection)
        check_keys(given, connection)
        owners.ensure(given, connection)
    if given.admin_url and (given.captures or given.recipe_names):
        connect(given.admin_url, "ROWHOOK_ADMIN_URL", wait).close()
    if given.listen_url:
        connect(given.listen_url, "ROWHOOK_LISTEN_URL", wait).close()
