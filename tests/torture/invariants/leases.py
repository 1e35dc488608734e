"""9: what a dead process holds."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence

from tests.torture.invariants.excuses import hits
from tests.torture.records import AWAY, Evidence, Fault, Held, Instance, Life, Verdict

MOST = 2.0
MOST_UNHEARD = 10.0  # where its way was silent the server hears no end: as of a relay that is cut off, by its beat
ONE_STEP = 0.6  # samples farther apart than this: nobody on this machine could run, or there was no server
RECOVERY = 4.0  # after a fault of its own a relay isn't counted on for so long
AILING = AWAY | {"freeze", "cut", "silence", "halve", "slow", "deafen", "terminate", "kill_supervisor"}


def no_lease_of_the_dead(evidence: Evidence) -> Verdict:
    """(9) Sampled five times a second. Only time counts in which somebody could have taken over: samples came regularly, and
    another relay lived, unhurt by the nemesis. While the dead one's own way to Postgres was silent, the end of its sessions was
    held back too: a dead process and a cut-off one are the same to all others then, and have the same 10 s.
    """
    checked, violations = 0, list[str]()
    instances = {instance.id: instance for instance in evidence.instances}
    sampled = sorted(evidence.sampled)
    worst: dict[tuple[str, float], tuple[float, Held]] = {}
    for held in evidence.held:
        checked += 1
        instance = instances.get(held.instance)
        if instance is None:
            violations.append(f"{held.leases} leases of instance {held.instance}, which never was")
            continue
        death = _death(evidence.lives, instance, held.at)
        if death is None or death.died is None or held.at - death.died <= MOST:
            continue
        steps = list(_fair(evidence, sampled, instance.relay, death.died, held.at))
        fair = sum(end - begin for begin, end in steps if not _unheard(evidence, instance.relay, begin, end))
        in_all = sum(end - begin for begin, end in steps)
        if fair > MOST or in_all > MOST_UNHEARD:
            worst[death.relay, death.died] = (fair if fair > MOST else in_all, held)
    violations += [
        f"{relay} died at {died:.3f}; {held.leases} of its leases were there for {fair:.1f} s"
        for (relay, died), (fair, held) in worst.items()
    ]
    return Verdict(checked, violations)


def _death(lives: Sequence[Life], instance: Instance, at: float) -> Life | None:
    """Of the process that ran as this instance, if that was before then."""
    deaths = [life for life in lives if life.relay == instance.relay and life.died is not None]
    return next((life for life in deaths if life.died is not None and instance.started < life.died < at), None)


def _fair(evidence: Evidence, sampled: Sequence[float], relay: str, since: float, until: float) -> Iterator[tuple[float, float]]:
    """The steps between samples in which somebody could have taken over."""
    times = [since, *sampled[bisect.bisect_right(sampled, since) : bisect.bisect_right(sampled, until)]]
    for begin, end in itertools.pairwise(times):
        if end - begin < ONE_STEP and _somebody_well(evidence, relay, begin, end):
            yield begin, end


def _unheard(evidence: Evidence, relay: str, begin: float, end: float) -> bool:
    silences = (fault for fault in evidence.faults if fault.kind == "silence" and hits(fault, relay))
    return any(fault.began < end and begin < fault.ended for fault in silences)


def _somebody_well(evidence: Evidence, relay: str, begin: float, end: float) -> bool:
    alive = [i for i in evidence.instances if i.relay != relay and i.started < begin and (i.ended is None or i.ended > end)]
    return any(not any(_ails(fault, i.relay, begin, end) for fault in evidence.faults) for i in alive)


def _ails(fault: Fault, relay: str, begin: float, end: float) -> bool:
    return fault.kind in AILING and hits(fault, relay) and fault.began < end and begin < fault.ended + RECOVERY
