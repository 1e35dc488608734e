"""Which tests can this machine run?

Tier 1 needs Python packages alone. A wider tier is a pytest marker and a tool that no Python package brings
along; where the tool is missing its tests are left out, and said so, unless every tier is asked for
(ROWHOOK_TEST_TIERS=all, or CI=true).

    python -m tests.tiers                   a line for each tier left out; exit 1 if every tier is asked for
    python -m tests.tiers --has postgres15  exit 0 if that tier can run
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POSTGRES_15_BIN = Path("/usr/lib/postgresql/15/bin")


@dataclass(frozen=True)
class Tier:
    """A marker, what its tests show, how its tool is found, and the Debian package that holds it."""

    marker: str
    covers: str
    available: Callable[[], bool]
    install: str

    def left_out(self) -> str:
        return f"tier {self.marker} ({self.covers}) is left out; it needs: {self.install}"


def _on_path(command: str) -> Callable[[], bool]:
    return lambda: found(command) is not None


def found(command: str) -> str | None:
    """Debian puts daemons where only root looks."""
    return shutil.which(command, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


TIERS = (
    Tier("node", "JavaScript examples of the docs", _on_path("node"), "apt-get install nodejs"),
    Tier("pgbouncer", "PgBouncer in between", _on_path("pgbouncer"), "apt-get install pgbouncer"),
    Tier("compose", "compose files", _on_path("docker-compose"), "apt-get install docker-compose"),
    Tier("chromium", "the API's reference page in a browser", _on_path("chromium"), "apt-get install chromium"),
    Tier(
        "postgres15",
        "the suite again on Postgres 15",
        (POSTGRES_15_BIN / "postgres").exists,
        "apt-get install postgresql-15",
    ),
)


def all_required() -> bool:
    """Is a missing tool, or a skipped test, a failure of the run?"""
    return os.environ.get("ROWHOOK_TEST_TIERS") == "all" or os.environ.get("CI") == "true"


def missing() -> list[Tier]:
    return [tier for tier in TIERS if not tier.available()]


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--has"]:
        (tier,) = (tier for tier in TIERS if tier.marker == arguments[1])
        return 0 if tier.available() else 1
    absent = missing()
    for tier in absent:
        print(tier.left_out(), file=sys.stderr)  # noqa: T201 - the purpose of this program
    return 1 if absent and all_required() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
