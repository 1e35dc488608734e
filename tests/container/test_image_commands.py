"""What the image runs, run without a container engine: the Dockerfile's own CMD, on what its own pip commands installed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.container.image import ROOT, STOPPED_WITHIN, read_dockerfile, started, wait_until_healthy

pytestmark = pytest.mark.timeout(300)


def test_dockerfile_runs_as_nobody_special():
    image = read_dockerfile()
    assert image.user.isdecimal()
    assert int(image.user) > 0
    assert image.start[:2] == ["sh", "-c"]
    assert "exec rowhook run" in image.start[2]  # so that SIGTERM reaches the relay
    assert image.healthcheck[0] == "python"  # the slim image has no curl


def test_wheel_carries_migrations_and_queries(installed: Path):
    """Whatever is in sql/, and every .sql file of the package, is installed."""
    (package,) = installed.parent.glob("lib/python*/site-packages/relay")
    assert _names(ROOT / "sql") <= _names(package / "_sql")
    shipped = {path.relative_to(package) for path in package.rglob("*.sql")}
    assert {path.relative_to(ROOT / "relay") for path in (ROOT / "relay").rglob("*.sql")} <= shipped


def _names(folder: Path) -> set[str]:
    names = {path.name for path in folder.glob("*.sql")}
    assert names
    return names


def test_healthcheck_fails_where_nothing_listens(environment: dict[str, str], empty_folder: Path):
    command = read_dockerfile().healthcheck
    check = subprocess.run(command, cwd=empty_folder, env=environment, capture_output=True, check=False)
    assert check.returncode != 0


def test_image_starts_captures_and_stops(environment: dict[str, str], empty_folder: Path, database: str):
    """An empty database to a healthy relay, in one start; healthy means that the tables are captured."""
    with started(read_dockerfile().start, empty_folder, environment) as process:
        wait_until_healthy(process, empty_folder, environment)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("INSERT INTO expenses (user_id, amount) VALUES (7, 99.50)")
            events = connection.execute("SELECT type, tenant FROM rowhook.event WHERE table_name = 'expenses'").fetchall()
        assert events == [("expense.created", "7")]
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPED_WITHIN) == 0
    assert list(empty_folder.iterdir()) == []


def test_image_starts_again_on_the_same_database(environment: dict[str, str], empty_folder: Path, database: str):
    """Nothing to migrate and nothing to capture is no reason to fail."""
    for _ in range(2):
        with started(read_dockerfile().start, empty_folder, environment) as process:
            wait_until_healthy(process, empty_folder, environment)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOPPED_WITHIN) == 0
