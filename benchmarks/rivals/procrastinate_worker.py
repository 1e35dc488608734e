"""procrastinate: psycopg's pool, many jobs at once in one worker, done jobs deleted, aiohttp for the POST, on uvloop.

It fetches jobs one by one: a batch is nothing that it has.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import aiohttp
import uvloop
from procrastinate import App, PsycopgConnector

AT_ONCE = 1000
CONCURRENCY = 30
TASK = "post"
HEADERS = {"content-type": "application/json"}


def connected(dsn: str) -> App:
    return App(connector=PsycopgConnector(conninfo=dsn, min_size=4, max_size=20))


async def prepare(dsn: str, bodies: list[str]) -> None:
    async with connected(dsn).open_async() as app:
        await app.schema_manager.apply_schema_async()
        for start in range(0, len(bodies), AT_ONCE):
            part = [{"body": body} for body in bodies[start : start + AT_ONCE]]
            await app.configure_task(TASK).batch_defer_async(*part)


async def work(dsn: str, url: str) -> None:
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with connected(dsn).open_async() as app, aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def post(body: str) -> None:
            async with session.post(url, data=body) as answer:
                answer.raise_for_status()

        app.task(name=TASK)(post)
        await app.run_worker_async(concurrency=CONCURRENCY, delete_jobs="always", shutdown_graceful_timeout=5)


def main(command: str, dsn: str, argument: str) -> None:
    uvloop.run(prepare(dsn, Path(argument).read_text().splitlines()) if command == "prepare" else work(dsn, argument))


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    main(*sys.argv[1:])
