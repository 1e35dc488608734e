"""/health/live: this process runs its loop, and so do those it answers for. /health/ready: what is wrong, if anything is.

Neither asks who asks; what they tell are names of relays and counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from aiohttp import web
from psycopg.rows import tuple_row

from relay import __version__
from relay.api.call import Connection
from relay.api.perform import problems
from relay.api.pool import Pool
from relay.api.problem import Problem
from relay.database import Row, query
from relay.doctor import relays
from relay.doctor.finding import Finding, Verdict, bad, ok
from relay.migrations import applied_ids, problem
from relay.model import ROLE_KEY

log = logging.getLogger(__name__)

KEPT_FOR = 1.0  # seconds; whoever asks more often gets the same answer
ANSWER_WITHIN = 5.0
UNKNOWN = "can't be told without the database"

Liveness = Callable[[], Sequence[str]]


def all_up() -> Sequence[str]:
    """Of a process that answers for itself alone."""
    return ()


class Readiness:
    """checks() are those of a database on which relays deliver; ``delivers``: this process is one of them."""

    def __init__(self, pool: Pool, *, delivers: bool = False) -> None:
        self._pool = pool
        self._delivers = delivers
        self._found: list[Finding] = []
        self._at = -KEPT_FOR
        self._lock = asyncio.Lock()

    async def checks(self) -> list[Finding]:
        async with self._lock:
            if time.monotonic() - self._at >= KEPT_FOR:
                self._found = await self._examine()
                self._at = time.monotonic()
            return self._found

    async def _examine(self) -> list[Finding]:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._pool.run(examine, self._delivers)
        except (Problem, TimeoutError) as error:
            why = str(error.__cause__ or error) or f"no answer within {ANSWER_WITHIN:g} s"
            others = [bad(check, UNKNOWN, "") for check in ("migrations", "bell", "dispatcher")]
            return [bad("database", why, "start Postgres, or mend DATABASE_URL"), *others]


def examine(connection: Connection, delivers: bool) -> list[Finding]:
    """A few small queries; none reads history."""
    with problems():
        (server,) = connection.execute(query("doctor.server")).fetchall()
        found = [ok("database", f"PostgreSQL {server['version']}, database {server['database']}")]
        with connection.cursor(row_factory=tuple_row) as cursor:
            wrong = problem(applied_ids(cursor), server["database"])  # type: ignore[arg-type]
        if wrong:
            others = [bad(check, "can't be told without the schema", "") for check in ("bell", "dispatcher")]
            return [*found, bad("migrations", wrong.message, wrong.remedy), *others]
        running = connection.execute(query("doctor.relays"), {"role": ROLE_KEY}).fetchall()
        (lag,) = connection.execute(query("doctor.lag"), {"most": relays.MOST}).fetchall()
        (bell,) = connection.execute(query("doctor.armed")).fetchall()
        return [
            *found,
            ok("migrations", "all that this version knows"),
            judge_bell(server, running, bell["armed"], lag),
            judge_dispatcher(running, lag, delivers),
        ]


def judge_bell(server: Row, running: Sequence[Row], armed: bool, lag: Row) -> Finding:
    """Silent is a bell that nobody has armed while events wait for longer than a dispatcher that is awake would let them."""
    if server["max_prepared"]:
        return ok("bell", "relays poll, because max_prepared_transactions is above 0")
    if armed:
        return ok("bell", "armed: writers ring")
    if (lag["age"] or 0.0) >= relays.LATE:
        return bad("bell", "not armed, and nobody dispatches what waits", "restart the relays; their logs say what keeps them")
    if any(row["dispatches"] for row in relays.live(running)):
        return ok("bell", "not armed: the dispatcher is awake")
    return ok("bell", "not armed: no relay dispatches")


def judge_dispatcher(running: Sequence[Row], lag: Row, delivers: bool) -> Finding:
    """As the doctor has it; and of a process that delivers, that there is one."""
    found = relays.judge_dispatcher(running, lag)
    if delivers and not any(row["dispatches"] for row in relays.live(running)):
        return bad(found.check, found.why, found.remedy)
    return found


def add(app: web.Application, liveness: Liveness, readiness: Readiness) -> None:
    async def live(_request: web.Request) -> web.Response:
        if down := liveness():
            return web.json_response({"status": "down", "down": list(down), "version": __version__}, status=503)
        return web.json_response({"status": "live", "version": __version__})

    async def ready(_request: web.Request) -> web.Response:
        found = await readiness.checks()
        wrong = [finding for finding in found if finding.verdict is Verdict.BAD]
        told: dict[str, Any] = {
            "status": "not ready" if wrong else "ready",
            "checks": {finding.check: _told(finding) for finding in found},
            "version": __version__,
        }
        return web.json_response(told, status=503 if wrong else 200)

    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)


def _told(finding: Finding) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(finding).items() if name != "check" and value}
