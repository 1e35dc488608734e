"""What is written together."""

from __future__ import annotations

import asyncio
import logging

import pytest

from relay.outbox import MOST, Outbox


async def test_requests_of_one_turn_are_written_at_its_end_and_no_more_than_so_many_wait() -> None:
    outbox, written = Outbox(), list[int]()
    for n in range(MOST + 1):
        outbox.add(lambda n=n: written.append(n))  # type: ignore[misc]
    assert written == list(range(MOST))
    await asyncio.sleep(0)
    assert written == list(range(MOST + 1))


async def test_one_that_cannot_be_written_keeps_back_none_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    outbox, written = Outbox(), list[int]()

    def broken() -> None:
        raise RuntimeError

    outbox.add(broken)
    outbox.add(lambda: written.append(1))
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(0)
    assert written == [1]
    assert "could not be written" in caplog.text
