"""Settings and connections: where they come from, and what is said when they are wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cli.conftest import Rowhook
from tests.cluster import Cluster, free_port
from tests.keys import KEY

SECRET = "sesame-open-please"
KEYED = {"ROWHOOK_SECRET_KEY": KEY}


@pytest.mark.parametrize("command", [("migrate",), ("capture", "x"), ("endpoint", "list"), ("run",), ("deliveries",)])
def test_no_database_is_named(anywhere: Rowhook, command: tuple[str, ...]):
    anywhere(*command).refused("DATABASE_URL is not set", ".env", "postgresql://user:password@host:port/database")


@pytest.mark.parametrize(
    "dsn", ["garbage", f"postgresql//me:{SECRET}@host/db", f"postgresql://me:{SECRET}%zz@host/db", "host=a port"]
)
@pytest.mark.parametrize("command", [("migrate",), ("endpoint", "list"), ("run",)])
def test_dsn_that_is_none(anywhere: Rowhook, command: tuple[str, ...], dsn: str):
    line = anywhere(*command, env={"DATABASE_URL": dsn, **KEYED}).refused(
        "DATABASE_URL is not a connection string", "postgresql://user:"
    )
    assert SECRET not in line


@pytest.mark.parametrize("command", [("migrate",), ("endpoint", "list")])
def test_refused_port(anywhere: Rowhook, command: tuple[str, ...]):
    port = free_port()
    begun = time.monotonic()
    env = {"DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:{port}/db", "ROWHOOK_CONNECT_WAIT": "1s"}
    line = anywhere(*command, env={**env, **KEYED}).refused(
        f"DATABASE_URL does not connect to me@127.0.0.1:{port}/db", "refused", "running Postgres"
    )
    assert SECRET not in line
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("command", [("migrate",), ("endpoint", "list"), ("run", "--no-api")])
def test_wrong_database_ends_at_once(anywhere: Rowhook, cluster: Cluster, command: tuple[str, ...]):
    begun = time.monotonic()
    line = anywhere(*command, env={"DATABASE_URL": cluster.dsn("nowhere"), **KEYED}).refused(
        "/nowhere", 'database "nowhere" does not exist'
    )
    assert "a database in it" in line
    assert time.monotonic() - begun < 8


def test_wrong_password_ends_at_once(anywhere: Rowhook, start_cluster):
    cluster: Cluster = start_cluster()
    with cluster.connect() as connection:
        connection.execute("CREATE ROLE keeper LOGIN PASSWORD 'right'")
        rules = cluster.data_dir / "pg_hba.conf"
        rules.write_text(f"host all keeper 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    begun = time.monotonic()
    for password, reason in ((f":{SECRET}", "password authentication failed"), ("", "no password supplied")):
        dsn = f"postgresql://keeper{password}@127.0.0.1:{cluster.port}/postgres"
        for command in (("run", "--no-api"), ("endpoint", "list")):
            line = anywhere(*command, env={"DATABASE_URL": dsn, **KEYED}).refused(
                "DATABASE_URL", f"keeper@127.0.0.1:{cluster.port}", reason
            )
            assert SECRET not in line
    assert time.monotonic() - begun < 20


def test_admin_url_is_named_when_it_is_wrong(finmind_dsn: str, rowhook: Rowhook):
    env = {"ROWHOOK_ADMIN_URL": "garbage", "ROWHOOK_CAPTURE": "expenses"}
    for command in (("migrate",), ("capture", "expenses"), ("run", "--no-api")):
        rowhook(*command, env=env).refused("ROWHOOK_ADMIN_URL is not a connection string")


def test_listen_url_is_named_when_it_is_wrong(rowhook: Rowhook, cluster: Cluster):
    env = {"ROWHOOK_LISTEN_URL": cluster.dsn("nowhere")}
    rowhook("run", "--no-api", env=env).refused("ROWHOOK_LISTEN_URL does not connect", "nowhere")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ROWHOOK_RETRY_SCHEDULE", "2s,soon", ("'2s,soon'", "2s,4s,8s")),
        ("ROWHOOK_TIMEOUT", "3 days", ("'3 days' is not one duration", "1d at most", "15s, 5min, 1d")),
        ("ROWHOOK_TIMEOUT", "25h", ("'25h' is too long", "1d at most")),
        ("ROWHOOK_DISABLE_AFTER", "31d", ("'31d' is not one duration", "30d at most")),
        ("ROWHOOK_CIRCUIT_AFTER", "patient", ("'patient' is not one duration",)),
        ("ROWHOOK_CONNECT_WAIT", "0s", ("'0s'", "15s")),
        ("ROWHOOK_MAX_IN_FLIGHT", "lots", ("'lots'", "integer")),
        ("ROWHOOK_DISABLE_AFTER", "5", ("'5'",)),
        ("ROWHOOK_HEADER_PREFIX", "X Y", ("'X Y'", "letters, digits")),
        ("ROWHOOK_ALLOW_NETWORKS", "10.1.2.3/24", ("'10.1.2.3/24'", "10.1.2.0/24")),
        ("ROWHOOK_DENY_NETWORKS", "all", ("'all'", "CIDRs")),
        ("ROWHOOK_ALLOW_PORTS", "http", ("'http'", "443,8000-8999")),
        ("ROWHOOK_ALLOW_HTTP", "perhaps", ("'perhaps'", "boolean")),
        ("ROWHOOK_PROXY", "proxy", ("ROWHOOK_PROXY", "http://proxy:3128")),
        ("ROWHOOK_API_LISTEN", "here", ("'here'", "127.0.0.1:8080")),
        ("ROWHOOK_LOG_FORMAT", "xml", ("'xml'", "'text' or 'json'")),
    ],
)
def test_malformed_settings(rowhook: Rowhook, name: str, value: str, expected: tuple[str, ...]):
    rowhook("run", "--no-api", env={name: value}).refused(name, *expected)


def test_malformed_default_secret_is_not_shown(rowhook: Rowhook):
    secret = "too short"
    line = rowhook("endpoint", "list", env={"ROWHOOK_DEFAULT_SECRET": secret}).refused("ROWHOOK_DEFAULT_SECRET", "16 or more")
    assert secret not in line


def test_dotenv_is_read_and_the_environment_wins(dsn: str, anywhere: Rowhook, in_folder: Path):
    (in_folder / ".env").write_text(
        f"# a note\nDATABASE_URL={dsn}\nROWHOOK_DEFAULT_SECRET='of the .env file, long'\nROWHOOK_SECRET_KEY={KEY}\n"
    )
    added = anywhere("endpoint", "add", "https://example.com/", "--json", ok=True).json
    assert added["secret"] == "of the .env file, long"
    env = {"ROWHOOK_DEFAULT_SECRET": "of the environment, long"}
    assert (
        anywhere("endpoint", "add", "https://example.com/", "--json", env=env, ok=True).json["secret"]
        == "of the environment, long"
    )
    anywhere("endpoint", "list", env={"DATABASE_URL": "garbage"}).refused("DATABASE_URL is not a connection string")


def test_dotenv_that_is_not_text(anywhere: Rowhook, in_folder: Path):
    (in_folder / ".env").write_bytes(b"DATABASE_URL=\xff\xfe\n")
    anywhere("endpoint", "list").refused(".env", "UTF-8")


def test_default_transaction_settings_of_the_role_do_not_matter(dsn: str, rowhook: Rowhook, conn, endpoint: str):
    for setting in ("search_path = ''", "timezone = 'Asia/Tokyo'", "intervalstyle = 'sql_standard'", "statement_timeout = '30s'"):
        conn.execute(f"ALTER DATABASE {conn.info.dbname} SET {setting}")
    edited = rowhook("endpoint", "edit", endpoint, "--retry", "1d,90min", "--json", ok=True).json
    assert edited["retry"] == "1d,90min"
    assert edited["created_at"].endswith("+00:00")


@pytest.mark.parametrize("count", ["0", "-1", "x", "65", "1.5", "", "٣"])
def test_processes_that_are_no_number_of_relays(rowhook: Rowhook, count: str):
    rowhook("run", f"--processes={count}").refused(f"--processes {count!r} is not a number of relays", "give 1 to 64")


@pytest.mark.parametrize("processes", ["0", "65", "x"])
def test_processes_setting(rowhook: Rowhook, processes: str):
    rowhook("run", env={"ROWHOOK_PROCESSES": processes}).refused(f"ROWHOOK_PROCESSES is '{processes}'")


def test_several_processes_are_refused_as_one_is(anywhere: Rowhook, empty_dsn: str, cluster: Cluster):
    for dsn, said in ((cluster.dsn("nowhere"), 'database "nowhere" does not exist'), (empty_dsn, "rowhook migrate")):
        anywhere("run", "--processes", "2", env={"DATABASE_URL": dsn, **KEYED}).refused(said)
