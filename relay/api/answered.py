"""An answer as it goes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answered:
    """Status, headers beside those that each answer has, and the body. It may show a secret, so its repr doesn't."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
