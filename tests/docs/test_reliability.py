"""docs/reliability.md names a test for what it claims: each exists, and no hazard is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8")
NAMED = re.findall(r"`([a-z_/]+\.py)::(\w+)`", PAGE)
HAZARDS = 36


def rows(section: str) -> list[list[str]]:
    """The cells of each row of the tables between this heading and the next of its rank."""
    text = re.split(r"(?m)^## ", PAGE.partition(f"\n## {section}\n")[2])[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if " shown by " not in line]


@cache
def names_in(file: str) -> frozenset[str]:
    path = TESTS / file
    found = ast.walk(ast.parse(path.read_text("utf-8"))) if path.exists() else ()
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_each_test_that_is_named_exists(file: str, name: str):
    assert name.startswith("test_")
    assert name in names_in(file)


def test_every_fault_names_its_test():
    faults = rows("Faults, and what follows")
    assert len(faults) > 20
    assert [row[0] for row in faults if "::" not in row[-1]] == []


def test_every_hazard_has_an_answer():
    numbered = [row for row in rows("Hazards") if row[0].isdigit()]
    assert [int(row[0]) for row in numbered] == list(range(1, HAZARDS + 1))
    unshown = [row[:2] for row in rows("Hazards") if "::" not in row[-1] and "Not yet: " not in " ".join(row)]
    assert unshown == []
