"""Pure: the JSON Schema of a column's values, and an example, as Postgres' row_to_json writes them.

The rules are those of json_categorize_type (src/backend/utils/adt/json.c): booleans, numbers, dates and times in ISO 8601,
arrays, composites and json as such; what has a cast to json by that; everything else as its text. Numbers that JSON doesn't
have (NaN, Infinity) are strings. The example is JSON text, because numeric's scale is part of it (99.50).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Type:
    """A row of pg_type. ``kind`` as typtype; ``element`` of an array, ``base`` of a domain, ``relation`` of a composite."""

    oid: int
    name: str
    kind: str = "b"
    base: int = 0
    modifier: int = -1
    element: int | None = None
    relation: int | None = None
    labels: Sequence[str] = ()
    has_cast: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: int
    modifier: int = -1
    is_required: bool = False
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Types:
    """All types that some columns are made of, and the columns of the composites among them."""

    by_oid: Mapping[int, Type]
    columns: Mapping[int, Sequence[Column]]

    def row(self, columns: Sequence[Column]) -> tuple[Schema, str]:
        """Of a whole row: every column is there, null or not."""
        schemas, examples = {}, []
        for column in columns:
            schema, example = self.value(column.type, column.modifier)
            if not column.is_required:
                schema = nullable(schema)
            schemas[column.name] = {**schema, "description": column.comment} if column.comment else schema
            examples.append(f"{json.dumps(column.name, ensure_ascii=False)}:{example}")
        return {"type": "object", "properties": schemas, "required": list(schemas)}, "{" + ",".join(examples) + "}"

    def value(self, oid: int, modifier: int) -> tuple[Schema, str]:
        type = self.by_oid[oid]
        while type.kind == "d":  # a domain's own modifier goes before the column's, which it has none of
            modifier, type = type.modifier, self.by_oid[type.base]
        if type.name in _PLAIN:
            return _PLAIN[type.name]
        match type.name:
            case "numeric":
                return _numeric(modifier)
            case "character varying" | "character":
                return _text(modifier - 4 if modifier >= 4 else None, padded=type.name == "character")
        if type.element:
            schema, example = self.value(type.element, modifier)
            # How many dimensions a value has is its own affair, whatever was declared.
            return {"type": "array", "items": {"anyOf": [nullable(schema), {"type": "array"}]}}, f"[{example}]"
        if type.relation is not None:
            return self.row(self.columns[type.relation])
        if type.has_cast:
            return {}, "null"
        if type.kind == "e":
            return {"type": "string", "enum": list(type.labels)}, json.dumps(type.labels[0] if type.labels else "")
        return {"type": "string", "description": f"{type.name}, as text"}, json.dumps(_TEXTS.get(type.name, "text"))


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if not schema:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    or_null = {**schema, "type": [schema["type"], "null"]}
    return {**or_null, "enum": [*schema["enum"], None]} if "enum" in schema else or_null


def _integer(bits: int) -> tuple[Schema, str]:
    return {"type": "integer", "minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}, "42"


def _number(odd: Sequence[str], **limits: float) -> Schema:
    return {"anyOf": [{"type": "number", **limits}, {"enum": list(odd)}]}


def _numeric(modifier: int) -> tuple[Schema, str]:
    """numeric(precision, scale): only one without a precision can be infinite."""
    if modifier < 4:
        return _number(["NaN", "Infinity", "-Infinity"]), "99.5"
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 1024) - 1024
    digits = precision - scale  # before the point; fewer than none: zeros follow it
    limit = 10.0**digits
    whole = "0" if scale < 0 else "99"[: max(digits, 0)] or "0"
    fraction = "." + ("5".ljust(scale, "0") if digits >= 0 else "0" * scale) if scale > 0 else ""
    return _number(["NaN"], minimum=-limit, maximum=limit), whole + fraction


def _text(length: int | None, *, padded: bool) -> tuple[Schema, str]:
    schema: Schema = {"type": "string"}
    if length is None:
        return schema, '"text"'
    if padded:
        return {**schema, "minLength": length, "maxLength": length}, json.dumps("text"[:length].ljust(length))
    return {**schema, "maxLength": length}, json.dumps("text"[:length])


def _pattern(pattern: str, says: str, example: str, **more: str) -> tuple[Schema, str]:
    """Of times: ``infinity`` too, and years that aren't four digits."""
    odd = r"^(-?infinity|[0-9]{4,}-[0-9]{2}-[0-9]{2}" + pattern + r"( BC)?)$"
    return {"type": "string", "pattern": odd, "description": says, **more}, json.dumps(example)


_CLOCK = r"T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_ZONE = r"[+-][0-9]{2}:[0-9]{2}(:[0-9]{2})?"
_PLAIN: Mapping[str, tuple[Schema, str]] = {
    "boolean": ({"type": "boolean"}, "true"),
    "smallint": _integer(16),
    "integer": _integer(32),
    "bigint": _integer(64),
    "real": (_number(["NaN", "Infinity", "-Infinity"]), "99.5"),
    "double precision": (_number(["NaN", "Infinity", "-Infinity"]), "99.5"),
    "json": ({}, "{}"),
    "jsonb": ({}, "{}"),
    "text": ({"type": "string"}, '"text"'),
    "date": _pattern("", "a day, as 2026-01-31", "2026-01-31"),
    "timestamp without time zone": _pattern(
        _CLOCK, "as 2026-01-31T09:30:00.25, without a zone; trailing zeros of the fraction are left out", "2026-01-31T09:30:00"
    ),
    "timestamp with time zone": _pattern(
        _CLOCK + _ZONE, "as 2026-01-31T09:30:00.25+00:00, in the zone of the session that wrote it", "2026-01-31T09:30:00+00:00"
    ),
    "uuid": ({"type": "string", "format": "uuid"}, '"6f1c1f5e-3d0b-4c55-9e0a-0d5f7b1f2a11"'),
}
# Of types that are written as their text.
_TEXTS = {
    "bytea": "\\x00ff",
    "time without time zone": "09:30:00",
    "time with time zone": "09:30:00+00",
    "interval": "01:00:00",
    "inet": "192.0.2.1",
    "cidr": "192.0.2.0/24",
    "macaddr": "08:00:2b:01:02:03",
    "money": "$99.50",
    "bit": "1",
    "bit varying": "1",
    "point": "(1,2)",
    "xml": "<a/>",
    "int4range": "[1,10)",
    "oid": "42",
}
