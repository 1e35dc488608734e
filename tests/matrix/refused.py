"""What is refused: how such a thing comes about, and what is said of it. What the hint says is enough to go on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """``says`` stands in the table of docs/capture.md; ``create`` runs with the search_path on a schema called ``refused``."""

    name: str
    says: str
    create: str
    table: str
    message: str
    hint: str
    options: str = ""


REFUSED = (
    Refused(
        "view",
        "views",
        "CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE VIEW v AS SELECT a.id FROM a JOIN b USING (id)",
        "v",
        "refused.v is a view, not a table",
        "Capture the tables that it reads: refused.a, refused.b",
    ),
    Refused(
        "materialized_view",
        "materialized views",
        "CREATE TABLE a (id int); CREATE MATERIALIZED VIEW v AS SELECT id FROM a",
        "v",
        "refused.v is a view, not a table",
        "Capture the tables that it reads: refused.a",
    ),
    Refused(
        "temporary",
        "temporary tables",
        "CREATE TEMP TABLE brief (id int)",
        "brief",
        "pg_temp.brief is a system or temporary table",
        "Name a table of your own",
    ),
    Refused(
        "system",
        "tables of the system, and Rowhook's own",
        "",
        "pg_catalog.pg_class",
        "pg_catalog.pg_class is a system or temporary table",
        "Name a table of your own",
    ),
    Refused("sequence", "sequences, indexes, types", "CREATE SEQUENCE s", "s", "refused.s is not a table", "Name a table"),
    Refused(
        "read_only_foreign_table",
        "foreign tables that can only be read (file_fdw)",
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
        " CREATE FOREIGN TABLE f (line text) SERVER files OPTIONS (filename '/dev/null')",
        "f",
        "refused.f is a foreign table that can only be read",
        "Its rows change elsewhere: capture them there",
    ),
    Refused(
        "partition_of_captured",
        "a partition of a table that is captured",
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);"
        " SELECT rowhook.capture('t')",
        "t1",
        "refused.t1 is a partition of refused.t, which is captured: its rows make events there",
        "Capture either of them; first: rowhook uncapture refused.t",
    ),
    Refused(
        "captured_partition",
        "a table one of whose partitions is captured",
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);"
        " SELECT rowhook.capture('t1')",
        "t",
        "refused.t1, a partition of refused.t, is captured by itself: its rows would make events twice",
        "Capture either of them; first: rowhook uncapture refused.t1",
    ),
)
