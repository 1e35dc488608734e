"""From a host to a connected socket: the one place through which both transports dial.

Every address that is dialled, resolved or written as such in a URL, passes ``open_socket``: whoever wants to judge addresses
does it there (literals never reach a resolver: hazards, SSRF). Answers of the resolver are kept for a few seconds, but
not those that led nowhere.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

SECONDS_KEPT = 5.0
MOST_KEPT = 1000

Sockaddr = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, Sockaddr]
P = TypeVar("P", bound=asyncio.Protocol)


def open_socket(info: AddrInfo) -> socket.socket:
    """A socket for this address, not yet connected."""
    family, kind, proto, _, _ = info
    opened = socket.socket(family, kind, proto)
    opened.setblocking(False)
    return opened


def tls_context() -> ssl.SSLContext:
    """Default verification, HTTP/1.1 only; one for all of a transport's connections."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Resolver:
    """Names -> addresses, by the system's resolver in a thread; askers of one name at one time share a look-up."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Sequence[AddrInfo]]] = {}
        self._asking: dict[str, asyncio.Task[Sequence[AddrInfo]]] = {}

    async def resolve(self, host: str) -> Sequence[AddrInfo]:
        """All addresses of a host, with port 0. Raises socket.gaierror."""
        kept = self._kept.get(host)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        task = self._asking.get(host)
        if task is None:
            task = self._asking[host] = asyncio.create_task(self._ask(host))
            task.add_done_callback(lambda done: self._answered(host, done))
        return await asyncio.shield(task)  # whoever gives up leaves the look-up to the others

    def forget(self, host: str) -> None:
        """What was answered led nowhere: ask again next time."""
        self._kept.pop(host, None)

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()

    async def _ask(self, host: str) -> Sequence[AddrInfo]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except UnicodeError as error:  # a label that is empty or too long
            raise socket.gaierror(socket.EAI_NONAME, f"not a name: {error}") from None

    def _answered(self, host: str, task: asyncio.Task[Sequence[AddrInfo]]) -> None:
        self._asking.pop(host, None)
        if task.cancelled() or task.exception() is not None:
            return
        self._kept.pop(host, None)
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[host] = (time.monotonic() + SECONDS_KEPT, task.result())


async def connect(resolver: Resolver, host: str, port: int, tls: ssl.SSLContext | None, factory: Callable[[], P]) -> P:
    """A connection to the first of the host's addresses that takes one. Raises socket.gaierror, ssl.SSLError, OSError."""
    infos = literal(host) or await resolver.resolve(host)
    last: OSError = OSError("the name has no address")
    for info in infos:
        try:
            return await _connect(with_port(info, port), host, tls, factory)
        except OSError as error:
            last = error
    resolver.forget(host)
    raise last


async def _connect(info: AddrInfo, host: str, tls: ssl.SSLContext | None, factory: Callable[[], P]) -> P:
    loop = asyncio.get_running_loop()
    opened = open_socket(info)
    try:
        await loop.sock_connect(opened, info[4])
        name = host.rstrip(".") if tls else None
        _, protocol = await loop.create_connection(factory, sock=opened, ssl=tls, server_hostname=name)
    except BaseException:
        opened.close()
        raise
    return protocol


def literal(host: str) -> Sequence[AddrInfo] | None:
    """A host that is an address already. Raises ValueError for one that is a number but not in canonical form."""
    if ":" in host:
        return ((socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(IPv6Address(host)), 0, 0, 0)),)
    if host.replace(".", "").isdigit():
        return ((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(IPv4Address(host)), 0)),)
    return None


def with_port(info: AddrInfo, port: int) -> AddrInfo:
    family, kind, proto, name, address = info
    return (family, kind, proto, name, (address[0], port, *address[2:]))
