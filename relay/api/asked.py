"""From a request to what a call takes: its path, query and body, each checked by its model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from relay.api import idempotency
from relay.api.operation import Operation
from relay.api.perform import Asked
from relay.api.principal import Principal
from relay.api.problem import Problem, of_validation

JSON = "application/json"
BODY_WITHIN = 10.0  # seconds from the headers to the last byte


async def asked(request: web.Request, operation: Operation, principal: Principal, request_id: str) -> Asked:
    """Raises Problem."""
    arguments = path_and_query(request, operation)
    body = await _body(request) if request.can_read_body else b""
    if operation.body is not None:
        arguments["body"] = _model(request, operation.body, body)
    elif body.strip() not in (b"", b"{}"):  # clients of JSON APIs send an empty object
        raise Problem(422, "invalid", "this call takes no body", field="body")
    keyed = None
    if operation.idempotent:
        path = request.rel_url.raw_path
        keyed = idempotency.keyed(request.headers.getall("Idempotency-Key", []), principal, operation.method, path, body)
    if_match = ", ".join(request.headers.getall("If-Match", [])) if "If-Match" in request.headers else None
    return Asked(operation, principal, request_id, arguments, if_match, keyed)


def path_and_query(request: web.Request, operation: Operation) -> dict[str, Any]:
    arguments: dict[str, Any] = {name: request.match_info[name] for name in operation.path_parameters}
    given = _single(request.query)
    if operation.query is not None:
        try:
            arguments["query"] = operation.query.model_validate(given)
        except ValidationError as error:
            raise of_validation(error, "query") from None
    elif given:
        name = next(iter(given))
        raise Problem(422, "invalid", f"this call takes no parameter {name[:40]!a}", field=name[:40])
    return arguments


def _single(query: MultiMapping[str]) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in query.items():
        if name in given:
            raise Problem(422, "invalid", f"parameter {name[:40]!a} is given more than once", field=name[:40])
        given[name] = value
    return given


async def _body(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "unsupported-media-type", "a body has to be sent as it is, not compressed")
    try:
        async with asyncio.timeout(BODY_WITHIN):
            return await request.read()
    except TimeoutError:
        raise Problem(408, "too-slow", f"the body did not come within {BODY_WITHIN:g} s") from None


def _model(request: web.Request, model: type[BaseModel], body: bytes) -> BaseModel:
    if not body and not any(field.is_required() for field in model.model_fields.values()):
        return model()
    if request.content_type != JSON:
        raise Problem(415, "unsupported-media-type", f"the body has to be {JSON}")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise of_validation(error, "body") from None
