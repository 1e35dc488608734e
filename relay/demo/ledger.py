"""What the writer knows it did: the measure for what arrives.

Kept from the rows that the writer's own statements returned, and from what its foreign keys promise. No table of Rowhook's
has a part in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

Row = Mapping[str, object]
Texts = frozenset[tuple[str, str | None]]


@dataclass(frozen=True)
class Change:
    """One row's change. Values are kept as text, so that 99.50 and 99.5 differ."""

    op: str
    row: str
    values: Texts
    previous: Texts = frozenset()

    @property
    def tenant(self) -> str | None:
        return dict(self.values)["user_id"]


def created(row: Row) -> Change:
    return Change("created", str(row["id"]), texts(row))


def updated(old: Row, new: Row) -> Change:
    changed = {name: value for name, value in old.items() if value != new[name]}
    return Change("updated", str(new["id"]), texts(new), texts(changed))


def deleted(row: Row) -> Change:
    return Change("deleted", str(row["id"]), texts(row))


def texts(row: Row) -> Texts:
    """The one form in which a row that was written and a row that arrived are compared."""
    return frozenset((name, _text(name, value)) for name, value in row.items())


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    if name.endswith("_at") and isinstance(value, str) and "T" in value:
        return datetime.fromisoformat(value).isoformat()  # Postgres leaves out zeros at the end of a fraction
    return str(value) if isinstance(value, int | str | Decimal) else repr(value)


@dataclass
class Ledger:
    """All that was committed, and what was not."""

    rows: dict[int, Row] = field(default_factory=dict)
    committed: list[Change] = field(default_factory=list)
    rolled_back: list[Change] = field(default_factory=list)
    without_effect: int = 0

    def insert(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows[_id(row)] = row
            self.committed.append(created(row))

    def update(self, rows: Iterable[Row]) -> None:
        for row in rows:
            change = updated(self.rows[_id(row)], row)
            self.rows[_id(row)] = row
            if change.previous:
                self.committed.append(change)
            else:
                self.without_effect += 1

    def delete(self, rows: Iterable[Row]) -> None:
        for row in rows:
            del self.rows[_id(row)]
            self.committed.append(deleted(row))

    def rows_where(self, column: str, value: int) -> list[Row]:
        return [row for row in self.rows.values() if row[column] == value]


def _id(row: Row) -> int:
    value = row["id"]
    assert isinstance(value, int)
    return value
