"""Hostile receivers, by name, and what an attempt comes to at each: for the transports' contract and the bench ``hostile``.

    python -m benchmarks.hostile_receivers FOLDER    serves all; prints their URLs with spaces between; ends with its input

Certificates are of an authority that FOLDER/ca.pem has, where they are of any.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme

from benchmarks import misbehaviour as m
from benchmarks.misbehaviour import NOTHING, Reader, Serve, Writer, again, answer, begin, drip, flood, hold, reset_after, status

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
HELLO = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"  # the first bytes of a ServerHello of 16 kB
PRIVATE = b"http://127.0.0.1:1/admin"

# What stands in Retry-After: no number, no time, or one that nobody can wait for.
SILLY_WAITS = (
    *(b"", b"-1", b"0", b"1e9", b"nan", b"inf", b"Infinity", b"0x10", b"1_000", b"120, 240", b"soon", b"\xff", b"9" * 20),
    *(b"Tue, 99 Foo 2026 25:61:61 GMT", b"Fri, 31 Dec 9999 23:59:59 GMT", b"Thu, 01 Jan 1970 00:00:00 GMT", b"9" * 5000),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hostile:
    """``status`` and ``error_class`` are what comes of an attempt; with ``or_none`` the status may as well be lost, as aiohttp
    loses a head that comes in one piece with what is wrong behind it, and then it is ``protocol``. ``certificate``: over TLS.
    """

    serve: Serve
    status: int | None
    error_class: str | None
    certificate: str = ""
    scheme: str = "http"
    or_none: bool = False


RECEIVERS: Mapping[str, Hostile] = {
    # It takes its time.
    "never reads": Hostile(m.never_reads, None, "timeout"),
    "never answers": Hostile(hold(), None, "timeout"),
    "drips its status line": Hostile(drip(b"HTTP/1.1 200 ", b"O"), None, "timeout"),
    "drips its headers": Hostile(drip(OK, b"x"), None, "timeout"),
    "drips 1xx answers": Hostile(drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), None, "timeout"),
    "drips its body": Hostile(drip(OK + b"content-length: 1000\r\n\r\n", b"."), 200, "timeout"),
    "drips chunks": Hostile(drip(CHUNKED, b"1\r\nx\r\n"), 200, "timeout"),
    "promises more and waits": Hostile(hold(OK + b"content-length: 100\r\n\r\nshort"), 200, "timeout"),
    # It says too much.
    "endless headers": Hostile(flood(OK, b"x: y\r\n" * 100), None, "too_large"),
    "an endless header": Hostile(flood(OK + b"x: ", b"y" * 1000), None, "too_large"),
    "an endless status line": Hostile(flood(b"HTTP/1.1 200 ", b"O" * 1000), None, "too_large"),
    "endless 1xx": Hostile(flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), None, "too_large"),
    "one giant header": Hostile(answer(OK + b"x: " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n"), None, "too_large"),
    "headers too large together": Hostile(
        answer(OK + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 1000) for n in range(20)) + b"\r\n"), None, "too_large"
    ),
    "too many headers": Hostile(answer(OK + b"".join(b"x-%d: y\r\n" % n for n in range(200)) + b"\r\n"), None, "too_large"),
    "endless body": Hostile(flood(OK + b"\r\n", b"y" * 10_000), 200, None),
    "endless body of a failure": Hostile(flood(b"HTTP/1.1 500 Oops\r\n\r\n", b"y" * 10_000), 500, "http_5xx"),
    "endless chunks": Hostile(flood(CHUNKED, b"1\r\ny\r\n" * 100), 200, None),
    "an endless chunk extension": Hostile(flood(CHUNKED + b"5;", b"x" * 1000), 200, None),
    "endless trailers": Hostile(flood(CHUNKED + b"0\r\n", b"x: y\r\n" * 100), None, "too_large"),
    "gzip bomb": Hostile(status(b"200 OK", b"content-encoding: gzip", body=gzip.compress(b"a" * 10_000_000)), 200, None),
    # It is no HTTP.
    "garbage": Hostile(answer(b"\x00\x01 what is HTTP?\r\n\r\n"), None, "protocol"),
    "ssh": Hostile(answer(b"SSH-2.0-OpenSSH_9.6\r\n"), None, "protocol"),
    "http/2": Hostile(answer(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), None, "protocol"),
    "http/0.9": Hostile(answer(b"hello\r\n"), None, "protocol"),
    "http/9.9": Hostile(answer(b"HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n"), None, "protocol"),
    "no number for a status": Hostile(answer(b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n"), None, "protocol"),
    "no number for a length": Hostile(answer(OK + b"content-length: five\r\n\r\nhello"), None, "protocol"),
    "a length below zero": Hostile(answer(OK + b"content-length: -1\r\n\r\nhello"), None, "protocol"),
    "two lengths": Hostile(answer(OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello"), None, "protocol"),
    "NUL in a header": Hostile(answer(OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n"), None, "protocol"),
    "NUL in a name": Hostile(answer(OK + b"x\0y: b\r\ncontent-length: 0\r\n\r\n"), None, "protocol"),
    "a chunk of 16 EB": Hostile(hold(CHUNKED, b"ffffffffffffffff0\r\n"), 200, "protocol", or_none=True),
    "a chunk of 8 EB": Hostile(hold(CHUNKED + b"7fffffffffffffff\r\n"), 200, "timeout"),
    "switches protocols": Hostile(answer(b"HTTP/1.1 101 Switch\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"), 101, "protocol"),
    # It goes away.
    "closes at once": Hostile(m.closes_at_once, None, "reset"),
    "closes after half of the body": Hostile(m.closes_midway, None, "reset"),
    "hangs up": Hostile(answer(), None, "reset"),
    "hangs up in the head": Hostile(answer(OK + b"content-le"), None, "reset"),
    "resets in the head": Hostile(reset_after(OK), None, "reset"),
    "resets in the body": Hostile(reset_after(OK + b"content-length: 100\r\n\r\nshort"), 200, "protocol"),
    "half-closes first": Hostile(m.ends_first, None, "reset"),
    "half-closes after its answer": Hostile(m.ends_after, 200, None),
    "shorter than announced": Hostile(answer(OK + b"content-length: 100\r\n\r\nshort"), 200, "protocol"),
    "longer than announced": Hostile(again(OK + b"content-length: 2\r\n\r\nhello"), 200, None, or_none=True),
    # It answers otherwise than it was asked.
    "answers before the body is read": Hostile(m.answers_early, 413, "http_4xx"),
    "a second answer unasked": Hostile(again(NOTHING + NOTHING), 200, None),
    "connection: close on each": Hostile(again(m.whole(b"200 OK", b"connection: close")), 200, None),
    "sets cookies": Hostile(again(m.whole(b"200 OK", b"set-cookie: a=b; Path=/", b"set-cookie: c=" + b"d" * 4000)), 200, None),
    **{
        f"redirects by {code}": Hostile(again(m.whole(b"%d There" % code, b"location: " + PRIVATE)), code, "redirect")
        for code in (301, 302, 303, 307, 308)
    },
    "retry-after of every silly kind": Hostile(
        again(*(m.whole(b"503 Later", b"retry-after: " + wait) for wait in SILLY_WAITS)), 503, "http_5xx"
    ),
    # TLS.
    "never begins TLS": Hostile(m.never_reads, None, "timeout", scheme="https"),
    "stalls midway through TLS": Hostile(begin(HELLO, b""), None, "timeout", scheme="https"),
    "a TLS handshake by drips": Hostile(begin(HELLO, b"\x00"), None, "timeout", scheme="https"),
    "a flood for a handshake": Hostile(
        flood(b"", b"\x16\x03\x03\x40\x00" + b"\x02" * 16384, reads=1), None, "tls", scheme="https"
    ),
    "plain http where TLS is expected": Hostile(begin(b"HTTP/1.1 400 Bad\r\n\r\n", b""), None, "tls", scheme="https"),
    "expired certificate": Hostile(again(NOTHING), None, "tls", "expired"),
    "another name's certificate": Hostile(again(NOTHING), None, "tls", "another name"),
    "an unknown authority": Hostile(again(NOTHING), None, "tls", "unknown"),
    "drips its body over TLS": Hostile(drip(OK + b"content-length: 1000\r\n\r\n", b"."), 200, "timeout", "good"),
    "ends TLS with the body cut": Hostile(answer(OK + b"content-length: 100\r\n\r\nshort"), 200, "protocol", "good"),
    "endless headers over TLS": Hostile(flood(OK, b"x: y\r\n" * 100), None, "too_large", "good"),
}


class Certificates:
    """Of an authority, and of what is wrong with one."""

    def __init__(self) -> None:
        self.authority = trustme.CA()

    def context(self, kind: str) -> ssl.SSLContext | None:
        """A server's, for 127.0.0.1; None where it speaks no TLS, or speaks it by itself."""
        if not kind:
            return None
        issuer = trustme.CA() if kind == "unknown" else self.authority
        until = datetime(2020, 1, 1, tzinfo=UTC) if kind == "expired" else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert("192.0.2.1" if kind == "another name" else "127.0.0.1", not_after=until).configure_cert(context)
        return context


class Receiver:
    """One of them, serving until the end of the block. ``open`` counts its connections, ``connections`` those that there were."""

    def __init__(self, hostile: Hostile, certificates: Certificates) -> None:
        self._hostile = hostile
        self._tls = certificates.context(hostile.certificate)
        self.open = self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else self._hostile.scheme}://127.0.0.1:{self.port}/"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self._tls, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _talk(self, reader: Reader, writer: Writer) -> None:
        self.open += 1
        self.connections += 1
        try:
            with contextlib.suppress(OSError, EOFError):  # an EOF in the middle is one, and what TLS finds wrong is an OSError
                await self._hostile.serve(reader, writer)
        finally:
            self.open -= 1
            writer.close()


async def main(folder: Path) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # of handshakes that the other side breaks off
    certificates = Certificates()
    certificates.authority.cert_pem.write_to_path(folder / "ca.pem")
    async with contextlib.AsyncExitStack() as stack:
        served = [await stack.enter_async_context(Receiver(one, certificates).serving()) for one in RECEIVERS.values()]
        print(*(receiver.url for receiver in served), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
