"""Events that can't be said: each marks its own delivery ``internal``, others go on, and the views stay readable.

The oddest can only come about by hand, by whoever owns the schema, or by a restore from such a place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import Connection
from tests.pipeline.commands import emit
from tests.pipeline.conftest import AddHook, attempts_of, becomes, one, run_text
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]

VIEWS = ["delivery_history", "event_trail", "dead_letters", "endpoint_health"]


def by_hand(connection: Connection, **columns: object) -> None:
    """An event as nobody but the schema's owner can write it; and a ring."""
    columns = {"op": "emit", "type": "a.b", "data": "1", **columns}
    names = ", ".join(columns)
    values = ", ".join(f"%({name})s" for name in columns)
    connection.execute(f"INSERT INTO rowhook.event ({names}) VALUES ({values})", columns)
    connection.execute("SELECT rowhook.ring()")


UNSAYABLE = {
    "time without an end": {"occurred_at": "infinity"},
    "time without a beginning": {"occurred_at": "-infinity"},
    "a time before Christ": {"occurred_at": "0044-03-15 00:00:00+00 BC"},
    "a year of five digits": {"occurred_at": "12026-01-01 00:00:00+00"},
    "a type with a line break": {"type": "a.b\r\nX-Evil: 1"},
}


@pytest.mark.parametrize(
    ("what", "transport"), [*((what, "aiohttp") for what in UNSAYABLE), ("a type with a line break", "lean")]
)
def test_an_event_that_cannot_be_said_marks_its_own_delivery(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, what: str, transport: str
) -> None:
    """Between two good ones, and once more as a backlog that waits when a relay starts."""
    hook = add_hook(receiver.url(), retry_schedule=[])
    running = relays(transport=transport)
    emit(conn)
    by_hand(conn, **UNSAYABLE[what])
    emit(conn)
    receiver.wait_for(2)
    becomes(conn, {"delivered": 2, "dead": 1})
    assert sorted(attempts_of(conn, hook), key=str) == [(1, 200, None), (1, 200, None), (1, None, "internal")]
    assert one(conn, "SELECT error FROM rowhook.attempt WHERE error_class = 'internal'")
    assert running.running and len(receiver.requests) == 2
    for view in VIEWS:
        run_text(conn, f"SELECT row_to_json(v) FROM rowhook.{view} AS v")


def test_it_marks_its_own_delivery_also_where_it_was_parked(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """The other way into a relay: claimed, not dispatched to it."""
    hook = add_hook(receiver.url(), retry_schedule=[], state="paused")
    relays()
    emit(conn)
    for columns in UNSAYABLE.values():
        by_hand(conn, **columns)
    emit(conn)
    total = len(UNSAYABLE) + 2
    becomes(conn, {"pending": total})
    conn.execute("UPDATE rowhook.endpoint SET state = 'active' WHERE id = %s", [hook.id])
    conn.execute("SELECT pg_notify('rowhook_work', '')")
    becomes(conn, {"delivered": 2, "dead": total - 2})


@pytest.mark.parametrize(
    "type", ["größe.created", "a.\x01b", "a.\x85b", "a." + "b" * 20_000], ids=["umlaut", "x01", "x85", "long"]
)
@pytest.mark.parametrize("transport", ["aiohttp", "lean"])
def test_an_odd_type_harms_nobody_else(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, type: str, transport: str
) -> None:
    hook = add_hook(receiver.url(), retry_schedule=[])
    running = relays(transport=transport)
    by_hand(conn, type=type)
    emit(conn)
    eventually(lambda: len(attempts_of(conn, hook)) == 2)
    said = sorted((status, error) for _, status, error in attempts_of(conn, hook))
    assert said in ([(200, None)] * 2, [(200, None), (400, "http_4xx")]), "what HTTP does not allow the receiver refuses"
    assert running.running and one(conn, "SELECT error_class IS NULL FROM rowhook.attempt ORDER BY delivery_id DESC LIMIT 1")


def test_rows_of_50_megabytes_go_out_one_at_a_time_and_small_ones_beside_them(
    processes: Callable[..., RelayProcess], receiver: Receiver, add_hook: AddHook, conn: Connection, finmind: str, user_id: int
) -> None:
    """More than ROWHOOK_MAX_QUEUED_BYTES each: the relay takes one, and the next when that is done with."""
    large = 50_000_000
    conn.execute("ALTER TABLE expenses ALTER notes TYPE text")
    add_hook(receiver.url(), timeout="60s")
    add_hook(receiver.url("/small"), ["small.*"])
    running = processes(max_queued_bytes="32MiB").start()
    before = psutil.Process(running.pid).memory_info().rss
    for n in range(3):
        conn.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (%s, %s, repeat('x', %s))", [user_id, n, large])
        emit(conn, type="small.one")
    receiver.wait_for(3, path="/small", timeout=30)
    becomes(conn, {"delivered": 9}, timeout=30)
    bodies = [len(r.body) for r in receiver.requests if r.path == "/hook" and len(r.body) > 1000]
    assert len(bodies) == 3 and min(bodies) > large
    grown = resource_peak(running.pid) - before
    assert grown < 6 * large, f"{grown / 1e6:.0f} MB"


def resource_peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
