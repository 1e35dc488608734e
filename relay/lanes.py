"""Pure: which claimed delivery goes next. One lane per endpoint, so that a slow one never stands in the way of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from relay.model import Delivery, Endpoint

FEW = 4  # in flight to an endpoint that is doubted, or a 64th of all


class _Lane:
    """Of one endpoint, while something of it waits or is in flight."""

    __slots__ = ("endpoint", "flying", "is_in_line", "waiting")

    def __init__(self, endpoint: int) -> None:
        self.endpoint = endpoint
        self.waiting: deque[Delivery] = deque()
        self.flying = 0
        self.is_in_line = False


class Lanes:
    """Claimed deliveries that wait here, and how many of each endpoint are in flight.

    ``most`` bounds the requests in flight in all, each endpoint's ``max_in_flight`` its own. A delivery is outstanding
    from offer() until settled(): waiting, in flight, or with a result not yet recorded. ``size`` is what the outstanding ones'
    events hold, in bytes of JSON.

    An endpoint that has answered nothing yet, or whose last request timed out, is *doubted*: few of its requests are in flight
    until one is answered. So whoever hangs holds little from the beginning on; whoever answers has all it may after that.

    Only lanes whose next delivery may start are in line, so that a choice doesn't read past those of endpoints that hang.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._few = max(FEW, most // 64)
        self._answered: set[int] = set()
        self.doubted: set[int] = set()  # of those that had something here
        self._lanes: dict[int, _Lane] = {}
        self._line: deque[_Lane] = deque()
        self._busy: dict[int, int] = {}
        self.in_flight = 0
        self.outstanding = 0
        self.size = 0

    @property
    def busy(self) -> Mapping[int, int]:
        """Outstanding deliveries per endpoint."""
        return self._busy

    @property
    def waiting_in_doubt(self) -> int:
        """How many wait for endpoints that are doubted."""
        return sum(len(self._lanes[endpoint].waiting) for endpoint in self.doubted if endpoint in self._lanes)

    def width(self, endpoint: Endpoint) -> int:
        """How many of its requests may be in flight now."""
        return endpoint.max_in_flight if endpoint.id in self._answered else min(endpoint.max_in_flight, self._few)

    def offer(self, delivery: Delivery) -> None:
        """Queue a claimed delivery."""
        endpoint = delivery.endpoint.id
        lane = self._lanes.get(endpoint)
        if lane is None:
            self._lanes[endpoint] = lane = _Lane(endpoint)
        lane.waiting.append(delivery)
        if endpoint not in self._answered:
            self.doubted.add(endpoint)
        self._line_up(lane)
        self._busy[endpoint] = self._busy.get(endpoint, 0) + 1
        self.outstanding += 1
        event = delivery.event
        if not event.holders:
            self.size += event.size
        event.holders += 1

    def take(self) -> Iterator[Delivery]:
        """Those that may start now, endpoints in turn; each is in flight from here on."""
        while (delivery := self.next()) is not None:
            yield delivery

    def next(self) -> Delivery | None:
        """The one that may start now, and is in flight from here on; None while all must wait."""
        if self.in_flight >= self._most:
            return None
        while self._line:
            lane = self._line.popleft()
            lane.is_in_line = False
            if self._may_start(lane):
                delivery = lane.waiting.popleft()
                lane.flying += 1
                self.in_flight += 1
                self._line_up(lane)
                return delivery
        return None

    def _line_up(self, lane: _Lane) -> None:
        """Whenever it has got something, or a place."""
        if not lane.is_in_line and self._may_start(lane):
            self._line.append(lane)
            lane.is_in_line = True

    def _may_start(self, lane: _Lane) -> bool:
        """Its first one that waits."""
        return bool(lane.waiting) and lane.flying < self.width(lane.waiting[0].endpoint)

    def landed(self, delivery: Delivery, *, keeps_place: bool = False, answered: bool = False) -> bool:
        """Its request has ended; one that timed out keeps its place among those of its endpoint for a while.

        Returns whether there is room for more than one other in its place: the endpoint is doubted no longer.
        """
        self.in_flight -= 1
        endpoint = delivery.endpoint.id
        if keeps_place:
            self._answered.discard(endpoint)
            self.doubted.add(endpoint)
            return False
        self.gave_place(delivery)
        if not answered or endpoint in self._answered:
            return False
        self._answered.add(endpoint)
        self.doubted.discard(endpoint)
        if lane := self._lanes.get(endpoint):
            self._line_up(lane)
        return True

    def gave_place(self, delivery: Delivery) -> None:
        """Another one may have it."""
        lane = self._lanes[delivery.endpoint.id]
        lane.flying -= 1
        if lane.waiting:
            self._line_up(lane)
        elif not lane.flying:
            del self._lanes[lane.endpoint]

    def settled(self, delivery: Delivery) -> None:
        """Its result is recorded, or it was given back: it is no longer this relay's."""
        endpoint, event = delivery.endpoint.id, delivery.event
        left = self._busy[endpoint] - 1
        if left:
            self._busy[endpoint] = left
        else:
            del self._busy[endpoint]
        self.outstanding -= 1
        event.holders -= 1
        if not event.holders:
            self.size -= event.size

    def drop_waiting(self, unwanted: Callable[[Delivery], bool] = lambda delivery: True) -> list[Delivery]:
        """Take out those that have not started and are unwanted."""
        dropped: list[Delivery] = []
        for lane in [*self._lanes.values()]:
            taken = [delivery for delivery in lane.waiting if unwanted(delivery)]
            if taken:
                dropped += taken
                lane.waiting = deque(delivery for delivery in lane.waiting if not unwanted(delivery))
                self._line_up(lane)  # another may be its first now
        return self._gone(dropped)

    def drop_last(self, counts: Mapping[int, int]) -> list[Delivery]:
        """Take out so many of each endpoint, as far as so many wait; those that came last."""
        dropped: list[Delivery] = []
        for endpoint, count in counts.items():
            if lane := self._lanes.get(endpoint):
                dropped += [lane.waiting.pop() for _ in range(min(count, len(lane.waiting)))]
        return self._gone(dropped)

    def _gone(self, dropped: list[Delivery]) -> list[Delivery]:
        for delivery in dropped:
            lane = self._lanes.get(delivery.endpoint.id)
            if lane and not lane.waiting and not lane.flying:
                del self._lanes[lane.endpoint]
            self.settled(delivery)
        return dropped
