"""Where may this request go? Policy, and what is Rowhook's own. Asked when an endpoint is saved, and at each dial, which counts.

It knows no names: whoever resolves one brings all of its addresses. ``dial.py`` asks for both transports, once per connection.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from yarl import URL

from relay.address import Address, literal_address
from relay.config import Settings
from relay.errors import DestinationDenied
from relay.own import Own, is_local, own_places
from relay.policy import Policy, Scheme

LOOK_UP = 3.0  # seconds for a name while an endpoint is saved


class Guard:
    """Every check raises DestinationDenied: what is refused, and what would allow it."""

    def __init__(self, policy: Policy, own: Sequence[Own] = (), *, by_proxy: bool = False) -> None:
        self._policy = policy
        self._own = {port: [place for place in own if place.port == port] for port in {place.port for place in own}}
        self._learnt: dict[str, frozenset[Address]] = {}
        self.by_proxy = by_proxy

    def literal(self, host: str) -> Address | None:
        """The address that a host is; None for a name."""
        try:
            return literal_address(host)
        except ValueError:
            raise DestinationDenied(
                f"{host} is an address in disguise", "write an IPv4 address as four decimal numbers, such as 192.0.2.1"
            ) from None

    def check(self, host: str, addresses: Sequence[Address], port: int, scheme: Scheme) -> None:
        """All addresses that a host has: one that is denied denies the host."""
        if scheme == "proxy":
            return
        self._check_own(host, addresses, port)
        self._policy.check(host, addresses, port, scheme)

    def check_target(self, host: str, port: int, scheme: Scheme) -> None:
        """What can be said of a host without its addresses: all that there is where a proxy resolves it."""
        address = self.literal(host)
        if address is None and _is_localhost(host):
            address = IPv4Address("127.0.0.1")
        if address is not None:
            self.check(host, [address], port, scheme)
            return
        if (name := host.rstrip(".").lower()) in self.own_names(port):
            raise DestinationDenied(f"{name} port {port} is Rowhook's own", "no webhook goes there; give a receiver's URL")
        self._policy.check_name(host, port, scheme, judged_later=not self.by_proxy)

    def own_names(self, port: int) -> list[str]:
        """Names of what is own on this port: ``learn`` their addresses before anything is judged."""
        return [place.host for place in self._own.get(port, ()) if place.is_name]

    def learn(self, name: str, addresses: Sequence[Address]) -> None:
        self._learnt[name] = frozenset(map(_unmapped, addresses))

    def _check_own(self, host: str, addresses: Sequence[Address], port: int) -> None:
        for place in self._own.get(port, ()):
            if any(self._is(place, _unmapped(address)) for address in addresses):
                raise DestinationDenied(f"{host} port {port} is {place.what}", "no webhook goes there; give a receiver's URL")

    def _is(self, place: Own, address: Address) -> bool:
        theirs = {place.address} if place.address else self._learnt.get(place.host, frozenset())
        if address in theirs:
            return True
        on_this_machine = not place.host or any(is_local(own) for own in theirs)
        return on_this_machine and is_local(address)


def guard(settings: Settings, *, listens: bool) -> Guard:
    """The guard that these settings make; ``listens``: this relay serves its API."""
    return Guard(settings.policy, own_places(settings, listens=listens), by_proxy=bool(settings.proxy))


def check_saved(url: str, settings: Settings) -> None:
    """A URL as it is saved: an early error. A name that can't be resolved here and now passes, and is judged when dialled."""
    asked = guard(settings, listens=True)
    parsed = URL(url)
    host, port = parsed.raw_host or "", parsed.port or 0
    scheme: Scheme = "http" if parsed.scheme == "http" else "https"
    for name in asked.own_names(port):
        asked.learn(name, _look_up(name))
    by_itself = asked.by_proxy or asked.literal(host) is not None
    if addresses := [] if by_itself else _look_up(host):
        asked.check(host, addresses, port, scheme)
    else:
        asked.check_target(host, port, scheme)


def address_of(sockaddr: Sequence[object]) -> Address:
    """The address within what is dialled. Raises DestinationDenied where that is nothing of the Internet's."""
    try:
        return ip_address(str(sockaddr[0]))
    except ValueError:
        raise DestinationDenied(f"{sockaddr[0]!r} is no address of the Internet", "give a receiver's URL") from None


def _unmapped(address: Address) -> Address:
    """What the kernel makes of an IPv4-mapped address."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _look_up(host: str) -> list[Address]:
    """All addresses of a name; none where there is no answer soon. The thread is a daemon: a hanging resolver holds up nobody."""
    found: list[Address] = []

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except (OSError, UnicodeError):
            return
        found.extend(address_of(info[4]) for info in infos)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LOOK_UP)
    return list(found)
