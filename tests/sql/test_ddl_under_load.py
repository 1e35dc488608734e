"""The bar: 16 writers while columns are added, dropped, renamed and retyped 200 times. tests/sql/ddl_load.py does larger ones."""

from __future__ import annotations

import pytest

from tests.sql import ddl_load

SAID = ("rule ", "enrich is set aside")


@pytest.mark.parametrize("follows", [True, False], ids=["event trigger", "none"])
def test_no_writer_fails_and_no_event_is_lost(dsn: str, follows: bool) -> None:
    done = ddl_load.run(dsn, writers=16, changes=200 if follows else 100, follows=follows)
    assert done["errors"] == []
    assert (done["lost"], done["repeated"], done["rows that differ"], done["secrets told"]) == ([], [], 0, 0), done
    assert done["writes"] > 1000, done
    if follows:
        assert (done["failures"], done["behind"]) == ([], 0)
        assert done["versions"] > 100, done
    else:  # a rule that no longer fits is on record until a relay starts; of rows nothing is
        assert all(message.startswith(SAID) for (message,) in done["failures"]), done["failures"]
