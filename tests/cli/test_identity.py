"""Private authorities and client certificates on the command line, and in a relay that runs meanwhile."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.keyring import Keyring
from tests.cli.conftest import LOOPBACK, Rowhook, Start, wait_until_live
from tests.conftest import Connection
from tests.keys import KEY, OTHER_KEY
from tests.pipeline.raw_server import RawConnection, RawServer

KEYLESS = {"ROWHOOK_SECRET_KEY": ""}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, in_folder: Path) -> Path:
    """ca.pem; alice.pem and alice.key; bob.pem with both; old.pem, of 2020; der."""
    authority.cert_pem.write_to_path(in_folder / "ca.pem")
    alice, bob = (authority.issue_cert(f"{name}.example", common_name=name) for name in ("alice", "bob"))
    alice.cert_chain_pems[0].write_to_path(in_folder / "alice.pem")
    alice.private_key_pem.write_to_path(in_folder / "alice.key")
    bob.private_key_and_cert_chain_pem.write_to_path(in_folder / "bob.pem")
    old = authority.issue_cert("old.example", common_name="old", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    old.private_key_and_cert_chain_pem.write_to_path(in_folder / "old.pem")
    (in_folder / "der").write_bytes(b"\x30\x82\x01\xff")
    return in_folder


class Door:
    """A server that requires a client certificate; each request is the name that it came with."""

    def __init__(self) -> None:
        self._came: queue.Queue[str | None] = queue.Queue()
        self.server: RawServer

    def serve(self, connection: RawConnection) -> None:
        while connection.request():
            self._came.put(connection.shown)
            connection.answer()

    def next(self) -> str | None:
        return self._came.get(timeout=20)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.port}/"


@pytest.fixture
def door(authority: trustme.CA) -> Iterator[Door]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    door = Door()
    with RawServer(door.serve, context) as door.server:
        yield door


def error_classes(conn: Connection) -> list[str | None]:
    return [found for (found,) in conn.execute("SELECT error_class FROM rowhook.attempt ORDER BY delivery_id, number")]


@pytest.mark.parametrize("transport", ["aiohttp", "lean"])
def test_a_relay_shows_it_and_an_edit_counts_at_once(
    rowhook: Rowhook, conn: Connection, start: Start, door: Door, files: Path, transport: str
) -> None:
    """1 As alice. 2 As bob, from the next event on. 3 Under another key of ours. 4 As nobody: refused. 5 As alice again."""

    def emit() -> None:
        conn.execute("SELECT rowhook.emit('order.placed', '{}')")

    def edit(*options: str) -> None:
        rowhook("endpoint", "edit", added["id"], *options, env=LOOPBACK, ok=True)

    options = ("--ca-file", "ca.pem", "--client-cert", "alice.pem", "--client-key", "alice.key", "--retry", "none")
    added = rowhook("endpoint", "add", door.url, *options, "--json", env=LOOPBACK, ok=True).json
    assert added["client_certificate"]["subject"].startswith("CN=alice")
    with start("--no-api", "--instance-name", "n", ROWHOOK_TRANSPORT=transport, ROWHOOK_SECRET_KEY=f"{OTHER_KEY},{KEY}") as relay:
        wait_until_live(conn, "n")
        emit()
        assert door.next() == "alice"
        edit("--client-cert", "bob.pem")
        emit()
        assert door.next() == "bob"
        told = rowhook("rekey", "--json", env={"ROWHOOK_SECRET_KEY": f"{OTHER_KEY},{KEY}"}, ok=True).json
        assert (told["client_keys"], told["unreadable"]) == (1, [])
        edit("--description", "loaded anew, under the newest key")
        emit()
        assert door.next() == "bob"
        edit("--client-cert", "")
        emit()
        _until(lambda: len(error_classes(conn)) == 4)
        assert error_classes(conn)[-1] in ("tls", "reset")  # what tells of a refusal may be lost with the connection
        edit("--client-cert", "alice.pem", "--client-key", "alice.key")
        emit()
        assert door.next() == "alice"
        edit("--ca-file", "")
        emit()
        _until(lambda: len(error_classes(conn)) == 6)
        assert error_classes(conn)[-1] == "tls"
        assert relay.stop() == 0
    assert conn.execute("SELECT DISTINCT client_key_id FROM rowhook.endpoint").fetchall() == [(Keyring.parse(KEY).newest,)]


def _until(true: Callable[[], bool]) -> None:
    deadline = datetime.now(UTC).timestamp() + 20
    while not true():
        assert datetime.now(UTC).timestamp() < deadline


def test_a_key_moved_to_another_endpoint_does_not_open(
    rowhook: Rowhook, conn: Connection, start: Start, door: Door, files: Path
) -> None:
    """Its deliveries wait, as with every secret that can't be read."""
    for name in ("alice", "bob"):
        rowhook("endpoint", "add", door.url + name, "--ca-file", "ca.pem", "--client-cert", "bob.pem", env=LOOPBACK, ok=True)
    conn.execute(
        "UPDATE rowhook.endpoint AS e SET client_key = o.client_key FROM rowhook.endpoint AS o"
        " WHERE e.url ~ 'alice' AND o.url ~ 'bob'"
    )
    with start("--no-api", "--instance-name", "n") as relay:
        wait_until_live(conn, "n")
        conn.execute("SELECT rowhook.emit('order.placed', '{}')")
        assert door.next() == "bob"
        relay.wait_for("the key of the endpoint's client certificate does not decrypt")
        assert relay.stop() == 0
    assert door.server.requests[0].startswith(b"POST /bob ") and len(door.server.requests) == 1


def test_it_is_shown_by_subject_and_expiry_alone(rowhook: Rowhook, files: Path) -> None:
    url = "https://example.com/"
    added = rowhook("endpoint", "add", url, "--ca-file", "ca.pem", "--client-cert", "bob.pem", "--json", ok=True).json
    assert [set(one) for one in (*added["ca_certificates"], added["client_certificate"])] == [{"subject", "expires_at"}] * 2
    shown = rowhook("endpoint", "show", added["id"], ok=True).out
    assert "CN=bob" in shown and "trustme" in shown and "expires_at" in shown and "BEGIN" not in shown
    listed: list[dict[str, Any]] = rowhook("endpoint", "list", "--json", ok=True).json
    assert listed[0]["client_certificate"] == added["client_certificate"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--client-cert", "alice.pem"), "there is no key of the client certificate in PEM"),
        (("--client-cert", "bob.pem", "--client-key", "alice.key"), "the key is not that of the client certificate"),
        (("--client-cert", "old.pem"), "expired on 2020-01-01"),
        (("--client-cert", "der", "--client-key", "alice.key"), "the client certificate is not in PEM"),
        (("--client-key", "alice.key"), "--client-key is given without --client-cert"),
        (("--ca-file", "der"), "the authority is not in PEM"),
        (("--ca-file", "alice.key"), "the authority is not in PEM"),
        (("--ca-file", "nowhere.pem"), "--ca-file 'nowhere.pem' can't be read"),
    ],
)
def test_what_is_wrong_is_one_line(rowhook: Rowhook, files: Path, options: tuple[str, ...], says: str) -> None:
    rowhook("endpoint", "add", "https://example.com/", *options).refused(says)


def test_over_plain_http_it_is_refused(rowhook: Rowhook, files: Path) -> None:
    allowed = {"ROWHOOK_ALLOW_HTTP": "1"}
    refusal = "certificates say nothing over plain http"
    rowhook("endpoint", "add", "http://example.com/", "--ca-file", "ca.pem", env=allowed).refused(refusal)
    added = rowhook("endpoint", "add", "https://example.com/", "--client-cert", "bob.pem", "--json", ok=True).json
    rowhook("endpoint", "edit", added["id"], "--url", "http://example.com/", env=allowed).refused(refusal)
    rowhook("endpoint", "edit", added["id"], "--url", "http://example.com/", "--client-cert", "", env=allowed, ok=True)


def test_an_authority_needs_no_key_of_ours_and_a_client_certificate_does(rowhook: Rowhook, endpoint: str, files: Path) -> None:
    rowhook("endpoint", "edit", endpoint, "--url", "https://example.com/", "--ca-file", "ca.pem", env=KEYLESS, ok=True)
    edit = ("endpoint", "edit", endpoint, "--client-cert", "bob.pem")
    rowhook(*edit, env=KEYLESS).refused("ROWHOOK_SECRET_KEY is not set")
    rowhook(*edit, ok=True)
    edited = rowhook("endpoint", "edit", endpoint, "--client-cert", "", "--json", env=KEYLESS, ok=True).json
    assert edited["client_certificate"] is None and edited["ca_certificates"]
