"""rowhook demo"""

from __future__ import annotations

from typing import Annotated

from typer import Option


def demo_command(
    once: Annotated[bool, Option("--once", help="Deliver some events, check, and end.")] = False,
) -> int:
    """The whole thing on an embedded Postgres, with a receiver that verifies."""
    from relay.demo import run  # no other command needs it

    return run.demo_command(once)
