"""Retries: what is tried again, when, how often; what is on record meanwhile; dead letters and their replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from relay.judge import MOST_FREE_TRIES
from relay.model import Delivery
from tests.conftest import Connection
from tests.pipeline.commands import emit, make_due, rowhook, the_delivery, the_endpoint
from tests.pipeline.conftest import AddHook, Hook, attempts_of, one, run, run_text
from tests.pipeline.raw_server import RawConnection, RawServer
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Receiver

Relays = Callable[..., LocalRelay]
Processes = Callable[..., RelayProcess]

LONG = ["1h"] * 5
# Between the end of a request and its record: on a busy machine the batch before it may take a while.
SLACK = 1.5


def waits(connection: Connection, hook: Hook, attempts: int) -> bool:
    """Whether this many tries were made and the delivery waits for the next."""
    found = "SELECT count(*) FROM rowhook.delivery WHERE endpoint_id = %s AND state = 'pending' AND attempts = %s"
    return bool(one(connection, found, hook.id, attempts))


def ended(connection: Connection, hook: Hook) -> str:
    """Wait for the end of the endpoint's one delivery; its last state."""

    def state() -> str | None:
        value = one(connection, "SELECT min(state) FROM rowhook.delivery WHERE endpoint_id = %s", hook.id)
        return value if value in ("delivered", "dead", "cancelled") else None

    return eventually(state, 20) or ""


def about(seconds: float, wait: float) -> bool:
    """Whether a wait is this long, jitter included."""
    return seconds <= wait <= seconds * 1.1 + SLACK


def test_two_failures_then_success(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    receiver.answer("/hook", [500, 503, 200])
    hook = add_hook(receiver.url())
    relays()
    emit(conn)
    assert ended(conn, hook) == "delivered"
    assert attempts_of(conn) == [(1, 500, "http_5xx"), (2, 503, "http_5xx"), (3, 200, None)]
    requests = receiver.requests
    assert [r.headers["X-Rowhook-Attempt"] for r in requests] == ["1", "2", "3"]
    assert len({r.headers["webhook-id"] for r in requests}) == 1
    assert len({r.body for r in requests}) == 1
    for request in requests:
        Webhook(hook.secret).verify(request.body, dict(request.headers))
    row = the_delivery(conn, hook)
    assert (row["failures"], row["attempts"], row["due_at"]) == (2, 3, None)


def test_each_failure_is_on_record_before_the_next_try(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    receiver.answer("/hook", lambda _: web.Response(status=503, reason="Full", text="come back later"))
    hook = add_hook(receiver.url(), retry_schedule=LONG)
    relays()
    event = emit(conn)
    for number in (1, 2, 3):
        eventually(lambda number=number: waits(conn, hook, number))  # type: ignore[misc]
        row = the_delivery(conn, hook)
        assert row["failures"] == number and about(3600, row["wait"])
        history = run_text(
            conn, "SELECT * FROM rowhook.delivery_history WHERE event_id = %(event)s ORDER BY attempt", {"event": event}
        )
        assert [h["attempt"] for h in history] == list(range(1, number + 1))
        last = history[-1]
        assert (last["status_code"], last["error_class"], last["error"]) == (503, "http_5xx", "answered 503 Full")
        assert (last["response_excerpt"], last["delivery_status"]) == ("come back later", "pending")
        assert last["next_attempt_at"] == row["due_at"]
        assert len(receiver.requests) == number
        make_due(conn, hook)


def test_a_restart_between_tries(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    receiver.answer("/hook", [500, 200])
    hook = add_hook(receiver.url(), retry_schedule=["3s"])
    first = relays()
    emit(conn)
    eventually(lambda: waits(conn, hook, 1))
    due = the_delivery(conn, hook)["due_epoch"]
    first.stop()
    assert the_delivery(conn, hook)["due_epoch"] == due
    relays()
    assert ended(conn, hook) == "delivered"
    assert attempts_of(conn) == [(1, 500, "http_5xx"), (2, 200, None)]
    assert receiver.requests[1].wall >= due - 0.05


def test_a_kill_between_tries(processes: Processes, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    receiver.answer("/hook", [500, 500, 200])
    hook = add_hook(receiver.url(), retry_schedule=LONG)
    for number in (1, 2, 3):
        process = processes().start()
        if number == 1:
            emit(conn)
        else:
            make_due(conn, hook)
        if number < 3:
            eventually(lambda number=number: waits(conn, hook, number), 20)  # type: ignore[misc]
            process.kill()
    assert ended(conn, hook) == "delivered"
    assert attempts_of(conn) == [(1, 500, "http_5xx"), (2, 500, "http_5xx"), (3, 200, None)]
    assert len({r.body for r in receiver.requests}) == 1
    assert len({r.headers["webhook-id"] for r in receiver.requests}) == 1


# --- schedules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "relays_schedule", "expected"),
    [
        (None, None, (2, 4, 8, 16, 32)),
        (("7s", "2h"), None, (7, 7200)),
        (("7s",), "1h,1h", (7,)),
        (None, "1h", (3600,)),
        ((), None, ()),
    ],
    ids=["default", "of the endpoint", "endpoint before setting", "setting", "no retries"],
)
def test_schedule_and_dead_letter(
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    own: Sequence[str] | None,
    relays_schedule: str | None,
    expected: Sequence[float],
) -> None:
    """The waits as recorded; each is cut short. After the last the delivery is a dead letter, and stays one."""
    receiver.answer("/hook", lambda _: web.Response(status=418, reason="Teapot"))
    hook = add_hook(receiver.url(), retry_schedule=None if own is None else list(own))
    relays(**({} if relays_schedule is None else {"retry_schedule": relays_schedule}))
    event = emit(conn)
    for number, seconds in enumerate(expected, 1):
        eventually(lambda number=number: waits(conn, hook, number))  # type: ignore[misc]
        wait = the_delivery(conn, hook)["wait"]
        assert about(seconds, wait), f"{wait} s after failure {number}"
        make_due(conn, hook)
    assert ended(conn, hook) == "dead"
    tries = len(expected) + 1
    assert attempts_of(conn) == [(n, 418, "http_4xx") for n in range(1, tries + 1)]
    (letter,) = run_text(conn, "SELECT * FROM rowhook.dead_letters")
    assert (letter["event_id"], letter["endpoint_id"], letter["attempts"]) == (event, hook.public_id, tries)
    assert (letter["status_code"], letter["error_class"], letter["error"]) == (418, "http_4xx", "answered 418 Teapot")
    assert letter["delivery_id"] == receiver.requests[0].headers["X-Rowhook-Delivery"]
    assert letter["died_at"] is not None
    assert len(receiver.requests) == tries


def test_retry_after(relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    """It lengthens the wait, within limits, and never shortens it; nonsense is as if it weren't there."""
    asked: list[tuple[str, float]] = [
        ("120", 120),
        ("  300 ", 300),
        ("3600", 3600),
        ("3601", 3600),
        ("9999999999", 3600),
        ("99999999999999999999", 60),
        ("10", 60),
        ("0", 60),
        ("-5", 60),
        ("1e3", 60),
        ("120.5", 60),
        ("120, 300", 60),
        ("", 60),
        ("soon", 60),
        ("\u0661\u0662\u0660", 60),
        (format_datetime(datetime.now(UTC) + timedelta(minutes=30), usegmt=True), 1800),
        (format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True), 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Thu, 99 Foo 2099 99:99:99 GMT", 60),
        ("Sat, 01 Jan 0000 00:00:00 GMT", 60),
    ]
    hooks = []
    for number, (value, _) in enumerate(asked):
        path = f"/{number}"
        receiver.answer(path, lambda _, value=value: web.Response(status=429, headers={"Retry-After": value}))  # type: ignore[misc]
        hooks.append(add_hook(receiver.url(path), retry_schedule=["60s"]))
    relays()
    emit(conn)
    for hook, (value, seconds) in zip(hooks, asked, strict=True):
        eventually(lambda hook=hook: waits(conn, hook, 1))  # type: ignore[misc]
        wait = the_delivery(conn, hook)["wait"]
        early = 30 if value.endswith("GMT") and seconds == 1800 else 0  # it was written before the request was made
        assert seconds - early <= wait <= seconds * 1.1 + SLACK, f"{value!r}: {wait}"


# --- endpoints that fail -----------------------------------------------------------------------------------


def test_410_ends_the_delivery_and_disables_the_endpoint(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """And whoever asked to know is told: an event that `*` doesn't match."""
    receiver.answer("/gone", 410)
    gone = add_hook(receiver.url("/gone"), retry_schedule=LONG)
    add_hook(receiver.url("/star"))
    add_hook(receiver.url("/operator"), ["endpoint.disabled"])
    relays()
    emit(conn)
    (request,) = receiver.wait_for(1, path="/operator")
    assert ended(conn, gone) == "dead"
    assert attempts_of(conn, gone) == [(1, 410, "http_4xx")]
    endpoint = the_endpoint(conn, gone)
    assert (endpoint["state"], endpoint["state_reason"]) == ("disabled", "the receiver answered 410 Gone")
    told = json.loads(request.body)
    assert (told["type"], request.headers["X-Rowhook-Event"]) == ("endpoint.disabled", "endpoint.disabled")
    assert told["data"] == {"endpoint_id": gone.public_id, "url": gone_url(receiver), "reason": endpoint["state_reason"]}
    emit(conn, type="order.paid")
    eventually(lambda: "order.paid" in {r.headers["X-Rowhook-Event"] for r in receiver.wait_for(2, path="/star")})
    assert sorted(r.headers["X-Rowhook-Event"] for r in receiver.wait_for(2, path="/star")) == ["order.paid", "order.placed"]
    assert len(receiver.wait_for(1, path="/gone")) == 1
    assert len(receiver.wait_for(1, path="/operator")) == 1
    parked = "SELECT count(*) FROM rowhook.delivery WHERE endpoint_id = %s AND state = 'pending'"
    assert one(conn, parked, gone.id) == 1


def gone_url(receiver: Receiver) -> str:
    return receiver.url("/gone")


@pytest.mark.parametrize(("failing_for", "state"), [("2 hours", "disabled"), ("30 minutes", "active")])
def test_nothing_but_failures_for_too_long(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, failing_for: str, state: str
) -> None:
    receiver.answer("/hook", 500)
    hook = add_hook(receiver.url(), retry_schedule=LONG)
    add_hook(receiver.url("/operator"), ["endpoint.disabled", "after.that"])
    conn.execute("UPDATE rowhook.endpoint SET failing_since = now() - %s::interval WHERE id = %s", [failing_for, hook.id])
    relays(disable_after="1h")
    emit(conn)
    eventually(lambda: waits(conn, hook, 1))
    eventually(lambda: the_endpoint(conn, hook)["state"] == state)
    if state == "disabled":
        assert "nothing but failures" in the_endpoint(conn, hook)["state_reason"]
        (request,) = receiver.wait_for(1, path="/operator")
        assert json.loads(request.body)["data"]["endpoint_id"] == hook.public_id
        make_due(conn, hook)  # a disabled endpoint gets nothing, due or not
    emit(conn, type="after.that")
    receiver.wait_for(2 if state == "disabled" else 1, path="/operator")
    eventually(lambda: the_endpoint(conn, hook)["state"] == state)
    placed = [r for r in receiver.wait_for(1, path="/hook") if r.headers["X-Rowhook-Event"] == "order.placed"]
    assert len(placed) == 1


def test_failing_since_is_the_first_failure_since_a_success(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    receiver.answer("/hook", [500, 404, 200, 500])
    hook = add_hook(receiver.url(), retry_schedule=LONG)
    relays()
    emit(conn)
    eventually(lambda: waits(conn, hook, 1))
    since = the_endpoint(conn, hook)["failing_since"]
    assert since is not None
    make_due(conn, hook)
    eventually(lambda: waits(conn, hook, 2))
    assert the_endpoint(conn, hook)["failing_since"] == since
    make_due(conn, hook)
    assert ended(conn, hook) == "delivered"
    assert the_endpoint(conn, hook)["failing_since"] is None
    emit(conn)
    eventually(lambda: the_endpoint(conn, hook)["failing_since"])
    assert the_endpoint(conn, hook)["failing_since"] > since


# --- what doesn't use up the schedule ----------------------------------------------------------------------


def test_a_lost_try_does_not_use_up_the_schedule(
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    instance: Callable[[], int],
    delivery: Callable[..., Delivery],
) -> None:
    """1 A relay died with the first try. 2 Another goes on: one try and two retries, as the schedule says. 3 Dead."""
    receiver.answer("/hook", 500)
    hook = add_hook(receiver.url())
    delivery(hook, instance=instance())
    relays()
    assert ended(conn, hook) == "dead"
    assert attempts_of(conn) == [(1, None, "lost"), (2, 500, "http_5xx"), (3, 500, "http_5xx"), (4, 500, "http_5xx")]
    row = the_delivery(conn, hook)
    assert (row["failures"], row["free_tries"]) == (3, 0)
    assert [r.headers["X-Rowhook-Attempt"] for r in receiver.requests] == ["2", "3", "4"]


@pytest.mark.parametrize("lost", [MOST_FREE_TRIES - 1, MOST_FREE_TRIES])
def test_five_lost_in_a_row_are_a_dead_letter(
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    instance: Callable[[], int],
    delivery: Callable[..., Delivery],
    lost: int,
) -> None:
    """Each try is claimed by a relay that dies; a real one finds the last of them."""
    hook = add_hook(receiver.url(), retry_schedule=LONG)
    delivery(hook, instance=instance())
    room = {"capacity": 10, "endpoint_room": 20, "size": 10**9, "endpoints": [], "rooms": [], "gated": None}
    for _ in range(lost - 1):
        conn.execute("UPDATE rowhook.instance SET state = 'dead', ended_at = now()")
        assert run(conn, "claim.reclaim", {"batch": 10, "most_lost": MOST_FREE_TRIES}) == [{"freed": 1, "died": None}]
        (row,) = run(conn, "claim.claim", {**room, "instance": instance()})
        assert row["endpoint_id"] == hook.id
    relays()
    expected: list[tuple[object, ...]] = [(n, None, "lost") for n in range(1, lost + 1)]
    if lost < MOST_FREE_TRIES:
        assert ended(conn, hook) == "delivered"
        assert attempts_of(conn) == [*expected, (lost + 1, 200, None)]
    else:
        assert ended(conn, hook) == "dead"
        assert attempts_of(conn) == expected
        assert run_text(conn, "SELECT attempts, status_code, error_class FROM rowhook.dead_letters") == [
            {"attempts": MOST_FREE_TRIES, "status_code": None, "error_class": "lost"}
        ]
        assert not receiver.requests
    assert the_delivery(conn, hook)["failures"] == 0


def test_a_stale_connection_does_not_use_up_the_schedule(relays: Relays, add_hook: AddHook, conn: Connection) -> None:
    """The receiver closes its kept-alive connection just as the next request comes; a fresh one is tried at once."""

    def one_answer_each(connection: RawConnection) -> None:
        connection.request()
        connection.answer()
        connection.request()
        connection.break_off()

    with RawServer(one_answer_each) as server:
        first = add_hook(server.url("/first"), ["order.first"], retry_schedule=[])
        second = add_hook(server.url("/second"), ["order.second"], retry_schedule=[])
        relays()
        emit(conn, type="order.first")
        assert ended(conn, first) == "delivered"
        emit(conn, type="order.second")
        assert ended(conn, second) == "delivered"
        assert attempts_of(conn, second) == [(1, None, "reset"), (2, 200, None)]
        assert the_delivery(conn, second)["failures"] == 0
        assert the_endpoint(conn, second)["failing_since"] is None
        assert (len(server.requests), server.connections) == (3, 2)


def test_a_reset_of_a_fresh_connection_does(relays: Relays, add_hook: AddHook, conn: Connection) -> None:
    def no_answer(connection: RawConnection) -> None:
        connection.request()
        connection.break_off()

    with RawServer(no_answer) as server:
        hook = add_hook(server.url(), retry_schedule=[])
        relays()
        emit(conn)
        assert ended(conn, hook) == "dead"
        assert attempts_of(conn) == [(1, None, "reset")]
        assert the_delivery(conn, hook)["failures"] == 1


# --- replay ------------------------------------------------------------------------------------------------


def test_replay(dsn: str, relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    """1 Dead. 2 Replayed by endpoint, and dead again after the whole schedule. 3 Replayed by event, and delivered."""
    receiver.answer("/hook", [500, 500, 500, 500, 200])
    hook = add_hook(receiver.url(), retry_schedule=["100ms"])
    relays()
    event = emit(conn, '{"amount": 99.50, "note": "a\\u00e9"}')
    assert ended(conn, hook) == "dead"
    assert the_delivery(conn, hook)["attempts"] == 2
    assert rowhook(dsn, "replay", "--endpoint", hook.public_id)["replayed"] == 1
    receiver.wait_for(4)
    assert ended(conn, hook) == "dead"
    row = the_delivery(conn, hook)
    assert (row["attempts"], row["failures"]) == (4, 2)
    assert rowhook(dsn, "replay", "--event", event)["replayed"] == 1
    receiver.wait_for(5)
    assert ended(conn, hook) == "delivered"
    assert the_delivery(conn, hook)["failures"] == 0
    requests = receiver.requests
    assert [r.headers["X-Rowhook-Attempt"] for r in requests] == ["1", "2", "3", "4", "5"]
    assert {r.headers["webhook-id"] for r in requests} == {event}
    assert len({r.headers["X-Rowhook-Delivery"] for r in requests}) == 1
    assert len({r.body for r in requests}) == 1
    assert [number for number, *_ in attempts_of(conn)] == [1, 2, 3, 4, 5]
    assert one(conn, "SELECT count(*) FROM rowhook.dead_letters") == 0


def test_replay_under_a_new_id(dsn: str, relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection) -> None:
    """The id is another, and with it the signature; body and delivery are the same. It stays, for retries too."""
    receiver.answer("/hook", [200, 500, 200])
    hook = add_hook(receiver.url())
    relays()
    event = emit(conn)
    assert ended(conn, hook) == "delivered"
    assert rowhook(dsn, "replay", "--event", event, "--status", "delivered", "--new-id")["replayed"] == 1
    before, *after = receiver.wait_for(3)
    assert len({r.headers["webhook-id"] for r in after}) == 1
    assert after[0].headers["webhook-id"].startswith("evt_") and after[0].headers["webhook-id"] != event
    of_each_attempt = {"webhook-timestamp", "webhook-signature", "x-rowhook-attempt"}
    for request in after:
        assert request.body == before.body
        changed = {name.lower() for name in request.headers if request.headers[name] != before.headers.get(name)}
        assert "webhook-id" in changed and changed <= {"webhook-id", *of_each_attempt}
        assert request.headers.keys() == before.headers.keys()
        Webhook(hook.secret).verify(request.body, dict(request.headers))
    assert [r.headers["X-Rowhook-Attempt"] for r in after] == ["2", "3"]
