"""Restore and upgrade, with real dumps, data directories and servers: the cursor begins anew where it must, open deliveries
go on, what had ended stays ended, ids don't collide.

The cursor's own part, step by step and beside mutants, is in test_cursor.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import Cluster, as_user, postgres_under_test, reachable_folder
from tests.conftest import FINMIND_SQL, Connection
from tests.pipeline.conftest import AddHook, Gate, add_user, attempts_of, one, spend, states
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Received, Receiver
from tests.tiers import POSTGRES_15_BIN

SETTLED = "SELECT count(*) = 0 FROM rowhook.delivery WHERE state IN ('pending', 'leased')"
PUBLIC_IDS = "SELECT rowhook.public_id('evt', occurred_at, id, slot) FROM rowhook.event WHERE op <> 'probe'"


def amounts_of(requests: list[Received]) -> list[int]:
    return sorted(int(json.loads(request.body)["data"]["amount"]) for request in requests)


def install(cluster: Cluster) -> str:
    """FinMind with one user, expenses captured; the DSN."""
    from relay.migrations import migrate

    dsn = cluster.dsn()
    migrate(dsn)
    with cluster.connect() as connection:
        connection.execute(FINMIND_SQL.read_text())
        connection.execute("SELECT rowhook.capture('expenses', tenant => 'user_id')")
        add_user(connection, "a@example.com")
    return dsn


def settle(connection: Connection) -> None:
    eventually(lambda: one(connection, SETTLED), 20.0, what="every delivery has ended")


# --- a dump, restored into another cluster -------------------------------------------------------------------


@dataclass
class Dumped:
    """A dump made while one delivery was in flight at a relay that died, and one event had not been dispatched."""

    file: Path
    delivered: list[int]
    open: list[int]
    ids: set[str]
    in_flight: Received


@pytest.fixture
def dumped(
    dsn: str,
    cluster: Cluster,
    conn: Connection,
    user_id: int,
    add_hook: AddHook,
    receiver: Receiver,
    processes: Callable[..., RelayProcess],
    gate: Gate,
    tmp_path: Path,
) -> Dumped:
    add_hook(receiver.url("/hook"), timeout="60s")
    relay = processes().start()
    spend(conn, user_id, [1, 2])
    receiver.wait_for(2)
    settle(conn)
    receiver.answer("/hook", gate.answer)
    spend(conn, user_id, [3])
    in_flight = receiver.wait_for(3)[-1]
    relay.kill()
    spend(conn, user_id, [4])
    file = tmp_path / "dump"
    cluster.run("pg_dump", "-Fc", "-f", str(file), one(conn, "SELECT current_database()"))
    ids = {id for (id,) in conn.execute(PUBLIC_IDS).fetchall()}
    receiver.clear()
    gate.open()
    return Dumped(file, [1, 2], [3, 4], ids, in_flight)


def test_a_dump_restored_into_another_cluster_goes_on_where_it_was(
    dumped: Dumped,
    start_cluster: Callable[..., Cluster],
    relays: Callable[..., LocalRelay],
    receiver: Receiver,
    conn: Connection,
    user_id: int,
) -> None:
    """Transaction ids are lower there, the roles are missing, the relay that held a delivery is not there."""
    other = start_cluster()
    restored = other.run("pg_restore", "-d", "postgres", str(dumped.file), check=False)
    assert "rowhook_capture" in restored.stderr, "it says that the roles are missing, and goes on"
    with other.connect() as connection:
        assert {id for (id,) in connection.execute(PUBLIC_IDS).fetchall()} == dumped.ids, "restoring fired no capture"
        relays(other.dsn())
        receiver.wait_for(2, timeout=20.0)
        settle(connection)
        assert amounts_of(receiver.requests) == dumped.open
        again = next(r for r in receiver.requests if r.body == dumped.in_flight.body)
        assert again.headers["webhook-id"] == dumped.in_flight.headers["webhook-id"]
        assert (1, None, "lost") in attempts_of(connection)
        spend(connection, user_id, [5])
        receiver.wait_for(3)
        settle(connection)
        spend(conn, user_id, [6])
        here, there = conn.execute(PUBLIC_IDS).fetchall(), connection.execute(PUBLIC_IDS).fetchall()
        (mine,), (theirs,) = set(here) - {(id,) for id in dumped.ids}, set(there) - {(id,) for id in dumped.ids}
        assert mine != theirs
        last = "SELECT max(id) FROM rowhook.event WHERE op <> 'probe'"
        assert abs(one(conn, last) - one(connection, last)) <= 2, "though the internal ids go on from the same number in both"
        assert states(connection) == {"delivered": 5}


def test_a_restore_of_data_alone_fires_captures_unless_they_are_paused(
    finmind: str, conn: Connection, user_id: int, cluster: Cluster, tmp_path: Path
) -> None:
    spend(conn, user_id, [1, 2, 3])
    name = one(conn, "SELECT current_database()")
    data = tmp_path / "data.sql"
    cluster.run("pg_dump", "--data-only", "--table=expenses", "-f", str(data), name)
    count = "SELECT count(*) FROM rowhook.event"
    before = one(conn, count)
    conn.execute("SELECT rowhook.capture('expenses', paused => true); DELETE FROM expenses")
    cluster.run("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", str(data), name)
    conn.execute("SELECT rowhook.capture('expenses', paused => false)")
    assert one(conn, count) == before
    differ = "SELECT count(*) FROM rowhook.verify('expenses') WHERE verdict <> 'accounted'"
    assert one(conn, differ) == 0, "the same rows as their events tell of"
    conn.execute("SELECT rowhook.capture('expenses', paused => true); DELETE FROM expenses")
    conn.execute("SELECT rowhook.capture('expenses', paused => false)")
    cluster.run("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", str(data), name)
    assert one(conn, count) == before + 3


# --- back in time --------------------------------------------------------------------------------------------


def copy_of(cluster: Cluster, folder: Path) -> None:
    """The data directory as it is, of a server that was stopped."""
    subprocess.run(["cp", "-a", f"{cluster.data_dir}/.", str(folder)], check=True)


@pytest.fixture
def backup() -> Iterator[Path]:
    folder = reachable_folder("rh-back-", postgres_under_test()[1])
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_set_back_in_time_misses_nothing_that_commits_after_it(
    start_cluster: Callable[..., Cluster],
    relays: Callable[..., LocalRelay],
    add_hook: AddHook,
    receiver: Receiver,
    backup: Path,
) -> None:
    """The same system identifier; transaction ids and sequences go back, and the cursor with them, being part of it."""
    cluster = start_cluster()
    dsn = install(cluster)
    with cluster.connect() as connection:
        add_hook(receiver.url(), connection=connection)
        relay = relays(dsn)
        spend(connection, 1, [1])
        receiver.wait_for(1)
        settle(connection)
        relay.stop()
        spend(connection, 1, [2])  # open in the backup
    cluster.stop()
    copy_of(cluster, backup)
    cluster.launch()
    with cluster.connect() as connection:
        identifier = one(connection, "SELECT system_identifier FROM pg_control_system()")
        relay = relays(dsn)
        spend(connection, 1, [3])  # these two will never have happened
        connection.execute("SELECT rowhook.emit('a.b', '{\"amount\": 4}')")
        receiver.wait_for(4)
        settle(connection)
        relay.stop()
        future = dict(
            connection.execute("SELECT id, rowhook.public_id('evt', occurred_at, id, slot) FROM rowhook.event").fetchall()
        )
        spent = one(connection, "SELECT pg_current_xact_id()::text::bigint")
    cluster.stop()
    shutil.rmtree(cluster.data_dir)
    cluster.data_dir.mkdir(mode=0o700)
    if cluster.os_user is not None:
        shutil.chown(cluster.data_dir, cluster.os_user)
    subprocess.run(["cp", "-a", f"{backup}/.", str(cluster.data_dir)], check=True)
    cluster.launch()
    receiver.clear()
    with cluster.connect() as connection:
        assert one(connection, "SELECT system_identifier FROM pg_control_system()") == identifier
        assert one(connection, "SELECT pg_current_xact_id()::text::bigint") < spent
        relays(dsn)
        for amount in range(5, 15):
            spend(connection, 1, [amount])
        receiver.wait_for(11)
        settle(connection)
        assert amounts_of(receiver.requests) == [2, *range(5, 15)]
        present = dict(
            connection.execute("SELECT id, rowhook.public_id('evt', occurred_at, id, slot) FROM rowhook.event").fetchall()
        )
        same = [id for id in future.keys() & present.keys() if future[id] != present[id]]
        assert same, "internal ids were given out again …"
        assert len({*future.values(), *present.values()}) == len(future) + len(present) - len(
            future.keys() & present.keys()
        ) + len(same)
        assert one(connection, "SELECT count(*) FROM rowhook.verify('expenses') WHERE verdict <> 'accounted'") == 0


# --- an upgrade ----------------------------------------------------------------------------------------------


def test_a_jump_of_transaction_ids_loses_nothing(
    start_cluster: Callable[..., Cluster], relays: Callable[..., LocalRelay], add_hook: AddHook, receiver: Receiver
) -> None:
    """pg_resetwal, as pg_upgrade and the last resort after damage use it."""
    cluster = start_cluster()
    dsn = install(cluster)
    with cluster.connect() as connection:
        add_hook(receiver.url(), connection=connection)
        relay = relays(dsn)
        spend(connection, 1, [1])
        receiver.wait_for(1)
        settle(connection)
        relay.stop()
        spend(connection, 1, [2])
        ahead = one(connection, "SELECT pg_current_xact_id()::text::bigint") + 2_000_000
    cluster.stop()
    reset = [str(cluster.bin_dir / "pg_resetwal"), "-x", str(ahead), str(cluster.data_dir)]
    subprocess.run(reset, check=True, capture_output=True, cwd="/", **as_user(cluster.os_user))
    segment = cluster.data_dir / "pg_xact" / f"{ahead // (8192 * 4 * 32):04X}"
    if not segment.exists():
        segment.write_bytes(bytes(8192 * 32))
        shutil.copystat(cluster.data_dir / "pg_xact" / "0000", segment)
        if cluster.os_user is not None:
            shutil.chown(segment, cluster.os_user, cluster.os_user)
    cluster.launch()
    with cluster.connect() as connection:
        relays(dsn)
        spend(connection, 1, [3])
        receiver.wait_for(3)
        settle(connection)
        assert amounts_of(receiver.requests) == [1, 2, 3]


@pytest.mark.postgres15
def test_pg_upgrade_loses_nothing_and_sends_nothing_twice(
    relays: Callable[..., LocalRelay],
    add_hook: AddHook,
    receiver: Receiver,
    old_cluster: Cluster,
    new_cluster: Cluster,
) -> None:
    """From 15 to 15, which is enough for it: transaction ids stay, the system identifier is another."""
    dsn = install(old_cluster)
    with old_cluster.connect() as connection:
        add_hook(receiver.url(), connection=connection)
        relay = relays(dsn)
        spend(connection, 1, [1])
        receiver.wait_for(1)
        settle(connection)
        relay.stop()
        spend(connection, 1, [2])
        ids = connection.execute(PUBLIC_IDS).fetchall()
        identifier = one(connection, "SELECT system_identifier FROM pg_control_system()")
    old_cluster.stop()
    new_cluster.stop()
    upgrade(old_cluster, new_cluster)
    new_cluster.launch()
    with new_cluster.connect() as connection:
        assert one(connection, "SELECT system_identifier FROM pg_control_system()") != identifier
        assert connection.execute(PUBLIC_IDS).fetchall() == ids
        relays(new_cluster.dsn())
        spend(connection, 1, [3])
        receiver.wait_for(3)
        settle(connection)
        assert amounts_of(receiver.requests) == [1, 2, 3]
        assert one(connection, "SELECT count(*) FROM rowhook.verify('expenses') WHERE verdict <> 'accounted'") == 0


@pytest.fixture
def old_cluster() -> Iterator[Cluster]:
    cluster = Cluster.start(POSTGRES_15_BIN, postgres_under_test()[1])
    yield cluster
    cluster.remove()


@pytest.fixture
def new_cluster() -> Iterator[Cluster]:
    cluster = Cluster.start(POSTGRES_15_BIN, postgres_under_test()[1])
    yield cluster
    cluster.remove()


def upgrade(old: Cluster, new: Cluster) -> None:
    """pg_upgrade, as the user to whom both belong."""
    folders = ["-b", old.bin_dir, "-B", new.bin_dir, "-d", old.data_dir, "-D", new.data_dir]
    command = [new.bin_dir / "pg_upgrade", *folders, "-U", "postgres", "-s", new.socket_dir, "-p", old.port, "-P", new.port]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=new.socket_dir, check=False, **as_user(new.os_user)
    )
    assert done.returncode == 0, done.stdout + done.stderr
