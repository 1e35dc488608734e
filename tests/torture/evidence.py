"""Gathers what a run left: the WAL, the receivers' journal, Rowhook's tables, the notes of nemesis, sampler and writers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from tests.torture import journal, wal
from tests.torture.hooks import PATIENT
from tests.torture.operating import rowhook
from tests.torture.records import Attempt, Content, Delivery, Endpoint, Evidence, Held, Instance
from tests.torture.sampler import Sampler
from tests.torture.server_log import crashes
from tests.torture.tables import SOURCES, canonical, loads
from tests.torture.world import World
from tests.torture.writers import Writers

EVENTS = """
SELECT rowhook.public_id('evt', occurred_at, id, slot) AS id, type, tenant, data::text, previous::text, moved
  FROM rowhook.event WHERE op <> 'probe' AND type <> 'schema.changed'  -- of the columns that come and go: nobody names it
"""
ENDPOINTS = "SELECT p.*, to_jsonb(p) AS row FROM rowhook.endpoint AS p ORDER BY id"
DELIVERIES = """
SELECT rowhook.public_id('dlv', d.created_at, d.id) AS id, rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS event,
       d.endpoint_id, d.state, d.attempts, d.failures
  FROM rowhook.delivery AS d JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot ORDER BY d.id
"""
ATTEMPTS = """
SELECT rowhook.public_id('dlv', d.created_at, d.id) AS delivery, a.number, a.instance_id,
       extract(epoch FROM a.started_at)::float8 AS started, extract(epoch FROM a.duration)::float8 AS duration,
       a.status_code, a.error_class
  FROM rowhook.attempt AS a JOIN rowhook.delivery AS d ON d.id = a.delivery_id ORDER BY a.delivery_id, a.number
"""
INSTANCES = """
SELECT i.id, i.name, extract(epoch FROM i.started_at)::float8 AS started, extract(epoch FROM i.ended_at)::float8 AS ended,
       (to_jsonb(i) ->> 'missed_rings')::int AS missed_rings
  FROM rowhook.instance AS i
"""
UNDISPATCHED = """
SELECT count(*) FROM rowhook.event AS e, rowhook.cursor AS c
 WHERE e.op <> 'probe' AND (c.target IS NOT NULL OR NOT pg_visible_in_snapshot(e.xid, c.seen))
"""

Connection = psycopg.Connection[Any]


def gather(world: World, writers: Writers, sampler: Sampler) -> Evidence:
    ended = time.time()
    dsn = world.stage.cluster.dsn()
    doctor = rowhook(dsn, "doctor", may_fail=True)["checks"]
    world.stage.keep_log()
    with world.stage.connect() as connection:
        log = wal.read(connection)
        (undispatched,) = connection.execute(UNDISPATCHED).fetchone() or (0,)
        connection.row_factory = namedtuple_row
        rows = {name: connection.execute(query).fetchall() for name, query in _QUERIES.items()}
    ids = {row.public_id: row.id for row in rows["endpoints"]}
    return Evidence(
        committed=log.committed,
        endpoints=[_endpoint(row, log) for row in rows["endpoints"]],
        requests=journal.read(world.hooks.journal, ended),
        secrets=world.hooks.secrets,
        contents={r.id: Content(r.type, r.tenant, _canonical(r.data), _canonical(r.previous), r.moved) for r in rows["events"]},
        deliveries=[dataclasses.replace(Delivery(*row), replayed=world.replayed.get(row.id)) for row in rows["deliveries"]],
        attempts=[Attempt(*row) for row in rows["attempts"]],
        instances=[Instance(*row) for row in rows["instances"]],
        faults=sorted([*world.faults, *crashes(world.stage.log)], key=lambda fault: fault.began),
        lives=world.fleet.deaths,
        held=_copied(sampler.held),
        sampled=list(sampler.asked),
        errors=writers.errors,
        statements=writers.statements,
        undispatched=undispatched,
        differing={source.name: _differing(dsn, source.name) for source in SOURCES},
        examined=len(doctor),
        ailments=[f"{finding['check']}: {finding['why']}" for finding in doctor if finding["verdict"] == "bad"],
        discarded=frozenset(ids[endpoint] for endpoint in world.hooks.discarded),
        ended=ended,
    )


_QUERIES = {"events": EVENTS, "endpoints": ENDPOINTS, "deliveries": DELIVERIES, "attempts": ATTEMPTS, "instances": INSTANCES}


def _differing(dsn: str, table: str) -> list[str]:
    return [str(row) for row in rowhook(dsn, "verify", table, "--limit", "1000", may_fail=True)["differences"]]


def _endpoint(row: Any, log: wal.Wal) -> Endpoint:
    return Endpoint(
        id=row.id,
        hook=row.url.rpartition("/")[2],
        events=tuple(row.events),
        tenant=row.tenant,
        state=row.state,
        tries=1 + len(row.retry_schedule if row.retry_schedule is not None else PATIENT.split(",")),
        added=log.added[row.id],
        removed=log.removed.get(row.id),
        ordered=bool(row.row.get("ordered")),
        filter=row.filter,
    )


def _canonical(text: str | None) -> str | None:
    return None if text is None else canonical(loads(text))


def _copied(held: Sequence[Held]) -> Sequence[Held]:
    """The sampler goes on meanwhile."""
    return list(held)
