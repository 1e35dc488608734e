"""UPDATE pairs old and new rows by their ordinal in the two transition tables: right even when keys change.

That both are in the same order is a fact of the implementation; these tests hold it for each version they run on.
"""

from __future__ import annotations

import pytest

from tests.conftest import Connection
from tests.sql.conftest import Event, Events, Mutate, one

BY_ORDINAL, BY_KEY = "AS n ON n.i = o.i", "AS n ON n.k = o.k"
UPDATE_FUNCTION = r"capture_\d+_update"


@pytest.fixture
def coins(conn: Connection) -> Connection:
    """Three captured rows, whose key may be swapped within one statement."""
    conn.execute("CREATE TABLE coins (id int PRIMARY KEY DEFERRABLE, name text)")
    conn.execute("INSERT INTO coins VALUES (1, 'ducat'), (2, 'florin'), (3, 'guilder')")
    conn.execute("SELECT rowhook.capture('coins')")
    assert one(conn, "SELECT mode FROM rowhook.capture") == "statement"
    return conn


def names_kept(events: list[Event]) -> bool:
    """Does each event tell of one and the same coin, before and after?"""
    return all("name" not in (event.previous or {}) for event in events)


STATEMENTS = [
    pytest.param("UPDATE coins SET id = 3 - id WHERE id < 3", 2, id="swap"),
    pytest.param("UPDATE coins SET id = id + 1", 3, id="shift"),
    pytest.param(
        "MERGE INTO coins AS c USING (VALUES (1, 2), (2, 1)) AS s (was, becomes) ON c.id = s.was"
        " WHEN MATCHED THEN UPDATE SET id = s.becomes",
        2,
        id="merge",
    ),
    pytest.param(
        "UPDATE coins AS c SET id = s.becomes FROM (VALUES (3, 1), (1, 3)) AS s (was, becomes) WHERE c.id = s.was",
        2,
        id="from-in-another-order",
    ),
]


@pytest.mark.parametrize(("statement", "count"), STATEMENTS)
def test_rows_that_exchange_their_keys_are_told_apart(coins: Connection, events: Events, statement: str, count: int) -> None:
    if statement.startswith("MERGE") and coins.info.server_version < 150000:
        return
    names = dict(coins.execute("SELECT id, name FROM coins").fetchall())
    coins.execute(statement)
    told = events()
    assert [event.op for event in told] == ["update"] * count
    assert names_kept(told)
    for event in told:
        assert event.data["name"] == names[event.previous["id"]]
        assert event.row_key == str(event.data["id"])


@pytest.mark.parametrize(("statement", "count"), STATEMENTS)
def test_mutant__pairing_by_key_crosses_them(
    coins: Connection, events: Events, mutate: Mutate, statement: str, count: int
) -> None:
    mutate(UPDATE_FUNCTION, BY_ORDINAL, BY_KEY)
    coins.execute(statement)
    told = events()
    assert len(told) != count or not names_kept(told)


def test_on_conflict_do_update_that_moves_keys_pairs_by_ordinal(coins: Connection, events: Events) -> None:
    coins.execute("ALTER TABLE coins ADD COLUMN code text UNIQUE")
    coins.execute("UPDATE coins SET code = upper(left(name, 1))")
    events()
    coins.execute(
        "INSERT INTO coins VALUES (12, 'florin', 'F'), (11, 'ducat', 'D'), (14, 'thaler', 'T')"
        " ON CONFLICT (code) DO UPDATE SET id = excluded.id"
    )
    told = events()
    assert sorted((e.op, e.row_key, (e.previous or {}).get("id")) for e in told) == [
        ("insert", "14", None),
        ("update", "11", 1),
        ("update", "12", 2),
    ]
    assert names_kept(told)


def test_mutant__on_conflict_paired_by_key_loses_both_updates(coins: Connection, events: Events, mutate: Mutate) -> None:
    coins.execute("ALTER TABLE coins ADD COLUMN code text UNIQUE")
    coins.execute("UPDATE coins SET code = upper(left(name, 1))")
    events()
    mutate(UPDATE_FUNCTION, BY_ORDINAL, BY_KEY)
    mutate(UPDATE_FUNCTION, "FULL JOIN", "JOIN")
    coins.execute(
        "INSERT INTO coins VALUES (12, 'florin', 'F'), (11, 'ducat', 'D') ON CONFLICT (code) DO UPDATE SET id = excluded.id"
    )
    assert events() == []


def test_a_large_update_pairs_each_row_with_itself(conn: Connection, events: Events) -> None:
    """More rows than fit in memory at once: transition tables on disk keep their order."""
    conn.execute("CREATE TABLE wide (id int PRIMARY KEY, same int, filler text)")
    conn.execute("INSERT INTO wide SELECT n, n, repeat('x', 200) FROM generate_series(1, 20000) AS n")
    conn.execute("SELECT rowhook.capture('wide', exclude => '{filler}')")
    conn.execute("SET work_mem = '64kB'")
    conn.execute("UPDATE wide SET id = 20001 - id + 100000")
    told = events()
    assert len(told) == 20000
    assert all(e.previous["id"] == e.data["same"] == 120001 - e.data["id"] for e in told)


RULE = "SELECT rowhook.rule('point.moved', on_table => 'points', op => 'update', predicate => 'new.n > old.n')"
EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_level = notice;
"""


@pytest.mark.parametrize("join", ["FULL JOIN", "mutant-JOIN"])
@pytest.mark.parametrize("captured", ["SELECT rowhook.capture('points')", RULE], ids=["capture", "rule"])
def test_a_session_whose_first_update_was_of_one_row_does_not_pair_row_by_row(
    conn: Connection, mutate: Mutate, captured: str, join: str
) -> None:
    """Postgres plans the pairing at a session's first update, for as many rows as that one had, and keeps to it."""
    conn.execute("CREATE TABLE points (id int PRIMARY KEY, n int); INSERT INTO points VALUES (1, 1), (2, 2)")
    conn.execute(captured)
    if join.startswith("mutant"):
        mutate(UPDATE_FUNCTION, "FULL JOIN", "JOIN")
    plans: list[str] = []
    conn.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    conn.execute(EXPLAIN)
    conn.execute("UPDATE points SET n = n + 1 WHERE id = 1")
    (plan,) = (plan for plan in plans if "Insert on event" in plan)
    assert ("Hash Cond" in plan or "Merge Cond" in plan) is not join.startswith("mutant"), plan


def test_a_row_that_moves_between_partitions_is_deleted_and_created_in_that_order(conn: Connection, events: Events) -> None:
    """Postgres fires no AFTER UPDATE row trigger for it; the key stays, so the receiver ends with the new row."""
    conn.execute("""
        CREATE TABLE bills_by_region (id int, region text, amount numeric, PRIMARY KEY (id, region))
            PARTITION BY LIST (region);
        CREATE TABLE bills_north PARTITION OF bills_by_region FOR VALUES IN ('north');
        CREATE TABLE bills_south PARTITION OF bills_by_region FOR VALUES IN ('south');
        INSERT INTO bills_by_region VALUES (1, 'north', 5), (2, 'south', 6);
        SELECT rowhook.capture('bills_by_region', key => '{id}');
    """)
    assert one(conn, "SELECT mode FROM rowhook.capture") == "row"
    conn.execute("UPDATE bills_by_region SET region = CASE region WHEN 'north' THEN 'south' ELSE 'north' END")
    told = events()
    for key in ("1", "2"):
        assert [e.op for e in told if e.row_key == key] == ["delete", "insert"]
    conn.execute("UPDATE bills_by_region SET amount = amount + 1 WHERE id = 1")
    conn.execute("UPDATE bills_south SET amount = amount + 1")  # straight into a partition
    assert [(e.op, e.row_key, e.table_name) for e in events()] == [
        ("update", "1", "bills_by_region"),
        ("update", "1", "bills_by_region"),
    ]


def test_an_inheriting_table_is_captured_through_its_parent_too(conn: Connection, events: Events) -> None:
    conn.execute("""
        CREATE TABLE assets (id int PRIMARY KEY, worth int);
        CREATE TABLE houses (rooms int, PRIMARY KEY (id)) INHERITS (assets);
        INSERT INTO houses VALUES (1, 100, 4);
        SELECT rowhook.capture('houses');
    """)
    assert one(conn, "SELECT mode FROM rowhook.capture") == "row"
    conn.execute("UPDATE assets SET worth = 90")
    assert [(e.type, e.data) for e in events()] == [("house.updated", {"id": 1, "worth": 90, "rooms": 4})]
