"""Where benches of throughput send to: a receiver that counts and is never the limit. nginx, or else a program of ours."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlsplit

from benchmarks.nginx import find, nginx
from benchmarks.programs import program


class Sink(Protocol):
    """``url`` takes POSTs and answers 204; ``count`` is how many have come so far."""

    name: str
    url: str

    def count(self) -> int: ...


class Program:
    """`python -m benchmarks.sink`; unlike nginx it can fail: at ``url`` and "fail/N"."""

    name = "raw asyncio"

    def __init__(self, url: str) -> None:
        self.url = url
        self._counter = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)

    def count(self) -> int:
        self._counter.request("GET", "/")
        return int(self._counter.getresponse().read())

    def close(self) -> None:
        self._counter.close()


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
def own_sink() -> Iterator[Program]:
    with program("sink") as url, contextlib.closing(Program(url)) as running:
        yield running
