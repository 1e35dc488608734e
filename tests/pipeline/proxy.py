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
        self._holds_all = False
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

    def hold(self) -> None:
        """From now on nothing passes, either way, of old connections and new ones."""
        with self._changed:
            self._holds_all = True

    def stall(self, purpose: str) -> None:
        """From now on nothing passes of the sessions of this purpose (``rowhook bell``) that are open."""
        with self._changed:
            self._held |= {one for one, name in self._open.items() if name.startswith(purpose)}
            assert self._held, f"no {purpose} among {sorted(self._open.values())}"

    def let_go(self) -> None:
        """What was held back passes now."""
        with self._changed:
            self._holds_all = False
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
                self._wait_while_held(source, target)
                if self._delay:
                    time.sleep(self._delay)
                target.sendall(piece)
        self._wait_while_held(source, target)  # an end is not passed on either
        self._shut(target)

    def _wait_while_held(self, *both: socket.socket) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not (self._holds_all or self._held.intersection(both)) or self._closing)

    @staticmethod
    def _shut(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
