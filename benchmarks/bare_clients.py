"""Bare clients beside the benchmark, each a process that waits for its turn (`python -m benchmarks.client`)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.clock import Clock
from benchmarks.programs import ROOT
from benchmarks.sinks import Sink
from benchmarks.warm import Run


@contextlib.contextmanager
def bare_client(kind: str, bodies: Path, number: int, receiver: Sink) -> Iterator[Callable[[], Run]]:
    """Warm already; each call of what is yielded posts all bodies once, timed as the relay is. It ends with the block."""
    command = [sys.executable, "-m", "benchmarks.client", kind, str(bodies), receiver.url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, said = process.stdin, process.stdout

        def check() -> None:
            if process.poll() is not None:
                raise RuntimeError(f"the bare {kind} client ended with exit code {process.returncode}")

        def post_all() -> Run:
            clock = Clock(receiver, number)
            told.write("go\n")
            told.flush()
            clock.run(check)
            return Run(clock.rate(), 1e6 * float(said.readline()) / number)

        try:
            if said.readline() != "ready\n":
                raise RuntimeError(f"the bare {kind} client did not start")
            yield post_all
        finally:
            told.close()
