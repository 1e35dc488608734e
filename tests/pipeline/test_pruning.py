"""No partition is pruned while a relay's statement runs, from Postgres 18 on: there the server dies of it.

A segmentation fault in perform_pruning_base_step, in the claim, found by the torture test: where a row to be locked has changed
meanwhile Postgres checks it by a second copy of the plan, which leaves the pruning of the first with what it has freed. It takes
memory that was used again in between, so what is tested is that nothing is pruned: every partition's scan is executed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.database import Session
from relay.model import Delivery
from tests.conftest import Connection
from tests.pipeline.conftest import AddHook, Hook, statement
from tests.pipeline.test_lease import NOTHING_BUSY

# In the last slot: the scans of an Append end with the row that is found.
PARK = """
UPDATE rowhook.event SET slot = 9;
UPDATE rowhook.delivery SET event_slot = 9, state = 'pending', instance_id = NULL, due_at = clock_timestamp(), attempts = 0
"""


@pytest.fixture
def hook(add_hook: AddHook, conn: Connection) -> Hook:
    return add_hook("http://127.0.0.1:9/hook", connection=conn)


async def pruned(dsn: str, *before: str) -> int:
    """How many scans of partitions the claim of a relay's session left out."""
    session = Session(dsn, "claim")
    connection: Any = await session.connection()
    for setting in before:
        await connection.execute(setting)
    parameters = {**NOTHING_BUSY, "instance": 1001}
    cursor = await connection.execute(f"EXPLAIN (ANALYZE, TIMING off) {statement('claim.claim')}", parameters)
    plan = [next(iter(row.values())) for row in await cursor.fetchall()]
    await session.close()
    scans = [line for line in plan if " on event_" in line]
    assert len(scans) == 10, "\n".join(plan)
    return sum("never executed" in line for line in scans)


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
async def test_a_claim_prunes_no_partition_from_18_on(
    dsn: str, conn: Connection, instance: Callable[[], int], hook: Hook, delivery: Callable[..., Delivery], mutant: bool
) -> None:
    instance()
    delivery(hook)
    conn.execute(PARK)
    safe = conn.info.server_version < 180_000
    assert await pruned(dsn, *(["SET enable_partition_pruning = on"] if mutant else [])) == (9 if mutant or safe else 0)
