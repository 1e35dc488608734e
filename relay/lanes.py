"""Pure: which claimed delivery goes next. One lane per endpoint, so that a slow one never stands in the way of the others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping

from relay.model import Delivery, Endpoint

FEW = 4  # in flight to an endpoint that is doubted, or a 64th of all


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
        self._lanes: dict[int, deque[Delivery]] = {}
        self._line: deque[int] = deque()
        self._in_line: set[int] = set()
        self._flying: Counter[int] = Counter()
        self._busy: Counter[int] = Counter()
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
        return sum(len(self._lanes.get(endpoint, ())) for endpoint in self.doubted)

    def width(self, endpoint: Endpoint) -> int:
        """How many of its requests may be in flight now."""
        return endpoint.max_in_flight if endpoint.id in self._answered else min(endpoint.max_in_flight, self._few)

    def offer(self, delivery: Delivery) -> None:
        """Queue a claimed delivery."""
        endpoint = delivery.endpoint.id
        lane = self._lanes.get(endpoint)
        if lane is None:
            self._lanes[endpoint] = lane = deque()
        lane.append(delivery)
        if endpoint not in self._answered:
            self.doubted.add(endpoint)
        self._line_up(endpoint)
        self._busy[endpoint] += 1
        self.outstanding += 1
        if not delivery.event.holders:
            self.size += delivery.event.size
        delivery.event.holders += 1

    def take(self) -> Iterator[Delivery]:
        """Those that may start now, endpoints in turn; each is in flight from here on."""
        while (delivery := self.next()) is not None:
            yield delivery

    def next(self) -> Delivery | None:
        """The one that may start now, and is in flight from here on; None while all must wait."""
        if self.in_flight >= self._most:
            return None
        while self._line:
            endpoint = self._line.popleft()
            self._in_line.discard(endpoint)
            lane = self._lanes[endpoint]
            if self._is_wide_enough(endpoint):
                delivery = lane.popleft()
                if not lane:
                    del self._lanes[endpoint]
                self._flying[endpoint] += 1
                self.in_flight += 1
                self._line_up(endpoint)
                return delivery
        return None

    def _line_up(self, endpoint: int) -> None:
        """Whenever its lane has got something, or it has got a place."""
        if endpoint not in self._in_line and self._is_wide_enough(endpoint):
            self._line.append(endpoint)
            self._in_line.add(endpoint)

    def _is_wide_enough(self, endpoint: int) -> bool:
        lane = self._lanes.get(endpoint)
        return lane is not None and self._flying[endpoint] < self.width(lane[0].endpoint)

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
        self._line_up(endpoint)
        return True

    def gave_place(self, delivery: Delivery) -> None:
        """Another one may have it."""
        _decrease(self._flying, delivery.endpoint.id)
        self._line_up(delivery.endpoint.id)

    def settled(self, delivery: Delivery) -> None:
        """Its result is recorded, or it was given back: it is no longer this relay's."""
        _decrease(self._busy, delivery.endpoint.id)
        self.outstanding -= 1
        delivery.event.holders -= 1
        if not delivery.event.holders:
            self.size -= delivery.event.size

    def drop_waiting(self, unwanted: Callable[[Delivery], bool] = lambda delivery: True) -> list[Delivery]:
        """Take out those that have not started and are unwanted."""
        dropped = [delivery for lane in self._lanes.values() for delivery in lane if unwanted(delivery)]
        for endpoint in {delivery.endpoint.id for delivery in dropped}:
            kept = deque(delivery for delivery in self._lanes[endpoint] if not unwanted(delivery))
            if kept:
                self._lanes[endpoint] = kept
                self._line_up(endpoint)
            else:
                del self._lanes[endpoint]
                if endpoint in self._in_line:
                    self._in_line.discard(endpoint)
                    self._line.remove(endpoint)
        for delivery in dropped:
            self.settled(delivery)
        return dropped


def _decrease(counter: Counter[int], key: int) -> None:
    left = counter[key] - 1
    if left > 0:
        counter[key] = left
    else:
        del counter[key]
