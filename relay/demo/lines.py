"""Events as they arrive, as lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console

from relay.demo.receiver import OK, Receipt

GATHER_FOR = 0.25
FEW = 5  # of one kind within that time, they get a line each


class Lines:
    """A line for each request; of many that are alike and come at once, one line for all."""

    every = GATHER_FOR

    def __init__(self, console: Console) -> None:
        self._console = console
        self._new: list[Receipt] = []

    def __enter__(self) -> None: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def say(self, text: str) -> None:
        """What the application does from now on."""
        self.draw()
        self._console.print(f"FinMind: {text}", style="bold", markup=False, soft_wrap=True)

    def show(self, receipt: Receipt) -> None:
        self._new.append(receipt)

    def draw(self) -> None:
        new, self._new = self._new, []
        kinds = Counter(_kind(receipt) for receipt in new)
        for receipt in new:
            count = kinds.get(_kind(receipt), 0)
            if count > FEW:
                alike = [other for other in new if _kind(other) == _kind(receipt)]
                del kinds[_kind(receipt)]
                self._line(alike)
            elif count:
                self._line([receipt])

    def _line(self, alike: Sequence[Receipt]) -> None:
        first, *others = alike
        row = f"{len(alike)} rows" if others else f"row {first.row or '-'}"
        slowest = ("≤" if others else " ") + f"{milliseconds(max(receipt.latency_ms for receipt in alike)):>7}"
        user = f"user {first.content['tenant'] or '-'}"
        line = f"{clock(first)} {first.type:15} {row:8} {user:6} {first.path:7} attempt {first.attempt} {first.status} {slowest}"
        mark = "" if first.verified else " NOT VERIFIED"
        self._console.print(line + mark, style=style(first), markup=False, soft_wrap=True)


def clock(receipt: Receipt) -> str:
    return datetime.fromtimestamp(receipt.at).astimezone().strftime("%H:%M:%S.%f")[:-3]


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def style(receipt: Receipt) -> str:
    return "green" if receipt.status == OK else "yellow" if receipt.verified else "red"


def _kind(receipt: Receipt) -> tuple[object, ...]:
    return receipt.type, receipt.content["tenant"], receipt.path, receipt.attempt, receipt.status, receipt.verified
