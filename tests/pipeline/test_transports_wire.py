"""Both transports on the wire: connections kept, stale, cut, given up, counted; TLS; the bytes of a request."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from relay.dial import Dialler
from relay.lean_pool import LeanPool
from relay.send import Transport
from relay.send_lean import LeanTransport
from tests.pipeline.raw_server import RawConnection, RawServer
from tests.pipeline.transports import HEADERS, OPEN, TRANSPORTS, post, said

OK = (200, None, False)


def polite(connection: RawConnection) -> None:
    while connection.request():
        connection.answer(b"ok")


def never_reads(connection: RawConnection) -> None:
    connection.closing.wait(20)


def once(*pieces: bytes) -> Callable[[RawConnection], None]:
    """One answer to each connection's first request, which it then holds open until the other side closes it."""

    def serve(connection: RawConnection) -> None:
        if connection.request():
            for piece in pieces:
                connection.send(piece)
            connection.gone()

    return serve


# --- connections -------------------------------------------------------------------------------------------


async def test_a_connection_is_kept(transport: Transport) -> None:
    with RawServer(polite) as server:
        for _ in range(20):
            assert said(await post(transport, server.url())) == OK
        assert server.connections == 1


def in_turn(*seconds: float) -> Callable[[RawConnection], None]:
    """The answers of one connection come after so long each."""

    def serve(connection: RawConnection) -> None:
        for wait in seconds:
            if connection.request() and not connection.closing.wait(wait):
                connection.answer(b"ok")

    return serve


async def test_each_request_of_a_kept_connection_has_its_own_timeout(transport: Transport) -> None:
    """The timer that one has left neither ends a later one that may take longer, nor holds up the end of one that may not."""
    with RawServer(in_turn(0, 0.6, 0, 30)) as server:
        for timeout in (0.3, 20, 30):
            assert said(await post(transport, server.url(), timeout=timeout)) == OK
        started = time.monotonic()
        assert said(await post(transport, server.url(), timeout=0.5)) == (None, "timeout", False)
        assert 0.4 < time.monotonic() - started < 10
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" * 2,
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 70_000,
    ],
    ids=["connection: close", "http/1.0", "two answers", "cut at the limit"],
)
async def test_a_connection_is_not_kept(transport: Transport, answer: bytes) -> None:
    with RawServer(once(answer)) as server:
        for n in (1, 2, 3):
            assert said(await post(transport, server.url())) == OK
            assert server.connections == n


@pytest.mark.parametrize("tail", [b"HTTP/1.1 500 Late\r\ncontent-length: 0\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 500 L"])
async def test_what_comes_unasked_is_no_answer(transport: Transport, tail: bytes) -> None:
    """The receiver says something more on an idle connection: the next request must not take it for its answer."""
    late, sent = threading.Event(), threading.Event()

    def serve(connection: RawConnection) -> None:
        while connection.request():
            connection.answer()
            if connection.number == 1:
                late.wait(10)
                connection.send(tail)
                sent.set()

    with RawServer(serve) as server:
        assert said(await post(transport, server.url())) == OK
        late.set()
        await asyncio.to_thread(sent.wait, 10)
        assert said(await post(transport, server.url())) == OK
        assert server.connections == 2


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_kept_connection_that_the_receiver_closed_is_stale(transport: Transport, rudely: bool) -> None:
    def serve(connection: RawConnection) -> None:
        connection.request()
        connection.answer()
        if connection.number == 1 and connection.request() and rudely:
            connection.break_off()
        elif connection.number == 2:
            polite(connection)

    with RawServer(serve) as server:
        assert said(await post(transport, server.url())) == OK
        assert said(await post(transport, server.url())) == (None, "reset", True)
        assert said(await post(transport, server.url())) == OK
        assert server.connections == 2


@pytest.mark.parametrize("after", ["eof_received", "connection_lost", "data_received"])
async def test_a_connection_that_ends_right_after_the_answer_is_not_kept(after: str) -> None:
    """uvloop reads both before it wakes up the one who waits: by then the connection must not pass for a good one."""
    pool = LeanPool(4, Dialler(OPEN))
    await pool.open()
    with RawServer(once()) as server:
        connection = await pool.get(("http", "127.0.0.1", server.port, ""))
        answered = connection.exchange(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"", 5)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        match after:
            case "eof_received":
                connection.eof_received()
            case "connection_lost":
                connection.connection_lost(None)
            case _:
                connection.data_received(b"more")
        await answered
        pool.give(connection, connection.place)
        assert pool.size == 0
    await pool.close()


async def test_two_places_share_no_connection(transport: Transport) -> None:
    with RawServer(polite) as one, RawServer(polite) as other:
        for server in (one, other, one, other):
            assert said(await post(transport, server.url())) == OK
        assert (one.connections, other.connections) == (1, 1)


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_connections_are_bounded(kind: str) -> None:
    """Posts beyond the limit wait; idle connections make room for other places."""
    transport = TRANSPORTS[kind](5, OPEN)
    await transport.open()
    with RawServer(polite) as one, RawServer(polite) as other:
        for server in (one, other):
            outcomes = await asyncio.gather(*[post(transport, server.url()) for _ in range(60)])
            assert [said(outcome) for outcome in outcomes] == [OK] * 60
            assert server.connections <= 5
    await transport.close()


async def test_many_at_once(transport: Transport) -> None:
    with RawServer(polite) as server:
        outcomes = await asyncio.gather(*[post(transport, server.url(f"/{n}")) for n in range(500)])
        assert [said(outcome) for outcome in outcomes] == [OK] * 500
        assert server.connections <= 64
        assert sorted(request.split(b" ", 2)[1] for request in server.requests) == sorted(b"/%d" % n for n in range(500))


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp's is its own affair; the lean one's clock is shortened here."""
    monkeypatch.setattr("relay.lean_pool.IDLE", 0.05)
    closed = threading.Event()

    def serve(connection: RawConnection) -> None:
        while connection.request():
            connection.answer()
        closed.set()

    transport = LeanTransport(4, OPEN)
    await transport.open()
    with RawServer(serve) as server:
        assert said(await post(transport, server.url())) == OK
        assert await asyncio.to_thread(closed.wait, 5)
    await transport.close()


async def test_a_body_that_nobody_reads_is_held_once() -> None:
    body = b"x" * 20_000_000
    transport = LeanTransport(4, OPEN)
    await transport.open()
    tracemalloc.start()
    try:
        with RawServer(never_reads) as server:
            assert said(await post(transport, server.url(), body=body, timeout=0.3)) == (None, "timeout", False)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
        await transport.close()


# --- bodies ------------------------------------------------------------------------------------------------


async def test_a_large_body_arrives_whole(transport: Transport) -> None:
    body = os.urandom(5_000_000)
    with RawServer(polite) as server:
        assert said(await post(transport, server.url(), body=body)) == OK
        assert said(await post(transport, server.url(), body=body[:70_000])) == OK
        assert server.connections == 1
        assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == [body, body[:70_000]]


async def test_an_early_answer_counts(transport: Transport) -> None:
    """The receiver answers by the headers alone and reads nothing more."""

    def serve(connection: RawConnection) -> None:
        if connection.head():
            connection.answer(status=b"413 Too Large")
            connection.closing.wait(10)

    with RawServer(serve) as server:
        for n in (1, 2):
            assert said(await post(transport, server.url(), body=b"x" * 20_000_000)) == (413, "http_4xx", False)
            assert server.connections == n


async def test_cancelling_leaves_nothing_behind(transport: Transport) -> None:
    asked, gone = threading.Event(), threading.Event()

    def serve(connection: RawConnection) -> None:
        if connection.number > 1:
            return polite(connection)
        connection.request()
        asked.set()
        if connection.gone():
            gone.set()
        return None

    with RawServer(serve) as server:
        task = asyncio.create_task(post(transport, server.url()))
        await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gone.wait, 10)
        assert said(await post(transport, server.url())) == OK


async def test_closing_ends_what_is_out(transport: Transport) -> None:
    asked = threading.Event()

    def serve(connection: RawConnection) -> None:
        connection.request()
        asked.set()
        connection.gone()

    with RawServer(serve) as server:
        task = asyncio.create_task(post(transport, server.url()))
        await asyncio.to_thread(asked.wait, 10)
        await transport.close()
        assert said(await asyncio.wait_for(task, 5)) == (None, "reset", False)


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_failures_leave_no_descriptor_open(kind: str) -> None:
    def serve(connection: RawConnection) -> None:
        connection.request()
        match connection.number % 5:
            case 0:
                connection.break_off()
            case 1:
                connection.send(b"garbage\r\n\r\n")
            case 2:
                connection.send(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000)
            case 3:
                connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
                connection.gone()

    transport = TRANSPORTS[kind](64, OPEN)
    await transport.open()
    await post(transport, "http://nobody.invalid/")
    with RawServer(serve) as server:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - what the kernel says
        outcomes = [await post(transport, server.url(), timeout=0.05) for _ in range(200)]
        await transport.close()
    assert all(outcome.error_class for outcome in outcomes)
    assert len({outcome.error_class for outcome in outcomes}) >= 4
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


# --- the request -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}",
        "http://127.0.0.1:{port}/a%20b/%C3%A9?x=1&y=%2F",
        "http://localhost:{port}/é?q=ü",
        "http://me:pa%3Ass@127.0.0.1:{port}/",
        "HTTP://LOCALHOST:{port}/Hook?",
    ],
)
async def test_both_send_the_same(url: str) -> None:
    requests = []
    for kind in TRANSPORTS.values():
        transport = kind(1, OPEN)
        await transport.open()
        with RawServer(polite) as server:
            assert said(await post(transport, url.format(port=server.port), body=b'{"a":1}')) == OK
            raw = server.requests[0].replace(b"%d" % server.port, b"PORT")
        await transport.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        requests.append((line, sorted((name.lower(), value) for name, _, value in (f.partition(b":") for f in fields)), body))
    assert requests[0] == requests[1]
    assert len(requests[0][1]) >= len(HEADERS) + 2


async def test_cookies_are_not_sent_back(transport: Transport) -> None:
    def serve(connection: RawConnection) -> None:
        while connection.request():
            connection.answer(b"", b"set-cookie: a=b")

    with RawServer(serve) as server:
        for _ in range(2):
            await post(transport, server.url())
        assert not any(b"cookie" in request.lower() for request in server.requests)


# --- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that the transports trust, as they trust the system's: what they open later reads this file."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def served_by(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def test_tls(authority: trustme.CA, transport: Transport) -> None:
    names: list[str | None] = []
    context = served_by(authority.issue_cert("localhost", "127.0.0.1"))
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    body = os.urandom(1_000_000)
    with RawServer(polite, context) as server:
        for host in ("localhost", "localhost", "127.0.0.1"):
            assert said(await post(transport, f"https://{host}:{server.port}/hook", body=body)) == OK
        assert server.requests[0].endswith(body)
        assert names == ["localhost", None]


async def test_tls_that_ends_with_the_body_cut(authority: trustme.CA, transport: Transport) -> None:
    def serve(connection: RawConnection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")

    with RawServer(serve, served_by(authority.issue_cert("localhost"))) as server:
        assert said(await post(transport, f"https://localhost:{server.port}/")) == (200, "protocol", False)


@pytest.mark.parametrize("case", ["expired", "another name", "unknown authority"])
async def test_tls_that_is_not_to_be_trusted(case: str, authority: trustme.CA, transport: Transport) -> None:
    match case:
        case "expired":
            certificate = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        case "another name":
            certificate = authority.issue_cert("elsewhere.example")
        case _:
            certificate = trustme.CA().issue_cert("localhost")
    with RawServer(polite, served_by(certificate)) as server:
        outcome = await post(transport, f"https://localhost:{server.port}/")
        assert said(outcome) == (None, "tls", False)
        assert server.requests == []


async def test_tls_to_a_plain_port(transport: Transport) -> None:
    def serve(connection: RawConnection) -> None:
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.gone()

    with RawServer(serve) as server:
        assert said(await post(transport, server.url(scheme="https"))) == (None, "tls", False)


async def test_tls_that_never_begins_times_out(transport: Transport) -> None:
    with RawServer(never_reads) as server:
        assert said(await post(transport, server.url(scheme="https"), timeout=0.4)) == (None, "timeout", False)
