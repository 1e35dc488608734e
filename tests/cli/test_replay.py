"""rowhook replay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Timer
from typing import Any

import pytest

from tests.cli.conftest import Rowhook, Sent
from tests.conftest import Connection


def delivery(conn: Connection, sent: Sent) -> tuple[Any, ...]:
    (row,) = conn.execute(
        "SELECT state, attempts, failures, free_tries, ended_at, webhook_id, due_at <= clock_timestamp() FROM rowhook.delivery"
        " WHERE id = %s",
        [sent.id],
    ).fetchall()
    return tuple(row)


def state(conn: Connection, sent: Sent) -> str:
    return str(delivery(conn, sent)[0])


def test_a_dead_letter_starts_afresh(rowhook: Rowhook, conn: Connection, endpoint: str, deliver, heard: Callable[[], int]):
    sent = deliver(endpoint, "dead", attempts=6)
    conn.execute("UPDATE rowhook.delivery SET free_tries = 3")
    done = rowhook("replay", "--delivery", sent.delivery, ok=True)
    assert (done.out, done.err) == ("replayed: 1\n", "")
    assert delivery(conn, sent) == ("pending", 6, 0, 0, None, None, True)
    assert heard() == 1


@pytest.mark.parametrize("option", ["event", "delivery", "endpoint", "since"])
def test_what_to_replay(rowhook: Rowhook, conn: Connection, endpoint: str, deliver, option: str):
    other = rowhook("endpoint", "add", "https://example.com/", "--json", ok=True).json["id"]
    wanted, unwanted = deliver(endpoint), deliver(other, age="3h")
    value = {"event": wanted.event, "delivery": wanted.delivery, "endpoint": endpoint, "since": "2h"}[option]
    assert rowhook("replay", f"--{option}", value, "--json", ok=True).json["replayed"] == 1
    assert (state(conn, wanted), state(conn, unwanted)) == ("pending", "dead")


def test_times(rowhook: Rowhook, endpoint: str, deliver):
    deliver(endpoint, age="3h")
    deliver(endpoint, age="1h")

    def found(*options: str) -> int:
        return int(rowhook("replay", *options, "--dry-run", "--json", ok=True).json["matching"])

    two_hours_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    assert found("--since", two_hours_ago) == 1
    assert found("--since", two_hours_ago.removesuffix("+00:00")) == 1
    assert found("--since", "7d", "--until", two_hours_ago) == 1
    assert found("--since", "1d", "--until", "2h") == 1
    assert found("--since", "1.5w") == 2


@pytest.mark.parametrize(
    ("status", "moved"),
    [(None, {"dead"}), ("delivered", {"delivered"}), ("cancelled", {"cancelled"}), ("any", {"dead", "delivered", "cancelled"})],
)
def test_status_chooses_and_the_unfinished_stay(
    rowhook: Rowhook, conn: Connection, endpoint: str, deliver, status, moved: set[str]
):
    all_states = ("pending", "leased", "delivered", "dead", "cancelled")
    sent = {state: deliver(endpoint, state, attempts=2) for state in all_states}
    options = ["--status", status] if status else []
    assert rowhook("replay", "--endpoint", endpoint, *options, "--json", ok=True).json["replayed"] == len(moved)
    for before, one in sent.items():
        assert state(conn, one) == ("pending" if before in moved else before)
        assert delivery(conn, one)[2] == (0 if before in moved else 2)


def test_only_of_some_types_and_of_one_row(rowhook: Rowhook, conn: Connection, endpoint: str, deliver):
    types = ("expense.created", "expense.updated", "bill.paid", "expense.created")
    sent = [deliver(endpoint, type=type) for type in types]
    conn.execute(
        "UPDATE rowhook.event AS e SET row_key = '43' FROM rowhook.delivery AS d WHERE d.id = %s AND e.id = d.event_id",
        [sent[3].id],
    )

    def found(*options: str) -> int:
        return int(rowhook("replay", "--endpoint", endpoint, *options, "--dry-run", "--json", ok=True).json["matching"])

    assert [found(), found("--type", "expense.*"), found("--type", "expense.updated,bill.paid")] == [4, 3, 2]
    assert [found("--row-key", "42"), found("--row-key", "43"), found("--row-key", "4")] == [3, 1, 0]
    assert [found("--type", "expense.created", "--row-key", "42"), found("--type", "nothing.of.it")] == [1, 0]
    rowhook("replay", "--endpoint", endpoint, "--type", "expense.*", "--row-key", "42", ok=True)
    assert [state(conn, one) for one in sent] == ["pending", "pending", "dead", "dead"]
    rowhook("replay", "--endpoint", endpoint, "--type", "a..b").refused("a..b")
    rowhook("replay", "--row-key", "42").refused("replay is not told what to send again")


def test_dry_run_only_counts(rowhook: Rowhook, conn: Connection, endpoint: str, deliver, heard: Callable[[], int]):
    sent = deliver(endpoint)
    assert rowhook("replay", "--endpoint", endpoint, "--dry-run", ok=True).out == "would replay: 1\n"
    report = rowhook("replay", "--endpoint", endpoint, "--dry-run", "--json", ok=True).json
    assert (report["replayed"], report["matching"], report["dry_run"]) == (0, 1, True)
    assert state(conn, sent) == "dead"
    assert heard() == 0


def test_new_ids_are_fresh_and_unique(rowhook: Rowhook, conn: Connection, endpoint: str, deliver):
    sent = [deliver(endpoint) for _ in range(3)]
    seen = {one.event for one in sent}
    for _ in range(2):
        rowhook("replay", "--endpoint", endpoint, "--new-id", ok=True)
        ids = {str(delivery(conn, one)[5]) for one in sent}
        assert len(ids) == 3
        assert not ids & seen
        assert all(id.startswith("evt_") and len(id) == 30 for id in ids)
        seen |= ids
        conn.execute("UPDATE rowhook.delivery SET state = 'dead', due_at = NULL, ended_at = now()")
    rowhook("replay", "--endpoint", endpoint, ok=True)
    assert {str(delivery(conn, one)[5]) for one in sent} == ids


def test_more_than_a_batch(rowhook: Rowhook, conn: Connection, endpoint: str, deliver):
    deliver(endpoint)
    conn.execute(
        """
        WITH e AS (INSERT INTO rowhook.event (op, type) SELECT 'emit', 'a.b' FROM generate_series(1, 2499) RETURNING id, slot)
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, ended_at)
        SELECT e.id, e.slot, p.id, 'dead', now() FROM e, rowhook.endpoint AS p
        """
    )
    assert rowhook("replay", "--since", "1h", "--json", ok=True).json["replayed"] == 2500


def test_removed_endpoints_are_left_out(rowhook: Rowhook, conn: Connection, endpoint: str, deliver):
    sent = deliver(endpoint)
    rowhook("endpoint", "remove", endpoint, ok=True)
    done = rowhook("replay", "--since", "1h", ok=True)
    assert done.out == "replayed: 0\n"
    assert done.err == "note: left out, because their endpoints were removed: 1\n"
    assert state(conn, sent) == "dead"
    rowhook("replay", "--endpoint", endpoint).refused(endpoint, "was removed")


def test_events_that_are_gone_are_left_out(rowhook: Rowhook, conn: Connection, endpoint: str, deliver):
    """A claim of such a delivery would find nothing to send."""
    sent = deliver(endpoint)
    conn.execute("TRUNCATE rowhook.event")
    report = rowhook("replay", "--endpoint", endpoint, "--json", ok=True).json
    assert (report["replayed"], report["left_out"]) == (0, {"removed": 0, "event_gone": 1})
    assert state(conn, sent) == "dead"


def test_a_paused_endpoint_is_pointed_out(rowhook: Rowhook, endpoint: str, deliver):
    deliver(endpoint)
    rowhook("endpoint", "pause", endpoint, ok=True)
    done = rowhook("replay", "--endpoint", endpoint, "--json", ok=True)
    assert done.json["waiting"] == {endpoint: "paused"}
    assert f"endpoint {endpoint} is paused" in done.err


def test_other_states_are_pointed_out(rowhook: Rowhook, endpoint: str, deliver):
    sent = deliver(endpoint, "delivered")
    assert "(delivered: 1); --status chooses" in rowhook("replay", "--event", sent.event, ok=True).err


def test_waits_for_who_holds_the_row_and_judges_anew(rowhook: Rowhook, conn: Connection, connect, endpoint: str, deliver):
    """Two replays at once: the second must not touch what the first made pending and a relay has leased since."""
    sent = deliver(endpoint, "dead", attempts=1)
    first = connect(autocommit=False)
    first.execute(
        "UPDATE rowhook.delivery SET state = 'leased', instance_id = 1, leased_at = now(), attempts = 2, ended_at = NULL"
        " WHERE id = %s",
        [sent.id],
    )
    end = Timer(2.0, first.commit)
    end.start()
    assert rowhook("replay", "--delivery", sent.delivery, ok=True).out == "replayed: 0\n"
    end.join()
    assert delivery(conn, sent)[:2] == ("leased", 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ("not told what", "--event ID, --delivery ID, --endpoint ID or --since T")),
        (("--until", "2h"), ("not told what", "--since T")),
        (("--since", "yesterday"), ("--since 'yesterday'", "2h or 7d", "2026-01-31T09:30:00Z")),
        (("--since", "2026-13-01"), ("'2026-13-01'", "ISO time")),
        (("--since", "1h", "--until", "soon"), ("--until 'soon'", "ISO time")),
        (("--since", "1h", "--until", "2h"), ("--since 1h is later than --until 2h", "earlier")),
        (("--since", "1h", "--status", "pending"), ("--status 'pending'", "dead, delivered, cancelled, any")),
        (("--event", "dlv_00000000000000000000000000"), ("'dlv_", "begins with evt_")),
        (("--delivery", "evt_00000000000000000000000000"), ("'evt_", "begins with dlv_")),
        (("--delivery", "dlv_00000000000000000000000000"), ("no delivery dlv_0", "rowhook deliveries")),
        (("--event", "evt_00000000000000000000000000"), ("no event evt_0", "rowhook deliveries")),
        (("--endpoint", "end_00000000000000000000000000"), ("no endpoint end_0", "rowhook endpoint list")),
    ],
)
def test_mistakes(rowhook: Rowhook, options: tuple[str, ...], expected: tuple[str, ...]):
    rowhook("replay", *options).refused(*expected)
