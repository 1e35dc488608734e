"""What the tests of the image share: it is installed once, and each test has a database and a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cluster import free_port, reachable_folder
from tests.container.image import OS_USER, ROOT, context, pip_commands, python_for, read_dockerfile, run, shell
from tests.keys import KEY


@pytest.fixture(scope="session")
def installed() -> Iterator[Path]:
    """The bin folder of a fresh environment into which the Dockerfile's stages have installed."""
    folder = reachable_folder("rh-image-", None)
    folder.chmod(0o755)
    try:
        context(folder / "src")
        for stage, venv in ((1, "build"), (2, "venv")):
            run(python_for(OS_USER), "-m", "venv", folder / venv)
            for command in pip_commands(stage):
                shell(command.replace("/wheels", str(folder / "wheels")), folder / "src", folder / venv / "bin")
            shutil.copy(ROOT / "requirements" / "run.txt", folder / "wheels")  # as COPY does
        yield folder / "venv" / "bin"
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    folder = reachable_folder("rh-empty-", OS_USER)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def database(empty_dsn: str) -> str:
    """A database with a table `expenses`, which has never seen Rowhook."""
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("CREATE TABLE expenses (id serial PRIMARY KEY, user_id int NOT NULL, amount numeric(12, 2))")
    return empty_dsn


@pytest.fixture
def environment(installed: Path, database: str) -> dict[str, str]:
    """What the container's environment would be, and nothing of ours."""
    return {
        **read_dockerfile().environment,
        "PATH": f"{installed}:/usr/bin:/bin",
        "DATABASE_URL": database,
        "ROWHOOK_SECRET_KEY": KEY,
        "ROWHOOK_CAPTURE": "expenses:user_id",
        "ROWHOOK_API_LISTEN": f"127.0.0.1:{free_port()}",
    }
