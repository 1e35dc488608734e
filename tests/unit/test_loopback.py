"""A listener on the loopback answers this machine's programs, and no page that was rebound to it."""

from __future__ import annotations

import asyncio
import http.client

import pytest

from relay.api.server import Server
from relay.config import load
from relay.loopback import is_loopback
from tests.cluster import free_port
from tests.keys import KEY


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.254", "::1", "localhost", "LOCALHOST"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "126.255.255.255", "128.0.0.0", "0.0.0.0", "::", "::2", "localhost.evil.example", "127.1", "10.0.0.1"]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


async def status(listen: str, **headers: str | list[str]) -> int:
    """What a listener says to a request with these headers; without a Host of its own by default."""
    port = free_port()
    unasked = "postgresql://nobody@127.0.0.1:1/none"
    health = Server(load(DATABASE_URL=unasked, ROWHOOK_SECRET_KEY=KEY, ROWHOOK_API_LISTEN=f"{listen}:{port}"))
    await health.start()

    def ask() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.putrequest("GET", "/health/live", skip_host=True)
        for name, values in headers.items():
            for value in [values] if isinstance(values, str) else values:
                connection.putheader(name, value.replace("PORT", str(port)))
        connection.endheaders()
        try:
            return connection.getresponse().status
        finally:
            connection.close()

    try:
        return await asyncio.to_thread(ask)
    finally:
        await health.stop()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:PORT"},
        {"Host": "localhost"},
        {"Host": "[::1]:PORT"},
        {"Host": "127.0.0.1:PORT", "Origin": "http://127.0.0.1:PORT"},
        {"Host": "localhost:PORT", "Origin": "http://localhost:3000"},
    ],
)
async def test_programs_of_this_machine_are_answered(headers: dict[str, str]) -> None:
    assert await status("127.0.0.1", **headers) == 200


FOREIGN: list[dict[str, str | list[str]]] = [
    {"Host": "rebound.example:PORT"},
    {"Host": "localhost.rebound.example"},
    {"Host": "127.0.0.1.rebound.example"},
    {"Host": "127.0.0.1@rebound.example"},
    {"Host": "user@127.0.0.1"},
    {"Host": "0.0.0.0:PORT"},
    {"Host": "192.168.1.1"},
    {"Host": ""},
    {"Host": ["127.0.0.1", "rebound.example"]},
    {"Host": "127.0.0.1:PORT", "Origin": "https://evil.example"},
    {"Host": "127.0.0.1:PORT", "Origin": "http://127.0.0.1.evil.example"},
    {"Host": "127.0.0.1:PORT", "Origin": "null"},
    {"Host": "127.0.0.1:PORT", "Origin": ["http://127.0.0.1", "https://evil.example"]},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_pages_of_elsewhere_are_refused__mutant_a_listener_without_the_test_answers(
    headers: dict[str, str | list[str]],
) -> None:
    assert await status("127.0.0.1", **headers) in (400, 403)
    if headers["Host"] == "rebound.example:PORT":
        # Open to the network by choice, it is told by any name: that is what the loopback would do without the test.
        assert await status("0.0.0.0", **headers) == 200
