"""Reading events and breaking functions on purpose are done as in tests/sql."""

from tests.sql.conftest import events, mutate, warnings

__all__ = ["events", "mutate", "warnings"]
