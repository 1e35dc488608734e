"""A relay that is cut off: from Postgres, from its receivers, alone or with a peer.

Cut by routers that stop forwarding (namespaces.py) and by a proxy that falls silent while TCP goes on (proxy.py); where no
namespace can be made, by the proxy alone. A is the relay that is cut off, B its peer. Times are the server's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from psycopg.conninfo import make_conninfo

from relay.migrations import migrate
from tests.cluster import Cluster, postgres_under_test
from tests.conftest import Connect, Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, Gate, asleep, attempts_of, becomes, one, run_text
from tests.pipeline.namespaces import NETWORK, DistantRelay, Namespace, available
from tests.pipeline.proxy import Proxy
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Received, Receiver

NOTICED_WITHIN = timedelta(seconds=10)
WAYS = ["router", "proxy"] if available() else ["proxy"]


@dataclass
class Line:
    """A's way to its database and to its receiver; each can be cut and healed."""

    dsn: str
    receiver: Receiver
    url: str
    cut_database: Callable[[], None]
    heal_database: Callable[[], None]
    cut_receiver: Callable[[], None]
    heal_receiver: Callable[[], None]
    relay: Callable[..., RelayProcess]


@pytest.fixture(scope="module")
def far_cluster() -> Iterator[Cluster]:
    """A server that listens on addresses which come about later."""
    cluster = Cluster.start(*postgres_under_test(), settings={"listen_addresses": "*"})
    with (cluster.data_dir / "pg_hba.conf").open("a") as hba:
        hba.write(f"host all all {NETWORK} trust\n")
    with cluster.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    yield cluster
    cluster.remove()


@pytest.fixture
def dsn(far_cluster: Cluster) -> str:
    """Instead of the one on the shared server."""
    dsn = far_cluster.dsn(far_cluster.create_database())
    migrate(dsn)
    return dsn


@pytest.fixture(params=WAYS)
def line(request: pytest.FixtureRequest, dsn: str, far_cluster: Cluster) -> Iterator[Line]:
    with contextlib.ExitStack() as laid:
        make: Callable[..., Any] = {"router": _routers, "proxy": _proxies}[request.param]
        yield make(laid, dsn, far_cluster.port)


def _routers(laid: contextlib.ExitStack, dsn: str, port: int) -> Line:
    there = laid.enter_context(Namespace())
    receiver = laid.enter_context(Receiver(there.hooks.host))
    dsn = make_conninfo(dsn, host=there.db.host, port=port)

    def relay(**given: str) -> RelayProcess:
        made = DistantRelay(there.name, dsn, **given)
        laid.callback(made.close)
        return made

    return Line(dsn, receiver, receiver.url(), there.db.cut, there.db.heal, there.hooks.cut, there.hooks.heal, relay)


def _proxies(laid: contextlib.ExitStack, dsn: str, port: int) -> Line:
    receiver = laid.enter_context(Receiver())
    db, hooks = laid.enter_context(Proxy(port)), laid.enter_context(Proxy(receiver.port))
    dsn = make_conninfo(dsn, host="127.0.0.1", port=db.port)

    def relay(**given: str) -> RelayProcess:
        made = RelayProcess(dsn, **given)
        laid.callback(made.close)
        return made

    url = f"http://127.0.0.1:{hooks.port}/hook"
    return Line(dsn, receiver, url, db.hold, db.let_go, hooks.hold, hooks.let_go, relay)


def first_tries(requests: list[Received]) -> int:
    return sum(r.headers["X-Rowhook-Attempt"] == "1" for r in requests)


def test_a_relay_cut_off_from_postgres_is_taken_over_and_sends_nothing_more_though_its_receiver_answers(
    line: Line, relays: Callable[..., LocalRelay], add_hook: AddHook, conn: Connection
) -> None:
    """1 A has two requests out and two deliveries waiting; two more are parked. 2 A is cut off. 3 B finds it dead within 10 s,
    delivers all. 4 A's requests are answered: it starts no other. 5 A is back: a new id; answers fill its lost attempts."""
    gate = Gate()

    async def slow_at_first(request: web.Request) -> web.Response:
        return await gate.answer(request) if request.headers["X-Rowhook-Attempt"] == "1" else web.Response()

    line.receiver.answer("/hook", slow_at_first)
    hook = add_hook(line.url, max_in_flight=2, timeout="60s")
    cut_off = line.relay().start()
    eventually(lambda: asleep(conn))
    conn.execute("SELECT rowhook.emit('a.b', to_json(n)) FROM generate_series(1, 4) AS n")
    becomes(conn, {"leased": 4})
    conn.execute("SELECT rowhook.emit('a.b', to_json(n)) FROM generate_series(5, 6) AS n")
    line.receiver.wait_for(2)
    becomes(conn, {"leased": 4, "pending": 2})
    old = cut_off.instance(conn)
    cut_at = one(conn, "SELECT clock_timestamp()")
    line.cut_database()
    relays(allow_networks=f"127.0.0.0/8,{NETWORK}")
    ended = "SELECT ended_at FROM rowhook.instance WHERE id = %s"
    noticed = eventually(lambda: one(conn, ended, old), timeout=20, what="B finds A dead") - cut_at
    assert noticed < NOTICED_WITHIN
    gate.open()
    becomes(conn, {"delivered": 6})
    requests = line.receiver.requests
    assert len({r.headers["webhook-id"] for r in requests}) == 6
    assert first_tries(requests) == 2 + 2, (
        "A sent the two that were out, B the two that were parked; what waited at A stayed there"
    )
    assert len(requests) == 8, "the two that were out are the only repeats"

    line.heal_database()
    new = eventually(lambda: cut_off.instance(conn), timeout=20, what="A is back")
    assert new != old
    eventually(
        lambda: (
            sorted((number, status or 0) for number, status, _ in attempts_of(conn))
            == [(1, 0)] * 2 + [(1, 200)] * 4 + [(2, 200)] * 4
        ),
        what="late answers fill the lost attempts of the two that were out",
    )
    emit(conn)
    becomes(conn, {"delivered": 7})
    assert len(line.receiver.requests) == 9
    assert attempts_of(conn, hook)[-1] == (1, 200, None)


@pytest.mark.parametrize("line", WAYS[:1], indirect=True)
def test_a_relay_without_peers_that_was_cut_off_goes_on_when_it_is_back(line: Line, add_hook: AddHook, conn: Connection) -> None:
    """1 A has two requests out, six deliveries wait. 2 It is cut off; events commit; its receiver answers. 3 It is back."""
    gate = Gate()
    line.receiver.answer("/hook", gate.answer)
    add_hook(line.url, max_in_flight=2, timeout="60s")
    alone = line.relay().start()
    eventually(lambda: asleep(conn))
    conn.execute("SELECT rowhook.emit('a.b', to_json(n)) FROM generate_series(1, 8) AS n")
    line.receiver.wait_for(2)
    old = alone.instance(conn)
    line.cut_database()
    lock = "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = %s"
    eventually(lambda: one(conn, lock, old), timeout=10, what="the server notices too")
    conn.execute("SELECT rowhook.emit('a.b', to_json(n)) FROM generate_series(9, 12) AS n")
    gate.open()
    line.heal_database()
    becomes(conn, {"delivered": 12}, timeout=20)
    requests = line.receiver.requests
    assert len({r.headers["webhook-id"] for r in requests}) == 12
    assert len(requests) == 12, "answers that came meanwhile were kept and count"
    assert {(number, status) for number, status, _ in attempts_of(conn)} == {(1, 200)}
    assert alone.instance(conn) != old


@pytest.mark.parametrize("line", WAYS[:1], indirect=True)
def test_a_relay_cut_off_from_its_receivers_alone_keeps_its_lease_and_tries_again(
    line: Line, add_hook: AddHook, conn: Connection, connect: Connect
) -> None:
    """1 Receivers are out of reach, Postgres isn't. 2 Tries time out, on record as that. 3 Receivers are back."""
    add_hook(line.url, timeout="500ms", retry_schedule=["200ms"] * 20)
    relay = line.relay().start()
    eventually(lambda: asleep(conn))
    emit(conn)
    becomes(conn, {"delivered": 1})
    instance = relay.instance(conn)
    line.cut_receiver()
    emit(conn)
    failed = "SELECT count(*) FROM rowhook.attempt WHERE error_class IN ('timeout', 'reset')"
    eventually(lambda: one(conn, failed) >= 2)
    assert relay.instance(conn) == instance
    line.heal_receiver()
    becomes(conn, {"delivered": 2})
    numbers = run_text(conn, "SELECT number FROM rowhook.attempt ORDER BY delivery_id, number")
    assert [row["number"] for row in numbers][1:] == list(range(1, len(numbers))), "numbered without a gap"
