"""What is taken for a private authority or a client certificate, and what of it is kept, shown and made a context of."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from relay.errors import UserMistake
from relay.identity import LARGEST, Change, Identity, described, parse_authority, parse_client
from relay.tls import MOST_KEPT, Contexts, check_identity, tls_context

NOW = datetime.now(UTC)
CA = trustme.CA()
CLIENT = CA.issue_cert("client.example", common_name="client")
OTHER = CA.issue_cert("other.example", common_name="other")
KEY = CLIENT.private_key_pem.bytes()
CHAIN = b"".join(blob.bytes() for blob in CLIENT.cert_chain_pems)
AUTHORITY = CA.cert_pem.bytes()


def locked(key: bytes) -> bytes:
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    )


def test_one_file_or_two() -> None:
    certificate, key = parse_client(CHAIN, KEY, NOW)
    assert parse_client(b"# mine\n" + KEY + CHAIN, b"# mine\n" + KEY + CHAIN, NOW) == (certificate, key)
    assert "PRIVATE" not in certificate and "mine" not in certificate and certificate.count("BEGIN CERTIFICATE") == 1
    assert key.startswith("-----BEGIN PRIVATE KEY-----")


def test_a_key_beside_an_authority_is_left_behind() -> None:
    assert parse_authority(KEY + AUTHORITY + AUTHORITY, NOW) == AUTHORITY.decode().replace("\r", "") * 2


@pytest.mark.parametrize(
    ("parse", "says"),
    [
        (lambda: parse_authority(b"", NOW), "the authority is not in PEM: give a file with -----BEGIN CERTIFICATE-----"),
        (lambda: parse_authority(KEY, NOW), "the authority is not in PEM"),
        (lambda: parse_authority(b"\x30\x82\x01\xff", NOW), "openssl x509 -inform der"),
        (lambda: parse_authority(AUTHORITY[:-100], NOW), "the authority is not in PEM"),
        (lambda: parse_authority(AUTHORITY * 200, NOW), f"the authority has more than {LARGEST} bytes"),
        (lambda: parse_client(CHAIN, b"", NOW), "there is no key of the client certificate in PEM"),
        (lambda: parse_client(CHAIN, CHAIN, NOW), "there is no key of the client certificate in PEM"),
        (lambda: parse_client(CHAIN, locked(KEY), NOW), "is locked with a passphrase: unlock a copy: openssl pkey"),
        (lambda: parse_client(CHAIN, OTHER.private_key_pem.bytes(), NOW), "the key is not that of the client certificate"),
        (lambda: parse_client(AUTHORITY + CHAIN, KEY, NOW), "the certificate itself comes first"),
        (lambda: parse_client(KEY, KEY, NOW), "the client certificate is not in PEM"),
    ],
)
def test_what_is_wrong_is_said_without_the_key(parse: Callable[[], object], says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        parse()
    assert says in str(caught.value)
    assert not [line for line in KEY.decode().splitlines() if len(line) > 30 and line in str(caught.value)]


def test_out_of_its_time() -> None:
    until = x509.load_pem_x509_certificates(CHAIN)[0].not_valid_after_utc
    with pytest.raises(
        UserMistake, match=f"client certificate .*CN=client.* expired on {until:%Y-%m-%d}: give one that is valid"
    ):
        parse_client(CHAIN, KEY, until)
    with pytest.raises(UserMistake, match=r"the authority .* is valid from 2000-01-01 00:00 UTC on only"):
        parse_authority(AUTHORITY, datetime(1999, 1, 1, tzinfo=UTC))


def test_a_key_that_openssl_finds_too_small_is_refused_when_saved() -> None:
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(1), NOW + timedelta(1))
    weak = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(UserMistake, match="OpenSSL takes no such certificate"):
        check_identity(Identity("", *parse_client(weak, pem, NOW)))


def test_what_may_be_shown() -> None:
    (shown,) = described(parse_client(CHAIN, KEY, NOW)[0])
    assert shown["subject"].startswith("CN=client") and shown["expires_at"].endswith("Z")
    assert described("") == []


def test_no_repr_holds_the_key() -> None:
    client = parse_client(CHAIN, KEY, NOW)
    for value in (Identity("", *client), Change("", client)):
        assert client[1].splitlines()[1] not in repr(value)


def test_each_part_of_it_makes_another_identity() -> None:
    names = {Identity(a, b, c).name for a in ("", "x") for b in ("", "x") for c in ("", "x")}
    assert len(names) == 8
    assert Identity("a", "b", "c").name == Identity("a", "b", "c").name


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_key_is_in_no_file_in_clear(monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    """What OpenSSL is given to read: a file in memory, or one whose key is encrypted; either is gone afterwards."""
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create")
    certificate, key = parse_client(CHAIN, KEY, NOW)
    seen: list[tuple[str, str]] = []
    real = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, path: str, **options: str | None) -> None:
        with open(path) as file:  # noqa: PTH123 - as OpenSSL does
            seen.append((path, file.read()))
        real(self, path, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - what the kernel says
    assert isinstance(tls_context(Identity("", certificate, key)), ssl.SSLContext)
    ((path, text),) = seen
    assert certificate in text
    assert (key in text) == in_memory == path.startswith("/proc/self/fd/")
    assert in_memory or ("BEGIN ENCRYPTED PRIVATE KEY" in text and not os.path.exists(path))  # noqa: PTH110
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_contexts_are_made_once_and_those_asked_for_longest_ago_go() -> None:
    contexts = Contexts()
    first, second = await asyncio.gather(
        *[contexts.of(Identity(AUTHORITY.decode()))] * 1, contexts.of(Identity(AUTHORITY.decode()))
    )
    assert first is second
    for number in range(MOST_KEPT + 5):
        await contexts.of(Identity(AUTHORITY.decode() + "\n" * number))
    assert len(contexts._made) == MOST_KEPT


async def test_a_context_that_can_not_be_made_is_tried_again() -> None:
    contexts, broken = Contexts(), Identity("", "no certificate", KEY.decode())
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            await contexts.of(broken)
