"""What a relay costs while nothing happens: one captured table, one endpoint, nothing written.

Measured over the same minute: one relay; one with a standby beside it; and, as the baseline, one on a server with
max_prepared_transactions > 0, where there is no bell and the relay looks every half second. Statements are counted as
Postgres logs them (log_statement = all: every statement, BEGIN, COMMIT and SET too) under the relay's application names; CPU
is utime + stime of the relay's process; WAL is how far the server's insert position moved.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from benchmarks.figures import Bar, Figure, Say, Size, figure
from benchmarks.programs import RelayProcess
from benchmarks.server import CAPTURE, Server, add_endpoint

SECONDS = {Size.TINY: 2.0, Size.QUICK: 20.0, Size.NORMAL: 60.0, Size.FULL: 120.0}
SETTLE = {Size.TINY: 0.5, Size.QUICK: 8.0, Size.NORMAL: 8.0, Size.FULL: 20.0}

# Autovacuum would write what the new database is still owed.
QUIET = {
    "autovacuum": "off",
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_directory": "log",
    "log_statement": "all",
}
LOGGED = re.compile(r"(?s)(?:statement|execute [^:]*): (.*)")
NOWHERE = "http://127.0.0.1:9/"
AGAINST = "a relay without a bell, which polls"


@dataclass
class Scene:
    """A server and its relays; what they did is read from the server's log and from /proc."""

    server: Server
    relays: list[RelayProcess]
    _read: int = 0
    _lsn: str = "0/0"
    _cpu: list[float] = field(default_factory=list)
    statements: Counter[tuple[str, str]] = field(default_factory=Counter)
    wal: float = 0.0
    cpu: list[float] = field(default_factory=list)

    def begin(self) -> None:
        self._read = len(self._log())
        self._lsn = str(self._ask("SELECT pg_current_wal_insert_lsn()"))
        self._cpu = [relay.cpu_seconds() for relay in self.relays]

    def end(self) -> None:
        self.cpu = [relay.cpu_seconds() - before for relay, before in zip(self.relays, self._cpu, strict=True)]
        self.wal = float(str(self._ask(f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{self._lsn}')")))
        for line in self._log()[self._read :]:
            entry = json.loads(line)
            name = str(entry.get("application_name", ""))
            statement = LOGGED.match(str(entry.get("message", "")))
            if name.startswith("rowhook") and statement:
                self.statements[name, " ".join(statement[1].split())[:50]] += 1

    def statements_by_relay(self) -> list[Counter[str]]:
        """Per relay (the tag in its sessions' names): statements, by session and how they begin. The dispatcher first."""
        by_tag: dict[str, Counter[str]] = {}
        for (name, statement), count in self.statements.items():
            purpose, tag = name.split(" ")[1:] if name.count(" ") == 2 else (name, "")
            by_tag.setdefault(tag, Counter())[f"{purpose}: {statement}"] += count
        return sorted(by_tag.values(), key=_arms, reverse=True)

    def _log(self) -> list[str]:
        return [line for file in sorted((self.server.data / "log").glob("*.json")) for line in file.read_text().splitlines()]

    def _ask(self, question: str) -> object:
        with self.server.connect() as connection:
            row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def run(size: Size, say: Say) -> list[Figure]:
    seconds = SECONDS[size]
    with contextlib.ExitStack() as stack:
        alone, pair, polling = (_scene(stack, relays, prepared) for relays, prepared in ((1, 0), (2, 0), (1, 5)))
        time.sleep(SETTLE[size])
        say(f"{seconds:.0f} s of nothing, on three servers at once (log_statement = all)")
        began = time.monotonic()
        for scene in (alone, pair, polling):
            scene.begin()
        time.sleep(seconds)
        for scene in (alone, pair, polling):
            scene.end()
        return list(_figures(alone, pair, polling, time.monotonic() - began))


def _scene(stack: contextlib.ExitStack, relays: int, prepared: int) -> Scene:
    server = stack.enter_context(Server({**QUIET, "max_prepared_transactions": prepared}))
    database = server.database("idle", CAPTURE)
    with server.connect(database) as connection:
        add_endpoint(connection, NOWHERE)
    return Scene(server, [stack.enter_context(RelayProcess(server.dsn(database))) for _ in range(relays)])


def _arms(statements: Counter[str]) -> int:
    """How often a relay did what only the dispatcher does."""
    return sum(count for text, count in statements.items() if "ho has written events" in text)


def _figures(alone: Scene, pair: Scene, polling: Scene, wall: float) -> list[Figure]:
    base = polling.statements_by_relay()[0]

    def queries(metric: str, counts: Counter[str], bar: Bar | None) -> Figure:
        sessions: Counter[str] = Counter()
        for statement, count in counts.items():
            sessions[statement.partition(":")[0]] += count
        note = ", ".join(f"{session} {count / wall:.2f}/s" for session, count in sessions.most_common())
        found = figure("idle", metric, "queries/s", [counts.total() / wall], AGAINST, [base.total() / wall], bar, note)
        if found.verdict != "missed":
            return found
        return replace(found, note="; ".join([note, *(f"{count} × {text}" for text, count in counts.most_common(8))]))  # noqa: RUF001

    def cpu(metric: str, seconds: float, bar: Bar | None) -> Figure:
        return figure("idle", metric, "% of a core", [100 * seconds / wall], AGAINST, [100 * polling.cpu[0] / wall], bar)

    leader, *standbys = pair.statements_by_relay()
    few, little = Bar("value", "<", 1.0), Bar("value", "<", 1.0)
    return [
        queries("one relay: statements", alone.statements_by_relay()[0], few),
        cpu("one relay: CPU", alone.cpu[0], little),
        figure("idle", "one relay: WAL", "bytes/s", [alone.wal / wall], AGAINST, [polling.wal / wall]),
        queries("with a standby: statements of the first", leader, few),
        *(queries("with a standby: statements of the standby", counts, few) for counts in standbys),
        cpu("with a standby: CPU of the first", pair.cpu[0], little),
        cpu("with a standby: CPU of the standby", pair.cpu[1], little),
        figure("idle", "with a standby: WAL", "bytes/s", [pair.wal / wall], AGAINST, [polling.wal / wall]),
    ]
