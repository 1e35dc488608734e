"""A TCP proxy before a server: it can fall silent (it acknowledges and passes nothing on), drag, or break connections.

A frozen pooler or a stalled host look like that: TCP is content, so no keepalive notices. What it does may be limited to one
kind of session, known by its application_name.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

APPLICATION = b"application_name\0"


class Proxy:
    """Passes connections on to a port of this machine; as a context manager."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._silent: str | None = None
        self._held: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._delay = 0.0
        self._open: dict[socket.socket, str] = {}
        self._servers: set[socket.socket] = set()  # those of them that go on to the server
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing = True
        self.let_go()
        self._shut(self._listener)
        self.break_off()
        self._thread.join()
        self._listener.close()

    def hold(self, purpose: str = "") -> None:
        """From now on nothing passes, either way, of sessions of this purpose (``rowhook bell``), old ones and new."""
        with self._changed:
            self._silent = purpose

    def stall(self, purpose: str) -> None:
        """The same of those only that are open."""
        with self._changed:
            self._held |= {one for one, name in self._open.items() if name.startswith(purpose)}
            assert self._held, f"no {purpose} among {sorted(self._open.values())}"

    def let_go(self) -> None:
        """What was held back passes now."""
        with self._changed:
            self._silent = None
            self._held.clear()
            self._changed.notify_all()

    def drag(self, seconds: float) -> None:
        """Each piece of data takes so long, each way."""
        self._delay = seconds

    def break_off(self) -> None:
        """End the connections that are open."""
        for one in list(self._open):
            self._shut(one)

    def halve(self) -> None:
        """The server sees all sessions end; whoever is before this proxy sees nothing, until it lets go."""
        self.hold()
        for one in list(self._servers):
            self._shut(one)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open[client] = self._open[server] = ""
            self._servers.add(server)
            back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
            back.start()
            self._pass(client, server)
            back.join()
            self._servers.discard(server)
            self._open.pop(server, None)
        self._open.pop(client, None)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if APPLICATION in piece and not self._open[source]:
                    name = piece.partition(APPLICATION)[2].partition(b"\0")[0].decode()
                    self._open[source] = self._open[target] = name
                self._wait_while_held(source)
                if self._delay:
                    time.sleep(self._delay)
                target.sendall(piece)
        self._wait_while_held(source)  # an end is not passed on either
        self._shut(target)

    def _wait_while_held(self, source: socket.socket) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or not self._is_held(source))

    def _is_held(self, source: socket.socket) -> bool:
        name = self._open.get(source, "")
        return source in self._held or (self._silent is not None and name.startswith(self._silent))

    @staticmethod
    def _shut(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
