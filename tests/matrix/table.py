"""The tables of docs/capture.md that say what can be captured, made from the shapes.

python -m tests.matrix.table    writes them anew
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.matrix.refused import REFUSED
from tests.matrix.shapes import SHAPES

DOCS = Path(__file__).parents[2] / "docs" / "capture.md"
PLACE = re.compile(r"(?<=<!-- matrix: python -m tests\.matrix\.table -->\n).*?(?=<!-- end of matrix -->)", re.DOTALL)
HOW = {"statement": "by statement", "row": "row by row"}


def table() -> str:
    captured = "".join(f"| {shape.says} | {HOW[shape.mode]} | `{shape.name}` |\n" for shape in SHAPES)
    refused = "".join(f"| {refused.says} | {refused.hint.replace('refused.', '')} |\n" for refused in REFUSED)
    return (
        f"\n| captured | how | shape |\n|---|---|---|\n{captured}"
        "| tables that a subscription writes to (logical replication), by triggers that fire always | row by row |"
        " `test_subscriber.py` |\n"
        "| several captures of one table, each with columns and types of its own (`--name`) | as each needs |"
        " `test_several_captures.py` |\n"
        f"\n| refused | hint |\n|---|---|\n{refused}\n"
    )


def main() -> None:
    text, written = PLACE.subn(lambda _: table(), DOCS.read_text())
    if written != 1:
        raise SystemExit(f"{DOCS} has no place for the table, or several")
    DOCS.write_text(text)


if __name__ == "__main__":
    main()
