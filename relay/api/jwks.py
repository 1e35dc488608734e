"""The JWK set behind ROWHOOK_JWKS_URL: fetched when first needed, kept, and asked for again when it is old or lacks a key.

A token may name any key, so nobody can make us ask more often than every ten seconds. While the set can't be fetched, the one
that is here goes on being used for a day.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence

import aiohttp

from relay.api.jwt_keys import Key, parse_set
from relay.errors import UserMistake

log = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=5.0)
LARGEST = 1024 * 1024
FRESH_FOR = 600.0
KEPT_FOR = 86_400.0
ASK_AGAIN_AFTER = 10.0


class Unfetched(Exception):
    """There are no keys, because their URL doesn't answer."""


class KeySet:
    """keys() gives those that may have signed a token."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Sequence[Key] = ()
        self._fetched = -KEPT_FOR
        self._asked = -KEPT_FOR
        self._lock = asyncio.Lock()

    async def keys(self, id: str | None) -> Sequence[Key]:
        """All keys, as they were lately; newer ones where none is called ``id``. Raises Unfetched."""
        if self._age() > FRESH_FOR or not self._has(id):
            await self._fetch(id)
        if self._age() > KEPT_FOR:
            raise Unfetched
        return self._keys

    def _age(self) -> float:
        return time.monotonic() - self._fetched

    def _has(self, id: str | None) -> bool:
        return bool(self._keys) and (id is None or any(key.id == id for key in self._keys))

    async def _fetch(self, id: str | None) -> None:
        """One asks, the others wait for what it gets."""
        async with self._lock:
            if (self._age() <= FRESH_FOR and self._has(id)) or time.monotonic() - self._asked < ASK_AGAIN_AFTER:
                return
            self._asked = time.monotonic()
            try:
                self._keys = await self._get()
                self._fetched = time.monotonic()
            except (aiohttp.ClientError, TimeoutError, ValueError, UserMistake) as error:
                log.warning("the keys of JWTs could not be fetched", extra={"reason": str(error) or type(error).__name__})

    async def _get(self) -> list[Key]:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(self._url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            body = await response.content.read(LARGEST + 1)
            while len(body) <= LARGEST and (more := await response.content.read(LARGEST + 1)):
                body += more
            if len(body) > LARGEST:
                raise ValueError("the answer is too large")
            return parse_set(json.loads(body))
