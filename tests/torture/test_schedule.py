"""The nemesis' schedule comes from the seed alone, and never does two things to one thing at once."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest

from tests.torture.nemesis import FAULTS
from tests.torture.run import cast
from tests.torture.schedule import Step, schedule, sorts, used

SEEDS = range(20)


def test_the_same_seed_makes_the_same_schedule():
    assert schedule(7, 600, cast()) == schedule(7, 600, cast())
    assert schedule(7, 600, cast()) != schedule(8, 600, cast())


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_has_two_faults_at_once_and_all_end_in_time(seed: int):
    by_thing: dict[str, list[Step]] = defaultdict(list)
    for step in schedule(seed, 300, cast()):
        assert 0 < step.at <= step.at + step.length <= 300
        by_thing["mood " + step.target if step.kind.startswith("mood") else used(step.kind, step.target)].append(step)
    for steps in by_thing.values():
        for before, after in itertools.pairwise(steps):
            assert before.at + before.length <= after.at


def test_ten_minutes_see_every_kind_and_every_kind_can_be_carried_out():
    kinds = {step.kind.partition(" ")[0] for step in schedule(1, 600, cast())}
    wanted = {sort.kind for sort in sorts(cast()) if sort.targets} | {"mood"}
    assert kinds == wanted
    assert kinds <= FAULTS.keys() | {"drift"}
    assert set(FAULTS) == {sort.kind for sort in sorts(cast())} | {"mood"}


def test_a_short_run_still_has_faults_of_several_kinds():
    for seed in SEEDS:
        assert len({step.kind for step in schedule(seed, 20, cast())}) >= 6
