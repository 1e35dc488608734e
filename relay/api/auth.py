"""Who asks, by the Authorization header: 401 and 403 as RFC 9110 and RFC 6750 have them.

Where neither tokens nor JWTs are set up, who asks from this machine itself is the operator, and nobody else is answered.
"""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from relay.api.jwts import Jwts, Refused
from relay.api.principal import LOOPBACK, Principal, of_tenant
from relay.api.problem import Problem
from relay.config import Settings
from relay.loopback import is_loopback, refusal
from relay.tokens import parse_tokens

REALM = 'Bearer realm="rowhook"'
_CREDENTIALS = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*) *")
# What proxies add: who asks is then not who connects.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


class Authenticator:
    """who() says it of a request, or refuses."""

    def __init__(self, settings: Settings) -> None:
        self._tokens = parse_tokens(settings.api_token)
        self._jwts = Jwts(settings)

    @property
    def is_open(self) -> bool:
        """Nothing is set up by which anybody could prove who they are."""
        return not self._tokens.known and not self._jwts.are_on

    async def who(self, request: web.Request) -> Principal:
        if self.is_open:
            return self._local(request)
        token = _token(request.headers.getall("Authorization", []))
        if name := self._tokens.who(token):
            return Principal(name)
        if not self._jwts.are_on or not self._jwts.may_be(token):
            raise _unauthorized("the token is not known here", "invalid_token")
        try:
            return of_tenant(await self._jwts.tenant(token))
        except Refused as why:
            raise _unauthorized(str(why), "invalid_token") from None

    def _local(self, request: web.Request) -> Principal:
        hosts, origins = request.headers.getall(hdrs.HOST, []), request.headers.getall(hdrs.ORIGIN, [])
        from_elsewhere = not is_loopback(request.remote or "") or any(name in request.headers for name in FORWARDED)
        if from_elsewhere or refusal(hosts, origins):
            raise Problem(
                403,
                "only-loopback",
                "only programs of this machine itself are answered, because neither ROWHOOK_API_TOKEN nor a key for JWTs is set",
            )
        return LOOPBACK


def forbidden(detail: str, field: str | None = None) -> Problem:
    """Who asks is known, and may not."""
    challenge = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope"'}
    return Problem(403, "forbidden", detail, field=field, headers=challenge)


def _token(given: list[str]) -> str:
    if not given:
        raise Problem(401, "unauthorized", "give a token: Authorization: Bearer …", headers={"WWW-Authenticate": REALM})
    if len(given) > 1:
        raise Problem(400, "malformed-header", "there is more than one Authorization header")
    match = _CREDENTIALS.fullmatch(given[0])
    if match is None:
        raise _unauthorized("Authorization has to be: Bearer …", "invalid_request" if given[0][:6].lower() == "bearer" else None)
    return match[1]


def _unauthorized(detail: str, error: str | None) -> Problem:
    challenge = REALM if error is None else f'{REALM}, error="{error}", error_description="{_quotable(detail)}"'
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": challenge})


def _quotable(text: str) -> str:
    """RFC 6750, section 3: printable ASCII without quotes and backslashes."""
    return re.sub(r'["\\]|[^\x20-\x7e]', "'", text)
