"""Run benchmarks: all, or those that are named. Exit 1 when one failed to run; a missed bar is a verdict, not a failure."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial

from benchmarks import (
    api,
    backlog,
    captures,
    fanout,
    history,
    hostile,
    idle,
    isolation,
    latency,
    memory,
    peers,
    recovery,
    report,
    retention,
    retries,
    throughput,
    writers,
)
from benchmarks.figures import Figure, Say, Size

BENCHES: dict[str, Callable[[Size, Say], list[Figure]]] = {
    "api": api.run,
    "backlog": backlog.run,
    "captures": captures.run,
    "fanout": fanout.run,
    "history": history.run,
    "hostile": hostile.run,
    "idle": idle.run,
    "isolation": isolation.run,
    "latency": latency.run,
    "memory": memory.run,
    "peers": peers.run,
    "recovery": recovery.run,
    "retention": retention.run,
    "retries": retries.run,
    "throughput": throughput.run,
    "writers": writers.run,
}


SOAK = "retention"


def main(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    before = report.machine()
    failed, began = False, time.monotonic()
    for name in options.names or _all(options.size):
        since = time.monotonic()
        try:
            figures = BENCHES[name](options.size, partial(_say, name))
        except Exception:
            traceback.print_exc()
            print(f"{name}: the benchmark failed", file=sys.stderr)
            failed = True
            continue
        if options.json:
            report.to_json(figures)
        else:
            report.to_terminal(name, figures, before)
        if options.write_docs:
            report.to_docs(name, figures, before, command)
        _say(name, f"took {_minutes(time.monotonic() - since)}")
    _say("benchmarks", f"took {_minutes(time.monotonic() - began)}")
    return int(failed)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _all(size: Size) -> list[str]:
    """The soak takes up to an hour at full size, and is asked for by its name (make soak)."""
    return [name for name in BENCHES if size is not Size.FULL or name != SOAK]


def _say(name: str, text: str) -> None:
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(BENCHES)}; none: all of them")
    parser.add_argument("--json", action="store_true", help="one object per line")
    parser.add_argument("--write-docs", action="store_true", help=f"put the figures into {report.DOCS.name}")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", dest="size", action="store_const", const=Size.QUICK, help="shorter and fewer rounds")
    sizes.add_argument("--full", dest="size", action="store_const", const=Size.FULL, help="longer and more rounds")
    sizes.add_argument("--tiny", dest="size", action="store_const", const=Size.TINY, help=argparse.SUPPRESS)
    parser.set_defaults(size=Size.NORMAL)
    return parser


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that servers and relays are stopped
    sys.exit(main(sys.argv[1:]))
