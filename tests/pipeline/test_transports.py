"""One contract, both transports: each receiver here makes aiohttp and lean say the same (status, class, stale).

Real sockets on loopback, no Postgres. What they share on the wire is in test_transports_wire.py, hostile receivers are in
test_hostile.py.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable

import pytest

from relay.model import ErrorClass
from relay.send import Transport
from tests.pipeline.raw_server import RawConnection, RawServer
from tests.pipeline.transports import post, said

Serve = Callable[[RawConnection], None]
NOTHING = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def answer(*pieces: bytes) -> Serve:
    """Read a request, send these, close."""

    def serve(connection: RawConnection) -> None:
        if connection.request():
            for piece in pieces:
                connection.send(piece)

    return serve


def never_reads(connection: RawConnection) -> None:
    connection.closing.wait(20)


def reset_after(data: bytes) -> Serve:
    def serve(connection: RawConnection) -> None:
        connection.request()
        connection.send(data)
        connection.break_off()

    return serve


def status(line: bytes, *headers: bytes, body: bytes = b"") -> Serve:
    return answer(b"\r\n".join([b"HTTP/1.1 " + line, b"content-length: %d" % len(body), *headers]) + b"\r\n\r\n" + body)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

CASES: dict[str, tuple[Serve, int | None, str | None]] = {
    "200": (answer(NOTHING), 200, None),
    "204 without a body": (answer(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, None),
    "204 that announces a body": (answer(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"), 204, None),
    "304 without a body": (answer(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"), 304, "redirect"),
    "404": (status(b"404 Not Found"), 404, "http_4xx"),
    "410": (status(b"410 Gone"), 410, "http_4xx"),
    "429": (status(b"429 Slow", b"retry-after: 7"), 429, "http_4xx"),
    "500": (status(b"500 Oops", body=b"trace"), 500, "http_5xx"),
    "503 without a reason": (status(b"503"), 503, "http_5xx"),
    "999": (status(b"999 Odd"), 999, "protocol"),
    "unchunked, ended by closing": (answer(b"HTTP/1.1 200 OK\r\n\r\nhello"), 200, None),
    "http/1.0": (answer(b"HTTP/1.0 200 OK\r\n\r\nhello"), 200, None),
    "chunked": (answer(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"), 200, None),
    "chunked in pieces": (answer(CHUNKED, b"5\r", b"\nhel", b"lo\r\n", b"0\r\n", b"\r\n"), 200, None),
    "chunked with trailers": (answer(CHUNKED + b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"), 200, None),
    "chunked, cut": (answer(CHUNKED + b"5\r\nhel"), 200, "protocol"),
    "100-continue": (answer(b"HTTP/1.1 100 Continue\r\n\r\n" + NOTHING), 200, None),
    "103 early hints": (answer(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", NOTHING), 200, None),
    "103, then nothing": (answer(b"HTTP/1.1 103 Early Hints\r\n\r\n"), None, "reset"),
    "bare line feeds": (answer(b"HTTP/1.1 200 OK\ncontent-length: 0\n\n"), 200, None),
    "resets": (reset_after(b""), None, "reset"),
    "resets a body without a length": (reset_after(b"HTTP/1.1 200 OK\r\n\r\nhello"), 200, None),
    "a giant reason": (answer(b"HTTP/1.1 200 " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n"), None, "too_large"),
}


@pytest.mark.parametrize("case", CASES)
async def test_outcome(case: str, transport: Transport) -> None:
    serve, status_code, error_class = CASES[case]
    with RawServer(serve) as server:
        outcome = await post(transport, server.url())
    assert said(outcome) == (status_code, error_class, False), outcome
    assert (outcome.error is None) == (error_class is None)
    assert not outcome.error or "\n" not in outcome.error


async def test_a_chunk_without_a_length_is_no_http(transport: Transport) -> None:
    """Whether the status is known by then is chance: aiohttp loses a head that comes in one piece with what is wrong."""
    with RawServer(answer(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n")) as server:
        assert (await post(transport, server.url())).error_class is ErrorClass.PROTOCOL


@pytest.mark.parametrize("size", [0, 1_000, 100_000, 5_000_000])
async def test_who_never_reads_times_out(transport: Transport, size: int) -> None:
    with RawServer(never_reads) as server:
        outcome = await post(transport, server.url(), body=b"x" * size, timeout=0.4)
    assert said(outcome) == (None, "timeout", False)
    assert outcome.duration < 5


async def test_refused(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert said(await post(transport, f"http://127.0.0.1:{port}/")) == (None, "refused", False)


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b.invalid", f"{'a' * 70}.invalid"])
async def test_no_such_name(transport: Transport, host: str) -> None:
    assert said(await post(transport, f"http://{host}/")) == (None, "dns", False)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "/hook", "http://", "http://x:99999/"])
async def test_what_is_no_url_is_our_mistake(transport: Transport, url: str) -> None:
    assert (await post(transport, url)).error_class is ErrorClass.INTERNAL


@pytest.mark.parametrize("url", ["http://2130706433/", "http://127.1/", "http://0x7f.1/", "http://127.0.0.1./"])
async def test_an_address_in_disguise_is_not_dialled(transport: Transport, url: str) -> None:
    assert said(await post(transport, url)) == (None, "blocked", False)


async def test_a_name_is_resolved(transport: Transport) -> None:
    with RawServer(answer(NOTHING)) as server:
        outcome = await post(transport, f"http://localhost:{server.port}/")
    assert said(outcome) == (200, None, False)


# --- what is kept of an answer -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 1_000_000])
async def test_the_excerpt_is_the_first_4_kb(transport: Transport, size: int) -> None:
    body = (b"0123456789" * (size // 10 + 1))[:size]
    with RawServer(status(b"200 OK", body=body)) as server:
        outcome = await post(transport, server.url())
    assert said(outcome) == (200, None, False)
    assert outcome.excerpt == body[:4096].decode()


async def test_an_excerpt_can_be_kept_by_postgres(transport: Transport) -> None:
    with RawServer(status(b"500 a\xffb", body=b"a\0b\xff\xc3")) as server:
        outcome = await post(transport, server.url())
    assert outcome.excerpt == "a\ufffdb\ufffd\ufffd"
    assert outcome.error is not None and outcome.error.startswith("answered 500 a") and outcome.error.encode()


async def test_a_gzip_bomb_is_not_inflated(transport: Transport) -> None:
    body = gzip.compress(b"a" * 10_000_000)
    with RawServer(status(b"200 OK", b"content-encoding: gzip", body=body)) as server:
        outcome = await post(transport, server.url())
    assert said(outcome) == (200, None, False)
    assert outcome.excerpt is not None and outcome.excerpt.startswith("\x1f\ufffd") and len(outcome.excerpt) <= 4096


@pytest.mark.parametrize("value", [b"120", b"Tue, 24 Nov 2026 02:00:00 GMT", b"  soon ", b"a\xffb"])
async def test_retry_after_is_passed_through(transport: Transport, value: bytes) -> None:
    with RawServer(status(b"503 Later", b"Retry-AFTER: " + value, b"retry-after: second")) as server:
        outcome = await post(transport, server.url())
    assert outcome.retry_after == value.strip().decode("utf-8", "surrogateescape")


async def test_no_retry_after(transport: Transport) -> None:
    with RawServer(answer(b"HTTP/1.1 103 X\r\nretry-after: 9\r\n\r\n" + NOTHING)) as server:
        assert (await post(transport, server.url())).retry_after is None
