"""What the docs say of shapes is what the matrix has."""

from __future__ import annotations

from tests.matrix.table import DOCS, PLACE, table


def test_the_tables_of_the_docs_are_the_matrix() -> None:
    """If this fails: python -m tests.matrix.table."""
    (found,) = PLACE.findall(DOCS.read_text())
    assert found == table()
