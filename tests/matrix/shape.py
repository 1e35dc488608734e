"""A shape: a table, how it is captured, and six kinds of write to it.

Most shapes only say what is special about them. The writes are made of five rows: one is inserted, three are copied in, the last
comes with the upsert; ``change`` is what an update sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ALL_VERSIONS = frozenset({15, 18})


class Write(StrEnum):
    """The six kinds."""

    INSERT = "insert"  # one row
    COPY = "copy"  # three rows in one statement
    UPDATE = "update"
    UPSERT = "upsert"  # ON CONFLICT, MERGE, or both its halves in one WITH, as the table allows
    DELETE = "delete"
    TRANSACTION = "transaction"  # several statements, a savepoint that is rolled back, TRUNCATE


@dataclass(frozen=True, slots=True)
class Shape:
    """``says`` stands in the table of docs/capture.md. What is SQL runs with the shape's schema as the search_path."""

    name: str
    group: str
    says: str
    create: str
    rows: tuple[str, ...]  # five
    columns: str = "id, v"
    change: str = "v = 'changed'"
    take: str = "v = excluded.v"  # what an upsert does to a row that is there
    conflict: str = "(id)"
    first: str = "id = 1"  # the row that is updated and met by the upsert
    second: str = "id = 2"  # the row that is deleted
    table: str = "t"
    target: str = ""  # what is written to, if that is another
    schema: str = ""
    options: str = ""  # of rowhook.capture()
    after_capture: str = ""
    session: str = ""  # settings of the writer's
    zone: str = "UTC"  # the time zone in which events say a timestamptz
    mode: str = "statement"
    truncates: bool = True
    only: bool = False  # rows of tables that inherit from it are not its own
    writes: Mapping[Write, tuple[str, ...]] = field(default_factory=dict)  # instead of those made here
    versions: frozenset[int] = ALL_VERSIONS

    @property
    def in_schema(self) -> str:
        return self.schema or self.name

    def statements(self, write: Write) -> tuple[str, ...]:
        """One or several statements, committed together; of COPY there are none if it is to be one."""
        if write in self.writes:
            return self.writes[write]
        into = f"INSERT INTO {self.target or self.table} ({self.columns}) VALUES"
        update = f"UPDATE {self.target or self.table} SET {self.change} WHERE {self.first}"
        delete = f"DELETE FROM {self.target or self.table}"
        made: dict[Write, tuple[str, ...]] = {
            Write.INSERT: (f"{into} ({self.rows[0]})",),
            Write.COPY: (),
            Write.UPDATE: (update,),
            Write.UPSERT: (f"{into} ({self.rows[0]}), ({self.rows[4]}) ON CONFLICT {self.conflict} DO UPDATE SET {self.take}",),
            Write.DELETE: (f"{delete} WHERE {self.second}",),
            Write.TRANSACTION: (
                update,
                *("SAVEPOINT s", delete, f"{into} ({self.rows[1]})", "ROLLBACK TO s"),
                *("SAVEPOINT s", f"{into} ({self.rows[1]})", "RELEASE s"),
                *((f"TRUNCATE {self.table}", f"{into} ({self.rows[2]})") if self.truncates else ()),
            ),
        }
        return made[write]

    @property
    def many(self) -> str:
        """The rows that are copied in, as one list of VALUES."""
        return ", ".join(f"({row})" for row in self.rows[1:4])


def typed(name: str, says: str, type_name: str, *values: str, create: str = "", **more: object) -> Shape:
    """A table of a key and one column of this type; the fifth value may be missing: null."""
    rows = [f"{number}, {value}" for number, value in enumerate([*values, "NULL"][:5], start=1)]
    return Shape(
        name,
        "columns",
        says,
        f"{create}CREATE TABLE t (id int PRIMARY KEY, v {type_name})",
        tuple(rows),
        change=f"v = {values[2]}",
        **more,  # type: ignore[arg-type]
    )


def both_halves(
    shape_columns: str, last_row: str, take: str, table: str = "t", first: str = "id = 1"
) -> dict[Write, tuple[str, ...]]:
    """An upsert where neither ON CONFLICT nor MERGE may be used: one statement still."""
    return {
        Write.UPSERT: (
            f"WITH was AS (UPDATE {table} SET {take} WHERE {first} RETURNING 1) INSERT INTO {table} ({shape_columns})"
            f" VALUES ({last_row})",
        )
    }
