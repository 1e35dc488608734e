"""rowhook run: what it makes sure of before it serves, and one delivery from end to end."""

from __future__ import annotations

import json
import time

import pytest

from tests.cli.conftest import LOOPBACK, Rowhook, Start, wait_until_live
from tests.cluster import free_port
from tests.conftest import Connection
from tests.keys import KEY
from tests.receiver import Receiver


def test_captures_delivers_and_stops(finmind_dsn: str, conn: Connection, rowhook: Rowhook, receiver: Receiver, start: Start):
    options = ["--events", "expense.*", "--tenant", "1"]
    added = rowhook("endpoint", "add", receiver.url(), *options, "--json", env=LOOPBACK, ok=True).json
    with start("--no-api", "--instance-name", "the one", ROWHOOK_CAPTURE="expenses:user_id, bills:user_id") as relay:
        wait_until_live(conn, "the one")
        conn.execute("INSERT INTO users (email, password_hash) VALUES ('a', 'x')")
        conn.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 99.50)")
        (received,) = receiver.wait_for(1)
        assert relay.stop() == 0, relay.log.read_text()
    body = json.loads(received.body)
    assert (body["type"], body["tenant"]) == ("expense.created", "1")
    assert conn.execute("SELECT tenant FROM rowhook.capture").fetchall() == [("user_id",), ("user_id",)]
    (row,) = rowhook("deliveries", "--endpoint", added["id"], "--json", ok=True).json
    assert (row["delivery_status"], row["status_code"], row["event_id"]) == ("delivered", 200, body["id"])
    assert added["secret"] not in relay.log.read_text()


def test_its_own_api_gets_no_request(conn: Connection, rowhook: Rowhook, start: Start):
    port = free_port()
    url, env = f"http://127.0.0.1:{port}/health/live", {"ROWHOOK_API_LISTEN": f"127.0.0.1:{port}"}
    rowhook("endpoint", "add", url, env={**LOOPBACK, **env}).refused("this relay's API (ROWHOOK_API_LISTEN)")
    rowhook("endpoint", "add", url, env=LOOPBACK, ok=True)  # where the command doesn't know where the relay listens
    with start("--instance-name", "serving", **env) as relay:
        wait_until_live(conn, "serving")
        conn.execute("SELECT rowhook.emit('order.placed', '{}')")
        deadline = time.monotonic() + 20
        while not (attempts := conn.execute("SELECT error_class, error FROM rowhook.attempt").fetchall()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert relay.stop() == 0, relay.log.read_text()
    ((error_class, error),) = attempts
    assert error_class == "blocked" and "this relay's API (ROWHOOK_API_LISTEN)" in error


def test_capture_setting_never_overwrites(finmind_dsn: str, conn: Connection, rowhook: Rowhook, start: Start):
    """Options given otherwise stay; a capture that lost a trigger is mended."""
    rowhook("capture", "expenses", "--type-prefix", "cost", "--tenant", "category_id", ok=True)
    conn.execute('DROP TRIGGER "!rowhook_update" ON expenses')
    with start("--no-api", "--instance-name", "n", ROWHOOK_CAPTURE="expenses:user_id", ROWHOOK_LOG_FORMAT="json") as relay:
        wait_until_live(conn, "n")
        assert relay.stop() == 0, relay.log.read_text()
        logged = [json.loads(line) for line in relay.log.read_text().splitlines()]
    assert conn.execute("SELECT type_prefix, tenant FROM rowhook.capture").fetchall() == [("cost", "category_id")]
    triggers = conn.execute(
        "SELECT FROM pg_trigger WHERE tgrelid = 'expenses'::regclass AND tgname = '!rowhook_update'"
    ).fetchall()
    assert len(triggers) == 1
    (warning,) = [entry for entry in logged if entry["level"] == "WARNING"]
    assert (warning["table"], warning["tenant"], warning["named"]) == ("expenses", "category_id", "user_id")
    assert {"time", "level", "logger", "message"} <= logged[0].keys()


def test_text_logs_show_extra_fields(finmind_dsn: str, conn: Connection, start: Start):
    with start("--no-api", "--instance-name", "n", ROWHOOK_CAPTURE="bills") as relay:
        logged = relay.wait_for("captured")
        wait_until_live(conn, "n")
    assert "INFO relay.captures: captured table=bills result=installed" in logged
    assert "\x1b" not in logged


def test_captures_through_the_admin_url(finmind_dsn: str, conn: Connection, start: Start):
    admin = f"{finmind_dsn}?application_name=the_admin"
    conn.execute("CREATE TABLE seen (name text)")
    conn.execute(
        """
        CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.seen VALUES (current_setting('application_name')); END $$;
        CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION note()
        """
    )
    with start("--no-api", "--instance-name", "n", ROWHOOK_CAPTURE="bills", ROWHOOK_ADMIN_URL=admin):
        wait_until_live(conn, "n")
    assert {name for (name,) in conn.execute("SELECT name FROM seen")} <= {"rowhook", "the_admin"}
    assert conn.execute("SELECT count(*) FROM seen").fetchone() == (4,)


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        ("expnses:user_id", ("no table 'expnses'", "did you mean expenses")),
        ("expenses:owner", ('no column "owner"', "Its columns are")),
    ],
)
def test_capture_setting_mistakes(finmind_dsn: str, rowhook: Rowhook, capture: str, expected: tuple[str, ...]):
    rowhook("run", "--no-api", env={"ROWHOOK_CAPTURE": capture}).refused("ROWHOOK_CAPTURE", *expected)


def test_address_that_is_taken(rowhook: Rowhook, receiver: Receiver):
    done = rowhook("run", env={"ROWHOOK_API_LISTEN": f"127.0.0.1:{receiver.port}"})
    assert done.code == 2
    assert f"127.0.0.1:{receiver.port}" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_first_connection_waits_for_a_server_that_starts(anywhere: Rowhook):
    begun = time.monotonic()
    env = {"DATABASE_URL": f"postgresql://me@127.0.0.1:{free_port()}/none", "ROWHOOK_CONNECT_WAIT": "2s"}
    anywhere("run", "--no-api", env={**env, "ROWHOOK_SECRET_KEY": KEY}).refused(
        "DATABASE_URL does not connect to me@127.0.0.1", "running Postgres"
    )
    assert 2 <= time.monotonic() - begun < 12


def test_instance_name_must_be_one(rowhook: Rowhook):
    rowhook("run", "--instance-name", " ").refused("' '", "1 to 200 characters")
