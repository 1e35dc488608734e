"""From a JWT to the tenant whom it speaks for: its signature, its times, what it is for."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any

import jwt

from relay.api import jwt_keys
from relay.api.jwks import KeySet, Unfetched
from relay.api.jwt_keys import Key
from relay.api.problem import busy
from relay.config import Settings

log = logging.getLogger(__name__)

LEEWAY = 10  # seconds, for clocks that differ
LONGEST_TENANT = 500
SHORTEST_SECRET = 32  # RFC 7518, section 3.2; what is shorter is the application's, and used

_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class Refused(Exception):
    """Why a token is not accepted, for the one who sent it."""


class Jwts:
    """What settings say of JWTs; tenant() raises Refused."""

    def __init__(self, settings: Settings) -> None:
        self._claim = settings.jwt_tenant_claim
        self._audience = settings.jwt_audience or None
        self._issuer = settings.jwt_issuer or None
        self._shared = [jwt_keys.shared(settings.jwt_secret)] if settings.jwt_secret else []
        self._public = jwt_keys.read_file(settings.jwt_key_file) if settings.jwt_key_file else []
        self._set = KeySet(settings.jwks_url) if settings.jwks_url else None
        if settings.jwt_secret and len(settings.jwt_secret.encode()) < SHORTEST_SECRET:
            log.warning("ROWHOOK_JWT_SECRET is shorter than 32 bytes: it can be guessed from one token, given time")
        warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)

    @property
    def are_on(self) -> bool:
        return bool(self._shared or self._public or self._set)

    @staticmethod
    def may_be(token: str) -> bool:
        return bool(_JWT.fullmatch(token))

    async def tenant(self, token: str) -> str:
        claims = self._verified(token, await self._candidates(token))
        if claims.get("type") == "refresh":  # as Flask-JWT-Extended makes them: only good for getting another one
            raise Refused("this is a refresh token")
        return self._tenant_of(claims)

    async def _candidates(self, token: str) -> Sequence[tuple[Key, str]]:
        """Keys that may verify it, each with the token's own algorithm, which must be one of the key's."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise Refused("the token is malformed") from None
        algorithm, id = header.get("alg"), header.get("kid")
        keys = [*self._shared, *self._public]
        if self._set and algorithm not in jwt_keys.HMAC:
            try:
                keys += await self._set.keys(id if isinstance(id, str) else None)
            except Unfetched:
                raise busy("the keys of JWTs can't be had at this moment", 10) from None
        fitting = [key for key in keys if algorithm in key.algorithms]
        named = [key for key in fitting if key.id == id and id is not None]
        return [(key, str(algorithm)) for key in named or [key for key in fitting if key.id is None or id is None]]

    def _verified(self, token: str, candidates: Sequence[tuple[Key, str]]) -> dict[str, Any]:
        for key, algorithm in candidates:
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY,
                    # Subjects that are numbers are common, whatever RFC 7519 says.
                    options={"require": ["exp"], "verify_sub": False, "verify_jti": False},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise Refused("the token has expired") from None
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
                raise Refused(f"the token is not accepted: {type(error).__name__.removesuffix('Error')}") from None
        raise Refused("no key that is known here has signed the token")

    def _tenant_of(self, claims: dict[str, Any]) -> str:
        value = claims.get(self._claim)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        good = isinstance(value, str) and 1 <= len(value) <= LONGEST_TENANT and value.isprintable()
        if not good:
            raise Refused(f"its claim {self._claim!r} does not name a tenant")
        return str(value)
