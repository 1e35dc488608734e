"""The guard: what is Rowhook's own; and the verdict on a URL's text is the verdict on the address that is dialled for it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from relay.address import literal_address
from relay.config import Settings, load
from relay.dial import Dialler
from relay.errors import ConfigError, DestinationDenied, UserMistake
from relay.guard import Guard, check_saved, guard
from relay.lean_pool import LeanPool
from relay.own import Own, is_local
from relay.policy import Scheme, policy
from relay.resolve import AddrInfo
from relay.send import Transport
from relay.send_aiohttp import AiohttpTransport
from relay.send_lean import LeanTransport
from relay.url import check_url

EVERYWHERE = {"ROWHOOK_ALLOW_NETWORKS": "0.0.0.0/0,::/0", "ROWHOOK_ALLOW_PORTS": "1-65535"}


# --- the text and what is dialled --------------------------------------------------------------------------


class Recording(Dialler):
    """Judges as it would, and notes each address that it would dial; nothing is dialled."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(guard)
        self.dialled: list[tuple[str, int]] = []

    def open_socket(self, info: AddrInfo, scheme: Scheme) -> socket.socket:
        super().open_socket(info, scheme).close()
        self.dialled.append((str(info[4][0]), int(str(info[4][1]))))
        raise OSError("would be dialled")


def spelled_v4(number: int, form: int) -> str:
    """An IPv4 address as some resolver, browser or library reads it; form 0 is the canonical one."""
    dotted = str(IPv4Address(number))
    parts = dotted.split(".")
    return [
        dotted,
        dotted,
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(f"0{int(part):o}" for part in parts),
        ".".join(hex(int(part)) for part in parts),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        f"{dotted}.",
        dotted.replace(".", "。"),
        dotted.translate({ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)}),
        "".join(f"%{ord(digit):02x}" if digit != "." else "." for digit in dotted),
        f"[::ffff:{dotted}]",
        f"[::{dotted}]",
        f"[64:ff9b::{dotted}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
    ][form]


def spelled_v6(number: int, form: int) -> str:
    address = IPv6Address(number)
    return f"[{[address.compressed, address.compressed, address.exploded, address.compressed.upper(), f'{address}%25lo'][form]}]"


# Random numbers are nearly all public: half of them are taken from what is not, and its surroundings.
ODD_V4 = [
    int(IPv4Address(text)) for text in ("0.0.0.0", "10.0.0.0", "100.64.0.0", "127.0.0.1", "168.63.129.16", "169.254.169.254")
]
ODD_V4 += [
    int(IPv4Address(text)) for text in ("172.16.0.0", "192.0.0.0", "192.168.0.0", "198.18.0.0", "224.0.0.0", "255.255.255.255")
]
ODD_V6 = [
    int(IPv6Address(text)) for text in ("::", "::1", "64:ff9b::7f00:1", "2001::", "2001:db8::", "2002::", "fc00::", "fe80::")
]
ODD_V6 += [
    int(IPv6Address(text)) for text in ("fd00:ec2::254", "2606:4700::5efe:7f00:1", "2000::", "4000::", "3fff::", "ff02::1")
]


def near(odd: list[int], bits: int) -> st.SearchStrategy[int]:
    close = st.builds(lambda base, step: (base + step) % 2**bits, st.sampled_from(odd), st.integers(-300, 300))
    return st.one_of(close, st.integers(0, 2**bits - 1))


HOSTS = st.one_of(
    st.builds(spelled_v4, near(ODD_V4, 32), st.integers(0, 16)),
    st.builds(spelled_v6, near(ODD_V6, 128), st.integers(0, 4)),
    st.text("0123456789abcfx.:[]%-①。@l", max_size=20),
    st.sampled_from(["localhost", "localhost.", "a.localhost", "example.com", "hook.internal"]),
)
PORTS = st.sampled_from(["", "", ":80", ":443", ":8080", ":22", ":6379", ":65535", ":0"])
URLS = st.builds(
    lambda scheme, host, port: f"{scheme}://{host}{port}/hook", st.sampled_from(["https", "https", "http"]), HOSTS, PORTS
)

POLICIES = [
    policy(),
    policy(allow_http=True),
    policy("127.0.0.0/8,10.0.0.0/24,::1/128,64:ff9b::/96", "8.0.0.0/8"),
    policy("0.0.0.0/0,::/0", "10.0.0.0/8,fc00::/7", "1-65535"),
]

OpenTransport = Callable[[Dialler], Transport]


def with_aiohttp(dialler: Dialler) -> Transport:
    transport = AiohttpTransport(8, Guard(policy()))
    transport._dialler = dialler
    return transport


def with_lean(dialler: Dialler) -> Transport:
    transport = LeanTransport(8, Guard(policy()))
    transport._pool = LeanPool(8, dialler)
    return transport


@pytest.fixture
def numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver reads numbers, in all the forms that it knows, and asks nobody for names."""
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        return real(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("opened", [with_aiohttp, with_lean])
@pytest.mark.usefixtures("numbers_only")
def test_the_verdict_on_the_text_is_the_verdict_on_the_address_dialled(opened: OpenTransport) -> None:
    """10,000 URLs, each through the real transport: what the text is refused for is not dialled, what it passes for is."""
    loop = asyncio.new_event_loop()
    guards = [Guard(asked) for asked in POLICIES]
    diallers = [Recording(asked) for asked in guards]
    transports = [opened(dialler) for dialler in diallers]
    seen: Counter[str] = Counter()
    for transport in transports:
        loop.run_until_complete(transport.open())

    @settings(max_examples=10_000, suppress_health_check=list(HealthCheck), database=None)
    @given(URLS, st.integers(0, len(POLICIES) - 1))
    def compare(url: str, which: int) -> None:
        dialler = diallers[which]
        dialler.dialled.clear()
        accepted, text_allows, address = said_of(url, guards[which])
        outcome = loop.run_until_complete(transports[which].post(url, "", b"", 5))
        # Whatever the text is, nothing is dialled that the policy denies.
        for host, port in dialler.dialled:
            POLICIES[which].check(host, [ip_address(host)], port, "https" if url.startswith("https:") else "http")
        if address is not None:
            assert bool(dialler.dialled) is text_allows, (url, outcome)
            assert outcome.error_class == ("refused" if text_allows else "blocked"), (url, outcome)
            assert {ip_address(host) for host, _ in dialler.dialled} <= {address}
        else:
            assert not dialler.dialled, (url, outcome)
        kind = "address" if address is not None and accepted else "name" if accepted else "no URL"
        seen[f"{kind} {outcome.error_class}"] += 1

    try:
        compare()
    finally:
        for transport in transports:
            loop.run_until_complete(transport.close())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert sum(seen.values()) >= 10_000
    assert min(seen["address refused"], seen["address blocked"], seen["no URL blocked"], seen["name dns"]) >= 100, seen


def said_of(url: str, guard: Guard) -> tuple[bool, bool, IPv4Address | IPv6Address | None]:
    """Of the text alone: is it one to save, do the rules let it pass, and the address that a client reads in it, if any."""
    try:
        accepted = bool(check_url(url))
    except UserMistake:
        accepted = False
    try:
        parsed = URL(url)  # what is no URL to save may still have been put into the table by hand
        address = literal_address(parsed.raw_host or "")
        guard.check_target(parsed.raw_host or "", parsed.port or 0, "https" if parsed.scheme == "https" else "http")
    except DestinationDenied:
        return accepted, False, address
    except (ValueError, IndexError):  # yarl raises either for what it can't read
        assert not accepted
        return False, False, None
    return accepted, True, address


# --- what is own -------------------------------------------------------------------------------------------


def given_settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name in ("PGHOST", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    return load(**{"DATABASE_URL": "", **variables})


def is_denied(asked: Guard, host: str, port: int) -> bool:
    try:
        asked.check(host, [ip_address(host)], port, "https")
    except DestinationDenied as denied:
        return "Rowhook's own" in str(denied) or "this relay's API" in str(denied)
    return False


@pytest.mark.parametrize(
    ("url", "denied", "passed"),
    [
        ("postgresql://me@127.0.0.1:7432/db", [("127.0.0.1", 7432), ("127.0.0.2", 7432), ("::1", 7432)], [("127.0.0.1", 7433)]),
        ("postgresql://me@127.0.0.1:7432/db", [("0.0.0.0", 7432), ("::ffff:127.0.0.1", 7432), ("::", 7432)], [("8.8.8.8", 7432)]),
        ("postgresql://me@localhost/db", [("127.0.0.1", 5432), ("::1", 5432)], [("10.1.2.3", 5432)]),
        ("postgresql:///db?host=/run/postgresql&port=7432", [("127.0.0.1", 7432)], [("10.1.2.3", 7432)]),
        ("dbname=db port=7432", [("127.0.0.1", 7432)], [("10.1.2.3", 7432)]),
        ("postgresql://10.1.2.3:7432,10.1.2.4:7433/db", [("10.1.2.3", 7432), ("10.1.2.4", 7433)], [("10.1.2.3", 7433)]),
        ("host=10.1.2.3,10.1.2.4 port=7432", [("10.1.2.3", 7432), ("10.1.2.4", 7432)], [("10.1.2.5", 7432)]),
        ("host=db.internal hostaddr=10.1.2.3 port=7432", [("10.1.2.3", 7432)], [("10.1.2.4", 7432)]),
        ("postgresql://[2606:4700::1]:7432/db", [("2606:4700::1", 7432)], [("2606:4700::2", 7432)]),
    ],
)
def test_own_database(
    monkeypatch: pytest.MonkeyPatch, url: str, denied: list[tuple[str, int]], passed: list[tuple[str, int]]
) -> None:
    for name in ("DATABASE_URL", "ROWHOOK_ADMIN_URL", "ROWHOOK_LISTEN_URL"):
        asked = guard(given_settings(monkeypatch, **EVERYWHERE, **{name: url}), listens=False)
        assert [is_denied(asked, *place) for place in denied] == [True] * len(denied)
        assert [is_denied(asked, *place) for place in passed] == [False] * len(passed)


def test_own_database_by_name_once_its_addresses_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = guard(given_settings(monkeypatch, DATABASE_URL="postgresql://db.internal:7432/db", **EVERYWHERE), listens=False)
    assert asked.own_names(7432) == ["db.internal"]
    assert asked.own_names(7433) == []
    assert not is_denied(asked, "10.1.2.3", 7432)
    asked.learn("db.internal", [ip_address("10.1.2.3")])
    assert is_denied(asked, "10.1.2.3", 7432)
    assert not is_denied(asked, "10.1.2.3", 7433)


def test_own_database_by_libpqs_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    given = given_settings(monkeypatch, DATABASE_URL="dbname=db", **EVERYWHERE)
    monkeypatch.setenv("PGHOST", "10.1.2.3")
    monkeypatch.setenv("PGPORT", "7432")
    assert is_denied(guard(given, listens=False), "10.1.2.3", 7432)


@pytest.mark.parametrize(
    ("listen", "denied"),
    [("127.0.0.1:8080", ["127.0.0.1", "0.0.0.0"]), ("0.0.0.0:8080", ["127.0.0.1", "::1"]), ("[::]:8080", ["127.0.0.1", "::1"])],
)
def test_own_listener(monkeypatch: pytest.MonkeyPatch, listen: str, denied: list[str]) -> None:
    given = given_settings(monkeypatch, ROWHOOK_API_LISTEN=listen, **EVERYWHERE)
    assert all(is_denied(guard(given, listens=True), host, 8080) for host in denied)
    assert not any(is_denied(guard(given, listens=False), host, 8080) for host in denied)
    assert not is_denied(guard(given, listens=True), "127.0.0.1", 8081)
    assert not is_denied(guard(given, listens=True), "10.1.2.3", 8080)


def test_local() -> None:
    assert [is_local(ip_address(host)) for host in ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "8.8.8.8")] == [True] * 4 + [
        False
    ]


def test_a_place_is_a_name_only_if_it_is_one() -> None:
    assert [Own("", host, 1).is_name for host in ("", "10.1.2.3", "::1", "db")] == [False, False, False, True]


# --- when saved --------------------------------------------------------------------------------------------

Answers = dict[str, list[str]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """The resolver's answers by name; a name without one doesn't exist."""
    known: Answers = {}

    def resolve(host: str, port: int, **_: object) -> list[AddrInfo]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://10.1.2.3/hook", "ROWHOOK_ALLOW_NETWORKS=10.1.2.0/24"),
        ("https://[::1]/hook", "ROWHOOK_ALLOW_NETWORKS=::1/128"),
        ("https://localhost/hook", "localhost is 127.0.0.1, a loopback address: ROWHOOK_ALLOW_NETWORKS=127.0.0.0/8"),
        ("https://hook.localhost/", "a loopback address"),
        ("https://mixed.example/", "mixed.example is 10.1.2.3, a private address"),
        ("https://internal.example/", "internal.example is 10.1.2.3, a private address: ROWHOOK_ALLOW_NETWORKS=10.1.2.0/24"),
        ("https://six.example/", "six.example is fd00::7"),
        ("http://public.example/", "plain http: use https, or set ROWHOOK_ALLOW_HTTP=1"),
        ("http://unknown.example/", "or name its network in ROWHOOK_ALLOW_NETWORKS"),
        ("https://public.example:22/", "port 22"),
        ("https://unknown.example:5432/", "port 5432 is that of Postgres"),
        ("https://127.0.0.1:8080/", "this relay's API (ROWHOOK_API_LISTEN)"),
        ("https://db.example:7432/", "Rowhook's own database (DATABASE_URL)"),
    ],
)
def test_refused_when_saved(monkeypatch: pytest.MonkeyPatch, answers: Answers, url: str, says: str) -> None:
    answers |= {"public.example": ["8.8.8.8"], "internal.example": ["10.1.2.3"], "mixed.example": ["8.8.8.8", "10.1.2.3"]}
    answers |= {"six.example": ["fd00::7"], "db.example": ["8.8.8.8"], "db.internal": ["8.8.8.8"]}
    given = given_settings(monkeypatch, DATABASE_URL="postgresql://db.internal:7432/db")
    with pytest.raises(DestinationDenied) as caught:
        check_saved(url, given)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("https://public.example/hook", {}),
        ("https://unknown.example/hook", {}),
        ("https://public.example:8443/", {}),
        ("http://public.example/", {"ROWHOOK_ALLOW_HTTP": "1"}),
        ("http://unknown.example/", {"ROWHOOK_ALLOW_NETWORKS": "10.0.0.0/8"}),
        ("http://internal.example:8080/", {"ROWHOOK_ALLOW_NETWORKS": "10.1.2.3"}),
        ("http://localhost:8081/", {"ROWHOOK_ALLOW_NETWORKS": "127.0.0.0/8"}),
        ("https://public.example:22/", {"ROWHOOK_ALLOW_PORTS": "22"}),
        ("https://internal.example/", {"ROWHOOK_PROXY": "http://proxy:3128"}),
    ],
)
def test_saved(monkeypatch: pytest.MonkeyPatch, answers: Answers, url: str, variables: dict[str, str]) -> None:
    answers |= {"public.example": ["8.8.8.8", "2606:4700:4700::1111"], "internal.example": ["10.1.2.3"]}
    check_saved(url, given_settings(monkeypatch, **variables))


DATABASE = {"DATABASE_URL": "postgresql://db.internal:7432/db"}


@pytest.mark.parametrize(
    "url",
    [
        "https://10.1.2.3/",
        "https://localhost/",
        "http://hook.example/",
        "https://hook.example:22/",
        "https://db.internal:7432/",
        "https://DB.internal:7432/",
    ],
)
def test_with_a_proxy_the_text_is_still_judged(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    given = {"ROWHOOK_PROXY": "http://proxy:3128", "ROWHOOK_ALLOW_NETWORKS": "10.9.0.0/16", **DATABASE}
    with pytest.raises(DestinationDenied):
        check_saved(url, given_settings(monkeypatch, **given))


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ROWHOOK_ALLOW_NETWORKS", "10.1.2.3/24", "write 10.1.2.0/24"),
        ("ROWHOOK_DENY_NETWORKS", "everything", "is not a network"),
        ("ROWHOOK_ALLOW_PORTS", "80-", "neither a port nor a range"),
        ("ROWHOOK_ALLOW_HTTP", "perhaps", "boolean"),
    ],
)
def test_settings_that_are_wrong(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**{name: value})
    assert name in str(caught.value) and value in str(caught.value) and says in str(caught.value)


@pytest.mark.parametrize(
    "url", ["proxy:3128", "socks5://me:sesame@proxy:1080", "http://", "http://me:sesame@proxy:3128/x", "http://[:"]
)
def test_a_proxy_that_is_none_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"ROWHOOK_PROXY.*http://proxy:3128") as caught:
        load(ROWHOOK_PROXY=url)
    assert "sesame" not in str(caught.value)


def test_a_proxys_password_is_not_shown() -> None:
    assert "sesame" not in repr(load(ROWHOOK_PROXY="http://me:sesame@proxy:3128"))
