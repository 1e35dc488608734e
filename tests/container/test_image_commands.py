"""What the image runs, run without a container engine: the Dockerfile's own commands, on an installed wheel.

The wheel goes into a fresh environment; its commands run in an empty folder, as a user that owns nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.cluster import as_user, free_port, reachable_folder
from tests.keys import KEY

ROOT = Path(__file__).parents[2]
OS_USER = "nobody" if os.geteuid() == 0 else None
HEALTHY_WITHIN = 60.0
STOPPED_WITHIN = 30.0

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Image:
    """What the Dockerfile's last stage says about running."""

    start: list[str]
    healthcheck: list[str]
    environment: Mapping[str, str]
    user: str


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> Image:
    """The instructions of the last stage; of each kind the last one counts, as for Docker."""
    lines = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    instructions = re.sub(r"\\\n\s*", " ", lines).splitlines()
    start: list[str] = []
    healthcheck: list[str] = []
    environment: dict[str, str] = {}
    user = "root"
    for instruction in instructions:
        name, _, rest = instruction.partition(" ")
        match name:
            case "FROM":
                start, healthcheck, environment, user = [], [], {}, "root"
            case "CMD":
                start = json.loads(rest)
            case "HEALTHCHECK":
                healthcheck = json.loads(rest[rest.index("CMD ") + 4 :])
            case "ENV":
                environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "USER":
                user = rest.strip()
    return Image(start, healthcheck, environment, user)


def _python_for(os_user: str | None) -> str:
    """An interpreter that the user may run; one in root's home is not."""
    fit = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    candidates = [str(Path(sys.executable).resolve()), "/usr/bin/python3"]
    for python in candidates:
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", fit], cwd="/", check=False, **as_user(os_user)).returncode == 0:
                return python
    raise AssertionError(f"{os_user} can run none of {candidates} (Python 3.11 or newer, with venv)")


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The bin folder of a fresh environment into which the wheel is installed."""
    folder = reachable_folder("rh-image-", None)
    folder.chmod(0o755)
    try:
        wheels = folder / "wheels"
        _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, ROOT)
        (wheel,) = wheels.glob("rowhook-*.whl")
        _run(_python_for(OS_USER), "-m", "venv", folder / "venv")
        pip = (folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input")
        _run(*pip, "--disable-pip-version-check", wheel)
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


@contextlib.contextmanager
def _started(command: list[str], cwd: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (cwd.parent / f"{cwd.name}.log").open("w+b") as log:
        Path(log.name).unlink()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user(OS_USER),
        )
        try:
            yield process
        except BaseException as failure:
            log.seek(0)
            failure.add_note(f"what it printed:\n{log.read().decode(errors='replace')}")
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], cwd: Path, env: Mapping[str, str]) -> None:
    """As Docker does it: run the check again and again until it exits 0."""
    deadline = time.monotonic() + HEALTHY_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the start command ended with {process.returncode}"
        check = subprocess.run(
            read_dockerfile().healthcheck,
            cwd=cwd,
            env=env,
            capture_output=True,
            check=False,
            **as_user(OS_USER),
        )
        if check.returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(f"not healthy within {HEALTHY_WITHIN:.0f} s: {check.stderr.decode()}")


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
    with _started(read_dockerfile().start, empty_folder, environment) as process:
        _wait_until_healthy(process, empty_folder, environment)
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
        with _started(read_dockerfile().start, empty_folder, environment) as process:
            _wait_until_healthy(process, empty_folder, environment)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOPPED_WITHIN) == 0
