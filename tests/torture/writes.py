"""Writers' statements of every kind; each takes a connection and chance, and leaves with its transaction ended."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

TENANTS = ("t1", "t2", "t3")
NOTES = (
    None,
    "",
    "lunch",
    "it's 'quoted' and \"quoted\"",
    "a[text]:'b' old-key:",
    "two\nlines\tand a back\\slash",
    "ünï ☕ 𝄞 \u2028",
)
SEATS, PLACES, ITEMS = 24, ("attic", "cellar", "yard"), 40


@dataclass(slots=True)
class Known:
    """Ids that were seen committed, or nearly: writers pick from all, so they get into each other's way."""

    accounts: list[int] = field(default_factory=list)
    expenses: list[int] = field(default_factory=list)

    def one(self, chance: random.Random, kind: str) -> int:
        ids: list[int] = getattr(self, kind)
        return chance.choice(ids[-300:]) if ids else 0


@dataclass(slots=True)
class Writes:
    """One writer's; ``has_merge`` from Postgres 15 on."""

    connection: Connection
    chance: random.Random
    known: Known
    has_merge: bool

    # --- expenses and accounts: foreign keys, tenants, cascades ---

    def open_account(self) -> None:
        row = self._all("INSERT INTO accounts (tenant, name) VALUES (%s, %s) RETURNING id", self._tenant(), self._note())
        self.known.accounts.append(row[0][0])

    def spend(self) -> None:
        self._spend(1)

    def spend_much(self) -> None:
        self._spend(self.chance.randint(5, 40))

    def copy(self) -> None:
        with self.connection.cursor().copy("COPY expenses (account_id, tenant, amount, note) FROM STDIN") as copy:
            for _ in range(self.chance.randint(5, 30)):
                copy.write_row((None, self._tenant(), self._amount(), self._note()))

    def patch(self) -> None:
        """As an ORM does it: read, then write what changed."""
        with self.connection.transaction():
            found = self._all("SELECT id FROM expenses WHERE id = %s FOR UPDATE", self._expense())
            for (id,) in found:
                self._do("UPDATE expenses SET amount = %s, stamp = nextval('stamps') WHERE id = %s", self._amount(), id)

    def patch_with_the_same(self) -> None:
        """Changes nothing, so it is no event."""
        self._do("UPDATE expenses SET amount = amount, note = note WHERE id = %s", self._expense())

    def patch_many(self) -> None:
        self._do(
            "UPDATE expenses SET note = %s, stamp = nextval('stamps') WHERE id = ANY (%s)",
            self._note(),
            sorted({self._expense() for _ in range(8)}),
        )

    def delete(self) -> None:
        self._do("DELETE FROM expenses WHERE id = %s", self._expense())

    def move_to_another_tenant(self) -> None:
        self._do("UPDATE expenses SET tenant = %s, stamp = nextval('stamps') WHERE id = %s", self._tenant(), self._expense())

    def close_account(self) -> None:
        """Its expenses go with it."""
        self._do("DELETE FROM accounts WHERE id = %s", self._account())

    def renumber_account(self) -> None:
        """Its expenses follow: an update by a cascade."""
        self._do(
            "UPDATE accounts SET id = nextval(pg_get_serial_sequence('accounts', 'id')), stamp = nextval('stamps') WHERE id = %s",
            self._account(),
        )

    # --- stocks: conflicts, merges, keys of two columns ---

    def upsert(self) -> None:
        self._do(
            "INSERT INTO stocks (place, item, quantity) VALUES (%s, %s, %s) ON CONFLICT (place, item)"
            " DO UPDATE SET quantity = excluded.quantity, stamp = nextval('stamps')",
            *self._stock(),
        )

    def insert_unless_there(self) -> None:
        self._do("INSERT INTO stocks (place, item, quantity) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", *self._stock())

    def merge(self) -> None:
        if not self.has_merge:
            return
        self._do(
            "MERGE INTO stocks AS s USING (VALUES (%s, %s, %s)) AS v (place, item, quantity)"
            " ON s.place = v.place AND s.item = v.item"
            " WHEN MATCHED AND v.quantity < 10 THEN DELETE"
            " WHEN MATCHED THEN UPDATE SET quantity = v.quantity, stamp = nextval('stamps')"
            " WHEN NOT MATCHED THEN INSERT (place, item, quantity) VALUES (v.place, v.item, v.quantity)",
            *self._stock(),
        )

    def renumber_stocks(self) -> None:
        self._do(
            "UPDATE stocks SET item = item + 1000, stamp = nextval('stamps') WHERE place = %s AND item < 20 AND item >= %s",
            self.chance.choice(PLACES),
            self.chance.randint(0, 19),
        )

    def clear_stocks(self) -> None:
        self._do("DELETE FROM stocks WHERE item >= 1000 AND place = %s", self.chance.choice(PLACES))

    # --- seats: keys that are shifted and swapped in one statement ---

    def fill_seats(self) -> None:
        """ON CONFLICT takes no deferrable key."""
        self._do(
            "INSERT INTO seats (id, holder) SELECT g, 'h' || g FROM generate_series(1, %s) AS g"
            " WHERE g NOT IN (SELECT id FROM seats)",
            SEATS,
        )

    def shift_seats(self) -> None:
        self._do("UPDATE seats SET id = id + %s, stamp = nextval('stamps') WHERE id > 0", self.chance.choice((1, -1)))

    def swap_seats(self) -> None:
        low = self.chance.randint(1, SEATS)
        self._do("UPDATE seats SET id = 2 * %s + 1 - id, stamp = nextval('stamps') WHERE id IN (%s, %s + 1)", *[low] * 3)

    # --- visits: partitions, captured row by row ---

    def visit(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            region = self.chance.choice(("north", "south"))
            self._do("INSERT INTO visits (id, region, note) VALUES (nextval('stamps'), %s, %s)", region, self._note())

    def edit_visits(self) -> None:
        note = self._note()
        self._do(
            "UPDATE visits SET note = %s, stamp = nextval('stamps') WHERE id IN (SELECT id FROM visits ORDER BY id DESC LIMIT 3)",
            note,
        )

    def drop_visits(self) -> None:
        self._do("DELETE FROM visits WHERE id IN (SELECT id FROM visits ORDER BY id LIMIT 2)")

    # --- scratches, and events by hand ---

    def scratch(self) -> None:
        self._do("INSERT INTO scratches (note) SELECT 'n' FROM generate_series(1, %s)", self.chance.randint(1, 5))

    def truncate(self) -> None:
        self._do("TRUNCATE scratches")

    def emit(self) -> None:
        """And note it in a table that isn't captured: what the WAL shows of it."""
        tenant = self.chance.choice((None, *TENANTS))
        with self.connection.transaction():
            (row,) = self._all("SELECT nextval('stamps')")
            data = json.dumps({"n": row[0], "note": self._note()})
            self._do("INSERT INTO emitted (type, tenant, data) VALUES ('note.taken', %s, %s)", tenant, data)
            self._do("SELECT rowhook.emit('note.taken', %s::json, tenant => %s)", data, tenant)

    # --- transactions ---

    def savepoints(self) -> None:
        with self.connection.transaction():
            for _ in range(self.chance.randint(2, 5)):
                with self.connection.transaction(force_rollback=self.chance.random() < 0.5):
                    self._simple()()

    def roll_back(self) -> None:
        with self.connection.transaction(force_rollback=True):
            self.spend_much()
            self._simple()()

    def hold_open(self) -> None:
        """A long transaction: its events become visible after many with higher ids."""
        with self.connection.transaction():
            self.spend()
            time.sleep(self.chance.uniform(0.3, 3.0))
            self.upsert()

    def serializable(self) -> None:
        """With retries of its own, as such an application has them."""
        for _ in range(5):
            try:
                with self.connection.transaction():
                    self._do("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                    (row,) = self._all("SELECT coalesce(sum(quantity), 0) FROM stocks WHERE place = 'yard'")
                    self._do(
                        "UPDATE stocks SET quantity = %s, stamp = nextval('stamps') WHERE place = 'yard' AND item = %s",
                        int(row[0]) % 1000,
                        self.chance.randrange(ITEMS),
                    )
                return
            except psycopg.errors.SerializationFailure:
                continue

    def _simple(self) -> Callable[[], None]:
        return self.chance.choice((self.spend, self.patch, self.upsert, self.delete, self.visit, self.patch_many))

    def _spend(self, n: int) -> None:
        fields = [field for _ in range(n) for field in (self._account(), self._tenant(), self._amount(), self._note())]
        # An account that is gone by now is none.
        value = "((SELECT id FROM accounts WHERE id = %s FOR KEY SHARE), %s, %s, %s)"
        rows = self._all(
            f"INSERT INTO expenses (account_id, tenant, amount, note) VALUES {', '.join([value] * n)} RETURNING id", *fields
        )
        self.known.expenses += [row[0] for row in rows]

    def _stock(self) -> tuple[str, int, int]:
        return self.chance.choice(PLACES), self.chance.randrange(ITEMS), self.chance.randrange(100)

    def _account(self) -> int:
        return self.known.one(self.chance, "accounts")

    def _expense(self) -> int:
        return self.known.one(self.chance, "expenses")

    def _tenant(self) -> str:
        return self.chance.choice(TENANTS)

    def _note(self) -> str | None:
        return self.chance.choice(NOTES)

    def _amount(self) -> str:
        return f"{self.chance.randint(1, 10**6) / 100:.2f}"

    def _do(self, statement: str, *parameters: object) -> None:
        self.connection.execute(statement.encode(), parameters or None)

    def _all(self, statement: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        return self.connection.execute(statement.encode(), parameters or None).fetchall()


# How often each, in relation.
APPLICATION: Mapping[str, int] = {
    "open_account": 4, "spend": 20, "spend_much": 3, "copy": 2, "patch": 10, "patch_with_the_same": 6, "patch_many": 3,
    "delete": 5, "move_to_another_tenant": 4, "close_account": 1, "renumber_account": 1, "upsert": 8, "insert_unless_there": 3,
    "merge": 5, "renumber_stocks": 1, "clear_stocks": 1, "fill_seats": 1, "shift_seats": 1, "swap_seats": 3, "visit": 5,
    "edit_visits": 3, "drop_visits": 2, "scratch": 3, "truncate": 1, "savepoints": 4, "roll_back": 3, "hold_open": 1,
    "serializable": 3,
}  # fmt: skip
BY_HAND: Mapping[str, int] = {"emit": 1}
