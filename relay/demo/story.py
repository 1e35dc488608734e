"""What FinMind's users do while one watches: each step with a line that says it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from relay.demo.writers import Expense, FinMind

PACE = 0.3
BETWEEN_ROWS = 0.12
IMPORTED = 200
ASHA, BELA, CHITRA, DEV = 1, 2, 3, 4

Say = Callable[[str], None]


async def live_a_day(finmind: FinMind, say: Say) -> None:
    """All of it: about five seconds."""
    await finmind.sign_up(["asha", "bela", "chitra", "dev"])
    food = await finmind.add_category(ASHA, "Food")
    posted = await _single_rows(finmind, say, food)
    imported = await _import(finmind, say)
    await _patches(finmind, say, posted, imported)
    await _deletes(finmind, say, posted, food)
    await _rollbacks(finmind, say, posted, imported)


async def _single_rows(finmind: FinMind, say: Say, food: int) -> list[int]:
    say("POST /expenses: single rows")
    groceries: list[Expense] = [(ASHA, food, Decimal(f"{n}9.50"), f"groceries {n}") for n in range(1, 5)]
    rent: list[Expense] = [(user, None, Decimal("12000.00"), "किराया ☂") for user in (BELA, CHITRA)]
    trips: list[Expense] = [(DEV, None, Decimal(f"{n}0.00"), f"trip {n}") for n in range(1, 5)]
    posted = []
    for expense in groceries + rent + trips:
        posted += await finmind.post(expense)
        await asyncio.sleep(BETWEEN_ROWS)
    return posted


async def _import(finmind: FinMind, say: Say) -> list[int]:
    say(f"an import: {IMPORTED} rows of user {BELA} in one transaction")
    imported = await finmind.post(*((BELA, None, Decimal(n) / 100, f"line {n}") for n in range(1, IMPORTED + 1)))
    await asyncio.sleep(2 * PACE)
    return imported


async def _patches(finmind: FinMind, say: Say, posted: list[int], imported: list[int]) -> None:
    say("PATCH /expenses/{id}, three that change nothing: no event")
    for expense in posted[:3]:
        await finmind.patch_with_the_same(expense)
    await asyncio.sleep(PACE)
    say("PATCH /expenses/{id}: real changes")
    for number, expense in enumerate([*posted[:2], *imported[:3]], 1):
        await finmind.patch(expense, Decimal(f"{number}.10"), 'corrected: "tea" & ☕')
        await asyncio.sleep(BETWEEN_ROWS)


async def _deletes(finmind: FinMind, say: Say, posted: list[int], food: int) -> None:
    say("DELETE /expenses/{id}")
    await finmind.delete(posted[3])
    await asyncio.sleep(PACE)
    await finmind.delete(posted[5])
    await asyncio.sleep(PACE)
    say("a category is deleted: a foreign key takes it off its expenses")
    await finmind.delete_category(food)
    await asyncio.sleep(PACE)
    say(f"user {DEV} is deleted: a foreign key deletes their expenses")
    await finmind.delete_user(DEV)
    await asyncio.sleep(PACE)


async def _rollbacks(finmind: FinMind, say: Say, posted: list[int], imported: list[int]) -> None:
    say("insert, update and delete, then ROLLBACK: no event")
    never: list[Expense] = [(CHITRA, None, Decimal("666.00"), f"rolled back {n}") for n in range(3)]
    await finmind.change_their_mind(never, patched=posted[0], removed=imported[-1])
    await asyncio.sleep(PACE)
    say("three inserts, one in a savepoint that rolls back: two events")
    before, within, after = [(CHITRA, None, Decimal("7.00"), f"{when} the savepoint") for when in ("before", "in", "after")]
    await finmind.post_with_savepoint(before, within, after)
