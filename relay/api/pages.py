"""Lists by pages, newest first: each names the one before it in time. By keyset: no page is slower than the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel, Field, SerializeAsAny

from relay import public_id
from relay.api.models.base import Answer, Query, WholeNumber
from relay.api.problem import about
from relay.database import Row

DEFAULT, MOST = 50, 100

Item = TypeVar("Item", bound=BaseModel)


class PageQuery(Query):
    """What any list takes."""

    limit: WholeNumber = Field(DEFAULT, ge=1, le=MOST, description="How many items at most.")
    before: str | None = Field(
        None, min_length=1, max_length=200, description="`next` of the page that was read last: go on with what is older."
    )


class Page(Answer, Generic[Item]):
    """One page of a list."""

    items: list[SerializeAsAny[Item]]  # also what no model was made of: walked.told
    next: str | None = Field(description="Give it as `before` to go on; null on the last page.")


def page(rows: Sequence[Row], query: PageQuery, make: Callable[[Row], Item], cursor: Callable[[Row], str]) -> Page[Item]:
    """Of ``limit + 1`` rows, newest first. ``cursor`` is how a row is gone on from."""
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return Page[Item](items=[make(row) for row in shown], next=cursor(shown[-1]) if more else None)


def position(before: str | None, prefix: str) -> tuple[int, int] | tuple[None, None]:
    """Id and slot that a cursor holds which is a public id; 422 where it is none."""
    if before is None:
        return None, None
    with about("before"):
        return public_id.parse(before, prefix)
