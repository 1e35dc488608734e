"""Writers: threads that write until told to stop, come back after every fault, and note each error that they got."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Self

import psycopg

from tests.torture.records import WriterError
from tests.torture.stage import Stage
from tests.torture.writes import APPLICATION, BY_HAND, Known, Writes

WRITERS = 6
PAUSE = 0.06  # seconds between two statements of a writer, on average


class Writer(threading.Thread):
    def __init__(
        self, name: str, dsn: str, weights: Mapping[str, int], chance: random.Random, known: Known, *, pause: float
    ) -> None:
        super().__init__(name=name)
        self.statements = 0
        self.errors: list[WriterError] = []
        self.over = threading.Event()
        self._dsn, self._weights, self._chance, self._known, self._pause = dsn, weights, chance, known, pause

    def run(self) -> None:
        while not self.over.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, prepare_threshold=None) as connection:
                    self._write(Writes(connection, self._chance, self._known, connection.info.server_version >= 150_000))
            except psycopg.Error as error:
                self._note(error)
                self.over.wait(0.2)

    def _write(self, writes: Writes) -> None:
        while not self.over.wait(self._chance.expovariate(1 / self._pause)):
            (kind,) = self._chance.choices(list(self._weights), list(self._weights.values()))
            try:
                self.statements += 1
                getattr(writes, kind)()
            except psycopg.Error as error:
                self._note(error, kind)
                if writes.connection.closed:
                    return

    def _note(self, error: psycopg.Error, kind: str = "connect") -> None:
        diag = error.diag
        parts = (
            str(error),
            diag.message_detail,
            diag.message_hint,
            diag.context,
            diag.schema_name,
            diag.table_name,
            diag.internal_query,
        )
        said = "\n".join(part for part in parts if part)
        self.errors.append(WriterError(time.time(), f"{self.name} {kind}", error.sqlstate, said))


class Writers:
    """All of them, while this is entered. The same seed makes the same choices; how they interleave is up to the machine."""

    def __init__(self, stage: Stage, seed: int) -> None:
        known = Known()
        self._all = [
            Writer(f"w{n}", stage.app_dsn, APPLICATION, random.Random(f"{seed} {n}"), known, pause=PAUSE) for n in range(WRITERS)
        ]
        # Who emits needs a right on Rowhook's function; the application has none.
        self._all.append(Writer("emitter", stage.dsn, BY_HAND, random.Random(f"{seed} emitter"), known, pause=8 * PAUSE))

    def __enter__(self) -> Self:
        for writer in self._all:
            writer.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        for writer in self._all:
            writer.over.set()
        for writer in self._all:
            writer.join()

    @property
    def statements(self) -> int:
        return sum(writer.statements for writer in self._all)

    @property
    def errors(self) -> Sequence[WriterError]:
        return [error for writer in self._all for error in writer.errors]
