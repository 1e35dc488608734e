"""The body of a request, made by putting texts together.

``data`` and ``previous`` are JSON text as Postgres stored it, in UTF-8. They are never parsed: a parser would round
decimals, refuse integers of 4,301 digits, turn 1e400 into infinity and drop repeated keys. The same event
gives the same bytes at each retry. docs/webhooks.md describes the fields.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import Final

from relay.moment import rfc3339

_QUOTED: Final = encode_basestring  # a JSON string, with characters beyond ASCII as they are


def envelope(
    *,
    event_id: str,
    type: str,
    occurred_at: int,
    tenant: str | None,
    data: bytes | None,
    previous: bytes | None,
    moved: bool,
    truncated: bool = False,
    context: bytes | None = None,
) -> bytes:
    """One event as JSON, in a fixed order; ``previous`` and what follows it only where they apply.

    ``occurred_at`` is as moment.py has it.
    """
    begin = (
        f'{{"id":{_QUOTED(event_id)},"type":{_QUOTED(type)},"timestamp":"{rfc3339(occurred_at)}"'
        f',"tenant":{"null" if tenant is None else _QUOTED(tenant)},"data":'
    )
    # UTF-8 has no lone surrogates, JSON has: written as an escape, one means the same and stays valid.
    parts = [begin.encode("utf-8", "backslashreplace"), b"null" if data is None else data]
    if previous is not None:
        parts += b',"previous":', previous
    if moved:
        parts.append(b',"moved":true')
    if truncated:
        parts.append(b',"truncated":true')
    if context is not None:
        parts += b',"context":', context
    parts.append(b"}")
    return b"".join(parts)
