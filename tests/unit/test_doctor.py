"""Verdicts of doctor, from facts alone: both sides of each edge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from relay.doctor import bell, captures, endpoints, pooler, relays, retention, server, transactions
from relay.doctor.examine import worst
from relay.doctor.finding import Finding, Verdict, bad, counted, lasting, ok, warning
from relay.doctor.pooler import Way
from relay.lease import FROZEN_AFTER

OK, WARNING, BAD = Verdict.OK, Verdict.WARNING, Verdict.BAD


def verdict(found: Finding) -> Verdict:
    """Whatever is wrong comes with a remedy, and only that does."""
    assert bool(found.remedy) == (found.verdict is not OK)
    return found.verdict


def test_the_worst_verdict_counts() -> None:
    assert worst([]) is OK
    assert worst([ok("a", ""), warning("b", "", "x"), ok("c", "")]) is WARNING
    assert worst([bad("a", "", "x"), warning("b", "", "x")]) is BAD


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "an unknown time"), (0.04, "0.0 s"), (119.9, "119.9 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days")],
)
def test_time_spans(seconds: float | None, said: str) -> None:
    assert lasting(seconds) == said


def test_counts() -> None:
    assert [counted(1, "delivery"), counted(2, "delivery"), counted(0, "event")] == ["1 delivery", "2 deliveries", "0 events"]
    assert counted(10, "event", 10) == "10 events or more"


# --- the server ----------------------------------------------------------------------------------------------

SERVER = {"version": "18.1", "number": 180001, "standby": False, "max_prepared": 0, "queue_usage": 0.0}
SERVERS: list[tuple[dict[str, Any], str, Verdict]] = [
    ({"number": 140000}, "server version", OK),
    ({"number": 139999}, "server version", BAD),
    ({"number": 189999}, "server version", OK),
    ({"number": 190000}, "server version", WARNING),
    ({"standby": True}, "primary", BAD),
    ({"max_prepared": 1}, "two-phase commit", WARNING),
    ({"queue_usage": 0.0999}, "notification queue", OK),
    ({"queue_usage": 0.1}, "notification queue", WARNING),
    ({"queue_usage": 0.5}, "notification queue", BAD),
]


@pytest.mark.parametrize(("changes", "check", "expected"), SERVERS)
def test_the_server(changes: dict[str, Any], check: str, expected: Verdict) -> None:
    found = {finding.check: verdict(finding) for finding in server.judge({**SERVER, **changes})}
    assert found.pop(check) is expected
    assert set(found.values()) == {OK}


@pytest.mark.parametrize(
    ("listening", "working", "expected"),
    [
        (Way.DIRECT, Way.DIRECT, OK),
        (Way.SESSIONS, Way.SESSIONS, WARNING),
        (Way.DIRECT, Way.SESSIONS, WARNING),
        (Way.TRANSACTIONS, Way.TRANSACTIONS, BAD),
        (Way.DIRECT, Way.TRANSACTIONS, BAD),
    ],
)
def test_the_pooler(listening: Way, working: Way, expected: Verdict) -> None:
    assert verdict(pooler.judge(listening, working)) is expected


def test_the_bell() -> None:
    found = {rung.name: verdict(bell.judge(rung)) for rung in bell.Rung}
    assert found == {"HEARD": OK, "AWAKE": OK, "SILENT": BAD, "REFUSED": BAD}


# --- captures ------------------------------------------------------------------------------------------------

CAPTURE = {
    "table": "t",
    "name": "",
    "oid": 1,
    "table_gone": False,
    "paused": False,
    "missing": [],
    "disabled": [],
    "row_reasons": None,
    "within": None,
    "heirs": None,
    "set_aside": [],
    "unfit": None,
    "failures": 0,
    "last_failure": None,
}
CAPTURES: list[tuple[dict[str, Any], Verdict, str]] = [
    ({}, OK, "in place"),
    ({"table_gone": True}, WARNING, "dropped"),
    ({"set_aside": ['key: there is no column "a" any more']}, BAD, 'no column "a"'),
    ({"unfit": "column a does not exist"}, BAD, "a does not exist: which rows are captured can't be told"),
    ({"missing": ["!rowhook_insert"]}, BAD, "missing"),
    ({"disabled": ["!rowhook_insert"]}, BAD, "disabled"),
    ({"paused": True, "disabled": ["!rowhook_insert"]}, WARNING, "paused"),
    ({"paused": True}, WARNING, "some triggers are enabled"),
    ({"row_reasons": ["has no key", "is partitioned"]}, OK, "in place, row by row: it has no key, is partitioned"),
    ({"within": "bills"}, WARNING, "a partition of bills, which is captured too"),
    ({"heirs": "houses, boats"}, WARNING, "make no event: houses, boats"),
]


@pytest.mark.parametrize(("changes", "expected", "said"), CAPTURES)
def test_a_capture(changes: dict[str, Any], expected: Verdict, said: str) -> None:
    (found,) = captures.judge([{**CAPTURE, **changes}], [])
    assert verdict(found) is expected
    assert said in found.why


def test_captures_that_are_outdated_or_fail_or_are_not_there() -> None:
    (found,) = captures.judge([CAPTURE], [{"table": "t", "name": "", "mode": "statement", "mode_now": "row"}])
    assert (verdict(found), "its mode would be row" in found.why) == (WARNING, True)
    audit = {**CAPTURE, "name": "audit"}
    (first, second) = captures.judge([CAPTURE, audit], [{"table": "t", "name": "audit", "mode": "statement", "mode_now": "row"}])
    assert (verdict(first), verdict(second), second.remedy) == (OK, WARNING, "rowhook capture t --name audit")
    (gone,) = captures.judge([{**audit, "table_gone": True}], [])
    assert "rowhook.uncapture(1, $$audit$$)" in (gone.remedy or "")
    found, failed = captures.judge([{**CAPTURE, "failures": 2, "last_failure": "no"}], [])
    assert (verdict(found), verdict(failed), failed.why) == (OK, WARNING, "2 statements went uncaptured in 7 days; the last: no")
    assert verdict(captures.judge([], [])[0]) is WARNING
    assert captures.can_be_planned([CAPTURE, *({**CAPTURE, **changes} for changes, *_ in CAPTURES[1:3])]) == ["t", "t"]


def test_owners_of_trigger_functions() -> None:
    well = {"owner": "rowhook_capture", "is_superuser": False, "functions": 4, "lacks": []}
    assert verdict(captures.judge_owners([well], "rowhook_capture")) is OK
    assert verdict(captures.judge_owners([well, {**well, "owner": "app"}], "rowhook_capture")) is BAD
    assert verdict(captures.judge_owners([{**well, "owner": "app"}], "app")) is OK
    assert verdict(captures.judge_owners([{**well, "owner": "postgres", "is_superuser": True}], "postgres")) is BAD
    assert verdict(captures.judge_owners([{**well, "lacks": ["INSERT on rowhook.event"]}], "rowhook_capture")) is BAD


def test_ids_and_cursor() -> None:
    assert [verdict(f) for f in captures.judge_log({"cache": 1, "renumbered": False})] == [OK]
    assert [verdict(f) for f in captures.judge_log({"cache": 2, "renumbered": True})] == [BAD, WARNING]


# --- transactions --------------------------------------------------------------------------------------------

WRITER = {"kind": "session", "id": "7", "who": "app", "application": "psql", "state": "active", "age": 1.0}


@pytest.mark.parametrize(("age", "expected"), [(None, OK), (59.9, OK), (60.0, WARNING), (3599.0, WARNING), (3600.0, BAD)])
def test_the_oldest_writer(age: float | None, expected: Verdict) -> None:
    assert verdict(transactions.judge_writers([{**WRITER, "age": age}])) is expected
    prepared = transactions.judge_writers([{**WRITER, "kind": "prepared", "id": "one", "age": age}])
    assert verdict(prepared) is expected
    assert expected is OK or prepared.remedy == "COMMIT PREPARED 'one' or ROLLBACK PREPARED 'one'"
    assert verdict(transactions.judge_writers([])) is OK


def test_the_oldest_snapshot_and_slots() -> None:
    holder = {**WRITER, "xids": 5}
    assert verdict(transactions.judge_snapshots([])) is OK
    assert verdict(transactions.judge_snapshots([{**holder, "age": 3599.0}])) is OK
    assert verdict(transactions.judge_snapshots([{**holder, "age": 3600.0}])) is WARNING
    slot = {**holder, "kind": "slot", "age": None}
    assert verdict(transactions.judge_snapshots([{**slot, "xids": 9_999_999}])) is OK
    assert verdict(transactions.judge_snapshots([{**slot, "xids": 10_000_000}])) is WARNING


def test_dead_rows() -> None:
    table = {"table": "delivery", "dead": 0, "live": 0, "autovacuum": True}
    assert verdict(transactions.judge_bloat([])) is OK
    assert verdict(transactions.judge_bloat([{**table, "dead": 100_000, "live": 0}])) is OK
    assert verdict(transactions.judge_bloat([{**table, "dead": 100_001, "live": 0}])) is WARNING
    assert verdict(transactions.judge_bloat([{**table, "dead": 200_000, "live": 100_000}])) is OK
    assert verdict(transactions.judge_bloat([{**table, "autovacuum": False}])) is WARNING


# --- relays --------------------------------------------------------------------------------------------------

RELAY = {"id": 1, "name": "r", "state": "live", "holds_lock": True, "silent": 1.0, "missed_rings": 0, "dispatches": True}
DEAD = {**RELAY, "holds_lock": False, "dispatches": False}


def test_running_relays() -> None:
    assert verdict(relays.judge_running([RELAY], 5)) is OK
    assert verdict(relays.judge_running([{**RELAY, "silent": FROZEN_AFTER - 0.1}], 0)) is OK
    assert verdict(relays.judge_running([RELAY, {**RELAY, "silent": FROZEN_AFTER}], 0)) is BAD
    assert verdict(relays.judge_running([DEAD], 0)) is WARNING
    assert verdict(relays.judge_running([{**RELAY, "state": "dead"}], 1)) is BAD


@pytest.mark.parametrize(
    ("age", "running", "alone"), [(None, OK, WARNING), (4.9, OK, WARNING), (5.0, WARNING, WARNING), (60.0, BAD, BAD)]
)
def test_the_dispatchers_lag(age: float | None, running: Verdict, alone: Verdict) -> None:
    lag = {"events": 0 if age is None else 3, "age": age}
    assert verdict(relays.judge_dispatcher([RELAY], lag)) is running
    assert verdict(relays.judge_dispatcher([DEAD], lag)) is alone


def test_relays_of_which_none_dispatches() -> None:
    standby = {**RELAY, "dispatches": False}
    assert verdict(relays.judge_dispatcher([standby], {"events": 1, "age": 4.9})) is WARNING
    assert verdict(relays.judge_dispatcher([standby], {"events": 1, "age": 5.0})) is BAD


@pytest.mark.parametrize(
    ("age", "running", "alone"), [(None, OK, OK), (4.9, OK, OK), (5.0, WARNING, WARNING), (60.0, WARNING, BAD)]
)
def test_due_deliveries(age: float | None, running: Verdict, alone: Verdict) -> None:
    due = {"deliveries": 0 if age is None else 1, "age": age}
    assert verdict(relays.judge_due([RELAY], due)) is running
    assert verdict(relays.judge_due([DEAD], due)) is alone


def test_leases_of_the_dead() -> None:
    assert verdict(relays.judge_leases([], {"deliveries": 0, "age": None})) is OK
    assert verdict(relays.judge_leases([DEAD], {"deliveries": 1, "age": 100.0})) is WARNING
    assert verdict(relays.judge_leases([RELAY], {"deliveries": 1, "age": 9.9})) is WARNING
    assert verdict(relays.judge_leases([RELAY], {"deliveries": 1, "age": 10.0})) is BAD


def test_missed_rings_and_rights() -> None:
    assert verdict(relays.judge_missed_rings([RELAY])) is OK
    found = relays.judge_missed_rings([RELAY, {**DEAD, "missed_rings": 2, "name": "other"}])
    assert (verdict(found), "2 events" in found.why, "(other)" in found.why) == (WARNING, True, True)
    assert verdict(relays.judge_rights("r", [])) is OK
    assert verdict(relays.judge_rights("r", ["SELECT on rowhook.event"])) is BAD


# --- endpoints -----------------------------------------------------------------------------------------------

ENDPOINT = {"id": 1, "public_id": "end_1", "url": "https://example.com", "state": "active", "state_reason": None, "failing": None}
QUIET = {**ENDPOINT, "circuit": "closed", "pending": 0, "dead": 0, "dead_today": 0}
ENDPOINTS: list[tuple[dict[str, Any], Verdict, Verdict]] = [
    ({}, OK, OK),
    ({"failing": 599.0}, OK, OK),
    ({"failing": 600.0}, WARNING, OK),
    ({"failing": 5.0, "circuit": "ramping"}, OK, OK),
    ({"failing": 5.0, "circuit": "open"}, WARNING, OK),
    ({"state": "paused", "state_reason": "by hand", "pending": 4}, WARNING, OK),
    ({"state": "disabled", "state_reason": "410"}, WARNING, OK),
    ({"dead": 3, "dead_today": 1}, OK, WARNING),
]


@pytest.mark.parametrize(("changes", "expected", "letters"), ENDPOINTS)
def test_endpoints(changes: dict[str, Any], expected: Verdict, letters: Verdict) -> None:
    found, dead = endpoints.judge([{**QUIET, **changes}])
    assert (verdict(found), verdict(dead)) == (expected, letters)


def test_no_endpoints_and_secrets() -> None:
    assert verdict(endpoints.judge([])[0]) is WARNING
    assert verdict(endpoints.judge_secrets({}, 3)) is OK
    assert verdict(endpoints.judge_secrets({"end_1": "why"}, 3)) is BAD
    assert verdict(endpoints.judge_no_key()) is BAD


# --- retention -----------------------------------------------------------------------------------------------

MONTH = timedelta(days=30)
KEPT: dict[str, Any] = {"keep": MONTH, "idle": 5.0, "trouble": None, "slot": None, "overdue": None, "holders": None}
OVERDUE = {"slot": 3, "overdue": 6 * 3600.0 + 1}


@pytest.mark.parametrize(
    ("changes", "expected", "said"),
    [
        ({}, OK, "kept for 30 days"),
        ({"idle": None}, OK, "no relay has looked yet"),
        ({**OVERDUE, "overdue": 6 * 3600.0}, OK, ""),
        ({"trouble": "locked"}, WARNING, "locked"),
        ({"keep": None}, WARNING, "everything is kept"),
        ({**OVERDUE, "trouble": "no room"}, BAD, "slot 3 of the ring should have gone 6 h ago: no room"),
        ({**OVERDUE, "idle": 86_401.0}, BAD, "nobody has kept house for 24 h"),
        ({**OVERDUE, "holders": [77]}, BAD, "session 77 holds it"),
    ],
)
def test_retention(changes: dict[str, Any], expected: Verdict, said: str) -> None:
    found = retention.judge(MONTH, {**KEPT, **changes})
    assert verdict(found) is expected
    assert said in found.why


def test_the_remedy_for_a_slot_that_is_held_names_the_session() -> None:
    assert "pg_terminate_backend(77)" in retention.judge(MONTH, {**KEPT, **OVERDUE, "holders": [77]}).remedy
