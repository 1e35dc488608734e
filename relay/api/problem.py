"""Refusals as RFC 9457 has them: problem documents, which name the field where there is one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from relay.errors import UserMistake

MEDIA_TYPE = "application/problem+json"
URN = "urn:rowhook:problem:"


class Problem(Exception):
    """One refusal. ``kind`` names its type for programs, ``detail`` says to people what would be right."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = list(errors) or ([{"field": field, "detail": detail}] if field else [])
        self.headers = dict(headers or {})

    def document(self, request_id: str) -> bytes:
        title = self.kind.replace("-", " ").capitalize() or HTTPStatus(self.status).phrase
        told: dict[str, Any] = {"type": URN + self.kind, "title": title, "status": self.status, "detail": self.detail}
        if self.errors:
            told["errors"] = self.errors
        return json.dumps({**told, "request_id": request_id}).encode()


def not_found(kind: str, id: str) -> Problem:
    """There is none, or it is another tenant's: who asks can't tell these apart."""
    shown = id if len(id) <= 60 else f"{id[:59]}…"
    return Problem(404, "not-found", f"there is no {kind} {shown!a}")


def busy(detail: str, seconds: int = 1) -> Problem:
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(seconds)})


def of_mistake(mistake: UserMistake, field: str | None = None) -> Problem:
    """What the modules behind the command line refuse."""
    return Problem(422, "invalid", str(mistake), field=field)


@contextlib.contextmanager
def about(field: str) -> Iterator[None]:
    """What is refused herein is this field's fault."""
    try:
        yield
    except UserMistake as mistake:
        raise of_mistake(mistake, field) from None


def of_validation(error: ValidationError, where: str) -> Problem:
    """Every field that is wrong, by its path: ``events.0``. Never the value that was given: it may be a secret."""
    told = [
        {"field": ".".join(map(str, one["loc"])) or where, "detail": one["msg"].removeprefix("Value error, ")}
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    if told and all(one["type"] == "json_invalid" for one in error.errors(include_url=False, include_input=False)):
        return Problem(400, "not-json", f"the {where} is not JSON: {told[0]['detail'].removeprefix('Invalid JSON: ')}")
    named = "; ".join(f"{one['field']}: {one['detail']}" for one in told[:3])
    return Problem(422, "invalid", f"the {where} is not as it should be ({named})", errors=told)
