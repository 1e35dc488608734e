"""The bell: would a writer's ring be heard on the connection on which relays listen?

While a relay dispatches, the bell is its own: only it may arm and disarm. Then we ring when it happens to sleep, and listen
along. While nobody does, we take the role for that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, auto

import psycopg
from psycopg.rows import DictRow

from relay.database import query
from relay.doctor.finding import Finding, bad, ok
from relay.model import ROLE_KEY

Connection = psycopg.Connection[DictRow]

ARMED_FOR = timedelta(seconds=10)
HEARD_WITHIN = 3.0
ASLEEP_WITHIN = 4.0  # a busy dispatcher may not sleep at all
TRIES = 3


class Rung(Enum):
    """What came of ringing."""

    HEARD = auto()
    SILENT = auto()
    AWAKE = auto()
    REFUSED = auto()


def ring(listening: Connection, ringing: Connection) -> Rung:
    """Ring through the probe's trigger, as a writer does; both connections are direct ones of the relay's role."""
    listening.execute("LISTEN rowhook_bell")
    try:
        if ringing.execute(query("dispatch.take_role"), {"key": ROLE_KEY}).fetchall()[0]["taken"]:
            return _ring_alone(listening, ringing)
        return _ring_beside_a_dispatcher(listening, ringing)
    except psycopg.errors.InsufficientPrivilege:
        return Rung.REFUSED


def _ring_alone(listening: Connection, ringing: Connection) -> Rung:
    ringing.execute(query("doorbell.arm"), {"until": ARMED_FOR})
    try:
        ringing.execute(query("doorbell.probe"))
        return Rung.HEARD if _heard(listening, HEARD_WITHIN) else Rung.SILENT
    finally:
        ringing.execute(query("doorbell.disarm"))
        ringing.execute(query("doctor.give_role_back"), {"key": ROLE_KEY})


def _ring_beside_a_dispatcher(listening: Connection, ringing: Connection) -> Rung:
    """It may wake between our look at the flag and our ring, hence several tries."""
    for _ in range(TRIES):
        if not _until(lambda: ringing.execute(query("doctor.armed")).fetchall()[0]["armed"], ASLEEP_WITHIN):
            return Rung.AWAKE
        ringing.execute(query("doorbell.probe"))
        if _heard(listening, HEARD_WITHIN / TRIES):
            return Rung.HEARD
    return Rung.SILENT


def _heard(listening: Connection, within: float) -> bool:
    return any(True for _ in listening.notifies(timeout=within, stop_after=1))


def _until(condition: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def judge(rung: Rung) -> Finding:
    check = "own bell"
    match rung:
        case Rung.HEARD:
            return ok(check, "a ring through a trigger was heard")
        case Rung.AWAKE:
            return ok(check, "not rung: a relay is awake and dispatching, so writers need not ring")
        case Rung.REFUSED:
            why = "the probe could not be rung: the relay's role, or the owner of the trigger functions, lacks a right"
            return bad(
                check,
                why,
                "GRANT SELECT ON SEQUENCE rowhook.doorbell TO rowhook_capture; GRANT rowhook_relay TO the relay's role",
            )
        case Rung.SILENT:
            why = "a ring through a trigger was not heard: relays refuse to start, or find events up to 15 s late"
            return bad(
                check, why, "GRANT SELECT ON SEQUENCE rowhook.doorbell TO rowhook_capture; connect directly (ROWHOOK_LISTEN_URL)"
            )
