"""Pure: a seed to the nemesis' schedule. What is done to whom, when, and for how long comes from the seed alone.

Faults are drawn from a bag that is filled again when it is empty, so a short run sees many kinds. Two faults never use the same
thing at once (a relay, its way, the server, a hook), but different ones overlap. Not reproducible is how the machine interleaves
it all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EVERY = 1.5  # seconds from one fault to the next, on average
MOODS_EVERY = 3.0
FROZEN_LONG, FROZEN_SHORT = 15.0, 9.0  # peers end a frozen relay after 7 s


@dataclass(frozen=True, slots=True)
class Step:
    """``at`` and ``length`` in seconds; ``seed`` is for what the fault itself leaves to chance."""

    at: float
    kind: str
    target: str
    length: float
    seed: int


@dataclass(frozen=True, slots=True)
class Sort:
    """One kind of fault: what it may hit, for how long, and how often it is in the bag."""

    kind: str
    targets: tuple[str, ...]
    shortest: float
    longest: float
    times: int = 1


@dataclass(frozen=True, slots=True)
class Cast:
    """The names that faults may hit."""

    members: tuple[str, ...]
    relays: tuple[str, ...]
    drifting: tuple[str, ...]
    moody: tuple[str, ...]
    gone: tuple[str, ...]
    rotating: tuple[str, ...]
    tables: tuple[str, ...]
    moods: tuple[str, ...]


def sorts(cast: Cast) -> Sequence[Sort]:
    return (
        Sort("kill", cast.members, 0.2, 3.0, 3),
        Sort("kill_supervisor", tuple(r for r in cast.relays if r not in cast.members), 0.5, 2.0),
        Sort("freeze", cast.members, FROZEN_LONG, FROZEN_LONG),
        Sort("terminate", ("relay", "relay", "writer"), 0.0, 0.0, 2),
        Sort("restart_fast", ("*",), 0.0, 1.0),
        Sort("restart_immediate", ("*",), 0.0, 1.0),
        Sort("crash", ("*",), 0.0, 1.0),
        Sort("cut", cast.relays, 0.0, 0.0, 2),
        Sort("silence", cast.relays, 3.0, 14.0),
        Sort("halve", cast.relays, 3.0, 12.0),
        Sort("slow", cast.relays, 3.0, 8.0),
        Sort("deafen", cast.relays, 5.0, 20.0),
        Sort("drift", cast.drifting, 4.0, 12.0),
        Sort("hold_xmin", ("*",), 4.0, 12.0),
        Sort("column", cast.tables, 0.5, 3.0),
        Sort("vacuum_full", cast.tables, 0.0, 0.0),
        Sort("pause", cast.moody, 2.0, 8.0),
        Sort("discard", cast.gone, 1.0, 4.0),
        Sort("guest", ("*",), 4.0, 15.0, 2),
        Sort("rotate", cast.rotating, 3.0, 8.0),
        Sort("gone", cast.gone, 1.0, 4.0),
        Sort("replay", ("*",), 0.0, 0.0),
    )


def schedule(seed: int, seconds: float, cast: Cast) -> list[Step]:
    """All steps in order of time; each ends before ``seconds`` do."""
    chance = random.Random(f"schedule {seed}")
    return sorted([*_faults(chance, seconds, cast), *_moods(chance, seconds, cast)], key=lambda step: step.at)


def _faults(chance: random.Random, seconds: float, cast: Cast) -> Iterator[Step]:
    bag: list[Sort] = []
    busy: dict[str, float] = {}
    at = 1.0 + chance.expovariate(1.0)
    while at < seconds - 1:
        if not bag:
            bag = [sort for sort in sorts(cast) for _ in range(sort.times) if sort.targets]
            chance.shuffle(bag)
        sort = bag.pop()
        target, length = chance.choice(sort.targets), chance.uniform(sort.shortest, sort.longest)
        if sort.kind == "freeze" and at + length > seconds:
            length = FROZEN_SHORT
        uses = used(sort.kind, target)
        if at + length <= seconds and busy.get(uses, 0.0) <= at:
            busy[uses] = at + length + 1.0
            yield Step(at, sort.kind, target, length, chance.getrandbits(32))
            at += chance.expovariate(1 / EVERY)


def used(kind: str, target: str) -> str:
    """What a fault has for itself."""
    if kind in ("kill", "kill_supervisor", "freeze"):
        return f"process {target.partition('/')[0]}"
    if kind in ("cut", "silence", "halve", "slow", "deafen"):
        return f"way {target}"
    if kind in ("restart_fast", "restart_immediate", "crash"):
        return "server"
    if kind in ("pause", "discard", "gone", "rotate"):
        return f"hook {target}"
    return f"{kind} {target}"


def _moods(chance: random.Random, seconds: float, cast: Cast) -> Iterator[Step]:
    """Bad days of receivers; one at a time for each."""
    busy: dict[str, float] = {}
    at = chance.uniform(0.5, 2.0)
    while at < seconds - 2:
        hook, mood = chance.choice(cast.moody), chance.choice(cast.moods)
        length = min(chance.uniform(2.0, 12.0), seconds - at)
        if busy.get(hook, 0.0) <= at:
            busy[hook] = at + length
            yield Step(at, f"mood {mood}", hook, length, 0)
        at += chance.expovariate(1 / MOODS_EVERY)
