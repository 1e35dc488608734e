"""Missed rings: how often a relay's safety look found an event for which nobody had rung, by the relays' own logs and counters.

One is explained when the nemesis had silenced the session that would have heard it; any other is a hole in the doorbell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.torture.faults_relay import LARGEST_DRIFT
from tests.torture.records import Fault, Instance

DEAFENING = {"deafen", "silence", "halve", "slow"}
LOOKS_AFTER = 20.0  # seconds, at the most, until a safety look finds it
_LINE = re.compile(r"(\S+Z) ERROR relay\.doorbell: .*nobody rang")


@dataclass(frozen=True, slots=True)
class Rings:
    missed: int
    unexplained: int


def missed(logs: Sequence[Path], instances: Sequence[Instance], faults: Sequence[Fault]) -> Rings:
    """What instances counted and no log tells counts as unexplained."""
    times = [(log.stem, at) for log in logs for at in _times(log)]
    unexplained = sum(not _explained(relay, at, faults) for relay, at in times)
    counted = sum(instance.missed_rings or 0 for instance in instances)
    return Rings(max(len(times), counted), unexplained + max(0, counted - len(times)))


def _times(log: Path) -> Iterator[float]:
    for found in _LINE.finditer(log.read_text(errors="replace")):
        yield datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


def _explained(relay: str, at: float, faults: Iterable[Fault]) -> bool:
    return any(
        fault.kind in DEAFENING
        and fault.target == relay
        and fault.began <= at + slack
        and at - slack <= fault.ended + LOOKS_AFTER
        for fault in faults
        for slack in [_slack(relay, at, faults)]
    )


def _slack(relay: str, at: float, faults: Iterable[Fault]) -> float:
    """A log written under a wrong clock has its times wrong."""
    drifts = (f for f in faults if f.kind == "drift" and f.target == relay)
    return LARGEST_DRIFT if any(f.began - LARGEST_DRIFT <= at <= f.ended + LARGEST_DRIFT for f in drifts) else 1.0
