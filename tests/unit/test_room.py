"""How much work a relay takes on: pace, room by number and by bytes."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import moment
from relay.config import Settings, load
from relay.directory import Defaults, Directory
from relay.keyring import Keyring
from relay.lanes import FEW, Lanes
from relay.model import Claimed, Delivery, Endpoint, ErrorClass, Result, Room, State
from relay.pace import AHEAD, LEAST, MEMORY, Pace
from relay.record import array, texts
from relay.rooms import Rooms
from tests.keys import KEY
from tests.unit.making import MOMENT, a_delivery, an_endpoint, an_event, an_outcome


def settings(**given: str) -> Settings:
    return load(DATABASE_URL="postgresql://localhost/x", **{f"ROWHOOK_{name.upper()}": value for name, value in given.items()})


class Here:
    """Rooms with endpoints that the directory knows."""

    def __init__(self, *endpoints: Endpoint, **given: str) -> None:
        asked = settings(**given)
        self.lanes = Lanes(asked.max_in_flight)
        directory = Directory(Defaults((timedelta(seconds=1),), 15.0, 10), Keyring.parse(KEY))
        directory.known.update({endpoint.id: endpoint for endpoint in endpoints})
        self.rooms = Rooms(asked, self.lanes, directory)

    def offer(self, *deliveries: Delivery) -> None:
        for delivery in deliveries:
            self.lanes.offer(delivery)

    def hear_from(self, endpoint: Endpoint, *, timed_out: bool = False) -> None:
        """One request of it, and how that ends."""
        self.offer(a_delivery(1000, endpoint))
        (delivery,) = self.lanes.take()
        self.lanes.landed(delivery, keeps_place=timed_out, answered=not timed_out)
        self.lanes.settled(delivery)
        if timed_out:
            self.lanes.gave_place(delivery)


def _claimed(event: int, data: bytes | None = None, endpoint: int = 1) -> Claimed:
    """The first delivery of an event."""
    return Claimed(
        *(1, moment.of(MOMENT), endpoint, 1, 1, 0, 0, None, None, None, event, 0),
        *(moment.of(MOMENT), "expense.created", None, None, "1", False, data, None),
        *(None, None, None),
    )


def _again(event: int) -> Claimed:
    """Another delivery of an event that a row before has."""
    return _claimed(event)._replace(occurred_at=None, type=None, row_key=None, moved=None)


def test_room_is_twice_what_may_be_in_flight() -> None:
    room = Here(max_in_flight="40").rooms.room()
    assert (room.capacity, room.endpoint_room, dict(room.left)) == (80, 20, {})


def test_parked_work_is_claimed_when_a_quarter_of_its_endpoints_room_is_free() -> None:
    slow, other = an_endpoint(1, max_in_flight=4), an_endpoint(2, max_in_flight=4)
    here = Here(slow, other)
    here.hear_from(slow)
    deliveries = [a_delivery(n, slow) for n in range(8)]
    here.offer(*deliveries)
    assert not here.rooms.is_free_for({1})
    assert here.rooms.is_free_for({1, 2})
    assert here.rooms.is_free_for({3}), "one that isn't known here has all of its room"
    assert not here.rooms.is_free_for(())
    here.lanes.settled(deliveries[0])
    assert not here.rooms.is_free_for({1}), "one of eight is no quarter"
    here.lanes.settled(deliveries[1])
    assert here.rooms.is_free_for({1})


@pytest.mark.parametrize(
    ("claimed", "is_spent"),
    [
        ((), False),
        ((_claimed(1), _claimed(2)), False),
        ((_claimed(1), _claimed(2), _claimed(3)), True),
        ((_claimed(1, b"x" * 992),), True),
        ((_claimed(1, b"x" * 991),), False),
        ((_claimed(1, b"x" * 492), _again(1)), True),
    ],
    ids=["nothing", "fewer", "as many", "bytes", "a byte less", "one event twice"],
)
def test_a_room_is_spent_on_its_number_or_its_bytes(claimed: tuple[Claimed, ...], is_spent: bool) -> None:
    """An event counts for each of its deliveries, as the query counts it; what Postgres adds to a text is reckoned with."""
    assert Room(capacity=3, endpoint_room=2, size=1000).is_spent_on(claimed) is is_spent


def test_endpoints_that_got_all_of_their_room_by_a_claim() -> None:
    known = [an_endpoint(id, max_in_flight=2) for id in (1, 2, 3)]
    here = Here(*known)
    claimed = (
        [_claimed(n, endpoint=1) for n in range(4)] + [_claimed(n, endpoint=2) for n in range(3)] + [_claimed(9, endpoint=3)]
    )
    room = Room(capacity=100, endpoint_room=50, left={3: 1})
    assert here.rooms.filled(claimed, room) == {1, 3}, "twice what may be in flight, or what was left of that"


def test_what_is_outstanding_takes_room_in_all_and_of_its_endpoint() -> None:
    endpoint = an_endpoint(1, max_in_flight=3)
    here = Here(endpoint, max_in_flight="40")
    here.hear_from(endpoint)
    here.offer(*(a_delivery(n, endpoint) for n in range(5)))
    room = here.rooms.room()
    assert (room.capacity, dict(room.left)) == (75, {1: 1})
    assert here.rooms.is_crowded() is False
    here.offer(a_delivery(6, endpoint))
    assert dict(here.rooms.room().left) == {1: 0}
    assert here.rooms.is_crowded()
    assert here.rooms.full(here.rooms.room()) == {1}


def test_what_waits_for_endpoints_that_may_hang_takes_nobodys_room() -> None:
    """Up to as much again in all; and of one that timed out little is claimed until it answers."""
    silent, well = an_endpoint(1, max_in_flight=100), an_endpoint(2, max_in_flight=10)
    here = Here(silent, well, max_in_flight="40")
    here.hear_from(well)
    here.offer(*(a_delivery(n, silent) for n in range(100)))
    assert len(list(here.lanes.take())) == FEW
    assert here.rooms.room().capacity == 80 - (100 - 80), "80 of what waits are forgiven"
    here.hear_from(well)
    assert here.rooms.is_roomy()

    here = Here(silent, well, max_in_flight="40")
    here.hear_from(silent, timed_out=True)
    assert dict(here.rooms.room().left) == {1: 2 * FEW}
    here.hear_from(silent)
    assert dict(here.rooms.room().left) == {}


def test_a_quick_endpoint_is_claimed_ahead_for_and_a_slow_one_is_not() -> None:
    quick, slow = an_endpoint(1, max_in_flight=10), an_endpoint(2, max_in_flight=10)
    here = Here(quick, slow, max_in_flight="40")
    delivery = a_delivery(1, quick)
    here.hear_from(slow)
    here.offer(a_delivery(2, slow))
    here.rooms.recorded([Result(delivery, an_outcome(200), State.DELIVERED)] * 1000)
    room = here.rooms.room()
    assert 300 < room.left[1] <= 10 + 1000 / MEMORY * AHEAD, "of 1,000 in a moment: what comes in that time"
    assert room.left[2] == 19
    assert room.capacity > 300


def test_who_was_quick_has_more_here_than_it_may_once_it_is_not() -> None:
    quick, slow = an_endpoint(1, max_in_flight=10), an_endpoint(2, max_in_flight=10)
    here = Here(quick, slow, max_in_flight="40")
    here.hear_from(quick)
    here.hear_from(slow)
    here.rooms.recorded([Result(a_delivery(1, quick), an_outcome(200), State.DELIVERED)] * 1000)
    here.offer(*(a_delivery(n, quick) for n in range(300)), *(a_delivery(n, slow) for n in range(20)))
    assert here.rooms.excess() == {}
    here.rooms._pace = Pace()  # a while later
    assert here.rooms.excess() == {1: 280}


def test_what_hung_is_no_pace() -> None:
    hangs = an_endpoint(1, max_in_flight=10)
    here = Here(hangs, max_in_flight="40")
    here.hear_from(hangs)
    capacity = here.rooms.room().capacity
    here.rooms.recorded([Result(a_delivery(1, hangs), an_outcome(error=ErrorClass.TIMEOUT), State.PENDING)] * 1000)
    assert here.rooms.room().capacity == capacity
    assert dict(here.rooms.room().left) == {}


def test_bytes_bound_what_is_here_and_an_event_counts_once() -> None:
    endpoints = [an_endpoint(n, max_in_flight=10) for n in (1, 2, 3)]
    here = Here(*endpoints, max_queued_bytes="1000")
    event = an_event(1, b"x" * 600)
    deliveries = [a_delivery(n, endpoint)._replace(event=event) for n, endpoint in enumerate(endpoints)]
    here.offer(*deliveries)
    assert (here.lanes.size, here.rooms.room().size) == (600, 400)
    assert here.rooms.is_roomy()
    here.offer(a_delivery(9, endpoints[0])._replace(event=an_event(2, b"x" * 600)))
    assert (here.lanes.size, here.rooms.room().size, here.rooms.is_roomy()) == (1200, 0, False)
    assert event.body.endswith(b"x}")
    for delivery in deliveries:
        here.lanes.settled(delivery)
    assert here.lanes.size == 600, "the body was made and counts as it did"


@pytest.mark.parametrize(("text", "found"), [("64MiB", 64 * 2**20), ("5000", 5000), ("1GB", 10**9)])
def test_queued_bytes_take_units(text: str, found: int) -> None:
    assert settings(max_queued_bytes=text).max_queued_bytes == found


def test_pace_fades() -> None:
    pace, now = Pace(), time.monotonic()
    pace.note([1] * 1000 + [2], now, now)
    many = 1000 / (MEMORY * LEAST) * AHEAD
    assert pace.ahead(now) == {1: int(many)}, "one delivery is no pace"
    assert pace.ahead(now + MEMORY)[1] == pytest.approx(many / 2.718, rel=0.01)
    assert pace.ahead(now + 100 * MEMORY) == {}
    pace.note([], now + 100 * MEMORY, now + 100 * MEMORY)
    assert pace._rates == {}, "forgotten"


def test_pace_finds_a_steady_rate() -> None:
    pace = Pace()
    for step in range(400):
        pace.note([7] * 50, step * 0.01, (step - 1) * 0.01)
    assert pace.ahead(4.0)[7] == pytest.approx(5000 * AHEAD, rel=0.05)


def test_a_pause_is_no_slowness() -> None:
    """5,000/s; nothing for a while; 5,000/s again: known after a twentieth of a second, not after one."""
    pace = Pace()
    for step in range(100):
        pace.note([7] * 50, step * 0.01, (step - 1) * 0.01)
    for step in range(300, 305):
        pace.note([7] * 50, step * 0.01, (step - 1) * 0.01)
    assert 5000 * AHEAD / 2 < pace.ahead(3.04)[7] <= 5000 * AHEAD
    for step in range(305, 500):
        pace.note([7] * 50, step * 0.01, (step - 1) * 0.01)
    assert pace.ahead(4.99)[7] == pytest.approx(5000 * AHEAD, rel=0.05)


def test_many_endpoints_share_one_pace() -> None:
    pace = Pace()
    for step in range(400):
        pace.note(range(step % 40, 2000, 40), step * 0.01, (step - 1) * 0.01)
    assert pace.ahead(4.0) == {}, "two or three a second each are no pace"
    assert pace.ahead_in_all(4.0) == pytest.approx(5000 * AHEAD, rel=0.05)


@given(st.lists(st.none() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()))
def test_arrays_of_numbers(values: list[float | None]) -> None:
    found = array(values)[1:-1].split(",") if values else []
    assert found == ["NULL" if value is None else str(value) for value in values]


def test_arrays_of_texts() -> None:
    assert texts([None, "NULL", "", 'a "b" \\c', "{x,y}", None]) == r'{NULL,"NULL","","a \"b\" \\c","{x,y}",NULL}'
    assert texts([]) == "{}"
