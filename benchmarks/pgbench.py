"""pgbench on a database of a server: one script, for some seconds, over the Unix socket."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass

from benchmarks.server import SUPERUSER, Server

REAPED_WITHIN = 0.2  # after pgbench has gone, its backends end
EMPTY = "TRUNCATE expenses, rowhook.event, rowhook.delivery, rowhook.attempt CASCADE"


@dataclass(frozen=True, slots=True)
class Load:
    """What so many clients do over and over, a transaction each, and how many rows one inserts."""

    name: str
    script: str
    clients: int
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """Transactions per second, and the backends' CPU time for each row in microseconds."""

    tps: float
    cpu: float


def empty(server: Server, database: str) -> None:
    """Empty tables, and a checkpoint that no run then has to pay for."""
    with server.connect(database) as connection:
        connection.execute(EMPTY)
        connection.execute("CHECKPOINT")


def pgbench(server: Server, database: str, load: Load, seconds: int) -> Run:
    """One run. Raises RuntimeError where a transaction failed."""
    script = server.folder / f"{load.name}.sql"
    script.write_text(load.script)
    command = [str(server.bin_dir / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={load.clients}"]
    command += [f"--jobs={min(2, load.clients)}", f"--time={seconds}", f"--file={script}"]
    command += [f"--host={server.folder}", f"--port={server.port}", f"--username={SUPERUSER}", database]
    before = server.cpu_seconds_of_ended_backends()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tps = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", done.stdout)
    count = re.search(r"transactions actually processed: (\d+)", done.stdout)
    if done.returncode or not tps or not count or "number of failed transactions: 0 " not in done.stdout:
        raise RuntimeError(f"pgbench on {database} failed: {done.stdout}{done.stderr}")
    time.sleep(REAPED_WITHIN)
    rows = int(count[1]) * load.rows
    return Run(float(tps[1]), 1e6 * (server.cpu_seconds_of_ended_backends() - before) / rows)
