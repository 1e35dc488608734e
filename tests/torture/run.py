"""READ FIRST. One run: set the stage, let writers, relays, receivers and the nemesis loose, wait until all is quiet, judge.

What comes from the seed: the schedule of faults, each writer's choices. What doesn't: how the machine interleaves them.
"""

from __future__ import annotations

import contextlib
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from tests.torture.evidence import UNDISPATCHED, gather
from tests.torture.fleet import FAKETIME, MEMBERS, NO_FAKETIME, Fleet
from tests.torture.fleet import KINDS as RELAYS
from tests.torture.hooks import GONE, KINDS, MOODY, Hooks
from tests.torture.invariants import INVARIANTS, Invariant
from tests.torture.moods import MOODS, REFUSE
from tests.torture.nemesis import Nemesis
from tests.torture.records import Evidence, Verdict
from tests.torture.rings import Rings, missed
from tests.torture.sampler import Sampler
from tests.torture.schedule import Cast, schedule
from tests.torture.stage import Stage
from tests.torture.world import World
from tests.torture.writers import Writers

KEPT = "run.pickle"  # beside the logs, to be judged again
START_WITHIN = 40.0
QUIET_WITHIN = 90.0
LIVE = "SELECT count(DISTINCT name) FROM rowhook.instance WHERE state = 'live'"
UNFINISHED = f"""
SELECT (SELECT count(*) FROM rowhook.delivery AS d JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
         WHERE d.state = 'leased' OR (d.state = 'pending' AND p.state NOT IN ('paused', 'disabled')))
     + ({UNDISPATCHED})
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """A run's end: what there is to judge, the verdicts, and what else is worth a line."""

    seed: int
    seconds: float
    evidence: Evidence
    verdicts: Sequence[tuple[Invariant, Verdict]]
    version: int
    quiet_after: float
    rings: Rings
    ended_by_themselves: int
    notes: Sequence[str]

    @property
    def violations(self) -> int:
        return sum(len(verdict.violations) for _, verdict in self.verdicts)


def run(seconds: float, seed: int, say: Say, keep: Path | None = None) -> Run:
    """``keep``: where logs and the journal go; otherwise they are removed."""
    folder = keep or Path(tempfile.mkdtemp(prefix="rh-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _run(seconds, seed, say, folder)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _run(seconds: float, seed: int, say: Say, folder: Path) -> Run:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        stage = enter(Stage(folder))
        say(f"Postgres {stage.version} on port {stage.cluster.port}; logs in {folder}")
        hooks = enter(Hooks(stage.cluster.dsn(), folder / "journal.jsonl"))
        for kind in KINDS:
            hooks.add(kind.name)
        fleet = enter(Fleet(stage.cluster.dsn(), stage.cluster.port, folder))
        if not _wait(stage, lambda connection: _count(connection, LIVE) >= len(MEMBERS), START_WITHIN):
            raise RuntimeError(f"not all relays have registered: {[log.read_text()[-500:] for log in fleet.logs()]}")
        world = World(stage, fleet, hooks)
        steps = schedule(seed, seconds, cast())
        say(f"seed {seed}: {len(steps)} faults in {seconds:.0f} s")
        sampler = enter(Sampler(stage.dsn))
        with Writers(stage, seed) as writers:
            Nemesis(world, steps).run(seconds)
        say("healing")
        quiet_after = heal(world)
        say(f"quiet after {quiet_after:.1f} s; judging")
        evidence = gather(world, writers, sampler)
        done = Run(
            seed, seconds, evidence, (), stage.version, quiet_after,
            missed(fleet.logs(), evidence.instances, evidence.faults), fleet.ended_by_themselves(), notes(world),
        )  # fmt: skip
        (folder / KEPT).write_bytes(pickle.dumps(done))
        return judged(done)


def judge_again(folder: Path) -> Run:
    """A run that was kept there, by the invariants as they are now. Raises OSError where there is none."""
    kept = pickle.loads((folder / KEPT).read_bytes())
    assert isinstance(kept, Run)
    return judged(kept)


def judged(run: Run) -> Run:
    return replace(run, verdicts=[(invariant, invariant.check(run.evidence)) for invariant in INVARIANTS])


def cast() -> Cast:
    return Cast(
        members=MEMBERS,
        relays=tuple(kind.name for kind in RELAYS),
        drifting=tuple(kind.name for kind in RELAYS if kind.drifts and FAKETIME),
        moody=MOODY,
        gone=GONE,
        rotating=("steady", "moody"),
        tables=("accounts", "expenses", "stocks", "scratches"),
        moods=(*(mood for mood in sorted(MOODS) if mood not in ("ok", "gone")), REFUSE),
    )


def heal(world: World) -> float:
    """Everybody is well; how many seconds it takes until nothing is left to do, QUIET_WITHIN at most."""
    world.fleet.heal()
    world.hooks.resume_all()
    began = time.monotonic()
    _wait(world.stage, lambda connection: _count(connection, UNFINISHED) == 0, QUIET_WITHIN)
    return time.monotonic() - began


def notes(world: World) -> list[str]:
    found = [] if FAKETIME else [f"no clock was put wrong: {NO_FAKETIME}"]
    if not world.hooks.has_order:
        found.append("no ordered endpoint: `rowhook endpoint add` has no --ordered")
    if world.given_up:
        found.append(f"cut short by another fault: {dict(world.given_up)}")
    return found


def _count(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _wait(stage: Stage, condition: Callable[[psycopg.Connection[tuple[int]]], bool], within: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + within
    with stage.connect() as connection:
        while not (true := condition(connection)) and time.monotonic() < deadline:
            time.sleep(0.1)
    return true
