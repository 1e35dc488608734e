"""Is every row of a table accounted for by its events? What the answer is made of, and what bears on it.

The judging is done in the server, in one statement (sql/0013-verify.sql): a line comes for each row that differs, the others are
counted there. Here they are read in pages, so that no table and no list of differences has to fit into memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg.rows import DictRow

from relay.captures import Table, pinned
from relay.database import Row, query

Connection = psycopg.Connection[DictRow]

PAGE = 1000
DIFFERENCES = ("missing", "stale", "ghost")
VERDICTS = ("accounted", *DIFFERENCES, "unproven")
MEANINGS = {
    "accounted": "the row is as its last event says",
    "missing": "the row is there, and no event says so",
    "stale": "the row is not as its last event says",
    "ghost": "the events say that the row is there, and it is not",
    "unproven": "the row is older than the events that there are",
}


@dataclass(slots=True)
class Report:
    """Rows by verdict; the first of those that differ, with the columns that do (of stale ones; none: nobody can say which)."""

    table: str
    name: str = ""
    facts: Row = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Row] = field(default_factory=list)
    added: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def differing(self) -> int:
        return sum(self.counts[verdict] for verdict in DIFFERENCES)

    def note(self, row: Row, limit: int) -> None:
        """Take in a line of the server's."""
        self.counts[row["verdict"]] += row["count"]
        self.added.update(dict.fromkeys(row["added"] or (), row["count"]))
        self.dropped.update(dict.fromkeys(row["dropped"] or (), row["count"]))
        if row["verdict"] in DIFFERENCES and len(self.differences) < limit:
            self.differences.append({name: row[name] for name in ("verdict", "row_key", "columns")})


def verify(connection: Connection, table: Table, limit: int, name: str = "") -> Report:
    """Judge all rows as of one snapshot, whoever writes meanwhile. Raises what Postgres refuses (refusals)."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    report = Report(table.label, name)
    which = {"table": table.oid, "name": name}
    with pinned(connection):
        with connection.cursor("verify") as cursor:
            cursor.itersize = PAGE
            for row in cursor.execute(query("verify.rows"), which):
                report.note(row, limit)
        (report.facts,) = connection.execute(query("verify.facts"), which).fetchall()
    return report


def notes(report: Report) -> Iterator[str]:
    """What a reader of the verdicts must know."""
    facts = report.facts
    if facts["renumbered"]:
        yield "this database was restored from another cluster: until a relay has run, no row can be shown to be newer than it"
    if report.counts["unproven"] and facts["was_cut"]:
        yield "events were removed (retention): of rows last written before that nothing can be said"
    elif report.counts["unproven"]:
        yield "the table had rows before it was captured: of those that were not written since nothing can be said"
    if facts["paused"]:
        named = f" --name {report.name}" if report.name else ""
        yield f"the capture is paused: writes go uncaptured until rowhook capture {report.table}{named} --resume"
    if facts["failures"]:
        yield f"{facts['failures']} statements went uncaptured under on_error = record (rowhook.capture_failure)"
    if facts["predicate"]:
        yield f"only rows for which {facts['predicate']} holds are captured, and asked for"
    missing = [op for op in ("insert", "update", "delete", "truncate") if op not in facts["events"]]
    if missing:
        yield f"not captured, and so not held against a row: {', '.join(missing)}"
    if not facts["has_key"]:
        yield "the row key is not among the captured columns: a row whose key changed shows as a ghost under its old one"
    for column, count in sorted(report.added.items()):
        yield f"column {column} was not compared in {count} rows: their last event is older than it"
    for column, count in sorted(report.dropped.items()):
        yield f"column {column} was not compared in {count} rows: only their last event has it"
