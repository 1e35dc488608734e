"""Independent of what captures: played over the rows before, the events must give the rows after, byte for byte.

``data`` and ``previous`` are never decoded: a row is what its texts are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from tests.matrix.run import Captured, Rows

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACE = " \t\r\n"


def members(text: str) -> dict[str, str]:
    """A JSON object's members, each value as the very text that stands there."""
    found: dict[str, str] = {}
    at = 1
    while text[at : at + 1] not in ("}", ""):
        name, at = _DECODER.raw_decode(text, at)
        assert text[at] == ":", text
        begin = at = at + 1
        while text[at] in _SPACE:
            at += 1
        _, at = _DECODER.raw_decode(text, at)
        while text[at] in _SPACE:
            at += 1
        found[name] = text[begin:at]
        assert text[at] in ",}", text
        at += text[at] == ","
    assert at == len(text) - 1, text
    return found


def joined(values: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in values.items()) + "}"


def narrowed(rows: Rows, names: Iterable[str] | None) -> Rows:
    """The rows as a capture of some columns sees them."""
    if names is None:
        return rows
    wanted = list(names)
    said: Rows = Counter()
    for text, count in rows.items():
        values = members(text)
        said[joined({name: values[name] for name in wanted})] += count
    return said


def replayed(before: Rows, events: Iterable[Captured]) -> Rows:
    """The rows after; raises AssertionError where an event tells of a row that is not there."""
    rows: Rows = Counter(before)
    for event in events:
        if event.op == "truncate":
            assert event.data is None and event.previous is None
            rows.clear()
        elif event.op == "insert":
            rows[text(event)] += 1
        elif event.op == "delete":
            take(rows, text(event), event)
        elif event.op == "update":
            take(rows, old_row(event), event)
            rows[text(event)] += 1
    return +rows


def text(event: Captured) -> str:
    assert event.data is not None, event
    return event.data


def old_row(event: Captured) -> str:
    """What ``previous`` and ``data`` say that the row was; ``previous`` has what differs, and only that."""
    assert event.previous is not None, event
    new, old = members(text(event)), members(event.previous)
    assert old and all(name in new and new[name] != value for name, value in old.items()), event
    return joined({**new, **old})


def take(rows: Rows, row: str, event: Captured) -> None:
    assert rows[row] > 0, f"no such row: {row}\nthere are {sorted(+rows)}\n{event}"
    rows[row] -= 1
