"""Missed rings are read from logs, and explained by nothing but silence."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.torture.records import Fault, Instance
from tests.torture.rings import Rings, missed

AT = datetime(2026, 1, 1, 9, 30, tzinfo=UTC).timestamp()
LINE = "2026-01-01T09:30:00.000Z ERROR relay.doorbell: an event was found for which nobody rang missed_rings=1\n"


@pytest.mark.parametrize(
    ("fault", "unexplained"),
    [
        (None, 1),
        (Fault("deafen", "r1", AT - 30, AT - 10), 0),
        (Fault("deafen", "r1", AT - 60, AT - 30), 1),
        (Fault("deafen", "r2", AT - 30, AT - 10), 1),
        (Fault("freeze", "r1", AT - 30, AT - 10), 1),
    ],
)
def test_a_missed_ring_is_explained_by_silence_alone(tmp_path: Path, fault: Fault | None, unexplained: int):
    log = tmp_path / "r1.log"
    log.write_text(f"2026-01-01T09:29:00.000Z WARNING relay.lease: took over\n{LINE}")
    assert missed([log], [], [fault] if fault else []) == Rings(1, unexplained)


def test_what_instances_counted_and_no_log_tells(tmp_path: Path):
    log = tmp_path / "r1.log"
    log.write_text("")
    assert missed([log], [Instance(1, "r1", 0, None, 2), Instance(2, "r2/1", 0, None, None)], []) == Rings(2, 2)
