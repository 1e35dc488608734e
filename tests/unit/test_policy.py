"""What the operator's settings allow and deny, and that a refusal names the setting."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from relay.errors import DestinationDenied, UserMistake
from relay.policy import DEFAULT_PORTS, KNOWN_SERVICES, Policy, Scheme, parse_ports, policy

PUBLIC, PRIVATE = "8.8.8.8", "10.1.2.3"


def refusal(asked: Policy, *addresses: str, host: str = "", port: int = 443, scheme: Scheme = "https") -> str | None:
    """In which words these are refused; None: they are not."""
    try:
        asked.check(host or addresses[0], [ip_address(address) for address in addresses], port, scheme)
    except DestinationDenied as denied:
        return str(denied)
    return None


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        ([PRIVATE], "10.1.2.3 is a private address: ROWHOOK_ALLOW_NETWORKS=10.1.2.0/24 would allow it"),
        (["127.0.0.1"], "127.0.0.1 is a loopback address: ROWHOOK_ALLOW_NETWORKS=127.0.0.0/8 would allow it"),
        (["::1"], "::1 is a loopback address: ROWHOOK_ALLOW_NETWORKS=::1/128 would allow it"),
        (["fd00:1::7"], "fd00:1::7 is a private address: ROWHOOK_ALLOW_NETWORKS=fd00:1::/64 would allow it"),
        (
            ["169.254.169.254"],
            "169.254.169.254 is a link-local address, where clouds hand out credentials:"
            " give a URL whose host has public addresses only",
        ),
    ],
)
def test_a_refusal_names_the_setting_where_one_is_to_be_advised(addresses: list[str], says: str) -> None:
    assert refusal(policy(), *addresses) == says


def test_a_refusal_adds_to_what_is_allowed_already() -> None:
    said = refusal(policy("192.168.7.0/24"), PRIVATE, "::1", PUBLIC, host="hook.internal")
    assert said == (
        "hook.internal is 10.1.2.3, a private address: ROWHOOK_ALLOW_NETWORKS=192.168.7.0/24,10.1.2.0/24,::1/128 would allow it"
    )


@pytest.mark.parametrize("addresses", [[PUBLIC, PRIVATE], [PRIVATE, PUBLIC], [PUBLIC, "::1"], [PUBLIC, "64:ff9b::808:808"]])
def test_one_denied_address_denies_the_name(addresses: list[str]) -> None:
    assert refusal(policy(), PUBLIC) is None
    assert refusal(policy(), *addresses, host="a.example")


def test_allowed_networks() -> None:
    asked = policy("10.1.2.0/24,fd00:1::/64")
    assert refusal(asked, PRIVATE, "fd00:1::7", PUBLIC, host="a.example") is None
    assert refusal(asked, "10.1.1.255") and refusal(asked, "10.1.3.0") and refusal(asked, "fd00:2::7")


def test_denied_networks_go_before_allowed_ones() -> None:
    asked = policy("10.0.0.0/8", deny="10.1.2.0/24,8.8.8.8")
    assert refusal(asked, "10.1.1.1") is None
    assert refusal(asked, PRIVATE) == "10.1.2.3 is in 10.1.2.0/24: ROWHOOK_DENY_NETWORKS holds it"
    assert refusal(asked, PUBLIC) == "8.8.8.8 is in 8.8.8.8/32: ROWHOOK_DENY_NETWORKS holds it"
    assert refusal(asked, "8.8.4.4") is None


@pytest.mark.parametrize("prefix", ["64:ff9b::/96", "::/0", "::ffff:0:0/96,64:ff9b::/96,2002::/16"])
def test_allowing_a_translator_does_not_allow_what_is_private_behind_it(prefix: str) -> None:
    asked = policy(prefix, deny="8.8.4.0/24")
    assert refusal(asked, "64:ff9b::8.8.8.8") is None
    for inside in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.4.4"):
        assert refusal(asked, f"64:ff9b::{inside}")
    assert refusal(policy(f"{prefix},10.0.0.0/24"), "64:ff9b::10.0.0.1") is None


# --- plain http --------------------------------------------------------------------------------------------


def test_plain_http_only_where_it_is_allowed() -> None:
    assert refusal(policy(), PUBLIC, port=80, scheme="http") == (
        "8.8.8.8 would be sent plain http: use https, or set ROWHOOK_ALLOW_HTTP=1"
    )
    assert refusal(policy(allow_http=True), PUBLIC, port=80, scheme="http") is None
    assert refusal(policy("10.1.2.0/24"), PRIVATE, port=80, scheme="http") is None
    assert refusal(policy("10.1.2.0/24"), PUBLIC, port=80, scheme="http")
    assert refusal(policy("10.1.2.0/24"), PRIVATE, PUBLIC, host="a.example", port=80, scheme="http")
    assert refusal(policy(allow_http=True), PRIVATE, port=80, scheme="http")


# --- ports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [80, 443, 1024, 3000, 5000, 8000, 8080, 8443, 5431, 5434, 65535])
def test_ports_that_are_open(port: int) -> None:
    assert refusal(policy(), PUBLIC, port=port) is None


@pytest.mark.parametrize("port", [1, 22, 25, 79, 81, 110, 442, 444, 587, 1023, *KNOWN_SERVICES])
def test_ports_that_are_closed(port: int) -> None:
    said = refusal(policy(), PUBLIC, port=port)
    assert said and f"port {port} is" in said and f"ROWHOOK_ALLOW_PORTS, e.g. 80,443,{port}," in said
    assert refusal(policy("8.8.8.8", allow_http=True), PUBLIC, port=port)
    assert refusal(policy(ports=f"443,{port}"), PUBLIC, port=port) is None


def test_the_services_that_hold_data_are_known() -> None:
    assert {5432, 6379, 3306, 11211, 27017, 9200, 2375} <= KNOWN_SERVICES.keys()


def test_given_ports_replace_the_default() -> None:
    asked = policy(ports="443, 8000-8002")
    assert [port for port in (80, 443, 7999, 8000, 8002, 8003) if refusal(asked, PUBLIC, port=port) is None] == [443, 8000, 8002]
    assert parse_ports(" ") == DEFAULT_PORTS


@pytest.mark.parametrize("text", ["0", "65536", "80;443", "http", "9-8", "80,,443", "-1", "1-", "99999"])
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(UserMistake, match="neither a port nor a range"):
        parse_ports(text)
