"""A past, as relays would have left it: events of two tenants, their deliveries in every state, and attempts."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

TENANTS = ("7", "8")
# An event a second; of ten deliveries one is dead after three tries, one waits and one was cancelled after one.
PAST = """
WITH old AS (
    SELECT i, clock_timestamp() - interval '1 second' * (%(events)s::int - i) - interval '5 minutes' AS at
      FROM generate_series(1, %(events)s::int) AS i
), event AS (
    INSERT INTO rowhook.event (occurred_at, op, type, table_name, row_key, tenant, data)
    SELECT old.at, 'insert', (ARRAY['expense.created', 'expense.updated', 'bill.paid'])[1 + i %% 3],
           (ARRAY['expenses', 'bills'])[1 + i %% 2], (i %% 50)::text, (7 + i %% 2)::text, json_build_object('id', i)
      FROM old ORDER BY i
    RETURNING id, slot, occurred_at, tenant
), delivery AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, attempts, created_at, leased_at, due_at, ended_at)
    SELECT e.id, e.slot, p.id, s.state, s.attempts, e.occurred_at, e.occurred_at,
           CASE s.state WHEN 'pending' THEN now() + interval '1 hour' END,
           CASE WHEN s.state <> 'pending' THEN e.occurred_at + interval '20 ms' END
      FROM event AS e JOIN rowhook.endpoint AS p ON p.tenant IS NULL OR p.tenant = e.tenant
     CROSS JOIN LATERAL (SELECT coalesce((ARRAY['dead', 'pending', 'cancelled'])[1 + e.id / 2 %% 10], 'delivered') AS state,
                                CASE e.id / 2 %% 10 WHEN 0 THEN 3 ELSE 1 END AS attempts) AS s
     ORDER BY e.id, p.id
    RETURNING id, endpoint_id, leased_at, state, attempts
)
INSERT INTO rowhook.attempt
       (delivery_id, endpoint_id, number, instance_id, started_at, recorded_at, duration, status_code, error_class, error)
SELECT d.id, d.endpoint_id, n, 1, d.leased_at, d.leased_at + n * interval '10 ms', d.id %% 100 * interval '1 ms',
       CASE WHEN d.state = 'delivered' THEN 204 ELSE 503 END, CASE WHEN d.state <> 'delivered' THEN 'http_5xx' END,
       CASE WHEN d.state <> 'delivered' THEN 'Service Unavailable' END
  FROM delivery AS d CROSS JOIN LATERAL generate_series(1, d.attempts) AS n ORDER BY d.id, n
"""


AS_API = "-c search_path=pg_catalog,pg_temp -c timezone=UTC -c intervalstyle=postgres"


def open_as_api(dsn: str) -> psycopg.Connection[DictRow]:
    """A connection as the API has them."""
    return psycopg.connect(dsn, autocommit=True, row_factory=dict_row, options=AS_API)


def add_endpoints(connection: psycopg.Connection[Any]) -> dict[str | None, int]:
    """One of the operator's and one of each tenant's; their internal ids by tenant."""
    added: dict[str | None, int] = {}
    for tenant in (None, *TENANTS):
        row = connection.execute(
            "INSERT INTO rowhook.endpoint (url, tenant, created_at)"
            " VALUES ('https://example.com/', %s, now() - interval '10 days') RETURNING id",
            [tenant],
        ).fetchone()
        assert row is not None
        added[tenant] = row["id"] if isinstance(row, dict) else row[0]
    return added


def make_past(connection: psycopg.Connection[Any], events: int) -> None:
    """The past of all endpoints, dispatched."""
    connection.execute(PAST, {"events": events})
    connection.execute("UPDATE rowhook.cursor SET seen = pg_current_snapshot()")
    for table in ("event", "delivery", "attempt", "endpoint"):
        connection.execute(sql.SQL("ANALYZE rowhook.{}").format(sql.Identifier(table)))


def public(connection: psycopg.Connection[Any], id: int) -> str:
    """An endpoint's public id."""
    row = connection.execute("SELECT public_id FROM rowhook.endpoint WHERE id = %s", [id]).fetchone()
    assert row is not None
    return str(row["public_id"] if isinstance(row, dict) else row[0])
