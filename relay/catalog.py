"""The catalog of event types: those that captures make and Rowhook's own, each with a description, a JSON Schema and an example.

Names come from rowhook.capture, schemas from the columns of its tables and their comments (column_schema.py). What an event
type that is emitted by hand holds is known to nobody but who emits it: such types are not listed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
class EventType:
    """``schema`` is that of the whole body, ``data`` an example's data as JSON text. ``table`` None: one of Rowhook's own.

    ``has_tenant``: such events have one, so tenants may get them.
    """

    name: str
    description: str
    table: str | None
    schema: Schema
    data: str
    previous: str | None = None
    has_tenant: bool = True

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


# --- captured ---------------------------------------------------------------------------------------------------------


def _captured(connection: Connection) -> Iterator[EventType]:
    captures = connection.execute(query("catalog.captures")).fetchall()
    columns = _columns(connection, [capture["table"] for capture in captures])
    types = _types(connection, [column.type for of in columns.values() for column in of])
    for capture in captures:
        row, example = _changed(capture, *types.row(_kept(capture, columns.get(capture["table"], []))))
        for op in capture["events"]:
            yield _of_capture(capture, op, row, example)
        for rule in capture["rules"]:
            yield _of_rule(capture, rule, row, example)


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
    )
}
