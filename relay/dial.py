"""From a host to a connected socket: the one place through which both transports dial.

Every address that is dialled, resolved or written as such in a URL, passes ``Dialler.open_socket`` (literals never reach a
resolver: hazards, SSRF), so what was judged is what is dialled, whatever a name's next answer is. Before that all answers of a
name are judged together; after it the connected peer is looked at once more.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar

from relay.address import Address
from relay.errors import DestinationDenied
from relay.guard import Guard, address_of
from relay.policy import Scheme
from relay.resolve import AddrInfo, Resolver

P = TypeVar("P", bound=asyncio.Protocol)

# Bytes, which the kernel doubles: what an answer may have in it before it is read, and so at most what is read at once. By itself
# it would grow to megabytes for whoever sends without end. Answers are small.
RECEIVE_BUFFER = 32 * 1024


class Dialler:
    """Each method that is given a scheme raises DestinationDenied; "proxy" is the operator's own choice and passes."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._resolver = Resolver()

    async def prepare(self, host: str, port: int, scheme: Scheme) -> None:
        """Once before a connection is made: look up what is own on this port, and refuse what the text alone forbids."""
        for name in self._guard.own_names(port):
            try:
                self._guard.learn(name, [address_of(info[4]) for info in await self._resolver.resolve(name)])
            except socket.gaierror:
                continue  # what was learnt before stays
        self._guard.check_target(host, port, scheme)

    async def addresses(self, host: str, port: int, scheme: Scheme) -> Sequence[AddrInfo]:
        """All addresses of a host, none of which is denied. Raises socket.gaierror."""
        literal = self._guard.literal(host)
        infos = await self._resolver.resolve(host) if literal is None else (_info(literal),)
        try:
            self._guard.check(host, [address_of(info[4]) for info in infos], port, scheme)
        except DestinationDenied:
            self._resolver.forget(host)
            raise
        return [_with_port(info, port) for info in infos]

    def open_socket(self, info: AddrInfo, scheme: Scheme) -> socket.socket:
        """A socket for this address, not yet connected."""
        family, kind, proto, _, address = info
        self._check(address, scheme)
        opened = socket.socket(family, kind, proto)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return opened

    def check_peer(self, peer: Sequence[object], scheme: Scheme) -> None:
        """Who is at the other end, as the kernel says: nothing is sent before."""
        self._check(peer, scheme)

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None, factory: Callable[[], P]) -> P:
        """A connection to the first of the host's addresses that takes one. Raises socket.gaierror, ssl.SSLError, OSError too."""
        scheme: Scheme = "https" if tls else "http"
        await self.prepare(host, port, scheme)
        last: OSError = OSError("the name has no address")
        for info in await self.addresses(host, port, scheme):
            try:
                return await self._connect(info, scheme, host, tls, factory)
            except OSError as error:
                last = error
        self.forget(host)
        raise last

    def forget(self, host: str) -> None:
        """What its name's answer led to was no connection: ask again next time."""
        self._resolver.forget(host)

    async def close(self) -> None:
        await self._resolver.close()

    async def _connect(
        self, info: AddrInfo, scheme: Scheme, host: str, tls: ssl.SSLContext | None, factory: Callable[[], P]
    ) -> P:
        loop = asyncio.get_running_loop()
        opened = self.open_socket(info, scheme)
        try:
            await loop.sock_connect(opened, info[4])
            self.check_peer(opened.getpeername(), scheme)
            name = host.rstrip(".") if tls else None
            _, protocol = await loop.create_connection(factory, sock=opened, ssl=tls, server_hostname=name)
        except BaseException:
            opened.close()
            raise
        return protocol

    def _check(self, sockaddr: Sequence[object], scheme: Scheme) -> None:
        address = address_of(sockaddr)
        self._guard.check(str(address), [address], int(str(sockaddr[1])), scheme)


def _info(address: Address) -> AddrInfo:
    if address.version == 4:
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), 0))
    return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), 0, 0, 0))


def _with_port(info: AddrInfo, port: int) -> AddrInfo:
    family, kind, proto, name, address = info
    return (family, kind, proto, name, (address[0], port, *address[2:]))
