"""What each request passes on its way in and out: an id, the loopback's guard, CORS, problem documents, a line in the log."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

from relay.api.problem import MEDIA_TYPE, Problem
from relay.loopback import ANY_ORIGIN, refusal

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

WHO: Final = web.RequestKey("who", str)
REQUEST_ID: Final = web.RequestKey("request_id", str)

PREFLIGHT_KEPT = 600  # seconds
EXPOSED = "ETag, Location, Link, Retry-After, X-Request-Id, Idempotency-Replayed"
ALLOWED = "Authorization, Content-Type, If-Match, Idempotency-Key, Last-Event-ID, X-Request-Id"
METHODS = "GET, HEAD, POST, PATCH, DELETE"

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def given_id(request: web.Request) -> str:
    """X-Request-Id as it was sent, if that can stand in a log; a new one otherwise."""
    given = request.headers.get("X-Request-Id", "")
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


@web.middleware
async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer has the request's id, and its line in the log; every refusal is a problem document."""
    request_id = request[REQUEST_ID] = given_id(request)
    started = time.perf_counter()
    status = 499  # who asked has gone
    try:
        response = await _answered(request, handler, request_id)
        status = response.status
        return response
    finally:
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        told = {"status": status, "ms": milliseconds, "who": request.get(WHO), "request_id": request_id, "from": request.remote}
        usual = status < 400 and request.path.startswith("/health/")  # asked for every few seconds
        log.log(logging.DEBUG if usual else logging.INFO, "%s %s", request.method, request.rel_url.raw_path, extra=told)


async def _answered(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    try:
        response = await handler(request)
    except Problem as problem:
        response = refused(problem, request_id)
        if (cause := problem.__cause__) is not None:
            log.warning("refused", extra={"reason": str(cause), "request_id": request_id})
    except web.HTTPException as error:
        response = refused(of_http(error), request_id)
    except Exception:
        log.exception("a call has failed", extra={"request_id": request_id})
        told = Problem(500, "internal", f"this is a mistake of Rowhook's; its log has more, under {request_id}")
        response = refused(told, request_id)
    if not response.prepared:
        finish(response, request_id)
    return response


def finish(response: web.StreamResponse, request_id: str) -> None:
    """Headers of every answer; a stream has to set them before it begins."""
    response.headers["X-Request-Id"] = request_id
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"


def refused(problem: Problem, request_id: str) -> web.Response:
    return web.Response(
        status=problem.status, body=problem.document(request_id), content_type=MEDIA_TYPE, headers=problem.headers
    )


def of_http(error: web.HTTPException) -> Problem:
    """aiohttp's own refusals."""
    kinds = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
    said = {
        404: "there is nothing here; /openapi.json has what there is",
        405: f"this can't be done here; {error.headers.get(hdrs.ALLOW, 'something else')} can",
        413: "the body is larger than ROWHOOK_API_MAX_BODY",
    }
    kept = {"Allow": error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
    return Problem(error.status, kinds.get(error.status, "refused"), said.get(error.status, error.reason), headers=kept)


def loopback_only(named: tuple[str, ...]) -> Middleware:
    """403 for what a page of elsewhere made a browser of this machine send."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts, origins = request.headers.getall(hdrs.HOST, []), request.headers.getall(hdrs.ORIGIN, [])
        if wrong := refusal(hosts, origins, named):
            raise Problem(403, "foreign-page", wrong)
        return await handler(request)

    return guard


def cross_origin(named: tuple[str, ...]) -> Middleware:
    """Pages of these origins may read answers (https://fetch.spec.whatwg.org/#http-cors-protocol); without cookies."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN, "")
        allowed = bool(origin) and (ANY_ORIGIN in named or origin.lower() in named)
        preflight = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if allowed and preflight:
            response: web.StreamResponse = web.Response(status=204)
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = METHODS
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ALLOWED
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(PREFLIGHT_KEPT)
            permit(response, request, named)
            return response
        return await _permitted(request, handler, named)

    return answer


async def _permitted(request: web.Request, handler: Handler, named: tuple[str, ...]) -> web.StreamResponse:
    """Refusals can be read too."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        problem = of_http(error)
        problem.headers.update(permission(request, named))
        raise problem from None
    except Problem as problem:
        problem.headers.update(permission(request, named))
        raise
    if not response.prepared:
        permit(response, request, named)
    return response


def permit(response: web.StreamResponse, request: web.Request, named: tuple[str, ...]) -> None:
    response.headers.update(permission(request, named))


def permission(request: web.Request, named: tuple[str, ...]) -> dict[str, str]:
    """What lets the page that asked read the answer, if it may."""
    origin = request.headers.get(hdrs.ORIGIN, "")
    if not origin or not (ANY_ORIGIN in named or origin.lower() in named):
        return {hdrs.VARY: hdrs.ORIGIN} if named else {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED,
        hdrs.VARY: hdrs.ORIGIN,
    }
