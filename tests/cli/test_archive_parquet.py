"""rowhook archive --format parquet: the rows of the JSONL archive of the same data; what is said where it can't be written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.cli.conftest import ROOT, Rowhook, Sent
from tests.conftest import Connection

ODD = r"""
INSERT INTO rowhook.event (op, type, table_name, row_key, tenant, moved, data, previous, context, truncated) VALUES
    ('insert', 'a.created', 'a', '1', 'Zoë', false, E'{"price": 1.50,\n "n": 1, "n": 2, "big": 1e400, "odd": "\\u0000"}',
     NULL, '{"actor":"me"}', NULL),
    ('update', 'a.updated', 'a', '["1","x"]', NULL, true, '{"price":2.00}', '{"price":1.50}', NULL, true),
    ('truncate', 'a.truncated', 'a', NULL, NULL, false, NULL, NULL, NULL, NULL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def archived(rowhook: Rowhook, folder: Path, *options: str) -> Path:
    return Path(rowhook("archive", "--to", str(folder), "--json", *options, ok=True).json["file"])


def verbatim(line: str, name: str) -> str | None:
    """The text of a field, as it stands in a line of JSON."""
    text = line.partition(f'"{name}" : ')[2]
    _, end = json.JSONDecoder().raw_decode(text)
    return None if text[:end] == "null" else text[:end]


def timed(value: Any) -> Any:
    """What is a time in one file and its text in the other."""
    if isinstance(value, list):
        return [timed(part) for part in value]
    if isinstance(value, dict):
        return {k: datetime.fromisoformat(v) if k.endswith("_at") and v else timed(v) for k, v in value.items()}
    return value


def test_it_holds_what_the_lines_of_json_hold(
    rowhook: Rowhook, conn: Connection, folder: Path, endpoint: str, deliver: Callable[..., Sent]
) -> None:
    deliver(endpoint, "dead", attempts=3)
    deliver(endpoint, "pending")
    conn.execute(ODD)
    file = archived(rowhook, folder, "--format", "parquet")
    assert file.name.endswith("-events-1-5.parquet")
    assert file.stat().st_mode & 0o777 == 0o600
    rows = pyarrow.parquet.read_table(file).to_pylist()
    lines = gzip.decompress(archived(rowhook, folder).read_bytes()).decode().splitlines()
    assert len(rows) == len(lines) == 5
    texts = ("data", "previous", "context")
    for row, line in zip(rows, lines, strict=True):
        plain = json.loads(line)
        assert list(row) == list(plain), "the same fields in the same order"
        assert {n: v for n, v in row.items() if n not in texts} == timed({n: v for n, v in plain.items() if n not in texts})
        assert {n: row[n] and row[n].replace("\n", " ") for n in texts} == {n: verbatim(line, n) for n in texts}
    assert [len(d["attempts"]) for row in rows for d in row["deliveries"]] == [3, 0]
    assert rows[2]["data"] == '{"price": 1.50,\n "n": 1, "n": 2, "big": 1e400, "odd": "\\u0000"}', "as it was captured"
    assert rows[2]["context"] == '{"actor":"me"}' and rows[3]["truncated"] and rows[3]["moved"]
    assert sorted(path.suffix for path in folder.iterdir()) == [".gz", ".parquet"], "no part of a file is left"


def test_with_remove_a_slot_is_emptied_once_its_file_is_there_and_none_is_written_over(
    rowhook: Rowhook, conn: Connection, folder: Path
) -> None:
    for _ in range(2):
        conn.execute("SELECT rowhook.emit('a.gone', '{}')")
        archived(rowhook, folder, "--format", "parquet")
    conn.execute("UPDATE rowhook.cursor SET seen = pg_current_snapshot()")
    conn.execute("SELECT setval('rowhook.present_slot', 1), rowhook.survey_ring()")
    conn.execute("UPDATE rowhook.ring SET closed_at = now() - interval '3 days' WHERE slot = 0")
    env = {"ROWHOOK_ARCHIVE_FORMAT": "parquet", "ROWHOOK_ARCHIVE": str(folder)}
    rowhook("archive", "--remove", "--before", "2d", env=env, ok=True)
    assert conn.execute("SELECT count(*) FROM rowhook.event").fetchone() == (0,)
    counts = {path.name.partition("-events-")[2]: pyarrow.parquet.read_metadata(path).num_rows for path in folder.iterdir()}
    assert counts == {"1-1.parquet": 1, "1-2.parquet": 2, "1-2-2.parquet": 2}


def test_without_pyarrow_it_is_said_how_to_get_it_and_nothing_else_needs_it(
    really: Rowhook, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['pyarrow'] = None\n")
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "ROWHOOK_ARCHIVE": str(folder)}
    really("archive", "--format", "parquet", env=env).refused("Parquet needs pyarrow", "pip install pyarrow")
    really("run", env={**env, "ROWHOOK_ARCHIVE_FORMAT": "parquet"}).refused("Parquet needs pyarrow", "pip install pyarrow")
    really("archive", env=env, ok=True)
    assert list(folder.iterdir()) == []


def test_mistakes_and_misfortunes_are_one_line(rowhook: Rowhook, conn: Connection, folder: Path) -> None:
    rowhook("archive", "--to", str(folder), "--format", "csv").refused("'csv' is no format", "jsonl or parquet")
    rowhook("run", env={"ROWHOOK_ARCHIVE_FORMAT": "csv"}).refused("ROWHOOK_ARCHIVE_FORMAT is 'csv'", "'jsonl' or 'parquet'")
    done = rowhook("archive", "--to", "/proc", "--format", "parquet")
    assert done.code == 1 and len(done.err.splitlines()) == 1 and "could not be written" in done.err
