"""What an examination comes to: a verdict on each check, why, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Worst last."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``remedy`` is a command where there is one; empty when nothing is wrong."""

    check: str
    verdict: Verdict
    why: str
    remedy: str = ""


def ok(check: str, why: str) -> Finding:
    return Finding(check, Verdict.OK, why)


def warning(check: str, why: str, remedy: str) -> Finding:
    return Finding(check, Verdict.WARNING, why, remedy)


def bad(check: str, why: str, remedy: str) -> Finding:
    return Finding(check, Verdict.BAD, why, remedy)


def lasting(seconds: float | None) -> str:
    """A time span in the largest unit that says something; None: the role may not see it."""
    if seconds is None:
        return "an unknown time"
    for unit, length in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0.0):.1f} s"


def counted(number: int, what: str, most: int | None = None) -> str:
    """``3 events``, ``1 event``; at a count's limit: ``10000 events or more``."""
    plural = what if number == 1 else f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number} {plural}{' or more' if most is not None and number >= most else ''}"
