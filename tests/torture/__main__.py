"""`python -m tests.torture`: exit 0 if no invariant was violated and no ring missed without a reason, 1 if so.

2 is for a mistake in the arguments.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from tests.torture import docs, report
from tests.torture.run import Run, judge_again, run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the nemesis works (default 600)")
    parser.add_argument("--seed", type=int, help="its schedule and the writers' choices; a new one is made if none is given")
    parser.add_argument("--json", action="store_true", help="one object on standard output instead of tables")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/reliability.md")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the relays' logs and the receivers' journal there")
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="run nothing: judge again what was kept there")
    given = parser.parse_args()
    if given.seconds < 5:
        parser.error(f"--seconds {given.seconds:g}: give 5 or more")
    return given


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - how far it is


def main() -> int:
    given = arguments()
    done = _done(given)
    if given.json:
        print(report.as_json(done))  # noqa: T201 - what it is asked for
    else:
        report.to_terminal(done)
    if given.write_docs:
        docs.write(docs.row(report.figures(done), report.faults(done)))
    return 1 if done.violations or done.rings.unexplained else 0


def _done(given: argparse.Namespace) -> Run:
    if given.judge is None:
        return run(given.seconds, secrets.randbits(31) if given.seed is None else given.seed, say, given.keep)
    try:
        return judge_again(given.judge)
    except OSError as error:
        say(f"--judge {given.judge}: no run was kept there ({error.strerror}); --keep FOLDER keeps one")
        sys.exit(2)


if __name__ == "__main__":
    sys.exit(main())
