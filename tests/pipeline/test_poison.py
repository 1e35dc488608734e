"""What is odd about one endpoint, event or answer harms nobody else: the relay goes on, others get theirs, all is on record."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest

from tests.conftest import Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, attempts_of, becomes, run_text, states
from tests.pipeline.raw_server import RawConnection, RawServer
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "secret",
    ["whsec_this is no base64 !!", "whsec_c2hvcnQ=aaaaaaa", " spaces around it, long enough ", "line\nbreak in the middle of it"],
    ids=["no base64", "padding within", "spaces", "line break"],
)
def test_a_secret_that_cannot_sign_fails_its_own_deliveries_only(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, secret: str
) -> None:
    bad = add_hook(receiver.url("/bad"), secret=secret, retry_schedule=[])
    good = add_hook(receiver.url("/good"))
    relay = relays()
    for n in range(1, 4):
        emit(conn)
        receiver.wait_for(n, path="/good")
    becomes(conn, {"delivered": 3, "dead": 3})
    assert attempts_of(conn, bad) == [(1, None, "internal")] * 3
    assert attempts_of(conn, good) == [(1, 200, None)] * 3
    assert relay.running
    errors = run_text(conn, "SELECT DISTINCT error FROM rowhook.attempt WHERE error_class = 'internal'")
    assert len(errors) == 1 and "secret" in errors[0]["error"]
    assert secret not in errors[0]["error"]


def test_an_endpoint_without_any_secret_fails_its_own_deliveries_only(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    bad = add_hook(receiver.url("/bad"), retry_schedule=[])
    conn.execute("DELETE FROM rowhook.secret WHERE endpoint_id = %s", [bad.id])
    add_hook(receiver.url("/good"))
    relays()
    emit(conn)
    receiver.wait_for(1, path="/good")
    becomes(conn, {"delivered": 1, "dead": 1})
    (attempt,) = run_text(conn, "SELECT error_class, error FROM rowhook.attempt WHERE error_class IS NOT NULL")
    assert attempt["error_class"] == "internal" and "secret" in attempt["error"]


@pytest.mark.parametrize(
    "url", ["http://[::1/", "http://127.0.0.1:99999/", "http://exa mple/".replace(" ", "%20"), "http://:80/"]
)
def test_a_url_that_cannot_be_dialled_fails_its_own_deliveries_only(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, url: str
) -> None:
    add_hook(url, retry_schedule=[])
    add_hook(receiver.url("/good"))
    relay = relays()
    emit(conn)
    receiver.wait_for(1, path="/good")
    eventually(lambda: states(conn).get("dead") == 1)
    assert relay.running


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 caf\xe9 \xff\xfe\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 \r\ncontent-length: 3\r\n\r\na\0\xff",
        b"HTTP/1.1 500 X\r\nRetry-After: \xff\xff\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 999 High\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 000 None\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 1000 More\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 \0\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 500 X\r\nset-cookie: a=b\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 500 " + b"x" * 15_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 X\r\ncontent-type: text/plain; charset=\xff\r\ncontent-length: 2\r\n\r\n\xc3\x28",
    ],
    ids=lambda value: repr(value[9:30]),
)
def test_no_answer_however_odd_stops_the_recorder(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, answer: bytes
) -> None:
    def serve(connection: RawConnection) -> None:
        while connection.request():
            connection.send(answer)

    with RawServer(serve) as odd:
        bad = add_hook(odd.url(), retry_schedule=[], timeout="1s")
        good = add_hook(receiver.url("/good"))
        relays()
        emit(conn)
        eventually(lambda: states(conn).get("dead") == 1)
        emit(conn)
        receiver.wait_for(2, path="/good")
        eventually(lambda: attempts_of(conn, good) == [(1, 200, None)] * 2)
        assert all(error for _, _, error in attempts_of(conn, bad))


def test_a_removed_endpoint_gets_nothing_more(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """Removed between two tries: its pending delivery stays for the record, and nothing is sent."""
    gone, stays = add_hook(receiver.url("/gone")), add_hook(receiver.url("/stays"))
    receiver.answer("/gone", 500)
    relays()
    emit(conn)
    receiver.wait_for(1, path="/gone")
    conn.execute("UPDATE rowhook.endpoint SET state = 'removed', revision = revision + 1 WHERE id = %s", [gone.id])
    before = len(receiver.wait_for(1, path="/gone"))
    emit(conn)
    receiver.wait_for(2, path="/stays")
    eventually(lambda: attempts_of(conn, stays) == [(1, 200, None)] * 2)
    assert len(receiver.wait_for(1, path="/gone")) - before <= 1, "at most the try that was out already"
    assert len(run_text(conn, "SELECT id FROM rowhook.delivery WHERE endpoint_id = %(id)s", {"id": gone.id})) == 1


@pytest.mark.parametrize(
    "data",
    [
        '{"n": 1e400, "m": 99.50, "big": ' + "9" * 5000 + "}",
        '{"a": 1, "a": 2}',
        '{"nul": "\\u0000", "half": "\\ud800"}',
        "  [ 1,2 ,\n3 ] ",
        '"' + "ünï☕𝄞\u2028" * 100 + '"',
        "null",
        '{"long": "' + "x" * 1_000_000 + '"}',
        '{"a":' * 1000 + "1" + "}" * 1000,
    ],
    ids=["numbers", "repeated key", "escapes", "white space", "unicode", "null", "a megabyte", "1000 deep"],
)
def test_data_however_odd_goes_out_as_it_was_written(
    relays: Callable[..., LocalRelay], receiver: Receiver, add_hook: AddHook, conn: Connection, data: str
) -> None:
    hook = add_hook(receiver.url())
    relays()
    emit(conn, data)
    (request,) = receiver.wait_for(1)
    assert request.body.endswith(f',"data":{data}}}'.encode())
    signed = hmac.new(hook.secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Hub-Signature-256"] == f"sha256={signed}"
