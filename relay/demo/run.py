"""READ FIRST. Wires the demo: a Postgres, FinMind's tables, the relay and a receiver; tells its story and checks what came of it.

Everything is entered as a context manager, so whatever ends the demo (its own end, Ctrl-C, an error) leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from rich.console import Console

from relay.demo import claims, record, stage, story, summary
from relay.demo.board import Moving
from relay.demo.lines import Lines
from relay.demo.receiver import HOOKS, Receipt, Receiver
from relay.demo.server import Server, embedded_postgres, postgres
from relay.demo.surroundings import interruptible, running, warnings_shown, without_libpq_variables
from relay.demo.writers import FinMind
from relay.service import Relay
from relay.sign import new_secret

HELD, FAILED, INTERRUPTED = 0, 1, 130
PLAIN_WIDTH = 100

MakeReceiver = Callable[[dict[str, str], Callable[[Receipt], None]], Receiver]


def demo_command(once: bool = False) -> int:
    """`rowhook demo`: its exit code."""
    return play(once=once)


def play(*, once: bool = False, make_receiver: MakeReceiver = Receiver) -> int:
    """Run the demo: 0 if all claims held, 1 if not.

    On a terminal it stays after the check, and an interrupt is its orderly end; elsewhere an interrupt before the check is 130.

    Raises:
        UserMistake: the package that brings Postgres along is missing.
    """
    package = embedded_postgres()
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else PLAIN_WIDTH, highlight=False)
    demo = Demo(console, make_receiver, stay=terminal and not once)
    with without_libpq_variables(), warnings_shown(console):
        asyncio.run(interruptible(demo.run(package)))
    console.print("Stopped: its Postgres and its folder are gone.")
    if demo.result is None:
        return HELD if demo.stay else INTERRUPTED
    return demo.result


class Demo:
    """One run of it. `result` is known once the claims are checked."""

    def __init__(self, console: Console, make_receiver: MakeReceiver, *, stay: bool) -> None:
        self.stay = stay
        self.result: int | None = None
        self._console = console
        self._make_receiver = make_receiver
        self._board: Lines | Moving = Lines(console)

    async def run(self, package: Any) -> None:
        self._console.print("Starting a Postgres for the demo. Each request's two signatures are verified.")
        async with postgres(package) as server:
            staged = await asyncio.to_thread(stage.prepare, server)
            secrets = {hook.path: new_secret() for hook in HOOKS}
            async with self._make_receiver(secrets, lambda receipt: self._board.show(receipt)) as receiver:
                wanted = [(hook, receiver.url(hook), secrets[hook.path]) for hook in HOOKS]
                await asyncio.to_thread(stage.add_endpoints, staged, wanted)
                async with running(Relay(stage.settings(staged), name="demo", api=False)):
                    await self._show(staged, receiver)
                    if self.stay:
                        await self._stay(server)

    async def _show(self, staged: stage.Stage, receiver: Receiver) -> None:
        """The story, then what Rowhook's views answer, then the claims."""
        async with FinMind(staged.application) as finmind, await record.connect(staged.operator) as connection:
            if self._console.is_terminal and not self._console.is_dumb_terminal:
                self._board = Moving(self._console, lambda: len(finmind.ledger.committed))
            async with _drawn(self._board):
                await story.live_a_day(finmind, self._board.say)
                self._board.say("all is written; the last retries are awaited")
                await record.settled(connection, finmind.ledger, receiver.journal)
            for query, rows in await record.answers(connection):
                summary.print_answer(self._console, query, rows)
            checked = claims.check(await record.evidence(connection, finmind.ledger, receiver.journal))
        summary.print_claims(self._console, checked)
        self.result = HELD if all(claim.holds for claim in checked) else FAILED

    async def _stay(self, server: Server) -> None:
        """Until the interrupt: what the user writes appears as lines below the summary."""
        summary.print_invitation(self._console, server)
        self._board = Lines(self._console)
        async with _drawn(self._board):
            await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _drawn(board: Lines | Moving) -> AsyncIterator[None]:
    """Draw it now and then while the block lasts, and once more at its end."""

    async def keep_drawing() -> None:
        while True:
            await asyncio.sleep(board.every)
            board.draw()

    with board:
        task = asyncio.create_task(keep_drawing())
        try:
            yield
        finally:
            task.cancel()
            board.draw()
