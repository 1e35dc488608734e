"""What Postgres refuses, in words for the person who asked: psycopg's errors become Rowhook's.

RH001 is what the schema's own functions raise for a user's mistake (rowhook.refuse in sql/0007-capture.sql).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from relay.database import first_line, translated
from relay.errors import RowhookError, UserMistake

REFUSED = "RH001"
LACKS_RIGHT = "42501"
# No such schema, table, function or column: our own statements name nothing else.
LACKS_OBJECT = ("3F000", "42P01", "42883", "42703")


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Raises UserMistake, DatabaseLost or RowhookError instead of any error of psycopg's."""
    try:
        with translated():
            yield
    except psycopg.Error as error:
        raise explained(error) from error


def explained(error: psycopg.Error) -> RowhookError:
    """A refusal of Postgres' as one of our errors."""
    said = error.diag.message_primary or first_line(error)
    if error.sqlstate == REFUSED:
        return UserMistake(said, error.diag.message_hint or "")
    if error.sqlstate == LACKS_RIGHT:
        return UserMistake(
            f"the database role lacks a right ({said})",
            "grant it, or name a role that has it: in ROWHOOK_ADMIN_URL for migrations and captures, else in DATABASE_URL",
        )
    if error.sqlstate in LACKS_OBJECT:
        return UserMistake(f"the database lacks something ({said})", "run: rowhook migrate")
    return RowhookError(f"Postgres refused: {said} (SQLSTATE {error.sqlstate})")
