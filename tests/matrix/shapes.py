"""All shapes, and those that a version of Postgres has."""

from __future__ import annotations

import os

from tests.matrix import shapes_behaviour, shapes_columns, shapes_keys, shapes_storage
from tests.matrix.shape import Shape

SHAPES: tuple[Shape, ...] = (*shapes_keys.SHAPES, *shapes_columns.SHAPES, *shapes_storage.SHAPES, *shapes_behaviour.SHAPES)
VERSION = int(os.environ.get("ROWHOOK_TEST_POSTGRES", "18"))


def made_here() -> list[Shape]:
    return [shape for shape in SHAPES if VERSION in shape.versions]
