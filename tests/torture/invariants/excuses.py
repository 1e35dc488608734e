"""Which recorded fault explains that a relay no longer had what it was sending.

It must have hit that relay while the request was out or its result waited to be recorded, and before somebody else sent the
delivery again. A request may still begin after the fault: for a moment, until the relay hears of it; where it was cut off in
silence, for as long as its last sign of life lets it send (6 s). A frozen one asks before each request, and finds that too old.
Clocks are one machine's, but a request is received a little after it was sent: hence the slack.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.torture.records import AWAY, Attempt, Evidence, Fault, Instance, Request

SLACK = 1.0
RECORDED_WITHIN = 3.0  # after its answer, on a machine that is busy

CRASH = {"kill", "kill_supervisor"}
FREEZE = {"freeze"}
HEARD_OF = {"cut", "terminate", "deafen"} | AWAY  # a relay whose listener is deaf begins anew, once it has noticed
SILENT = {"silence", "halve", "slow"}

# For how long after the fault a request may still begin.
LAPSE = {**dict.fromkeys(CRASH | FREEZE, 0.0), **dict.fromkeys(HEARD_OF, 1.0), **dict.fromkeys(SILENT, 6.0)}


class Excuses:
    """Looks faults up by relay and time."""

    def __init__(self, evidence: Evidence) -> None:
        self._instances: Mapping[int, Instance] = {instance.id: instance for instance in evidence.instances}
        self._attempts: Mapping[tuple[str, int], Attempt] = {(row.delivery, row.number): row for row in evidence.attempts}
        self._faults = [fault for fault in evidence.faults if fault.kind in LAPSE]

    def attempt(self, request: Request) -> Attempt | None:
        return self._attempts.get((request.delivery, request.attempt))

    def instance(self, request: Request) -> int | None:
        row = self.attempt(request)
        return row.instance if row else None

    def end(self, request: Request) -> float:
        """When it was over for the relay, as far as that is on record."""
        row = self.attempt(request)
        return request.ended if row is None or row.duration is None else min(request.ended, row.started + row.duration)

    def relays(self, *requests: Request) -> str:
        return " and ".join(str(self._instances.get(self.instance(request) or 0)) for request in requests)

    def cause(self, request: Request, until: float) -> str | None:
        """The fault of its relay because of which somebody else might send it again by then."""
        row = self.attempt(request)
        claimed = row.started if row and row.error == "lost" else None
        return self.fault(self.instance(request), request.received, request.ended, until, claimed)

    def fault(self, instance: int | None, began: float, ended: float, until: float, claimed: float | None = None) -> str | None:
        """What may have cost this instance, by then, a request that was out from ``began`` to ``ended``.

        ``claimed``: of one that is on record as lost, when the instance took it. Killed after that it can't have sent it later,
        whenever a receiver that is busy got round to reading it.
        """
        known = self._instances.get(instance or 0)
        if known is None:
            return None
        hit = (fault for fault in self._faults if hits(fault, known.relay))
        return next((_named(fault) for fault in hit if _explains(fault, _sent(fault, began, claimed), ended, until)), None)


def hits(fault: Fault, relay: str) -> bool:
    return fault.target in ("*", relay, relay.partition("/")[0])


def _sent(fault: Fault, received: float, claimed: float | None) -> float:
    return received if claimed is None or fault.kind not in CRASH else min(received, claimed)


def _explains(fault: Fault, began: float, ended: float, until: float) -> bool:
    in_time = began - SLACK - LAPSE[fault.kind] <= fault.ended and fault.began <= ended + RECORDED_WITHIN
    return in_time and fault.began <= until + SLACK


def _named(fault: Fault) -> str:
    return "crash" if fault.kind in CRASH else "freeze" if fault.kind in FREEZE else "partition"
