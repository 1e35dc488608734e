"""The commands together, and how they end: 0 done, 2 a user's mistake, 1 a failure; the latter two with one line on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from relay import __version__, logging_setup
from relay.cli import (
    api,
    archive,
    backfill,
    capture,
    deliveries,
    demo,
    doctor,
    endpoint,
    endpoint_edit,
    endpoint_rotate,
    event,
    explain,
    keys,
    migrate,
    replay,
    rule,
    run,
    verify,
)
from relay.cli.ending import ended
from relay.cli.output import line

app = typer.Typer(name="rowhook", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command("migrate")(migrate.migrate_command)
app.command("capture")(capture.capture_command)
app.command("captures")(capture.captures_command)
app.command("uncapture")(capture.uncapture_command)
app.add_typer(rule.app, name="rule")
app.add_typer(endpoint.app, name="endpoint")
app.command("run")(run.run_command)
app.command("api")(api.api_command)
app.add_typer(event.app, name="event")
app.command("deliveries")(deliveries.deliveries_command)
app.command("explain")(explain.explain_command)
app.command("replay")(replay.replay_command)
app.command("verify")(verify.verify_command)
app.command("backfill")(backfill.backfill_command)
app.command("archive")(archive.archive_command)
app.command("doctor")(doctor.doctor_command)
app.command("keygen")(keys.keygen_command)
app.command("rekey")(keys.rekey_command)
app.command("demo")(demo.demo_command)

endpoint.app.command("add")(endpoint_edit.add_command)
endpoint.app.command("edit")(endpoint_edit.edit_command)
endpoint.app.command("rotate")(endpoint_rotate.rotate_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        line(f"rowhook {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _rowhook(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Committed Postgres rows become signed webhooks.

    Settings come from the environment and from .env in the working folder; DATABASE_URL names the database.
    """
    logging_setup.set_up_for_command()
    if context.invoked_subcommand is None:
        line(context.get_help())


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    command = typer.main.get_command(app)
    return ended(lambda: command.main(args=list(arguments), prog_name="rowhook", standalone_mode=False), arguments)
