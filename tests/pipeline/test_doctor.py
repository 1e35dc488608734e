"""Each check of doctor against its real fault, in a real Postgres; and beside the same without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from relay import keyring, owners
from relay.config import load
from relay.doctor import bell, pooler
from relay.doctor import relays as judging_relays
from relay.doctor.examine import examine
from relay.doctor.finding import Finding, Verdict
from relay.errors import ConfigError
from relay.migrations import migrate
from relay.model import ROLE_KEY
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.pgbouncer import pgbouncer
from tests.pipeline.conftest import AddHook, Gate, asleep, one, spend
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually, settings
from tests.pipeline.test_outage import standby_of
from tests.receiver import Receiver

OK, WARNING, BAD = Verdict.OK, Verdict.WARNING, Verdict.BAD
Examined = Callable[..., dict[str, Finding]]


@pytest.fixture
def examined(dsn: str) -> Examined:
    """The findings by check."""

    def examined(database: str = dsn, **given: str) -> dict[str, Finding]:
        return {finding.check: finding for finding in examine(settings(database, **given))}

    return examined


# --- captures ------------------------------------------------------------------------------------------------

INCLUDING = "SELECT rowhook.capture('expenses', include => '{id,notes}')"
EXCLUDING = "SELECT rowhook.capture('expenses', exclude => '{notes}')"
ELSEWHERE = "DROP EVENT TRIGGER rowhook_follow_ddl"
OWN_TRIGGER = """
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER own AFTER INSERT ON expenses FOR EACH ROW EXECUTE FUNCTION f()
"""
CAPTURE_FAULTS = {
    "ALTER TABLE expenses DISABLE TRIGGER ALL": (BAD, "disabled"),
    'ALTER TABLE expenses DISABLE TRIGGER "!rowhook_delete"': (BAD, "!rowhook_delete"),
    'DROP TRIGGER "!rowhook_update" ON expenses': (BAD, "missing"),
    "SELECT rowhook.capture('expenses', paused => true)": (WARNING, "paused"),
    "ALTER TABLE expenses DROP COLUMN notes": (OK, ""),
    f"{INCLUDING}; ALTER TABLE expenses DROP COLUMN notes": (BAD, 'no column "notes"'),
    f"{EXCLUDING}; ALTER TABLE expenses RENAME notes TO remarks; ALTER TABLE expenses ADD COLUMN more int": (OK, ""),
    f"{ELSEWHERE}; {EXCLUDING}; ALTER TABLE expenses RENAME notes TO remarks": (WARNING, "have changed"),
    f"{ELSEWHERE}; {EXCLUDING}; ALTER TABLE expenses ADD COLUMN more int": (WARNING, "have changed"),
    OWN_TRIGGER: (WARNING, "its mode would be row"),
    "DROP TABLE expenses": (WARNING, "was dropped"),
}


@pytest.mark.parametrize("fault", CAPTURE_FAULTS)
def test_faults_of_a_capture_and_what_mends_them(conn: Connection, finmind: str, examined: Examined, fault: str) -> None:
    expected, said = CAPTURE_FAULTS[fault]
    conn.execute(fault)
    found = examined()["capture of expenses"]
    assert (found.verdict, said in found.why) == (expected, True), found
    if found.remedy == "rowhook capture expenses":
        conn.execute("SELECT rowhook.capture('expenses')")
        assert examined()["capture of expenses"].verdict is OK


def test_whether_captures_follow_ddl_at_once(conn: Connection, finmind: str, examined: Examined) -> None:
    check = "changes of the schema"
    assert (examined()[check].verdict, examined()[check].why) == (OK, "captures follow them at once")
    conn.execute("ALTER EVENT TRIGGER rowhook_follow_ddl DISABLE")
    assert (examined()[check].verdict, "is disabled" in examined()[check].why) == (WARNING, True)
    conn.execute(ELSEWHERE)
    assert "SELECT rowhook.watch_ddl()" in examined()[check].remedy
    conn.execute("SELECT rowhook.watch_ddl()")
    assert examined()[check].verdict is OK


def test_writes_that_went_uncaptured(conn: Connection, user_id: int, examined: Examined) -> None:
    conn.execute("SELECT rowhook.capture('expenses', on_error => 'record')")
    assert "uncaptured writes to expenses" not in examined()
    conn.execute("REVOKE INSERT ON rowhook.event FROM rowhook_capture")
    spend(conn, user_id)
    found = examined()
    assert "1 statement went uncaptured" in found["uncaptured writes to expenses"].why
    assert (found["owner of trigger functions"].verdict, found["own bell"].verdict) == (BAD, BAD)
    assert "lacks INSERT on rowhook.event" in found["owner of trigger functions"].why
    conn.execute("SELECT rowhook.set_up_roles()")
    found = examined()
    assert (found["owner of trigger functions"].verdict, found["own bell"].verdict) == (OK, OK)


def test_trigger_functions_in_the_wrong_hands_are_seen_and_mended_by_a_relay_that_may(
    conn: Connection, finmind: str, dsn: str, examined: Examined, sender: str
) -> None:
    conn.execute("ALTER FUNCTION rowhook.capture_1_insert() OWNER TO postgres")
    found = examined()["owner of trigger functions"]
    assert (found.verdict, "superuser postgres" in found.why) == (BAD, True)
    theirs = psycopg.connect(dsn, user=sender, autocommit=True, row_factory=psycopg.rows.dict_row)
    with theirs, pytest.raises(ConfigError, match=r"superuser postgres.*set_up_roles"):
        owners.ensure(settings(psycopg.conninfo.make_conninfo(dsn, user=sender)), theirs)
    with psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as ours:
        owners.ensure(settings(dsn), ours)
    assert examined()["owner of trigger functions"].verdict is OK


@pytest.fixture
def sender(cluster: Cluster, dsn: str) -> str:
    """A login that is a member of rowhook_relay and nothing else."""
    with cluster.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS doctors_sender; CREATE ROLE doctors_sender LOGIN IN ROLE rowhook_relay")
    return "doctors_sender"


def test_a_role_that_may_not_see_all_says_what_it_could_not_tell(dsn: str, finmind: str, examined: Examined, sender: str) -> None:
    theirs = psycopg.conninfo.make_conninfo(dsn, user=sender)
    found = examined(theirs)
    assert found["rights of relays"].verdict is OK
    assert found["captures"].verdict is WARNING and "can't be told" in found["captures"].why
    assert found["own bell"].verdict is OK
    assert examined(theirs, admin_url=dsn)["capture of expenses"].verdict is OK


def test_ids_taken_ahead(conn: Connection, examined: Examined) -> None:
    assert examined()["ids of events"].verdict is OK
    conn.execute("ALTER TABLE rowhook.event ALTER COLUMN id SET CACHE 10")
    found = examined()["ids of events"]
    assert found.verdict is BAD
    conn.execute(found.remedy.encode())
    assert examined()["ids of events"].verdict is OK


# --- the bell, and what is in between ------------------------------------------------------------------------


def test_the_bell_is_rung_alone_beside_a_sleeping_relay_and_not_beside_a_busy_one(
    conn: Connection, relays: Callable[..., LocalRelay], examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = examined()["own bell"]
    assert (alone.verdict, "was heard" in alone.why) == (OK, True)
    assert one(conn, "SELECT last_value FROM rowhook.doorbell") == 0, "left as it was: not armed"
    relay = relays()
    eventually(lambda: asleep(conn))
    beside = examined()["own bell"]
    assert (beside.verdict, "was heard" in beside.why) == (OK, True)
    relay.stop()
    monkeypatch.setattr(bell, "ASLEEP_WITHIN", 0.2)
    conn.execute("SELECT pg_advisory_lock(%s)", [ROLE_KEY])  # as a relay that has much to dispatch: the flag is down
    busy = examined()["own bell"]
    assert (busy.verdict, "not rung" in busy.why) == (OK, True)


@pytest.mark.pgbouncer
def test_a_real_pgbouncer_in_between(cluster: Cluster, dsn: str, examined: Examined) -> None:
    """Each pool mode, by what it does to sessions; a direct way for listening doesn't make prepared statements survive."""
    name = dsn.rsplit("/", 1)[1]
    with pgbouncer(cluster, "transaction") as bouncer:
        assert asyncio.run(pooler.way(bouncer + name)) is pooler.Way.TRANSACTIONS
        found = examined(bouncer + name)
        assert found["pooler"].verdict is BAD and "own bell" not in found
        found = examined(bouncer + name, listen_url=dsn)
        assert (found["pooler"].verdict, found["own bell"].verdict) == (BAD, OK)
    with pgbouncer(cluster, "session") as bouncer:
        found = examined(bouncer + name)
        assert (found["pooler"].verdict, found["own bell"].verdict) == (WARNING, OK)
    assert examined()["pooler"].verdict is OK


# --- transactions --------------------------------------------------------------------------------------------


def test_a_writer_that_stays_open_and_a_prepared_one(
    start_cluster: Callable[..., Cluster], connect: Connect, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    cluster = start_cluster(max_prepared_transactions=2)
    migrate(cluster.dsn())
    writer, idle = connect(dsn=cluster.dsn()), connect(dsn=cluster.dsn(), application_name="idler")
    found = examined(cluster.dsn())
    assert (found["two-phase commit"].verdict, found["open writers"].verdict) == (WARNING, OK)
    assert "own bell" not in found, "writers would not ring"
    monkeypatch.setattr("relay.doctor.transactions.LONG_WRITER", 0.0)
    monkeypatch.setattr("relay.doctor.transactions.LONG_SNAPSHOT", 0.0)
    idle.execute("BEGIN; SELECT rowhook.emit('a.b', '1')")
    found = examined(cluster.dsn())
    assert found["open writers"].verdict is found["oldest snapshot"].verdict is WARNING
    assert f"process {idle.info.backend_pid} of postgres (idler)" in found["open writers"].why
    writer.execute(found["open writers"].remedy.encode())
    eventually(lambda: examined(cluster.dsn())["open writers"].verdict is OK)
    writer.execute("BEGIN; SELECT rowhook.emit('a.b', '1'); PREPARE TRANSACTION 'one'")
    found = examined(cluster.dsn())
    assert "prepared transaction 'one' of postgres" in found["open writers"].why
    assert "'one'" in found["oldest snapshot"].why
    writer.execute("COMMIT PREPARED 'one'")
    assert examined(cluster.dsn())["open writers"].verdict is OK


def test_a_standby_and_a_cluster_that_the_cursor_does_not_know(start_cluster: Callable[..., Cluster], examined: Examined) -> None:
    primary = start_cluster(max_wal_senders=2, hot_standby="on")
    migrate(primary.dsn())
    standby = standby_of(primary)
    try:
        found = examined(standby.dsn())
        assert found["primary"].verdict is BAD
        assert "own bell" not in found, "nothing is tried that writes"
    finally:
        standby.remove()
    assert "cursor" not in examined(primary.dsn())
    with primary.connect() as connection:
        connection.execute("UPDATE rowhook.cursor SET system_identifier = 1")
    assert examined(primary.dsn())["cursor"].verdict is WARNING


# --- relays --------------------------------------------------------------------------------------------------


def test_what_a_killed_relay_leaves_and_a_frozen_one(
    conn: Connection,
    user_id: int,
    processes: Callable[..., RelayProcess],
    add_hook: AddHook,
    receiver: Receiver,
    examined: Examined,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_hook(receiver.url(), timeout="60s")
    receiver.answer("/hook", gate.answer)
    process = processes().start()
    spend(conn, user_id, [1, 2])
    receiver.wait_for(2)
    found = examined()
    checks = ("running relays", "dispatcher", "due deliveries", "leases of the dead")
    assert [found[check].verdict for check in checks] == [OK] * 4
    assert process.name in found["running relays"].why and process.name in found["dispatcher"].why
    monkeypatch.setattr(judging_relays, "FROZEN_AFTER", 0.3)
    process.freeze()
    eventually(lambda: examined()["running relays"].verdict is BAD, what="it is seen to be frozen")
    process.thaw()
    monkeypatch.undo()
    process.kill()
    spend(conn, user_id, [3, 4, 5])
    eventually(lambda: examined()["leases of the dead"].verdict is WARNING)
    found = examined()
    assert "2 deliveries held by relays that have ended" in found["leases of the dead"].why
    assert found["running relays"].verdict is BAD, "work waits"
    assert "3 events not dispatched yet" in found["dispatcher"].why
    gate.open()
    processes().start()
    eventually(lambda: examined()["leases of the dead"].verdict is OK)
    receiver.wait_for(7)
    assert "0 events not dispatched yet" in eventually(lambda: examined()["dispatcher"]).why


def test_missed_rings_are_counted_where_others_can_read_them(
    conn: Connection, dsn: str, examined: Examined, monkeypatch: pytest.MonkeyPatch, missed_rings: list[object]
) -> None:
    monkeypatch.setattr("relay.doorbell.RENEW_AFTER", 0.3)
    relay = LocalRelay(dsn).start()
    eventually(lambda: asleep(conn))
    assert examined()["missed rings"].verdict is OK
    eventually(lambda: asleep(conn))
    conn.execute("INSERT INTO rowhook.event (op, type, data) VALUES ('emit', 'a.b', '1')")  # and rings nobody
    eventually(lambda: one(conn, "SELECT sum(missed_rings) FROM rowhook.instance") == 1)
    relay.stop()
    found = examined()["missed rings"]
    assert (found.verdict, relay.name in found.why, len(missed_rings)) == (WARNING, True, 1)


# --- endpoints -----------------------------------------------------------------------------------------------


def test_endpoints_that_wait_or_fail_dead_letters_and_secrets(
    conn: Connection, user_id: int, relays: Callable[..., LocalRelay], add_hook: AddHook, receiver: Receiver, examined: Examined
) -> None:
    assert examined()["endpoints"].verdict is WARNING
    well, gone, ill = (add_hook(receiver.url(f"/{name}")) for name in ("well", "gone", "ill"))
    receiver.answer("/gone", 410)
    receiver.answer("/ill", 500)
    relays()
    spend(conn, user_id)
    eventually(lambda: one(conn, "SELECT count(*) FROM rowhook.delivery WHERE state = 'dead'") == 2)
    conn.execute("UPDATE rowhook.endpoint SET failing_since = now() - interval '1 h' WHERE id = %s", [ill.id])
    found = examined()
    assert "410" in found[f"endpoint {gone.public_id}"].why
    assert "nothing but fail for 60 min" in found[f"endpoint {ill.public_id}"].why
    assert f"endpoint {well.public_id}" not in found
    assert found["dead letters"].why.startswith("2 deliveries ended without success, 2 of them in the last 24 h")
    assert found["secrets"].verdict is OK
    other = examined(secret_key=keyring.new_key())["secrets"]
    assert (other.verdict, well.public_id in other.why) == (BAD, True)
    conn.execute("UPDATE rowhook.secret SET endpoint_id = %s WHERE endpoint_id = %s", [well.id, ill.id])
    moved = examined()["secrets"]
    assert (moved.verdict, "belongs to another row" in moved.why) == (BAD, True)
    assert examined(secret_key="")["secrets"].verdict is BAD


def test_a_connection_that_is_not_there(dsn: str) -> None:
    (first, second) = examine(load(DATABASE_URL=dsn, ROWHOOK_LISTEN_URL="postgresql://x:hunter2@127.0.0.1:1/y"))
    assert (first.verdict, second.verdict) == (OK, BAD)
    assert "ROWHOOK_LISTEN_URL" in second.why and "hunter2" not in second.why
