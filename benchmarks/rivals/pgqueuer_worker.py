"""pgqueuer: batches of 1,000, asyncpg's pool and uvloop (what its own command line takes where installed), aiohttp for the POST.

Jobs are deleted when they are done, and a line is written into its log table for each: so pgqueuer works, there is no choice.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import aiohttp
import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 1000
CONNECTIONS = 64
ENTRYPOINT = "post"
HEADERS = {"content-type": "application/json"}


async def prepare(dsn: str, bodies: list[bytes]) -> None:
    connection = await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    for start in range(0, len(bodies), BATCH):
        part = bodies[start : start + BATCH]
        await queries.enqueue([ENTRYPOINT] * len(part), part, [0] * len(part))
    await connection.close()


async def work(dsn: str, url: str) -> None:
    async with (
        asyncpg.create_pool(dsn, min_size=2, max_size=10) as pool,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), headers=HEADERS) as session,
    ):
        worker = PgQueuer(AsyncpgPoolDriver(pool))

        async def post(job: Job) -> None:
            async with session.post(url, data=job.payload) as answer:
                answer.raise_for_status()

        worker.entrypoint(ENTRYPOINT)(post)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.shutdown.set)
        await worker.run(
            batch_size=BATCH,
            max_concurrent_tasks=2 * BATCH,
            dequeue_timeout=timedelta(seconds=1),
            log_aggregation_interval=timedelta(),
        )


def main(command: str, dsn: str, argument: str) -> None:
    uvloop.run(prepare(dsn, Path(argument).read_bytes().splitlines()) if command == "prepare" else work(dsn, argument))


if __name__ == "__main__":
    main(*sys.argv[1:])
