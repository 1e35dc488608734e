"""rowhook doctor: what it says, and how it ends. Each check against its real fault: tests/pipeline/test_doctor.py."""

from __future__ import annotations

from tests.cli.conftest import Rowhook, Start, wait_until_live
from tests.conftest import Connection

CHECKS = {
    *("connection", "server version", "primary", "two-phase commit", "notification queue", "pooler", "migrations", "own bell"),
    *(
        "rights of relays",
        "owner of trigger functions",
        "changes of the schema",
        "capture of expenses",
        "ids of events",
        "open writers",
        "oldest snapshot",
    ),
    *("dead rows", "running relays", "dispatcher", "due deliveries", "leases of the dead", "missed rings", "endpoints"),
    *("dead letters", "secrets", "retention"),
}


def test_a_healthy_installation_is_well_in_every_check(
    rowhook: Rowhook, start: Start, conn: Connection, finmind: str, endpoint: str
) -> None:
    with start("--no-api", "--instance-name", "healthy"):
        wait_until_live(conn, "healthy")
        done = rowhook("doctor", "--json", ok=True)
        assert {check["check"] for check in done.json["checks"]} == CHECKS
        assert [check for check in done.json["checks"] if check["verdict"] == "bad"] == []
        well = {"verdict": "ok", "remedy": ""}
        assert all(check.items() >= well.items() for check in done.json["checks"] if check["check"] != "dispatcher")
    said = rowhook("doctor", ok=True).out
    assert "running relays\twarning\tnone; nothing waits yet\trowhook run" in said
    assert said.splitlines()[-1].endswith("0 bad")


def test_a_fault_ends_it_with_1(rowhook: Rowhook, conn: Connection, finmind: str) -> None:
    conn.execute("ALTER TABLE expenses DISABLE TRIGGER ALL")
    done = rowhook("doctor", "--json")
    assert (done.code, done.json["verdict"]) == (1, "bad")
    (bad,) = [check for check in done.json["checks"] if check["verdict"] == "bad"]
    assert bad["check"] == "capture of expenses"
    assert "triggers are disabled" in bad["why"]
    assert bad["remedy"].startswith("rowhook capture expenses")
    rowhook("capture", "expenses", ok=True)
    rowhook("doctor", ok=True)


def test_no_database(anywhere: Rowhook) -> None:
    anywhere("doctor").refused("DATABASE_URL is not set")


def test_a_server_that_is_not_there_is_a_finding(anywhere: Rowhook) -> None:
    done = anywhere("doctor", "--json", env={"DATABASE_URL": "postgresql://somebody:hunter2@127.0.0.1:1/nothing"})
    assert done.code == 1
    (check,) = done.json["checks"]
    assert (check["check"], check["verdict"]) == ("connection", "bad")
    assert "DATABASE_URL" in check["why"] and "hunter2" not in done.out + done.err


def test_a_database_without_the_schema(rowhook: Rowhook, empty_dsn: str) -> None:
    done = rowhook("doctor", "--json")
    assert done.code == 1
    last = done.json["checks"][-1]
    assert (last["check"], last["verdict"], last["remedy"]) == ("migrations", "bad", "run: rowhook migrate")
