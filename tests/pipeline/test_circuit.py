"""A receiver's bad days: nothing but failures opens its circuit; one probe at a time; a ramp; and everything arrives."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable

import pytest
from aiohttp import web

from relay.circuit import FAILURES, STEPS
from tests.conftest import Connection
from tests.pipeline.commands import emit, rowhook, the_endpoint
from tests.pipeline.conftest import AddHook, Gate, Hook, attempts_of, becomes, one, states
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]
MANY = "SELECT rowhook.emit('a.b', '1') FROM generate_series(1, %s)"


class Patient:
    """A receiver that is down or well; counts who is there at once, and in front of each request what came before it."""

    def __init__(self) -> None:
        self.down = True
        self.at_once: list[tuple[int, int]] = []  # at each request since the last reset: requests open, requests answered
        self._open = self._answered = 0
        self._lock = threading.Lock()

    def reset(self) -> None:
        with self._lock:
            self.at_once.clear()
            self._answered = 0

    async def answer(self, _request: web.Request) -> web.Response:
        with self._lock:
            self._open += 1
            self.at_once.append((self._open, self._answered))
        await asyncio.sleep(0.02)
        with self._lock:
            self._open -= 1
            self._answered += 1
        return web.Response(status=503 if self.down else 200)


@pytest.fixture
def patient(receiver: Receiver) -> Patient:
    patient = Patient()
    receiver.answer("/hook", patient.answer)
    return patient


def circuit(connection: Connection, hook: Hook) -> str:
    return str(the_endpoint(connection, hook)["circuit"])


def tries_and_probes(connection: Connection, hook: Hook) -> tuple[int, int]:
    """How many tries have failed in all, and how many probes, at the same moment."""
    both = "SELECT ARRAY[(SELECT sum(failures) FROM rowhook.delivery), p.probes] FROM rowhook.endpoint AS p WHERE p.id = %s"
    tried, probed = one(connection, both, hook.id)
    return tried, probed


# Tries of probes, and the waits between them, by the server's clock.
PROBES = """
SELECT extract(epoch FROM a.started_at - p.opened_at)::float8
  FROM rowhook.attempt AS a JOIN rowhook.delivery AS d ON d.id = a.delivery_id JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
 WHERE p.id = %s AND a.started_at >= p.opened_at ORDER BY 1
"""
LONGEST = 1.28


def test_a_receiver_that_is_down_is_probed_and_ramped_up_to_when_it_is_back(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, patient: Patient, dsn: str
) -> None:
    """1 Two relays, a receiver that is down, 400 events. 2 Its circuit opens. 3 Probes, one at a time. 4 Back: all arrive."""
    hook = add_hook(receiver.url(), retry_schedule=["20ms"] * 50)
    for _ in range(2):
        relays(circuit_after="300ms", longest_probe_wait=f"{LONGEST}s")
    conn.execute(MANY, [400])
    eventually(lambda: circuit(conn, hook) == "open")
    eventually(
        lambda: states(conn).get("leased", 0) == 0, what="what was out has come back, what was claimed ahead is given back"
    )
    tried, probed = tries_and_probes(conn, hook)
    patient.reset()
    eventually(lambda: the_endpoint(conn, hook)["probes"] >= probed + 4, timeout=20)
    assert {open for open, _ in patient.at_once} == {1}, "one at a time, over both relays"
    tried_since, probed_since = tries_and_probes(conn, hook)
    assert tried_since - tried <= probed_since - probed, "what is parked doesn't use up its schedule"
    shown = rowhook(dsn, "endpoint", "show", hook.public_id)
    assert (shown["circuit"], shown["probe_at"] is None, shown["ramp"]) == ("open", False, None)
    assert one(conn, "SELECT circuit FROM rowhook.endpoint_health") == "open"

    patient.down = False
    becomes(conn, {"delivered": 400}, timeout=20)
    first_well = next(n for n, (_, answered) in enumerate(patient.at_once) if answered) if patient.at_once[0][1] else 0
    assert all(open <= answered + 1 for open, answered in patient.at_once[first_well:40]), patient.at_once[:40]
    eventually(lambda: circuit(conn, hook) == "closed")
    endpoint = the_endpoint(conn, hook)
    assert (endpoint["failing_since"], endpoint["failures"], endpoint["probes"], endpoint["ramp"]) == (None, 0, 0, None)
    assert len(receiver.requests) == len(attempts_of(conn)), "each request is on record"


def test_waits_between_probes_grow_up_to_the_longest(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, patient: Patient
) -> None:
    hook = add_hook(receiver.url(), retry_schedule=["1ms"] * 50)
    relays(circuit_after="100ms", longest_probe_wait=f"{LONGEST / 4}s")
    conn.execute(MANY, [100])
    eventually(lambda: the_endpoint(conn, hook)["probes"] >= 11, timeout=20)
    # Stragglers begin within moments of the opening, and the first of them may count as probes; the last eight are probes.
    begun = [at for (at,) in conn.execute(PROBES, [hook.id]).fetchall()]
    waits = [later - earlier for earlier, later in itertools.pairwise(begun)][-8:]
    least = [0.75 * LONGEST / 4 * min(1, 2**n / STEPS) for n in range(3, 11)]
    assert all(wait >= shortest for wait, shortest in zip(waits, least, strict=True)), (waits, least)


def test_a_lone_delivery_is_tried_again_by_its_own_schedule(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    receiver.answer("/hook", 500)
    hook = add_hook(receiver.url(), retry_schedule=["10ms"] * (FAILURES - 2))
    relays(circuit_after="1ms")
    emit(conn)
    becomes(conn, {"dead": 1})
    assert len(attempts_of(conn)) == FAILURES - 1
    assert circuit(conn, hook) == "closed"


def test_retry_after_of_a_probe_is_waited_for(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    receiver.answer("/hook", lambda _: web.Response(status=429, headers={"Retry-After": "1800"}))
    hook = add_hook(receiver.url(), retry_schedule=["60s"])
    relays(circuit_after="1ms", longest_probe_wait="640ms")
    conn.execute(MANY, [FAILURES * 2])
    eventually(lambda: circuit(conn, hook) == "open")
    until = one(conn, "SELECT extract(epoch FROM probe_at - opened_at)::float8 FROM rowhook.endpoint")
    assert 1790 < until < 1810


def test_what_goes_wrong_in_here_opens_no_circuit(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    hook = add_hook(receiver.url(), retry_schedule=[])
    conn.execute("DELETE FROM rowhook.secret")
    relays(circuit_after="1ms")
    conn.execute(MANY, [FAILURES * 3])
    becomes(conn, {"dead": FAILURES * 3})
    assert {error for _, _, error in attempts_of(conn)} == {"internal"}
    assert circuit(conn, hook) == "closed"


def test_an_endpoint_that_is_only_probed_is_disabled_in_the_end(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, patient: Patient, dsn: str
) -> None:
    """And what waited for it flows when somebody resumes it: with a clean slate."""
    hook = add_hook(receiver.url(), retry_schedule=["20ms"] * 50)
    relays(circuit_after="200ms", longest_probe_wait="320ms", disable_after="1500ms")
    conn.execute(MANY, [200])
    eventually(lambda: circuit(conn, hook) == "open")
    eventually(lambda: the_endpoint(conn, hook)["state"] == "disabled", timeout=20)
    becomes(conn, {"pending": 200})
    patient.down = False
    resumed = rowhook(dsn, "endpoint", "resume", hook.public_id)
    assert (resumed["circuit"], resumed["failing_since"]) == ("closed", None)
    becomes(conn, {"delivered": 200}, timeout=20)


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_endpoints_that_hang_hold_the_room_for_one_timeout(
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    mutant: bool,
) -> None:
    """1 Four endpoints that hang have all of the room, in flight and claimed ahead. 2 A timeout later a healthy one has it.

    The mutant's circuits don't open: those claimed ahead hang next. Neither doubts endpoints (lanes.py), which would leave room
    from the beginning on (test_isolation.py).
    """
    monkeypatch.setattr("relay.lanes.FEW", 1000)
    monkeypatch.setattr("relay.lanes.Lanes.waiting_in_doubt", 0)
    receiver.answer("/hangs", gate.answer)
    hooks = [add_hook(receiver.url("/hangs"), ["a.*"], timeout="3s", retry_schedule=["1h"]) for _ in range(4)]
    relays(max_in_flight=str(4 * FAILURES), circuit_after="1h" if mutant else "1s")
    conn.execute(MANY, [4 * FAILURES])
    receiver.wait_for(4 * FAILURES, path="/hangs")
    # Room is filled in batches, so up to a quarter of it may stay free while nothing ends (rooms.py, is_roomy).
    eventually(lambda: states(conn).get("leased", 0) > 6 * FAILURES, what="nearly as many are claimed ahead")
    held = states(conn)["leased"]
    add_hook(receiver.url("/healthy"), ["order.*"])
    emit(conn)
    receiver.wait_for(1, path="/healthy", timeout=20)
    hung = len([r for r in receiver.requests if r.path == "/hangs"])
    if mutant:
        assert hung >= held, "those claimed ahead hang next"
    else:
        assert hung < 6 * FAILURES, "few but probes after the first timeout"
        eventually(lambda: [circuit(conn, hook) for hook in hooks] == ["open"] * 4)
