from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.processes import Place, place


@pytest.fixture
def empty_place(tmp_path: Path) -> Iterator[Place]:
    """A place for one demo; its working folder is empty."""
    with place(tmp_path) as found:
        yield found
