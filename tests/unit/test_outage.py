"""How often a relay without Postgres tries, and what that costs in log lines."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from relay.outage import FIRST_WAIT, LONGEST_WAIT, ONE_TROUBLE, Outage


class Night:
    """Time that passes only by waiting; lines that were logged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 1000.0
        self._log = caplog
        monkeypatch.setattr("relay.outage.time", SimpleNamespace(monotonic=lambda: self.now))
        self.outage = Outage(logging.getLogger("relay.test"), "lost")

    def fail(self, seconds: float, reason: str = "refused") -> list[float]:
        """Fail again and again for so long; the waits."""
        until, waits = self.now + seconds, []
        while self.now < until:
            waits.append(self.outage.wait(reason))
            self.now += waits[-1]
        return waits

    @property
    def lines(self) -> int:
        return len(self._log.records)


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Night:
    return Night(monkeypatch, caplog)


def test_waits_grow_to_a_limit_and_differ(night: Night):
    waits = night.fail(60)
    assert waits[0] <= FIRST_WAIT < LONGEST_WAIT / 2 <= waits[-1]
    assert max(waits) <= LONGEST_WAIT, "so that work goes on within 3 s of Postgres' being back"
    assert len(set(waits)) == len(waits)


def test_twenty_seconds_are_few_lines(night: Night):
    assert len(night.fail(20)) > 10
    assert night.lines <= 6


def test_a_night_is_a_line_a_minute(night: Night):
    night.fail(8 * 3600)
    assert 400 < night.lines < 600


def test_a_trouble_of_another_kind_each_time_is_not_more_lines(night: Night):
    for n in range(100):
        night.fail(0.2, reason=f"process {n}")
    assert night.lines <= 8


def test_what_was_not_said_is_counted(night: Night, caplog: pytest.LogCaptureFixture):
    tried = len(night.fail(30))
    unsaid = sum(getattr(record, "unsaid", 0) for record in caplog.records)
    assert tried - 20 <= unsaid + night.lines <= tried


def test_a_later_trouble_is_a_new_one(night: Night):
    night.fail(60)
    before = night.lines
    night.now += ONE_TROUBLE + LONGEST_WAIT
    assert night.outage.wait("refused") <= FIRST_WAIT
    assert night.lines == before + 1
