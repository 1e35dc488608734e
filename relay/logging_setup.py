"""Logs to stderr: for people (with colours on a terminal) or as JSON, one object a line; `extra` fields in both."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.logging import RichHandler

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = ("aiohttp.access", "asyncio", "yoyo")


class TextFormatter(logging.Formatter):
    """``2026-01-01T09:30:00.123Z INFO relay.service: disabled endpoint=end_…``; one line but for a traceback."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:
        return " ".join([super().formatMessage(record).replace("\n", "\\n"), *fields(record)])


class _JsonFormatter(JsonFormatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def fields(record: logging.LogRecord) -> list[str]:
    """What was given as ``extra``, as name=value."""
    return [f"{name}={_shown(value)}" for name, value in vars(record).items() if name not in _STANDARD]


def _shown(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else repr(text)


def handler(form: Literal["text", "json"]) -> logging.Handler:
    """Where records go and how they look."""
    made: logging.Handler
    if form == "json":
        made = logging.StreamHandler(sys.stderr)
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        made.setFormatter(_JsonFormatter("{asctime}{levelname}{name}{message}", style="{", rename_fields=names))
    elif sys.stderr.isatty():
        made = RichHandler(console=Console(stderr=True), show_path=False, markup=False, log_time_format="%H:%M:%S")
        made.setFormatter(TextFormatter("%(message)s"))
    else:
        made = logging.StreamHandler(sys.stderr)
        made.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return made


def set_up(form: Literal["text", "json"], level: str = "info", *, relay: str = "") -> None:
    """For a process that runs on: everything from this level on.

    ``relay`` is put on each record: of several, which one it was.
    """
    made = handler(form)
    if relay:
        made.addFilter(_Naming(relay))
    _install(made, logging.getLevelNamesMapping()[level.upper()])


class _Naming(logging.Filter):
    """Lets everything through, with the relay's name on it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.relay = self.name
        return True


def set_up_for_command() -> None:
    """For a command that ends at once: warnings, as bare lines."""
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(TextFormatter("warning: %(message)s"))
    _install(plain, logging.WARNING)


def _install(only: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers = [only]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING if name != "yoyo" else logging.CRITICAL)
