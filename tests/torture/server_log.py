"""Crashes of Postgres that the nemesis did not order, by the server's own log: a backend that dies takes all sessions with it.

They are counted as faults like the others, so that nobody has to wonder; the table names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.torture.records import Fault

KIND = "backend_crash"
LONGEST_RECOVERY = 5.0  # seconds, where the log has no end of it: the nemesis came first

_CRASHED = re.compile(r"^(\S+ \S+) UTC .*LOG: +(server process|.* process) \(PID \d+\) was terminated by signal", re.M)
_READY = re.compile(r"^(\S+ \S+) UTC .*LOG: +database system is ready to accept connections", re.M)


def crashes(log: Path) -> list[Fault]:
    """Each with the time until the server took connections again."""
    text = log.read_text(errors="replace") if log.exists() else ""
    ready = list(_times(_READY, text))
    return [
        Fault(KIND, "*", at, min((end for end in ready if at <= end), default=at + LONGEST_RECOVERY))
        for at in _times(_CRASHED, text)
    ]


def _times(pattern: re.Pattern[str], text: str) -> Iterator[float]:
    for found in pattern.finditer(text):
        yield datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
