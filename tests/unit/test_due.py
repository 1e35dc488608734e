"""Due: when the claim loop wakes."""

from __future__ import annotations

import asyncio
import time

import pytest

from relay.tenure import TURN, Due


def test_retries_that_fall_due_at_nearly_the_same_moment_are_claimed_together() -> None:
    due = Due()
    begun = time.monotonic()
    for number in range(300):
        due.at(2.0 + number / 1500)  # a wait of two seconds with its jitter
    assert len(due._times) <= 4
    assert min(due._times) >= begun + 2.0, "none before its time"
    assert max(due._times) <= time.monotonic() + 2.2 + 2.2 / 16


@pytest.mark.parametrize("wait", [0.0, -1.0])
async def test_what_is_due_already_is_claimed_at_once(wait: float) -> None:
    due = Due()
    due.at(wait)
    async with asyncio.timeout(1):
        await due.wait()


async def test_a_short_wait_is_late_by_a_sixteenth_at_most_and_then_taken_care_of() -> None:
    due = Due()
    begun = time.monotonic()
    due.at(0.05)
    await due.wait()
    assert time.monotonic() - begun >= 0.05
    due.clear()
    assert not due._times


async def test_what_is_far_away_is_left_to_a_later_beat() -> None:
    due = Due()
    due.at(3600)
    assert not due._times


async def test_more_for_those_that_may_hang_is_claimed_once_a_turn() -> None:
    due = Due()
    begun = time.monotonic()
    for _ in range(100):
        due.at_next_turn()
    assert len(due._times) <= 2, "a turn may have ended meanwhile"
    assert begun < min(due._times) <= begun + TURN
    await due.wait()
