"""Rules from outside the database: named events of rows for which a predicate holds.

What a rule does is rowhook.rule()'s to know (sql/0020-rules.sql); the lock on its table is asked for as captures ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from psycopg.rows import DictRow

from relay.audit import Actor
from relay.captures import Connection, Say, Table, patiently, pinned
from relay.database import query


@dataclass(frozen=True, slots=True)
class Rule:
    """As given; without a description or tenant they stay what they were."""

    type: str
    op: str
    predicate: str
    description: str | None = None
    tenant: str | None = None


def everything(connection: Connection, table: Table | None = None) -> Sequence[DictRow]:
    """All rules, or those of one table."""
    with pinned(connection):
        return connection.execute(query("rule.list"), {"table": table.oid if table else None}).fetchall()


def plan(connection: Connection, table: Table, rule: Rule) -> DictRow:
    """What installing would come to (``result``), its SQL and its cost; changes nothing."""
    with pinned(connection, force_rollback=True):
        (row,) = connection.execute(query("rule.plan"), {**asdict(rule), "table": table.oid}).fetchall()
    return row


def install(connection: Connection, actor: Actor, table: Table, rule: Rule, say: Say) -> str:
    """Define the rule, or change it: installed, changed or unchanged."""
    return patiently(connection, actor, table, "rule.install", {**asdict(rule), "table": table.oid}, say)


def remove(connection: Connection, actor: Actor, table: Table, type: str, say: Say) -> str:
    """Take the rule off its table."""
    return patiently(connection, actor, table, "rule.remove", {"type": type, "table": table.oid}, say)
