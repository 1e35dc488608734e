"""The catalog of event types: those that captures make and Rowhook's own, each with a description, a JSON Schema and an example.

Names come from rowhook.capture, schemas from the columns of its tables and their comments (column_schema.py), versions from
rowhook.schema_version. What an event type that is emitted by hand holds is known to nobody but who emits it: such types are not
listed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow

from relay.column_schema import Column, Schema, Type, Types
from relay.database import query
from relay.walk import Row

Connection = psycopg.Connection[DictRow]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PAST = {"insert": "created", "update": "updated", "delete": "deleted", "truncate": "truncated"}
SAYS = {
    "insert": "A row of {0} was inserted; data is the row.",
    "update": "A row of {0} was updated; data is the row as it is now, previous holds the old values of what changed.",
    "delete": "A row of {0} was deleted; data is the row as it was.",
    "truncate": "{0} was emptied by TRUNCATE; there is no data.",
}


@dataclass(frozen=True, slots=True)
class Version:
    """What ``data`` held from ``since`` on; ``changes``: since the version before, as rowhook.schema_changes() has them."""

    number: int
    since: datetime
    compatible: bool
    changes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class EventType:
    """``schema`` is that of the whole body, ``data`` an example's data as JSON text. ``table`` None: one of Rowhook's own.

    ``has_tenant``: such events have one, so tenants may get them. ``set_aside``: what its table no longer has, and it needs.
    """

    name: str
    description: str
    table: str | None
    schema: Schema
    data: str
    previous: str | None = None
    has_tenant: bool = True
    versions: Sequence[Version] = ()
    set_aside: str | None = None

    def example(self) -> Row:
        """A whole body."""
        body = {
            "id": "evt_01KG8F2G0G0000000000019000",
            "type": self.name,
            "timestamp": "2026-01-31T09:30:00.000000Z",
            "tenant": None,
            "data": json.loads(self.data),
        }
        return body if self.previous is None else {**body, "previous": json.loads(self.previous)}


def event_types(connection: Connection) -> list[EventType]:
    """All that are known, by name."""
    return sorted([*_captured(connection), *OWN.values()], key=lambda known: known.name)


def sample(connection: Connection, type: str) -> str | None:
    """JSON text of an example's data; None: this event type is not known."""
    return next((known.data for known in event_types(connection) if known.name == type), None)


def in_words(change: Mapping[str, Any]) -> str:
    """``dropped notes``, ``renamed user_id to owner_id``."""
    match change["change"]:
        case "renamed":
            return f"renamed {change['was']} to {change['column']}"
        case "retyped":
            return f"retyped {change['column']} from {change['was']} to {change['type']}"
        case "table renamed":
            return f"table renamed from {change['was']}"
        case "table dropped":
            return "table dropped"
        case kind:
            return f"{kind} {change['column']}"


# --- captured ---------------------------------------------------------------------------------------------------------


def _captured(connection: Connection) -> Iterator[EventType]:
    captures = connection.execute(query("catalog.captures")).fetchall()
    columns = _columns(connection, [capture["table"] for capture in captures])
    types = _types(connection, [column.type for of in columns.values() for column in of])
    versions = _versions(connection)
    for capture in captures:
        there = columns.get(capture["table"], [])
        row, example = _changed(capture, *types.row(_kept(capture, there)))
        common: dict[str, Any] = {"versions": versions.get(capture["id"], ()), "set_aside": _set_aside(capture, there)}
        for op in capture["events"]:
            yield replace(_of_capture(capture, op, row, example), **common)
        for rule in capture["rules"]:
            aside = {"set_aside": rule["set_aside"]} if rule["set_aside"] else {}
            yield replace(_of_rule(capture, rule, row, example), **{**common, **aside})


def _versions(connection: Connection) -> dict[int, list[Version]]:
    found: dict[int, list[Version]] = {}
    for row in connection.execute(query("schema.versions")).fetchall():
        version = Version(row["version"], row["since"], row["compatible"], row["changes"])
        found.setdefault(row["capture"], []).append(version)
    return found


def _set_aside(capture: Row, columns: Sequence[Column]) -> str | None:
    """What its options name and its table has no longer, as rowhook.set_aside() says it, which not everybody may ask."""
    there = {column.name for column in columns}
    if not there:
        return "the table was dropped"
    near = [path.partition(".")[0] for path in (capture["enrich"] or {}).values()]
    named = [*capture["key"], capture["tenant"], *(capture["include"] or ()), *(capture["redact"] or ()), *near]
    gone = dict.fromkeys(name for name in named if name is not None and name not in there)
    return f"there is no column {', '.join(gone)} any more" if gone else None


def _kept(capture: Row, columns: Sequence[Column]) -> Sequence[Column]:
    """Those that go into events: in the order of ``include`` where there is that."""
    if capture["include"] is not None:
        by_name = {column.name: column for column in columns}
        return [by_name[name] for name in capture["include"] if name in by_name]
    return [column for column in columns if column.name not in (capture["exclude"] or ())]


def _changed(capture: Row, row: Schema, example: str) -> tuple[Schema, str]:
    """With redacted columns as texts, with further values, whatever those are; a row may be too large."""
    properties, shown = dict(row["properties"]), json.loads(example)
    for name in (capture["redact"] or {}).keys() & properties.keys():
        properties[name] = {"type": ["string", "null"], "description": f"redacted: {capture['redact'][name]}"}
        shown[name] = "****"
    for name, path in (capture["enrich"] or {}).items():
        properties[name] = {"description": f"found by a foreign key: {path}"}
        shown[name] = None
    if capture["max_size"]:  # then only the key is sure to be there
        row = {**row, "required": [name for name in row["required"] if name in capture["key"]]}
    if not capture["redact"] and not capture["enrich"]:
        return row, example
    return {**row, "properties": properties}, json.dumps(shown)


def _of_rule(capture: Row, rule: Row, row: Schema, example: str) -> EventType:
    says = rule["description"] or f"A rule on {capture['label']} when it is {PAST[rule['op']]}."
    previous = None
    if rule["op"] == "update":
        previous = {"type": "object", "properties": row["properties"], "additionalProperties": False}
    schema = body_schema(rule["type"], says, row, previous, whole=not capture["max_size"])
    return EventType(rule["type"], says, capture["label"], schema, example, "{}" if previous else None, capture["has_tenant"])


def _of_capture(capture: Row, op: str, row: Schema, example: str) -> EventType:
    name = f"{capture['type_prefix']}.{PAST[op]}"
    says = " ".join(filter(None, [SAYS[op].format(capture["label"]), capture["comment"]]))
    previous, data = None, row
    if op == "truncate":  # of the whole table, so of no tenant's
        data, example = {"type": "null"}, "null"
    if op == "update":
        previous = {"type": "object", "properties": row["properties"], "additionalProperties": False}
    has_tenant = capture["has_tenant"] and op != "truncate"
    schema = body_schema(name, says, data, previous, whole=not capture["max_size"])
    return EventType(name, says, capture["label"], schema, example, "{}" if previous else None, has_tenant)


def _columns(connection: Connection, of: Sequence[int]) -> dict[int, list[Column]]:
    found: dict[int, list[Column]] = {}
    for row in connection.execute(query("catalog.columns"), {"of": list(of)}).fetchall():
        found.setdefault(row.pop("of"), []).append(Column(**row))
    return found


def _types(connection: Connection, oids: Sequence[int]) -> Types:
    rows = connection.execute(query("catalog.types"), {"types": sorted(set(oids))}).fetchall()
    by_oid = {row["oid"]: Type(**row) for row in rows}
    return Types(by_oid, _columns(connection, [type.relation for type in by_oid.values() if type.relation is not None]))


def body_schema(name: str, says: str, data: Schema, previous: Schema | None = None, *, whole: bool = True) -> Schema:
    """Of a whole body (docs/webhooks.md). ``whole``: no row is too large, so ``previous`` is sure to be there."""
    properties: Schema = {
        "id": {"type": "string", "pattern": "^evt_[0-9A-HJKMNP-TV-Z]{26}$", "description": "The same at each retry"},
        "type": {"const": name},
        "timestamp": {"type": "string", "format": "date-time", "description": "When the change was made"},
        "tenant": {"type": ["string", "null"], "description": "Whose event it is"},
        "data": data,
        "moved": {"const": True, "description": "There for the two events of a row that goes from one tenant to another"},
        "truncated": {"const": True, "description": "There if the row was too large: data holds its key only"},
        "context": {"type": "object", "description": "What the writer's session said of itself"},
    }
    if previous is not None:
        properties["previous"] = previous
    return {
        "$schema": DIALECT,
        "title": name,
        "description": says,
        "type": "object",
        "properties": properties,
        "required": ["id", "type", "timestamp", "tenant", "data", *(["previous"] if previous is not None and whole else [])],
    }


# --- Rowhook's own ------------------------------------------------------------------------------------------------------


def _own(name: str, says: str, **fields: tuple[str, str | int | None]) -> EventType:
    """``fields``: what each says, and an example; None: a number, or null."""
    types = {str: "string", int: "integer", type(None): ["integer", "null"]}
    data = {
        "type": "object",
        "properties": {
            field: {"type": types[type(example)], "description": described} for field, (described, example) in fields.items()
        },
        "required": list(fields),
    }
    example = json.dumps({field: example for field, (_, example) in fields.items()})
    return EventType(name, says, None, body_schema(name, says, data), example)


def _schema_changed() -> EventType:
    says = "What a table's events hold has changed so that who reads them has to know. Sent to endpoints that name this type."
    text = {"type": "string"}
    change = {
        "type": "object",
        "properties": {
            "change": {"enum": ["added", "dropped", "renamed", "retyped", "table renamed", "table dropped"]},
            "compatible": {"type": "boolean", "description": "False: who reads the events has to know"},
            "column": {**text, "description": "As it is called now; of a dropped one, as it was"},
            "type": {**text, "description": "Its type in Postgres; of a dropped one, as it was"},
            "was": {**text, "description": "The name or type before"},
            "table": text,
        },
        "required": ["change", "compatible"],
    }
    data = {
        "type": "object",
        "properties": {
            "table": {**text, "description": "The table, with its schema unless that is public"},
            "version": {"type": "integer", "description": "Of the schema, as /event-types counts them"},
            "event_types": {"type": "array", "items": text, "description": "Whose data it is"},
            "changes": {"type": "array", "items": change, "minItems": 1},
        },
        "required": ["table", "version", "event_types", "changes"],
    }
    example = {
        "table": "expenses",
        "version": 2,
        "event_types": ["expense.created", "expense.updated", "expense.deleted", "expense.truncated"],
        "changes": [{"change": "renamed", "column": "remarks", "was": "notes", "compatible": False}],
    }
    name = "schema.changed"
    return EventType(name, says, None, body_schema(name, says, data), json.dumps(example), has_tenant=False)


OWN = {
    own.name: own
    for own in (
        _own(
            "endpoint.disabled",
            "An endpoint was disabled by Rowhook. Sent to endpoints that ask for this type by name.",
            endpoint_id=("The endpoint: end_…", "end_01KG8F2G0G00000000000G0000"),
            url=("Where its events went", "https://example.com/hook"),
            reason=("Why", "nothing but failures for 5 days, 0:00:00"),
        ),
        _own(
            "delivery.dead",
            "A delivery ended without success: a dead letter. Sent to endpoints that ask for this type by name.",
            delivery_id=("The delivery: dlv_…", "dlv_01KG8F2G0G00000000000G0000"),
            endpoint_id=("Its endpoint: end_…", "end_01KG8F2G0G00000000000G0000"),
            url=("Where it went", "https://example.com/hook"),
            event_id=("The event that was to be delivered: evt_…", "evt_01KG8F2G0G00000000000G0000"),
            event_type=("And its type", "expense.created"),
            attempts=("How often it was tried", 6),
            error_class=("Why the last attempt failed", "timeout"),
            status_code=("What was answered to it; null: nothing", None),
        ),
        _own(
            "webhook.ping",
            "A trial, sent to one endpoint alone when somebody asks for it, whatever its patterns are.",
            message=("What it is", "A ping, asked for through the API."),
        ),
        _schema_changed(),
    )
}
