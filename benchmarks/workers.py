"""Programs of other languages or environments that work until they are told to stop."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence

from benchmarks.programs import ROOT

STOP_WITHIN = 10.0


@contextlib.contextmanager
def workers(command: Sequence[str], number: int) -> Iterator[Callable[[], None]]:
    """So many processes of the command; what is yielded raises RuntimeError when one has failed. SIGTERM at the end."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        running: list[subprocess.Popen[bytes]] = []
        stack.callback(lambda: _stop(running))
        for _ in range(number):
            running.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

        def check() -> None:
            if any(process.poll() for process in running):
                log.seek(0)
                raise RuntimeError(f"{' '.join(command[-4:])} failed: {log.read()[-2000:].decode(errors='replace')}")

        yield check


def _stop(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
