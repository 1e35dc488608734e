"""The relay's side of worker.py: ask, wait no longer than makes sense, and begin with another process after that."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

PATIENCE: Final = 5.0  # seconds; the worker ends a template by itself long before, unless that is deep in C
START_WITHIN: Final = 30.0
_LENGTH: Final = 4


class RenderError(Exception):
    """A template made nothing of an event."""


class Renderer:
    """One template at a time, in the order asked. The process is started by the first."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def render(self, template: str, envelope: bytes, more: Mapping[str, Any]) -> str:
        """The body; raises RenderError."""
        frame = json.dumps({"template": template, "envelope": envelope.decode(), "more": more}).encode()
        async with self._turn:
            try:
                if self._streams is None:
                    await self._start()
                answer = await self._ask(frame)
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                self.close()
                raise RenderError(f"the template did not come to an end within {PATIENCE:g} s, or ended its process") from None
            except BaseException:
                self.close()  # an answer that nobody waits for would be the next one's
                raise
        if "error" in answer:
            raise RenderError(answer["error"])
        body: str = answer["body"]
        return body

    def close(self) -> None:
        """End the process, if there is one."""
        process, streams = self.process, self._streams
        self.process = self._streams = None
        if streams is not None:
            streams[1].close()
        if process is not None:
            process.kill()
            process.wait()

    async def _start(self) -> None:
        ours, its = socket.socketpair()
        with its:
            self.process = _worker(its)
        self._streams = await asyncio.open_unix_connection(sock=ours)
        async with asyncio.timeout(START_WITHIN):
            await self._answer(self._streams[0])

    async def _ask(self, frame: bytes) -> dict[str, str]:
        assert self._streams is not None
        reader, writer = self._streams
        async with asyncio.timeout(PATIENCE):
            writer.write(len(frame).to_bytes(_LENGTH) + frame)
            await writer.drain()
            return await self._answer(reader)

    async def _answer(self, reader: asyncio.StreamReader) -> dict[str, str]:
        length = int.from_bytes(await reader.readexactly(_LENGTH))
        answer: dict[str, str] = json.loads(await reader.readexactly(length))
        return answer


def _worker(its: socket.socket) -> subprocess.Popen[bytes]:
    """The process, with nothing of this one but the socket and where modules are."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, and nothing that was given
        [sys.executable, "-P", "-m", "relay.shapes.worker", str(its.fileno())],
        pass_fds=[its.fileno()],
        cwd="/",
        env={"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
