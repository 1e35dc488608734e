"""Rules put out of force by hand: for each, a test that must fail then. `python -m tests.torture.mutants`, or `make mutants`.

Each mutant is a real edit in a copy of the tree, and the test runs there. Exit 0 if every one was found out, 1 if one survived.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
TEST_WITHIN = 300.0

Edit = tuple[str, str, str]  # file, what stands there once, what takes its place


@dataclass(frozen=True, slots=True)
class Mutant:
    """``name`` in the words of the rule that it breaks; each of ``tests`` passes without it, and must fail with it."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


LOOK, CURSOR = "sql/0025-look.sql", "tests/pipeline/test_cursor.py"

MUTANTS = (
    Mutant(
        "cursor by max id",
        (
            (
                LOOK,
                "WHERE e.xid = x.xid AND e.id > _cursor.position AND pg_visible",
                "WHERE false AND e.xid = x.xid AND e.id > _cursor.position AND pg_visible",
            ),
            (
                LOOK,
                "           AND e.xid >= pg_snapshot_xmax(_cursor.seen) AND e.xid < pg_snapshot_xmax(_cursor.target)",
                "           AND e.id > _cursor.highest_id AND e.xid < pg_snapshot_xmax(_cursor.target)",
            ),
        ),
        (f"{CURSOR}::test_an_event_that_commits_after_a_later_id_is_dispatched", "tests/pipeline/test_exactness.py"),
    ),
    Mutant(
        "no look after arming",
        (
            (
                "relay/doorbell.py",
                "        found = await look()\n        pause = FIRST_PAUSE",
                "        found = False\n        return found",
            ),
        ),
        (
            "tests/pipeline/test_doorbell.py::test_a_writer_that_saw_the_bell_unarmed_is_waited_for",
            "tests/pipeline/test_doorbell.py::test_locks_are_asked_for_before_the_look_never_after",
        ),
    ),
    Mutant(
        "lease by time only",
        (
            (
                "relay/queries/lease.sql",
                "AND i.id NOT IN (SELECT h.id FROM held AS h)) AS dead",
                "AND i.beat_at < clock_timestamp() - interval '60 s') AS dead",
            ),
        ),
        ("tests/pipeline/test_takeover.py::test_the_work_of_a_killed_relay_is_taken_up_by_the_other_within_two_seconds",),
    ),
    Mutant(
        "record without fencing",
        (
            (
                "relay/queries/record.sql",
                "d.state = 'leased' AND d.instance_id = r.instance_id AND d.attempts = r.number AS holds",
                "true AS holds",
            ),
        ),
        (
            "tests/pipeline/test_lease.py::test_a_late_result_fills_its_lost_attempt_and_nothing_else[rule]",
            "tests/pipeline/test_lease.py::test_a_late_result_of_try_1_does_not_close_try_2[rule]",
        ),
    ),
    Mutant(
        "recording before the answer",
        (
            (
                "relay/flight.py",
                "outcome = await self._attempt(delivery)\n",
                "self._on_result(conclude(delivery, Outcome(time.monotonic(), 0.0, 200)))\n"
                "                    outcome = await self._attempt(delivery)\n",
            ),
            (
                "relay/flight.py",
                "                    self._on_result(conclude(delivery, outcome))\n",
                "",
            ),
        ),
        ("tests/pipeline/test_retries.py::test_two_failures_then_success",),
    ),
)


def edited(text: str, old: str, new: str) -> str:
    """Raises ValueError where the rule is written otherwise than this program knows it."""
    if text.count(old) != 1:
        raise ValueError(f"{text.count(old)} times instead of once: {old}")
    return text.replace(old, new)


def copy(into: Path) -> None:
    """The files that git knows, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)


def failure(mutant: Mutant | None, tests: Sequence[str]) -> str:
    """How the tests fail on a copy with this mutant, empty if they pass. Raises RuntimeError when they could not be run."""
    with tempfile.TemporaryDirectory(prefix="rh-mutant-") as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        copy(tree)
        for name, old, new in mutant.edits if mutant else ():
            (tree / name).write_text(edited((tree / name).read_text("utf-8"), old, new), "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        # The copy first: this environment may hold an editable install of the tree itself.
        variables = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(command, cwd=tree, env=variables, capture_output=True, text=True, timeout=TEST_WITHIN, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run: {done.stdout}{done.stderr}")
    first = next((line for line in done.stdout.splitlines() if line.startswith("E  ")), "E  it failed")
    return first.removeprefix("E").strip() if done.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(mutant.name for mutant in MUTANTS)}")
    names = parser.parse_args().names
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    table = Table("mutant", "test", "fails with", show_lines=True)
    survived = False
    for mutant in (m for m in MUTANTS if not names or m.name in names):
        for test in mutant.tests:
            if failed := failure(None, [test]):
                raise RuntimeError(f"{test} fails without any mutant: {failed}")
            found = failure(mutant, [test])
            survived |= not found
            table.add_row(mutant.name, test.replace("::", "\n"), found or "NOT FOUND OUT")
    Console(width=180).print(table)
    return int(survived)


if __name__ == "__main__":
    sys.exit(main())
