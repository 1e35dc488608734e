"""Events in files, with their deliveries and attempts, as lines of JSON or in columns (archive_formats.py).

A file is complete and on the disk, fsynced and renamed, before anything that it holds is removed. What data held goes in as the
JSON text that it is: decimals and repeated keys stay. Read in pages of short statements, so that no snapshot is held.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.rows import DictRow

from relay.archive_formats import Format
from relay.database import connect_once, query
from relay.errors import UserMistake

Connection = psycopg.Connection[DictRow]

PAGE = 500
SETTINGS = {"search_path": "pg_catalog, pg_temp", "timezone": "UTC", "statement_timeout": "30s", "jit": "off"}


@dataclass(frozen=True, slots=True)
class Archived:
    """A file that was written; None: there was nothing to write."""

    path: Path | None
    events: int


class Stopped(Exception):
    """Asked to end; what was begun is gone."""


def archive_slot(dsn: str, slot: int, folder: Path, form: type[Format], stop: threading.Event) -> Archived:
    """All that a slot of the ring holds, and that it is archived. Raises UserMistake, OSError, Stopped."""
    with connect_once(dsn, application_name="rowhook archive") as connection:
        _prepare(connection)
        written = _write(connection, "archive.slot", {"slot": slot}, folder, form, stop)
        name = written.path.name if written.path else "(nothing)"
        connection.execute(query("archive.mark"), {"slot": slot, "name": name})
    return written


def archive_before(connection: Connection, before: datetime, folder: Path, form: type[Format]) -> Archived:
    """Every event that is kept and happened before then, whatever slot it is in."""
    _prepare(connection)
    return _write(connection, "archive.before", {"before": before}, folder, form, threading.Event())


def _prepare(connection: Connection) -> None:
    for name, value in SETTINGS.items():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])


def _write(
    connection: Connection, name: str, given: dict[str, Any], folder: Path, form: type[Format], stop: threading.Event
) -> Archived:
    if not folder.is_dir():
        raise UserMistake(f"{folder} is no folder that files can be written to", "make it, and let this user write there")
    part = folder / f".rowhook-{secrets.token_hex(8)}.part"
    first = last = None
    count = 0
    try:
        with _durable(part) as file, contextlib.closing(form(file)) as writer:
            for page in _pages(connection, name, given, stop):
                first, last, count = first or page[0]["position"], page[-1]["position"], count + len(page)
                writer.add(page)
        if not count:
            return Archived(None, 0)
        path = _unused(folder, f"{connection.info.dbname}-events-{first}-{last}", form.suffix)
        part.rename(path)
        _sync(folder)
        return Archived(path, count)
    finally:
        part.unlink(missing_ok=True)


def _pages(connection: Connection, name: str, given: dict[str, Any], stop: threading.Event) -> Iterator[list[DictRow]]:
    after = 0
    while rows := connection.execute(query(name), {**given, "after": after, "page": PAGE}).fetchall():
        if stop.is_set():
            raise Stopped
        yield rows
        after = rows[-1]["position"]


@contextlib.contextmanager
def _durable(path: Path) -> Iterator[IO[bytes]]:
    """A new file, for its owner alone; on the disk when this ends well."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """A name is in its folder only once that is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unused(folder: Path, stem: str, suffix: str) -> Path:
    """No file is ever written over: what was archived twice, for a crash came between, is there twice."""
    number, candidate = 1, folder / f"{stem}{suffix}"
    while candidate.exists():
        number += 1
        candidate = folder / f"{stem}-{number}{suffix}"
    return candidate
