"""Write every outcome back: the attempt, the delivery's next state, the endpoint's health; a batch in one statement.

Results gather for a few milliseconds, and while a batch is written the next one gathers. If Postgres is away they wait here; they
are bounded because nothing new is claimed meanwhile. Sources: mechanisms "Lease" 6; hazard 31.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from relay.circuit import FAILURES, FULL_RAMP, STEPS, Patience, Sign, Signs
from relay.database import Row, Session
from relay.errors import DatabaseLost
from relay.model import ErrorClass, Outcome, Result, State

log = logging.getLogger(__name__)

MOST_PER_BATCH = 500
FULL_BATCH = 200  # is written at once
GATHER = 0.008  # seconds that a result waits for others


class Recorder:
    """Results in, rows out. ``on_recorded`` is called with each batch that has been committed.

    ``on_circuit``: these circuits have opened, and in so many seconds something may be claimed where one is open or ramping.
    """

    def __init__(
        self,
        session: Session,
        patience: Patience,
        on_recorded: Callable[[Sequence[Result]], None],
        on_circuit: Callable[[Sequence[int], float], None] = lambda opened, look_in: None,
    ) -> None:
        self._session = session
        self._patience = patience
        self._on_recorded = on_recorded
        self._on_circuit = on_circuit
        self._signs = Signs()
        self._waiting: list[Result] = []
        self._wake = asyncio.Event()
        self._all_written = asyncio.Event()
        self._all_written.set()

    def put(self, result: Result) -> None:
        self._waiting.append(result)
        self._all_written.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write batches for ever. Raises DatabaseLost and then keeps what it could not write; call it again."""
        if self._waiting:
            self._wake.set()  # results that came while there was no database wake nobody else
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                if len(self._waiting) < FULL_BATCH and (left := GATHER - _age(self._waiting[0])) > 0:
                    await asyncio.sleep(left)
                batch = self._waiting[:MOST_PER_BATCH]
                await self._write(batch)
                del self._waiting[: len(batch)]
                self._on_recorded(batch)
            self._all_written.set()

    async def flushed(self) -> None:
        """Wait until nothing is left to write."""
        await self._all_written.wait()

    async def _write(self, batch: Sequence[Result]) -> None:
        """One batch; if a result in it can't be stored, one by one, and that one without what the receiver said."""
        try:
            await self._write_batch(batch)
        except DatabaseLost:
            raise
        except Exception as error:
            if len(batch) > 1:
                for result in batch:
                    await self._write([result])
            elif batch[0].outcome.error_class is ErrorClass.INTERNAL:
                raise
            else:
                log.exception("a result could not be stored as it is")
                await self._write([unstorable(batch[0], error)])

    async def _write_batch(self, batch: Sequence[Result]) -> None:
        signs = self._signs.of(batch, time.monotonic())
        row = await self._recorded(batch, {**parameters(batch), **health(signs, self._patience)})
        if row["ended"] < len(batch):
            log.info("results came too late: their deliveries had been taken over", extra={"late": len(batch) - row["ended"]})
        if row["opened"]:
            await self._session.rows("circuit.tell")
        if row["look_in"] is not None:
            self._on_circuit(row["opened"], row["look_in"])
        await self._disable(batch)

    async def _recorded(self, batch: Sequence[Result], given: dict[str, object]) -> Row:
        """One statement; where deliveries have died, a transaction with the events that tell of it (delivery.dead)."""
        died = [r.delivery.id for r in batch if r.state is State.DEAD]
        if not died:
            return await self._session.row("record.record", given)
        tell = "dead.tell", {"deliveries": died}
        async with self._session.transaction(("record.record", given), tell) as transaction:
            (row,), told = transaction.first
            if told:
                transaction.at_end("record.ring")
        return row

    async def _disable(self, batch: Sequence[Result]) -> None:
        """410, or nothing but failures for too long: the endpoint is disabled, which is itself an event."""
        reasons = {r.delivery.endpoint.id: r.disable for r in batch if r.disable}
        failed = {r.delivery.endpoint.id for r in batch if r.counted} - reasons.keys()
        if failed:
            rows = await self._session.rows(
                "record.failing_too_long", {"endpoints": list(failed), "disable_after": self._patience.disable_after}
            )
            reasons |= {row["id"]: f"nothing but failures for {self._patience.disable_after}" for row in rows}
        for endpoint, reason in reasons.items():
            if disabled := await self._session.rows("record.disable", {"endpoint": endpoint, "reason": reason}):
                log.warning("endpoint disabled", extra={"endpoint": disabled[0]["row_key"], "reason": reason})
                await self._session.rows("record.ring")


def _age(result: Result) -> float:
    """Seconds since its answer came."""
    return time.monotonic() - result.outcome.started - result.outcome.duration


def unstorable(result: Result, error: Exception) -> Result:
    """The same step of the delivery, its attempt marked ``internal``."""
    bare = Outcome(result.outcome.started, result.outcome.duration, error_class=ErrorClass.INTERNAL, error=type(error).__name__)
    return result._replace(outcome=bare)


def parameters(batch: Sequence[Result]) -> dict[str, str]:
    """The batch as one array per column; ages count back from the server's clock, so results that waited keep their time.

    Ages and durations in microseconds, as whole numbers: floats cost five times as much to write.
    """
    now = time.monotonic()
    deliveries, outcomes = [r.delivery for r in batch], [r.outcome for r in batch]
    return {
        "deliveries": array([d.id for d in deliveries]),
        "instances": array([d.instance_id for d in deliveries]),
        "numbers": array([d.number for d in deliveries]),
        "ages": array([int((now - o.started) * 1e6) for o in outcomes]),
        "durations": array([int(o.duration * 1e6) for o in outcomes]),
        "status_codes": array([o.status_code for o in outcomes]),
        "error_classes": texts([o.error_class for o in outcomes]),
        "errors": texts([o.error for o in outcomes]),
        "excerpts": texts([o.excerpt for o in outcomes]),
        "states": texts([r.state for r in batch]),
        "waits": array([r.wait if r.state is State.PENDING else None for r in batch]),
        "counted": array([r.counted for r in batch]),
        "endpoints": array([d.endpoint.id for d in deliveries]),
    }


def health(signs: Sequence[Sign], patience: Patience) -> dict[str, object]:
    """What the batch says of its endpoints, and by which measure."""
    return {
        "signs": array([s.endpoint for s in signs]),
        "well": array([s.well for s in signs]),
        "ill": array([s.ill for s in signs]),
        "since": array([round(s.since, 6) for s in signs]),
        "latest": array([round(s.latest, 6) for s in signs]),
        "asked": array([s.asked for s in signs]),
        "most_failures": FAILURES,
        "full": FULL_RAMP,
        "steps": STEPS,
        "open_after": patience.open_after,
        "longest_probe_wait": patience.longest_probe_wait.total_seconds(),
    }


def array(values: Sequence[float | None]) -> str:
    """Postgres' text of an array of numbers or truth values. psycopg's own does it for any type, at twenty times the cost.

    Source: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    text = ",".join(map(str, values))
    return "{" + (text.replace("None", "NULL") if None in values else text) + "}"


def texts(values: Sequence[str | None]) -> str:
    """The same of texts."""
    quoted = {text: _quoted(text) for text in {*values}}
    return "{" + ",".join([quoted[text] for text in values]) + "}"


def _quoted(text: str | None) -> str:
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
