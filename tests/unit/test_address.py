"""Addresses and what is said of them: every row of the table, both sides of each edge."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from relay.address import Verdict, classify, embedded_v4, ends_in_a_number, literal_address, parse_networks
from relay.errors import UserMistake

DENIED = [
    *["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.254.1.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    *["100.64.0.0", "100.64.0.1", "100.100.100.200", "100.127.255.255", "169.254.169.254", "192.0.0.8", "192.0.0.192"],
    *["192.88.99.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
    *["168.63.129.16", "192.31.196.1", "192.52.193.1", "192.175.48.1"],
    *["::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"],
    *["64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "64:ff9b::808:808", "2001:0::1", "2001::7f00:1"],
    *["fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1", "100::1", "2001:db8::1", "3fff::1", "5f00::1"],
    *["2001:2::1", "2001:10::1", "2001:20::1", "2620:4f:8000::1", "4000::1", "fe80::1%eth0", "2606:4700::1111%1"],
    *["2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "2606:4700::5efe:808:808"],
]
PUBLIC = ["8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.0", "100.128.0.1", "2606:4700:4700::1111"]

# network, what is said of it; the addresses beside it are public unless they are named in BESIDE.
EDGES = [
    ("0.0.0.0/8", Verdict.THIS_HOST),
    ("10.0.0.0/8", Verdict.PRIVATE),
    ("100.64.0.0/10", Verdict.SHARED),
    ("127.0.0.0/8", Verdict.LOOPBACK),
    ("168.63.129.16/32", Verdict.CLOUD),
    ("169.254.0.0/16", Verdict.LINK_LOCAL),
    ("172.16.0.0/12", Verdict.PRIVATE),
    ("192.0.0.0/24", Verdict.SPECIAL),
    ("192.0.2.0/24", Verdict.DOCUMENTATION),
    ("192.31.196.0/24", Verdict.SPECIAL),
    ("192.52.193.0/24", Verdict.SPECIAL),
    ("192.88.99.0/24", Verdict.SPECIAL),
    ("192.168.0.0/16", Verdict.PRIVATE),
    ("192.175.48.0/24", Verdict.SPECIAL),
    ("198.18.0.0/15", Verdict.BENCHMARK),
    ("198.51.100.0/24", Verdict.DOCUMENTATION),
    ("203.0.113.0/24", Verdict.DOCUMENTATION),
    ("224.0.0.0/4", Verdict.MULTICAST),
    ("240.0.0.0/4", Verdict.RESERVED),
    ("::/128", Verdict.THIS_HOST),
    ("::1/128", Verdict.LOOPBACK),
    ("::ffff:0:0/96", Verdict.EMBEDDED_V4),
    ("::ffff:0:0:0/96", Verdict.EMBEDDED_V4),
    ("64:ff9b::/96", Verdict.EMBEDDED_V4),
    ("64:ff9b:1::/48", Verdict.EMBEDDED_V4),
    ("100::/64", Verdict.RESERVED),
    ("2001::/32", Verdict.EMBEDDED_V4),
    ("2001:2::/48", Verdict.BENCHMARK),
    ("2001:db8::/32", Verdict.DOCUMENTATION),
    ("2002::/16", Verdict.EMBEDDED_V4),
    ("2620:4f:8000::/48", Verdict.SPECIAL),
    ("3fff::/20", Verdict.DOCUMENTATION),
    ("5f00::/16", Verdict.RESERVED),
    ("fc00::/7", Verdict.PRIVATE),
    ("fe80::/10", Verdict.LINK_LOCAL),
    ("fec0::/10", Verdict.PRIVATE),
    ("ff00::/8", Verdict.MULTICAST),
]
BESIDE = {
    "223.255.255.255": Verdict.ALLOWED,
    "240.0.0.0": Verdict.RESERVED,
    "239.255.255.255": Verdict.MULTICAST,
    "::1": Verdict.LOOPBACK,
    "::": Verdict.THIS_HOST,
    "::2": Verdict.EMBEDDED_V4,
    "2001:1:ffff:ffff:ffff:ffff:ffff:ffff": Verdict.SPECIAL,
    "2001:2:1::": Verdict.SPECIAL,
    "2001:1::": Verdict.SPECIAL,
    "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff": Verdict.ALLOWED,
    "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff": Verdict.LINK_LOCAL,
    "fec0::": Verdict.PRIVATE,
    "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": Verdict.PRIVATE,
    "ff00::": Verdict.MULTICAST,
}


@pytest.mark.parametrize("address", DENIED)
def test_denied(address: str) -> None:
    assert classify(ip_address(address)) is not Verdict.ALLOWED


@pytest.mark.parametrize("address", PUBLIC)
def test_allowed(address: str) -> None:
    assert classify(ip_address(address)) is Verdict.ALLOWED


@pytest.mark.parametrize(("network", "verdict"), EDGES)
def test_both_sides_of_each_edge(network: str, verdict: Verdict) -> None:
    known = ip_network(network)
    assert classify(known[0]) is classify(known[-1]) is verdict
    for beside in (int(known[0]) - 1, int(known[-1]) + 1):
        if 0 <= beside < 2**known.max_prefixlen:
            address = type(known[0])(beside)
            assert classify(address) is BESIDE.get(str(address), _default(address)), address


def _default(address: IPv4Address | IPv6Address) -> Verdict:
    outside = isinstance(address, IPv6Address) and address not in ip_network("2000::/3")
    return Verdict.RESERVED if outside else Verdict.ALLOWED


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("::127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("64:ff9b::10.0.0.1", "10.0.0.1"),
        ("64:ff9b:1::10.0.0.1", "10.0.0.1"),
        ("64:ff9b:1:0a00:0000:0100::", "10.0.0.1"),  # RFC 6052, figure 1: 16 bits before the u octet, 16 after
        ("2002:0a00:0001::", "10.0.0.1"),
        ("2001:0:0a00:1::", "10.0.0.1"),  # Teredo's server
        ("2001:0:808:808::f5ff:fffe", "10.0.0.1"),  # Teredo's client
        ("2606:4700::5efe:a00:1", "10.0.0.1"),
    ],
)
def test_what_is_inside(address: str, inside: str) -> None:
    assert IPv4Address(inside) in embedded_v4(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "127.0.0.1", "::1", "2606:4700:4700::1111", "fd00::a00:1"])
def test_nothing_is_inside(address: str) -> None:
    assert embedded_v4(ip_address(address)) == ()


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "0x7f.0.0.1", "0X7F.1", "1.2.3.4.5", "a.0x", "0"]
)
def test_in_disguise(host: str) -> None:
    assert ends_in_a_number(host)
    with pytest.raises(ValueError):
        literal_address(host)


@pytest.mark.parametrize("host", ["example.com", "localhost", "127.0.0.1.example", "a.0b", "0xyz", "1e3", "①"])
def test_a_name(host: str) -> None:
    assert literal_address(host) is None


def test_networks() -> None:
    assert parse_networks("") == ()
    assert parse_networks(" 10.1.2.0/24, fd00:1::/64,192.0.2.7 ,") == (
        ip_network("10.1.2.0/24"),
        ip_network("fd00:1::/64"),
        ip_network("192.0.2.7/32"),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.1.2.3/24", "write 10.1.2.0/24 for the network"),
        ("fd00::1/64", "write fd00::/64"),
        ("10.1.2", "'10.1.2' is not a network"),
        ("10.0.0.0/33", "is not a network"),
        ("localhost", "is not a network"),
        ("10.0.0.0/8 192.168.0.0/16", "commas between"),
    ],
)
def test_networks_that_are_none(text: str, says: str) -> None:
    with pytest.raises(UserMistake, match=says):
        parse_networks(text)
