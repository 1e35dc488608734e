"""Whether a relay is slower the more it has delivered before: 3,000,000 old deliveries (full size) against empty tables.

Each old delivery has its event and its attempt, as a relay would have left them: spread over the past eight days and so over
the slots of the ring, written in many transactions, behind the cursor, vacuumed and analyzed. That database is made once and
copied for each run. Both begin with the same backlog; rounds alternate.
"""

from __future__ import annotations

from typing import Any

import psycopg

from benchmarks.drain import Backlog, drain, insert_expenses, settle
from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.server import CAPTURE, Server, add_endpoint
from benchmarks.sinks import sink

OLD = {Size.TINY: 2_000, Size.QUICK: 50_000, Size.NORMAL: 1_000_000, Size.FULL: 3_000_000}
JOBS = {Size.TINY: 500, Size.QUICK: 10_000, Size.NORMAL: 10_000, Size.FULL: 20_000}
ROUNDS = {Size.TINY: 1, Size.QUICK: 3, Size.NORMAL: 5, Size.FULL: 5}
BAR = Bar("ratio", ">=", 0.9)

DELIVERED = """
WITH old AS (
    SELECT i, clock_timestamp() - interval '8 days' * (1 - i::float8 / %(all)s::int) AS at,
           i::bigint * 10 / (%(all)s::int + 1) AS slot
      FROM generate_series(%(first)s::int, %(last)s::int) AS i
), event AS (
    INSERT INTO rowhook.event (occurred_at, slot, kept_in, op, type, table_name, row_key, tenant, data)
    SELECT old.at, old.slot, old.slot, 'insert', 'expense.created', 'expenses', i::text,
           (i %% 1000)::text,
           json_build_object('id', i, 'user_id', i %% 1000, 'category_id', i %% 12, 'amount', i / 100.0, 'currency', 'INR',
                             'expense_type', 'EXPENSE', 'notes', 'coffee and a sandwich on the way to the station, paid in cash',
                             'spent_at', old.at::date, 'created_at', old.at::timestamp)
      FROM old ORDER BY i
    RETURNING id, slot, occurred_at
), delivery AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, attempts, created_at, leased_at, ended_at)
    SELECT e.id, e.slot, p.id, 'delivered', 1, e.occurred_at + interval '5 ms', e.occurred_at + interval '5 ms',
           e.occurred_at + interval '20 ms'
      FROM event AS e CROSS JOIN rowhook.endpoint AS p ORDER BY e.id
    RETURNING id, endpoint_id, leased_at, ended_at
)
INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, recorded_at, duration, status_code)
SELECT d.id, d.endpoint_id, 1, 1, d.leased_at + interval '1 ms', d.ended_at, interval '9 ms', 204 FROM delivery AS d ORDER BY d.id
"""
DELIVERIES_OF_A_TRANSACTION = 20_000
# The relay that delivered all that had come so far.
MOVE_CURSOR = (
    "UPDATE rowhook.cursor SET seen = pg_current_snapshot(), highest_id = (SELECT coalesce(max(id), 0) FROM rowhook.event)"
)


def run(size: Size, say: Say) -> list[Figure]:
    rounds = ROUNDS[size]
    with Server() as server, sink() as receiver:
        say(f"making {OLD[size]:,} old deliveries")
        backlogs = {}
        for name, old in (("full", OLD[size]), ("empty", 0)):
            template = with_history(server, f"template_{name}", receiver.url, old)
            backlogs[name] = Backlog(lambda connection: insert_expenses(connection, JOBS[size]), JOBS[size], template)
        found: dict[str, list[float]] = {name: [] for name in backlogs}
        for number in range(rounds):
            for name in sorted(backlogs, reverse=number % 2 == 1):
                found[name].append(drain(server, receiver, f"{name}_{number}", backlogs[name]).rate)
            rates = ", ".join(f"{name} {rates[-1]:,.0f}/s" for name, rates in found.items())
            say(f"round {number + 1} of {rounds}: {rates}")
        metric, note = f"{OLD[size]:,} delivered before", f"{JOBS[size]:,} deliveries a round; receiver: {receiver.name}"
        return [figure("history", metric, "deliveries/s", found["full"], "empty tables", found["empty"], BAR, note)]


def with_history(server: Server, name: str, url: str, old: int) -> str:
    """A captured table, an endpoint, and so many deliveries to it that are done."""
    server.database(name, CAPTURE)
    with server.connect(name) as connection:
        add_endpoint(connection, url)
        _deliver(connection, old)
    settle(server, name)
    return name


def _deliver(connection: psycopg.Connection[Any], old: int) -> None:
    for first in range(1, old + 1, DELIVERIES_OF_A_TRANSACTION):
        last = min(old, first + DELIVERIES_OF_A_TRANSACTION - 1)
        connection.execute(DELIVERED, {"all": old, "first": first, "last": last})
    connection.execute(MOVE_CURSOR)
