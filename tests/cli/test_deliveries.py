"""rowhook deliveries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Rowhook, Sent


@pytest.fixture
def other(rowhook: Rowhook) -> str:
    return str(rowhook("endpoint", "add", "https://example.com/other", "--json", ok=True).json["id"])


def test_newest_first_with_those_never_tried(rowhook: Rowhook, endpoint: str, deliver: Callable[..., Sent]):
    tried, waiting = deliver(endpoint, "dead", attempts=2), deliver(endpoint, "pending")
    rows = rowhook("deliveries", "--json", ok=True).json
    assert [(r["delivery_id"], r["attempt"]) for r in rows] == [
        (waiting.delivery, None),
        (tried.delivery, 2),
        (tried.delivery, 1),
    ]
    assert rows[0]["next_attempt_at"] is not None
    expected = {
        "event_id": tried.event,
        "webhook_id": tried.event,
        "event_type": "expense.created",
        "tenant": "7",
        "row_key": "42",
        "endpoint_id": endpoint,
        "url": "https://example.com/hook",
        "duration_ms": 12.345,
        "status_code": 503,
        "error_class": "http_5xx",
        "delivery_status": "dead",
        "next_attempt_at": None,
    }
    assert expected.items() <= rows[1].items()


def test_text_has_no_control_characters(rowhook: Rowhook, endpoint: str, deliver: Callable[..., Sent]):
    deliver(endpoint, "dead", attempts=1, type="odd.type")
    done = rowhook("deliveries", ok=True)
    assert "\x1b" not in done.out
    header, row = done.out.splitlines()
    assert dict(zip(header.split("\t"), row.split("\t"), strict=True))["result"] == "http_5xx"


def test_filters(rowhook: Rowhook, endpoint: str, other: str, deliver: Callable[..., Sent]):
    first, second = deliver(endpoint, "dead", attempts=1), deliver(other, "delivered")

    def found(*options: str) -> list[str]:
        return [row["delivery_id"] for row in rowhook("deliveries", *options, "--json", ok=True).json]

    assert found("--endpoint", endpoint) == [first.delivery]
    assert found("--status", "delivered") == [second.delivery]
    assert found("--event", first.event) == [first.delivery]
    assert found("--event", first.event, "--endpoint", other) == []
    assert found("--limit", "1") == [second.delivery]


def test_none_at_all(rowhook: Rowhook):
    assert rowhook("deliveries", "--json", ok=True).json == []


def test_mistakes(rowhook: Rowhook, endpoint: str, deliver: Callable[..., Sent]):
    sent = deliver(endpoint)
    rowhook("deliveries", "--status", "done").refused("'done'", "pending, leased, delivered, dead, cancelled")
    rowhook("deliveries", "--limit", "all").refused("'all'", "1 to 10000")
    rowhook("deliveries", "--limit", "0").refused("'0'", "1 to 10000")
    rowhook("deliveries", "--endpoint", sent.event).refused(sent.event, "end_")
    rowhook("deliveries", "--event", sent.delivery).refused(sent.delivery, "evt_")
    unknown = sent.event[:-5] + "ZZZZZ"
    rowhook("deliveries", "--event", unknown).refused(f"no event {unknown}", "still kept")
