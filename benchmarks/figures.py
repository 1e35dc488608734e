"""What a benchmark finds: values in rounds, what they are compared with, and the bar they should reach."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from statistics import median, quantiles
from typing import Any, Literal

Say = Callable[[str], None]

ENOUGH_FOR_QUARTILES = 7

_COMPARE: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Size(IntEnum):
    """How long a run takes: TINY only shows that the program works."""

    TINY = 0
    QUICK = 1
    NORMAL = 2
    FULL = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should be: its value, or its ratio to the baseline."""

    of: Literal["value", "ratio"]
    compare: Literal["<", "<=", ">", ">="]
    limit: float

    def __str__(self) -> str:
        return f"{'ratio ' if self.of == 'ratio' else ''}{self.compare} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a benchmark's table. ``low`` and ``high`` are quartiles of the rounds; with few rounds, the extremes."""

    bench: str
    metric: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    against: str
    low: float
    high: float
    ratio_low: float | None
    ratio_high: float | None
    rounds: int
    bar: Bar | None
    note: str

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        judged = self.value if self.bar.of == "value" else self.ratio
        return "met" if judged is not None and _COMPARE[self.bar.compare](judged, self.bar.limit) else "missed"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "bar": str(self.bar) if self.bar else None, "verdict": self.verdict or None}


def figure(
    bench: str,
    metric: str,
    unit: str,
    values: Sequence[float],
    against: str = "",
    baselines: Sequence[float] | None = None,
    bar: Bar | None = None,
    note: str = "",
) -> Figure:
    """Medians over the rounds; the ratio is the median of each round's own. To nothing or less there is none."""
    comparable = baselines is not None and min(baselines) > 0
    ratios = [v / b for v, b in zip(values, baselines or (), strict=True)] if comparable else []
    low, high = _spread(values)
    ratio_low, ratio_high = _spread(ratios) if ratios else (None, None)
    return Figure(
        bench=bench,
        metric=metric,
        value=median(values),
        unit=unit,
        baseline=median(baselines) if baselines else None,
        ratio=median(ratios) if ratios else None,
        against=against,
        low=low,
        high=high,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        rounds=len(values),
        bar=bar,
        note=note,
    )


def _spread(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < ENOUGH_FOR_QUARTILES:
        return min(values), max(values)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high
