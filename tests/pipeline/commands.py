"""What operators and writers do beside a running relay: commands in a process of their own, events by hand, SQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import Connection
from tests.pipeline.conftest import Hook, one, run_text
from tests.pipeline.relays import environment

ROOT = Path(__file__).parents[2]


def rowhook(dsn: str, *arguments: str) -> Any:
    """Run the command with ``--json``; what it printed."""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment(dsn)}
    command = [sys.executable, "-m", "relay", *arguments, "--json"]
    done = subprocess.run(command, cwd="/", env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def emit(connection: Connection, data: str = '{"n": 1}', type: str = "order.placed", tenant: str | None = None) -> str:
    """Write an event by hand; its public id."""
    event: str = one(connection, "SELECT rowhook.emit(%s, %s::json, tenant => %s)", type, data, tenant)
    return event


def the_delivery(connection: Connection, hook: Hook) -> dict[str, Any]:
    """The endpoint's one delivery; ``wait`` is the time from its last change of schedule to when it is due, in seconds."""
    (row,) = run_text(
        connection,
        "SELECT d.id, d.state, d.attempts, d.failures, d.free_tries, d.due_at,"
        "       extract(epoch FROM d.due_at - a.started_at - a.duration)::float8 AS wait,"
        "       extract(epoch FROM d.due_at)::float8 AS due_epoch"
        "  FROM rowhook.delivery AS d LEFT JOIN rowhook.attempt AS a ON a.delivery_id = d.id AND a.number = d.attempts"
        " WHERE d.endpoint_id = %(hook)s",
        {"hook": hook.id},
    )
    return row


def the_endpoint(connection: Connection, hook: Hook) -> dict[str, Any]:
    (row,) = run_text(connection, "SELECT * FROM rowhook.endpoint WHERE id = %(hook)s", {"hook": hook.id})
    return row


def make_due(connection: Connection, hook: Hook) -> None:
    """Don't wait for the schedule: what is pending is due now."""
    connection.execute(
        "UPDATE rowhook.delivery SET due_at = clock_timestamp() WHERE endpoint_id = %s AND state = 'pending'", [hook.id]
    )
    connection.execute("SELECT pg_notify('rowhook_work', '')")
