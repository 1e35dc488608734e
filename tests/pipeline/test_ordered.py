"""Per-row order: of one row an event is sent only when those before it have ended; over relays, retries and crashes."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest
from aiohttp import web

from tests.conftest import Connect, Connection
from tests.pipeline.commands import make_due, rowhook
from tests.pipeline.conftest import AddHook, Gate, Hook, asleep, becomes, one, run, run_text, statement, states
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Received, Receiver

Relays = Callable[..., LocalRelay]
NOTHING_BUSY = {"capacity": 100, "endpoint_room": 100, "size": 10**9, "endpoints": [], "rooms": [], "gated": None}


def say(connection: Connection, key: str | None, n: int) -> None:
    connection.execute("SELECT rowhook.emit('a.b', json_build_object('key', %s::text, 'n', %s::int), key => %s)", [key, n, key])


def said(requests: Iterable[Received]) -> dict[str, list[int]]:
    """Per key the numbers in the order in which they came, repeats of one after the other once."""
    came: dict[str, list[int]] = defaultdict(list)
    for request in requests:
        data = json.loads(request.body)["data"]
        if came[data["key"]][-1:] != [data["n"]]:
            came[data["key"]].append(data["n"])
    return came


@pytest.fixture
def ordered(add_hook: AddHook, receiver: Receiver) -> Hook:
    return add_hook(receiver.url(), ordered=True, timeout="60s", retry_schedule=["50ms"] * 30)


@pytest.mark.parametrize("is_ordered", [True, False], ids=["ordered", "unordered"])
def test_each_key_arrives_in_order_whatever_fails_and_whoever_dies(
    processes: Callable[..., RelayProcess],
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    user_id: int,
    is_ordered: bool,
) -> None:
    """Two relays, one is killed midway and another started. 60 rows, each updated six times; a third of the requests fails.

    Without order rows do come out of order: so the test can fail.
    """
    chance = random.Random(7)

    async def flaky(_request: web.Request) -> web.Response:
        await asyncio.sleep(chance.random() / 50)
        return web.Response(status=500 if chance.random() < 0.35 else 200)

    receiver.answer("/hook", flaky)
    add_hook(receiver.url(), ordered=is_ordered, retry_schedule=["50ms"] * 30)
    killed, _ = processes().start(), processes().start()
    eventually(lambda: asleep(conn))
    conn.execute("INSERT INTO expenses (user_id, amount) SELECT %s, 0 FROM generate_series(1, 60)", [user_id])
    for n in range(1, 7):
        conn.execute("UPDATE expenses SET amount = %s", [n])
        if n == 3:
            receiver.wait_for(60)
            killed.kill()
            processes().spawn()
    becomes(conn, {"delivered": 60 * 7}, timeout=60)
    came: dict[int, list[int]] = defaultdict(list)
    for request in receiver.requests:
        data = json.loads(request.body)["data"]
        came[data["id"]].append(int(data["amount"]))
    in_order = [amounts == sorted(amounts) for amounts in came.values()]
    assert len(in_order) == 60
    assert all(in_order) == is_ordered


def test_the_next_of_a_key_is_sent_as_soon_as_the_one_before_has_ended_and_other_keys_go_on(
    relays: Relays, receiver: Receiver, ordered: Hook, conn: Connection, gate: Gate
) -> None:
    async def answer(request: web.Request) -> web.Response:
        data = json.loads(await request.read())["data"]
        return await gate.answer(request) if (data["key"], data["n"]) == ("slow", 1) else web.Response()

    receiver.answer("/hook", answer)
    relays()
    for n in range(1, 21):
        say(conn, "slow", n)
        say(conn, "quick", n)
        say(conn, None, n)
    becomes(conn, {"delivered": 40, "leased": 1, "pending": 19})
    assert said(receiver.requests)["slow"] == [1]
    gate.open()
    becomes(conn, {"delivered": 60})
    came = said(receiver.requests)
    assert came["slow"] == came["quick"] == list(range(1, 21))
    waited = (
        "SELECT max(d.leased_at - b.ended_at) < interval '1.5 s' FROM rowhook.delivery AS d,"
        " LATERAL (SELECT max(b.ended_at) AS ended_at FROM rowhook.delivery AS b"
        "           WHERE b.order_key = d.order_key AND b.event_id < d.event_id) AS b WHERE d.order_key = ':slow'"
    )
    assert one(conn, waited), "by the next beat it would be up to 1.75 s"


def test_a_delivery_that_dies_lets_the_next_one_go(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    async def poisoned(request: web.Request) -> web.Response:
        return web.Response(status=500 if json.loads(await request.read())["data"]["n"] == 1 else 200)

    receiver.answer("/hook", poisoned)
    add_hook(receiver.url(), ordered=True, retry_schedule=["50ms"] * 3)
    relays()
    for n in (1, 2, 3):
        say(conn, "k", n)
    becomes(conn, {"dead": 1, "delivered": 2})
    assert [json.loads(r.body)["data"]["n"] for r in receiver.requests] == [1, 1, 1, 1, 2, 3]


# --- skip --------------------------------------------------------------------------------------------------


@pytest.fixture
def stuck(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> Hook:
    """Three events of a key of which the first two are refused, to be tried again in an hour; and one of another key."""

    async def poisoned(request: web.Request) -> web.Response:
        return web.Response(status=500 if json.loads(await request.read())["data"]["n"] <= 2 else 200)

    receiver.answer("/hook", poisoned)
    hook = add_hook(receiver.url(), ordered=True, retry_schedule=["1h"])
    relays()
    for n in (1, 2, 3):
        say(conn, "k", n)
    say(conn, "other", 9)
    eventually(
        lambda: states(conn) == {"pending": 3, "delivered": 1} and one(conn, "SELECT sum(failures) FROM rowhook.delivery") == 1
    )
    return hook


def test_a_key_that_is_stuck_can_be_skipped_one_by_one(stuck: Hook, receiver: Receiver, conn: Connection, dsn: str) -> None:
    assert rowhook(dsn, "endpoint", "skip", stuck.public_id, "--key", "k")["cancelled"] == 1
    becomes(conn, {"cancelled": 1, "pending": 2, "delivered": 1})
    eventually(lambda: said(receiver.requests)["k"] == [1, 2])
    eventually(lambda: one(conn, "SELECT sum(failures) FROM rowhook.delivery") == 2)
    assert rowhook(dsn, "endpoint", "skip", stuck.public_id, "--key", "k")["cancelled"] == 1
    becomes(conn, {"cancelled": 2, "delivered": 2})
    assert said(receiver.requests)["k"] == [1, 2, 3]


def test_all_of_a_key_can_be_skipped(stuck: Hook, receiver: Receiver, conn: Connection, dsn: str) -> None:
    assert rowhook(dsn, "endpoint", "skip", stuck.public_id, "--key", "k", "--all")["cancelled"] == 3
    assert states(conn) == {"cancelled": 3, "delivered": 1}
    say(conn, "k", 4)
    eventually(lambda: said(receiver.requests)["k"] == [1, 4])


def test_one_that_is_out_when_it_is_skipped_has_its_last_try(
    relays: Relays, receiver: Receiver, ordered: Hook, conn: Connection, gate: Gate, dsn: str
) -> None:
    async def fail(request: web.Request) -> web.Response:
        await gate.answer(request)
        return web.Response(status=500 if json.loads(await request.read())["data"]["n"] == 1 else 200)

    receiver.answer("/hook", fail)
    relays()
    say(conn, "k", 1)
    say(conn, "k", 2)
    receiver.wait_for(1)
    told = rowhook(dsn, "endpoint", "skip", ordered.public_id, "--key", "k")
    assert (told["cancelled"], told["out"]) == (0, 1)
    gate.open()
    becomes(conn, {"cancelled": 1, "delivered": 1})
    assert [json.loads(r.body)["data"]["n"] for r in receiver.requests] == [1, 2]


# --- on and off --------------------------------------------------------------------------------------------


def test_made_ordered_it_orders_what_is_open_already_and_unordered_it_lets_all_go(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, dsn: str
) -> None:
    receiver.answer("/hook", 500)
    hook = add_hook(receiver.url(), retry_schedule=["1h"] * 20)
    relays()
    say(conn, "k", 1)
    eventually(lambda: one(conn, "SELECT sum(failures) FROM rowhook.delivery") == 1)
    assert rowhook(dsn, "endpoint", "edit", hook.public_id, "--ordered")["ordered"]
    say(conn, "k", 2)
    say(conn, "other", 3)
    eventually(lambda: len(receiver.requests) == 2)
    becomes(conn, {"pending": 3})
    make_due(conn, hook)
    eventually(lambda: said(receiver.requests) == {"k": [1], "other": [3]} and len(receiver.requests) == 4)
    becomes(conn, {"pending": 3})
    assert not rowhook(dsn, "endpoint", "edit", hook.public_id, "--unordered")["ordered"]
    eventually(lambda: said(receiver.requests)["k"] == [1, 2])


# --- interleavings -----------------------------------------------------------------------------------------


@pytest.fixture
def pair(ordered: Hook, conn: Connection, instance: Callable[[], int]) -> tuple[int, int]:
    """Two deliveries of one key, dispatched, not claimed; two instances that nobody runs."""
    instance(), instance()
    say(conn, "k", 1)
    say(conn, "k", 2)
    conn.execute(
        "INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, due_at)"
        " SELECT id, slot, %s, ':' || row_key, clock_timestamp() FROM rowhook.event ORDER BY id",
        [ordered.id],
    )
    first, second = (row[0] for row in conn.execute("SELECT id FROM rowhook.delivery ORDER BY event_id").fetchall())
    return first, second


def claim(connection: Connection, instance: int, *mutation: tuple[str, str]) -> list[int]:
    rows = run_text(connection, statement("claim.claim", *mutation), {**NOTHING_BUSY, "instance": instance})
    return [row["id"] for row in rows if row["id"]]


OPEN = "d.state IN ('pending', 'leased')"


@pytest.mark.parametrize("mutant", [False, True], ids=["rule", "mutant"])
def test_two_claims_at_once_lease_one_of_a_key(pair: tuple[int, int], connect: Connect, conn: Connection, mutant: bool) -> None:
    """1 A claims the first, not committed. 2 B: nothing. 3 A commits. 4 B: nothing. 5 The first ends. 6 B: the second.

    The mutant takes the first that waits.
    """
    mutation = [(OPEN, "d.state = 'pending'")] if mutant else []
    a, b = connect(autocommit=False), connect()
    assert claim(a, 1001) == [pair[0]]
    assert claim(b, 1002, *mutation) == []
    a.commit()
    assert claim(b, 1002, *mutation) == ([pair[1]] if mutant else [])
    conn.execute("UPDATE rowhook.delivery SET state = 'delivered', instance_id = NULL, ended_at = now() WHERE id = %s", [pair[0]])
    assert claim(b, 1002) == ([] if mutant else [pair[1]])


def test_who_waits_longest_comes_first_and_each_key_comes(ordered: Hook, conn: Connection, instance: Callable[[], int]) -> None:
    """Five keys, two events each, room for two at a time: from the key that has waited longest on, and round."""
    instance()
    for n in (1, 2):
        for key in "cdeab":
            say(conn, key, n)
    conn.execute(
        "INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, due_at)"
        " SELECT id, slot, %s, CASE WHEN row_key <> 'b' THEN ':' || row_key END, occurred_at FROM rowhook.event ORDER BY id",
        [ordered.id],
    )
    came = []
    while rows := run_text(conn, statement("claim.claim"), {**NOTHING_BUSY, "capacity": 2, "instance": 1001}):
        keys = [row["row_key"] for row in rows if row["id"]]
        if not keys:
            break
        came.append(keys)
        conn.execute(
            "UPDATE rowhook.delivery SET state = 'delivered', instance_id = NULL, ended_at = now() WHERE state = 'leased'"
        )
    assert all(len(set(keys)) == len(keys) for keys in came), came
    assert came[0] == ["c", "d"]
    assert "".join(sorted("".join("".join(keys) for keys in came))) == "aabbccddee", (
        "those without a key, put there by hand, come as well"
    )


def test_a_failure_or_a_reclaim_of_the_first_leaves_no_moment_for_the_second(
    pair: tuple[int, int], connect: Connect, conn: Connection
) -> None:
    """1 A holds the first. 2 It is reclaimed, not committed. 3 B claims: nothing. 4 Committed. 5 B claims: the first again."""
    assert claim(conn, 1001) == [pair[0]]
    run(conn, "lease.bury", {"instances": [1001]})
    reclaiming, b = connect(autocommit=False), connect()
    run(reclaiming, "claim.reclaim", {"batch": 10, "most_lost": 5})
    assert claim(b, 1002) == []
    reclaiming.commit()
    assert claim(b, 1002) == [pair[0]]


def test_a_replay_goes_before_those_of_its_key_that_wait(
    pair: tuple[int, int], conn: Connection, ordered: Hook, dsn: str
) -> None:
    conn.execute("UPDATE rowhook.delivery SET state = 'dead', due_at = NULL, ended_at = now() WHERE id = %s", [pair[0]])
    rowhook(dsn, "replay", "--endpoint", ordered.public_id)
    assert claim(conn, 1001) == [pair[0]]


def test_dispatch_leases_nothing_that_has_a_key(
    relays: Relays, receiver: Receiver, ordered: Hook, conn: Connection, gate: Gate
) -> None:
    """A first event of a key waits for its retry; a second one commits: it is parked behind it, and keeps its key."""
    receiver.answer("/hook", [500, 200])
    conn.execute("UPDATE rowhook.endpoint SET retry_schedule = '{1h}'")
    relays()
    say(conn, "k", 1)
    eventually(lambda: one(conn, "SELECT sum(failures) FROM rowhook.delivery") == 1)
    say(conn, "k", 2)
    say(conn, None, 9)  # of no key: not held up
    becomes(conn, {"pending": 2, "delivered": 1})
    first, second, keyless = one(conn, "SELECT array_agg(order_key ORDER BY id) FROM rowhook.delivery")
    assert (first, second, keyless[0]) == (":k", ":k", "#")
    make_due(conn, ordered)
    becomes(conn, {"delivered": 3})
    assert said(receiver.requests)["k"] == [1, 2]
