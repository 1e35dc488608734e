"""A thread per delivery, as an application does it that has no queue: no database at all, the bodies are in memory.

Each thread opens a connection (http.client: the least that Python has), posts one body and ends; 64 of them at most at a time.
`prepare` has nothing to do; `work FILE URL` ends by itself.
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from threading import BoundedSemaphore, Thread
from urllib.parse import urlsplit

AT_ONCE = 64
HEADERS = {"content-type": "application/json"}


def work(file: str, url: str) -> None:
    bodies = Path(file).read_bytes().splitlines()
    address = urlsplit(url)
    room = BoundedSemaphore(AT_ONCE)

    def post(body: bytes) -> None:
        try:
            connection = http.client.HTTPConnection(address.netloc, timeout=30)
            connection.request("POST", address.path, body, HEADERS)
            connection.getresponse().read()
            connection.close()
        finally:
            room.release()

    for body in bodies:
        room.acquire()
        Thread(target=post, args=(body,)).start()


if __name__ == "__main__":
    work(*sys.argv[2:])
