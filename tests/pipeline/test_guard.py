"""No request goes where it may not: both transports, a resolver under the test's control, sockets that count who connects.

Addresses of the loopback stand for the rest: one of them is allowed, as a public address is, the others are denied, and a socket
that listens there sees every connection. Where no socket of a test can listen, Python's audit events tell of each connect().
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio
import trustme

from relay.config import load
from relay.dial import Dialler
from relay.errors import DestinationDenied
from relay.guard import Guard
from relay.own import Own
from relay.policy import policy
from relay.send import Transport, transport
from tests.cluster import free_port
from tests.conftest import Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, attempts_of, becomes, one, run_text, states
from tests.pipeline.raw_server import RawConnection, RawServer
from tests.pipeline.relays import LocalRelay, eventually
from tests.pipeline.transports import TRANSPORTS, post, said
from tests.receiver import Receiver

ALLOWED, DENIED = "127.0.0.1", "127.0.0.2"
BLOCKED, OK = (None, "blocked", False), (200, None, False)
SETTINGS = {"allow_networks": ALLOWED}


class Trap:
    """A socket that listens where nothing may go, and counts who comes."""

    def __init__(self, host: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        self.host, self.port = host, self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    @property
    def connections(self) -> int:
        """Those that have come so far: the kernel accepts before anybody asks."""
        self._socket.settimeout(0.2)
        count = 0
        with contextlib.suppress(TimeoutError):
            while True:
                self._socket.accept()[0].close()
                count += 1
        return count


class Names:
    """The resolver's answers: for each name a list of answers, each a list of addresses; the last answer repeats."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in self.answers:
            return self._real(host, port, *args, **options)
        self.asked.append(host)
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (kind, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (a, port, 0, 0) if kind == socket.AF_INET6 else (a, port))
            for kind, a in zip(kinds, addresses, strict=True)
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look-up asks anew: what the attacker's name server would like."""
    monkeypatch.setattr("relay.resolve.SECONDS_KEPT", -1.0)


@pytest.fixture
def trap() -> Iterator[Trap]:
    with Trap(DENIED) as trap:
        yield trap


_connects: list[tuple[object, ...]] = []
_watching = threading.Event()


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watching.is_set():
        _connects.append(tuple(arguments[1]) if isinstance(arguments[1], tuple) else (arguments[1],))


@pytest.fixture(scope="module")
def _audited() -> None:
    sys.addaudithook(_watch)  # there is no removing it: it does nothing while nobody watches


@pytest.fixture
def connects(_audited: None) -> Iterator[list[tuple[object, ...]]]:
    """The address of each connect() in this process, from here on."""
    _connects.clear()
    _watching.set()
    yield _connects
    _watching.clear()


def polite(connection: RawConnection) -> None:
    while connection.request():
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def closes(connection: RawConnection) -> None:
    """One answer a connection: the next request needs a new one."""
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")


@pytest_asyncio.fixture(params=TRANSPORTS)
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """Each transport in turn, to which one address of the loopback is open."""
    opened = TRANSPORTS[request.param](8, Guard(policy(ALLOWED)))
    await opened.open()
    yield opened
    await opened.close()


# --- literals ----------------------------------------------------------------------------------------------

TABLE = [
    *["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.254.1.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    *["100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.8", "192.88.99.1", "192.0.2.1", "198.18.0.1", "203.0.113.1"],
    *["224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "[::]", "[::1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]"],
    *["[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[64:ff9b::808:808]", "[2001:0::1]", "[fc00::1]"],
    *["[fd00:ec2::254]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[100::1]", "[2001:db8::1]", "[3fff::1]", "[5f00::1]"],
    *["2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "0x7f.0.0.1", "%31%32%37.0.0.1", "localhost", "localhost."],
    *["①②⑦.⓪.⓪.①", "127。0。0。1", "[fe80::1%25lo]"],
]


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_every_row_of_the_table(kind: str, connects: list[tuple[object, ...]]) -> None:
    """With nothing allowed: each is blocked, nothing is connected to, and nobody comes to the sockets of the loopback."""
    opened = TRANSPORTS[kind](8, Guard(policy(allow_http=True, ports="1-65535")))
    await opened.open()
    with Trap("127.0.0.1") as four, Trap("::1", four.port) as six, Trap("127.254.1.1", four.port) as other:
        outcomes = {host: await post(opened, f"http://{host}:{four.port}/") for host in TABLE}
        assert [trap.connections for trap in (four, six, other)] == [0, 0, 0]
    assert {host: said(outcome) for host, outcome in outcomes.items()} == dict.fromkeys(TABLE, BLOCKED)
    assert all(outcome.error for outcome in outcomes.values())
    assert [address for address in connects if address and address[0] != ""] == []
    await opened.close()


async def test_the_trap_catches(guarded: Transport) -> None:
    """What the other tests rely on: an allowed connection is seen, by the socket and by the audit."""
    with Trap(ALLOWED) as open_trap:
        await post(guarded, f"http://{ALLOWED}:{open_trap.port}/", timeout=0.2)
        assert open_trap.connections == 1


async def test_an_allowed_literal_beside_a_denied_one(guarded: Transport, trap: Trap) -> None:
    with RawServer(polite) as server:
        assert said(await post(guarded, server.url())) == OK
    outcome = await post(guarded, f"http://{DENIED}:{trap.port}/")
    assert said(outcome) == BLOCKED
    assert outcome.error == ("127.0.0.2 is a loopback address: ROWHOOK_ALLOW_NETWORKS=127.0.0.1/32,127.0.0.0/8 would allow it")
    assert trap.connections == 0


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [[ALLOWED, DENIED], [DENIED, ALLOWED], ["8.8.8.8", DENIED], [DENIED], [ALLOWED, "::1"]])
async def test_one_denied_answer_denies_the_name(guarded: Transport, trap: Trap, names: Names, answer: list[str]) -> None:
    names.answers["hook.example"] = [answer]
    with RawServer(polite) as server:
        assert said(await post(guarded, f"http://hook.example:{trap.port}/")) == BLOCKED
        assert server.requests == []
    assert trap.connections == 0


async def test_only_aaaa(guarded: Transport, names: Names) -> None:
    with Trap("::1") as six:
        names.answers["six.example"] = [["::1"]]
        outcome = await post(guarded, f"http://six.example:{six.port}/")
        assert said(outcome) == BLOCKED and six.connections == 0
        assert outcome.error and "six.example is ::1, a loopback address" in outcome.error


async def test_a_mapped_answer(guarded: Transport, trap: Trap, names: Names) -> None:
    names.answers["mapped.example"] = [[f"::ffff:{DENIED}"], [f"::ffff:{ALLOWED}"]]
    for _ in range(2):
        assert said(await post(guarded, f"http://mapped.example:{trap.port}/")) == BLOCKED
    assert trap.connections == 0


@pytest.mark.usefixtures("no_cache")
async def test_rebinding(guarded: Transport, trap: Trap, names: Names) -> None:
    """The name is good when it is asked for first, and bad ever after, from any of the next questions on."""
    with RawServer(closes, port=trap.port) as server:
        for good_answers in range(6):
            names.answers["rebinding.example"] = [[ALLOWED]] * good_answers + [[DENIED]]
            for _ in range(8):
                assert said(await post(guarded, f"http://rebinding.example:{trap.port}/")) in (OK, BLOCKED)
            assert said(await post(guarded, f"http://rebinding.example:{trap.port}/")) == BLOCKED
        assert server.requests  # the good answers were used
    assert trap.connections == 0


async def test_rebinding_within_the_cache(guarded: Transport, trap: Trap, names: Names) -> None:
    """An answer that is kept stays judged: what the name says meanwhile is not dialled."""
    names.answers["kept.example"] = [[ALLOWED], [DENIED]]
    with RawServer(closes, port=trap.port):
        for _ in range(5):
            assert said(await post(guarded, f"http://kept.example:{trap.port}/")) == OK
    assert names.asked == ["kept.example"]
    assert trap.connections == 0


async def test_a_denied_answer_is_not_kept(guarded: Transport, names: Names) -> None:
    with RawServer(polite) as server:
        names.answers["mended.example"] = [[DENIED], [ALLOWED]]
        url = f"http://mended.example:{server.port}/"
        assert [said(await post(guarded, url)) for _ in range(2)] == [BLOCKED, OK]


async def test_an_answer_that_led_nowhere_is_not_kept(guarded: Transport, names: Names) -> None:
    with RawServer(polite) as server:
        names.answers["moved.example"] = [["127.0.0.1"]]
        port = free_port()
        assert (await post(guarded, f"http://moved.example:{port}/")).error_class == "refused"
        assert said(await post(guarded, f"http://moved.example:{server.port}/")) == OK
    assert names.asked == ["moved.example"] * 2


async def test_many_at_once(guarded: Transport, trap: Trap, names: Names) -> None:
    """Each connection is judged by its own request's rules, however many are made at a time."""
    with RawServer(polite, port=trap.port):
        names.answers |= {f"{n}.example": [[DENIED if n % 2 else ALLOWED]] for n in range(40)}
        outcomes = await asyncio.gather(*(post(guarded, f"http://{n}.example:{trap.port}/") for n in range(40)))
    assert [said(outcome) for outcome in outcomes] == [OK, BLOCKED] * 20
    assert trap.connections == 0


# --- plain http, ports, what is own ------------------------------------------------------------------------


async def test_plain_http_needs_leave(names: Names, connects: list[tuple[object, ...]]) -> None:
    names.answers["public.example"] = [["8.8.8.8"]]
    for kind in TRANSPORTS.values():
        opened = kind(8, Guard(policy()))
        await opened.open()
        outcome = await post(opened, "http://public.example/")
        assert said(outcome) == BLOCKED and outcome.error and "ROWHOOK_ALLOW_HTTP=1" in outcome.error
        assert said(await post(opened, "http://8.8.8.8/")) == BLOCKED
        await opened.close()
    assert connects == []


@pytest.mark.parametrize("port", [22, 25, 5432, 6379])
async def test_ports(guarded: Transport, port: int, connects: list[tuple[object, ...]]) -> None:
    outcome = await post(guarded, f"http://{ALLOWED}:{port}/")
    assert said(outcome) == BLOCKED and outcome.error and "ROWHOOK_ALLOW_PORTS" in outcome.error
    assert connects == []


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_own_places(kind: str, names: Names) -> None:
    """By address and by name, in every spelling, although the network is allowed."""
    names.answers |= {"db.internal": [["127.0.0.3"]], "hook.example": [["127.0.0.3"]]}
    with Trap("0.0.0.0") as database, Trap("0.0.0.0") as listener:
        own = [Own("the database", "db.internal", database.port), Own("the API", "", listener.port)]
        opened = TRANSPORTS[kind](8, Guard(policy("0.0.0.0/0,::/0", ports="1-65535"), own))
        await opened.open()
        hosts = ["hook.example", "127.0.0.3", "127.0.0.1", "0.0.0.0", "localhost", "[::ffff:127.0.0.3]"]
        for place in (database, listener):
            assert [said(await post(opened, f"http://{host}:{place.port}/")) for host in hosts] == [BLOCKED] * len(hosts)
            assert place.connections == 0
        await opened.close()


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_a_database_whose_name_is_unknown_stops_nobody(kind: str) -> None:
    with RawServer(polite) as server:
        opened = TRANSPORTS[kind](8, Guard(policy(ALLOWED), [Own("the database", "nobody.invalid", server.port)]))
        await opened.open()
        assert said(await post(opened, server.url())) == OK
        await opened.close()


# --- each safeguard by itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [(DENIED, 8080), (ALLOWED, 22), ("8.8.8.8", 80), ("fe80::1", 8080, 0, 2)])
def test_a_socket_is_opened_for_allowed_addresses_only(address: Any) -> None:
    """Even if nothing before it had judged."""
    dialler = Dialler(Guard(policy(ALLOWED)))
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with pytest.raises(DestinationDenied):
        dialler.open_socket((family, socket.SOCK_STREAM, 0, "", address), "http")
    dialler.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (ALLOWED, 8080)), "http").close()
    dialler.open_socket((family, socket.SOCK_STREAM, 0, "", address), "proxy").close()


async def test_a_connection_that_ends_elsewhere_carries_nothing(guarded: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody between us and the kernel turns it to a denied address: the peer is seen before anything is sent."""
    loop = asyncio.get_running_loop()
    real = loop.sock_connect

    async def turned(connecting: socket.socket, address: Any) -> None:
        await real(connecting, (DENIED, address[1]))

    with RawServer(polite, host=DENIED) as elsewhere:
        monkeypatch.setattr(loop, "sock_connect", turned)
        assert said(await post(guarded, f"http://{ALLOWED}:{elsewhere.port}/")) == BLOCKED
        monkeypatch.undo()
        eventually(lambda: elsewhere.connections == 1)
        assert elsewhere.requests == []


# --- a proxy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRANSPORTS)
async def test_a_proxy_is_a_choice(kind: str, monkeypatch: pytest.MonkeyPatch, trap: Trap) -> None:
    """The environment's proxy is none; ROWHOOK_PROXY gets the request whatever its own address, and the target is judged."""
    with RawServer(polite) as proxy, RawServer(polite) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        given = {"ROWHOOK_TRANSPORT": kind, "ROWHOOK_ALLOW_NETWORKS": ALLOWED, "ROWHOOK_ALLOW_HTTP": "1"}
        direct = transport(load(**given))
        await direct.open()
        assert said(await post(direct, server.url())) == OK
        await direct.close()
        assert (len(proxy.requests), len(server.requests)) == (0, 1)

        through = transport(load(**{**given, "ROWHOOK_ALLOW_NETWORKS": "", "ROWHOOK_PROXY": proxy.url("")}))
        await through.open()
        for _ in range(2):
            assert said(await post(through, "http://hook.example:8080/there")) == OK
        assert [request.split(b"\r\n")[0] for request in proxy.requests] == [b"POST http://hook.example:8080/there HTTP/1.1"] * 2
        for url in (f"http://{DENIED}:{trap.port}/", "http://localhost/", "http://127.1/", "http://hook.example:22/"):
            assert said(await post(through, url)) == BLOCKED
        await through.close()
        assert (len(proxy.requests), len(server.requests), trap.connections) == (2, 1, 0)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Who?\r\ncontent-length: 0\r\n\r\n", b"garbage\r\n\r\n", b""])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxys_password_is_in_no_outcome(scheme: str, answer: bytes) -> None:
    """What goes on record is for whoever may read attempts."""

    def proxy(connection: RawConnection) -> None:
        connection.head()
        connection.send(answer)

    with RawServer(proxy) as server:
        given = f"http://operator:opensesame@127.0.0.1:{server.port}"
        through = transport(load(ROWHOOK_PROXY=given, ROWHOOK_ALLOW_HTTP="1"))
        await through.open()
        outcome = await post(through, f"{scheme}://hook.example/")
        await through.close()
    assert outcome.error and server.connections
    assert "opensesame" not in str(outcome) and "b3BlbnNlc2FtZQ" not in str(outcome)


def tunnel(through: RawConnection) -> None:
    """A proxy's CONNECT, to a server on this machine whatever the name."""
    named = through.head().split()[1]
    through.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    with socket.create_connection(("127.0.0.1", int(named.rpartition(b":")[2]))) as onward:
        back = threading.Thread(target=_pump, args=(onward, through._socket), daemon=True)
        back.start()
        _pump(through._socket, onward)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


async def test_https_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy sees host and port; the certificate is the receiver's, and what is denied gets no CONNECT."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hook.example").configure_cert(context)
    with RawServer(polite, context) as server, RawServer(tunnel) as proxy:
        through = transport(load(ROWHOOK_PROXY=proxy.url("")))
        await through.open()
        assert [said(await post(through, f"https://hook.example:{server.port}/hook")) for _ in range(2)] == [OK, OK]
        assert (len(server.requests), proxy.connections) == (2, 1)
        assert said(await post(through, f"https://other.example:{server.port}/hook")) == (None, "tls", False)
        assert said(await post(through, f"https://127.0.0.1:{server.port}/hook")) == BLOCKED
        assert proxy.connections == 2
        await through.close()


# --- end to end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_denied_delivery_is_dead_at_once_with_the_reason(
    kind: str,
    relays: Callable[..., LocalRelay],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    trap: Trap,
    names: Names,
) -> None:
    names.answers["mixed.example"] = [[ALLOWED, DENIED]]
    literal = add_hook(f"http://{DENIED}:{trap.port}/")
    mixed = add_hook(f"http://mixed.example:{trap.port}/")
    public = add_hook("http://8.8.8.8/hook")
    good = add_hook(receiver.url("/good"))
    relays(transport=kind, **SETTINGS)
    emit(conn)
    becomes(conn, {"delivered": 1, "dead": 3})
    assert attempts_of(conn, good) == [(1, 200, None)]
    for hook in (literal, mixed, public):
        assert attempts_of(conn, hook) == [(1, None, "blocked")]
    rows = run_text(
        conn, "SELECT url, error, delivery_status FROM rowhook.delivery_history WHERE error_class = 'blocked' ORDER BY url"
    )
    assert [(row["error"].split(":")[0], row["delivery_status"]) for row in rows] == [
        ("127.0.0.2 is a loopback address", "dead"),
        ("8.8.8.8 would be sent plain http", "dead"),
        ("mixed.example is 127.0.0.2, a loopback address", "dead"),
    ]
    assert trap.connections == 0


@pytest.mark.usefixtures("no_cache")
@pytest.mark.parametrize("kind", TRANSPORTS)
def test_rebinding_end_to_end(
    kind: str, relays: Callable[..., LocalRelay], add_hook: AddHook, conn: Connection, trap: Trap, names: Names
) -> None:
    with RawServer(closes, port=trap.port) as server:
        names.answers["rebinding.example"] = [[ALLOWED]]
        hook = add_hook(f"http://rebinding.example:{trap.port}/")
        relays(transport=kind, **SETTINGS)
        emit(conn)
        becomes(conn, {"delivered": 1})
        names.answers["rebinding.example"] = [[ALLOWED], [DENIED]]  # within one request
        emit(conn)
        eventually(lambda: one(conn, "SELECT count(*) FROM rowhook.delivery WHERE state IN ('delivered', 'dead')") == 2)
        emit(conn)
        eventually(lambda: states(conn).get("dead", 0) >= 1 and sum(states(conn).values()) == 3)
        assert attempts_of(conn, hook)[-1] == (1, None, "blocked")
        assert server.requests
    assert trap.connections == 0


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_the_relays_own_database_gets_no_request(
    kind: str, relays: Callable[..., LocalRelay], add_hook: AddHook, conn: Connection
) -> None:
    """On a port that is open otherwise, on a network that is allowed."""
    hook = add_hook(f"http://127.0.0.1:{conn.info.port}/")
    relays(transport=kind)
    emit(conn)
    becomes(conn, {"dead": 1})
    assert attempts_of(conn, hook) == [(1, None, "blocked")]
    assert "own database (DATABASE_URL)" in one(conn, "SELECT error FROM rowhook.attempt")
