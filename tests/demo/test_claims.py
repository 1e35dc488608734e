"""The check itself: each kind of fault makes its claim fail, and no other kind of receipt is needed for that."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from relay.demo.claims import TRIES, Evidence, check
from relay.demo.ledger import Ledger, created
from relay.demo.receiver import HOOKS, Hook, Receipt
from relay.demo.verify import both_signatures_hold
from relay.sign import Secret, headers, new_secret

ROW = {
    "id": 1,
    "user_id": 2,
    "category_id": None,
    "amount": Decimal("99.50"),
    "spent_at": date(2026, 1, 1),
    "created_at": datetime(2026, 1, 1, 9, 30, 0, 120000),  # noqa: DTZ001 - as FinMind keeps it
}
CHANGED = {**ROW, "amount": Decimal("1.00")}
JSON_ROW = '{"id":1,"user_id":2,"category_id":null,"amount":%s,"spent_at":"2026-01-01","created_at":"2026-01-01T09:30:00.12"}'
EVENTS = {
    "created": JSON_ROW % "99.50",
    "updated": JSON_ROW % "1.00",
    "deleted": JSON_ROW % "1.00",
}


def ledger() -> Ledger:
    """One row's life, with an update that changed nothing and an insert that was rolled back."""
    kept = Ledger()
    kept.insert([ROW])
    kept.update([ROW])
    kept.update([CHANGED])
    kept.delete([CHANGED])
    kept.rolled_back.append(created({**ROW, "id": 9}))
    return kept


def receipts(hook: Hook, op: str, data: str) -> list[Receipt]:
    """What the hook sees of one event if all is well."""
    previous = ',"previous":{"amount":99.50}' if op == "updated" else ""
    body = f'{{"type":"expense.{op}","timestamp":"2026-01-01T09:30:00.120000Z","tenant":"2","data":{data}{previous}}}'
    content: dict[str, Any] = json.loads(body, parse_float=Decimal)
    seen = []
    for number in range(1, TRIES + 1):
        status = hook.answer(number)
        seen.append(Receipt(0.0, hook.path, status, True, f"evt {op}", f"{hook.path} {op}", number, body.encode(), content))
        if status == 200:
            break
    return seen


def evidence() -> Evidence:
    """All as it should be."""
    kept = ledger()
    journal = [
        receipt
        for hook in HOOKS
        for change in kept.committed
        if hook.wants(change)
        for receipt in receipts(hook, change.op, EVENTS[change.op])
    ]
    on_record = [(receipt.delivery_id, receipt.attempt, receipt.status) for receipt in journal]
    return Evidence(kept, journal, on_record, [("/broken", "evt deleted", TRIES)])


def failing(given: Evidence) -> set[str]:
    return {claim.text.split(" ")[0] for claim in check(given) if not claim.holds}


def with_data(given: Evidence, path: str, op: str, data: str) -> Evidence:
    changed = [
        replace(receipt, content={**receipt.content, "data": json.loads(data, parse_float=Decimal)})
        if (receipt.path, receipt.type) == (path, f"expense.{op}")
        else receipt
        for receipt in given.journal
    ]
    return replace(given, journal=changed)


def test_all_hold_where_all_is_well() -> None:
    assert failing(evidence()) == set()


def test_a_repeat_under_the_same_id_is_no_second_event() -> None:
    given = evidence()
    repeat = replace(given.journal[0], attempt=2)
    on_record = [*given.on_record, (repeat.delivery_id, 2, repeat.status)]
    assert failing(replace(given, journal=[*given.journal, repeat], on_record=on_record)) == set()


def test_an_event_twice_under_two_ids_is_one_too_many() -> None:
    given = evidence()
    second = replace(given.journal[0], event_id="evt other")
    assert "/all:" in failing(replace(given, journal=[*given.journal, second]))


@pytest.mark.parametrize("data", [JSON_ROW % "99.5", JSON_ROW % "99.51", (JSON_ROW % "99.50").replace('"id":1', '"id":2')])
def test_other_values_are_another_change(data: str) -> None:
    assert "/all:" in failing(with_data(evidence(), "/all", "created", data))


def test_what_was_rolled_back_must_not_arrive() -> None:
    assert {"/all:", "1"} <= failing(with_data(evidence(), "/all", "created", EVENTS["created"].replace('"id":1', '"id":9')))


def test_a_success_at_another_attempt_than_the_third() -> None:
    given = evidence()
    early = [replace(receipt, attempt=receipt.attempt - 1) if receipt.path == "/flaky" else receipt for receipt in given.journal]
    assert failing(replace(given, journal=early)) == {"/flaky:", "attempts"}


@pytest.mark.parametrize(
    "dead",
    [
        [],
        [("/broken", "evt deleted", TRIES - 1)],
        [("/broken", "evt created", TRIES)],
        [("/broken", "evt deleted", TRIES), ("/all", "evt created", TRIES)],
    ],
)
def test_dead_letters_are_exactly_those_meant(dead: list[tuple[str, str, int]]) -> None:
    assert failing(replace(evidence(), dead=dead)) == {"/broken:"}


def test_a_request_that_is_not_on_record() -> None:
    given = evidence()
    assert failing(replace(given, on_record=given.on_record[1:])) == {"attempts"}


def test_other_bytes_at_a_retry() -> None:
    given = evidence()
    *others, last = given.journal
    assert failing(replace(given, journal=[*others, replace(last, body=last.body + b" ")])) == {"events"}


def test_nothing_at_all_holds_nothing() -> None:
    assert len(failing(Evidence(Ledger(), [], [], []))) > 0


FAULTS = ["body", "secret", "webhook-id", "webhook-timestamp", "webhook-signature", "X-Hub-Signature-256"]


def signed(secret: str, body: bytes, age: int) -> dict[str, str]:
    """Headers of a request that was sent so many seconds ago."""
    sent_at = int(time.time()) - age
    own = {"webhook_id": "evt_1", "event_type": "expense.created", "delivery_id": "dlv_1"}
    return headers(secrets=[Secret.parse(secret)], timestamp=sent_at, attempt=1, body=body, **own)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_receiver_refuses_what_was_tampered_with(fault: str) -> None:
    secret, body = new_secret(), b'{"id":"evt_1"}'
    sent = signed(secret, body, age=0)
    assert both_signatures_hold(secret, sent, body)
    if fault == "body":
        body += b" "
    elif fault == "secret":
        secret = new_secret()
    else:
        sent[fault] = sent[fault][:-2] + ("0=" if sent[fault][-2] != "0" else "1=")
    assert not both_signatures_hold(secret, sent, body)


def test_the_receiver_refuses_what_is_old() -> None:
    secret, body = new_secret(), b"{}"
    assert both_signatures_hold(secret, signed(secret, body, age=290), body)
    assert not both_signatures_hold(secret, signed(secret, body, age=310), body)
