"""Every shape by every kind of write: what was captured is what SELECT says, and what the golden files keep, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import Cluster
from tests.matrix.golden import BLIND, FOLDER, kept, lines, place
from tests.matrix.replay import narrowed, replayed
from tests.matrix.run import Cell, prepare, run
from tests.matrix.shape import Shape, Write
from tests.matrix.shapes import SHAPES, made_here

# Whose events are not made of the whole row: by which columns they can be held against it.
NARROWED: dict[str, list[str] | None] = {"chosen_columns": ["id", "v"]}
# Whose events hide values, so that no row can be made of them again: the golden files alone hold these.
HIDDEN = {"virtual_columns_by_row", "large_rows"}


@pytest.fixture(scope="module")
def matrix_dsn(cluster: Cluster, template: str) -> Iterator[str]:
    """One database for all shapes, each in a schema of its own."""
    name = cluster.create_database(template=template)
    with cluster.connect() as connection:
        connection.execute(BLIND)
    yield cluster.dsn(name)
    cluster.drop_database(name)
    with cluster.connect() as connection:
        connection.execute("DROP ROLE matrix_blind")


@pytest.mark.parametrize("shape", made_here(), ids=lambda shape: shape.name)
def test_a_shape(matrix_dsn: str, shape: Shape) -> None:
    with place(matrix_dsn) as here:
        assert prepare(here, shape) == shape.mode
        cells = list(run(here, shape))
    for cell in cells:
        if shape.name not in HIDDEN:
            is_what_select_says(shape, cell)
    assert lines(cells) == kept(shape.name)


def is_what_select_says(shape: Shape, cell: Cell) -> None:
    names = NARROWED.get(shape.name)
    events = cell.events
    assert replayed(narrowed(cell.before, names), events) == narrowed(cell.after, names), cell.write
    for event in events:
        if event.op in ("insert", "update") and event.data in cell.keys:
            assert event.row_key == cell.keys[event.data], cell.write


def test_the_matrix_is_as_large_as_was_asked() -> None:
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) >= 40
    assert len(Write) == 6
    assert {path.stem for path in FOLDER.iterdir()} == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_cell_has_events(shape: Shape) -> None:
    """A write without any event would say nothing about a shape."""
    told: dict[str, int] = {}
    for line in kept(shape.name):
        if line.startswith('{"write"'):
            told[line] = 0
        else:
            told[list(told)[-1]] += 1
    assert len(told) == len(Write)
    assert all(told.values()), told


def test_mutant__a_value_that_is_another_text_is_noticed(matrix_dsn: str) -> None:
    """99.5 for 99.50 is the same number, and not the same bytes."""
    (shape,) = (shape for shape in SHAPES if shape.name == "plain")
    with place(matrix_dsn) as here:
        here.reader.execute("CREATE SCHEMA mutant; SET search_path = mutant; CREATE TABLE t (id int PRIMARY KEY, v numeric)")
        here.reader.execute("SELECT rowhook.capture('t')")
        (definition,) = here.reader.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = (SELECT 'capture_' || max(id) || '_insert' FROM"
            " rowhook.capture)"
        ).fetchone() or ("",)
        here.reader.execute(
            definition.replace("row_to_json(rowhook_new.*)", "row_to_json(rowhook_new.*)::text::jsonb::json").encode()
        )
        here.reader.execute("SET search_path = mutant, public")
        here.writer.execute("SET search_path = mutant, public")
        numbers = Shape("mutant", "", "", "", ("1, 99.50", "2, 2.0", "3, 3", "4, 4", "5, 5"))
        cell = next(run(here, numbers))
    assert shape.mode == "statement"
    with pytest.raises(AssertionError):
        is_what_select_says(numbers, cell)
