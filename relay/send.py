"""One POST -> one outcome. The aiohttp transport.

aiohttp's defaults that would hurt are off: redirects (a 307 re-POSTs body and signature to another host), cookies,
the proxy environment,
decompression (204 kB of gzip become 200 MB). The timeout is one for all of the request, slow drips included; of the
answer at most
64 kB are read. Sources: hazards 32, 34, 35.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from types import SimpleNamespace
from typing import Any

import aiohttp

from relay.judge import classify
from relay.model import ErrorClass, Outcome

log = logging.getLogger(__name__)

MOST_READ = 64 * 1024
EXCERPT = 4 * 1024
MOST_HEADERS = 16 * 1024


class Transport:
    """A pool of connections with keep-alive; ``open`` it inside the running loop, ``close`` it at the end."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._client: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_in_flight, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=MOST_HEADERS,
            max_field_size=MOST_HEADERS,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            trace_configs=[trace],
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def post(self, url: str, headers: dict[str, str], body: bytes, timeout: float) -> Outcome:
        """Send and say what came of it; never raises but for cancellation. ``timeout`` is seconds in all."""
        assert self._client is not None
        started = time.monotonic()
        connection = SimpleNamespace(reused=False)
        status: int | None = None
        try:
            async with (
                asyncio.timeout(timeout),
                self._client.post(
                    url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=connection, timeout=_NO_TIMEOUT
                ) as answer,
            ):
                status = answer.status
                excerpt = await _read_excerpt(answer)
                return Outcome(
                    started,
                    time.monotonic() - started,
                    status_code=status,
                    error_class=classify(status),
                    error=None if 200 <= status < 300 else one_line(f"answered {status} {answer.reason or ''}"),
                    excerpt=excerpt,
                    retry_after=answer.headers.get("Retry-After"),
                )
        except Exception as error:
            error_class = error_class_of(error)
            if error_class is ErrorClass.INTERNAL:
                log.exception("a request failed in a way that should not be")
            stale = connection.reused and error_class is ErrorClass.RESET and status is None
            return Outcome(
                started,
                time.monotonic() - started,
                status_code=status,
                error_class=error_class,
                error=describe(error, timeout),
                stale=stale,
            )


_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # asyncio.timeout covers everything, in one place


async def _note_reuse(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    context.trace_request_ctx.reused = True


async def _read_excerpt(answer: aiohttp.ClientResponse) -> str:
    """The first 4 kB of at most 64 kB that are read; a longer body is cut and its connection not used again."""
    kept = bytearray()
    read = 0
    async for piece in answer.content.iter_any():
        kept += piece[: EXCERPT - len(kept)]
        read += len(piece)
        if read >= MOST_READ:
            answer.close()
            break
    return text_of(bytes(kept))


def text_of(body: bytes) -> str:
    """As Postgres can keep it: no NUL, no broken UTF-8."""
    return body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


# The first that fits, from the narrow to the wide.
_CLASSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ErrorClass], ...] = (
    (TimeoutError, ErrorClass.TIMEOUT),
    (aiohttp.ClientConnectorDNSError, ErrorClass.DNS),
    ((aiohttp.ClientSSLError, ssl.SSLError), ErrorClass.TLS),
    (aiohttp.ClientConnectorError, ErrorClass.REFUSED),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError), ErrorClass.RESET),
    (aiohttp.http_exceptions.LineTooLong, ErrorClass.TOO_LARGE),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.http_exceptions.HttpProcessingError), ErrorClass.PROTOCOL),
    (OSError, ErrorClass.REFUSED),
)


def error_class_of(error: BaseException) -> ErrorClass:
    """The class of a failure; a cause that says more (a header too long, TLS within a connect) decides."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, aiohttp.ClientResponseError) and (
        isinstance(cause, aiohttp.http_exceptions.LineTooLong) or "more than" in error.message.lower()
    ):
        return ErrorClass.TOO_LARGE
    for kinds, error_class in _CLASSES:
        if isinstance(error, kinds):
            return error_class
    return ErrorClass.INTERNAL


def describe(error: BaseException, timeout: float) -> str:
    """One line for the record."""
    if isinstance(error, TimeoutError):
        return f"no complete answer within {timeout:g} s"
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """At most 500 characters that Postgres can keep."""
    return text_of(" ".join(text.split()).encode("utf-8", "replace"))[:500]
