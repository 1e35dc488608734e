"""Postgres answers late, or not at all while TCP goes on: a stalled pooler, a frozen host, a LISTEN that hears nothing.

Through a proxy that holds back what passes (proxy.py). Nothing waits for ever, nothing is lost, nothing is taken on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from psycopg.conninfo import make_conninfo

import relay.database
import relay.doorbell
import relay.lease
from tests.cluster import Cluster
from tests.conftest import Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Gate, asleep, attempts_of, becomes, one
from tests.pipeline.proxy import Proxy
from tests.pipeline.relays import LocalRelay, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.port) as proxy:
        yield proxy


@pytest.fixture
def through(dsn: str, proxy: Proxy) -> str:
    """The test's database, through the proxy."""
    return make_conninfo(dsn, port=proxy.port)


def test_a_listener_that_went_deaf_is_found_before_the_safety_look_would_find_what_it_missed(
    through: str,
    proxy: Proxy,
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1 A sleeps, its bell armed. 2 Its listening session hears nothing any more. 3 An event commits and rings. 4 A asks whether
    that session lives (every second here), gets no answer, begins anew and looks. No ring is missed: ``relays`` asserts it."""
    assert relay.doorbell.CHECK_EVERY + relay.doorbell.CHECK_WITHIN <= 10.0 < relay.doorbell.RENEW_AFTER
    monkeypatch.setattr(relay.doorbell, "CHECK_EVERY", 1.0)
    monkeypatch.setattr(relay.doorbell, "CHECK_WITHIN", 1.0)
    add_hook(receiver.url())
    running = relays(through)
    eventually(lambda: asleep(conn))
    proxy.stall("rowhook bell")
    emit(conn)
    receiver.wait_for(1)
    becomes(conn, {"delivered": 1})
    late = "SELECT a.started_at - e.occurred_at FROM rowhook.attempt AS a, rowhook.event AS e WHERE e.op = 'emit'"
    assert timedelta(seconds=0.5) < one(conn, late) < timedelta(seconds=relay.doorbell.RENEW_AFTER / 2)
    assert running.running


@pytest.mark.parametrize("purpose", ["record", "claim", "dispatch"])
def test_a_session_that_gets_no_answer_is_given_up(
    through: str,
    proxy: Proxy,
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    purpose: str,
) -> None:
    """1 A has a request out. 2 One session gets no answer any more, TCP is content. 3 The request is answered, an event commits.
    4 A gives up waiting (after 1 s here, 40 s otherwise), connects anew, and all is delivered."""
    monkeypatch.setattr(relay.database, "ANSWER_WITHIN", 1.0)
    gate = Gate()
    receiver.answer("/hook", gate.answer)
    add_hook(receiver.url(), ["a.*"], max_in_flight=1, timeout="30s")
    add_hook(receiver.url("/first"), ["b.*"])
    running = relays(through)
    eventually(lambda: asleep(conn))
    emit(conn, type="b.first")
    becomes(conn, {"delivered": 1}, what="each session is open")
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 4)")
    receiver.wait_for(1, path="/hook")
    proxy.stall(f"rowhook {purpose}")
    emit(conn, type="a.b")
    gate.open()
    said = f"no answer from Postgres within 1 s ({purpose})"
    eventually(lambda: any(said == getattr(record, "reason", "") for record in caplog.records), what="it gives up waiting")
    becomes(conn, {"delivered": 6})
    assert running.running
    assert len({r.headers["webhook-id"] for r in receiver.requests}) == 6
    assert {status for _, status, _ in attempts_of(conn)} <= {200, None}


def test_a_server_that_answers_slowly_costs_no_lease_and_repeats_nothing(
    through: str, proxy: Proxy, relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """Each message takes 100 ms, each way."""
    add_hook(receiver.url(), max_in_flight=4)
    relays(through)
    eventually(lambda: asleep(conn))
    proxy.drag(0.1)
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 12)")
    becomes(conn, {"delivered": 12}, timeout=30)
    proxy.drag(0)
    assert len(receiver.requests) == 12
    assert one(conn, "SELECT count(*) FROM rowhook.instance") == 1


def test_a_server_that_answers_too_slowly_for_a_beat_gets_no_deliveries_and_all_go_when_it_is_quick_again(
    through: str,
    proxy: Proxy,
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1 A delivers. 2 An answer takes 1.2 s, a beat must have come within 1 s (6 s otherwise). 3 Events commit. 4 Quick again."""
    monkeypatch.setattr(relay.lease, "BEAT_EVERY", 0.3)
    monkeypatch.setattr(relay.lease, "STALE_AFTER", 1.0)
    add_hook(receiver.url(), max_in_flight=4)
    running = relays(through)
    eventually(lambda: asleep(conn))
    proxy.drag(0.6)
    conn.execute("SELECT rowhook.emit('a.b', '1') FROM generate_series(1, 20)")
    eventually(lambda: not running.relay.ready.is_set(), what="it gives up its id")
    before = len(receiver.requests)
    proxy.drag(0)
    becomes(conn, {"delivered": 20}, timeout=30)
    assert before < 20
    assert len({r.headers["webhook-id"] for r in receiver.requests}) == 20
