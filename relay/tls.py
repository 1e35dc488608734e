"""TLS contexts: one for all endpoints that have no identity of their own, and one for each identity.

A connection belongs to the context that it was made with: the pools of both transports keep connections of different identities
apart, so that a client certificate is never shown, nor an authority trusted, for another endpoint's request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from relay.errors import UserMistake
from relay.identity import Identity

MOST_KEPT: Final = 256


def tls_context(identity: Identity | None = None) -> ssl.SSLContext:
    """Verifies, speaks HTTP/1.1 only, trusts an identity's own authority, where it has one, and no other. Raises ssl.SSLError."""
    context = ssl.create_default_context(cadata=(identity and identity.authority) or None)
    context.set_alpn_protocols(["http/1.1"])
    if identity and identity.certificate:
        with _as_file(identity) as (path, password):
            context.load_cert_chain(path, password=password)
    return context


def check_identity(identity: Identity) -> None:
    """Whether OpenSSL takes it too: it refuses keys that are too small, for instance. Raises UserMistake."""
    try:
        tls_context(identity)
    except ssl.SSLError as error:
        raise UserMistake(
            f"OpenSSL takes no such certificate ({error.reason or error})", "give one of today's strength"
        ) from None


class Contexts:
    """Of identities, each made in a thread when it is first asked for, and kept; those asked for longest ago go."""

    def __init__(self) -> None:
        self._made: dict[str, asyncio.Task[ssl.SSLContext]] = {}

    async def of(self, identity: Identity) -> ssl.SSLContext:
        """Raises ssl.SSLError."""
        task = self._made.pop(identity.name, None)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.create_task(asyncio.to_thread(tls_context, identity))
            if len(self._made) >= MOST_KEPT:
                del self._made[next(iter(self._made))]
        self._made[identity.name] = task
        return await asyncio.shield(task)  # whoever gives up leaves it to the others


@contextlib.contextmanager
def _as_file(identity: Identity) -> Iterator[tuple[str, str | None]]:
    """OpenSSL reads keys from files only: one in memory, where there are such; else the key is encrypted first."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("rowhook identity"), "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write((identity.certificate + identity.key).encode())
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}", None
        return
    password = secrets.token_urlsafe()
    with tempfile.NamedTemporaryFile() as file:
        key = load_pem_private_key(identity.key.encode(), None)
        locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
        file.write(identity.certificate.encode() + locked)
        file.flush()
        yield file.name, password
