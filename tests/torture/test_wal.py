"""What test_decoding says is understood: its quoting, its nulls, keys that change, rows that move, endpoints that come and go."""

from __future__ import annotations

from tests.torture.records import Content
from tests.torture.wal import parsed, understand

INSERT = (
    "table public.expenses: INSERT: id[bigint]:7 tenant[text]:'t1' amount[numeric]:99.50"
    " note[text]:'it''s x[text]:''y''' stamp[bigint]:1"
)
ACCOUNT = (
    "table public.accounts: UPDATE: old-key: id[bigint]:1 tenant[text]:'{}' stamp[bigint]:1"
    " new-tuple: id[bigint]:1 tenant[text]:'{}' name[text]:{} stamp[bigint]:2"
)
ENDPOINT = (
    "table rowhook.endpoint: {}: id[bigint]:3 public_id[text]:'end_3' state[text]:'{}' state_reason[text]:'gone'"
    " url[text]:'http://x/hook' events[text[]]:'{{*}}' retry_schedule[interval[]]:null"
)


def contents(*lines: str) -> list[Content]:
    return [c.content for c in understand(lines).committed]


def test_a_row_with_everything_that_could_confuse():
    line = parsed(INSERT)
    assert line.new is not None
    assert line.new["note"] == "it's x[text]:'y'"
    assert str(line.new["amount"]) == "99.50"
    (said,) = contents(INSERT)
    assert said == Content(
        "expense.created", "t1", '{"amount": "99.50", "id": 7, "note": "it\'s x[text]:\'y\'", "stamp": 1, "tenant": "t1"}'
    )


def test_an_update_tells_what_was_and_nulls_are_left_out():
    (said,) = contents(ACCOUNT.format("a", "a", "null"))
    assert said.type == "account.updated"
    assert said.previous == '{"stamp": 1}'


def test_an_update_that_changes_nothing_is_no_event():
    assert (
        contents("table public.seats: UPDATE: old-key: id[integer]:1 stamp[bigint]:1 new-tuple: id[integer]:1 stamp[bigint]:1")
        == []
    )


def test_a_row_that_moves_to_another_tenant_is_two_events():
    said = contents(ACCOUNT.format("a", "b", "'n'"))
    assert [(c.type, c.tenant, c.moved) for c in said] == [("account.deleted", "a", True), ("account.created", "b", True)]


def test_a_key_that_changes_is_one_event_of_the_new_key():
    line = "table public.seats: UPDATE: old-key: id[integer]:1 stamp[bigint]:1 new-tuple: id[integer]:2 stamp[bigint]:2"
    ((_, said, key),) = understand([line]).committed
    assert (said.type, said.previous, key) == ("seat.updated", '{"id": 1, "stamp": 1}', '["seat", "2"]')


def test_partitions_and_truncates_and_what_is_emitted():
    said = contents(
        "table public.visits_north: DELETE: id[bigint]:4 region[text]:'north' stamp[bigint]:1",
        "table public.scratches, public.seats: TRUNCATE: (no-flags)",
        """table public.emitted: INSERT: id[bigint]:1 type[text]:'note.taken' tenant[text]:null data[text]:'{"n": 1}'""",
        "table public.unknown: DELETE: id[bigint]:4",
    )
    assert [c.type for c in said] == ["visit.deleted", "scratch.truncated", "seat.truncated", "note.taken"]


def test_endpoints_come_are_disabled_once_and_go():
    lines = [ENDPOINT.format(op, state) for op, state in (
        ("INSERT", "active"), ("UPDATE", "active"), ("UPDATE", "disabled"), ("UPDATE", "disabled"), ("UPDATE", "removed")
    )]  # fmt: skip
    wal = understand(lines)
    assert (wal.added, wal.removed) == ({3: 0}, {3: 4})
    assert [(c.position, c.content.type) for c in wal.committed] == [(2, "endpoint.disabled")]
