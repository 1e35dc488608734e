"""The suite on each version of Postgres that this machine has, side by side: tests wait, too.

What asks for no server of the version under test runs once, where it takes long: it would say the same again.

python -m tests.versions    exit 1 if any failed; what the second one said comes when both are through
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from tests.tiers import TIERS

COMMAND = (sys.executable, "-m", "pytest")
SECOND = {"ROWHOOK_TEST_POSTGRES": "15"}
# The demo and the benchmarks bring a server along, the guard's tests need none (tests/unit/test_scaffold.py holds them to it).
ONCE = ("tests/demo", "tests/unit/test_benchmarks.py", "tests/unit/test_guard.py")
AGAIN = (*COMMAND, "-p", "no:cacheprovider", *(f"--ignore={path}" for path in ONCE))


def main() -> int:
    say(shlex.join(COMMAND))
    if not has_second():
        return subprocess.run(COMMAND, check=False).returncode
    said = " ".join([*(f"{name}={value}" for name, value in SECOND.items()), shlex.join(AGAIN)])
    say(f"{said}    # at the same time; its output follows")
    with tempfile.TemporaryFile() as output, beside(output) as second:
        first = subprocess.run(COMMAND, check=False).returncode
        say(f"\n{said}")
        ended = second.wait()
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return 1 if first or ended else 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def has_second() -> bool:
    (tier,) = (tier for tier in TIERS if tier.marker == "postgres15")
    return tier.available()


@contextlib.contextmanager
def beside(output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The suite on the second version; without a cache of its own, which both would write."""
    process = subprocess.Popen(AGAIN, env={**os.environ, **SECOND}, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
