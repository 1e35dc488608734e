"""Ask the API for a webhook's last attempts, so many times a second, until standard input ends. Then a line of JSON: how it went.

    python -m benchmarks.asker URL RATE

Requests are due at even distances, whether or not the one before was answered: 16 may be out at once. Who asks is elsewhere in
earnest, so this program takes what the measured ones leave of the processor.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from statistics import quantiles

import aiohttp

AT_ONCE = 16


async def main(url: str, rate: float) -> None:
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    took: list[float] = []
    refused = 0
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal refused
        try:
            began = time.monotonic()
            async with session.get(url) as answer:
                await answer.read()
            took.append(1000 * (time.monotonic() - began))
            refused += answer.status != 200
        finally:
            room.release()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        began = due = time.monotonic()
        print("asking", flush=True)
        while not stop.done():
            due = max(due + 1 / rate, time.monotonic() - 0.1)
            await asyncio.sleep(due - time.monotonic())
            await room.acquire()
            group.create_task(ask(session))
        seconds = time.monotonic() - began
    p99 = quantiles(took, n=100, method="inclusive")[98] if len(took) > 1 else 0.0
    print(json.dumps({"answered": len(took), "refused": refused, "rate": len(took) / seconds, "p99": p99}), flush=True)


if __name__ == "__main__":
    os.nice(19)
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
