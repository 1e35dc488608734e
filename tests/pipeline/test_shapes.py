"""Shapes, end to end: what a receiver gets and can verify; a retry carries the same bytes whatever is changed meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from relay import deliveries, event_list
from tests.api.making import open_as_api
from tests.conftest import Connection
from tests.pipeline.commands import emit, make_due, rowhook, the_delivery
from tests.pipeline.conftest import AddHook, Gate, MutateQuery, attempts_of, becomes, one, run_text
from tests.pipeline.relays import LocalRelay, RelayProcess, eventually
from tests.receiver import Received, Receiver

Relays = Callable[..., LocalRelay]

LATER = ["1h"] * 3
DATA = '{"n": 1.50, "text": "a\\u0000b €"}'
HELLO = '{"hello": {{ data.n | tojson }}, "id": {{ id | tojson }}}'


def verify(secret: str, request: Received) -> None:
    Webhook(secret).verify(request.body, {name.lower(): value for name, value in request.headers.items()})


def test_each_shape_arrives_and_is_signed(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, dsn: str
) -> None:
    """One event in all shapes at once, its data untouched in each; and the record says afterwards what was sent."""
    shapes = ("standard", "thin", "cloudevents", "cloudevents-binary", "legacy")
    hooks = {shape: add_hook(receiver.url(f"/{shape}"), shape=shape) for shape in shapes}
    hooks["template"] = add_hook(receiver.url("/template"), shape="template", template=HELLO)
    relays()
    event = emit(conn, DATA, tenant="7")
    receiver.wait_for(len(hooks))
    got = {request.path[1:]: request for request in receiver.requests}
    for shape, hook in hooks.items():
        verify(hook.secret, got[shape])
        assert got[shape].headers["webhook-id"] == event
        assert got[shape].headers["X-Rowhook-Event"] == "order.placed"
    types = {shape: request.headers["content-type"] for shape, request in got.items()}
    assert types.pop("cloudevents") == "application/cloudevents+json"
    assert set(types.values()) == {"application/json"}
    row = DATA.encode()
    assert got["standard"].body.endswith(b'"data":' + row + b"}")
    assert got["legacy"].body == b'{"event":"order.placed","data":' + row + b"}"
    assert got["cloudevents-binary"].body == row
    assert got["cloudevents"].body.endswith(b'"datacontenttype":"application/json","data":' + row + b"}")
    assert list(json.loads(got["thin"].body)) == ["id", "type", "timestamp", "tenant", "table", "row_key"]
    structured, headers = json.loads(got["cloudevents"].body), got["cloudevents-binary"].headers
    for name in ("specversion", "id", "source", "type", "time", "tenant"):
        assert structured[name] == headers[f"ce-{name}"]
    assert structured["id"] == event
    assert json.loads(got["template"].body) == {"hello": 1.5, "id": event}
    kept = "SELECT body FROM rowhook.delivery WHERE body IS NOT NULL"
    assert one(conn, kept).encode() == got["template"].body, "and nothing else is kept"
    with open_as_api(dsn) as connection:
        for shape, hook in hooks.items():
            sent = deliveries.find(connection, the_delivery(conn, hook)["id"])
            assert sent
            past = event_list.find(connection, sent["event_id"], sent["event_slot"])
            assert (deliveries.body(sent, past) or "").encode() == got[shape].body
            said = deliveries.headers(sent, past, "X-Rowhook")
            assert {name: got[shape].headers.get(name) for name in said} == said


@pytest.mark.parametrize("before", ["standard", "thin", "cloudevents", "template"])
@pytest.mark.parametrize("after", ["standard", "legacy", "template"])
def test_a_retry_carries_the_same_bytes_whatever_its_endpoint_says_by_then(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, dsn: str, tmp_path: Path, before: str, after: str
) -> None:
    """So do the tries of another relay, and a replay; the next event goes out as the endpoint says now."""
    file = tmp_path / "other.j2"
    file.write_text('{"other": true}')
    template = HELLO if before == "template" else None
    hook = add_hook(receiver.url(), shape=before, template=template, retry_schedule=LATER)
    receiver.answer("/hook", [500, 500, 200])
    relay = relays()
    emit(conn)
    receiver.wait_for(1)
    eventually(lambda: the_delivery(conn, hook)["state"] == "pending")
    changed = ["--template", str(file)] if after == "template" else ["--shape", after]
    rowhook(dsn, "endpoint", "edit", hook.public_id, *changed)
    make_due(conn, hook)
    receiver.wait_for(2)
    relay.stop()
    eventually(lambda: the_delivery(conn, hook)["attempts"] == 2)
    relays()
    make_due(conn, hook)
    receiver.wait_for(3)
    becomes(conn, {"delivered": 1})
    rowhook(dsn, "replay", "--endpoint", hook.public_id, "--status", "delivered")
    first, *others = receiver.wait_for(4)
    assert [request.body for request in others] == [first.body] * 3
    assert {request.headers["content-type"] for request in others} == {first.headers["content-type"]}
    emit(conn, '{"n": 2}')
    fresh = receiver.wait_for(5)[-1]
    assert {
        "standard": fresh.body.startswith(b'{"id":'),
        "legacy": fresh.body == b'{"event":"order.placed","data":{"n": 2}}',
        "template": fresh.body == b'{"other": true}',
    }[after]


def test_mutant__a_claim_that_takes_the_shape_of_the_moment_changes_the_bytes(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, dsn: str, mutate_query: MutateQuery
) -> None:
    mutate_query("claim.claim", ("THEN k.shape ELSE d.shape END", "THEN k.shape ELSE k.shape END"))
    hook = add_hook(receiver.url(), retry_schedule=LATER)
    receiver.answer("/hook", [500, 200])
    relays()
    emit(conn)
    receiver.wait_for(1)
    eventually(lambda: the_delivery(conn, hook)["state"] == "pending")
    rowhook(dsn, "endpoint", "edit", hook.public_id, "--shape", "legacy")
    make_due(conn, hook)
    first, second = receiver.wait_for(2)
    assert first.body != second.body


def test_what_was_rendered_outlives_the_relay_that_died_with_it_in_flight(
    processes: Callable[..., RelayProcess],
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    dsn: str,
    gate: Gate,
) -> None:
    """The template is changed between the request and its retry: the body was kept before the request went out."""
    hook = add_hook(receiver.url(), shape="template", template=HELLO, timeout="60s")
    receiver.answer("/hook", gate.answer)
    relay = processes().start()
    emit(conn)
    receiver.wait_for(1)
    relay.kill()
    gate.open()
    conn.execute("UPDATE rowhook.endpoint SET template = '{\"other\": 1}', revision = revision + 1 WHERE id = %s", [hook.id])
    relays()
    first, second = receiver.wait_for(2)
    assert first.body == second.body != b'{"other": 1}'
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_a_body_that_could_not_be_kept_is_not_sent_and_is_made_again(
    relays: Relays,
    receiver: Receiver,
    add_hook: AddHook,
    conn: Connection,
    mutate_query: MutateQuery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The session that keeps bodies ends, and no other: the delivery is given back, without a failure."""
    mutate_query(
        "bodies.keep",
        ("WITH b AS", "WITH gone AS (SELECT pg_terminate_backend(pg_backend_pid())), b AS"),
        ("l.body FROM locked AS l", "l.body FROM locked AS l, gone"),
    )
    hook = add_hook(receiver.url(), shape="template", template=HELLO)
    relays()
    emit(conn)
    leased_at = "SELECT leased_at FROM rowhook.delivery"
    first = eventually(lambda: conn.execute(leased_at).fetchone())
    eventually(lambda: conn.execute(leased_at).fetchone() != first, 20)
    assert receiver.requests == []
    monkeypatch.undo()
    receiver.wait_for(1, timeout=20)
    eventually(lambda: the_delivery(conn, hook)["state"] == "delivered")
    assert (the_delivery(conn, hook)["attempts"], the_delivery(conn, hook)["failures"]) == (1, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ data.n.missing + 1 }}", "unsupported operand|undefined|missing"),
        ('{"text": "{{ data.text }}', "no JSON"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "takes more than"),
        ('"{{ "x" | center(2000000000) }}"', "memory"),
        ("{{ data.update({}) }}", "unsafe"),
    ],
    ids=["error", "no json", "endless", "huge", "out of the sandbox"],
)
def test_a_template_that_fails_fails_its_own_deliveries_only(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection, text: str, why: str
) -> None:
    """Others go on, with and without templates; mended, a replay sends it."""
    bad = add_hook(receiver.url("/bad"), shape="template", template=text, retry_schedule=[])
    add_hook(receiver.url("/good"))
    add_hook(receiver.url("/hello"), shape="template", template=HELLO)
    relay = relays()
    for _ in range(3):
        emit(conn)
    receiver.wait_for(3, path="/good")
    receiver.wait_for(3, path="/hello", timeout=30)
    becomes(conn, {"delivered": 6, "dead": 3}, 30)
    assert attempts_of(conn, bad) == [(1, None, "internal")] * 3
    error = one(conn, "SELECT error FROM rowhook.attempt WHERE error_class = 'internal' LIMIT 1")
    assert any(part in error for part in why.split("|")), error
    conn.execute("UPDATE rowhook.endpoint SET template = %s, revision = revision + 1 WHERE id = %s", [HELLO, bad.id])
    conn.execute("UPDATE rowhook.delivery SET state = 'pending', due_at = now(), ended_at = NULL WHERE state = 'dead'")
    conn.execute("SELECT pg_notify('rowhook_work', ''), pg_notify('rowhook_endpoint', '')")
    receiver.wait_for(3, path="/bad")
    assert relay.running


def test_a_shape_that_cannot_be_made_fails_its_own_delivery_only(
    relays: Relays, receiver: Receiver, add_hook: AddHook, conn: Connection
) -> None:
    """A time that no year of four digits can say."""
    add_hook(receiver.url("/thin"), shape="thin", retry_schedule=[])
    relays()
    conn.execute("INSERT INTO rowhook.event (op, type, occurred_at) VALUES ('emit', 'a.b', 'infinity')")
    emit(conn)
    receiver.wait_for(1, path="/thin")
    becomes(conn, {"delivered": 1, "dead": 1})
    (attempt,) = run_text(conn, "SELECT error FROM rowhook.attempt WHERE error_class = 'internal'")
    assert "between the years" in attempt["error"]
