"""The keeper of a relay: what waits is delivered after a move as if nothing had been, and whatever is in the way is said."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pyarrow.parquet
import pytest

from relay import retention
from relay.database import Session
from relay.retention import Keeper
from tests.conftest import Connect, Connection
from tests.pipeline.conftest import AddHook, one, spend, states
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

MOMENT = timedelta(milliseconds=1)
DELIVERED = """
WITH e AS (
    INSERT INTO rowhook.event (op, type, data) SELECT 'emit', 'a.b', E'{"x":\\n 1.50}' FROM generate_series(1, %s)
    RETURNING id, slot
), d AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, attempts, ended_at)
    SELECT e.id, e.slot, p.id, 'delivered', 1, now() - interval '1 minute' FROM e, rowhook.endpoint AS p
    RETURNING id, endpoint_id
)
INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, status_code)
SELECT id, endpoint_id, 1, 1, now(), 200 FROM d
"""


@pytest.fixture
def keeper(dsn: str) -> Callable[..., Keeper]:
    def keeper(keep: timedelta | None = MOMENT, folder: Path | None = None) -> Keeper:
        return Keeper(dsn, secrets.token_hex(4), keep, folder)

    return keeper


def dispatched(conn: Connection) -> None:
    conn.execute("UPDATE rowhook.cursor SET seen = pg_current_snapshot(), target = NULL, position = NULL, fresh_from = NULL")


def left_behind(conn: Connection) -> None:
    conn.execute("SELECT setval('rowhook.present_slot', 1), rowhook.survey_ring()")


def delivered_events(conn: Connection, count: int = 3) -> None:
    """Events that were delivered a minute ago, in a slot that writers have left."""
    conn.execute("INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com/')")
    conn.execute(DELIVERED, [count])
    dispatched(conn)
    left_behind(conn)


def trouble(conn: Connection) -> str | None:
    return one(conn, "SELECT trouble FROM rowhook.retention")  # type: ignore[no-any-return]


# --- beside a relay ----------------------------------------------------------------------------------------


def test_what_waits_for_a_paused_endpoint_is_moved_and_then_delivered_with_the_same_id_and_bytes(
    conn: Connection,
    user_id: int,
    add_hook: AddHook,
    receiver: Receiver,
    relays: Callable[..., LocalRelay],
    keeper: Callable[..., Keeper],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keeper is the relay's own, only more eager. The other endpoint's deliveries of these events go."""
    monkeypatch.setattr(retention, "FIRST_ROUND", (0.0, 0.01))
    monkeypatch.setattr(retention, "ROUND", 0.05)
    add_hook(receiver.url("/at-once"))
    paused = add_hook(receiver.url("/paused"))
    conn.execute("UPDATE rowhook.endpoint SET state = 'paused' WHERE id = %s", [paused.id])
    relays(retention="1s")
    spend(conn, user_id, range(20))
    first = {r.headers["webhook-id"]: r.body for r in receiver.wait_for(20, path="/at-once")}
    # From here on the ring turns all the time, and those that wait are moved again and again.
    eventually(lambda: states(conn) == {"pending": 20} and not one(conn, "SELECT count(*) FROM rowhook.event_0"), 30)
    conn.execute("UPDATE rowhook.endpoint SET state = 'active', revision = revision + 1 WHERE id = %s", [paused.id])
    conn.execute("SELECT pg_notify('rowhook_work', ''), pg_notify('rowhook_endpoint', '')")
    again = {r.headers["webhook-id"]: r.body for r in receiver.wait_for(20, path="/paused")}
    assert len(first) == 20
    assert again == first


def test_a_relay_archives_in_the_format_that_is_set(
    conn: Connection, relays: Callable[..., LocalRelay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST_ROUND", (0.0, 0.01))
    monkeypatch.setattr(retention, "ROUND", 0.05)
    delivered_events(conn, 1200)
    ids = [id for (id,) in conn.execute("SELECT rowhook.public_id('evt', occurred_at, id, slot) FROM rowhook.event ORDER BY id")]
    relays(retention="1s", archive=str(tmp_path), archive_format="parquet")
    eventually(lambda: not one(conn, "SELECT count(*) FROM rowhook.event_0"), 30)
    (file,) = (path for path in tmp_path.iterdir() if path.suffix == ".parquet")
    written = pyarrow.parquet.read_table(file, columns=["id", "data", "deliveries"]).to_pylist()
    assert [row["id"] for row in written] == ids
    assert {row["data"] for row in written} == {'{"x":\n 1.50}'}
    assert {(d["state"], *(a["status_code"] for a in d["attempts"])) for row in written for d in row["deliveries"]} == {
        ("delivered", 200)
    }


def test_two_keepers_at_once_one_does_it(conn: Connection, dsn: str, keeper: Callable[..., Keeper]) -> None:
    delivered_events(conn)

    async def both() -> tuple[bool, bool]:
        other = Session(dsn, "keep", holds=True)
        try:
            assert (await other.row("retention.take_role", {"key": retention.ROLE_KEY}))["taken"]
            refused = await keeper().round()
        finally:
            await other.close()
        await _role_is_free(dsn)
        return refused, await keeper().round()

    assert asyncio.run(both()) == (False, True)
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 0


async def _role_is_free(dsn: str) -> None:
    """The server has seen the session's end."""
    while True:
        session = Session(dsn, "keep", holds=True)
        taken = (await session.row("retention.take_role", {"key": retention.ROLE_KEY}))["taken"]
        if taken:
            await session.rows("doctor.give_role_back", {"key": retention.ROLE_KEY})
        await session.close()
        if taken:
            return


def test_for_ever_keeps_everything_and_another_setting_holds_from_the_next_round_on(
    conn: Connection, dsn: str, keeper: Callable[..., Keeper]
) -> None:
    delivered_events(conn)
    for keep, left in ((None, 3), (timedelta(days=30), 3), (MOMENT, 0)):
        asyncio.run(_round(dsn, keeper(keep)))
        assert one(conn, "SELECT count(*) FROM rowhook.event") == left
        assert conn.execute("SELECT keep FROM rowhook.retention").fetchone() == (keep,)
        assert trouble(conn) is None


async def _round(dsn: str, keeper: Keeper) -> bool:
    await _role_is_free(dsn)
    return await keeper.round()


def test_the_ring_turns_by_itself_and_wraps_around(conn: Connection, dsn: str, keeper: Callable[..., Keeper]) -> None:
    """Twelve rounds of an eager keeper: each leaves the slot that was written to and empties those that were left."""
    conn.execute("INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com/')")
    conn.execute("SELECT rowhook.survey_ring()")
    written = []
    for _ in range(12):
        written.append(one(conn, "INSERT INTO rowhook.event (op, type) VALUES ('emit', 'a') RETURNING kept_in"))
        dispatched(conn)
        assert asyncio.run(_round(dsn, keeper()))
        assert asyncio.run(_round(dsn, keeper()))
        assert one(conn, "SELECT count(*) FROM rowhook.event") == 0
    assert written == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


# --- what is in the way ------------------------------------------------------------------------------------


def test_a_slot_that_somebody_holds_is_left_for_the_next_round_and_said_so(
    conn: Connection, dsn: str, connect: Connect, keeper: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRIES", (0.01,))
    delivered_events(conn)
    reader = connect(autocommit=False)
    reader.execute("SELECT count(*) FROM rowhook.event")
    assert not asyncio.run(_round(dsn, keeper()))
    assert "slot 0 of the ring is locked" in (trouble(conn) or "")
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 3
    reader.rollback()
    assert asyncio.run(_round(dsn, keeper()))
    assert trouble(conn) is None
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 0


def test_a_role_that_lacks_the_right_is_told_so_and_the_relay_goes_on(
    conn: Connection, dsn: str, keeper: Callable[..., Keeper]
) -> None:
    delivered_events(conn)
    conn.execute(
        "CREATE OR REPLACE FUNCTION rowhook.begin_sweep(slot integer) RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied for table event_0'; END $$"
    )
    assert not asyncio.run(_round(dsn, keeper()))
    assert "permission denied" in (trouble(conn) or "")


def test_events_are_archived_whole_before_anything_goes(
    conn: Connection, dsn: str, keeper: Callable[..., Keeper], tmp_path: Path
) -> None:
    delivered_events(conn)
    ids = [id for (id,) in conn.execute("SELECT rowhook.public_id('evt', occurred_at, id, slot) FROM rowhook.event ORDER BY id")]
    assert asyncio.run(_round(dsn, keeper(folder=tmp_path)))
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 0
    (file,) = tmp_path.iterdir()
    assert file.name.endswith("-events-1-3.jsonl.gz")
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    assert '"data" : {"x":  1.50}' in lines[0], "as it was, but for the newline between its parts"
    (delivery,) = json.loads(lines[0])["deliveries"]
    assert delivery["state"] == "delivered"
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [200]


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_nothing_goes_while_it_can_not_be_archived(
    conn: Connection, dsn: str, keeper: Callable[..., Keeper], tmp_path: Path, folder: str
) -> None:
    delivered_events(conn)
    (tmp_path / "file").write_text("")
    assert not asyncio.run(_round(dsn, keeper(folder=tmp_path / folder)))
    assert "no folder" in (trouble(conn) or "")
    assert one(conn, "SELECT count(*) FROM rowhook.event") == one(conn, "SELECT count(*) FROM rowhook.delivery") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_crash_after_the_archive_makes_no_second_file(
    conn: Connection, dsn: str, keeper: Callable[..., Keeper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered_events(conn)

    async def crash(*_: object) -> None:
        raise psycopg.OperationalError("killed")

    monkeypatch.setattr(Keeper, "_sweep", crash)
    assert not asyncio.run(_round(dsn, keeper(folder=tmp_path)))
    monkeypatch.undo()
    assert asyncio.run(_round(dsn, keeper(folder=tmp_path)))
    assert len(list(tmp_path.iterdir())) == 1
    assert one(conn, "SELECT count(*) FROM rowhook.event") == 0
