"""Lanes: which claimed delivery goes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.lanes import FEW, Lanes
from relay.model import Delivery
from tests.unit.making import a_delivery, an_endpoint


def offered(most: int, *endpoints: int, max_in_flight: int = 2) -> Lanes:
    """Lanes with a delivery for each endpoint named; deliveries are numbered from 1."""
    lanes = Lanes(most)
    for number, endpoint in enumerate(endpoints, 1):
        lanes.offer(a_delivery(number, an_endpoint(endpoint, max_in_flight)))
    return lanes


def ids(deliveries: object) -> list[int]:
    return [delivery.id for delivery in deliveries]  # type: ignore[attr-defined]


def test_endpoints_take_turns() -> None:
    assert ids(offered(10, 1, 1, 2, 2, 3).take()) == [1, 3, 5, 2, 4]


def test_within_an_endpoint_the_order_is_kept() -> None:
    assert ids(offered(10, 1, 1, 1, max_in_flight=3).take()) == [1, 2, 3]


def test_no_endpoint_has_more_in_flight_than_it_may() -> None:
    lanes = offered(10, 1, 1, 1, 2)
    first = list(lanes.take())
    assert ids(first) == [1, 4, 2]
    assert ids(lanes.take()) == []
    lanes.landed(first[0])
    assert ids(lanes.take()) == [3]


def test_few_are_in_flight_to_an_endpoint_until_it_answers_and_again_after_a_timeout() -> None:
    """1 Nothing heard: few. 2 An answer: all it may. 3 A timeout: few again, once those that are out have landed."""
    lanes = offered(100, *[1] * 40, max_in_flight=10)
    first = list(lanes.take())
    assert len(first) == FEW
    assert not lanes.landed(first[0]), "it was refused, for instance"
    first = [*first[1:], *lanes.take()]
    assert len(first) == FEW
    assert lanes.landed(first[0], answered=True), "there is room for more than one other"
    rest = list(lanes.take())
    assert len(rest) == 10 - (FEW - 1)
    assert not lanes.landed(rest[0])
    assert len(list(lanes.take())) == 1
    lanes.landed(rest[1], keeps_place=True)
    lanes.gave_place(rest[1])
    assert list(lanes.take()) == []
    for delivery in (*first[1:], *rest[2:]):
        lanes.landed(delivery, keeps_place=True)
        lanes.gave_place(delivery)
    assert len(list(lanes.take())) == FEW - 1, "one is out still"
    assert lanes.doubted == {1}


def test_no_more_are_in_flight_than_in_all_may_be() -> None:
    lanes = offered(2, 1, 2, 3)
    first = list(lanes.take())
    assert ids(first) == [1, 2]
    assert lanes.in_flight == 2
    lanes.landed(first[1])
    assert ids(lanes.take()) == [3]


def test_a_full_endpoint_does_not_stand_in_the_way_of_others() -> None:
    lanes = offered(10, 1, 1, 1, 1)
    assert ids(lanes.take()) == [1, 2]
    lanes.offer(a_delivery(5, an_endpoint(2)))
    assert ids(lanes.take()) == [5]


def test_a_delivery_is_outstanding_until_it_is_settled() -> None:
    lanes = offered(10, 1, 2)
    assert (lanes.outstanding, lanes.busy) == (2, {1: 1, 2: 1})
    first, second = lanes.take()
    lanes.landed(first)
    assert lanes.outstanding == 2, "its result is not recorded yet"
    lanes.settled(first)
    assert (lanes.outstanding, lanes.busy) == (1, {2: 1})
    lanes.landed(second)
    lanes.settled(second)
    assert (lanes.outstanding, lanes.busy, lanes.in_flight) == (0, {}, 0)


def test_what_has_not_started_can_be_taken_out() -> None:
    lanes = offered(1, 1, 1, 2)
    flying = list(lanes.take())
    assert ids(lanes.drop_waiting()) == [2, 3]
    assert lanes.busy == {1: 1}
    lanes.landed(flying[0])
    assert ids(lanes.take()) == []
    lanes.offer(a_delivery(9, an_endpoint(2)))
    assert ids(lanes.take()) == [9], "lanes can be used again"


def test_of_what_waits_those_that_came_last_can_be_taken_out() -> None:
    lanes = offered(10, 1, 1, 1, 2, 2)
    first = lanes.next()
    assert first is not None
    assert sorted(ids(lanes.drop_last({1: 1, 2: 5, 3: 1}))) == [3, 4, 5]
    assert lanes.busy == {1: 2}
    assert ids(lanes.take()) == [2]


@given(
    most=st.integers(1, 5),
    width=st.integers(1, 3),
    moves=st.lists(
        st.one_of(st.integers(1, 4), st.sampled_from(["take", "land", "answer", "hang", "place", "drop", "shed"])), max_size=60
    ),
)
def test_whatever_happens_the_bounds_hold_and_nothing_gets_lost(most: int, width: int, moves: list[int | str]) -> None:
    lanes, flying, hung, number = Lanes(most), list[Delivery](), list[Delivery](), 0
    gone: list[int] = []
    for move in moves:
        if isinstance(move, int):
            number += 1
            lanes.offer(a_delivery(number, an_endpoint(move, width)))
        elif move == "take":
            flying += lanes.take()
        elif move == "drop":
            gone += ids(lanes.drop_waiting())
        elif move == "shed":
            gone += ids(lanes.drop_last({1: 1, 3: 2, 5: 1}))
        elif move == "place":
            if hung:
                lanes.gave_place(hung.pop(0))
        elif flying:
            landed = flying.pop(0)
            lanes.landed(landed, keeps_place=move == "hang", answered=move == "answer")
            lanes.settled(landed)
            gone.append(landed.id)
            hung += [landed] if move == "hang" else []
        assert lanes.in_flight == len(flying) <= most
        assert all(sum(d.endpoint.id == e for d in flying + hung) <= width for e in range(1, 5))
        assert lanes.outstanding == number - len(gone)
    for delivery in hung:
        lanes.gave_place(delivery)
    while flying or lanes.outstanding:
        flying += lanes.take()
        landed = flying.pop(0)
        lanes.landed(landed)
        lanes.settled(landed)
        gone.append(landed.id)
    assert sorted(gone) == list(range(1, number + 1))
