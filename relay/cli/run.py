"""rowhook run"""

from __future__ import annotations

from typing import Annotated

from typer import Option

from relay import captures, config, logging_setup
from relay.cli.session import check_schema, connect, connect_wait, settings
from relay.config import Settings
from relay.errors import UserMistake


def run_command(
    no_api: Annotated[bool, Option("--no-api", help="Without the HTTP server.")] = False,
    instance_name: Annotated[str | None, Option(help="What to call this relay; host:process otherwise.", metavar="N")] = None,
) -> None:
    """Run a relay: deliver what is committed, until SIGTERM."""
    from relay.service import serve  # aiohttp and all: no other command needs it

    if instance_name is not None and not 1 <= len(instance_name.strip()) <= 200:
        raise UserMistake(f"--instance-name {instance_name!r} is no name", "give 1 to 200 characters, or leave it out")
    given = config.require_database(settings())
    logging_setup.set_up(given.log_format)
    check(given)
    captures.ensure(given)
    serve(given, name=instance_name, api=not no_api)


def check(given: Settings) -> None:
    """What is wrong from the start ends the relay; what goes wrong later is waited for."""
    wait = connect_wait(given)
    with connect(given.database_url, "DATABASE_URL", wait) as connection:
        check_schema(connection)
    if given.admin_url and given.captures:
        connect(given.admin_url, "ROWHOOK_ADMIN_URL", wait).close()
    if given.listen_url:
        connect(given.listen_url, "ROWHOOK_LISTEN_URL", wait).close()
