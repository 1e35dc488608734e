"""What committed, in the order of commits: Postgres' own logical decoding (test_decoding), which knows nothing of triggers.

The slot is read once, at the end, so a crash of the server can't make it repeat or skip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg

from tests.torture.records import Committed, Content
from tests.torture.tables import BY_TABLE, EMITTED, canonical, loads, told

SLOT = "torture"
READ = """
SELECT data FROM pg_logical_slot_get_changes(%s, NULL, NULL, 'skip-empty-xacts', '1')
 WHERE data LIKE 'table public.%%' OR data LIKE 'table rowhook.endpoint: %%'
"""

_OPERATION = re.compile(r"table (\S+(?:, \S+)*): (INSERT|UPDATE|DELETE|TRUNCATE): ")
_COLUMN = re.compile(r"(\w+)\[((?:[^\[\]]|\[\])+)\]:('(?:[^']|'')*'|\S+) ?")
_READ: dict[str, Callable[[str], Any]] = {"integer": int, "bigint": int, "numeric": Decimal}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of test_decoding; old rows leave out what is null, and here so do new ones."""

    tables: tuple[str, ...]
    op: str
    old: Row | None
    new: Row | None


@dataclass(slots=True)
class Wal:
    """``added`` and ``removed``: positions at which endpoints, by id, came and went."""

    committed: list[Committed] = field(default_factory=list)
    added: dict[int, int] = field(default_factory=dict)
    removed: dict[int, int] = field(default_factory=dict)


def read(connection: psycopg.Connection[Any]) -> Wal:
    """All that the slot holds."""
    return understand(row[0] for row in connection.execute(READ, [SLOT]))


def understand(lines: Iterable[str]) -> Wal:
    wal, state = Wal(), dict[int, str]()
    for position, line in enumerate(map(parsed, lines)):
        if line.tables == ("rowhook.endpoint",):
            wal.committed += [Committed(position, content) for content in _endpoint(wal, state, position, line)]
        else:
            wal.committed += [Committed(position, *said) for said in _application(line)]
    return wal


def _application(line: Line) -> Iterator[tuple[Content, str | None]]:
    for table in line.tables:
        name = table.removeprefix("public.")
        if name == EMITTED:
            assert line.new is not None
            yield Content(line.new["type"], line.new.get("tenant"), canonical(loads(line.new["data"]))), None
        elif name in BY_TABLE:
            yield from told(BY_TABLE[name], line.op, line.old, line.new)


def _endpoint(wal: Wal, states: dict[int, str], position: int, line: Line) -> Iterator[Content]:
    """An endpoint that becomes disabled is told of by an event of Rowhook's own, in the same transaction."""
    row = line.new
    assert row is not None, "endpoints are never deleted"
    before = states.get(row["id"])
    states[row["id"]] = row["state"]
    if line.op == "INSERT":
        wal.added[row["id"]] = position
    elif row["state"] == "removed":
        wal.removed.setdefault(row["id"], position)
    elif row["state"] == "disabled" and before != "disabled":
        data = {"endpoint_id": row["public_id"], "url": row["url"], "reason": row["state_reason"]}
        yield Content("endpoint.disabled", row.get("tenant"), canonical(data))


def parsed(text: str) -> Line:
    match = _OPERATION.match(text)
    assert match, text
    tables, op = tuple(match[1].split(", ")), match[2]
    if op == "TRUNCATE":
        return Line(tables, op, None, None)
    rest = text[match.end() :]
    if rest.startswith("old-key: "):
        old, rest = values(rest.removeprefix("old-key: "))
        assert rest.startswith("new-tuple: "), text
        new, rest = values(rest.removeprefix("new-tuple: "), old)
        assert not rest, text
        return Line(tables, op, old, new)
    row, rest = values(rest)
    assert not rest, text
    return Line(tables, op, row if op == "DELETE" else None, None if op == "DELETE" else row)


def values(text: str, old: Row | None = None) -> tuple[Row, str]:
    """The row that begins here, without what is null, and the rest of the line."""
    row: Row = {}
    position = 0
    while match := _COLUMN.match(text, position):
        name, kind, value = match.groups()
        if value == "unchanged-toast-datum":
            assert old is not None, text
            row[name] = old[name]
        elif value != "null":
            row[name] = _READ.get(kind, str)(value[1:-1].replace("''", "'") if value.startswith("'") else value)
        position = match.end()
    return row, text[position:]
