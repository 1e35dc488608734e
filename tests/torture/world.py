"""What faults act on, and the record of what they did."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.torture.fleet import Fleet
from tests.torture.hooks import Hooks, guests
from tests.torture.records import Fault
from tests.torture.stage import Stage


@dataclass(slots=True)
class World:
    stage: Stage
    fleet: Fleet
    hooks: Hooks
    faults: list[Fault] = field(default_factory=list)
    given_up: Counter[str] = field(default_factory=Counter)
    replayed: dict[str, float] = field(default_factory=dict)  # deliveries by public id, and when
    healing: threading.Event = field(default_factory=threading.Event)
    server: threading.Lock = field(default_factory=threading.Lock)
    guests: Iterator[str] = field(default_factory=guests)

    def wait(self, seconds: float) -> None:
        """As long as a fault lasts, unless everything is to heal."""
        self.healing.wait(seconds)

    @contextlib.contextmanager
    def fault(self, kind: str, target: str) -> Iterator[None]:
        """On record with its times, however it ends."""
        began = time.time()
        try:
            yield
        finally:
            self.faults.append(Fault(kind, target, began, time.time()))
