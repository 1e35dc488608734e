"""The mutants of mutants.py are still edits of the tree as it is, and their tests are still there. Whether they fail shows
`make mutants`.
"""

from __future__ import annotations

import ast

import pytest

from tests.torture.mutants import MUTANTS, ROOT, Mutant, edited


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_can_be_made(mutant: Mutant):
    for name, old, new in mutant.edits:
        text = (ROOT / name).read_text("utf-8")
        assert edited(text, old, new) != text


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_tests_are_there(mutant: Mutant):
    for test in mutant.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert not name or name.partition("[")[0] in functions


def test_a_rule_that_is_written_otherwise_is_said_to_be():
    with pytest.raises(ValueError, match="0 times instead of once"):
        edited("text", "no such rule", "")
