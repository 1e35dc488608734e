"""What capture costs writers while no relay runs: pgbench, 16 clients, single-row inserts, a transaction each.

The captured table is compared with the same trigger without its bell (what the idle bell costs), with a NOTIFY in each
commit (what the bell saves), and with the bare table (what capture costs). So is one whose bell a relay armed before it
died, after the arming ran out. Each has a database of its own on one server; many short rounds go through all of them in
turn. Throughput swings with whatever else the machine does; the CPU time of the server's backends for each insert does less.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass

from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.server import CAPTURE, SUPERUSER, Server

CLIENTS = 16
ROUNDS = {Size.TINY: 1, Size.QUICK: 7, Size.NORMAL: 15, Size.FULL: 25}
SECONDS = {Size.TINY: 1, Size.QUICK: 2, Size.NORMAL: 3, Size.FULL: 5}
BAR = Bar("ratio", ">=", 0.9)
REAPED_WITHIN = 0.2  # after pgbench has gone, its backends end

SCRIPT = r"""
\set user random(1, 1000)
\set category random(1, 12)
\set cents random(100, 100000)
INSERT INTO expenses (user_id, category_id, amount, notes) VALUES (:user, :category, :cents / 100.0, 'coffee and a sandwich');
"""

RINGS = r"\s+IF FOUND THEN\s+_now :=.*?END IF;\s+END IF;"
# The capture of inserts, generated as ever, with another ending.
INSTEAD = """
DO $do$
DECLARE
    _name regproc := (SELECT ('rowhook.capture_' || id || '_insert')::regproc FROM rowhook.capture);
    _body text := pg_get_functiondef(_name);
BEGIN
    ASSERT _body ~ '{rings}', 'the trigger function rings in another way now';
    EXECUTE regexp_replace(_body, '{rings}', '{instead}');
END
$do$
"""
ARM_AND_DIE = "SELECT setval('rowhook.doorbell', (extract(epoch FROM clock_timestamp() + interval '100 ms') * 1000)::bigint)"

CAPTURED, EXPIRED, NO_BELL, NOTIFY, PLAIN = "captured", "expired", "no_bell", "notify", "plain"
DATABASES: dict[str, tuple[str, ...]] = {
    CAPTURED: (CAPTURE,),
    EXPIRED: (CAPTURE, ARM_AND_DIE),
    NO_BELL: (CAPTURE, INSTEAD.format(rings=RINGS, instead="")),
    NOTIFY: (CAPTURE, INSTEAD.format(rings=RINGS, instead="PERFORM pg_notify(''rowhook_bell'', '''');")),
    PLAIN: (),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Transactions per second, and the backends' CPU time for each in microseconds."""

    tps: float
    cpu: float


Found = dict[str, list[Run]]


def run(size: Size, say: Say) -> list[Figure]:
    rounds, seconds = ROUNDS[size], SECONDS[size]
    with Server() as server:
        for name, statements in DATABASES.items():
            server.database(name, *statements)
        script = server.folder / "insert.sql"
        script.write_text(SCRIPT)
        time.sleep(0.2)  # the armed bell runs out
        found: Found = {name: [] for name in DATABASES}
        for number in range(-(size > Size.TINY), rounds):  # round -1 warms up
            names = list(DATABASES)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                run = _pgbench(server, name, seconds)
                if number >= 0:
                    found[name].append(run)
            if number >= 0:
                say(f"round {number + 1} of {rounds}: " + ", ".join(f"{n} {runs[-1].tps:,.0f}" for n, runs in found.items()))
    return _figures(found)


def _figures(found: Found) -> list[Figure]:
    def compared(metric: str, name: str, against: str, baseline: str, bar: Bar | None = None) -> Figure:
        return figure("writers", metric, "tps", [r.tps for r in found[name]], against, [r.tps for r in found[baseline]], bar)

    def cost(metric: str, name: str, against: str, baseline: str) -> Figure:
        values, baselines = ([run.cpu for run in found[n]] for n in (name, baseline))
        return figure("writers", f"{metric}: server CPU", "µs/insert", values, against, baselines)

    captured, expired = "captured, no relay", "captured, a dead relay's bell expired"
    no_bell = "the same without a bell"
    return [
        compared(captured, CAPTURED, no_bell, NO_BELL, BAR),
        compared(captured, CAPTURED, "the same with a NOTIFY per commit", NOTIFY),
        compared(captured, CAPTURED, "no capture at all", PLAIN),
        compared(expired, EXPIRED, no_bell, NO_BELL, BAR),
        cost(captured, CAPTURED, no_bell, NO_BELL),
        cost(captured, CAPTURED, "no capture at all", PLAIN),
        cost(expired, EXPIRED, no_bell, NO_BELL),
    ]


def _pgbench(server: Server, database: str, seconds: int) -> Run:
    """One run, over the Unix socket, from empty tables and after a checkpoint."""
    with server.connect(database) as connection:
        connection.execute("TRUNCATE expenses, rowhook.event")
        connection.execute("CHECKPOINT")
    command = [str(server.bin_dir / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}", "--jobs=2"]
    command += [f"--time={seconds}", f"--file={server.folder / 'insert.sql'}"]
    command += [f"--host={server.folder}", f"--port={server.port}", f"--username={SUPERUSER}", database]
    before = server.cpu_seconds_of_ended_backends()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tps = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", done.stdout)
    inserts = re.search(r"transactions actually processed: (\d+)", done.stdout)
    if done.returncode or not tps or not inserts or "number of failed transactions: 0 " not in done.stdout:
        raise RuntimeError(f"pgbench on {database} failed: {done.stdout}{done.stderr}")
    time.sleep(REAPED_WITHIN)
    return Run(float(tps[1]), 1e6 * (server.cpu_seconds_of_ended_backends() - before) / int(inserts[1]))
