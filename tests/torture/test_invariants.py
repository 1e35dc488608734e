"""Each invariant sees what it is there for: a run without a flaw passes all, and each flaw fails the one that it breaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.torture.invariants import INVARIANTS
from tests.torture.invariants.matching import FILTERS, wants
from tests.torture.making import KEY, LATER, NOW, REQUEST, WELL, again, also, put, twice, without
from tests.torture.records import (
    Attempt,
    Committed,
    Content,
    Delivery,
    Endpoint,
    Evidence,
    Fault,
    Held,
    Instance,
    Life,
    Secret,
    Verdict,
    WriterError,
)

CHECKS = {invariant.number: invariant.check for invariant in INVARIANTS}
STRANGER = Content("expense.created", data='{"id": 9}')


def verdict(number: int, evidence: Evidence) -> Verdict:
    return CHECKS[number](evidence)


def violated(evidence: Evidence) -> set[int]:
    return {number for number, check in CHECKS.items() if check(evidence).violations}


def test_there_are_twelve_in_order_and_two_more():
    assert list(CHECKS) == list(range(1, 15))


def test_a_run_without_a_flaw_violates_none_and_each_has_checked_something():
    assert violated(WELL) == set()
    assert all(check(WELL).checked for check in CHECKS.values())


# --- 1 -------------------------------------------------------------------------------------------------------


def unanswered(**delivery: Any) -> Evidence:
    """The second change's request got a 500, and that was its only one."""
    evidence = put(put(WELL, "requests", 1, status=500), "attempts", 1, status=500, error="http_5xx")
    return put(evidence, "deliveries", 1, **delivery)


def test_1_a_change_that_nobody_captured():
    assert violated(also(WELL, committed=[Committed(3, STRANGER)])) == {1}


def test_1_a_change_whose_delivery_was_never_made():
    evidence = without(without(WELL, "requests", 1), "attempts", 1)
    assert violated(without(evidence, "deliveries", 1)) == {1}


def test_1_a_delivery_that_says_delivered_and_was_not_answered():
    assert 1 in violated(unanswered())


@pytest.mark.parametrize(
    ("delivery", "endpoint", "discarded", "cause"),
    [
        ({"state": "dead"}, "active", set(), "dead letter"),
        ({"state": "pending"}, "paused", set(), "pending: endpoint paused"),
        ({"state": "pending"}, "active", set(), None),
        ({"state": "cancelled"}, "active", {1}, "discarded by hand"),
        ({"state": "cancelled"}, "active", set(), None),
        ({"state": "dead", "attempts": 0}, "active", set(), None),
    ],
)
def test_1_causes(delivery: dict[str, Any], endpoint: str, discarded: set[int], cause: str | None):
    evidence = put(replace(unanswered(**delivery), discarded=frozenset(discarded)), "endpoints", 0, state=endpoint)
    found = verdict(1, evidence)
    assert (dict(found.excused), len(found.violations)) == (({cause: 1}, 0) if cause else ({}, 1))


def test_1_an_endpoint_is_owed_what_committed_after_it_was_added_and_what_it_wants():
    newcomer = Endpoint(2, "new", ("expense.*",), None, "active", 3, added=5)
    assert violated(also(WELL, endpoints=[newcomer])) == set()
    assert violated(also(WELL, endpoints=[replace(newcomer, added=1)])) == {1}
    assert violated(also(WELL, endpoints=[replace(newcomer, added=1, events=("bill.*",))])) == set()
    assert violated(also(WELL, endpoints=[replace(newcomer, added=1, tenant="7")])) == set()
    assert violated(also(WELL, endpoints=[replace(newcomer, added=1, events=("expense.updated",), removed=9)])) == set()


def test_1_and_2_know_filters():
    (filter,) = FILTERS
    endpoint = Endpoint(2, "new", ("expense.*",), None, "active", 3, added=1, filter=filter)
    large, small = (Content("expense.created", data=f'{{"amount": "{amount}", "id": 9}}') for amount in ("5000.01", "5000.00"))
    assert wants(endpoint, large)
    assert not wants(endpoint, small)
    assert violated(put(WELL, "endpoints", 0, filter=filter)) >= {2}, "what it got doesn't match"


# --- 2 -------------------------------------------------------------------------------------------------------


def test_2_something_that_did_not_commit():
    assert violated(without(WELL, "committed", 0)) == {2}


def test_2_something_that_the_endpoint_did_not_ask_for():
    assert 2 in violated(put(WELL, "endpoints", 0, events=("expense.created",)))
    assert 2 in violated(put(WELL, "endpoints", 0, tenant="7"))


def test_2_something_after_the_endpoint_was_removed():
    assert violated(put(WELL, "endpoints", 0, removed=9)) == set()
    assert violated(put(WELL, "endpoints", 0, removed=2)) == {2}


def test_2_the_same_change_under_two_ids():
    copy = replace(REQUEST, webhook_id="evt_9", delivery="dlv_9")
    evidence = also(
        WELL,
        requests=[copy],
        attempts=[Attempt("dlv_9", 1, 11, NOW, 0.1, 200, None)],
        deliveries=[Delivery("dlv_9", "evt_9", 1, "delivered", 1, 0)],
    )
    assert violated(evidence) == {2}


def test_2_a_request_for_no_delivery():
    assert violated(also(WELL, requests=[replace(REQUEST, delivery="dlv_9", webhook_id="evt_9")])) >= {2, 4}


# --- 3 -------------------------------------------------------------------------------------------------------


def test_3_other_bytes_at_the_second_attempt():
    fault = Fault("kill", "r1", NOW, NOW)
    assert violated(twice(fault=fault)) == set()
    assert violated(twice(fault=fault, body="body 1 ")) == {3}
    assert violated(twice(fault=fault, webhook_id="evt_1b")) == {3}


def test_3_a_wrong_signature():
    assert violated(put(WELL, "requests", 0, verified=())) == {3}


@pytest.mark.parametrize(("begins", "ends", "wrong"), [(-60, None, False), (-60, -10, False), (-60, -20, True), (5, None, True)])
def test_3_a_secret_that_was_not_the_hooks_then(begins: float, ends: float | None, wrong: bool):
    secret = Secret("hook", 0, NOW + begins, None if ends is None else NOW + ends)
    assert violated(replace(without(WELL, "requests", 1), committed=WELL.committed[:1], secrets=[secret])) >= (
        {3} if wrong else set()
    )
    assert bool(verdict(3, replace(without(WELL, "requests", 1), secrets=[secret])).violations) is wrong


# --- 4, 5, 8 -------------------------------------------------------------------------------------------------


def test_4_a_request_that_is_not_on_record():
    assert violated(put(without(WELL, "attempts", 0), "deliveries", 0, attempts=0)) == {4}


def test_4_a_status_that_no_receiver_gave():
    assert violated(put(WELL, "attempts", 0, status=204)) == {4}
    invented = [Attempt("dlv_1", 2, 11, NOW + 2, 0.1, 200, None)]
    assert violated(put(also(WELL, attempts=invented), "deliveries", 0, attempts=2)) == {4}


def test_4_an_answer_that_was_broken_off_may_have_a_status():
    evidence = put(put(WELL, "requests", 0, status=None), "attempts", 0, error="reset")
    assert not verdict(4, evidence).violations
    assert verdict(4, put(evidence, "attempts", 0, error=None)).violations


def test_4_one_try_that_was_seen_twice():
    assert 4 in violated(also(WELL, requests=[REQUEST]))


def test_4_a_lost_try_may_have_been_seen_or_not():
    lost = put(WELL, "attempts", 0, status=None, error="lost", duration=None)
    assert not verdict(4, lost).violations
    assert not verdict(4, without(lost, "requests", 0)).violations


def test_5_a_gap():
    assert violated(put(put(WELL, "attempts", 0, number=2), "deliveries", 0, attempts=2)) >= {5}
    assert violated(put(WELL, "deliveries", 0, attempts=2)) == {5}
    assert violated(without(without(WELL, "attempts", 0), "requests", 0)) >= {5}


def test_5_the_last_try_of_a_leased_one_is_still_to_come():
    assert not verdict(5, put(WELL, "deliveries", 0, attempts=2, state="leased")).violations


def tried(*errors: str, replayed: float | None = None) -> Evidence:
    """The first delivery has these attempts more; its schedule allows three in all."""
    rows = [Attempt("dlv_1", 2 + n, 11, NOW + 2 + n, 0.1, None, error) for n, error in enumerate(errors)]
    seen = [replace(REQUEST, n=9, attempt=row.number, received=row.started, ended=row.started, status=None) for row in rows]
    return put(also(WELL, attempts=rows, requests=seen), "deliveries", 0, attempts=1 + len(rows), replayed=replayed)


def test_8_more_failures_than_the_schedule_allows():
    assert not verdict(8, tried("timeout", "reset", "timeout")).violations
    assert verdict(8, tried("timeout", "reset", "timeout", "timeout")).violations
    assert verdict(8, put(WELL, "deliveries", 0, failures=4)).violations
    assert not verdict(8, tried("timeout", "lost", "lost", "timeout", "timeout")).violations
    assert not verdict(8, tried("timeout", "reset", "timeout", "timeout", replayed=NOW + 3)).violations
    assert verdict(8, tried("timeout", "reset", "timeout", "timeout", "timeout", replayed=NOW + 3)).violations


def test_8_a_reset_on_a_used_connection_is_a_free_try():
    evidence = tried("timeout", "reset", "timeout", "timeout")
    position = next(n for n, request in enumerate(evidence.requests) if request.attempt == 3)
    assert not verdict(8, put(evidence, "requests", position, reused=True)).violations
    assert not verdict(8, without(evidence, "requests", position)).violations


def test_8_a_result_that_came_after_its_relay_was_hit_is_a_lost_try_filled_late():
    evidence = tried("timeout", "timeout", "timeout", "timeout")
    assert not verdict(8, also(evidence, faults=[Fault("freeze", "r1", NOW + 2.5, NOW + 3.5)])).violations
    assert verdict(8, also(evidence, faults=[Fault("freeze", "r2", NOW + 2.5, NOW + 3.5)])).violations
    assert verdict(8, also(evidence, faults=[Fault("freeze", "r1", NOW + 50, NOW + 60)])).violations


# --- 6 and 11 ------------------------------------------------------------------------------------------------


def overlapping(fault: Fault | None = None, instance: int = 12) -> Evidence:
    """A hangs for ten seconds, B sends the same meanwhile."""
    evidence = put(twice(instance, fault), "requests", 0, ended=NOW + 10, status=None)
    return put(evidence, "attempts", 0, status=None, error="lost", duration=None)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (None, None),
        (Fault("freeze", "r1", NOW + 0.5, NOW + 15), "freeze"),
        (Fault("cut", "r1", NOW + 0.5, NOW + 0.5), "partition"),
        (Fault("restart_fast", "*", NOW + 0.5, NOW + 2), "partition"),
        (Fault("freeze", "r2", NOW + 0.5, NOW + 15), None),  # the other one's
        (Fault("freeze", "r1", NOW - 30, NOW - 15), None),  # long before it was sent
        (Fault("silence", "r1", NOW - 9, NOW - 6), "partition"),  # it may not have noticed yet
        (Fault("silence", "r1", NOW - 19, NOW - 10), None),
        (Fault("cut", "r1", NOW - 1.5, NOW - 1.5), "partition"),
        (Fault("cut", "r1", NOW - 6, NOW - 6), None),  # of that it has heard
        (Fault("freeze", "r1", NOW + 9, NOW + 20), None),  # after it was sent again
        (Fault("pause", "r1", NOW, NOW + 15), None),  # no reason at all
    ],
)
def test_6_out_at_two_relays_at_once(fault: Fault | None, cause: str | None):
    found = verdict(6, overlapping(fault))
    assert (dict(found.excused), len(found.violations)) == (({cause: 1}, 0) if cause else ({}, 1))


def test_6_one_relay_after_the_other_is_no_overlap():
    assert not verdict(6, twice()).violations
    assert not verdict(6, overlapping(instance=11)).violations, "its own instance"


def test_6_a_relay_that_gave_up_is_done_though_the_receiver_hears_of_it_later():
    evidence = put(overlapping(), "attempts", 0, error="timeout", duration=1.9)
    assert not verdict(6, evidence).violations
    assert verdict(6, put(evidence, "attempts", 0, duration=2.1)).violations


def test_6_a_fault_of_a_supervisor_is_one_of_its_relays():
    evidence = put(overlapping(Fault("cut", "r2", NOW + 1, NOW + 1)), "attempts", 0, instance=12)
    assert not verdict(6, put(evidence, "attempts", 2, instance=11)).violations


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (None, None),
        (Fault("kill", "r1", NOW + 0.05, NOW + 0.05), "crash"),
        (Fault("kill", "r2/1", NOW + 0.05, NOW + 0.05), None),
        (Fault("kill", "r1", NOW + 2.5, NOW + 2.5), "crash"),  # its result may have waited so long
        (Fault("deafen", "r1", NOW - 8, NOW + 3), "partition"),  # it begins anew once it has noticed
    ],
)
def test_11_sent_again_after_it_was_answered(fault: Fault | None, cause: str | None):
    found = verdict(11, twice(fault=fault))
    assert (dict(found.excused), len(found.violations)) == (({cause: 1}, 0) if cause else ({}, 1))


def test_11_a_fault_long_after_the_answer_is_no_reason():
    request, row = again(2, 12, received=NOW + 9, ended=NOW + 9.1)
    evidence = put(also(WELL, requests=[request], attempts=[row]), "deliveries", 0, attempts=2)
    assert verdict(11, also(evidence, faults=[Fault("kill", "r1", NOW + 8, NOW + 8)])).violations


def test_11_what_a_killed_relay_had_sent_may_be_read_long_after():
    """A busy receiver reads a request 3 s after its relay was killed; on record as lost, it was claimed before that, or not."""
    late = put(
        put(twice(), "requests", 0, received=NOW + 3, ended=NOW + 3.1), "requests", -1, received=NOW + 3.2, ended=NOW + 3.3
    )
    late = also(late, faults=[Fault("kill", "r1", NOW + 0.5, NOW + 0.5)])
    claimed = put(late, "attempts", 0, error="lost", status=None, duration=None, started=NOW + 0.2)
    assert verdict(11, claimed).excused == {"crash": 1}
    assert verdict(11, put(claimed, "attempts", 0, started=NOW + 1.9)).violations


def test_11_a_frozen_relay_may_come_last_of_all():
    """Its first try was out, or nearly, when it froze; the second try was answered meanwhile."""
    evidence = put(twice(), "requests", 0, received=NOW + 15.2, ended=NOW + 15.3)
    evidence = also(evidence, faults=[Fault("freeze", "r1", NOW, NOW + 15)])
    assert verdict(11, evidence).excused == {"freeze": 1}
    assert verdict(11, put(evidence, "faults", 0, target="r2")).violations
    assert verdict(11, put(evidence, "faults", 0, ended=NOW + 13)).violations


def test_11_a_lost_answer_and_a_replay_are_reasons():
    assert verdict(11, put(twice(), "attempts", 0, status=None, error="timeout")).excused == {"lost answer": 1}
    assert verdict(11, put(twice(), "deliveries", 0, replayed=NOW + 1)).excused == {"replay": 1}
    assert verdict(11, put(twice(), "deliveries", 0, replayed=NOW - 1)).violations


def test_11_a_failure_is_tried_again_without_being_a_duplicate():
    assert not verdict(11, put(twice(), "requests", 0, status=500)).violations


# --- 7 -------------------------------------------------------------------------------------------------------


def swapped(key: str = KEY) -> Evidence:
    """The later change came first."""
    return replace(WELL, requests=[replace(LATER, received=NOW), replace(REQUEST, received=NOW + 1, key=key)])


def test_7_the_later_change_came_first():
    assert violated(swapped()) == {7}
    assert not verdict(7, swapped(key='["expense", "2"]')).violations, "another row"
    assert not verdict(7, put(swapped(), "endpoints", 0, ordered=False)).violations


def test_7_a_retry_after_a_later_change_is_one_too_and_a_replay_is_none():
    request, row = again(2, 11, received=NOW + 4, ended=NOW + 5)
    evidence = put(also(WELL, requests=[request], attempts=[row]), "deliveries", 0, attempts=2)
    assert verdict(7, evidence).violations
    assert not verdict(7, put(evidence, "deliveries", 0, replayed=NOW + 3.5)).violations
    assert verdict(7, also(evidence, faults=[Fault("freeze", "r1", NOW + 2, NOW + 5)])).excused == {"freeze": 1}


# --- 9 -------------------------------------------------------------------------------------------------------


def died(after: float, **more: Any) -> Evidence:
    """r1 dies at once; so long after its lease is still there."""
    evidence = also(WELL, lives=[Life("r1", 7, NOW - 60, NOW)], held=[Held(NOW + after, 11, 3)])
    return also(evidence, **more)


def test_9_a_lease_of_a_process_that_died():
    assert violated(died(1.9)) == set()
    assert violated(died(2.6)) == {9}


def test_9_whose_end_could_not_be_heard_has_as_long_as_one_that_is_cut_off():
    its_own_way = [Fault("silence", "r1", NOW - 0.1, NOW + 9.5)]
    assert not verdict(9, died(5.0, faults=its_own_way)).violations
    assert verdict(9, died(2.6, faults=[Fault("halve", "r1", NOW - 0.1, NOW + 9.5)])).violations  # the server hears of that
    assert verdict(9, died(4.0, faults=[Fault("silence", "r1", NOW - 0.1, NOW + 1.0)])).violations
    assert verdict(9, died(10.5, faults=[Fault("silence", "r1", NOW - 0.1, NOW + 12.0)])).violations


def test_9_time_does_not_count_while_nobody_could_take_over():
    assert not verdict(9, died(2.6, faults=[Fault("restart_fast", "*", NOW + 0.5, NOW + 1)])).violations
    assert not verdict(9, died(2.6, faults=[Fault("freeze", "r2/1", NOW - 5, NOW + 10)])).violations
    assert not verdict(9, replace(died(2.6), instances=WELL.instances[:1])).violations
    assert not verdict(9, replace(died(2.6), sampled=[NOW + 2.6])).violations, "nobody could run"
    assert verdict(9, died(9.0, faults=[Fault("restart_fast", "*", NOW + 0.5, NOW + 1)])).violations, "but then it does"


def test_9_leases_of_its_successor_are_its_successors():
    successor = Instance(13, "r1", NOW + 1, None)
    assert not verdict(9, also(died(1.0), instances=[successor], held=[Held(NOW + 9, 13, 3)])).violations
    assert verdict(9, also(WELL, held=[Held(NOW, 99, 3)])).violations, "an instance that never was"


# --- 10 and 12 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "endpoint", "wrong"),
    [("pending", "active", True), ("pending", "removed", True), ("leased", "paused", True), ("pending", "paused", False)],
)
def test_10_what_is_left(state: str, endpoint: str, wrong: bool):
    evidence = put(put(WELL, "deliveries", 0, state=state), "endpoints", 0, state=endpoint)
    assert bool(verdict(10, evidence).violations) is wrong


def test_10_events_that_were_not_dispatched():
    assert violated(replace(WELL, undispatched=3)) == {10}


@pytest.mark.parametrize(
    ("sqlstate", "said", "fault", "wrong"),
    [
        ("23503", "violates foreign key", None, False),
        ("23503", 'violates foreign key\nPL/pgSQL function rowhook.capture_1_insert() line 3', None, True),
        ("40P01", "deadlock detected", None, False),
        ("40P01", "deadlock detected\nrelation rowhook.event", None, True),
        ("40001", "could not serialize access\nPL/pgSQL function rowhook.capture_1_insert()", None, False),
        ("57P01", "terminating connection", None, True),
        ("57P01", "terminating connection\nPL/pgSQL function rowhook.capture_1_insert()", "terminate", False),
        (None, "server closed the connection", "crash", False),
        (None, "server closed the connection", "freeze", True),
        ("55P03", "lock timeout", "crash", True),
        ("42501", "permission denied for sequence doorbell", None, True),
    ],
)  # fmt: skip
def test_12_what_writers_heard(sqlstate: str | None, said: str, fault: str | None, wrong: bool):
    faults = [Fault(fault, "*", NOW, NOW + 1)] if fault else []
    evidence = also(WELL, errors=[WriterError(NOW + 1, "w1", sqlstate, said)], faults=faults)
    assert violated(evidence) == ({12} if wrong else set())


# --- 13 and 14 -----------------------------------------------------------------------------------------------


def test_13_a_row_that_verify_names():
    assert violated(replace(WELL, differing={"expenses": ["row 7"], "seats": []})) == {13}


def test_14_what_doctor_finds_bad():
    assert violated(replace(WELL, ailments=["bell: not heard"])) == {14}
