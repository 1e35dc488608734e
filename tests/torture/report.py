"""A run's table on a terminal, as JSON, and its figures in docs/reliability.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.torture.run import Run

SHOWN = 3  # violations of each invariant in full


def command(run: Run) -> str:
    return f"python -m tests.torture --seconds {run.seconds:.0f} --seed {run.seed}"


def faults(run: Run) -> Mapping[str, int]:
    return dict(sorted(Counter(fault.kind.partition(" ")[0] for fault in run.evidence.faults).items()))


def figures(run: Run) -> dict[str, Any]:
    evidence = run.evidence
    lost = sum(attempt.error == "lost" for attempt in evidence.attempts)
    return {
        "seed": run.seed,
        "seconds": run.seconds,
        "postgres": run.version,
        "changes": len(evidence.committed),
        "deliveries": len(evidence.deliveries),
        "attempts": len(evidence.attempts),
        "requests seen": len(evidence.requests),
        "lost": lost,
        "dead letters": sum(delivery.state == "dead" for delivery in evidence.deliveries),
        "faults": faults(run),
        "duplicates": dict(next(verdict.excused for invariant, verdict in run.verdicts if invariant.number == 11)),
        "missed rings": run.rings.missed,
        "of them unexplained": run.rings.unexplained,
        "relays that ended by themselves": run.ended_by_themselves,
        "quiet after s": round(run.quiet_after, 1),
        "violations": run.violations,
    }


def to_terminal(run: Run) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    table = Table(title=f"torture, seed {run.seed}, {run.seconds:.0f} s, Postgres {run.version}", title_justify="left")
    for column in ("", "invariant", "checked", "violations", "excused"):
        table.add_column(column, justify="right" if column in ("", "checked", "violations") else "left")
    for invariant, verdict in run.verdicts:
        style = "red" if verdict.violations else "green"
        table.add_row(
            str(invariant.number),
            invariant.says,
            f"{verdict.checked:,}",
            f"[{style}]{len(verdict.violations)}[/]",
            _listed(verdict.excused),
        )
    console.print(table)
    for name, value in figures(run).items():
        console.print(f"  {name}: {_listed(value) if isinstance(value, Mapping) else value}", highlight=False)
    for note in run.notes:
        console.print(f"  note: {note}", highlight=False)
    for line in _complaints(run):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def as_json(run: Run) -> str:
    verdicts = [
        {
            "invariant": i.number,
            "says": i.says,
            "checked": v.checked,
            "violations": list(v.violations),
            "excused": dict(v.excused),
        }
        for i, v in run.verdicts
    ]
    return json.dumps({**figures(run), "invariants": verdicts, "notes": list(run.notes), "command": command(run)})


def _complaints(run: Run) -> Sequence[str]:
    lines = []
    for invariant, verdict in run.verdicts:
        lines += [f"violated ({invariant.number}): {violation}" for violation in verdict.violations[:SHOWN]]
        if len(verdict.violations) > SHOWN:
            lines.append(f"violated ({invariant.number}): and {len(verdict.violations) - SHOWN} more")
    return [*lines, f"again: {command(run)}"] if lines else []


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
