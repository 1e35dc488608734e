"""What a delivery costs without a queue: a client that signs bodies from memory and posts them, and keeps no record.

Arguments: aiohttp or lean, a file with a body per line, a URL. Warms up with the first bodies and prints "ready". At each line on
its standard input it posts them all, 64 at once, by relay/sign.py's headers: two HMACs each, as the relay signs. Then it prints
the CPU time that this took it, in seconds. It runs on uvloop, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import uvloop

from benchmarks.client_aiohttp import AiohttpClient
from benchmarks.client_lean import LeanClient
from relay.sign import Secret, headers

AT_ONCE = 64
WARM_UP = 1000
SECRETS = [Secret.parse("whsec_" + "A" * 32)]


class Client(Protocol):
    """Connections that stay open. ``post`` gives the status of the whole answer."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int: ...


CLIENTS: dict[str, type[Client]] = {"aiohttp": AiohttpClient, "lean": LeanClient}


async def main(client: Client, bodies: list[bytes], url: str) -> None:
    loop = asyncio.get_running_loop()
    await client.open()
    try:
        await _post_all(client, url, bodies[:WARM_UP])
        print("ready", flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            before = time.process_time()
            await _post_all(client, url, bodies)
            print(time.process_time() - before, flush=True)
    finally:
        await client.close()


async def _post_all(client: Client, url: str, bodies: list[bytes]) -> None:
    numbered = enumerate(bodies)
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_post_some(client, url, numbered))


async def _post_some(client: Client, url: str, numbered: Iterator[tuple[int, bytes]]) -> None:
    for number, body in numbered:
        status = await client.post(url, _signed(number, body), body)
        if status != 204:
            raise RuntimeError(f"answered {status}")


def _signed(number: int, body: bytes) -> dict[str, str]:
    return headers(
        secrets=SECRETS,
        webhook_id=f"evt_{number:026d}",
        timestamp=int(time.time()),
        event_type="expense.created",
        delivery_id=f"dlv_{number:026d}",
        attempt=1,
        body=body,
    )


if __name__ == "__main__":
    kind, file, url = sys.argv[1:]
    uvloop.run(main(CLIENTS[kind](), Path(file).read_bytes().splitlines(), url))
