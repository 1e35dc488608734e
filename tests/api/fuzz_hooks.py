"""What schemathesis loads (fuzz.py): no key of a POST is used twice while calls follow from each other.

A key that was used before is answered as it was then, also when what was made has been removed meanwhile; schemathesis takes that
for something that was made and isn't there.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import schemathesis
from schemathesis.generation.meta import TestPhase

KEY = "Idempotency-Key"
_VALID = re.compile(r"[\x21-\x7e]{1,200}")
_numbers = itertools.count(1)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A valid key stays a valid one."""
    if case.meta is None or case.meta.phase.name != TestPhase.STATEFUL:
        return
    key = case.headers.get(KEY)
    if isinstance(key, str) and _VALID.fullmatch(key):
        case.headers[KEY] = f"{key[:190]}-{next(_numbers)}"
