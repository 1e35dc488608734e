"""What eight concurrent writers committed is what arrives: nothing more, nothing less, nothing twice.

The measure is Postgres' own: logical decoding of `expenses` (test_decoding), which says what committed and in which order,
cascades included, and knows nothing of triggers. The writers do what FinMind does, in random transactions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import re
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from standardwebhooks import Webhook

from relay.migrations import migrate
from tests.cluster import Cluster
from tests.conftest import FINMIND_SQL, Connection
from tests.pipeline.conftest import AddHook, Hook, one
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Received, Receiver

FEWEST_CHANGES = 3245
WRITERS = 8
TRANSACTIONS = 80  # of each writer: with 60, one random run in 200 made fewer changes than it takes
HOLDS = {0: 2.0, 1: 3.0, 2: 2.5}  # these writers hold one transaction open for so many seconds
APP = "finmind_app"

NOTES = (
    None,
    "",
    "lunch",
    "it's 'quoted' and \"quoted\"",
    "new-tuple: id[integer]:1 notes[text]:'x' old-key:",
    "two\nlines\tand a back\\slash",
    "ünï ☕ 𝄞 \u2028",
    "<b>&amp;</b> null {}[]",
)


# --- what committed ----------------------------------------------------------------------------------------


class Change(NamedTuple):
    """One change of one row; row and previous values as JSON text, in which 99.50 and 99.5 differ."""

    op: str
    id: int
    row: str
    previous: str | None = None


@dataclass(frozen=True)
class Committed:
    """One change as decoded, in the order of commits, with its transaction."""

    xid: int
    change: Change


_COLUMN = re.compile(r"(\w+)\[([^\]]+)\]:('(?:[^']|'')*'|\S+) ?")
_OPERATION = re.compile(r"table public\.expenses: (INSERT|UPDATE|DELETE): ")
_READ: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "numeric": Decimal,
    "timestamp without time zone": lambda text: text.replace(" ", "T"),
}


def decoded(connection: Connection) -> list[Committed]:
    """All real changes of `expenses` since the slot was made; an UPDATE that left the row as it was is none."""
    rows = connection.execute(
        "SELECT xid::text::bigint, data FROM pg_logical_slot_get_changes('ledger', NULL, NULL)"
        " WHERE data LIKE 'table public.expenses:%'"
    ).fetchall()
    columns = [
        name
        for (name,) in connection.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'expenses'::regclass AND attnum > 0 AND NOT attisdropped"
        )
    ]
    changes = [(xid, parsed(line, columns)) for xid, line in rows]
    return [Committed(xid, change) for xid, change in changes if change is not None]


def parsed(line: str, columns: Sequence[str]) -> Change | None:
    """One line of test_decoding, where an old row leaves out what is null; None for an update without a change."""
    match = _OPERATION.match(line)
    assert match, line
    position = match.end()
    if match[1] == "UPDATE":
        assert line.startswith("old-key: ", position), "REPLICA IDENTITY is FULL"
        old, position = values(line, position + len("old-key: "), columns)
        assert line.startswith("new-tuple: ", position), line
        new, position = values(line, position + len("new-tuple: "), columns)
        changed = {name: value for name, value in old.items() if value != new[name]}
        change = Change("updated", new["id"], shown(new), shown(changed)) if changed else None
    else:
        row, position = values(line, position, columns)
        change = Change({"INSERT": "created", "DELETE": "deleted"}[match[1]], row["id"], shown(row))
    assert position == len(line), line[position:]
    return change


def values(line: str, position: int, columns: Sequence[str]) -> tuple[dict[str, Any], int]:
    """The row that begins there, and where it ends."""
    row: dict[str, Any] = dict.fromkeys(columns)
    while match := _COLUMN.match(line, position):
        name, kind, text = match.groups()
        assert name in row, name
        if text != "null":
            row[name] = _READ.get(kind, str)(text[1:-1].replace("''", "'") if text.startswith("'") else text)
        position = match.end()
    return row, position


def shown(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=repr)


# --- what arrived ------------------------------------------------------------------------------------------


def verified(request: Received, hook: Hook) -> dict[str, Any]:
    """The envelope of a request, once both its signatures were found right."""
    headers = dict(request.headers)
    Webhook(hook.secret).verify(request.body, headers)
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), request.body))
    key = base64.b64decode(hook.secret.removeprefix("whsec_"))
    standard = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{standard}"
    hub = hmac.new(hook.secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature-256"] == f"sha256={hub}"
    envelope: dict[str, Any] = json.loads(request.body, parse_float=Decimal)
    assert envelope["id"] == headers["webhook-id"]
    assert envelope["type"] == headers["X-Rowhook-Event"]
    assert envelope["tenant"] == str(envelope["data"]["user_id"])
    return envelope


def change_of(envelope: dict[str, Any]) -> Change:
    table, _, op = envelope["type"].partition(".")
    assert table == "expense"
    previous = envelope.get("previous")
    return Change(op, envelope["data"]["id"], shown(envelope["data"]), None if previous is None else shown(previous))


# --- the writers -------------------------------------------------------------------------------------------


@dataclass
class Known:
    """Ids that writers saw committed: each picks from all, so they get into each other's way."""

    users: list[int] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    expenses: list[int] = field(default_factory=list)


class Writer:
    """One worker of FinMind's, with a connection of its own."""

    def __init__(self, dsn: str, chance: random.Random, known: Known) -> None:
        self.committed = self.rolled_back = self.refused = 0
        self._dsn = dsn
        self._chance = chance
        self._known = known
        self._new = Known()
        self._requests = {
            self.post: 40,
            self.patch: 20,
            self.patch_with_the_same: 20,
            self.delete: 10,
            self.import_many: 6,
            self.delete_category: 3,
            self.delete_categories_of_a_user: 1,
            self.delete_user: 2,
            self.sign_up: 4,
        }

    def run(self, transactions: int, hold: float) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as self._connection:
            held = transactions // 3
            for number in range(transactions):
                self.transact(hold if number == held else 0.0)
                time.sleep(self._chance.expovariate(1 / 0.005))

    def transact(self, hold: float) -> None:
        """Some requests in one transaction, perhaps with savepoints; in the end it commits, or does not."""
        self._new = Known()
        rolls_back = not hold and self._chance.random() < 0.15
        try:
            with self._connection.transaction(force_rollback=rolls_back):
                if hold:
                    self.post()
                    time.sleep(hold)
                for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
                    self.request()
        except (psycopg.errors.DeadlockDetected, psycopg.errors.ForeignKeyViolation):
            self.refused += 1
            return
        if rolls_back:
            self.rolled_back += 1
            return
        self.committed += 1
        self._known.users += self._new.users
        self._known.categories += self._new.categories
        self._known.expenses += self._new.expenses

    def request(self) -> None:
        """One request, within a savepoint now and then; half of those are taken back."""
        request = self._chance.choices(list(self._requests), list(self._requests.values()))[0]
        if self._chance.random() < 0.7:
            request()
            return
        outside, self._new = self._new, Known()
        taken_back = self._chance.random() < 0.5
        with self._connection.transaction(force_rollback=taken_back):
            request()
        if not taken_back:
            outside.users += self._new.users
            outside.categories += self._new.categories
            outside.expenses += self._new.expenses
        self._new = outside

    def post(self) -> None:
        self._insert(1)

    def import_many(self) -> None:
        """As an ORM does it: in batches."""
        for _ in range(self._chance.randint(1, 4)):
            self._insert(self._chance.randint(20, 80))

    def patch(self) -> None:
        self._execute(
            "UPDATE expenses SET amount = %s, notes = %s WHERE id = %s", self._amount(), self._notes(), self._one("expenses")
        )

    def patch_with_the_same(self) -> None:
        self._execute(
            "UPDATE expenses SET amount = amount, notes = notes, category_id = category_id WHERE id = %s", self._one("expenses")
        )

    def delete(self) -> None:
        self._execute("DELETE FROM expenses WHERE id = %s", self._one("expenses"))

    def delete_category(self) -> None:
        self._execute("DELETE FROM categories WHERE id = %s", self._one("categories"))

    def delete_categories_of_a_user(self) -> None:
        self._execute("DELETE FROM categories WHERE user_id = %s", self._one("users"))

    def delete_user(self) -> None:
        self._execute("DELETE FROM users WHERE id = %s", self._one("users"))

    def sign_up(self) -> None:
        statement = "INSERT INTO users (email, password_hash) VALUES (%s, 'x') RETURNING id"
        user = self._execute(statement, f"{secrets.token_hex(8)}@example.com")[0]
        self._new.users.append(user)
        statement = "INSERT INTO categories (user_id, name) SELECT %s, unnest(%s::text[]) RETURNING id"
        self._new.categories += self._execute(statement, user, ["food", "rent", "fun"])

    def _insert(self, n: int) -> None:
        user = self._user()
        wanted = self._one("categories") if self._chance.random() < 0.6 else None
        # One that is gone by now would have the whole transaction refused.
        found = self._execute("SELECT id FROM categories WHERE id = %s", wanted)
        category = found[0] if found else None
        fields = [field for _ in range(n) for field in (user, category, self._amount(), self._notes())]
        rows = sql.SQL(", ").join([sql.SQL("(%s, %s, %s, %s)")] * n)
        statement = sql.SQL("INSERT INTO expenses (user_id, category_id, amount, notes) VALUES {} RETURNING id").format(rows)
        self._new.expenses += self._execute(statement, *fields)

    def _user(self) -> int:
        """One that is there; the transaction may have deleted those that the others know of."""
        for _ in range(3):
            if found := self._execute("SELECT id FROM users WHERE id = %s", self._one("users")):
                return found[0]
        self.sign_up()
        return self._new.users[-1]

    def _one(self, kind: str) -> int:
        """Anybody's, a recent one rather than an old one."""
        ids: list[int] = getattr(self._known, kind)
        return self._chance.choice(ids[-200:]) if ids else 0

    def _amount(self) -> Decimal:
        return Decimal(self._chance.randint(1, 10**6)) / 100

    def _notes(self) -> str | None:
        return self._chance.choice(NOTES)

    def _execute(self, statement: Any, *parameters: object) -> list[int]:
        cursor = self._connection.execute(statement, parameters)
        return [row[0] for row in cursor] if cursor.description else []


# --- the test ----------------------------------------------------------------------------------------------


@pytest.fixture
def dsn(start_cluster: Callable[..., Cluster]) -> str:
    """A database of a server that decodes, with FinMind's tables; the app's role owns them and has no other right."""
    cluster = start_cluster(wal_level="logical", deadlock_timeout="100ms")
    name = cluster.create_database()
    migrate(cluster.dsn(name))
    with cluster.connect(name) as connection:
        connection.execute(FINMIND_SQL.read_text())
        connection.execute(f"CREATE ROLE {APP} LOGIN")
        for table in ("users", "categories", "recurring_expenses", "expenses", "bills", "reminders"):
            connection.execute(f"ALTER TABLE {table} OWNER TO {APP}")
        connection.execute("ALTER TABLE expenses REPLICA IDENTITY FULL")
    return cluster.dsn(name)


@pytest.fixture
def seed() -> int:
    """Shown with a failure; ROWHOOK_TEST_SEED runs the same choices again."""
    seed = int(os.environ.get("ROWHOOK_TEST_SEED") or secrets.randbits(32))
    print(f"ROWHOOK_TEST_SEED={seed}")  # noqa: T201
    return seed


def run_writers(dsn: str, seed: int) -> list[Writer]:
    known = Known()
    app = make_conninfo(dsn, user=APP)
    with psycopg.connect(app, autocommit=True) as connection:
        first = Writer(app, random.Random(seed), known)
        first._connection = connection
        for _ in range(2 * WRITERS):
            first.sign_up()
    known.users += first._new.users
    known.categories += first._new.categories
    writers = [Writer(app, random.Random(f"{seed} {number}"), known) for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as threads:
        running = [threads.submit(w.run, TRANSACTIONS, HOLDS.get(n, 0.0)) for n, w in enumerate(writers)]
    for one_of_them in running:
        one_of_them.result()
    return writers


def by_row(changes: Iterable[Change]) -> dict[int, list[Change]]:
    rows: dict[int, list[Change]] = defaultdict(list)
    for change in changes:
        rows[change.id].append(change)
    return rows


def overtaken(ids: Iterable[int]) -> int:
    """How many of these came after a higher one."""
    highest, count = 0, 0
    for id in ids:
        count += id < highest
        highest = max(highest, id)
    return count


UNFINISHED = """
SELECT (SELECT count(*) FROM rowhook.event_trail WHERE delivery_status IS DISTINCT FROM 'delivered')
     + (SELECT count(*) FROM rowhook.delivery WHERE state <> 'delivered')
"""


def test_what_committed_is_what_arrives(
    finmind: str,
    conn: Connection,
    add_hook: AddHook,
    relays: Callable[..., LocalRelay],
    missed_rings: list[Any],
    receiver: Receiver,
    seed: int,
) -> None:
    conn.execute("SELECT pg_create_logical_replication_slot('ledger', 'test_decoding')")
    hook = add_hook(receiver.url(), timeout="30s", max_in_flight=32)
    relays()

    writers = run_writers(finmind, seed)

    committed = decoded(conn)
    eventually(lambda: one(conn, UNFINISHED) == 0, 40, what="every event has been delivered")
    envelopes = [verified(request, hook) for request in receiver.requests]
    event_ids = dict(
        conn.execute(
            "SELECT rowhook.public_id('evt', occurred_at, id, slot), id FROM rowhook.event WHERE op <> 'probe' ORDER BY id"
        ).fetchall()
    )

    # What arrived is what committed, each change once.
    expected = Counter(c.change for c in committed)
    received = Counter(change_of(envelope) for envelope in envelopes)
    assert (expected - received, received - expected) == (Counter(), Counter()), "missing, and not committed"
    repeated = [id for id, n in Counter(envelope["id"] for envelope in envelopes).items() if n > 1]
    assert not repeated
    assert {request.headers["X-Rowhook-Attempt"] for request in receiver.requests} == {"1"}
    assert not missed_rings

    # In order of their ids, the changes of a row are in the order of its commits.
    in_order = sorted(envelopes, key=lambda envelope: event_ids[envelope["id"]])
    assert by_row(change_of(envelope) for envelope in in_order) == by_row(c.change for c in committed)

    # It was the test it was meant to be.
    assert len(committed) >= FEWEST_CHANGES
    ops = Counter(c.change.op for c in committed)
    assert all(ops[op] > 50 for op in ("created", "updated", "deleted")), ops
    assert sum(writer.rolled_back for writer in writers) > 10
    commits = {xid: position for position, xid in enumerate(dict.fromkeys(c.xid for c in committed))}
    xids = conn.execute("SELECT xid::text::bigint, id FROM rowhook.event WHERE op <> 'probe'").fetchall()
    assert overtaken(id for _, id in sorted((commits[xid], id) for xid, id in xids)) > 0, "ids became visible out of order"
    # Rolled back were real changes too: their numbers are missing.
    assert one(conn, "SELECT max(id) FROM rowhook.event") > len(committed)
