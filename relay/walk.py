"""A page of a long list, by keyset: newest first, a bounded number of rows looked at, however rare what is wanted.

A filter that has no index can't be answered from one. So a page ends when it is full, or when so many rows have been looked at;
the next one goes on where it ended. Walked to the end, pages show each row once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

HIGHEST = 2**63 - 1  # of ids
MOST = 10_000  # rows that are looked at for one page
FIRST = 250  # in the first statement; each further one looks at four times as many
Row = dict[str, Any]
# before, how many to look at, how many to return -> rows with "walked", "last", and "id", which is null in the one row of
# nothing.
Read = Callable[[int, int, int], list[Row]]


class Walked(NamedTuple):
    """``next`` is what the next page comes before; None at the end."""

    rows: list[Row]
    next: int | None


def walk(read: Read, before: int | None, limit: int, *, filtered: bool) -> Walked:
    found: list[Row] = []
    position, looked_at = HIGHEST if before is None else before, 0
    size = FIRST if filtered else limit + 1
    while True:
        rows = read(position, size, limit + 1 - len(found))
        walked, last = rows[0]["walked"], rows[0]["last"]
        found += [row for row in rows if row["id"] is not None]
        if len(found) > limit:
            return Walked(found[:limit], found[limit - 1]["id"])
        if walked < size:
            return Walked(found, None)
        position, looked_at = last, looked_at + walked
        if looked_at >= MOST:
            return Walked(found, last)
        size = min(4 * size, MOST - looked_at)
