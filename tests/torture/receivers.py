"""The receivers: one process, a port for each hook; they verify, note in the journal, and answer as their mood is.

Run as `python -m tests.torture.receivers JOURNAL`. Standard input brings orders, a line of JSON each, and each is answered by
a line: {"hook": …, "port": …} begins one; "secrets" (a list) and "mood" change it. Its end is the process' end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.torture.journal import Journal
from tests.torture.moods import REFUSE, answering


class Hook:
    """One receiver."""

    def __init__(self, name: str, port: int, journal: Journal) -> None:
        self._name, self._port, self._journal = name, port, journal
        self._secrets: list[Webhook] = []
        self._mood = "ok"
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def change(self, secrets: list[str] | None = None, mood: str | None = None) -> None:
        if secrets is not None:
            self._secrets = [Webhook(secret) for secret in secrets]
        self._mood = mood or self._mood
        if self._mood == REFUSE:
            await self._refuse()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1024)

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                reused = False
                while await self._handle(reader, writer, reused):
                    reused = True
        finally:
            self._open.discard(writer)
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reused: bool) -> bool:
        """One request, if another comes; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")[1:-2]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        n = self._journal.begin(**self._noted(headers, body), reused=reused)
        status: int | None = None
        try:
            status, goes_on = await answering(self._mood)(reader, writer)
        finally:
            self._journal.end(n, time.time(), status)
        return goes_on

    def _noted(self, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        return {
            "hook": self._name,
            "received": time.time(),
            "webhook_id": headers["webhook-id"],
            "delivery": headers["x-rowhook-delivery"],
            "attempt": int(headers["x-rowhook-attempt"]),
            "type": headers["x-rowhook-event"],
            "verified": [n for n, secret in enumerate(self._secrets) if _is_right(secret, headers, body)],
            "body": body.decode(),
        }


def _is_right(secret: Webhook, headers: dict[str, str], body: bytes) -> bool:
    try:
        secret.verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


async def main(journal: Journal) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    hooks: dict[str, Hook] = {}
    async for line in reader:
        order = json.loads(line)
        name = order.pop("hook")
        if name not in hooks:
            hooks[name] = Hook(name, order.pop("port"), journal)
        await hooks[name].change(**order)
        print("done", flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    asyncio.run(main(Journal(Path(sys.argv[1]))))
