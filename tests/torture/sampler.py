"""Who holds leases, five times a second; times are the server's."""

from __future__ import annotations

import contextlib
import threading
from typing import Self

import psycopg

from tests.torture.records import Held

EVERY = 0.2
ASK = """
SELECT extract(epoch FROM clock_timestamp())::float8, d.instance_id, count(d.id)
  FROM (SELECT) AS one LEFT JOIN rowhook.delivery AS d ON d.state = 'leased' GROUP BY d.instance_id
"""


class Sampler:
    """While this is entered."""

    def __init__(self, dsn: str) -> None:
        self.held: list[Held] = []
        self.asked: list[float] = []
        self._dsn = dsn
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(psycopg.Error), psycopg.connect(self._dsn, autocommit=True) as connection:
                connection.execute("SET statement_timeout = '2s'; SET enable_seqscan = off")
                while not self._over.wait(EVERY):
                    self._sample(connection)
            self._over.wait(EVERY)

    def _sample(self, connection: psycopg.Connection[tuple[float, int | None, int]]) -> None:
        rows = connection.execute(ASK).fetchall()
        self.asked.append(rows[0][0])
        self.held += [Held(at, instance, leases) for at, instance, leases in rows if instance is not None]
