"""FinMind, as far as its database sees it: an application that has never heard of Rowhook.

Each method is one request of the app's, in one transaction, over its own connection as the role that owns its tables. What it
did is noted in the ledger after the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from relay.demo.ledger import Ledger, created, deleted, updated

Expense = tuple[int, int | None, Decimal, str]

_INSERT = sql.SQL("INSERT INTO expenses (user_id, category_id, amount, notes) VALUES {} RETURNING *")
_UPDATE = "UPDATE expenses SET amount = %s, notes = %s WHERE id = %s RETURNING *"
_UPDATE_SAME = "UPDATE expenses SET amount = amount, notes = notes WHERE id = %s RETURNING *"
_DELETE = "DELETE FROM expenses WHERE id = %s RETURNING *"


class FinMind:
    """Connected while it is entered."""

    _connection: psycopg.AsyncConnection[DictRow]

    def __init__(self, dsn: str) -> None:
        self.ledger = Ledger()
        self._dsn = dsn

    async def __aenter__(self) -> Self:
        self._connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, row_factory=dict_row, application_name="finmind"
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.close()

    async def sign_up(self, names: Sequence[str]) -> None:
        for name in names:
            statement = "INSERT INTO users (email, password_hash) VALUES (%s, 'pbkdf2:…')"
            await self._connection.execute(statement, [f"{name}@example.com"])

    async def add_category(self, user: int, name: str) -> int:
        statement = "INSERT INTO categories (user_id, name) VALUES (%s, %s) RETURNING id"
        return int((await self._rows(statement, user, name))[0]["id"])

    async def post(self, *expenses: Expense) -> list[int]:
        """POST /expenses with one of them, or an import of many: one transaction, in batches as an ORM makes them."""
        rows = await self._insert(expenses)
        self.ledger.insert(rows)
        return [row["id"] for row in rows]

    async def patch(self, expense: int, amount: Decimal, notes: str) -> None:
        self.ledger.update(await self._rows(_UPDATE, amount, notes, expense))

    async def patch_with_the_same(self, expense: int) -> None:
        """An UPDATE of all columns that changes none of them."""
        self.ledger.update(await self._rows(_UPDATE_SAME, expense))

    async def delete(self, expense: int) -> None:
        self.ledger.delete(await self._rows(_DELETE, expense))

    async def delete_category(self, category: int) -> int:
        """Its expenses stay and lose it: a foreign key sees to that, so no statement returns their rows."""
        await self._connection.execute("DELETE FROM categories WHERE id = %s", [category])
        orphans = self.ledger.rows_where("category_id", category)
        self.ledger.update([{**row, "category_id": None} for row in orphans])
        return len(orphans)

    async def delete_user(self, user: int) -> int:
        """Their expenses go with them, by a foreign key again."""
        await self._connection.execute("DELETE FROM users WHERE id = %s", [user])
        gone = self.ledger.rows_where("user_id", user)
        self.ledger.delete(gone)
        return len(gone)

    async def change_their_mind(self, expenses: Sequence[Expense], patched: int, removed: int) -> None:
        """Insert, update and delete, and roll all of it back."""
        async with self._connection.transaction(force_rollback=True):
            inserted = await self._insert(expenses)
            new = await self._rows(_UPDATE, Decimal("0.01"), "rolled back", patched)
            old = await self._rows(_DELETE, removed)
        self.ledger.rolled_back += [created(row) for row in inserted]
        self.ledger.rolled_back += [updated(self.ledger.rows[patched], row) for row in new]
        self.ledger.rolled_back += [deleted(row) for row in old]

    async def post_with_savepoint(self, before: Expense, within: Expense, after: Expense) -> None:
        """Three inserts; the one within the savepoint is taken back, the others commit."""
        async with self._connection.transaction():
            kept = await self._insert([before])
            async with self._connection.transaction(force_rollback=True):
                lost = await self._insert([within])
            kept += await self._insert([after])
        self.ledger.insert(kept)
        self.ledger.rolled_back += [created(row) for row in lost]

    async def _insert(self, expenses: Sequence[Expense]) -> list[DictRow]:
        values = sql.SQL(", ").join([sql.SQL("(%s, %s, %s, %s)")] * len(expenses))
        return await self._rows(_INSERT.format(values), *(field for expense in expenses for field in expense))

    async def _rows(self, statement: Any, *parameters: object) -> list[DictRow]:
        return await (await self._connection.execute(statement, parameters)).fetchall()
