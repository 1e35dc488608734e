"""Times as RFC 3339 has them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, PlainSerializer

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _parsed(value: Any) -> Any:
    """pydantic would take numbers, days and much else for times."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("this is not a time as RFC 3339 has them: 2026-01-31T09:30:00Z")
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError("there is no such time") from None


def written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


GivenTime = Annotated[AwareDatetime, BeforeValidator(_parsed)]
Time = Annotated[AwareDatetime, PlainSerializer(written, return_type=str, when_used="json")]
