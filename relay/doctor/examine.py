"""The examination, from the connection to the dead letters: reads facts, asks the others for verdicts.

What comes first is needed by what follows: without a connection, a primary or the schema it ends there. What the role may not see
is said, not guessed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg.rows import DictRow, tuple_row

from relay.config import Settings
from relay.database import Row, connect_once, query, where
from relay.doctor import bell, captures, endpoints, pooler, relays, retention, server, transactions
from relay.doctor.finding import Finding, Verdict, bad, ok, warning
from relay.errors import UserMistake
from relay.keyring import Keyring
from relay.migrations import applied_ids, problem
from relay.model import ROLE_KEY

Connection = psycopg.Connection[DictRow]
Ask = Callable[..., list[Row]]


def examine(settings: Settings) -> list[Finding]:
    """All checks that could be made, in order."""
    found: list[Finding] = []
    with contextlib.ExitStack() as opened:
        try:
            working, admin = _connect(opened, settings, found)
        except UserMistake as mistake:
            return [*found, bad("connection", mistake.message, mistake.remedy)]
        (facts,) = _asking(working)("doctor.server")
        found += server.judge(facts)
        ways = _judged_ways(settings, found)
        if facts["standby"] or not _has_schema(admin, found):
            return found
        if not facts["max_prepared"] and ways[0] is not pooler.Way.TRANSACTIONS:
            found += _bell(settings)
        found += _checked(_captures(_asking(admin), facts["role"]))
        found += _checked(_work(_asking(admin), settings))
    return found


def worst(findings: Iterable[Finding]) -> Verdict:
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.OK)


def _connect(opened: contextlib.ExitStack, settings: Settings, found: list[Finding]) -> tuple[Connection, Connection]:
    """As the relay, and as who installs; every URL that is set must lead somewhere. Raises UserMistake."""
    connections = []
    for setting, dsn in _urls(settings).items():
        connections.append(opened.enter_context(_open(dsn, setting)))
        found.append(ok("connection", f"{setting}: {where(dsn)}"))
    return connections[0], connections[-1] if settings.admin_url else connections[0]


def _urls(settings: Settings) -> dict[str, str]:
    urls = {
        "DATABASE_URL": settings.database_url,
        "ROWHOOK_LISTEN_URL": settings.listen_url,
        "ROWHOOK_ADMIN_URL": settings.admin_url,
    }
    return {setting: dsn for setting, dsn in urls.items() if dsn}


def _open(dsn: str, setting: str) -> Connection:
    return connect_once(dsn, setting, prepare_threshold=None, application_name="rowhook doctor")


def _asking(connection: Connection) -> Ask:
    """Each query in a transaction that carries its own settings: through a pooler they would become other people's."""

    def ask(name: str, **params: Any) -> list[Row]:
        with connection.transaction():
            connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
            connection.execute("SET LOCAL statement_timeout = '30s'")
            connection.execute("SET LOCAL timezone = 'UTC'")
            return connection.execute(query(name), params or None).fetchall()

    return ask


def _judged_ways(settings: Settings, found: list[Finding]) -> tuple[pooler.Way, pooler.Way]:
    working = asyncio.run(pooler.way(settings.database_url))
    listening = asyncio.run(pooler.way(settings.listen_url)) if settings.listen_url else working
    found.append(pooler.judge(listening, working))
    return listening, working


def _has_schema(connection: Connection, found: list[Finding]) -> bool:
    with connection.cursor(row_factory=tuple_row) as cursor:
        wrong = problem(applied_ids(cursor), connection.info.dbname)  # type: ignore[arg-type]
    found.append(bad("migrations", wrong.message, wrong.remedy) if wrong else ok("migrations", "all that this version knows"))
    return wrong is None


def _bell(settings: Settings) -> list[Finding]:
    with _open(settings.url_for_listening, "LISTEN") as listening, _open(settings.url_for_listening, "LISTEN") as ringing:
        ringing.execute("SET search_path = pg_catalog, pg_temp")
        return [bell.judge(bell.ring(listening, ringing))]


def _checked(findings: Iterator[tuple[str, Callable[[], Finding | Sequence[Finding]]]]) -> list[Finding]:
    """What may not be seen is no finding about it, but one about the rights of who asks."""
    found: list[Finding] = []
    for check, make in findings:
        try:
            made = make()
        except psycopg.errors.InsufficientPrivilege as error:
            why = f"can't be told: the role lacks a right ({error.diag.message_primary})"
            made = warning(check, why, "let ROWHOOK_ADMIN_URL name the role that migrates")
        found += [made] if isinstance(made, Finding) else made
    return found


def _captures(ask: Ask, relay_role: str) -> Iterator[tuple[str, Callable[[], Finding | Sequence[Finding]]]]:
    yield "rights of relays", lambda: relays.judge_rights(relay_role, ask("doctor.relay_lacks", role=relay_role)[0]["lacks"])
    yield (
        "owner of trigger functions",
        lambda: captures.judge_owners(ask("owners.of_functions"), ask("doctor.capture_owner")[0]["wanted"]),
    )
    yield "changes of the schema", lambda: captures.judge_watch(ask("schema.watch")[0])
    yield "captures", lambda: _judged_captures(ask)
    yield "ids of events", lambda: captures.judge_log(ask("doctor.log")[0])


def _judged_captures(ask: Ask) -> list[Finding]:
    rows = ask("doctor.captures")
    found = captures.judge(rows, ask("doctor.outdated", tables=captures.can_be_planned(rows)))
    return found + captures.judge_rules(ask("doctor.rules", tables=[row["table"] for row in rows if not row["table_gone"]]))


def _work(ask: Ask, settings: Settings) -> Iterator[tuple[str, Callable[[], Finding | Sequence[Finding]]]]:
    yield "open writers", lambda: transactions.judge_writers(ask("doctor.writers"))
    yield "oldest snapshot", lambda: transactions.judge_snapshots(ask("doctor.xmin_holders"))
    yield "dead rows", lambda: transactions.judge_bloat(ask("doctor.bloat"))
    yield "retention", lambda: retention.judge(settings.keep, ask("doctor.retention")[0])
    yield "relays", lambda: _judged_relays(ask)
    yield "endpoints", lambda: endpoints.judge(ask("doctor.endpoints", most=relays.MOST))
    yield "secrets", lambda: _judged_secrets(ask, settings)


def _judged_relays(ask: Ask) -> list[Finding]:
    running = ask("doctor.relays", role=ROLE_KEY)
    (lag,), (due,) = ask("doctor.lag", most=relays.MOST), ask("doctor.waiting", most=relays.MOST)
    (leases,) = ask("doctor.leases_of_dead", live=[row["id"] for row in relays.live(running)])
    return [
        relays.judge_running(running, lag["events"] + due["deliveries"] + leases["deliveries"]),
        relays.judge_dispatcher(running, lag),
        relays.judge_due(running, due),
        relays.judge_leases(running, leases),
        relays.judge_missed_rings(running),
    ]


def _judged_secrets(ask: Ask, settings: Settings) -> Finding:
    if not settings.secret_key:
        return endpoints.judge_no_key()
    ids = [row["id"] for row in ask("doctor.endpoints", most=0)]
    rows = ask("endpoint.load", endpoints=ids)
    return endpoints.judge_secrets(endpoints.unreadable(Keyring.parse(settings.secret_key), rows), len(rows))
