"""Faults of Postgres: sessions ended, restarts, a crash, long transactions, changes of the application's tables."""

from __future__ import annotations

import random

import psycopg
from psycopg import sql

from relay.lease import PURPOSES
from tests.torture.schedule import Step
from tests.torture.world import World

PICK = """
SELECT a.pid, coalesce(i.name, a.application_name) FROM pg_stat_activity AS a
  LEFT JOIN rowhook.instance AS i ON a.application_name LIKE '% ' || lpad(to_hex(i.id), 16, '0')
 WHERE a.application_name LIKE {} AND a.pid <> pg_backend_pid() ORDER BY md5(a.pid::text || {}) LIMIT 1
"""


def terminate(world: World, step: Step) -> None:
    purpose = random.Random(step.seed).choice(PURPOSES)
    name = "writer" if step.target == "writer" else f"rowhook {purpose}%"
    with world.stage.connect() as connection:
        found = connection.execute(sql.SQL(PICK).format(name, str(step.seed))).fetchone()
        if found:
            with world.fault("terminate", found[1]):
                connection.execute("SELECT pg_terminate_backend(%s)", [found[0]])


def restart_fast(world: World, step: Step) -> None:
    _stopped(world, step, "fast")


def restart_immediate(world: World, step: Step) -> None:
    _stopped(world, step, "immediate")


def crash(world: World, step: Step) -> None:
    """kill -9 of the postmaster."""
    _stopped(world, step, None)


def _stopped(world: World, step: Step, mode: str | None) -> None:
    cluster = world.stage.cluster
    with world.server, world.fault(step.kind, "*"):
        if mode is None:
            cluster.kill()
        else:
            cluster.stop("fast" if mode == "fast" else "immediate")
        world.wait(step.length)
        world.stage.launch()


def hold_xmin(world: World, step: Step) -> None:
    """A long transaction with a snapshot and an id, that has nothing to do with Rowhook."""
    with world.fault("hold_xmin", "*"), psycopg.connect(world.stage.dsn) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT pg_current_xact_id(), count(*) FROM expenses")
        world.wait(step.length)
        connection.rollback()


def column(world: World, step: Step) -> None:
    """One is added, written to, and dropped again."""
    name = f"extra_{step.seed}"
    with world.fault("column", step.target), world.stage.connect() as connection:
        connection.execute("SET lock_timeout = '3s'")
        connection.execute(f"ALTER TABLE {step.target} ADD COLUMN {name} text".encode())
        try:
            connection.execute(
                f"UPDATE {step.target} SET {name} = 'x', stamp = nextval('stamps')"
                f" WHERE ctid IN (SELECT ctid FROM {step.target} ORDER BY stamp DESC LIMIT 5)".encode()
            )
            world.wait(step.length)
        finally:
            if not connection.closed:
                connection.execute(f"ALTER TABLE {step.target} DROP COLUMN IF EXISTS {name}".encode())


def vacuum_full(world: World, step: Step) -> None:
    with world.fault("vacuum_full", step.target), world.stage.connect() as connection:
        connection.execute("SET lock_timeout = '3s'")
        connection.execute(f"VACUUM FULL {step.target}".encode())
