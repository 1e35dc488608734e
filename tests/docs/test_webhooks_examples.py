"""docs/webhooks.md does what it says: its programs verify genuine requests, its schemas fit real events.

A fenced block is named by the HTML comment above it: `<!-- example: python verify_hub -->`, `<!-- schema: expense -->`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator, ValidationError
from psycopg.rows import dict_row

from relay import moment, recipes
from relay.envelope import envelope
from relay.event import Event
from relay.public_id import public_id
from relay.retry import DEFAULT, PATIENT, RETRY_AFTER_AT_LEAST, RETRY_AFTER_AT_MOST, parse_schedule
from relay.shapes import BINARY, SHAPES, STANDARD, Facts, headers_of, shaped
from relay.shapes.language import check_template, render
from relay.sign import headers, new_secret, parse_signer
from relay.sign_ed25519 import SigningKey

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
BLOCKS = {name: block for name, _language, block in re.findall(r"^<!-- ([^\n]+?) -->\n```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)}
EVENT_EXAMPLES = [name for name in BLOCKS if name.startswith("example: event ")]

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLAIN = "correct horse battery staple ✓"
BODY = envelope(
    event_id=public_id("evt", datetime(2026, 1, 1, tzinfo=UTC), 1),
    type="expense.created",
    occurred_at=moment.of(datetime(2026, 1, 1, tzinfo=UTC)),
    tenant="7",
    data='{"amount":99.50,"notes":"Größe ✓"}'.encode(),
    previous=None,
    moved=False,
)

Request = dict[str, Any]


def genuine(*secrets: str, age: int = 0) -> Request:
    made = headers(
        secrets=[parse_signer(secret) for secret in secrets],
        webhook_id="evt_1",
        timestamp=int(time.time()) - age,
        event_type="expense.created",
        delivery_id="dlv_1",
        attempt=1,
        body=BODY,
    )
    # Names in lower case, as Node gives them and as Python's libraries look them up.
    return {"headers": {name.lower(): value for name, value in made.items()}, "body": BODY}


def changed(request: Request, body: bytes | None = None, **altered: str) -> Request:
    """The same request, tampered with."""
    names = {name.replace("_", "-"): value for name, value in altered.items()}
    return {"headers": {**request["headers"], **names}, "body": body or request["body"]}


def without(request: Request, name: str) -> Request:
    kept = {key: value for key, value in request["headers"].items() if key != name}
    return {"headers": kept, "body": request["body"]}


def standard_cases() -> list[tuple[str, Request, bool]]:
    """What a verifier of webhook-signature must say: (secret in its settings, request, is it accepted?). Made when they are used:
    their timestamps age."""
    return [
        (WHSEC, genuine(WHSEC), True),
        (PLAIN, genuine(PLAIN), True),
        (WHSEC, genuine(new_secret(), WHSEC), True),
        (WHSEC, genuine(WHSEC, new_secret()), True),
        (WHSEC, genuine(WHSEC, age=280), True),
        (WHSEC, genuine(WHSEC, age=-280), True),
        (WHSEC, changed(genuine(WHSEC), webhook_signature="v2,x " + genuine(WHSEC)["headers"]["webhook-signature"]), True),
        (WHSEC, genuine(WHSEC, age=320), False),
        (WHSEC, genuine(WHSEC, age=-320), False),
        (WHSEC, genuine(new_secret()), False),
        (WHSEC, changed(genuine(WHSEC), body=BODY + b" "), False),
        (WHSEC, changed(genuine(WHSEC), body=BODY.replace(b"99.50", b"9950")), False),
        (WHSEC, changed(genuine(WHSEC), webhook_id="evt_2"), False),
        (WHSEC, changed(genuine(WHSEC), webhook_timestamp=str(int(time.time()) - 7)), False),
        (WHSEC, changed(genuine(WHSEC), webhook_timestamp="NaN"), False),
        (WHSEC, changed(genuine(WHSEC), webhook_signature="v1,AAAA"), False),
        (WHSEC, changed(genuine(WHSEC), webhook_signature="v1"), False),
        (WHSEC, changed(genuine(WHSEC), webhook_signature="%%%"), False),
        (WHSEC, without(genuine(WHSEC), "webhook-signature"), False),
        (WHSEC, without(genuine(WHSEC), "webhook-timestamp"), False),
        (WHSEC, without(genuine(WHSEC), "webhook-id"), False),
    ]


def ed25519_cases() -> list[tuple[str, Request, bool]]:
    """The same for a verifier that has a public key."""
    key, other = SigningKey.new(), SigningKey.new()
    good = genuine(key.text)
    return [
        (key.public, good, True),
        (key.public, genuine(other.text, key.text), True),
        (key.public, genuine(key.text, WHSEC), True),
        (key.public, genuine(key.text, age=280), True),
        (key.public, genuine(key.text, age=320), False),
        (key.public, genuine(key.text, age=-320), False),
        (key.public, genuine(other.text), False),
        (key.public, genuine(WHSEC), False),
        (key.public, changed(good, body=BODY + b" "), False),
        (key.public, changed(good, webhook_id="evt_2"), False),
        (key.public, changed(good, webhook_timestamp=str(int(time.time()) - 7)), False),
        (key.public, changed(good, webhook_signature="v1a,AAAA"), False),
        (key.public, without(good, "webhook-signature"), False),
    ]


HUB_CASES: list[tuple[str, Request, bool]] = [
    (WHSEC, genuine(WHSEC), True),
    (PLAIN, genuine(PLAIN), True),
    (WHSEC, genuine(WHSEC, new_secret()), True),
    (WHSEC, genuine(new_secret(), WHSEC), False),
    (WHSEC, changed(genuine(WHSEC), body=BODY + b" "), False),
    (WHSEC, changed(genuine(WHSEC), x_hub_signature_256="sha256=00"), False),
    (WHSEC, changed(genuine(WHSEC), x_hub_signature_256=""), False),
    (WHSEC, changed(genuine(WHSEC), x_hub_signature_256="sha256=ü"), False),
]


def verdicts(command: list[str], folder: Path, cases: list[tuple[str, Request, bool]]) -> list[bool]:
    """What the program in a process of its own says to each case; it reads and prints a line of JSON."""
    given = [
        {"secret": secret, "headers": request["headers"], "body": base64.b64encode(request["body"]).decode()}
        for secret, request, _ in cases
    ]
    done = subprocess.run(command, cwd=folder, input=json.dumps(given), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def expected(cases: list[tuple[str, Request, bool]]) -> list[bool]:
    return [accepted for _, _, accepted in cases]


# --- programs ----------------------------------------------------------------------------------------------

_PYTHON_STANDARD = """
import base64, json, sys
from verify_standard import verify
def accepted(case):
    try:
        verify(case["secret"], case["headers"], base64.b64decode(case["body"]))
    except Exception:
        return False
    return True
print(json.dumps([accepted(case) for case in json.load(sys.stdin)]))
"""

_PYTHON_ED25519 = _PYTHON_STANDARD.replace("verify_standard", "verify_ed25519")

_PYTHON_HUB = """
import base64, json, sys
from verify_hub import is_genuine
print(json.dumps([
    is_genuine(case["secret"], case["headers"]["x-hub-signature-256"], base64.b64decode(case["body"]))
    for case in json.load(sys.stdin)
]))
"""

_PYTHON_FLASK = """
import base64, json, os, sys
cases = json.load(sys.stdin)
os.environ["WEBHOOK_SECRET"] = cases[0]["secret"]
from flask_app import app
client = app.test_client()
print(json.dumps([
    client.post("/hook", headers=case["headers"], data=base64.b64decode(case["body"])).status_code for case in cases
]))
"""

_NODE_STANDARD = """
import { readFileSync } from "node:fs";
import { verify } from "./verify_standard.mjs";
const accepted = ({ secret, headers, body }) => {
  try { verify(secret, headers, Buffer.from(body, "base64")); return true; } catch { return false; }
};
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(accepted)));
"""

_NODE_HUB = """
import { readFileSync } from "node:fs";
import { isGenuine } from "./verify_hub.mjs";
const accepted = ({ secret, headers, body }) =>
  isGenuine(secret, headers["x-hub-signature-256"], Buffer.from(body, "base64"));
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(accepted)));
"""


def _put(folder: Path, block: str, file: str, runner: str) -> None:
    (folder / file).write_text(BLOCKS[f"example: {block}"])
    (folder / ("run" + Path(file).suffix)).write_text(runner)


def test_python_with_standardwebhooks(tmp_path: Path):
    _put(tmp_path, "python verify_standard", "verify_standard.py", _PYTHON_STANDARD)
    cases = standard_cases()
    assert verdicts([sys.executable, "run.py"], tmp_path, cases) == expected(cases)


def test_python_with_ed25519(tmp_path: Path):
    _put(tmp_path, "python verify_ed25519", "verify_ed25519.py", _PYTHON_ED25519)
    cases = ed25519_cases()
    assert verdicts([sys.executable, "run.py"], tmp_path, cases) == expected(cases)


def test_python_with_hmac(tmp_path: Path):
    _put(tmp_path, "python verify_hub", "verify_hub.py", _PYTHON_HUB)
    assert verdicts([sys.executable, "run.py"], tmp_path, HUB_CASES) == expected(HUB_CASES)


def test_flask_handler(tmp_path: Path):
    """It takes what is genuine, once, and refuses the rest without an error of its own."""
    _put(tmp_path, "python flask_app", "flask_app.py", _PYTHON_FLASK)
    cases = [case for case in standard_cases() if case[0] == WHSEC]
    statuses = verdicts([sys.executable, "run.py"], tmp_path, cases)
    assert statuses == [204 if accepted else 401 for accepted in expected(cases)]
    with contextlib.closing(sqlite3.connect(tmp_path / "inbox.db")) as inbox:
        assert inbox.execute("SELECT webhook_id, body FROM inbox").fetchall() == [("evt_1", BODY)]


@pytest.mark.node
def test_node_with_standard_webhooks(tmp_path: Path):
    _put(tmp_path, "node verify_standard.mjs", "verify_standard.mjs", _NODE_STANDARD)
    cases = standard_cases()
    assert verdicts(["node", "run.mjs"], tmp_path, cases) == expected(cases)


@pytest.mark.node
def test_node_with_hub_signature(tmp_path: Path):
    _put(tmp_path, "node verify_hub.mjs", "verify_hub.mjs", _NODE_HUB)
    assert verdicts(["node", "run.mjs"], tmp_path, HUB_CASES) == expected(HUB_CASES)


def test_every_program_of_the_page_is_run():
    tested = set(re.findall(r'_put\(tmp_path, "([^"]+)"', Path(__file__).read_text()))
    fenced = len(re.findall(r"^```(?:python|js)$", PAGE, re.M))
    programs = {name.removeprefix("example: ") for name in BLOCKS if re.match("example: (python|node) ", name)}
    assert programs == tested
    assert len(programs) == fenced


# --- schemas and examples of events ------------------------------------------------------------------------


def schema(name: str) -> Draft202012Validator:
    found = json.loads(BLOCKS[f"schema: {name}"])
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def check(event: dict[str, Any]) -> None:
    """Does the event fit the page's schemas?"""
    schema("envelope").validate(event)
    if event["type"] in ("endpoint.disabled", "delivery.dead", "schema.changed"):
        schema(event["type"]).validate(event["data"])
    elif event["type"] == "expense.truncated":
        assert event["data"] is None
    else:
        name = event["type"].partition(".")[0]
        schema(name).validate(event["data"])
        old_values = json.loads(BLOCKS[f"schema: {name}"])
        del old_values["required"]
        Draft202012Validator(old_values).validate(event.get("previous", {}))


@pytest.mark.parametrize("name", EVENT_EXAMPLES)
def test_examples_fit_the_schemas(name: str):
    event = json.loads(BLOCKS[name])
    assert event["type"] == name.removeprefix("example: event ")
    check(event)
    again = envelope(
        event_id=event["id"],
        type=event["type"],
        occurred_at=moment.of(datetime.fromisoformat(event["timestamp"])),
        tenant=event["tenant"],
        data=json.dumps(event["data"]).encode(),
        previous=json.dumps(event["previous"]).encode() if "previous" in event else None,
        moved=event.get("moved", False),
    )
    assert list(json.loads(again)) == list(event)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "evt_1"},
        {"id": "evt_8" + "0" * 25},
        {"type": "expense created"},
        {"timestamp": "2026-01-01T09:30:00Z"},
        {"tenant": 7},
        {"previous": None},
        {"moved": False},
        {"data": {}},
    ],
)
def test_schemas_refuse_what_is_wrong(wrong: dict[str, Any]):
    event = json.loads(BLOCKS["example: event expense.created"])
    with pytest.raises(ValidationError):
        check({**event, **wrong})


def events_of(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """The envelopes of all events, as they would be sent."""
    rows = connection.execute(
        "SELECT id, slot, type, occurred_at, tenant, data::text, previous::text, moved"
        "  FROM rowhook.event WHERE op <> 'probe' ORDER BY id"
    ).fetchall()
    return [
        json.loads(
            envelope(
                event_id=public_id("evt", occurred_at, id, slot),
                type=type,
                occurred_at=moment.of(occurred_at),
                tenant=tenant,
                data=data and data.encode(),
                previous=previous and previous.encode(),
                moved=moved,
            )
        )
        for id, slot, type, occurred_at, tenant, data, previous, moved in rows
    ]


def test_real_events_fit_the_schemas(finmind: str, connect: Callable[..., psycopg.Connection[Any]]):
    writer = connect(dsn=finmind)
    writer.execute("INSERT INTO users (email, password_hash) SELECT g || '@example.com', 'x' FROM generate_series(1, 2) AS g")
    writer.execute("INSERT INTO expenses (user_id, amount, notes) VALUES (1, 90, 'Größe ✓'), (1, 'NaN', NULL)")
    writer.execute("UPDATE expenses SET amount = 99.50, notes = NULL WHERE id = 1")
    writer.execute("UPDATE expenses SET amount = amount")
    writer.execute("UPDATE expenses SET id = 100 WHERE id = 1")
    writer.execute("UPDATE expenses SET user_id = 2 WHERE id = 100")
    writer.execute("UPDATE expenses SET spent_at = 'infinity', created_at = '-infinity' WHERE id = 100")
    writer.execute("ALTER TABLE expenses ADD COLUMN mood text")
    writer.execute("SELECT rowhook.backfill('expenses')")
    writer.execute("DELETE FROM users WHERE id = 2")
    writer.execute("TRUNCATE expenses")
    events = events_of(writer)
    for event in events:
        check(event)
    assert [(event["type"], event["tenant"], event.get("moved", False)) for event in events] == [
        ("expense.created", "1", False),
        ("expense.created", "1", False),
        ("expense.updated", "1", False),
        ("expense.updated", "1", False),
        ("expense.deleted", "1", True),
        ("expense.created", "2", True),
        ("expense.updated", "2", False),
        ("expense.snapshot", "1", False),
        ("expense.snapshot", "2", False),
        ("expense.deleted", "2", False),
        ("expense.truncated", None, False),
    ]
    assert events[2]["previous"] == {"amount": 90.00, "notes": "Größe ✓"}
    assert events[3]["previous"] == {"id": 1}
    assert events[1]["data"]["amount"] == "NaN"
    assert set(events[0]["data"]) == set(json.loads(BLOCKS["schema: expense"])["properties"])
    ids = [event["id"] for event in events]
    assert ids == sorted(ids)
    catalog = set(re.findall(r"^\| `(expense\.\w+)` \|", PAGE, re.M))
    assert catalog == {event["type"] for event in events}


def test_events_of_the_recipe_fit_the_schemas(finmind_dsn: str, connect: Callable[..., psycopg.Connection[Any]]):
    writer = connect(dsn=finmind_dsn, row_factory=dict_row)
    recipes.install(writer, "finmind")
    writer = connect(dsn=finmind_dsn)
    writer.execute("INSERT INTO users (email, password_hash) VALUES ('a', 'x')")
    writer.execute("INSERT INTO rowhook.budget VALUES (1, 10)")
    writer.execute("INSERT INTO expenses (user_id, amount) VALUES (1, 11.50)")
    writer.execute(
        "INSERT INTO bills (user_id, name, amount, next_due_date, cadence) VALUES (1, 'a', 1, '2026-01-31', 'MONTHLY')"
    )
    writer.execute("UPDATE bills SET next_due_date = '2026-02-28'")
    writer.execute("INSERT INTO reminders (user_id, message, send_at) VALUES (1, 'a', now())")
    writer.execute("UPDATE reminders SET sent = true")
    events = events_of(writer)
    for event in events:
        check(event)
        assert set(event["data"]) == set(json.loads(BLOCKS[f"schema: {event['type'].partition('.')[0]}"])["properties"])
    told = {event["type"] for event in events}
    assert told == {"expense.created", "budget.exceeded", "bill.created", "bill.paid", "reminder.fired"}
    assert told - {"expense.created"} == set(re.findall(r"^\| `((?:bill|reminder|budget)\.\w+)` \|", PAGE, re.M))


def test_own_events_fit_the_schema(finmind: str, connect: Callable[..., psycopg.Connection[Any]]):
    """endpoint.disabled as the relay's own statement writes it."""
    statements = (Path(__file__).parents[2] / "relay" / "queries" / "record.sql").read_text()
    statement = re.split(r"^-- name: ", statements, flags=re.M)
    (disable,) = (text.partition("\n")[2] for text in statement if text.startswith("disable\n"))
    connection = connect(dsn=finmind)
    row = connection.execute(
        "INSERT INTO rowhook.endpoint (url, tenant) VALUES ('https://example.com/hook', '7') RETURNING id"
    ).fetchone()
    assert row is not None
    connection.execute(disable.encode(), {"endpoint": row[0], "reason": "the receiver answered 410 Gone"})
    (event,) = events_of(connection)
    assert event["type"] == "endpoint.disabled"
    check(event)


def test_a_changed_schema_fits_the_schema(finmind: str, connect: Callable[..., psycopg.Connection[Any]]):
    connection = connect(dsn=finmind)
    connection.execute("ALTER TABLE expenses ADD COLUMN more int, ALTER amount TYPE bigint")
    connection.execute(
        "ALTER TABLE expenses RENAME notes TO remarks; ALTER TABLE expenses RENAME TO costs; DROP TABLE costs CASCADE"
    )
    events = events_of(connection)
    for event in events:
        check(event)
    told = [change["change"] for event in events for change in event["data"]["changes"]]
    assert told == ["retyped", "added", "renamed", "table renamed", "table dropped"]


def _values() -> list[tuple[str, str]]:
    table = PAGE.partition("<!-- values -->\n")[2].partition("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    return [(row[0].removeprefix("| ").strip("`"), row[1].strip("`")) for row in rows]


@pytest.mark.parametrize(("value", "in_json"), _values())
def test_values_appear_as_the_page_says(cluster: Any, value: str, in_json: str):
    with cluster.connect() as connection:
        row = connection.execute(f"SELECT row_to_json(t)::text FROM (SELECT {value} AS v) AS t").fetchone()
    assert row == (f'{{"v":{in_json}}}',)
    json.loads(in_json)


# --- numbers and names -------------------------------------------------------------------------------------


def test_headers_are_all_on_the_page():
    made = headers(
        secrets=[parse_signer(WHSEC)],
        webhook_id="evt_1",
        timestamp=1,
        event_type="expense.created",
        delivery_id="dlv_1",
        attempt=1,
        body=BODY,
    )
    table = set(re.findall(r"^\| `([\w-]+)` \|", PAGE.partition("## The envelope")[0], re.M))
    assert table == set(made)


def test_the_request_on_the_page_is_genuine():
    """Whoever writes a receiver can try it on that."""
    head, _, body = BLOCKS["example: request"].rstrip("\n").partition("\n\n")
    shown = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    secret = re.search(r"signed with the secret `(whsec_\S+)`", PAGE)
    assert secret is not None
    made = headers(
        secrets=[parse_signer(secret[1])],
        webhook_id=json.loads(body)["id"],
        timestamp=int(datetime.fromisoformat(json.loads(body)["timestamp"]).timestamp()),
        event_type=json.loads(body)["type"],
        delivery_id=shown["X-Rowhook-Delivery"],
        attempt=1,
        body=body.encode(),
    )
    assert shown.pop("user-agent").startswith("Rowhook/")
    del made["user-agent"]
    assert shown == made
    schema("envelope").validate(json.loads(body))


def test_schedules_are_those_of_the_relay():
    waits = re.search(r"after ([\d, ]+) and (\d+) seconds: six tries", PAGE)
    assert waits is not None
    default = [*waits[1].split(", "), waits[2]]
    assert parse_schedule(",".join(f"{wait}s" for wait in default)) == DEFAULT
    assert len(DEFAULT) == 5
    patient = re.search(r"`patient` is ([^.]+)\.", PAGE)
    assert patient is not None
    assert parse_schedule(patient[1]) == PATIENT
    assert (RETRY_AFTER_AT_LEAST.total_seconds(), RETRY_AFTER_AT_MOST.days) == (3600, 1)


SHAPED = Facts(
    id="evt_01KDWE90HV000000000003J004",
    type="expense.created",
    occurred_at=moment.of(datetime(2026, 1, 1, 9, 30, 0, 123456, UTC)),
    tenant="7",
    table="expenses",
    row_key="41",
    moved=False,
    data=b'{"id":41,"amount":99.50}',
)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != STANDARD])
def test_the_examples_of_shapes_are_what_is_sent(shape: str) -> None:
    block = BLOCKS[f"example: shape {shape}"].removesuffix("\n")
    body = shaped(shape, SHAPED).decode()
    if shape == BINARY:
        lines = "\n".join(f"{name}: {value}" for name, value in headers_of(shape, SHAPED).items())
        assert block == f"{lines}\n\n{body}"
    else:
        assert block == body


def test_the_examples_template_makes_what_it_says() -> None:
    row = b'{"id":41,"amount":1500.50,"currency":"INR"}'
    event = Event(1, 0, moment.of(datetime(2026, 1, 1, tzinfo=UTC)), "expense.created", "7", "41", False, row, None, "expenses")
    made = render(check_template(BLOCKS["example: template"]), event.body.decode(), {"table": "expenses", "row_key": "41"})
    assert json.loads(made) == {"text": "Expense 41: 1500.50 INR", "large": True}
