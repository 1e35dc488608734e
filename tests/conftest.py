"""Fixtures: databases of a real Postgres, and a receiver. Tiers: which tests run here, and what a skip means.

A test that asks for `dsn` gets a fresh database with Rowhook migrated, a copy of one that was migrated once;
`finmind_dsn` adds FinMind's tables to the same database, and `finmind` captures its expenses. Roles belong to
the whole cluster: those that migrations make are there for every test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import psycopg
import pytest

from tests import tiers
from tests.cluster import Cluster, postgres_under_test
from tests.receiver import Receiver

FINMIND_SQL = Path(__file__).parents[1] / "relay" / "demo" / "finmind.sql"

Connection = psycopg.Connection[Any]

# A machine that others use is slow at times: that is no finding about the code.
hypothesis.settings.register_profile("shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared machine")


class Connect(Protocol):
    """Opens a connection to the test's database, or to another; it is closed when the test ends."""

    def __call__(self, autocommit: bool = True, dsn: str | None = None, **options: Any) -> Connection: ...


# --- databases ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The server that tests share. One that wants to stop or crash it starts its own (`start_cluster`)."""
    cluster = Cluster.start(*postgres_under_test())
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def start_cluster() -> Iterator[Callable[..., Cluster]]:
    """Start further servers of the same version, with settings of their own."""
    with contextlib.ExitStack() as started:

        def start(**settings: object) -> Cluster:
            cluster = Cluster.start(*postgres_under_test(), settings=settings)
            started.callback(cluster.remove)
            return cluster

        yield start


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """The name of a database that was migrated once; nobody writes to it."""
    from relay.migrations import migrate

    name = cluster.create_database("rowhook_template")
    migrate(cluster.dsn(name))
    return name


@pytest.fixture(scope="session")
def finmind_template(cluster: Cluster, template: str) -> str:
    """The same, with FinMind's tables."""
    name = cluster.create_database("finmind_template", template)
    with cluster.connect(name) as connection:
        connection.execute(FINMIND_SQL.read_text())
    return name


@contextlib.contextmanager
def _fresh(cluster: Cluster, template: str | None) -> Iterator[str]:
    name = cluster.create_database(template=template)
    try:
        yield cluster.dsn(name)
    finally:
        cluster.drop_database(name)


@pytest.fixture
def empty_dsn(cluster: Cluster) -> Iterator[str]:
    """A fresh database with nothing in it."""
    with _fresh(cluster, None) as dsn:
        yield dsn


@pytest.fixture
def dsn(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[str]:
    """A fresh database with Rowhook migrated; with FinMind's tables if the test asks for those in any way."""
    wanted = "finmind_template" if "finmind_dsn" in request.fixturenames else "template"
    with _fresh(cluster, request.getfixturevalue(wanted)) as dsn:
        yield dsn


@pytest.fixture
def finmind_dsn(dsn: str) -> str:
    """The test's database, with FinMind's tables."""
    return dsn


@pytest.fixture
def finmind(finmind_dsn: str) -> str:
    """The test's database, with FinMind's tables and `expenses` captured."""
    with psycopg.connect(finmind_dsn) as connection:
        connection.execute("SELECT rowhook.capture('expenses', tenant => 'user_id')")
    return finmind_dsn


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Open as many connections as the test wants."""
    with contextlib.ExitStack() as opened:

        def connect(autocommit: bool = True, dsn: str | None = None, **options: Any) -> Connection:
            dsn = dsn or request.getfixturevalue("dsn")
            connection = psycopg.connect(dsn, autocommit=autocommit, **options)
            opened.callback(connection.close)
            return connection

        # Made first, dropped last: the connections must be closed before their database goes.
        if "dsn" in request.fixturenames:
            request.getfixturevalue("dsn")
        yield connect


@pytest.fixture
def conn(dsn: str, connect: Connect) -> Connection:
    """An autocommit connection to the test's database."""
    return connect(dsn=dsn)


@pytest.fixture
def run_sql(conn: Connection) -> Callable[..., list[tuple[Any, ...]]]:
    """Run a statement on the test's database; its rows, if it has any."""

    def run_sql(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = conn.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    return run_sql


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


# --- tiers -------------------------------------------------------------------------------------------------

_skipped = pytest.StashKey[list[str]]()
_left_out = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_skipped] = []
    config.stash[_left_out] = {}
    config.pluginmanager.register(_SkipWatch(config), "rowhook-skips")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of tiers whose tool is missing, unless every tier is asked for."""
    absent = {} if tiers.all_required() else {tier.marker: tier for tier in tiers.missing()}
    left_out = []
    for item in items:
        reasons = [marker for marker in absent if item.get_closest_marker(marker)]
        if reasons:
            left_out.append(item)
            config.stash[_left_out][reasons[0]] = config.stash[_left_out].get(reasons[0], 0) + 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


class _SkipWatch:
    """Keeps what was skipped, while running or while collecting; an expected failure is not a skip."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._config.stash[_skipped].append(f"{report.nodeid}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where every tier is asked for, a skip is a failure."""
    green = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if tiers.all_required() and session.config.stash[_skipped] and session.exitstatus in green:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    by_marker = {tier.marker: tier for tier in tiers.TIERS}
    for marker, count in config.stash[_left_out].items():
        terminalreporter.write_line(f"{count} tests: {by_marker[marker].left_out()}", yellow=True)
    if tiers.all_required() and config.stash[_skipped]:
        terminalreporter.section("skipped, where every test must run", red=True)
        for line in config.stash[_skipped]:
            terminalreporter.write_line(line)
