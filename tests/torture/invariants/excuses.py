"""Which recorded fault explains that a relay no longer had what it was sending.

A request counts as already out when its relay was frozen, killed or cut off later; and, if it was cut off, for as long after that
as the relay's last sign of life lets it send (6 s; a frozen one asks before each request and finds it too old). Clocks are one
machine's, but a request is received a little after it was sent: hence the slack.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.torture.records import Attempt, Evidence, Fault, Instance, Request

SLACK = 1.0
STILL_SENDS = 6.0

CRASH = {"kill", "kill_supervisor"}
FREEZE = {"freeze"}
PARTITION = {"cut", "silence", "halve", "slow", "terminate", "restart_fast", "restart_immediate", "crash"}


class Excuses:
    """Looks faults up by relay and time."""

    def __init__(self, evidence: Evidence) -> None:
        self._instances: Mapping[int, Instance] = {instance.id: instance for instance in evidence.instances}
        self._attempts: Mapping[tuple[str, int], Attempt] = {(row.delivery, row.number): row for row in evidence.attempts}
        self._faults = [fault for fault in evidence.faults if fault.kind in CRASH | FREEZE | PARTITION]

    def attempt(self, request: Request) -> Attempt | None:
        return self._attempts.get((request.delivery, request.attempt))

    def instance(self, request: Request) -> int | None:
        row = self.attempt(request)
        return row.instance if row else None

    def cause(self, request: Request, until: float) -> str | None:
        """The fault of its relay because of which somebody else might send it again by then."""
        return self.fault(self.instance(request), request.received, until)

    def fault(self, instance: int | None, since: float, until: float) -> str | None:
        """What may have cost this instance its leases in that time."""
        known = self._instances.get(instance or 0)
        if known is None:
            return None
        return next((_named(f) for f in self._faults if hits(f, known.relay) and _explains(f, since, until)), None)


def hits(fault: Fault, relay: str) -> bool:
    return fault.target in ("*", relay, relay.partition("/")[0])


def _explains(fault: Fault, since: float, until: float) -> bool:
    lapse = STILL_SENDS if fault.kind in PARTITION else 0.0
    return fault.began <= until + SLACK and since <= fault.ended + lapse + SLACK


def _named(fault: Fault) -> str:
    return "crash" if fault.kind in CRASH else "freeze" if fault.kind in FREEZE else "partition"
