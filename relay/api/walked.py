"""Pages of what is walked along an index (relay/walk.py): a cursor is the id of the last row that was looked at, shown or not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from relay.api.pages import Page
from relay.api.problem import Problem
from relay.walk import Row, Walked

Item = TypeVar("Item", bound=BaseModel)


def place(before: str | None) -> int | None:
    """What a cursor says; 422 where it is none."""
    if before is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,17}", before, re.ASCII):
        raise Problem(422, "invalid", "give what a page of this list had as `next`", field="before")
    return int(before)


def paged(model: type[Page[Item]], found: Walked, make: Callable[[Row], Item]) -> Page[Item]:
    return model(items=[make(row) for row in found.rows], next=None if found.next is None else str(found.next))


def told(model: type[Page[Item]], found: Walked, tell: Callable[[Row], Row]) -> Page[Item]:
    """The same of items that ``tell`` gives by their fields, as the columns have them.

    For what is asked often: a model of each, which checks what Postgres has checked, costs as much as all the rest. Tests hold
    them against the model.
    """
    items: Any = [tell(row) for row in found.rows]
    return model.model_construct(items=items, next=None if found.next is None else str(found.next))
