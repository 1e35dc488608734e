"""A run's row finds its place in the page, takes that of an older one of its kind, and the sums are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import docs

FIGURES = {
    "seed": 7, "seconds": 360.0, "postgres": 18, "changes": 1000, "deliveries": 5000, "attempts": 6000, "lost": 3,
    "dead letters": 2, "missed rings": 1, "of them unexplained": 0, "duplicates": {"crash": 2}, "violations": 0,
    "faults": {"kill": 2},
}  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{docs.BEGIN}{docs.END}\nafter\n")
    return page


def test_rows_are_kept_replaced_and_summed(page: Path):
    docs.write(docs.row(FIGURES, {"kill": 2, "freeze": 1}), page)
    docs.write(docs.row({**FIGURES, "seed": 8, "changes": 500}, {"kill": 1}), page)
    docs.write(docs.row({**FIGURES, "changes": 2000}, {"kill": 4}), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines] == ["seed", "---", "7", "8", "**all**"]
    assert "| 2,500 |" in lines[-1]
    assert "kill 4" in lines[2]


def test_a_page_without_a_place(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no <!-- figures: torture -->"):
        docs.write(docs.row(FIGURES, {}), page)


def test_the_page_has_the_place():
    text = docs.DOCS.read_text("utf-8")
    assert docs.BEGIN in text
    assert docs.END in text
