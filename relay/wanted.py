"""Event types that are wanted, by patterns, as queries take them: names, and beginnings of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Wanted(NamedTuple):
    """``types`` None: all."""

    types: list[str] | None = None
    prefixes: list[str] | None = None

    @classmethod
    def of(cls, patterns: Sequence[str]) -> Wanted:
        """``*`` and ``expense.*`` as endpoints have them, but ``*`` is every type, Rowhook's own too."""
        if not patterns or "*" in patterns:
            return cls()
        return cls(
            [pattern for pattern in patterns if not pattern.endswith(".*")],
            [pattern[:-1] for pattern in patterns if pattern.endswith(".*")],
        )

    def matches(self, type: str | None) -> bool:
        if self.types is None:
            return True
        return type is not None and (type in self.types or type.startswith(tuple(self.prefixes or ())))


ALL = Wanted()
