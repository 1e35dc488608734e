"""rowhook doctor"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from relay import config
from relay.cli.ending import DONE, FAILED
from relay.cli.output import Json, as_json, as_table, line
from relay.cli.session import settings
from relay.doctor.examine import examine, worst
from relay.doctor.finding import Finding, Verdict

COLOURS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.BAD: "bold red"}


def doctor_command(json: Json = False) -> int:
    """Examine the database, captures, relays and endpoints: a verdict on each, why, and what mends it.

    Exit 1 when anything is bad.
    """
    found = examine(config.require_database(settings()))
    verdict = worst(found)
    if json:
        as_json({"verdict": verdict, "checks": [asdict(finding) for finding in found]})
    else:
        _print(found)
    return FAILED if verdict is Verdict.BAD else DONE


def _print(found: list[Finding]) -> None:
    rows = [asdict(finding) for finding in found]
    as_table(("check", "verdict", "why", "remedy"), rows, {"verdict": COLOURS})
    counts = Counter(finding.verdict for finding in found)
    line("")
    line(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict))
