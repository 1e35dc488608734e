"""Pure: the head of a request, and where its URL leads. Both transports write the same; URLs mean what they mean to yarl."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

Place = tuple[str, str, int, str]  # scheme, host, port; the name of the identity shown there, empty for none


class Target(NamedTuple):
    """Where to dial, and the lines that every request to a URL begins with."""

    place: Place
    lines: str


@lru_cache(1024)
def target(url: str) -> Target:
    """Raises ValueError."""
    parsed = URL(url)
    host, port, named = parsed.raw_host, parsed.port, parsed.host_port_subcomponent
    if parsed.scheme not in ("http", "https") or not host or port is None or named is None:
        raise ValueError("not a URL to send to")
    return Target((parsed.scheme, host, port, ""), _first_lines(parsed, parsed.raw_path_qs))


def absolute(url: str) -> str:
    """The same lines for a proxy that passes plain http on: the whole URL in place of the path (RFC 9112, 3.2.2)."""
    parsed = URL(url)
    return _first_lines(parsed, str(parsed.with_user(None).with_fragment(None)))


def _first_lines(url: URL, path: str) -> str:
    lines = f"POST {path} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
    if url.raw_user is not None or url.raw_password is not None:
        userinfo = f"{url.user or ''}:{url.password or ''}".encode("latin-1")
        lines += f"Authorization: Basic {base64.b64encode(userinfo).decode()}\r\n"
    return lines


@lru_cache(64)
def template(names: tuple[str, ...]) -> str:
    """A line for each header, to be filled with their values. Raises ValueError: a name would end its line."""
    _require_lines_stay_whole(names)
    return "".join([f"{name.replace('%', '%%')}: %s\r\n" for name in names])


def filled(lines: str, values: tuple[str, ...]) -> str:
    """Raises ValueError: a value would end its line."""
    if not "".join(values).isprintable():  # at a third of the cost of looking for three characters
        _require_lines_stay_whole(values)
    return lines % values


def fields(headers: Mapping[str, str]) -> str:
    """The lines of these headers. Raises ValueError."""
    return filled(template(tuple(headers)), tuple(headers.values()))


def _require_lines_stay_whole(parts: Iterable[str]) -> None:
    if any(character in part for part in parts for character in "\r\n\0"):
        raise ValueError("a header holds a line break or a NUL")


def head(lines: str, fields: str, length: int) -> bytes:
    """All of it: the first lines, those of the headers, and what says how long the body is."""
    return f"{lines}{fields}Content-Length: {length}\r\n\r\n".encode()
