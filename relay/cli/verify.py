"""rowhook verify"""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from relay import captures, verification
from relay.cli.capture import CaptureName
from relay.cli.ending import DONE, FAILED
from relay.cli.output import Json, as_json, as_table, line, note
from relay.cli.session import as_admin
from relay.verification import DIFFERENCES, MEANINGS, VERDICTS, Report


def verify_command(
    table: Annotated[str, Argument(metavar="TABLE", help="A captured table.")],
    name: CaptureName = "",
    limit: Annotated[int, Option(help="How many rows that differ are listed; all are counted.", metavar="N", min=0)] = 20,
    json: Json = False,
) -> int:
    """Prove a table's rows by its events: which rows bypassed capture?

    Exit 0 when none did, 1 when some did. Writers may go on meanwhile.
    """
    with as_admin() as connection:
        report = verification.verify(connection, captures.find(connection, table), limit, name)
    if json:
        _print_json(report)
    else:
        _print(report)
    return FAILED if report.differing else DONE


def _print_json(report: Report) -> None:
    as_json(
        {
            "table": report.table,
            "name": report.name,
            "differing": report.differing,
            "complete": report.facts["complete"],
            "rows": {verdict: report.counts[verdict] for verdict in VERDICTS},
            "differences": report.differences,
            "notes": list(verification.notes(report)),
        }
    )


def _print(report: Report) -> None:
    seen = [verdict for verdict in VERDICTS if report.counts[verdict] or verdict == "accounted"]
    as_table(("verdict", "rows", "means"), ({"verdict": v, "rows": report.counts[v], "means": MEANINGS[v]} for v in seen))
    if report.differences:
        line("")
        as_table(("verdict", "row_key", "columns"), report.differences)
    if left := report.differing - len(report.differences):
        note(f"{left} more that differ are not listed; --limit says how many are")
    for text in verification.notes(report):
        note(text)
    line("")
    if report.differing:
        what = ", ".join(f"{report.counts[v]} {v}" for v in DIFFERENCES if report.counts[v])
        line(f"{report.table}: {report.differing} rows differ ({what})")
    else:
        line(f"{report.table}: every row that its events tell of is accounted for")
