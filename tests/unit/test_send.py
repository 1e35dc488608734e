"""Failures of aiohttp -> error classes, and texts that Postgres can keep. What real receivers cause is in tests/pipeline."""

from __future__ import annotations

import socket
import ssl
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import http_exceptions
from aiohttp.client_reqrep import ConnectionKey

from relay.config import load
from relay.errors import ConfigError, DestinationDenied
from relay.model import ErrorClass
from relay.send import describe, one_line, text_of, transport
from relay.send_aiohttp import AiohttpTransport, error_class_of
from relay.send_lean import LeanTransport

KEY = cast(ConnectionKey, SimpleNamespace(host="h", port=1, ssl=True, is_ssl=True))
INFO = cast(Any, SimpleNamespace(real_url="http://h/"))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (TimeoutError(), ErrorClass.TIMEOUT),
        (aiohttp.ServerTimeoutError(), ErrorClass.TIMEOUT),
        (aiohttp.ConnectionTimeoutError(), ErrorClass.TIMEOUT),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown")), ErrorClass.DNS),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version number")), ErrorClass.TLS),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("expired")), ErrorClass.TLS),
        (ssl.SSLError(1, "bad record"), ErrorClass.TLS),
        (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")), ErrorClass.REFUSED),
        (OSError(113, "no route to host"), ErrorClass.REFUSED),
        (aiohttp.ServerDisconnectedError(), ErrorClass.RESET),
        (aiohttp.ClientOSError(104, "reset by peer"), ErrorClass.RESET),
        (DestinationDenied("10.0.0.1 is a private address"), ErrorClass.BLOCKED),
        (ConnectionResetError(104, "reset by peer"), ErrorClass.RESET),
        (BrokenPipeError(32, "broken pipe"), ErrorClass.RESET),
        (http_exceptions.LineTooLong("Header name", "16384"), ErrorClass.TOO_LARGE),
        (
            caused(aiohttp.ClientResponseError(INFO, (), message="bad"), http_exceptions.LineTooLong("Header", "1")),
            ErrorClass.TOO_LARGE,
        ),
        (aiohttp.ClientResponseError(INFO, (), message="Got more than 16384 bytes"), ErrorClass.TOO_LARGE),
        (aiohttp.ClientResponseError(INFO, (), message="Invalid header"), ErrorClass.PROTOCOL),
        (aiohttp.ClientPayloadError("not all data"), ErrorClass.PROTOCOL),
        (http_exceptions.BadStatusLine("hello"), ErrorClass.PROTOCOL),
        (ValueError("a mistake of ours"), ErrorClass.INTERNAL),
        (KeyError("x"), ErrorClass.INTERNAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_failure_has_its_class(error: Exception, error_class: ErrorClass) -> None:
    assert error_class_of(error) is error_class


def test_a_body_becomes_text_that_postgres_can_keep() -> None:
    assert text_of(b"a\0b\xff\xc3") == "a\ufffdb\ufffd\ufffd"
    text_of(bytes(range(256))).encode()


@pytest.mark.parametrize("text", ["a\0b", "caf\udce9", "\ud800"])
def test_an_errors_text_is_one_line_that_postgres_can_keep(text: str) -> None:
    line = one_line(f"first\r\nsecond {text}")
    line.encode()
    assert "\0" not in line and "\n" not in line and line.startswith("first second ")


def test_a_long_text_is_cut() -> None:
    assert len(one_line("x" * 10_000)) == 500


def test_an_error_without_words_is_called_by_its_name() -> None:
    assert describe(ConnectionResetError(), 15) == "ConnectionResetError"


def test_a_timeout_says_how_long_it_waited() -> None:
    assert describe(TimeoutError(), 15.0) == "no complete answer within 15 s"


@pytest.mark.parametrize(("name", "kind"), [(None, AiohttpTransport), ("aiohttp", AiohttpTransport), ("lean", LeanTransport)])
def test_the_transport_is_a_setting(name: str | None, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROWHOOK_TRANSPORT", raising=False)
    assert isinstance(transport(load(**({"ROWHOOK_TRANSPORT": name} if name else {}))), kind)


def test_another_transport_is_refused() -> None:
    with pytest.raises(ConfigError, match="ROWHOOK_TRANSPORT is 'curl'"):
        load(ROWHOOK_TRANSPORT="curl")
