"""What capture costs writers: pgbench, single-row inserts by 16 clients and by one, inserts of 1,000 rows.

While no relay runs, the captured table is compared with the same trigger without its bell (what the idle bell costs), with a
NOTIFY in each commit (what the bell saves), and with the bare table (what capture costs). So is one whose bell a relay armed
before it died, after the arming ran out. While a relay delivers, it is compared with the same trigger that notifies always.

fsync and synchronous_commit are on, as by default: NOTIFY holds its lock until the commit is flushed, so commits that notify
share no flush. Each variant has a database of its own on one server; many short rounds go through all of them in turn.
Throughput swings with whatever else the machine does; the CPU time of the server's backends for each row does less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.drain import asked
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.pgbench import Load, Run, empty, pgbench
from benchmarks.programs import RelayProcess
from benchmarks.server import CAPTURE, Server, add_endpoint
from benchmarks.sinks import Sink, sink

ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 7, Size.FULL: 7}
SECONDS = {Size.TINY: 1, Size.QUICK: 1, Size.NORMAL: 3, Size.FULL: 5}
BELL_IS_FREE, NOTIFY_COSTS = Bar("ratio", ">=", 0.9), Bar("ratio", ">=", 3)
# Of capture as a whole, by load.
CAPTURE_COSTS = {"many": Bar("ratio", ">=", 0.6), "one": Bar("ratio", ">=", 0.75), "rows": Bar("ratio", ">=", 0.4)}

SINGLE = r"""
\set user random(1, 1000)
\set category random(1, 12)
\set cents random(100, 100000)
INSERT INTO expenses (user_id, category_id, amount, notes) VALUES (:user, :category, :cents / 100.0, 'coffee and a sandwich');
"""
THOUSAND = """
INSERT INTO expenses (user_id, category_id, amount, notes)
SELECT 1 + i, 1 + i % 12, i / 100.0, 'coffee and a sandwich' FROM generate_series(1, 1000) AS i;
"""
MANY, ONE, ROWS = Load("many", SINGLE, clients=16), Load("one", SINGLE, clients=1), Load("rows", THOUSAND, clients=1, rows=1000)

RINGS = r"\s+IF _wrote AND [^\n]*> 0 THEN\s+_now :=.*?END IF;\s+END IF;"
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


RELAYED, RELAYED_NOTIFY = "relayed", "relayed_notify"  # the same as CAPTURED and NOTIFY, with an endpoint

Found = dict[str, list[Run]]


def run(size: Size, say: Say) -> list[Figure]:
    with Server() as server:
        for name, statements in DATABASES.items():
            server.database(name, *statements)
        time.sleep(0.2)  # the armed bell runs out
        idle = _rounds(server, MANY, list(DATABASES), size, say)
        one, rows = (_rounds(server, load, [CAPTURED, PLAIN], size, say) for load in (ONE, ROWS))
        return _without_relay(idle, one, rows) + _with_relay(server, size, say)


def _rounds(server: Server, load: Load, names: Sequence[str], size: Size, say: Say) -> Found:
    found: Found = {name: [] for name in names}
    for number in range(-(size > Size.TINY), ROUNDS[size]):  # round -1 warms up
        for name in _in_turn(names, number):
            empty(server, name)
            run = pgbench(server, name, load, SECONDS[size])
            if number >= 0:
                found[name].append(run)
        if number >= 0:
            _tell(say, load.name, number, size, found)
    return found


def _with_relay(server: Server, size: Size, say: Say) -> list[Figure]:
    found: Found = {RELAYED: [], RELAYED_NOTIFY: []}
    delivered: dict[str, list[int]] = {RELAYED: [], RELAYED_NOTIFY: []}
    with sink() as receiver:
        for name, like in ((RELAYED, CAPTURED), (RELAYED_NOTIFY, NOTIFY)):
            server.database(name, *DATABASES[like])
            with server.connect(name) as connection:
                add_endpoint(connection, receiver.url)
        for number in range(ROUNDS[size]):
            for name in _in_turn(list(found), number):
                run, count = _relayed(server, name, receiver, SECONDS[size])
                found[name].append(run)
                delivered[name].append(count)
            _tell(say, "relay delivering", number, size, found)
    note = ", ".join(f"{name} {sum(counts):,}" for name, counts in delivered.items())
    values, baselines = ([run.tps for run in found[name]] for name in (RELAYED, RELAYED_NOTIFY))
    metric, against = "captured, a relay delivers", "the same with a NOTIFY per commit"
    return [figure("writers", metric, "tps", values, against, baselines, NOTIFY_COSTS, f"requests sent meanwhile: {note}")]


def _relayed(server: Server, name: str, receiver: Sink, seconds: int) -> tuple[Run, int]:
    """One run beside a relay of its own, and how many requests came during it. What is left over then is dropped."""
    empty(server, name)
    with RelayProcess(server.dsn(name)):
        before = receiver.count()
        run = pgbench(server, name, MANY, seconds)
        count = receiver.count() - before
        if not count or not asked(server, name, "SELECT count(*) FROM rowhook.attempt"):
            raise RuntimeError(f"the relay of {name} delivered nothing meanwhile")
    return run, count


def _in_turn(names: Sequence[str], number: int) -> list[str]:
    first = number % len(names)
    return [*names[first:], *names[:first]]


def _tell(say: Say, what: str, number: int, size: Size, found: Found) -> None:
    rates = ", ".join(f"{name} {runs[-1].tps:,.0f}" for name, runs in found.items())
    say(f"{what}, round {number + 1} of {ROUNDS[size]}: {rates}")


def _without_relay(idle: Found, one: Found, rows: Found) -> list[Figure]:
    captured, expired = "captured, no relay", "captured, a dead relay's bell expired"
    no_bell, plain = "the same without a bell", "no capture at all"
    return [
        _tps(captured, idle, CAPTURED, no_bell, NO_BELL, BELL_IS_FREE),
        _tps(captured, idle, CAPTURED, "the same with a NOTIFY per commit", NOTIFY),
        _tps(expired, idle, EXPIRED, no_bell, NO_BELL, BELL_IS_FREE),
        _tps(f"{captured}: 16 clients", idle, CAPTURED, plain, PLAIN, CAPTURE_COSTS[MANY.name]),
        _tps(f"{captured}: 1 client", one, CAPTURED, plain, PLAIN, CAPTURE_COSTS[ONE.name]),
        _tps(f"{captured}: 1 client, 1,000 rows each", rows, CAPTURED, plain, PLAIN, CAPTURE_COSTS[ROWS.name]),
        _cost(captured, idle, CAPTURED, no_bell, NO_BELL),
        _cost(expired, idle, EXPIRED, no_bell, NO_BELL),
        _cost(f"{captured}: 16 clients", idle, CAPTURED, plain, PLAIN),
        _cost(f"{captured}: 1 client", one, CAPTURED, plain, PLAIN),
        _cost(f"{captured}: 1,000 rows each", rows, CAPTURED, plain, PLAIN),
    ]


def _tps(metric: str, found: Found, name: str, against: str, baseline: str, bar: Bar | None = None) -> Figure:
    values, baselines = ([run.tps for run in found[n]] for n in (name, baseline))
    return figure("writers", metric, "tps", values, against, baselines, bar)


def _cost(metric: str, found: Found, name: str, against: str, baseline: str) -> Figure:
    values, baselines = ([run.cpu for run in found[n]] for n in (name, baseline))
    return figure("writers", f"{metric}: server CPU", "µs/row", values, against, baselines)
