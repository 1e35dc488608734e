"""Printing: data on stdout, everything else on stderr; tables and colours only where a terminal is attached."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def note(text: str, kind: str = "note") -> None:
    """Something worth knowing that is not the data asked for."""
    sys.stderr.write(f"{kind}: {safe(text)}\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """The one line that a command which fails says on stderr."""
    sys.stdout.flush()
    sys.stderr.write(f"rowhook: {safe(' '.join(text.split()))}\n")


def pass_on(notice: psycopg.errors.Diagnostic) -> None:
    """What Postgres says beside its answer."""
    said = filter(None, [notice.message_primary, notice.message_detail, notice.message_hint])
    note(". ".join(part.rstrip(".") for part in said), (notice.severity_nonlocalized or "note").lower())


def as_json(data: Any) -> None:
    line(json.dumps(data, indent=2, default=_plain))


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal():
            return float(value)
        case _:
            return str(value)


def as_fields(data: Mapping[str, Any]) -> None:
    """One thing: a line for each of its fields that says something."""
    said = {name: shown(value) for name, value in data.items() if value not in (None, [], "")}
    width = max(map(len, said), default=0)
    for name, value in said.items():
        line(f"{name:<{width}}  {value}")


def as_table(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], styles: Mapping[str, Mapping[Any, str]] | None = None
) -> None:
    """Several things: a table on a terminal, else lines of values with tabs between. ``styles``: of a column, by its value."""
    if not sys.stdout.isatty():
        line("\t".join(columns))
        for row in rows:
            line("\t".join(shown(row[name]) for name in columns))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[name], (styles or {}).get(name, {})) for name in columns))
    Console().print(table)


def _cell(value: Any, styles: Mapping[Any, str]) -> Text:
    text = shown(value)
    return Text(text, style=styles.get(text, ""))


def shown(value: Any) -> str:
    """A value for people. What strangers wrote (answers of receivers, names of tables) can't move the cursor."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
        case list():
            return ", ".join(map(shown, value))
        case dict():
            return safe(", ".join(f"{name} {shown(one)}" for name, one in value.items()))
        case _:
            return safe(str(value))


def safe(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
