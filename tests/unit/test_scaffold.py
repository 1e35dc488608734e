"""What the other tests stand on: a real server, databases of one's own, a receiver that forgets nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest
from aiohttp import web

from tests.cluster import Cluster
from tests.conftest import FINMIND_SQL
from tests.receiver import Receiver
from tests.versions import ONCE

ROOT = Path(__file__).parents[2]


def _post(url: str, body: bytes = b"{}") -> int:
    request = urllib.request.Request(url, data=body, headers={"X-Kind": "test"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_cluster_answers_over_tcp_and_socket(cluster: Cluster):
    for dsn in (cluster.dsn(), cluster.socket_dsn()):
        with psycopg.connect(dsn) as connection:
            row = connection.execute("SELECT current_user, current_setting('server_version_num')::int").fetchone()
        assert row is not None
        user, version = row
        assert user == "postgres"
        assert version // 10_000 == int(os.environ.get("ROWHOOK_TEST_POSTGRES", "18"))


def test_settings_reach_the_server(cluster: Cluster, start_cluster):
    other = start_cluster(max_prepared_transactions=5)
    assert other.port != cluster.port
    for server, expected in ((cluster, "0"), (other, "5")):
        with server.connect() as connection:
            assert connection.execute("SHOW max_prepared_transactions").fetchone() == (expected,)


def test_databases_are_independent(cluster: Cluster, empty_dsn: str):
    another = cluster.create_database()
    try:
        with psycopg.connect(empty_dsn) as connection:
            connection.execute("CREATE TABLE only_here ()")
        with cluster.connect(another) as connection:
            assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
    finally:
        cluster.drop_database(another)


@pytest.mark.parametrize("end", [Cluster.stop, Cluster.kill, lambda cluster: cluster.stop("immediate")])
def test_server_comes_back_on_its_port_with_its_data(start_cluster, end):
    cluster = start_cluster()
    with cluster.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1")
        pid = cluster.pid
        end(cluster)
        assert not cluster.running
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    cluster.launch()
    assert cluster.pid != pid
    with cluster.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)


def test_what_runs_on_one_version_alone_asks_for_no_server_under_test(request: pytest.FixtureRequest):
    """Says something where the run includes those, as `make test` does."""
    alone = [item for item in request.session.items if item.nodeid.startswith(ONCE)]
    assert [item.nodeid for item in alone if {"cluster", "start_cluster"} & set(getattr(item, "fixturenames", ()))] == []
    for path in ONCE:
        assert (ROOT / path).exists()
        for file in [ROOT / path, *(ROOT / path).rglob("*.py")]:
            assert file.is_dir() or "postgres_under_test" not in file.read_text()


def test_server_ends_with_the_run_that_started_it():
    """kill -9 of a test run leaves no server behind."""
    program = (
        "from tests.cluster import Cluster, postgres_under_test\n"
        "cluster = Cluster.start(*postgres_under_test())\n"
        "print(cluster.pid, flush=True); input()"
    )
    run = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    server = int(run.stdout.readline())
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{server}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break  # ended; whoever inherited it has not looked yet
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{server}/stat").exists()


def test_finmind_tables_load(empty_dsn: str):
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(FINMIND_SQL.read_text())
        connection.execute("INSERT INTO users (email, password_hash) VALUES ('a@example.com', 'x')")
        connection.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 99.50)")
        tables = connection.execute(
            "SELECT array_agg(relname::text ORDER BY relname) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchone()
        assert tables == (["bills", "categories", "expenses", "recurring_expenses", "reminders", "users"],)
        assert connection.execute("SELECT amount::text, currency FROM expenses").fetchone() == (
            "99.50",
            "INR",
        )


def test_receiver_keeps_a_journal(receiver: Receiver):
    body = b'{"amount": 99.50}\x00\xff'
    assert _post(receiver.url("/hook?a=1"), body) == 200
    (received,) = receiver.wait_for(1)
    assert (received.method, received.path, received.query, received.body) == ("POST", "/hook", "a=1", body)
    assert received.headers["x-KIND"] == "test"
    assert abs(received.wall - time.time()) < 5
    assert received.at <= time.monotonic()


def test_receiver_answers_as_told(receiver: Receiver):
    receiver.answer("/flaky", [500, 429, 204])
    receiver.answer("/echo", lambda request: web.Response(status=202, text=request.path))
    assert [_post(receiver.url("/flaky")) for _ in range(4)] == [500, 429, 204, 204]
    assert _post(receiver.url("/echo")) == 202
    assert _post(receiver.url("/other")) == 200
    assert len(receiver.wait_for(4, path="/flaky")) == 4
    with pytest.raises(AssertionError, match="1 of 2"):
        receiver.wait_for(2, timeout=0.05, path="/echo")


def test_receiver_goes_away_and_comes_back(receiver: Receiver):
    url = receiver.url()
    receiver.stop()
    with pytest.raises(urllib.error.URLError):
        _post(url)
    receiver.start()
    assert _post(url) == 200


async def test_receiver_serves_an_async_test(receiver: Receiver):
    sending = asyncio.create_task(asyncio.to_thread(_post, receiver.url()))
    assert len(await receiver.arrived(1)) == 1
    assert await sending == 200


@pytest.mark.parametrize(("tiers", "expected"), [("all", 1), ("", 0)])
def test_a_skip_fails_the_run_where_every_tier_is_asked_for(tmp_path: Path, tiers: str, expected: int):
    (tmp_path / "test_sample.py").write_text("import pytest\ndef test_it():\n    pytest.skip('no reason')\n")
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "ROWHOOK_TEST_TIERS": tiers},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    assert ("every test must run" in done.stdout) == (expected == 1)
