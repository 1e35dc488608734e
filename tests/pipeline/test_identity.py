"""Private authorities and client certificates, per endpoint: both transports, and a relay that runs."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
import trustme

from relay.identity import Identity, parse_authority, parse_client
from relay.send import Transport
from relay.send_aiohttp import AiohttpTransport
from tests.pipeline.raw_server import RawConnection, RawServer
from tests.pipeline.test_guard import tunnel
from tests.pipeline.transports import OPEN, post, said

OK = (200, None, False)
TLS = (None, "tls", False)
CA, ELSEWHERE = trustme.CA(), trustme.CA()
NOW = datetime.now(UTC)


def client(name: str, authority: trustme.CA = CA) -> tuple[str, str]:
    issued = authority.issue_cert(f"{name}.example", common_name=name)
    return parse_client(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes(), NOW)


AUTHORITY = parse_authority(CA.cert_pem.bytes(), NOW)
TRUSTING = Identity(AUTHORITY)
ALICE, BOB = Identity(AUTHORITY, *client("alice")), Identity(AUTHORITY, *client("bob"))
FORGED = Identity(AUTHORITY, *client("alice", ELSEWHERE))


def served(*names: str, asks: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(*names).configure_cert(context)
    CA.configure_trust(context)
    context.verify_mode = asks
    return context


class Doorman:
    """Notes whose certificate each request came with."""

    def __init__(self) -> None:
        self.shown: list[str | None] = []

    def __call__(self, connection: RawConnection) -> None:
        while connection.request():
            self.shown.append(connection.shown)
            connection.answer()


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    """1.3 tells a client after its handshake that its certificate won't do."""
    found: ssl.TLSVersion = ssl.TLSVersion[request.param]
    return found


async def test_a_server_that_asks_for_a_certificate(transport: Transport, version: ssl.TLSVersion) -> None:
    doorman, context = Doorman(), served("localhost")
    context.minimum_version = context.maximum_version = version
    with RawServer(doorman, context) as server:
        url = f"https://localhost:{server.port}/"
        assert said(await post(transport, url, identity=ALICE)) == OK
        for wrong in (TRUSTING, FORGED):
            outcome = await post(transport, url, identity=wrong)
            assert (outcome.status_code, outcome.error_class) == (None, "tls"), outcome
            assert outcome.error and "ALERT" in outcome.error.upper()
        assert said(await post(transport, url)) == TLS
    assert doorman.shown == ["alice"]


async def test_a_connection_serves_one_identity_only(transport: Transport) -> None:
    """The same URL for all, connections kept: each request comes with its own endpoint's certificate, or none."""
    doorman = Doorman()
    with RawServer(doorman, served("localhost", asks=ssl.CERT_OPTIONAL)) as server:
        url = f"https://localhost:{server.port}/"
        for identity in (ALICE, BOB, TRUSTING) * 3:
            assert said(await post(transport, url, identity=identity)) == OK
        assert said(await post(transport, url)) == TLS
        await asyncio.gather(*[post(transport, url, identity=identity) for identity in (ALICE, BOB, TRUSTING) * 20])
        assert server.connections <= 4 + 60
        assert doorman.shown[:9] == ["alice", "bob", None] * 3
        assert sorted(map(str, doorman.shown[9:])) == ["None"] * 20 + ["alice"] * 20 + ["bob"] * 20


async def test_connections_are_kept_per_identity(transport: Transport) -> None:
    doorman = Doorman()
    with RawServer(doorman, served("localhost")) as server:
        for identity in (ALICE, BOB) * 5:
            assert said(await post(transport, f"https://localhost:{server.port}/", identity=identity)) == OK
        assert server.connections == 2


async def test_a_private_authority_is_trusted_for_its_own_endpoint_alone(transport: Transport) -> None:
    with RawServer(Doorman(), served("localhost", asks=ssl.CERT_NONE)) as server:
        url = f"https://localhost:{server.port}/"
        assert said(await post(transport, url, identity=TRUSTING)) == OK
        assert said(await post(transport, url)) == TLS
        assert said(await post(transport, url, identity=Identity("", ALICE.certificate, ALICE.key))) == TLS
        assert said(await post(transport, url, identity=Identity(parse_authority(ELSEWHERE.cert_pem.bytes(), NOW)))) == TLS


async def test_another_name_is_refused_all_the_same(transport: Transport) -> None:
    doorman = Doorman()
    with RawServer(doorman, served("elsewhere.example")) as server:
        assert said(await post(transport, f"https://localhost:{server.port}/", identity=ALICE)) == TLS
    assert doorman.shown == []


async def test_what_no_context_can_be_made_of_fails_as_tls(transport: Transport) -> None:
    """Put into the table by hand."""
    with RawServer(Doorman(), served("localhost")) as server:
        broken = Identity(AUTHORITY, ALICE.certificate, BOB.key)
        assert said(await post(transport, f"https://localhost:{server.port}/", identity=broken)) == TLS
        assert server.connections == 0


async def test_a_proxy_is_shown_nothing_of_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is spoken to by TLS, and asks: the certificate is for who is behind it."""
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    at_proxy: list[str | None] = []

    def proxy(connection: RawConnection) -> None:
        at_proxy.append(connection.shown)
        tunnel(connection)

    doorman = Doorman()
    with (
        RawServer(proxy, served("localhost", asks=ssl.CERT_OPTIONAL)) as between,
        RawServer(doorman, served("localhost")) as server,
    ):
        transport = AiohttpTransport(4, OPEN, f"https://localhost:{between.port}")
        await transport.open()
        assert said(await post(transport, f"https://localhost:{server.port}/", identity=ALICE)) == OK
        await transport.close()
    assert at_proxy == [None]
    assert doorman.shown == ["alice"]
