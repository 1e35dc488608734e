"""Pure: the head of a request, and where its URL leads. Both transports write the same; URLs mean what they mean to yarl."""

from __future__ import annotations

import base64
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


def head(lines: str, headers: dict[str, str], length: int) -> bytes:
    """All of it. Raises ValueError for a header that would end its line."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if fields.count("\n") != len(headers) or fields.count("\r") != len(headers) or "\0" in fields:
        raise ValueError("a header holds a line break or a NUL")
    return f"{lines}{fields}Content-Length: {length}\r\n\r\n".encode()
