"""Servers that misbehave, below HTTP: a function per test gets each connection as a plain socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any, Self

Serve = Callable[["RawConnection"], None]


class RawConnection:
    """One accepted connection; ``number`` counts from 1."""

    def __init__(self, server: RawServer, accepted: socket.socket, number: int) -> None:
        self.number = number
        self.closing = server.closing
        self._server = server
        self._socket = accepted
        self._read = b""

    def request(self) -> bytes:
        """Read one whole request and note it; empty when the other side has gone."""
        while b"\r\n\r\n" not in self._read:
            if not (piece := self._socket.recv(65536)):
                return b""
            self._read += piece
        head, _, rest = self._read.partition(b"\r\n\r\n")
        length = next(int(v) for n, _, v in (h.partition(b":") for h in head.split(b"\r\n")) if n.lower() == b"content-length")
        while len(rest) < length:
            if not (piece := self._socket.recv(65536)):
                return b""
            rest += piece
        self._read = rest[length:]
        request = head + b"\r\n\r\n" + rest[:length]
        self._server.requests.append(request)
        return request

    def head(self) -> bytes:
        """Read up to the end of the headers only, by single bytes: the body stays in the socket."""
        while not self._read.endswith(b"\r\n\r\n"):
            if not (piece := self._socket.recv(1)):
                return b""
            self._read += piece
        head, self._read = self._read, b""
        return head

    @property
    def shown(self) -> str | None:
        """The common name of the certificate that the other side showed."""
        found: dict[str, Any] = (self._socket.getpeercert() if isinstance(self._socket, ssl.SSLSocket) else None) or {}
        names = [value for part in found.get("subject", ()) for name, value in part if name == "commonName"]
        return names[0] if names else None

    def gone(self) -> bool:
        """Block until the other side has closed; False if it sent something instead."""
        return not self._socket.recv(1)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        """Half-close: nothing more is sent, but read."""
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self, body: bytes = b"", *headers: bytes, status: bytes = b"200 OK") -> None:
        """A well-formed answer."""
        lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def break_off(self) -> None:
        """Close with a reset instead of an orderly end."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class RawServer:
    """Calls ``serve`` with each connection, in a thread of its own; then the connection is closed."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()
        self._serve = serve
        self._tls = tls
        self._listener = socket.create_server((host, port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="raw server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.closing.set()
        for one in (self._listener, *list(self._open)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()

    def url(self, path: str = "/hook", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(accepted, self.connections), daemon=True).start()

    def _talk(self, accepted: socket.socket, number: int) -> None:
        self._open.add(accepted)
        try:
            with contextlib.suppress(OSError), accepted:
                if self._tls:
                    self._open.discard(accepted)
                    accepted = self._handshake(accepted, self._tls)
                    self._open.add(accepted)
                with accepted:
                    self._serve(RawConnection(self, accepted, number))
        finally:
            self._open.discard(accepted)

    def _handshake(self, plain: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        """Who is refused may read why: a socket that is closed with something unread in it resets the connection."""
        with plain.dup() as spare:
            try:
                return tls.wrap_socket(plain, server_side=True)
            except OSError:
                spare.settimeout(5)
                while spare.recv(65536):
                    pass
                raise
