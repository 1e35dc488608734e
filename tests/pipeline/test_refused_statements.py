"""What Postgres refuses in a transaction spoils that transaction only: the session's next one is as good as its first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from relay.database import Session, Statement

CURSOR: Statement = ("dispatch.cursor", None)
MOST_REFUSALS = 4  # psycopg prepares what it has seen twice, ROLLBACK too


def live(instance: str) -> Statement:
    return "dispatch.live", {"instance": instance}


async def at_the_beginning(session: Session, instance: str) -> None:
    """What follows in the same pipeline is skipped, its preparation too."""
    async with session.transaction(live(instance), CURSOR) as transaction:
        assert len(transaction.first) == 2


async def at_the_end(session: Session, instance: str) -> None:
    """COMMIT is skipped."""
    async with session.transaction(CURSOR) as transaction:
        transaction.at_end(*live(instance))


@pytest.mark.parametrize("transact", [at_the_beginning, at_the_end])
async def test_a_session_goes_on_after_any_number_of_refusals(
    dsn: str, transact: Callable[[Session, str], Awaitable[None]]
) -> None:
    for refusals in range(1, MOST_REFUSALS + 1):
        session = Session(dsn, "test")
        backend = (await session.connection()).info.backend_pid
        await transact(session, "1")  # psycopg counts from the first success on
        for _ in range(refusals):
            with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                await transact(session, "no number")
        for _ in range(MOST_REFUSALS):
            await transact(session, "1")
        assert (await session.connection()).info.backend_pid == backend, "not a new connection each time"
        await session.close()
