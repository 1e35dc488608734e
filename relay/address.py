"""Pure: an IP address -> may requests go there by default, and if not, why.

What is not known as public is denied. The standard library's ``is_global`` is no help: it takes NAT64, multicast, 6to4 relays and
more for global. An IPv6 address that carries an IPv4 address is denied whatever is inside: a translator on the way would send
the request there. Sources: IANA's special-purpose registries for IPv4 and IPv6; RFC 6890, 6052, 3056, 4380, 5214.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from relay.errors import UserMistake

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Verdict(StrEnum):
    """What an address is: ALLOWED, or why requests don't go there."""

    ALLOWED = "a public address"
    THIS_HOST = "this host itself"
    LOOPBACK = "a loopback address"
    PRIVATE = "a private address"
    SHARED = "an address behind a carrier's NAT"
    LINK_LOCAL = "a link-local address, where clouds hand out credentials"
    CLOUD = "a cloud's own service"
    DOCUMENTATION = "an address for examples"
    BENCHMARK = "an address for benchmarks"
    MULTICAST = "a multicast address"
    SPECIAL = "an address for special purposes"
    RESERVED = "a reserved address"
    EMBEDDED_V4 = "an IPv6 address that carries an IPv4 address"
    SCOPED = "an address on one network interface"


_V4: Final = tuple(
    (IPv4Network(network), verdict)
    for network, verdict in (
        ("0.0.0.0/8", Verdict.THIS_HOST),
        ("127.0.0.0/8", Verdict.LOOPBACK),
        ("10.0.0.0/8", Verdict.PRIVATE),
        ("172.16.0.0/12", Verdict.PRIVATE),
        ("192.168.0.0/16", Verdict.PRIVATE),
        ("100.64.0.0/10", Verdict.SHARED),
        ("169.254.0.0/16", Verdict.LINK_LOCAL),
        ("168.63.129.16/32", Verdict.CLOUD),  # Azure's, in a public range
        ("192.0.0.0/24", Verdict.SPECIAL),
        ("192.31.196.0/24", Verdict.SPECIAL),  # AS112
        ("192.52.193.0/24", Verdict.SPECIAL),  # AMT
        ("192.88.99.0/24", Verdict.SPECIAL),  # 6to4 relays
        ("192.175.48.0/24", Verdict.SPECIAL),  # AS112
        ("192.0.2.0/24", Verdict.DOCUMENTATION),
        ("198.51.100.0/24", Verdict.DOCUMENTATION),
        ("203.0.113.0/24", Verdict.DOCUMENTATION),
        ("198.18.0.0/15", Verdict.BENCHMARK),
        ("224.0.0.0/4", Verdict.MULTICAST),
        ("240.0.0.0/4", Verdict.RESERVED),  # 255.255.255.255 too
    )
)

_V6: Final = tuple(
    (IPv6Network(network), verdict)
    for network, verdict in (
        ("::/128", Verdict.THIS_HOST),
        ("::1/128", Verdict.LOOPBACK),
        ("::/96", Verdict.EMBEDDED_V4),  # IPv4-compatible
        ("::ffff:0:0/96", Verdict.EMBEDDED_V4),  # IPv4-mapped: the kernel dials the IPv4 address
        ("::ffff:0:0:0/96", Verdict.EMBEDDED_V4),  # IPv4-translated
        ("64:ff9b::/96", Verdict.EMBEDDED_V4),  # NAT64
        ("64:ff9b:1::/48", Verdict.EMBEDDED_V4),  # NAT64 of a site
        ("2001::/32", Verdict.EMBEDDED_V4),  # Teredo
        ("2002::/16", Verdict.EMBEDDED_V4),  # 6to4
        ("2001:2::/48", Verdict.BENCHMARK),
        ("2001:db8::/32", Verdict.DOCUMENTATION),
        ("3fff::/20", Verdict.DOCUMENTATION),
        ("2001::/23", Verdict.SPECIAL),
        ("2620:4f:8000::/48", Verdict.SPECIAL),  # AS112
        ("fc00::/7", Verdict.PRIVATE),
        ("fec0::/10", Verdict.PRIVATE),  # site-local
        ("fe80::/10", Verdict.LINK_LOCAL),
        ("ff00::/8", Verdict.MULTICAST),
    )
)

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # nothing else is handed out
_ISATAP: Final = 0x00005EFE  # of an interface's id, whatever the prefix: RFC 5214, section 6.1
_ISATAP_GLOBAL: Final = 0x02005EFE

_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def classify(address: Address) -> Verdict:
    """What is known of an address, whoever allows it."""
    if isinstance(address, IPv4Address):
        return next((verdict for network, verdict in _V4 if address in network), Verdict.ALLOWED)
    if address.scope_id is not None:
        return Verdict.SCOPED
    for network, verdict in _V6:
        if address in network:
            return verdict
    if _is_isatap(address):
        return Verdict.EMBEDDED_V4
    return Verdict.ALLOWED if address in _GLOBAL_UNICAST else Verdict.RESERVED


def embedded_v4(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address may lead to; none for most."""
    if isinstance(address, IPv4Address) or classify(address) is not Verdict.EMBEDDED_V4:
        return ()
    if address.teredo is not None:
        return address.teredo
    if address.sixtofour is not None:
        return (address.sixtofour,)
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in IPv6Network("64:ff9b:1::/48"):  # RFC 6052, section 2.2: a /48 splits it around bits 64 to 71
        number = int(address)
        return low, IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
    return (low,)


def ends_in_a_number(host: str) -> bool:
    """Whether a resolver may take this for an IPv4 address: https://url.spec.whatwg.org/#ends-in-a-number-checker."""
    return _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def literal_address(host: str) -> Address | None:
    """A host that is an address itself. Raises ValueError for one that only some resolver takes for an address."""
    if ":" in host:
        return IPv6Address(host)
    return IPv4Address(host) if ends_in_a_number(host) else None


def parse_networks(text: str) -> tuple[Network, ...]:
    """``10.1.2.0/24,fd00:1::/64``; an address alone is itself. Raises UserMistake."""
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise UserMistake(f"{text!r} is not a network", "give CIDRs with commas between, e.g. 10.1.2.0/24,fd00:1::/64") from None
    raise UserMistake(f"{text!r} is an address within a network", f"write {meant} for the network")


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFFFFFFFF in (_ISATAP, _ISATAP_GLOBAL)
