"""The receivers' journal: two lines of JSON for each request, one before it is answered and one when that has ended.

A line is handed to the kernel before the receiver goes on, so what was received is on record whatever becomes of its process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.torture.records import Content, Request
from tests.torture.tables import BY_PREFIX, canonical, loads


class Journal:
    """Where receivers write; not shared by processes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._n = 0

    def begin(self, **line: object) -> int:
        self._n += 1
        self._write({"n": self._n, **line})
        return self._n

    def end(self, n: int, at: float, status: int | None) -> None:
        self._write({"n": n, "ended": at, "status": status})

    def _write(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read(path: Path, until: float) -> list[Request]:
    """All requests in the order of their receipt; one that has no end yet is taken as open ``until`` then."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
    ends = {line["n"]: line for line in lines if "ended" in line}
    return list(_requests((line for line in lines if "ended" not in line), ends, until))


def _requests(begun: Iterable[dict[str, Any]], ends: dict[int, dict[str, Any]], until: float) -> Iterator[Request]:
    for line in begun:
        end = ends.get(line["n"], {"ended": until, "status": None})
        content, key = understood(line["body"])
        yield Request(
            n=line["n"],
            hook=line["hook"],
            webhook_id=line["webhook_id"],
            delivery=line["delivery"],
            attempt=line["attempt"],
            body=line["body"],
            received=line["received"],
            ended=end["ended"],
            status=end["status"],
            verified=tuple(line["verified"]),
            content=content,
            key=key,
            reused=line["reused"],
        )


def understood(body: str) -> tuple[Content, str | None]:
    """What a body says, and of which row."""
    envelope = loads(body)
    type, data = envelope["type"], envelope.get("data")
    said = Content(
        type, envelope.get("tenant"), canonical(data), canonical(envelope.get("previous")), envelope.get("moved", False)
    )
    source = BY_PREFIX.get(type.partition(".")[0])
    return said, source.key_of(data) if source and data else None
