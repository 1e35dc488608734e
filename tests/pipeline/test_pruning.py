"""No partition is pruned while a relay's statement runs: from Postgres 18 on the server dies of it.

A segmentation fault in perform_pruning_base_step, in the claim, found by the torture test: where a row to be locked has changed
meanwhile Postgres checks it by a second copy of the plan, which leaves the pruning of the first with what it has freed. It takes
memory that was used again in between, so what is tested is that nothing is pruned: every partition's scan is executed. Two things
see to it: the setting, and that the claim doesn't name the partition (kept_in), which a move may change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.database import Session, numbered
from relay.model import Delivery
from tests.conftest import Connection
from tests.pipeline.conftest import AddHook, Hook, statement
from tests.pipeline.test_lease import NOTHING_BUSY

# In the last slot: the scans of an Append end with the row that is found.
PARK = """
UPDATE rowhook.event SET kept_in = 9, slot = 9;
UPDATE rowhook.delivery SET event_slot = 9, state = 'pending', instance_id = NULL, due_at = clock_timestamp(), attempts = 0
"""


@pytest.fixture
def hook(add_hook: AddHook, conn: Connection) -> Hook:
    return add_hook("http://127.0.0.1:9/hook", connection=conn)


async def pruned(dsn: str, *before: str, by: str = "e.slot") -> int:
    """How many scans of partitions the claim of a relay's session left out."""
    session = Session(dsn, "claim")
    connection: Any = await session.connection()
    for setting in before:
        await connection.execute(setting)
    parameters = {**NOTHING_BUSY, "instance": 1001}
    claim = statement("claim.claim", ("e.slot = k.event_slot", f"{by} = k.event_slot"))
    text, names = numbered(claim)
    cursor = await connection.execute(f"EXPLAIN (ANALYZE, TIMING off) {text}", [parameters[name] for name in names])
    plan = [next(iter(row.values())) for row in await cursor.fetchall()]
    await session.close()
    scans = [line for line in plan if " on event_" in line and "Bitmap Index" not in line]
    assert len(scans) == 10, "\n".join(plan)
    return sum("never executed" in line for line in scans)


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
async def test_a_claim_prunes_no_partition(
    dsn: str, conn: Connection, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery], mutant: bool
) -> None:
    instance()
    delivery(hook)
    conn.execute(PARK)
    if mutant:
        assert await pruned(dsn, "SET enable_partition_pruning = on", by="e.kept_in") == 9
    else:
        assert await pruned(dsn) == 0
