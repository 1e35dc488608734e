"""Events as they arrive, as a table that moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from relay.demo.lines import clock, milliseconds, style
from relay.demo.receiver import OK, Receipt

ROWS = 15
AROUND = 8  # lines of a small terminal that are not rows of the table
WIDE = 90  # columns, to have two spaces between those of the table
RECENT = 20  # requests that the median is of
REFRESH_EVERY = 0.1


@dataclass
class Counts:
    """For the header."""

    requests: int = 0
    verified: int = 0
    delivered: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def add(self, receipt: Receipt) -> None:
        self.requests += 1
        self.verified += receipt.verified
        self.delivered += receipt.status == OK
        if receipt.attempt == 1:
            self.latencies.append(receipt.latency_ms)

    @property
    def median_ms(self) -> str:
        return milliseconds(median(self.latencies)) if self.latencies else "?"


class Moving:
    """The last requests as a table, under a header that counts."""

    every = REFRESH_EVERY

    def __init__(self, console: Console, committed: Callable[[], int]) -> None:
        self._committed = committed
        self._counts = Counts()
        self._last: deque[Receipt] = deque(maxlen=max(3, min(ROWS, console.height - AROUND)))
        self._gap = int(console.width >= WIDE)
        self._doing = "nothing yet"
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._picture, vertical_overflow="crop")

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """What the application does from now on."""
        self._doing = text

    def show(self, receipt: Receipt) -> None:
        self._counts.add(receipt)
        self._last.append(receipt)

    def draw(self) -> None:
        self._live.refresh()

    def _picture(self) -> Group:
        doing = Text(f"FinMind: {self._doing}", style="bold", no_wrap=True, overflow="ellipsis")
        return Group(doing, self._header(), Text(), self._table())

    def _header(self) -> Text:
        counts = self._counts
        parts = [
            f"{self._committed()} committed",
            f"{counts.requests} requests",
            f"{counts.verified} verified",
            f"{counts.requests - counts.delivered} refused",
            f"median {counts.median_ms}",
        ]
        return Text(" · ".join(parts), style="cyan", no_wrap=True, overflow="ellipsis")

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, self._gap, 0, 0), pad_edge=False, show_edge=False)
        for name, justify in (("time", "left"), ("event", "left"), ("row", "right"), ("user", "right"), ("endpoint", "left")):
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for name in ("attempt", "status", "latency"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("signed", no_wrap=True)
        for receipt in self._last:
            table.add_row(*_cells(receipt), style=style(receipt))
        return table


def _cells(receipt: Receipt) -> tuple[str, ...]:
    return (
        clock(receipt),
        receipt.type,
        receipt.row,
        str(receipt.content["tenant"]),
        receipt.path,
        str(receipt.attempt),
        str(receipt.status),
        milliseconds(receipt.latency_ms),
        "yes" if receipt.verified else "NO",
    )
