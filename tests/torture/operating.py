"""What an operator does meanwhile: the real commands, in processes of their own, tried again while Postgres is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.pipeline.relays import environment

ROOT = Path(__file__).parents[2]
WITHIN = 120.0  # on a machine that is busy with all of this, Postgres may seem away for long


class CommandError(Exception):
    """A command refused for another reason than an absent database."""


def rowhook(dsn: str, *arguments: str, stdin: str = "", may_fail: bool = False) -> Any:
    """Run the command with --json; what it printed. ``may_fail``: exit 1 is an answer too."""
    deadline = time.monotonic() + WITHIN
    while True:
        done = _run(dsn, arguments, stdin)
        if done.returncode == 0 or (may_fail and done.returncode == 1 and done.stdout):
            return json.loads(done.stdout)
        if time.monotonic() > deadline or not _is_outage(done.stderr):
            raise CommandError(f"rowhook {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        time.sleep(0.5)


def understands(*arguments: str, option: str) -> bool:
    """Whether a command has this option, by its own help."""
    return option in _run("postgresql://nowhere/none", (*arguments, "--help"), "", json_too=False).stdout


def _run(dsn: str, arguments: tuple[str, ...], stdin: str, *, json_too: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", *arguments, *(["--json"] if json_too else [])]
    # Wide, so that no option of a help text is cut.
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment(dsn)}
    return subprocess.run(command, cwd="/", env=variables, input=stdin, capture_output=True, text=True, timeout=90, check=False)


def _is_outage(said: str) -> bool:
    words = (
        "does not connect",
        "connection",
        "terminating",
        "starting up",
        "shutting down",
        "recovery",
        "lost",
        "timeout",
        "deadlock",
    )
    return any(word in said for word in words)
