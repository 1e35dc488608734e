"""How much more work this relay takes on: enough to keep its requests going, bounded by number and by bytes.

An endpoint may have here what may be in flight, and as many again that wait or are not recorded yet; or, where it is quick, what
it takes in a fifth of a second (pace.py), so that statements are large and few; or, while it is doubted (lanes.py), little. Those
with a rate are claimed for when their next request is due, so their work is parked and they crowd nobody.

A look and a claim under way at the same moment know nothing of each other, so each may fill it: twice that, at the most.
Source: mechanisms "Rules" 2.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from relay.config import Settings
from relay.directory import Directory
from relay.lanes import Lanes
from relay.model import Claimed, Endpoint, ErrorClass, Result, Room
from relay.pace import Pace


class Rooms:
    """Room of one relay, over all its tenures."""

    def __init__(self, settings: Settings, lanes: Lanes, directory: Directory) -> None:
        self._most = 2 * settings.max_in_flight
        self._most_bytes = int(settings.max_queued_bytes)
        self._endpoint_room = 2 * endpoint_room(settings)
        self._lanes = lanes
        self._directory = directory
        self._pace = Pace()

    def recorded(self, batch: Sequence[Result]) -> None:
        """What hung says nothing of a pace."""
        ended = [result for result in batch if result.outcome.error_class is not ErrorClass.TIMEOUT]
        if ended:
            since = min(result.outcome.started for result in ended)
            self._pace.note((result.delivery.endpoint.id for result in ended), time.monotonic(), since)

    def room(self) -> Room:
        """What there is now."""
        now = time.monotonic()
        ahead, busy = self._pace.ahead(now), self._lanes.busy
        some = busy.keys() | ahead.keys() | (self._lanes.doubted & self._directory.known.keys())
        left = {e: max(0, self._reach(self._directory.known[e], ahead) - busy.get(e, 0)) for e in some}
        capacity = max(0, self._limit(now) - self._taken())
        return Room(capacity, self._endpoint_room, left, max(0, self._most_bytes - self._lanes.size))

    def is_roomy(self) -> bool:
        """Whether a quarter of it is free, of number and bytes: work is claimed in batches, not one by one."""
        limit = self._limit(time.monotonic())
        return limit - self._taken() >= max(1, limit // 4) and self._lanes.size * 4 <= self._most_bytes * 3

    def is_crowded(self) -> bool:
        """Whether every known endpoint has less than a quarter of its room left; but for those whose work is parked anyway."""
        ahead, busy = self._pace.ahead(time.monotonic()), self._lanes.busy
        known = [endpoint for endpoint in self._directory.known.values() if not endpoint.limited]
        return bool(known) and all(
            reach - busy.get(e.id, 0) < max(1, reach // 4) for e, reach in ((e, self._reach(e, ahead)) for e in known)
        )

    def full(self, room: Room) -> set[int]:
        """Endpoints that have none at all: more may be parked for them."""
        known = self._directory.known
        return {endpoint for endpoint, left in room.left.items() if left <= 0 and not known[endpoint].limited}

    def filled(self, claimed: Iterable[Claimed], room: Room) -> set[int]:
        """Endpoints that got all of their room by this claim: more may be parked for them."""
        got, known = Counter(row.endpoint_id for row in claimed), self._directory.known
        return {endpoint for endpoint, count in got.items() if count >= room.of(endpoint, known[endpoint].max_in_flight)}

    def excess(self) -> dict[int, int]:
        """How much more each endpoint has here than it may have by now: it was quick, and has become slow or hangs."""
        ahead, known = self._pace.ahead(time.monotonic()), self._directory.known
        more = {e: busy - self._reach(known[e], ahead) for e, busy in self._lanes.busy.items()}
        return {endpoint: count for endpoint, count in more.items() if count > 0}

    def is_free_for(self, endpoints: Iterable[int]) -> bool:
        """Whether some of these has a quarter of its room: for one that is slow, work is claimed in batches, too."""
        ahead, busy, known = self._pace.ahead(time.monotonic()), self._lanes.busy, self._directory.known
        return any(
            e not in known
            or (
                not known[e].limited
                and self._reach(known[e], ahead) - busy.get(e, 0) >= max(1, self._reach(known[e], ahead) // 4)
            )
            for e in endpoints
        )

    def widest(self, room: Room) -> int:
        """The most deliveries that any one endpoint could be given; those not known here have all of their room."""
        known = [endpoint for endpoint in self._directory.known.values() if not endpoint.limited]
        nobody = 0 if self._directory.known else self._endpoint_room
        return max((room.left.get(e.id, 2 * e.max_in_flight) for e in known), default=nobody)

    def _limit(self, now: float) -> int:
        return self._most + self._pace.ahead_in_all(now)

    def _taken(self) -> int:
        """What is outstanding; what waits for endpoints that may hang takes nobody's room, up to as much again in all."""
        return self._lanes.outstanding - min(self._lanes.waiting_in_doubt, self._most)

    def _reach(self, endpoint: Endpoint, ahead: dict[int, int]) -> int:
        if endpoint.limited:
            return self._lanes.width(endpoint)  # what is claimed is sent at once, or the rate would be another one
        if endpoint.id in self._lanes.doubted:
            return 2 * self._lanes.width(endpoint)
        return endpoint.max_in_flight + max(endpoint.max_in_flight, ahead.get(endpoint.id, 0))


def endpoint_room(settings: Settings) -> int:
    """Requests in flight to one endpoint that says nothing itself: a quarter, so that three hanging ones leave room."""
    return max(1, settings.max_in_flight // 4)
