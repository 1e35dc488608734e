"""Who is measured beside Rowhook: the program of each, how many processes it may have, its version and configuration in words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.rivals import install


@dataclass(frozen=True, slots=True)
class Rival:
    """A peer. ``runtime`` gives the command before the program, and raises MissingError where it can't."""

    name: str
    program: str
    runtime: Callable[[bool], list[str]]
    configuration: str
    unfinished: str = ""  # asks its database whether any job is; without one, there is no queue and it reads the file of bodies
    shares: bool = True  # several processes may work on one queue
    fewer: int = 1  # divides the number of jobs: for one whose run would take longer than all the others' together

    @property
    def note(self) -> str:
        version = _versions().get(self.name)
        return f"{self.name}{f' {version}' if version else ''}: {self.configuration}"


def _here(_install: bool) -> list[str]:
    return [sys.executable, "-m"]


RIVALS = (
    Rival(
        "graphile-worker",
        "graphile_worker.mjs",
        install.node,
        "LocalQueue of 500, refetch delay 10 ms, completions batched for 100 ms, 64 jobs at once, undici with 64 connections",
        "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs)",
    ),
    Rival(
        "pg-boss",
        "pg_boss.mjs",
        install.node,
        "two work() of batchSize 500, each posted together, notifyWorker() after each, undici with 64 connections",
        "SELECT EXISTS (SELECT FROM pgboss.job WHERE name = 'post' AND state < 'completed')",
    ),
    Rival(
        "pgqueuer",
        "benchmarks.rivals.pgqueuer_worker",
        install.python,
        "batches of 1,000, 2,000 jobs at once at most, asyncpg, uvloop, aiohttp with 64 connections",
        "SELECT EXISTS (SELECT FROM pgqueuer)",
    ),
    Rival(
        "procrastinate",
        "benchmarks.rivals.procrastinate_worker",
        install.python,
        "a quarter of the jobs, as it is slow; 30 at once, done ones deleted, psycopg in C, uvloop, aiohttp with 30 connections",
        "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))",
        fewer=4,
    ),
    Rival(
        "a thread per delivery",
        "benchmarks.rivals.threads",
        _here,
        "Python, http.client, a connection each, 64 threads at most; bodies from memory, no queue and no database",
        shares=False,
    ),
)


def _versions() -> dict[str, str]:
    """Exact versions, as pinned."""
    pins: dict[str, str] = json.loads((install.HERE / "package.json").read_text())["dependencies"]
    requirements = (install.HERE / "requirements.txt").read_text()
    return pins | dict(re.findall(r"(?m)^([a-z]+)(?:\[.*\])?==(\S+)$", requirements))
