"""One shape's run: its table is made and captured, and written to in six ways; what was captured, the rows before and after."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import sql

from relay import moment
from relay.event import Event
from tests.conftest import Connection
from tests.matrix.shape import Shape, Write

Rows = Counter[str]

SINCE = "SELECT coalesce(max(id), 0) FROM rowhook.event"
EVENTS = """
SELECT op::text, type, tenant, row_key, moved, data::text, previous::text, table_name, context::text, coalesce(truncated, false)
  FROM rowhook.event WHERE id > %s AND op <> 'probe' ORDER BY id
"""
COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Captured:
    """An event, and the body that would be sent for it: with its own number and time, which are no part of what a row says."""

    op: str
    row_key: str | None
    data: str | None
    previous: str | None
    truncated: bool
    body: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of write to one shape."""

    write: Write
    before: Rows
    after: Rows
    keys: dict[str, str | None]  # of the rows after, by what they say
    events: list[Captured]


@dataclass(frozen=True, slots=True)
class Place:
    """Who writes and who looks; ``settle`` waits until what was written has arrived where the capture is."""

    writer: Connection
    reader: Connection
    settle: Callable[[], None] = lambda: None


def prepare(place: Place, shape: Shape) -> str:
    """Make the table and capture it, as its owner would; the mode that was chosen."""
    name = sql.Identifier(shape.in_schema)
    place.reader.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {0}; SET search_path = {0}, public").format(name))
    virtual = "VIRTUAL" if place.reader.info.server_version >= 180000 else "STORED"
    place.reader.execute(shape.create.replace("{VIRTUAL}", virtual).encode())
    place.reader.execute(f"SELECT rowhook.capture(%s::regclass{shape.options})".encode(), [shape.table])
    place.reader.execute((shape.after_capture or "SELECT").encode())
    place.reader.execute(f"SET timezone = '{shape.zone}'".encode())
    place.writer.execute(sql.SQL("SET search_path = {}, public").format(name))
    place.writer.execute((shape.session or "SELECT").encode())
    (mode,) = one(place.reader, "SELECT mode FROM rowhook.capture WHERE table_name = %s::regclass", shape.table)
    return str(mode)


def run(place: Place, shape: Shape) -> Iterator[Cell]:
    """The six kinds of write, one after the other."""
    for write in Write:
        (since,) = one(place.reader, SINCE)
        before, _ = rows(place.reader, shape)
        perform(place.writer, shape, write)
        place.settle()
        after, keys = rows(place.reader, shape)
        yield Cell(write, before, after, keys, captured(place.reader, since))


def perform(writer: Connection, shape: Shape, write: Write) -> None:
    statements = shape.statements(write)
    if not statements:
        copy(writer, shape)
    with writer.transaction():
        for statement in statements:
            writer.execute(statement.encode())


def copy(writer: Connection, shape: Shape) -> None:
    """COPY … FROM, of what COPY … TO makes of the rows."""
    with writer.cursor() as cursor:
        with cursor.copy(f"COPY (SELECT * FROM (VALUES {shape.many}) AS given) TO STDOUT".encode()) as given:
            lines = b"".join(bytes(part) for part in given)
        with cursor.copy(f"COPY {shape.target or shape.table} ({shape.columns}) FROM STDIN".encode()) as taking:
            taking.write(lines)


def rows(reader: Connection, shape: Shape) -> tuple[Rows, dict[str, str | None]]:
    """What SELECT says: each row's values one by one, put together here; and its key's text."""
    names = columns(reader, shape)
    key = one(reader, "SELECT key FROM rowhook.capture WHERE table_name = %s::regclass", shape.table)[0]
    wanted = [f"coalesce(to_json(t.{quoted(name)})::text, 'null')" for name in names] + [
        f"t.{quoted(name)}::text" for name in key
    ]
    found = reader.execute(
        f"SELECT {', '.join(wanted)} FROM {'ONLY ' if shape.only else ''}{shape.table} AS t".encode()
    ).fetchall()
    said: Rows = Counter()
    keys: dict[str, str | None] = {}
    for row in found:
        text = "{" + ",".join(f"{json.dumps(n, ensure_ascii=False)}:{v}" for n, v in zip(names, row, strict=False)) + "}"
        said[text] += 1
        keys[text] = key_text([str(part) for part in row[len(names) :]])
    return said, keys


def key_text(parts: list[str]) -> str | None:
    """A row key: the text of its column, or a JSON array of texts in Postgres' manner."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return "[" + ", ".join(json.dumps(part, ensure_ascii=False) for part in parts) + "]"


def columns(reader: Connection, shape: Shape) -> list[str]:
    return [str(name) for (name,) in reader.execute(COLUMNS, [shape.table])]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def captured(reader: Connection, since: int) -> list[Captured]:
    found = reader.execute(EVENTS, [since]).fetchall()
    return [as_captured(number, *row) for number, row in enumerate(found, start=1)]


def as_captured(
    number: int,
    op: str,
    type: str,
    tenant: str | None,
    row_key: str | None,
    moved: bool,
    data: str | None,
    previous: str | None,
    table: str,
    context: str | None,
    truncated: bool,
) -> Captured:
    """The body is made by what makes those that are sent, from the same texts."""
    event = Event(
        id=number,
        slot=0,
        occurred_at=moment.of(BEGAN + timedelta(seconds=number)),
        type=type,
        tenant=tenant,
        row_key=row_key,
        moved=moved,
        data=encoded(data),
        previous=encoded(previous),
        table_name=table,
        context=encoded(context),
        truncated=truncated,
    )
    return Captured(op, row_key, data, previous, truncated, event.body.decode())


def encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def one(connection: Connection, statement: str, *parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(statement.encode(), parameters or None).fetchone()
    assert row is not None
    return tuple(row)
