"""The OpenAPI document, made from the registry and the models: what is checked is what is told."""

from __future__ import annotations

import json
from functools import cache
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from relay import __version__
from relay.api.operation import REGISTRY, Operation
from relay.api.problem import MEDIA_TYPE

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
ALWAYS = (400, 401, 403, 429, 503)
PROBLEM: Json = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "Names the kind: urn:rowhook:problem:…"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what would be right."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "request_id": {"type": "string"},
    },
}
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and request again: the same answer, and nothing is done. Kept for 24 hours.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
}
IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": "An ETag: change it only if it is still as that was.",
    "schema": {"type": "string"},
}


def add(app: web.Application) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=_text(), content_type="application/json", headers={"Cache-Control": "no-cache"})

    app.router.add_get("/openapi.json", answer)


@cache
def _text() -> bytes:
    return json.dumps(document(), ensure_ascii=False).encode()


def document() -> Json:
    schemas, definitions = _schemas()
    paths: Json = {}
    for operation in REGISTRY:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rowhook",
            "version": __version__,
            "description": "Webhooks, and what was sent to them. Refusals are problem documents (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in REGISTRY)],
        "paths": paths,
        "components": {
            "schemas": {**definitions, "Problem": PROBLEM},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the operator's, or a JWT whose claim names the tenant.",
                }
            },
        },
    }


def _schemas() -> tuple[dict[tuple[type[BaseModel], str], Json], Json]:
    """Of each model by what it is for, and what they share."""
    wanted: list[tuple[type[BaseModel], str]] = []
    for operation in REGISTRY:
        wanted += [(operation.body, "validation")] if operation.body else []
        wanted += [(operation.answer, "serialization")] if operation.answer else []
    made, shared = models_json_schema(list(dict.fromkeys(wanted)), ref_template=REF)  # type: ignore[arg-type]
    return dict(made), shared.get("$defs", {})  # type: ignore[arg-type]


def _operation(operation: Operation, schemas: dict[tuple[type[BaseModel], str], Json]) -> Json:
    made: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation, schemas),
        "responses": _responses(operation, schemas),
    }
    if operation.description:
        made["description"] = operation.description
    if operation.body:
        required = any(field.is_required() for field in operation.body.model_fields.values())
        content = {"application/json": {"schema": schemas[operation.body, "validation"]}}
        made["requestBody"] = {"required": required, "content": content}
    return made


def _parameters(operation: Operation, schemas: dict[tuple[type[BaseModel], str], Json]) -> list[Json]:
    made: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in operation.path_parameters
    ]
    if operation.query:
        made += _query_parameters(operation.query)
    if operation.idempotent:
        made.append(IDEMPOTENCY_KEY)
    if 412 in operation.refuses:
        made.append(IF_MATCH)
    return made


def _query_parameters(model: type[BaseModel]) -> list[Json]:
    schema = model.model_json_schema(mode="validation", ref_template=REF)
    required = schema.get("required", [])
    made = []
    for name, field in schema["properties"].items():
        field = _without_null(field)
        description = field.pop("description", None)
        field.pop("title", None)
        one = {"name": name, "in": "query", "required": name in required, "schema": field}
        made.append({**one, "description": description} if description else one)
    return made


def _without_null(schema: Json) -> Json:
    """Left out, a parameter is None; there is no way to write null in a query."""
    schema = {key: value for key, value in schema.items() if key != "default" or value is not None}
    options = [one for one in schema.pop("anyOf", []) if one != {"type": "null"}]
    return {**options[0], **schema} if len(options) == 1 else {**schema, **({"anyOf": options} if options else {})}


def _responses(operation: Operation, schemas: dict[tuple[type[BaseModel], str], Json]) -> Json:
    answer: Json = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer:
        answer["content"] = {"application/json": {"schema": schemas[operation.answer, "serialization"]}}
    elif operation.media:
        answer["content"] = {operation.media: {"schema": {"type": "string"}}}
    refuses = {*ALWAYS, *operation.refuses}
    if operation.body or operation.query or operation.idempotent:
        refuses.add(422)
    if operation.body:
        refuses |= {408, 413, 415}
    if operation.idempotent:
        refuses.add(409)
    content = {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}}
    return {
        str(operation.status): answer,
        **{str(status): {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(refuses)},
    }
