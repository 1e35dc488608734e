"""The server: what it is, and what on it stands in the way of the bell."""

from __future__ import annotations

from relay.database import Row
from relay.doctor.finding import Finding, bad, ok, warning

OLDEST, NEWEST = 14, 18
QUEUE_FULL, QUEUE_FILLING = 0.5, 0.1  # of 8 GB; writers' commits fail at 1


def judge(facts: Row) -> list[Finding]:
    return [_version(facts), _primary(facts), _two_phase(facts), _queue(facts)]


def _version(facts: Row) -> Finding:
    major = facts["number"] // 10_000
    if major < OLDEST:
        return bad("server version", f"this is Postgres {facts['version']}", f"upgrade it: Rowhook needs {OLDEST} or later")
    if major > NEWEST:
        why = f"this is Postgres {facts['version']}, newer than those that this version was tested with"
        return warning("server version", why, "look for a newer Rowhook: pip install --upgrade rowhook")
    return ok("server version", f"Postgres {facts['version']}")


def _primary(facts: Row) -> Finding:
    if facts["standby"]:
        why = "this server is a standby in recovery: it can't be written to"
        return bad("primary", why, "let DATABASE_URL name the primary: host=a,b&target_session_attrs=read-write finds it")
    return ok("primary", "this server is a primary")


def _two_phase(facts: Row) -> Finding:
    if facts["max_prepared"]:
        why = f"max_prepared_transactions is {facts['max_prepared']}: writers don't ring, relays poll, 2 to 500 ms apart"
        remedy = "where nobody uses PREPARE TRANSACTION: ALTER SYSTEM SET max_prepared_transactions = 0, and restart Postgres"
        return warning("two-phase commit", why, remedy)
    return ok("two-phase commit", "max_prepared_transactions is 0: writers may ring")


def _queue(facts: Row) -> Finding:
    usage = float(facts["queue_usage"])
    why = f"the queue of notifications is {usage:.1%} full"
    remedy = (
        "end the session that LISTENs and stays in a transaction: "
        "SELECT pid, application_name, xact_start, query FROM pg_stat_activity ORDER BY xact_start LIMIT 5"
    )
    if usage >= QUEUE_FULL:
        return bad("notification queue", f"{why}; when it is full, commits that notify fail", remedy)
    if usage >= QUEUE_FILLING:
        return warning("notification queue", why, remedy)
    return ok("notification queue", why)
