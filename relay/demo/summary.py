"""The tables at the end: claims with what was expected and what came, and the answers of Rowhook's views."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from relay.demo.claims import Claim
from relay.demo.server import Server
from relay.demo.stage import APP_ROLE, DATABASE


def print_claims(console: Console, claims: Sequence[Claim]) -> None:
    console.print()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("claim")
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("received", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for claim in claims:
        table.add_row(claim.text, claim.expected, claim.received, _mark(console, claim.holds), style="" if claim.holds else "red")
    console.print(table)
    for claim in claims:
        if claim.detail:
            console.print(f"  {claim.text}: {claim.detail}", style="red", markup=False, soft_wrap=True)
    held = sum(claim.holds for claim in claims)
    style = "bold green" if held == len(claims) else "bold red"
    verdict = f"{held} of {len(claims)} claims hold."
    console.print(f"{verdict} Expected is what FinMind knows it committed.", style=style, soft_wrap=True)


def print_answer(console: Console, query: str, rows: Sequence[dict[str, Any]]) -> None:
    """A query for people, and what it returned."""
    console.print()
    console.print(f"{query};", style="bold", markup=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in rows[0] if rows else ():
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)


def print_invitation(console: Console, server: Server) -> None:
    """How to write with FinMind's own role, which has no right on schema rowhook, and how to read the record."""
    psql = "psql" if shutil.which("psql") else str(server.programs / "psql")
    lines = (
        "",
        "It all goes on until Ctrl-C. Write as FinMind does, and see it arrive here:",
        f"  {psql} {shlex.quote(server.dsn(APP_ROLE, DATABASE))}",
        "  INSERT INTO expenses (user_id, amount, notes) VALUES (1, 99.50, 'tea');",
        "Read what is on record, as its operator:",
        f"  {psql} {shlex.quote(server.dsn('postgres', DATABASE))}",
        "  TABLE rowhook.endpoint_health;",
        "",
    )
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _mark(console: Console, holds: bool) -> str:
    if console.options.ascii_only:
        return "holds" if holds else "FAILS"
    return "[green]✓[/]" if holds else "[red]✗ fails[/]"
