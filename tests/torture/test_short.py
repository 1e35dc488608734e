"""A short run of the torture test, so that a change that breaks a promise is seen at once; `make torture` is the long one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.torture import report
from tests.torture.run import judge_again, run

SECONDS = 20.0
FIXED = 1


def new_seed() -> int:
    return secrets.randbits(31)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [lambda: FIXED, new_seed], ids=["fixed seed", "new seed"])
def test_a_short_run_violates_nothing(seed: Callable[[], int], tmp_path: Path):
    """What it prints with a failure is the table, and the command that repeats it."""
    done = run(SECONDS, seed(), print, tmp_path)
    report.to_terminal(done)
    assert done.violations == 0
    assert done.rings.unexplained == 0
    assert len(done.evidence.committed) > 200, "it was the test it was meant to be"
    assert len({fault.kind for fault in done.evidence.faults}) >= 5
    assert report.figures(judge_again(tmp_path)) == report.figures(done), "kept, it can be judged again"
