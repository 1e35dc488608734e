"""12: what writers got to hear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.torture.records import AWAY, Evidence, Fault, Verdict, WriterError

ENDS_SESSIONS = AWAY | {"terminate"}
SLACK = 5.0  # a session finds out late, and a server takes its time to be back
OF_THE_APPLICATION = {
    "23503": "foreign key",
    "23505": "unique key",
    "40001": "serialization",
    "40P01": "deadlock",
}


def writers_unharmed(evidence: Evidence) -> Verdict:
    """(12) Allowed: a session that ended while the nemesis ended sessions, and the application's own conflicts, as long as
    nothing that the server says of them names Rowhook. A serialization failure may: it strikes at whichever statement comes next.
    """
    excused, violations = Counter[str](), list[str]()
    for error in evidence.errors:
        if cause := _cause(error, evidence.faults):
            excused[cause] += 1
        else:
            violations.append(f"{error.writer}: {error.sqlstate} {error.said!r}")
    return Verdict(evidence.statements, violations, excused)


def _cause(error: WriterError, faults: Sequence[Fault]) -> str | None:
    away = any(f.kind in ENDS_SESSIONS and f.began - SLACK <= error.at <= f.ended + SLACK for f in faults)
    if away and (error.sqlstate is None or error.sqlstate[:2] in ("08", "57")):
        return "server away"
    if error.sqlstate in OF_THE_APPLICATION and (error.sqlstate == "40001" or "rowhook" not in error.said.lower()):
        return OF_THE_APPLICATION[error.sqlstate]
    return None
