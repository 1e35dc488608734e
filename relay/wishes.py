"""Which events an endpoint wants, in what shape and how often: what a person may say of that, checked.

Texts of options and of the API's fields become values of columns. Of a filter Postgres itself is asked, as it will evaluate it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import DictRow

from relay.database import query
from relay.errors import UserMistake
from relay.shapes import STANDARD, TEMPLATE, parse_shape

NOTHING_SAID = {"filter": None, "shape": STANDARD, "template": None, "rate": None}


def parse_filter(text: str) -> str | None:
    """A path over the event; empty: none. check_filter() judges it."""
    return text.strip() or None


def parse_rate(text: str) -> str | None:
    """``10/s``, ``100/min``; empty: no limit. No finer than a thousandth of a second."""
    if not text:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5}) ?/ ?(s|min|h|d)", text.strip())
    if not match or (match[2] == "s" and int(match[1]) > 1000):
        raise UserMistake(f"{text!r} is not a rate", "give a number, a stroke and s, min, h or d: 10/s, 100/min; at most 1000/s")
    return f"{match[1]}/{match[2]}"


def shape_fields(shape: str | None, template: str | None) -> dict[str, str | None]:
    """Columns: a template is a shape of its own, any other shape ends it; neither given: nothing is set."""
    if template is not None and shape in (None, TEMPLATE):
        from relay.shapes.language import check_template  # Jinja, which little else needs

        return {"shape": TEMPLATE, "template": check_template(template)}
    if template is not None:
        raise UserMistake("a shape and a template are both given", "give one of them: a template is a shape of its own")
    return {} if shape is None else {"shape": parse_shape(shape or STANDARD), "template": None}


def read_template(name: str | None) -> str | None:
    """The text of a file, or of a recipe that ships: slack, discord, teams."""
    if name is None:
        return None
    from relay.shapes.language import LONGEST, RECIPES, recipe

    if name in RECIPES:
        return recipe(name)
    try:
        with Path(name).open(encoding="utf-8") as file:
            return file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserMistake(
            f"the template {name!r} can't be read ({reason})", f"give a file, or the name of a recipe: {', '.join(RECIPES)}"
        ) from None


def check_filter(connection: psycopg.Connection[DictRow], fields: dict[str, Any]) -> None:
    """Raises UserMistake where Postgres would refuse the filter among these columns, or it could hold up dispatch."""
    if fields.get("filter") is not None:
        (row,) = connection.execute(query("endpoints.filter_fault"), fields).fetchall()
        if row["fault"]:
            raise UserMistake(*row["fault"])
