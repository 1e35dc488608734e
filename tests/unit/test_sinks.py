"""The receivers of the benches count every request once, however its bytes arrive, and keep the connection."""

from __future__ import annotations

import http.client
import socket
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import pytest

from benchmarks.nginx import find
from benchmarks.sinks import Sink, own_sink, sink


@pytest.fixture(params=["fastest", "own"])
def receiver(request):
    kinds: dict[str, AbstractContextManager[Sink]] = {"fastest": sink(), "own": own_sink()}
    with kinds[request.param] as running:
        yield running


def test_every_post_counts_once_over_one_connection(receiver: Sink):
    assert receiver.count() == 0
    connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=10)
    for number in range(1, 4):
        connection.request("POST", "/hook", b"x" * 350)
        answer = connection.getresponse()
        assert (answer.status, answer.read(), answer.will_close) == (204, b"", False)
        assert receiver.count() == number
    connection.close()


def test_requests_may_come_in_pieces_and_in_one_packet(receiver: Sink):
    address = urlsplit(receiver.url)
    assert address.hostname and address.port
    whole = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (whole[:20], whole[20:-2], whole[-2:] + whole + whole):
            connection.sendall(piece)
        received = b""
        while received.count(b"HTTP/1.1 204") < 3:
            part = connection.recv(4096)
            assert part, received
            received += part
    assert receiver.count() == 3


def test_nginx_is_taken_where_it_can_count():
    with sink() as running:
        assert running.name.startswith("nginx" if find() else "raw asyncio")
