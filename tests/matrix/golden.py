"""The payloads that are kept: a file of JSON lines a shape, the bodies of its events after a line that names the kind of write.

    python -m tests.matrix.golden [SHAPE…]                             writes those of Postgres 18's shapes anew
    ROWHOOK_TEST_POSTGRES=15 python -m tests.matrix.golden documents   and those that only 15 has

Both versions are held to the same files. Look at what git says of the difference before it is committed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg

from relay.migrations import migrate
from tests.cluster import Cluster, postgres_under_test
from tests.matrix.run import Cell, Place, prepare, run
from tests.matrix.shapes import made_here

FOLDER = Path(__file__).parent / "golden"
BLIND = "CREATE ROLE matrix_blind"  # the cluster's, so not a shape's


def lines(cells: Iterable[Cell]) -> list[str]:
    said = []
    for cell in cells:
        said.append(json.dumps({"write": cell.write.value}))
        said += [event.body for event in cell.events]
    return said


def kept(name: str) -> list[str]:
    """By newlines alone: a body may hold other characters that end a line elsewhere."""
    return (FOLDER / f"{name}.jsonl").read_text().removesuffix("\n").split("\n")


@contextlib.contextmanager
def place(dsn: str) -> Iterator[Place]:
    with psycopg.connect(dsn, autocommit=True) as writer, psycopg.connect(dsn, autocommit=True) as reader:
        yield Place(writer, reader)


def main(wanted: list[str]) -> None:
    cluster = Cluster.start(*postgres_under_test())
    try:
        dsn = cluster.dsn(cluster.create_database("matrix"))
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(BLIND)
        for shape in made_here():
            if not wanted or shape.name in wanted:
                with place(dsn) as here:
                    prepare(here, shape)
                    said = lines(run(here, shape))
                (FOLDER / f"{shape.name}.jsonl").write_text("\n".join(said) + "\n")
    finally:
        cluster.remove()


if __name__ == "__main__":
    main(sys.argv[1:])
