"""The baseline of `latency`: LISTEN, and POST each notification's payload at once with aiohttp.

It signs, keeps and retries nothing. Arguments: DSN and URL. Prints "listening".
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import aiohttp
import psycopg

# A NOTIFY per row from a plain trigger; the row travels in it.
TRIGGER = """
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('bare', row_to_json(NEW)::text); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON expenses FOR EACH ROW EXECUTE FUNCTION tell();
"""


async def main(dsn: str, url: str) -> None:
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with connection:
        await connection.execute("LISTEN bare")
        print("listening", flush=True)
        posting = asyncio.create_task(_post_all(connection, url))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        posting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await posting


async def _post_all(connection: psycopg.AsyncConnection[Any], url: str) -> None:
    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as posts:
        async for note in connection.notifies():
            posts.create_task(_post(client, url, note.payload))


async def _post(client: aiohttp.ClientSession, url: str, payload: str) -> None:
    async with client.post(url, data=payload.encode(), headers={"content-type": "application/json"}) as answer:
        await answer.read()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
