"""The figures of runs in docs/reliability.md: a row for each seed, written by the run itself in the place of an older one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: torture -->\n", "<!-- end: torture -->"

SUMMED = ("seconds", "changes", "deliveries", "attempts", "lost", "dead letters", "faults", "missed rings", "violations")
COLUMNS = ("seed", "Postgres", "date", *SUMMED, "missed rings explained", "duplicates, by cause", "faults, by kind")

Row = Mapping[str, str]


def row(figures: Mapping[str, object], faults: Mapping[str, int]) -> Row:
    """Of a run's figures (report.py)."""
    rings, unexplained = int(str(figures["missed rings"])), int(str(figures["of them unexplained"]))
    duplicates = figures["duplicates"]
    assert isinstance(duplicates, Mapping)
    return {
        **{name: _number(figures[name]) for name in SUMMED if name != "faults"},
        "seed": str(figures["seed"]),
        "Postgres": str(figures["postgres"]),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "faults": _number(sum(faults.values())),
        "missed rings explained": _number(rings - unexplained),
        "duplicates, by cause": _listed(duplicates),
        "faults, by kind": _listed(faults),
    }


def write(new: Row, docs: Path = DOCS) -> None:
    """Put the row into the table. Raises ValueError where the page has no place for it."""
    text = docs.read_text("utf-8")
    head, found, rest = text.partition(BEGIN)
    table, closed, tail = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{docs} has no {BEGIN.strip()} … {END}")
    rows = {_kind(known): known for known in _read(table)} | {_kind(new): new}
    docs.write_text(head + BEGIN + _table([rows[kind] for kind in sorted(rows)]) + END + tail, "utf-8")


def _kind(known: Row) -> tuple[int, int]:
    return int(known["Postgres"]), int(known["seed"])


def _read(table: str) -> Sequence[Row]:
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    rows = [dict(zip(COLUMNS, (cell.strip() for cell in cells), strict=False)) for cells in lines[2:]]
    return [known for known in rows if known["seed"].isdigit() and tuple(known) == COLUMNS]


def _table(rows: Sequence[Row]) -> str:
    total = {name: _number(sum(int(known[name].replace(",", "")) for known in rows)) for name in SUMMED}
    lines = [COLUMNS, ["--:" if name in SUMMED else "---" for name in COLUMNS]]
    lines += [[known[name] for name in COLUMNS] for known in rows]
    lines += [["**all**", *(total.get(name, " ") for name in COLUMNS[1:])]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: object) -> str:
    return f"{float(str(value)):,.0f}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
