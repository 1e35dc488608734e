"""Files of archives, written without a database: how much of one is held in memory, and what is said when it can't be written."""

from __future__ import annotations

import contextlib
import io
from datetime import UTC, datetime

import pyarrow.parquet
import pytest

from relay import archive_formats
from relay.archive_formats import FIELDS, Columns

AT = datetime(2026, 1, 1, 9, 30, 0, 123456, tzinfo=UTC)


def page(first: int, count: int, data: str = "{}") -> list[dict[str, object]]:
    row = dict.fromkeys(FIELDS) | {"type": "a.b", "occurred_at": AT, "data": data, "deliveries": "[]"}
    return [{**row, "position": n, "id": f"evt_{n}"} for n in range(first, first + count)]


@pytest.mark.parametrize(("rows", "size", "groups"), [(1000, 2**30, [1000, 1000, 500]), (10**6, 4000, [500] * 5)])
def test_a_file_is_written_in_groups_of_rows_bounded_by_number_and_by_bytes(
    monkeypatch: pytest.MonkeyPatch, rows: int, size: int, groups: list[int]
) -> None:
    monkeypatch.setattr(archive_formats, "GROUP_ROWS", rows)
    monkeypatch.setattr(archive_formats, "GROUP_BYTES", size)
    file = io.BytesIO()
    with contextlib.closing(Columns(file)) as columns:
        for first in range(0, 2500, 500):
            columns.add(page(first, 500, '{"n":1}'))
    written = pyarrow.parquet.ParquetFile(file)
    assert [written.metadata.row_group(n).num_rows for n in range(written.num_row_groups)] == groups
    assert written.read(["id"]).column("id").to_pylist() == [f"evt_{n}" for n in range(2500)]
    assert written.read(["occurred_at"]).column("occurred_at")[0].as_py() == AT


def test_what_arrow_refuses_is_a_file_that_can_not_be_written() -> None:
    columns = Columns(io.BytesIO())
    (row,) = page(1, 1)
    with pytest.raises(OSError, match="Parquet"):
        columns.add([{**row, "type": 7}])


def test_a_pyarrow_that_does_not_work_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(OSError, match="pyarrow"):
        Columns(io.BytesIO())
