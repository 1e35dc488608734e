"""What an archive's files are written in: lines of JSON, gzipped, or Parquet.

Parquet needs pyarrow, which is large and so an extra. It is brought in when a file is begun: nobody else carries it.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, ClassVar, Protocol

from relay.errors import UserMistake

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]

JSON_FIELDS = ("data", "previous", "context", "deliveries")  # never parsed but for the last, which is made here and not given
FIELDS = ("id", "type", "occurred_at", "op", "table", "row_key", "tenant", "moved", "truncated", "looped", *JSON_FIELDS)

GROUP_ROWS = 20_000  # of one row group of a Parquet file: what a reader takes in at once
GROUP_BYTES = 32 * 2**20


class Format(Protocol):
    """A file that is being written; it takes rows of rowhook.archived()."""

    name: ClassVar[str]
    suffix: ClassVar[str]

    def __init__(self, file: IO[bytes]) -> None: ...

    def add(self, page: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class Lines:
    """A line of JSON for each event."""

    name: ClassVar[str] = "jsonl"
    suffix: ClassVar[str] = ".jsonl.gz"

    def __init__(self, file: IO[bytes]) -> None:
        self._packed = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6)

    def add(self, page: Sequence[Row]) -> None:
        for row in page:
            # A newline in JSON text is white space between its parts: in a string it is escaped.
            self._packed.write(_line(row).replace("\n", " ").replace("\r", " ").encode() + b"\n")

    def close(self) -> None:
        self._packed.close()


class Columns:
    """Parquet: a row for each event. What was JSON stays the text that it was; deliveries are a list, each with its attempts."""

    name: ClassVar[str] = "parquet"
    suffix: ClassVar[str] = ".parquet"

    def __init__(self, file: IO[bytes]) -> None:
        parquet = _parquet()
        self._schema = _schema()
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._group: list[pyarrow.RecordBatch] = []

    def add(self, page: Sequence[Row]) -> None:
        import pyarrow

        with _as_oserror():
            self._group.append(pyarrow.RecordBatch.from_pylist([_columns(row) for row in page], self._schema))
            if sum(b.num_rows for b in self._group) >= GROUP_ROWS or sum(b.nbytes for b in self._group) >= GROUP_BYTES:
                self._write_group()

    def close(self) -> None:
        with _as_oserror():
            if self._group:
                self._write_group()
            self._writer.close()

    def _write_group(self) -> None:
        import pyarrow

        self._writer.write_table(pyarrow.Table.from_batches(self._group), row_group_size=GROUP_ROWS)
        self._group = []


FORMATS: dict[str, type[Format]] = {form.name: form for form in (Lines, Columns)}


def format_named(name: str) -> type[Format]:
    """The format of this name, if files can be written in it here. Raises UserMistake."""
    form = FORMATS.get(name)
    if form is None:
        raise UserMistake(f"{name!r} is no format of archives", f"give {' or '.join(FORMATS)}")
    if form is Columns and importlib.util.find_spec("pyarrow") is None:
        raise UserMistake("Parquet needs pyarrow, which is not installed", "pip install pyarrow, or the extra rowhook[parquet]")
    return form


def _line(row: Row) -> str:
    return "{" + ", ".join(f'"{name}" : {_json(name, row[name])}' for name in FIELDS) + "}"


def _json(name: str, value: Any) -> str:
    if value is None:
        return "null"
    if name in JSON_FIELDS:
        return str(value)
    return json.dumps(value.isoformat() if isinstance(value, datetime) else value, ensure_ascii=False)


def _columns(row: Row) -> Row:
    return {**row, "deliveries": [_delivery(delivery) for delivery in json.loads(row["deliveries"])]}


def _delivery(delivery: Row) -> Row:
    attempts = [{**attempt, "started_at": _time(attempt["started_at"])} for attempt in delivery["attempts"]]
    times = {name: _time(delivery[name]) for name in ("created_at", "ended_at")}
    return {**delivery, **times, "attempts": attempts}


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    text, time = pa.string(), pa.timestamp("us", tz="UTC")
    attempt = {
        "number": pa.int32(),
        "started_at": time,
        "duration_ms": pa.float64(),
        "status_code": pa.int32(),
        "error_class": text,
        "error": text,
        "response_excerpt": text,
    }
    delivery = {
        "id": text,
        "endpoint_id": text,
        "url": text,
        "state": text,
        "created_at": time,
        "ended_at": time,
        "attempts": pa.list_(pa.struct(attempt)),
    }
    special = {
        "occurred_at": time,
        **dict.fromkeys(("moved", "truncated", "looped"), pa.bool_()),
        "deliveries": pa.list_(pa.struct(delivery)),
    }
    return pa.schema({name: special.get(name, text) for name in FIELDS})


def _parquet() -> Any:
    """pyarrow.parquet, and with it pyarrow; raises OSError where it is there and doesn't work."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise OSError(f"pyarrow, which Parquet needs, can't be used: {error}") from error
    return pyarrow.parquet


@contextlib.contextmanager
def _as_oserror() -> Iterator[None]:
    """What Arrow raises is a file that can't be written, for whoever archives."""
    import pyarrow

    try:
        yield
    except pyarrow.ArrowException as error:
        raise OSError(f"the Parquet file can't be written: {error}") from error
