"""rowhook archive: events to a file, and with --remove what retention does; ROWHOOK_RETENTION and its mistakes."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path

import pytest

from relay.config import keep
from tests.cli.conftest import Rowhook
from tests.conftest import Connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where files go; commands run beside it."""
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def emit(conn: Connection, *types: str) -> None:
    for type in types:
        conn.execute("SELECT rowhook.emit(%s, '{\"price\": 1.50}')", [type])


def test_events_older_than_a_time_are_written_to_a_file_and_stay(rowhook: Rowhook, conn: Connection, folder: Path) -> None:
    emit(conn, "a.old", "a.new")
    conn.execute("UPDATE rowhook.event SET occurred_at = now() - interval '8 days' WHERE type = 'a.old'")
    done = rowhook("archive", "--to", str(folder), "--before", "7d", "--json", ok=True)
    assert done.json["events"] == 1
    (file,) = folder.iterdir()
    assert str(file) == done.json["file"]
    assert (file.stat().st_mode & 0o777) == 0o600
    assert [line["type"] for line in lines(file)] == ["a.old"]
    rowhook("archive", "--before", "7d", env={"ROWHOOK_ARCHIVE": str(folder)}, ok=True)
    assert len(list(folder.iterdir())) == 2, "no file is written over"
    assert conn.execute("SELECT count(*) FROM rowhook.event").fetchone() == (2,)


def test_with_remove_slots_that_were_left_long_ago_are_archived_and_emptied(
    rowhook: Rowhook, conn: Connection, folder: Path
) -> None:
    emit(conn, "a.gone", "a.gone-too")
    conn.execute("UPDATE rowhook.cursor SET seen = pg_current_snapshot()")
    conn.execute("SELECT setval('rowhook.present_slot', 1), rowhook.survey_ring()")
    emit(conn, "a.stays")
    rowhook("archive", "--to", str(folder), "--remove", ok=True)
    assert conn.execute("SELECT count(*) FROM rowhook.event").fetchone() == (3,), "30 days are kept"
    conn.execute("UPDATE rowhook.ring SET closed_at = now() - interval '3 days' WHERE slot = 0")
    rowhook("archive", "--to", str(folder), "--remove", "--before", "2d", ok=True)
    assert conn.execute("SELECT type FROM rowhook.event").fetchall() == [("a.stays",)]
    (file,) = folder.iterdir()
    assert [line["type"] for line in lines(file)] == ["a.gone", "a.gone-too"]


def test_mistakes_are_one_line(rowhook: Rowhook, tmp_path: Path) -> None:
    rowhook("archive").refused("where to", "--to FOLDER", "ROWHOOK_ARCHIVE")
    rowhook("archive", "--to", str(tmp_path / "none")).refused("no folder", "make it")
    rowhook("archive", "--to", str(tmp_path), "--before", "soon").refused("--before", "soon")
    rowhook("archive", "--to", str(tmp_path), "--remove", "--before", "2026-01-01").refused("2026-01-01", "30d")
    rowhook("run", env={"ROWHOOK_RETENTION": "a while"}).refused("ROWHOOK_RETENTION is 'a while'", "30d, or forever")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("30d", timedelta(days=30)),
        ("99999d", timedelta(days=99_999)),
        ("90 min", timedelta(minutes=90)),
        ("Forever", None),
    ],
)
def test_how_long_is_kept(text: str, kept: timedelta | None) -> None:
    assert keep(text) == kept
