"""How many instructions of Postgres a captured row costs, by steps.

``python -m benchmarks.instructions [single|thousand|update]``

Callgrind counts what one single-user server executes: the same from run to run to within a percent, whatever else the machine
does. System calls, and waiting for memory, are not in it. Each step is what the capture costs more than without that step, so the
steps needn't sum up to the whole. Needs valgrind.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.captures import FILL
from benchmarks.server import CAPTURE, Server

SETTINGS = {"fsync": "off", "autovacuum": "off"}
WARM = 6  # by then plpgsql's plans are the generic ones


@dataclass(frozen=True, slots=True)
class Counted:
    """A statement, how many rows it is of, how often it is counted, and what its capture's function is called."""

    statement: str
    rows: int
    times: int
    function: str


LOADS = {
    "single": Counted(
        "INSERT INTO expenses (user_id, category_id, amount, notes) VALUES (7, 3, 12.5, 'a sandwich')", 1, 300, "insert"
    ),
    "thousand": Counted(
        "INSERT INTO expenses (user_id, category_id, amount, notes)"
        " SELECT 1 + i, 1 + i % 12, i / 100.0, 'a sandwich' FROM generate_series(1, 1000) AS i",
        1000,
        2,
        "insert",
    ),
    "update": Counted("UPDATE expenses SET amount = amount + 1 WHERE id <= 1000", 1000, 2, "update"),
}

# Replace in a generated function; whoever changes what is generated finds out here.
EDIT = """
DO $do$
DECLARE
    _body text := (SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname ~ '^capture_[0-9]+_{function}$');
BEGIN
    ASSERT _body ~ $q${old}$q$, 'the trigger function is generated in another way now';
    EXECUTE regexp_replace(_body, $q${old}$q$, $q${new}$q$, 'g');
END
$do$
"""
NOTHING = """
CREATE OR REPLACE FUNCTION rowhook.capture_1_{function}() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN RETURN NULL; END $fn$
"""


def _without(old: str, new: str) -> str:
    return EDIT.replace("{old}", old).replace("{new}", new)


STEPS: dict[str, str] = {
    "the function, all of it": NOTHING,
    "what the session says of itself": _without(r"IF greatest\(.*?\) <> '' THEN", "IF false THEN"),
    "time and slot": _without(
        r":= clock_timestamp\(\);\s+slot   smallint    := [^;]*;", ":= '2026-01-01';\n slot smallint := 0;"
    ),
    "the bell": _without(r"IF _wrote AND [^\n]* > 0 THEN", "IF false THEN"),
    "JSON of the row": _without(r"row_to_json\((rowhook_\w+\.\*|\w+\.r)\)", "NULL::json"),
    "owner and search_path": _without(r"SECURITY DEFINER\s+SET search_path TO 'pg_catalog', 'pg_temp'", ""),
    "index by transaction": "DROP INDEX rowhook.event_by_transaction",
    "primary key": "ALTER TABLE rowhook.event DROP CONSTRAINT event_pkey",
}
UPDATES: dict[str, str] = {
    "what has changed": _without(r"CASE WHEN cardinality\(.*?ELSE rowhook.changed\([^\n]*\)\) END", "NULL::json"),
}


def steps(load: Counted) -> dict[str, tuple[str, ...]]:
    """What makes each database that is compared."""
    rows = (FILL,) if load.function == "update" else ()
    found: dict[str, tuple[str, ...]] = {"not captured": rows, "captured": (*rows, CAPTURE)}
    for name, edit in {**STEPS, **(UPDATES if load.function == "update" else {})}.items():
        found[name] = (*rows, CAPTURE, edit.replace("{function}", load.function))
    return found


def count(server: Server, database: str, load: Counted) -> float:
    """Instructions per row, start of the server and first executions left out."""
    few, many = (_instructions(server, database, load.statement, times) for times in (0, load.times))
    return (many - few) / load.times / load.rows


def _instructions(server: Server, database: str, statement: str, times: int) -> int:
    script = "\n".join([f"PREPARE w AS {statement}", *["EXECUTE w"] * (WARM + times)])
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(server.bin_dir / "postgres"), "--single"]
    command += [
        "-D",
        str(server.data),
        *(part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")),
        database,
    ]
    done = subprocess.run(command, input=script + "\n", capture_output=True, text=True, check=False, cwd="/", **server.as_user)
    counted = re.search(r"Collected : (\d+)", done.stderr)
    if not counted or "ERROR" in done.stderr:
        raise RuntimeError(f"callgrind on {database} failed: {done.stderr[-2000:]}")
    return int(counted[1])


def main(names: list[str]) -> int:
    if not shutil.which("valgrind") or set(names) - set(LOADS):
        print(f"needs valgrind, and one of: {', '.join(LOADS)}", file=sys.stderr)
        return 2
    for name in names or LOADS:
        load = LOADS[name]
        with Server(SETTINGS) as server:
            made = {step: server.database(f"step {n}", *sql) for n, (step, sql) in enumerate(steps(load).items())}
            server.stop()
            found = {step: count(server, database, load) for step, database in made.items()}
        print(f"{name}: instructions per row")
        for step, value in found.items():
            taken = "" if step in ("not captured", "captured") else f"{found['captured'] - value:12,.0f} saved"
            print(f"  {step:36}{value:12,.0f}{taken}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
