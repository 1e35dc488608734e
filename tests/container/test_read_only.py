"""The image's command where nothing but /tmp can be written, as its own user without a capability: as the compose files have it.

A mount namespace makes what the container engine would. Run by root it changes to the image's user; run by anybody else it is
root of a user namespace, and nobody outside of it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest

from tests.container.image import STOPPED_WITHIN, read_dockerfile, started, wait_until_healthy

JAIL = Path(__file__).parent / "jail.sh"
IS_ROOT = os.geteuid() == 0
UNSHARE = ["unshare", *([] if IS_ROOT else ["--user", "--map-root-user"]), "--mount", "--propagation", "private"]
PLACES = ["/", "/etc", "/usr", "/var", "/var/tmp", "/run", "{venv}", "{venv}/bin", "{venv}/lib"]

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode != 0,
        reason="this machine lets nobody make a mount namespace (in a container: --cap-add SYS_ADMIN)",
    ),
]

Jailed = Callable[..., list[str]]


@pytest.fixture
def jailed(installed: Path) -> Jailed:
    """A command in the jail, as the image's user."""
    venv = str(installed.parent)
    uid = read_dockerfile().user if IS_ROOT else "same"
    return lambda *command: [*UNSHARE, str(JAIL), venv, uid, *command]


def test_nothing_but_tmp_can_be_written_not_even_by_root(installed: Path) -> None:
    places = " ".join(place.format(venv=installed.parent) for place in PLACES)
    probe = f"touch /tmp/mine && rm /tmp/mine && for at in {places}; do touch $at/mine 2>&1; done"
    done = subprocess.run(
        [*UNSHARE, str(JAIL), str(installed.parent), "same", "sh", "-c", probe], capture_output=True, text=True, check=False
    )
    refused = done.stdout.splitlines()
    assert len(refused) == len(PLACES), done
    assert all("Read-only file system" in line for line in refused), refused


def test_the_relay_runs_captures_and_stops(
    jailed: Jailed, environment: Mapping[str, str], empty_folder: Path, database: str
) -> None:
    image = read_dockerfile()
    with started(jailed(*image.start), empty_folder, environment, os_user=None) as process:
        wait_until_healthy(process, empty_folder, environment, command=jailed(*image.healthcheck), os_user=None)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"(?m)^NoNewPrivs:\t1$", status)
        if IS_ROOT:
            assert re.search(rf"(?m)^Uid:\t{image.user}\t{image.user}\t", status)
            assert re.findall(r"(?m)^Cap(?:Eff|Prm|Bnd|Inh|Amb):\t(\d+)$", status) == ["0" * 16] * 5
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("INSERT INTO expenses (user_id, amount) VALUES (7, 99.50)")
            events = connection.execute("SELECT type FROM rowhook.event WHERE table_name = 'expenses'").fetchall()
        assert events == [("expense.created",)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPPED_WITHIN) == 0


def test_every_command_works_there(jailed: Jailed, environment: Mapping[str, str]) -> None:
    """Nothing of the command line wants a cache, a home or a lock file either."""
    rowhook = "rowhook migrate && rowhook capture expenses && rowhook endpoint add https://example.com/ && rowhook endpoint list"
    done = subprocess.run(jailed("sh", "-c", rowhook), env={**environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "https://example.com/" in done.stdout
