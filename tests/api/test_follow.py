"""Attempts as they are recorded: none lost, none told twice, whatever order they commit in; bounded, and quiet when idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from relay import follow
from relay.follow import Follower, Listener
from tests.api.making import add_endpoints, public
from tests.conftest import Connect, Connection
from tests.pipeline.relays import eventually

SOON = 20.0
RECORD = """
WITH d AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, attempts, ended_at)
    SELECT nextval('numbers'), 0, %(endpoint)s, 'delivered', 1, now() FROM generate_series(1, %(count)s) RETURNING id, endpoint_id
)
INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, status_code)
SELECT d.id, d.endpoint_id, 1, 1, now(), 204 FROM d RETURNING id
"""
Record = Callable[..., list[int]]


@pytest.fixture
def endpoints(conn: Connection) -> dict[str | None, int]:
    conn.execute("CREATE SEQUENCE numbers")
    return add_endpoints(conn)


@pytest.fixture
def record(conn: Connection, endpoints: dict[str | None, int]) -> Record:
    """Record attempts of this tenant's endpoint; their ids."""

    def record(tenant: str | None = "7", count: int = 1, connection: Connection | None = None) -> list[int]:
        rows = (connection or conn).execute(RECORD, {"endpoint": endpoints[tenant], "count": count}).fetchall()
        return sorted(id for (id,) in rows)

    return record


@pytest_asyncio.fixture
async def follower(dsn: str) -> AsyncIterator[Follower]:
    follower = Follower(dsn, tick=0.02)
    yield follower
    await follower.close()


async def heard(follower: Follower, listener: Listener, until: int) -> list[int]:
    """Ids that come, up to one of them."""
    ids: list[int] = []
    async with asyncio.timeout(SOON):
        while not ids or ids[-1] < until:
            ids += [row["id"] for row in await follower.next(listener, SOON)]
    return ids


async def test_a_tenant_hears_its_own_and_the_operator_everything(follower: Follower, record: Record, conn, endpoints) -> None:
    record("7")
    async with follower.listening("7") as tenant, follower.listening(None) as operator:
        own, others, operators = record("7", 3), record("8", 2), record(None)
        assert await heard(follower, operator, operators[-1]) == own + others + operators
        assert await heard(follower, tenant, own[-1]) == own
        own = record("7")
        (told,) = await follower.next(operator, SOON)
        assert (told["endpoint_id"], told["tenant"], told["status_code"]) == (public(conn, endpoints["7"]), "7", 204)
        assert (await heard(follower, tenant, own[-1])) == own


async def test_what_commits_late_is_not_lost(follower: Follower, record: Record, connect: Connect) -> None:
    """1 A draws an id. 2 B draws a later one, and commits. 3 The reader looks. 4 A commits. Both come, A's first."""
    async with follower.listening(None) as listener:
        a = connect(autocommit=False)
        late = record(connection=a)
        early = record()
        assert early > late
        assert await follower.next(listener, 0.5) == []
        a.commit()
        assert await heard(follower, listener, early[-1]) == late + early


async def test_the_rule_is_needed(follower: Follower, record: Record, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same interleaving, with a reader that goes on after the highest id it saw: A's is lost."""

    async def at_once(self: Follower, patience: float) -> None:
        return

    monkeypatch.setattr(Follower, "_settle", at_once)
    async with follower.listening(None) as listener:
        a = connect(autocommit=False)
        record(connection=a)
        early = record()
        assert await heard(follower, listener, early[-1]) == early
        a.commit()
        later = record()
        assert await heard(follower, listener, later[-1]) == later


async def test_what_is_rolled_back_holds_up_nothing(follower: Follower, record: Record, connect: Connect) -> None:
    async with follower.listening(None) as listener:
        a = connect(autocommit=False)
        record(connection=a)
        early = record()
        a.rollback()
        assert await heard(follower, listener, early[-1]) == early


async def test_a_transaction_without_end_holds_up_for_a_time_only(dsn: str, record: Record, connect: Connect) -> None:
    follower = Follower(dsn, tick=0.02, patience=0.3)
    a = connect(autocommit=False)
    record(connection=a)
    async with follower.listening(None) as listener:
        early = record()
        assert await heard(follower, listener, early[-1]) == early
    await follower.close()


async def test_going_on_from_the_last_id(follower: Follower, record: Record) -> None:
    """Over an absence, and over another server's end: what was had last is all that counts."""
    async with follower.listening("7") as listener:
        first = record("7", 5)
        had = [row["id"] for row in await follower.next(listener, SOON)]
        assert first[: len(had)] == had
    missed = record("7", 2 * follow.CHUNK + 3)
    async with follower.listening("7", after=had[-1]) as listener:
        assert await heard(follower, listener, missed[-1]) == first[len(had) :] + missed
        more = record("7", 2)
        assert await heard(follower, listener, more[-1]) == more


async def test_an_id_that_was_never_drawn_means_from_now_on(follower: Follower, record: Record) -> None:
    record()
    async with follower.listening(None, after=2**62) as listener:
        assert await heard(follower, listener, (later := record())[-1]) == later


async def test_a_slow_one_goes_on_from_the_tables(follower: Follower, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """And costs the others nothing: what is kept for all is bounded."""
    monkeypatch.setattr(follow, "KEPT", 10)
    async with follower.listening("7") as slow, follower.listening(None) as quick:
        ids: list[int] = []
        for _ in range(6):
            ids += record("7", 8)
            assert (await heard(follower, quick, ids[-1]))[-1] == ids[-1]
        assert sum(len(chunk.rows) for chunk in follower._chunks) <= 18
        assert await heard(follower, slow, ids[-1]) == ids
        assert slow.behind >= 1 and quick.behind == 0


async def test_a_newcomer_of_another_tenant(follower: Follower, record: Record) -> None:
    """What was read before it came holds nothing of its own: it reads for itself, then with all."""
    async with follower.listening("7") as first:
        known = record("7")
        await heard(follower, first, known[-1])
        others = record("8", 3)
        own = record("7")
        await heard(follower, first, own[-1])
        async with follower.listening("8", after=0) as newcomer:
            assert await heard(follower, newcomer, others[-1]) == others
            later = record("8", 2)
            assert await heard(follower, newcomer, later[-1]) == later


SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rowhook follow'"


async def test_many_share_one_session_and_nobody_listening_is_none(follower: Follower, record: Record, conn: Connection) -> None:
    async with follower.listening(None) as one, follower.listening("7"), follower.listening("8"):
        ids = record("7")
        assert await heard(follower, one, ids[-1]) == ids
        assert conn.execute(SESSIONS).fetchone() == (1,)
    await asyncio.to_thread(eventually, lambda: conn.execute(SESSIONS).fetchone() == (0,))


async def test_idle_it_looks_at_no_table(follower: Follower, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    rows = follower._session.rows

    async def watched(name: str, params: Any = None) -> Any:
        asked.append(name)
        return await rows(name, params)

    monkeypatch.setattr(follower._session, "rows", watched)
    async with follower.listening(None) as listener:
        await heard(follower, listener, record()[-1])
        assert set(asked) == {"follow.allocated", "follow.recording", "follow.attempts"}
        await follower.next(listener, 0.1)
        asked.clear()
        assert await follower.next(listener, 0.5) == []
        assert set(asked) == {"follow.allocated"}


async def test_a_session_that_is_lost_loses_nothing(follower: Follower, record: Record, conn: Connection) -> None:
    async with follower.listening(None) as listener:
        ids = record()
        await heard(follower, listener, ids[-1])
        conn.execute(SESSIONS.replace("count(*)", "pg_terminate_backend(pid)"))
        ids = record(count=3)
        assert await heard(follower, listener, ids[-1]) == ids


def test_the_lock_is_there_before_an_id_is_drawn(conn: Connection, connect: Connect, record: Record) -> None:
    """What the rule rests on: who has drawn an id and not ended is in pg_locks."""
    a = connect(autocommit=False)
    record(connection=a)
    rows = conn.execute(
        "SELECT pid FROM pg_locks WHERE relation = 'rowhook.attempt'::regclass AND mode = 'RowExclusiveLock' AND granted"
    ).fetchall()
    assert rows == [(a.info.backend_pid,)]
    assert isinstance(a, psycopg.Connection)
    a.rollback()
