"""The bare aiohttp client: one session, without what costs time and is not wanted: cookies, redirects, headers of its own."""

from __future__ import annotations

import aiohttp


class AiohttpClient:
    """See ``benchmarks.client.Client``."""

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer.status
