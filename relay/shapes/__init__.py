"""Pure: other shapes of a body than the envelope, and the headers that go with each.

As there, ``data`` is never parsed, and the same event gives the same bytes at each retry. CloudEvents are those of version 1.0
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), their HTTP binding and JSON format of the same version.
What a template makes is another matter: relay/bodies.py. docs/webhooks.md describes them all.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import Final, NamedTuple
from urllib.parse import quote

from relay.errors import UserMistake
from relay.moment import rfc3339

STANDARD, THIN, CLOUDEVENTS, BINARY, LEGACY = "standard", "thin", "cloudevents", "cloudevents-binary", "legacy"
TEMPLATE: Final = "template"
SHAPES: Final = (STANDARD, THIN, CLOUDEVENTS, BINARY, LEGACY)
WHOLE: Final = frozenset({CLOUDEVENTS, BINARY, LEGACY})  # those that hold the row once more

_JSON: Final = "application/json"
_TYPES: Final = {CLOUDEVENTS: "application/cloudevents+json"}
# What a header of the HTTP binding (3.1.3.2) holds as it is: printable ASCII but for space, quotation mark and percent sign.
_PLAIN: Final = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
_quoted = encode_basestring


class Facts(NamedTuple):
    """An event as shapes are made of it; ``data`` is JSON text in UTF-8, its time is as moment.py has it."""

    id: str
    type: str
    occurred_at: int
    tenant: str | None
    table: str | None
    row_key: str | None
    moved: bool
    data: bytes | None


def parse_shape(text: str) -> str:
    """The name of a shape; raises UserMistake."""
    if text not in SHAPES:
        raise UserMistake(f"{text!r} is not a shape", f"give one of {', '.join(SHAPES)}; a template is given by --template")
    return text


def shaped(shape: str, event: Facts) -> bytes:
    """The body. Raises KeyError: no such shape."""
    return _MAKERS[shape](event)


def headers_of(shape: str, event: Facts) -> dict[str, str]:
    """What a request of this shape says beside, or instead of, what every request does."""
    found = {"content-type": _TYPES.get(shape, _JSON)}
    if shape == BINARY:
        found |= {f"ce-{name}": quote(value, safe=_PLAIN, errors="replace") for name, value in attributes(event).items()}
    return found


def attributes(event: Facts) -> dict[str, str]:
    """Those of CloudEvents, and two extensions of ours: tenant and moved."""
    found = {
        "specversion": "1.0",
        "id": event.id,
        "source": "/rowhook" if event.table is None else f"/rowhook/{quote(event.table, safe='', errors='replace')}",
        "type": event.type,
        "time": rfc3339(event.occurred_at),
    }
    more = {"subject": event.row_key, "tenant": event.tenant, "moved": "true" if event.moved else None}
    return found | {name: value for name, value in more.items() if value}  # an empty text is no value there


def _thin(event: Facts) -> bytes:
    texts = {"tenant": event.tenant, "table": event.table, "row_key": event.row_key}
    return _bytes(
        f'{{"id":{_quoted(event.id)},"type":{_quoted(event.type)},"timestamp":"{rfc3339(event.occurred_at)}"'
        + "".join(f',"{name}":{"null" if text is None else _quoted(text)}' for name, text in texts.items())
        + "}"
    )


def _cloudevents(event: Facts) -> bytes:
    said = ",".join(f'"{name}":{"true" if name == "moved" else _quoted(value)}' for name, value in attributes(event).items())
    return b"".join((_bytes(f'{{{said},"datacontenttype":"{_JSON}","data":'), _data(event), b"}"))


def _legacy(event: Facts) -> bytes:
    return b"".join((_bytes(f'{{"event":{_quoted(event.type)},"data":'), _data(event), b"}"))


def _data(event: Facts) -> bytes:
    return b"null" if event.data is None else event.data


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # as in the envelope


_MAKERS: Final = {THIN: _thin, CLOUDEVENTS: _cloudevents, BINARY: _data, LEGACY: _legacy}
