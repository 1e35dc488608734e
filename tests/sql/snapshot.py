"""The schema as the migrations leave it, in one file to read: docs/schema.snapshot.sql.

python -m tests.sql.snapshot    rewrites it, with Postgres 18
"""

from __future__ import annotations

import re
from pathlib import Path

from relay.migrations import migrate
from tests.cluster import Cluster, postgres_under_test

SNAPSHOT = Path(__file__).parents[2] / "docs" / "schema.snapshot.sql"
VERSION = 18  # what pg_dump writes differs from version to version

HEADER = """\
-- Schema "rowhook" after all migrations of sql/, as pg_dump sees it. Made by: python -m tests.sql.snapshot
-- Of the ten partitions of rowhook.event the first stands for all.

"""
# What differs between runs and minor versions, and what every dump repeats.
NOISE = re.compile(r"^(SET [^\n]*;|SELECT pg_catalog\.set_config\([^\n]*|\\(un)?restrict [^\n]*|--[^\n]*)\n", re.MULTILINE)


def take(cluster: Cluster, database: str) -> str:
    """The schema of a migrated database as text."""
    dump = cluster.run(
        "pg_dump", "--schema-only", "--no-owner", "--schema=rowhook", "--exclude-table=rowhook.event_[1-9]", database
    ).stdout
    return HEADER + re.sub(r"\n{3,}", "\n\n", outside_functions(dump)).strip("\n") + "\n"


def outside_functions(dump: str) -> str:
    """Drop the noise, but no comment within the body of a function."""
    parts = re.split(r"(AS (\$\w*\$).*?\2)", dump, flags=re.DOTALL)
    # re.split yields text, body, the body's quote; and again.
    return "".join(NOISE.sub("", part) if number % 3 == 0 else part for number, part in enumerate(parts) if number % 3 != 2)


def main() -> None:
    cluster = Cluster.start(*postgres_under_test())
    try:
        database = cluster.create_database("snapshot")
        migrate(cluster.dsn(database))
        SNAPSHOT.write_text(take(cluster, database))
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
