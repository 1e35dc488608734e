"""Claimed deliveries on their way: compose, sign, POST, judge, hand over to the recorder; bounded in all and per endpoint."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

from relay.errors import DatabaseLost, LeaseLost
from relay.head import fields, filled, template
from relay.judge import judge
from relay.lanes import Lanes
from relay.model import LOOP, Delivery, Endpoint, ErrorClass, Outcome, Result, State
from relay.moment import milliseconds
from relay.public_id import id_at
from relay.send import Transport, describe
from relay.shapes import TEMPLATE, headers_of
from relay.sign import signed

log = logging.getLogger(__name__)

LONGEST_PAUSE = 0.25  # seconds after a timeout; those that began together end together, but for a busy loop


class Flight:
    """``may_send`` is asked before each request: a relay that was frozen or lost its lock sends nothing more under that id.

    After a timeout no other request to that endpoint takes its place until a moment after that is on record: by then its circuit
    may be open. Otherwise who hangs would hold what is claimed ahead for one timeout more.

    ``prepare`` gives a delivery the body that a template makes, where it has none yet; raises LeaseLost or DatabaseLost.

    ``known`` are the endpoints as they are: what was claimed a while ago is sent where, and signed as, they say now.
    """

    def __init__(
        self,
        transport: Transport,
        lanes: Lanes,
        known: Mapping[int, Endpoint],
        header_prefix: str,
        may_send: Callable[[Delivery], bool],
        on_result: Callable[[Result], None],
        prepare: Callable[[Delivery], Awaitable[Delivery]],
    ) -> None:
        self.lanes = lanes
        self.unsent: list[Delivery] = []
        self._transport = transport
        self._known = known
        self._header_prefix = header_prefix
        self._may_send = may_send
        self._on_result = on_result
        self._prepare = prepare
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, deliveries: Iterable[Delivery]) -> None:
        """Take over claimed deliveries and start those that there is room for."""
        for delivery in deliveries:
            self.lanes.offer(delivery)
        self._start()

    def settled(self, batch: Iterable[Result]) -> None:
        """These results are on record."""
        for result in batch:
            self.lanes.settled(result.delivery)
            if hung(result.outcome):
                pause = min(LONGEST_PAUSE, result.delivery.endpoint.timeout / 10)
                asyncio.get_running_loop().call_later(pause, self._go_on_after, result.delivery)

    def _go_on_after(self, delivery: Delivery) -> None:
        self.lanes.gave_place(delivery)
        self._start()

    def ground(self) -> None:
        """Start nothing more; what has not started goes to ``unsent``."""
        self.unsent += self.lanes.drop_waiting()

    def hold(self, endpoints: Collection[int]) -> None:
        """Their circuits have opened: start none of what waits for them."""
        self.unsent += self.lanes.drop_waiting(lambda delivery: delivery.endpoint.id in endpoints)

    def shed(self, counts: Mapping[int, int]) -> None:
        """So many of what waits for each of these endpoints are not for this relay any more."""
        self.unsent += self.lanes.drop_last(counts)

    def recall(self) -> None:
        """What was claimed before its endpoint was paused, disabled or removed or its circuit opened is not started."""
        self.unsent += self.lanes.drop_waiting(self._is_superseded)

    def _is_superseded(self, delivery: Delivery) -> bool:
        known = self._known[delivery.endpoint.id]
        return not known.sendable and known.revision > delivery.endpoint.revision

    async def landed(self, timeout: float) -> bool:
        """Wait for the requests that are out; False if some were still out after ``timeout`` seconds."""
        if not self._tasks:
            return True
        _, out = await asyncio.wait(self._tasks, timeout=timeout)
        return not out

    def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _start(self) -> None:
        """A task for each request that may be out; it goes on with the next delivery while there is one."""
        for delivery in self.lanes.take():
            task = asyncio.create_task(self._deliver_on(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver_on(self, first: Delivery) -> None:
        delivery: Delivery | None = first
        while delivery is not None:
            timed_out = answered = False
            try:
                if self._may_send(delivery):
                    if (known := self._known[delivery.endpoint.id]) is not delivery.endpoint:
                        delivery = delivery._replace(endpoint=known)
                    outcome = await self._attempt(delivery)
                    timed_out, answered = hung(outcome), outcome.status_code is not None
                    self._on_result(conclude(delivery, outcome))
                else:
                    self._give_back(delivery)
            except (DatabaseLost, LeaseLost):
                self._give_back(delivery)
            finally:
                widened = self.lanes.landed(delivery, keeps_place=timed_out, answered=answered)
            delivery = self.lanes.next()  # who landed made room for one
            if widened:
                self._start()

    def _give_back(self, delivery: Delivery) -> None:
        self.lanes.settled(delivery)
        self.unsent.append(delivery)

    async def _attempt(self, delivery: Delivery) -> Outcome:
        """One request. What can't be composed marks its own delivery and stops nobody else's.

        Raises LeaseLost or DatabaseLost, where a body had to be kept before it could be sent.
        """
        started = time.monotonic()
        endpoint = delivery.endpoint
        if delivery.loops:
            return Outcome(started, 0.0, error_class=ErrorClass.BLOCKED, error=LOOP)
        try:
            if delivery.shape == TEMPLATE and delivery.body is None:
                delivery = await self._prepare(delivery)
            body, lines = compose(delivery, self._header_prefix, time.time())
        except (DatabaseLost, LeaseLost):
            raise
        except Exception as error:
            return Outcome(started, 0.0, error_class=ErrorClass.INTERNAL, error=describe(error, endpoint.timeout))
        return await self._transport.post(endpoint.url, lines, body, endpoint.timeout, endpoint.identity)


def hung(outcome: Outcome) -> bool:
    return outcome.error_class is ErrorClass.TIMEOUT


def conclude(delivery: Delivery, outcome: Outcome) -> Result:
    """The verdict; should it fail, a dead letter rather than a delivery leased for ever.

    What hung keeps its class: by that its place is given to another.
    """
    try:
        return judge(delivery, outcome, random.random(), datetime.now(UTC))  # noqa: S311 - jitter, not a secret
    except Exception as error:
        log.exception("an outcome could not be judged")
        error_class = ErrorClass.TIMEOUT if hung(outcome) else ErrorClass.INTERNAL
        bare = Outcome(outcome.started, outcome.duration, error_class=error_class, error=describe(error, 0))
        return Result(delivery, bare, State.DEAD, counted=True)


def compose(delivery: Delivery, header_prefix: str, now: float) -> tuple[bytes, str]:
    """Body and header lines of one attempt at ``now`` (seconds of the epoch); the body is the same at each."""
    event, own = delivery.event, delivery.endpoint.headers
    body = event.body if delivery.shape is None else _body(delivery, delivery.shape)
    names, values = signed(
        secrets=delivery.endpoint.signing(now),
        webhook_id=delivery.webhook_id or event.public_id,
        timestamp=int(now),
        event_type=event.type,
        delivery_id=id_at("dlv", milliseconds(delivery.created_at), delivery.id),
        attempt=delivery.number,
        body=body,
        prefix=header_prefix,
    )
    if delivery.shape is None and not own:
        return body, filled(template(names), values)
    of_shape = {} if delivery.shape is None else headers_of(delivery.shape, event.facts())
    return body, fields({**own, **dict(zip(names, values, strict=True)), **of_shape})


def _body(delivery: Delivery, shape: str) -> bytes:
    """In another shape than the standard one; what a template made has been kept."""
    if shape == TEMPLATE:
        assert delivery.body is not None
        return delivery.body.encode()
    return delivery.event.body_as(shape)
