"""A backend that died is read from the server's log, with the time until it took connections again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.torture.records import Fault
from tests.torture.server_log import KIND, LONGEST_RECOVERY, crashes

AT = datetime(2026, 1, 1, 9, 30, tzinfo=UTC).timestamp()
LOG = """\
2026-01-01 09:29:00.000 UTC [7]  LOG:  database system is ready to accept connections
2026-01-01 09:30:00.000 UTC [7]  LOG:  server process (PID 9) was terminated by signal 11: Segmentation fault
2026-01-01 09:30:00.000 UTC [7]  DETAIL:  Failed process was running: UPDATE
2026-01-01 09:30:01.500 UTC [7]  LOG:  database system is ready to accept connections
2026-01-01 09:31:00.000 UTC [7]  LOG:  server process (PID 10) was terminated by signal 11: Segmentation fault
"""


def test_crashes_and_how_long_they_lasted(tmp_path: Path):
    log = tmp_path / "postgres.log"
    log.write_text(LOG)
    assert crashes(log) == [Fault(KIND, "*", AT, AT + 1.5), Fault(KIND, "*", AT + 60, AT + 60 + LONGEST_RECOVERY)]
    assert crashes(tmp_path / "none.log") == []
