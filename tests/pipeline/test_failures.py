"""Each failure class, by a receiver that misbehaves so: what is on record; a healthy endpoint beside it gets its event."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Hook, run_text, states
from tests.pipeline.raw_server import RawConnection, RawServer
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]


def answer(data: bytes) -> Callable[[RawConnection], None]:
    def serve(connection: RawConnection) -> None:
        if connection.request():
            connection.send(data)

    return serve


def well_formed(body: bytes, *headers: bytes) -> Callable[[RawConnection], None]:
    def serve(connection: RawConnection) -> None:
        if connection.request():
            connection.answer(body, *headers)

    return serve


def never(connection: RawConnection) -> None:
    connection.request()
    connection.closing.wait(20)


def drip(connection: RawConnection) -> None:
    """A byte now and then: each read succeeds, the answer never ends."""
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while not connection.closing.wait(0.1):
        connection.send(b".")


def reset(connection: RawConnection) -> None:
    connection.request()
    connection.break_off()


def hang_up(connection: RawConnection) -> None:
    connection.request()


CASES: dict[str, tuple[Callable[[RawConnection], None], str, int | None]] = {
    "never answers": (never, "timeout", None),
    "drips": (drip, "timeout", 200),
    "resets": (reset, "reset", None),
    "hangs up": (hang_up, "reset", None),
    "garbage": (answer(b"\x00\x01 what is HTTP?\r\n\r\n"), "protocol", None),
    "ends early": (answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"), "protocol", 200),
    "status 999": (answer(b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n"), "protocol", 999),
    "not found": (answer(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"), "http_4xx", 404),
    "server error": (answer(b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n"), "http_5xx", 503),
    "endless header": (answer(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n"), "too_large", None),
}


def the_attempt(connection: Connection, hook: Hook) -> dict[str, Any]:
    rows = run_text(
        connection,
        "SELECT a.* FROM rowhook.attempt AS a JOIN rowhook.delivery AS d ON d.id = a.delivery_id WHERE d.endpoint_id = %(hook)s",
        {"hook": hook.id},
    )
    assert len(rows) == 1, rows
    return rows[0]


def try_once(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, url: str, timeout: str = "10s"
) -> dict[str, Any]:
    """One event to the endpoint under test, which has no retries, and to a healthy one; the attempt on record."""
    hook = add_hook(url, retry_schedule=[], timeout=timeout)
    add_hook(receiver.url("/healthy"))
    relays()
    emit(conn)
    receiver.wait_for(1, path="/healthy")
    eventually(lambda: states(conn).get("leased", 0) == 0, 15)
    return the_attempt(conn, hook)


@pytest.mark.parametrize("case", CASES)
def test_failure_class(case: str, relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    serve, error_class, status = CASES[case]
    with RawServer(serve) as server:
        attempt = try_once(relays, receiver, add_hook, conn, server.url(), "1s" if error_class == "timeout" else "10s")
    assert (attempt["error_class"], attempt["status_code"]) == (error_class, status)
    assert attempt["error"] and "\n" not in attempt["error"]
    assert states(conn) == {"dead": 1, "delivered": 1}


def test_refused(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert try_once(relays, receiver, add_hook, conn, f"http://127.0.0.1:{port}/")["error_class"] == "refused"


def test_dns(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    assert try_once(relays, receiver, add_hook, conn, "http://nobody.invalid/hook")["error_class"] in {"dns", "timeout"}


def test_tls_to_a_plain_port(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    url = receiver.url().replace("http://", "https://")
    assert try_once(relays, receiver, add_hook, conn, url)["error_class"] == "tls"


def test_a_redirect_is_not_followed(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    """A 307 would carry body and signature to another host."""
    with RawServer(answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as elsewhere:
        location = elsewhere.url().encode()
        redirect = answer(b"HTTP/1.1 307 There\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")
        with RawServer(redirect) as server:
            attempt = try_once(relays, receiver, add_hook, conn, server.url())
        assert (attempt["error_class"], attempt["status_code"]) == ("redirect", 307)
        assert elsewhere.connections == 0


def test_a_long_answer_is_cut_and_no_error(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    body = b"\x00\xff" + b"a" * 1_000_000
    with RawServer(well_formed(body)) as server:
        attempt = try_once(relays, receiver, add_hook, conn, server.url())
    assert (attempt["error_class"], attempt["status_code"]) == (None, 200)
    assert attempt["response_excerpt"] == "\ufffd\ufffd" + "a" * 4094


def test_a_gzip_answer_is_not_inflated(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    with RawServer(well_formed(b"\x1f\x8bnot really", b"content-encoding: gzip")) as s:
        attempt = try_once(relays, receiver, add_hook, conn, s.url())
    assert (attempt["error_class"], attempt["status_code"]) == (None, 200)
    assert attempt["response_excerpt"].endswith("not really")


def test_cookies_are_not_sent_back(relays: Relays, add_hook: AddHook, conn: Connection) -> None:
    def serve(connection: RawConnection) -> None:
        while connection.request():
            connection.answer(b"", b"set-cookie: a=b")

    with RawServer(serve) as server:
        add_hook(server.url())
        relays()
        for n in (1, 2):
            emit(conn)
            eventually(lambda n=n: len(server.requests) == n)  # type: ignore[misc]
        assert not any(b"cookie" in request.lower() for request in server.requests)
