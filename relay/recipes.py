"""Recipes: captures and rules for a known application, in one file of sql/recipes/; ROWHOOK_RECIPES names those that are wanted.

A recipe is SQL to be read by people: it says itself what it makes, and changes nothing when it is installed already.
"""

from __future__ import annotations

import logging
from pathlib import Path

from relay import audit, captures, rules
from relay.audit import Actor
from relay.captures import Connection, as_admin, find, with_locks
from relay.config import Settings
from relay.database import Row
from relay.errors import UserMistake
from relay.migrations import migrations_folder
from relay.refusals import refusals

log = logging.getLogger(__name__)

FIRST_TABLE = {"finmind": "expenses"}  # where a recipe's tables are is where this one is


def check(names: tuple[str, ...]) -> None:
    """Raises UserMistake for a recipe that there isn't."""
    for name in names:
        if name not in FIRST_TABLE:
            raise UserMistake(f"ROWHOOK_RECIPES: there is no recipe {name!r}", f"there are: {', '.join(FIRST_TABLE)}")


def ensure(settings: Settings) -> None:
    """Install the recipes that ROWHOOK_RECIPES names, or mend what is not whole of them."""
    check(settings.recipe_names)
    if not settings.recipe_names:
        return
    with as_admin(settings) as connection:
        for name in settings.recipe_names:
            try:
                with refusals():
                    install(connection, name)
            except UserMistake as mistake:
                raise UserMistake(f"ROWHOOK_RECIPES={name}: {mistake.message}", mistake.remedy) from None


def install(connection: Connection, name: str) -> None:
    """Run the recipe in one transaction, where its first table is found."""
    table = find(connection, FIRST_TABLE[name])

    def run() -> str:
        connection.execute(
            "SELECT set_config('rowhook.recipe_schema', n.nspname, true)"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s::oid",
            [table.oid],
        )
        before = _made(connection)
        connection.execute(_path(name).read_bytes())
        _record(connection, name, before, _made(connection))
        return "installed"

    with_locks(connection, table, run, log.warning)
    log.info("recipe installed", extra={"recipe": name})


def _made(connection: Connection) -> dict[tuple[str, ...], Row]:
    """All captures and rules, by kind and name."""
    made: dict[tuple[str, ...], Row] = {("capture", row["table"], row["name"]): row for row in captures.everything(connection)}
    return made | {("rule", row["table"], row["type"]): row for row in rules.everything(connection)}


def _record(connection: Connection, recipe: str, before: dict[tuple[str, ...], Row], after: dict[tuple[str, ...], Row]) -> None:
    """Say in the audit what has changed, as commands do."""
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was != now:
            action = f"{key[0]}.{'install' if now else 'remove'}"
            audit.write(connection, Actor(f"recipe {recipe}", "run"), action, key[1], before=was, after=now)


def _path(name: str) -> Path:
    return migrations_folder() / "recipes" / f"{name}.sql"
