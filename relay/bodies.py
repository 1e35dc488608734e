"""Bodies that templates make: rendered once, and kept with the delivery before the first request goes out.

So each retry carries the same bytes, whatever becomes of the template, of the relay that rendered it, or of Rowhook's version.
What can't be rendered is kept nowhere: the next try renders anew, by the template as it is then. All other shapes are made anew
from the event each time, which gives the same bytes each time.
"""

from __future__ import annotations

import asyncio
from typing import Final

from relay.database import Session
from relay.errors import DatabaseLost, LeaseLost, UserMistake
from relay.model import Delivery
from relay.record import array, texts
from relay.shapes.renderer import Renderer

GATHER: Final = 0.002  # seconds that a body waits for others, to be kept in one statement


class Bodies:
    """``prepared`` may be called for many deliveries at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._renderer = Renderer()
        self._waiting: list[tuple[Delivery, asyncio.Future[bool]]] = []
        self._writing: set[asyncio.Task[None]] = set()

    async def prepared(self, delivery: Delivery) -> Delivery:
        """With its body. Raises UserMistake or RenderError where there is none; LeaseLost; DatabaseLost."""
        template, event = delivery.endpoint.template, delivery.event
        if template is None:
            raise UserMistake("the endpoint has no template any more")
        more = {"table": event.table_name, "row_key": event.row_key}
        body = await self._renderer.render(template, event.body, more)
        rendered = delivery._replace(body=body)
        if not await self._keep(rendered):
            raise LeaseLost("the delivery was taken over before its body was kept")
        return rendered

    def cut(self) -> None:
        """Nobody waits any longer for what Postgres was asked."""
        self._session.cut()

    async def close(self) -> None:
        self._renderer.close()
        await self._session.close()

    async def _keep(self, rendered: Delivery) -> bool:
        """Whether it is in the table, and still ours."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((rendered, kept))
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._write())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return await kept

    async def _write(self) -> None:
        await asyncio.sleep(GATHER)
        batch, self._waiting = self._waiting, []
        deliveries = [delivery for delivery, _ in batch]
        try:
            rows = await self._session.rows(
                "bodies.keep",
                {
                    "deliveries": array([d.id for d in deliveries]),
                    "instances": array([d.instance_id for d in deliveries]),
                    "numbers": array([d.number for d in deliveries]),
                    "bodies": texts([d.body for d in deliveries]),
                },
            )
        except DatabaseLost as lost:
            _settle(batch, lost)
        except Exception as error:  # no database keeps such a text
            _settle(batch, error)
        else:
            found = {row["id"] for row in rows}
            for delivery, kept in batch:
                if not kept.done():
                    kept.set_result(delivery.id in found)


def _settle(batch: list[tuple[Delivery, asyncio.Future[bool]]], error: Exception) -> None:
    for _, kept in batch:
        if not kept.done():
            kept.set_exception(error)
