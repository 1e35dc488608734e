"""Migrations: all or nothing, once, by whoever owns the database, over any connection string; and back again."""

from __future__ import annotations

import itertools
import logging
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay import migrations
from relay.errors import ConfigError
from relay.migrations import applied_ids, check, known_ids, migrate, migrations_folder, problem, rollback
from tests.cluster import Cluster
from tests.conftest import FINMIND_SQL, Connect
from tests.sql import snapshot
from tests.sql.conftest import one

SQL = Path(__file__).parents[2] / "sql"

# Everything in a database but what came with it, except yoyo's own tables.
CATALOG = """
SELECT 'class', c.relkind::text || ' ' || c.oid::regclass::text FROM pg_class AS c
 WHERE c.oid >= 16384 AND c.relname !~ '^_?yoyo_' AND c.relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc WHERE oid >= 16384
UNION ALL SELECT 'type', oid::regtype::text FROM pg_type WHERE oid >= 16384 AND typname !~ '^_?_?yoyo_'
UNION ALL SELECT 'schema', nspname::text FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'trigger', tgrelid::regclass || ' ' || tgname FROM pg_trigger
UNION ALL SELECT 'event trigger', evtname::text FROM pg_event_trigger
UNION ALL SELECT 'default acl', defaclacl::text FROM pg_default_acl
"""


def catalog(dsn: str) -> set[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return set(connection.execute(CATALOG).fetchall())


def applied(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return applied_ids(connection)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, which are those of this version as long as the test runs."""
    copy = tmp_path / "sql [copy]*"
    shutil.copytree(SQL, copy)
    monkeypatch.setattr(migrations, "migrations_folder", lambda: copy)
    return copy


# --- forth and back ----------------------------------------------------------------------------------------


def test_migrating_twice_is_migrating_once(empty_dsn: str) -> None:
    assert migrate(empty_dsn) == known_ids()
    before = catalog(empty_dsn)
    assert migrate(empty_dsn) == []
    assert catalog(empty_dsn) == before
    assert applied(empty_dsn) == set(known_ids())


def test_yoyo_tells_the_user_nothing(empty_dsn: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        migrate(empty_dsn)
        rollback(empty_dsn)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name.startswith(("yoyo", "relay"))] == []


def test_rolling_back_leaves_nothing_but_yoyos_tables(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(FINMIND_SQL.read_text())
    before = catalog(empty_dsn)
    migrate(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("""
            SELECT rowhook.capture('expenses', tenant => 'user_id');
            SELECT rowhook.capture('bills', key => '{}', on_error => 'record');
            SELECT rowhook.capture('users', exclude => '{password_hash}', paused => true);
            INSERT INTO users (email, password_hash) VALUES ('a@example.com', 'x');
            INSERT INTO expenses (user_id, amount) VALUES (1, 1);
            INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com');
        """)
    assert rollback(empty_dsn) == known_ids()[::-1]
    assert catalog(empty_dsn) == before
    assert rollback(empty_dsn) == []
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 1)")
    assert migrate(empty_dsn) == known_ids()


def test_every_migration_has_a_rollback(folder: Path) -> None:
    for name in known_ids():
        assert (folder / f"{name}.rollback.sql").exists()


def test_each_migration_depends_on_the_one_before(folder: Path) -> None:
    ids = known_ids()
    for before, name in itertools.pairwise(ids):
        assert f"-- depends: {before}\n" in (folder / f"{name}.sql").read_text()


def test_each_function_arrives_as_written(dsn: str) -> None:
    """Between the file and the server stands a splitter of statements that must not take a body apart."""
    definition = re.compile(
        r"^CREATE FUNCTION rowhook\.(\w+)\((?:(?!BEGIN ATOMIC).)*?\bAS \$fn\$(.*?)\$fn\$", re.DOTALL | re.MULTILINE
    )
    written = {name: body for path in sorted(SQL.glob("*.sql")) for name, body in definition.findall(path.read_text())}
    text = "".join(path.read_text() for path in SQL.glob("*.sql"))
    parsed_there = text.count("\nBEGIN ATOMIC\n")  # the server keeps what it understood, not the text
    assert len(written) + parsed_there == text.count("\nCREATE FUNCTION ")
    with psycopg.connect(dsn) as connection:
        arrived = connection.execute(
            "SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = 'rowhook'::regnamespace"
        ).fetchall()
    assert {name: body for name, body in arrived if body} == written


def test_the_snapshot_in_docs_is_the_schema(cluster: Cluster, template: str) -> None:
    """If it isn't: python -m tests.sql.snapshot"""
    with cluster.connect() as connection:
        version = connection.info.server_version // 10000
    # Other versions of pg_dump write another text; the run on 18 has the say.
    if version == snapshot.VERSION:
        assert snapshot.take(cluster, template) == snapshot.SNAPSHOT.read_text()


# --- failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("already", [0, 4, 10])
def test_a_migration_that_fails_leaves_nothing_half_done(empty_dsn: str, folder: Path, already: int) -> None:
    later = [name for name in known_ids() if name > known_ids()[already - 1]] if already else known_ids()
    aside = folder.parent / "aside"
    aside.mkdir()
    for name in later:
        for path in folder.glob(f"{name}.*"):
            path.rename(aside / path.name)
    assert len(migrate(empty_dsn)) == already
    before, recorded = catalog(empty_dsn), applied(empty_dsn)

    for path in aside.iterdir():
        path.rename(folder / path.name)
    bad = folder / "0999-bad.sql"
    bad.write_text("-- depends: 0012-tenants\nCREATE TABLE rowhook.half (a int);\nSELECT 1 / 0;\nCREATE TABLE done ();\n")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_dsn)
    assert (catalog(empty_dsn), applied(empty_dsn)) == (before, recorded)

    bad.write_text("-- depends: 0012-tenants\nCREATE TABLE rowhook.whole (a int);\n")
    assert migrate(empty_dsn) == [*later, "0999-bad"]


def test_a_rollback_that_fails_leaves_everything(dsn: str, folder: Path) -> None:
    (folder / "0001-schema.rollback.sql").write_text("SELECT 1 / 0;")
    before = catalog(dsn)
    with pytest.raises(psycopg.errors.DivisionByZero):
        rollback(dsn)
    assert catalog(dsn) == before
    assert applied(dsn) == set(known_ids())


def test_several_that_migrate_at_once_all_succeed(empty_dsn: str) -> None:
    answers: list[list[str] | Exception] = []

    def run() -> None:
        try:
            answers.append(migrate(empty_dsn))
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers, key=str) == [known_ids(), [], [], [], []]
    assert applied(empty_dsn) == set(known_ids())


def test_one_waits_for_another_that_is_still_migrating(empty_dsn: str, connect: Connect) -> None:
    holder = connect(dsn=empty_dsn)
    holder.execute("SELECT pg_advisory_lock(%s)", [migrations._LOCK])
    answers: list[list[str]] = []
    second = threading.Thread(target=lambda: answers.append(migrate(empty_dsn)))
    second.start()
    second.join(0.5)
    assert second.is_alive() and not answers
    holder.close()
    second.join(30)
    assert answers == [known_ids()]


def test_a_schema_without_record_is_refused_in_words(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("CREATE SCHEMA rowhook")
    with pytest.raises(ConfigError, match="has a schema rowhook, but no record of its migrations"):
        migrate(empty_dsn)


def test_the_yoyo_command_at_work_is_not_disturbed(empty_dsn: str, connect: Connect) -> None:
    migrate(empty_dsn)
    other = connect(dsn=empty_dsn)
    other.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 4711)")
    with pytest.raises(ConfigError, match=r"process 4711 is migrating .* run: yoyo break-lock"):
        rollback(empty_dsn)
    other.execute("DELETE FROM yoyo_lock")
    assert rollback(empty_dsn) == known_ids()[::-1]


# --- does this version fit? --------------------------------------------------------------------------------


def test_problem_names_what_is_wrong_and_what_to_do() -> None:
    everything = set(known_ids())
    assert problem(everything, "shop") is None
    assert problem(everything | {"20260101_01_abcde-of-the-application"}, "shop") is None
    assert str(problem(set(), "shop")) == "database shop has no Rowhook schema: run: rowhook migrate"
    missing = problem(everything - {"0009-emit", "0010-views"}, "shop")
    assert str(missing) == "database shop lacks the migrations 0009-emit, 0010-views: run: rowhook migrate"
    newer = problem(everything | {"0998-x", "0999-y"}, "shop")
    assert newer is not None
    assert newer.message == "database shop has newer migrations (0998-x, 0999-y)"
    assert newer.remedy.startswith("upgrade rowhook")


async def test_check_refuses_what_problem_finds(empty_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_dsn, autocommit=True) as connection:
        with pytest.raises(ConfigError, match="has no Rowhook schema"):
            await check(connection)
        migrate(empty_dsn)
        await check(connection)
        await connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0010-views'")
        with pytest.raises(ConfigError, match="lacks the migrations 0010-views"):
            await check(connection)


def test_a_database_that_is_ahead_is_left_alone(dsn: str, connect: Connect) -> None:
    connect().execute(
        "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc) VALUES ('x', '0999-later', now())"
    )
    before = catalog(dsn)
    for change in (migrate, rollback):
        with pytest.raises(ConfigError, match=r"newer migrations \(0999-later\): upgrade rowhook"):
            change(dsn)
    assert catalog(dsn) == before


async def test_the_record_is_found_whatever_the_search_path(empty_dsn: str, connect: Connect) -> None:
    connection = connect(dsn=empty_dsn)
    connection.execute('CREATE SCHEMA "App 1"; CREATE SCHEMA later')
    database = connection.info.dbname
    connection.execute(f'ALTER DATABASE {database} SET search_path = "App 1"')
    assert migrate(empty_dsn) == known_ids()
    assert one(connect(dsn=empty_dsn), "SELECT to_regclass('\"App 1\"._yoyo_migration') IS NOT NULL")

    for path in ("later", "public", "''"):
        connection.execute(f"ALTER DATABASE {database} SET search_path = {path}")
        assert migrate(empty_dsn) == []
        assert applied(empty_dsn) == set(known_ids())
        async with await psycopg.AsyncConnection.connect(empty_dsn) as checked:
            await check(checked)
    assert rollback(empty_dsn) == known_ids()[::-1]


def test_a_temporary_table_is_not_taken_for_the_record(dsn: str, connect: Connect) -> None:
    connection = connect()
    connection.execute("CREATE TEMP TABLE _yoyo_migration (migration_id text)")
    assert applied_ids(connection) == set(known_ids())


# --- connection strings ------------------------------------------------------------------------------------

PASSWORD = "p@ss w/ö:rd%20?#&='\\\"[1]"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What psycopg.connect is called with; it then fails."""
    seen: dict[str, Any] = {}

    def connect(**parameters: Any) -> None:
        seen.update(parameters)
        raise psycopg.OperationalError("not really")

    monkeypatch.setattr(psycopg, "connect", connect)
    return seen


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://ann@db.example.com:5433/shop", {"host": "db.example.com", "port": "5433", "user": "ann"}),
        ("postgres://ann@[2001:db8::1]:5433/shop", {"host": "2001:db8::1", "port": "5433"}),
        ("postgresql:///shop?host=/tmp/my%20socket&user=ann", {"host": "/tmp/my socket", "user": "ann"}),
        ("postgresql://%2Ftmp%2Fs/shop", {"host": "/tmp/s"}),
        ("postgresql://a:1,b:2/shop?target_session_attrs=primary", {"host": "a,b", "target_session_attrs": "primary"}),
        ("host=/tmp/s dbname=shop user=ann", {"host": "/tmp/s", "user": "ann"}),
        ("dbname=shop options='-c statement_timeout=1s'", {"options": "-c statement_timeout=1s"}),
        (r"dbname=shop password='it\'s \\'", {"password": "it's \\"}),
        ("postgresql://ann:p%40ss%3A%2F%3F%23%5B%5D%25@h/shop?sslmode=require", {"password": "p@ss:/?#[]%"}),
        ("postgresql://h/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem", {"sslrootcert": "/etc/ca.pem"}),
    ],
)
def test_a_connection_string_reaches_psycopg_unharmed(given: dict[str, Any], dsn: str, expected: dict[str, str]) -> None:
    with pytest.raises(psycopg.OperationalError, match="not really"):
        migrate(dsn)
    assert expected.items() <= given.items()
    assert given["dbname"] == "shop"


def test_over_the_unix_socket(cluster: Cluster, empty_dsn: str) -> None:
    database = empty_dsn.rpartition("/")[2]
    assert migrate(cluster.socket_dsn(database)) == known_ids()
    assert migrate(f"postgresql:///{database}?host={cluster.socket_dir}&port={cluster.port}&user=postgres") == []


def test_with_a_password_of_special_characters(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster()
    with cluster.connect() as connection:
        connection.execute(psycopg.sql.SQL("CREATE ROLE ann LOGIN SUPERUSER PASSWORD {}").format(psycopg.sql.Literal(PASSWORD)))
        hba = cluster.data_dir / "pg_hba.conf"
        hba.write_text("host all ann all scram-sha-256\n" + hba.read_text())
        connection.execute("SELECT pg_reload_conf()")
    database = cluster.create_database()
    with pytest.raises(psycopg.OperationalError, match="password"):
        migrate(cluster.dsn(database, user="ann", password="wrong"))
    assert migrate(cluster.dsn(database, user="ann", password=PASSWORD)) == known_ids()


def test_a_server_that_is_not_there_is_psycopgs_error(cluster: Cluster) -> None:
    with pytest.raises(psycopg.OperationalError):
        migrate("postgresql://postgres@127.0.0.1:1/postgres")


# --- who migrates ------------------------------------------------------------------------------------------


def test_any_owner_of_the_database_may_migrate_and_capture(
    start_cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    """In a new cluster: a plain owner, one who may create roles, another plain one, a superuser."""
    cluster = start_cluster()
    with cluster.connect() as connection:
        connection.execute("""
            CREATE ROLE plain LOGIN; CREATE ROLE maker LOGIN CREATEROLE; CREATE ROLE late LOGIN; CREATE ROLE app LOGIN
        """)
    assert capture_as(cluster, "plain", caplog) == ("plain", ["may not create role rowhook_capture"])
    assert capture_as(cluster, "maker", caplog) == ("rowhook_capture", [])
    assert capture_as(cluster, "late", caplog) == ("late", ["is not a member of rowhook_capture"])
    assert capture_as(cluster, "postgres", caplog) == ("rowhook_capture", [])


def capture_as(cluster: Cluster, owner: str, caplog: pytest.LogCaptureFixture) -> tuple[str, list[str]]:
    """Migrate a database as its owner, capture, write as the application and roll back.

    Answers who owns the capture functions, and which of the known warnings came.
    """
    caplog.clear()
    database = cluster.create_database()
    with cluster.connect() as connection:
        connection.execute(f"ALTER DATABASE {database} OWNER TO {owner}")
    dsn = cluster.dsn(database, user=owner)
    assert migrate(dsn) == known_ids()
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY); GRANT INSERT, SELECT, UPDATE ON orders TO app")
        for on_error in ("abort", "record"):
            assert one(connection, "SELECT rowhook.capture('orders', on_error => %s)", on_error) in ("installed", "changed")
        assert one(connection, "SELECT rowhook.capture('orders')") == "unchanged"
        with psycopg.connect(cluster.dsn(database, user="app"), autocommit=True) as app:
            app.execute("INSERT INTO orders VALUES (1)")
            app.execute("UPDATE orders SET id = 2")
        connection.execute("UPDATE rowhook.probe SET rung_at = clock_timestamp()")
        assert one(connection, "SELECT count(*) FROM rowhook.event") == 3
        assert one(connection, "SELECT count(*) FROM rowhook.capture_failure") == 0
        owners = connection.execute(
            "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE proname ~ '^capture_(\\d|probe)'"
        ).fetchall()
        (function_owner,) = [row[0] for row in owners]
    assert rollback(dsn) == known_ids()[::-1]
    assert migrate(dsn) == known_ids()
    known = ["may not create role rowhook_capture", "is not a member of rowhook_capture"]
    return function_owner, [text for text in known for message in warned if text in message]


# --- where the files are -----------------------------------------------------------------------------------


def test_in_a_checkout_the_migrations_lie_beside_the_package() -> None:
    assert migrations_folder() == SQL


def test_in_a_wheel_the_migrations_lie_inside_the_package(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "relay"
    shutil.copytree(SQL, package / "_sql")
    shutil.copytree(SQL, tmp_path / "site-packages" / "sql")  # another distribution's, perhaps
    assert migrations_folder(package) == package / "_sql"
    shutil.rmtree(package / "_sql")
    assert migrations_folder(package) == tmp_path / "site-packages" / "sql"


def test_migrations_inside_the_package_are_applied(empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "relay"
    shutil.copytree(SQL, package / "_sql")
    monkeypatch.setattr(migrations, "migrations_folder", lambda: migrations_folder(package))
    assert migrate(empty_dsn) == known_ids()
