"""Where benches of throughput send to: a receiver that counts and is never the limit. nginx, or else a program of ours."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from typing import Protocol

from benchmarks.nginx import find, nginx
from benchmarks.programs import program


class Sink(Protocol):
    """``url`` takes POSTs and answers 204; ``count`` is how many have come so far."""

    name: str
    url: str

    def count(self) -> int: ...


class Program:
    """`python -m benchmarks.sink`."""

    name = "raw asyncio (no nginx with stub_status here)"

    def __init__(self, url: str) -> None:
        self.url = url

    def count(self) -> int:
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            return int(answer.read())


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """The fastest receiver of this machine, until the end of the block."""
    if path := find():
        with nginx(path) as running:
            yield running
    else:
        with own_sink() as running:
            yield running


@contextlib.contextmanager
def own_sink() -> Iterator[Sink]:
    with program("sink") as url:
        yield Program(url)
