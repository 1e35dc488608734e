"""A real browser without a window, asked over its DevTools protocol what a page shows, requests and complains of.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

from tests.tiers import found

QUIET = [
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]
LISTENS = re.compile(rb"DevTools listening on ws://([0-9.:]+)/")


class Page:
    """``requests``: URLs that it asked for. ``complaints``: errors and warnings of its console, exceptions, failed requests."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def listen(self) -> None:
        """To its end."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers[said["id"]].set_result(said)
            else:
                self._note(said["method"], said["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.loadingFailed":
                self.complaints.append(f"{params['type']}: {params['errorText']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} ({params['entry'].get('url')})")

    async def call(self, method: str, **params: Any) -> Any:
        id = len(self._answers)
        self._answers[id] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": id, "method": method, "params": params})
        said = await self._answers[id]
        assert "result" in said, said
        return said["result"]

    async def value(self, expression: str) -> Any:
        """What JavaScript makes of it in the page; a promise is waited for."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until it holds, in the page that is there then."""
        while not await self.value(expression):  # noqa: ASYNC110 - what happens in there is no event here
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def open_page(profile: Path) -> AsyncIterator[Page]:
    """An empty page of a browser of its own."""
    command = found("chromium")
    assert command is not None
    process = await asyncio.create_subprocess_exec(
        command,
        *QUIET,
        f"--user-data-dir={profile}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = await _address(process)
        async with (
            ClientSession() as session,
            session.ws_connect(await _first_page(session, address), max_msg_size=0) as socket,
        ):
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            for domain in ("Network", "Runtime", "Log", "Page"):
                await page.call(f"{domain}.enable")
            yield page
            listening.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = b""
    while line := await process.stderr.readline():
        said += line
        if match := LISTENS.search(line):
            return match[1].decode()
    raise AssertionError(f"the browser has ended: {said.decode(errors='replace')}")


async def _first_page(session: ClientSession, address: str) -> str:
    """Where to talk to it: it is there a moment after the browser listens."""
    async with asyncio.timeout(20):
        while True:
            async with session.get(f"http://{address}/json/list") as listed:
                for one in await listed.json(content_type=None):
                    if one["type"] == "page":
                        return str(one["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)
