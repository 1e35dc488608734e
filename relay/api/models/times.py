"""Times as RFC 3339 has them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator

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


GivenTime = Annotated[AwareDatetime, BeforeValidator(_parsed)]
Time = AwareDatetime  # in UTC, as the API's sessions read them: it ends in Z then
