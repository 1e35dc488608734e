"""States that make no sense can't be stored: each named CHECK refuses what it forbids, and lets the edge pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.cluster import Cluster
from tests.conftest import Connection
from tests.sql.conftest import one

DELIVERY: dict[str, Any] = {
    "event_id": 1,
    "endpoint_id": 1,
    "event_slot": 0,
    "state": "pending",
    "due_at": "now",
    "leased_at": None,
    "ended_at": None,
    "instance_id": None,
    "attempts": 0,
}
LEASED = {"state": "leased", "due_at": None, "leased_at": "now", "instance_id": 5, "attempts": 1}
ATTEMPT: dict[str, Any] = {
    "delivery_id": 1,
    "endpoint_id": 1,
    "instance_id": 1,
    "started_at": "now",
    "duration": "1 s",
    "number": 1,
    "status_code": 200,
    "error_class": None,
}
ENDPOINT: dict[str, Any] = {"url": "https://example.com/hook", "events": ["*"], "state": "active"}
OPEN = {"circuit": "open", "opened_at": "now", "probe_at": "now"}
RAMPING = {"circuit": "ramping", "opened_at": "now", "ramp": 1}
EVENT: dict[str, Any] = {"op": "emit", "type": "a"}
INSTANCE: dict[str, Any] = {"id": 1, "name": "host:1", "state": "live", "ended_at": None}
CAPTURE: dict[str, Any] = {
    "table_name": "pg_class",
    "mode": "row",
    "events": ["insert"],
    "type_prefix": "a",
    "key": [],
    "on_error": "abort",
    "fingerprint": "",
    "labels": ["a"],
    "prefixes": "{}",
    "since_event": 0,
    "since_xid": "0",
    "began_empty": True,
    "known": "{}",
}
ONLY_ONE = ("cursor", "horizon", "probe", "retention")
RING: list[tuple[str, str]] = [
    ("slot_is_in_the_ring", "slot = 10"),
    ("swept_was_closed", "seen = '1:1:', system_identifier = 1"),
    ("seen_has_its_cluster", "closed_at = now(), seen = '1:1:'"),
    ("seen_has_its_cluster", "closed_at = now(), system_identifier = 1"),
    ("swept_has_seen", "is_swept = true"),
    ("swept_has_seen", "archived_in = 'a file'"),
]
SECRET: dict[str, Any] = {"endpoint_id": 1, "key_id": "0123abcd", "ciphertext": b"x" * 44}
WHOLE = {"delivery": DELIVERY, "attempt": ATTEMPT, "endpoint": ENDPOINT, "event": EVENT, "instance": INSTANCE}
RULE: dict[str, Any] = {"table_name": "pg_class", "type": "a.b", "op": "update", "predicate": "true", "uses_changed": False}
ADMIN_LOG: dict[str, Any] = {"who": "me@here", "via": "cli", "action": "endpoint.add"}
IDEMPOTENCY: dict[str, Any] = {"key": "k", "principal": "p", "expires_at": "now", "fingerprint": b"x"}
WHOLE |= {"capture": CAPTURE, "secret": SECRET, "rule": RULE, "admin_log": ADMIN_LOG, "idempotency": IDEMPOTENCY}

REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("delivery", "state_known", {"state": "sent", "due_at": None}),
    ("delivery", "pending_has_due", {"due_at": None}),
    ("delivery", "pending_has_due", {**LEASED, "due_at": "now"}),
    ("delivery", "leased_has_owner", {**LEASED, "instance_id": None}),
    ("delivery", "leased_has_owner", {"instance_id": 5}),
    ("delivery", "leased_has_owner", {"state": "delivered", "due_at": None, "ended_at": "now", "instance_id": 5}),
    ("delivery", "leased_has_time", {**LEASED, "leased_at": None}),
    ("delivery", "leased_is_counted", {**LEASED, "attempts": 0}),
    ("delivery", "pending_has_further_tries", {"last_try": True}),
    ("delivery", "ended_has_time", {"state": "delivered", "due_at": None}),
    ("delivery", "ended_has_time", {"state": "dead", "due_at": None}),
    ("delivery", "ended_has_time", {"state": "cancelled", "due_at": None}),
    ("delivery", "ended_has_time", {"ended_at": "now"}),
    ("delivery", "ended_has_time", {**LEASED, "ended_at": "now"}),
    ("attempt", "number_is_positive", {"number": 0}),
    ("attempt", "status_code_is_http", {"status_code": 99, "error_class": "protocol"}),
    ("attempt", "status_code_is_http", {"status_code": 1000, "error_class": "protocol"}),
    ("attempt", "error_class_known", {"error_class": "unlucky"}),
    ("attempt", "success_has_status", {"status_code": None}),
    ("attempt", "success_has_status", {"status_code": 199}),
    ("attempt", "success_has_status", {"status_code": 300}),
    ("attempt", "lost_knows_nothing", {"error_class": "lost", "duration": None}),
    ("attempt", "lost_knows_nothing", {"error_class": "lost", "status_code": None}),
    ("endpoint", "state_known", {"state": "asleep"}),
    *(
        ("endpoint", "url_is_http", {"url": url})
        for url in (
            "ftp://example.com",
            "file:///etc/passwd",
            "HTTPS//x",
            "https://",
            "https://a b",
            "https://a\r\nX-Evil: 1",
            "https://a\n",
            " https://a",
            "",
        )
    ),
    *(
        ("endpoint", "events_are_patterns", {"events": events})
        for events in (
            [],
            [None],
            [""],
            ["a", None],
            ["exp*"],
            ["*.created"],
            ["a b"],
            ["a..b"],
            ["a\n"],
            ["expense.created,bill.paid"],
            ["a", ""],
        )
    ),
    ("endpoint", "timeout_is_positive", {"timeout": "0"}),
    ("endpoint", "timeout_is_positive", {"timeout": "-1 s"}),
    ("endpoint", "timeout_has_an_end", {"timeout": "1 day 1 s"}),
    ("endpoint", "timeout_has_an_end", {"timeout": "178000000 years"}),
    ("endpoint", "waits_are_waits", {"retry_schedule": "{1 s,NULL}"}),
    ("endpoint", "waits_are_waits", {"retry_schedule": "{-1 s}"}),
    ("endpoint", "waits_are_waits", {"retry_schedule": "{1 s,30 days 1 s}"}),
    ("endpoint", "waits_are_waits", {"retry_schedule": "{178000000 years}"}),
    ("endpoint", "max_in_flight_is_possible", {"max_in_flight": 100_001}),
    ("endpoint", "max_in_flight_is_possible", {"max_in_flight": 2**31 - 1}),
    ("endpoint", "max_in_flight_is_positive", {"max_in_flight": 0}),
    ("endpoint", "filter_is_sound", {"filter": "$.data.amount"}),
    ("endpoint", "filter_is_sound", {"filter": "$.data.amount >"}),
    ("endpoint", "shape_known", {"shape": "round"}),
    ("endpoint", "template_has_text", {"shape": "template"}),
    ("endpoint", "template_has_text", {"template": "{}"}),
    ("endpoint", "template_has_text", {"shape": "template", "template": "x" * 20_001}),
    *(
        ("endpoint", "rate_is_a_rate", {"rate": rate})
        for rate in ("10", "0/s", "10/week", "10/s\n", "-1/s", "1.5/s", "1000000/s")
    ),
    ("instance", "id_is_positive", {"id": 0}),
    ("instance", "state_known", {"state": "zombie"}),
    ("instance", "dead_has_end", {"state": "dead"}),
    ("instance", "dead_has_end", {"ended_at": "now"}),
    ("capture", "name_is_a_name", {"name": "Audit"}),
    ("capture", "name_is_a_name", {"name": "7"}),
    ("capture", "mode_known", {"mode": "both"}),
    ("capture", "events_known", {"events": ["upsert"]}),
    ("capture", "type_prefix_is_a_name", {"type_prefix": "a b"}),
    ("capture", "include_or_exclude", {"include": ["a"], "exclude": ["b"]}),
    ("capture", "on_error_known", {"on_error": "ignore"}),
    ("capture", "max_size_is_positive", {"max_size": 0}),
    ("capture", "predicate_depends_known", {"predicate": "true", "predicate_depends": "chance"}),
    ("capture", "predicate_depends_on_something", {"predicate": "true"}),
    ("capture", "predicate_depends_on_something", {"predicate_depends": "row"}),
    ("rule", "op_known", {"op": "truncate"}),
    ("admin_log", "via_known", {"via": "mail"}),
    ("admin_log", "action_is_a_name", {"action": "added"}),
    ("idempotency", "answer_has_key", {"answer": b"x"}),
    ("idempotency", "answer_has_key", {"key_id": "0123abcd"}),
    ("secret", "ciphertext_is_whole", {"ciphertext": b"x" * 43}),
    *(("secret", "key_id_is_hex", {"key_id": key}) for key in ("", "0123ABCD", "0123abc", "0123abcde", "0123abcd\n")),
    ("secret", "public_key_is_public", {"public_key": "whsk_AAAA"}),
    ("endpoint", "headers_have_names_and_key", {"headers": b"x"}),
    ("endpoint", "headers_have_names_and_key", {"header_names": ["A"]}),
    ("endpoint", "headers_have_names_and_key", {"headers": b"x", "header_names": ["A"]}),
    ("endpoint", "headers_have_names_and_key", {"headers": b"x", "headers_key_id": "0123abcd"}),
    ("endpoint", "certificates_are_pem", {"ca_certificates": "x"}),
    ("endpoint", "certificates_are_pem", {"ca_certificates": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----"}),
    ("endpoint", "client_certificate_has_key", {"client_certificate": "-----BEGIN CERTIFICATE-----"}),
    ("endpoint", "client_certificate_has_key", {"client_key": b"x", "client_key_id": "0123abcd"}),
    ("endpoint", "circuit_known", {**OPEN, "circuit": "broken"}),
    ("endpoint", "circuit_was_opened", {**OPEN, "opened_at": None}),
    ("endpoint", "circuit_was_opened", {"opened_at": "now"}),
    ("endpoint", "open_has_probe", {**OPEN, "probe_at": None}),
    ("endpoint", "open_has_probe", {"probe_at": "now"}),
    ("endpoint", "open_has_probe", {**RAMPING, "probe_at": "now"}),
    ("endpoint", "ramping_has_limit", {**RAMPING, "ramp": None}),
    ("endpoint", "ramping_has_limit", {**RAMPING, "ramp": 0}),
    ("endpoint", "ramping_has_limit", {**OPEN, "ramp": 1}),
]

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    *((table, {}) for table in WHOLE),
    ("delivery", LEASED),
    ("delivery", {"attempts": 3, "leased_at": "now"}),
    *(("delivery", {"state": state, "due_at": None, "ended_at": "now"}) for state in ("delivered", "dead", "cancelled")),
    ("attempt", {"status_code": 299}),
    ("attempt", {"status_code": 999, "error_class": "protocol"}),
    ("attempt", {"status_code": None, "duration": None, "error_class": "lost"}),
    ("attempt", {"status_code": None, "error_class": "dns"}),
    ("attempt", {"status_code": 404, "error_class": "http_4xx"}),
    *(("endpoint", {"events": events}) for events in (["*", "expense.*"], ["expense.created"], ["a.b.c.*"], ["A-1_b", "x"])),
    ("endpoint", {"url": "http://127.0.0.1:8080/?a=b#c", "timeout": "1 ms", "max_in_flight": 1}),
    ("instance", {"state": "dead", "ended_at": "now"}),
    ("delivery", {**LEASED, "last_try": True}),
    ("delivery", {"state": "cancelled", "due_at": None, "ended_at": "now", "last_try": True}),
    ("endpoint", OPEN),
    ("endpoint", RAMPING),
    ("endpoint", {"filter": "$.data.amount > 1000", "rate": "100/min"}),
    *(("endpoint", {"shape": shape}) for shape in ("thin", "cloudevents", "cloudevents-binary", "legacy")),
    ("endpoint", {"shape": "template", "template": "x" * 20_000}),
]


@pytest.fixture(scope="module")
def shared(cluster: Cluster, template: str) -> Iterator[Connection]:
    """One database for all the rows that this module tries to store."""
    database = cluster.create_database(template=template)
    with cluster.connect(database) as connection:
        yield connection
    cluster.drop_database(database)


@pytest.fixture
def scratch(shared: Connection) -> Iterator[Connection]:
    """A transaction in it that is rolled back."""
    with shared.transaction(force_rollback=True):
        yield shared


def put(conn: Connection, table: str, changes: dict[str, Any]) -> None:
    row = {**WHOLE[table], **changes}
    if table == "secret":
        owner = "INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com') RETURNING id"
        row["endpoint_id"] = one(conn, owner)
    values = ", ".join(["%s"] * len(row))
    with conn.transaction():
        conn.execute(f"INSERT INTO rowhook.{table} ({', '.join(row)}) VALUES ({values})", list(row.values()))


@pytest.mark.parametrize(("table", "rule", "changes"), REFUSED)
def test_a_bad_state_is_refused_by_the_rule_named_after_it(
    scratch: Connection, table: str, rule: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        put(scratch, table, changes)
    violated = caught.value.diag.constraint_name
    # Of several rules that a state breaks Postgres names one; it is the expected one when the others are gone.
    while violated != rule:
        scratch.execute(f"ALTER TABLE rowhook.{table} DROP CONSTRAINT {violated}")
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            put(scratch, table, changes)
        violated = caught.value.diag.constraint_name


@pytest.mark.parametrize(("table", "changes"), ACCEPTED)
def test_a_good_state_is_stored(scratch: Connection, table: str, changes: dict[str, Any]) -> None:
    put(scratch, table, changes)


def test_every_check_is_tried(conn: Connection) -> None:
    rows = conn.execute("""
        SELECT conrelid::regclass::text, conname FROM pg_constraint
         WHERE connamespace = 'rowhook'::regnamespace AND contype = 'c' AND conparentid = 0
           AND conrelid NOT IN (SELECT inhrelid FROM pg_inherits)
    """).fetchall()
    tried = {(f"rowhook.{table}", rule) for table, rule, _ in REFUSED}
    elsewhere = {(f"rowhook.{table}", "there_is_one") for table in ONLY_ONE} | {("rowhook.cursor", "window_is_whole")}
    elsewhere |= {("rowhook.ring", rule) for rule, _ in RING} | {("rowhook.backfill", "sent_is_a_count")}
    assert set(rows) == tried | elsewhere


def test_an_event_goes_to_an_endpoint_once(conn: Connection) -> None:
    put(conn, "delivery", {})
    with pytest.raises(psycopg.errors.UniqueViolation, match="delivery_once_per_endpoint"):
        put(conn, "delivery", {})


def test_an_attempt_is_numbered_once(conn: Connection) -> None:
    put(conn, "attempt", {})
    with pytest.raises(psycopg.errors.UniqueViolation, match="attempt_pkey"):
        put(conn, "attempt", {"error_class": "reset", "status_code": None})


@pytest.mark.parametrize("table", ONLY_ONE)
def test_there_is_one_row_and_can_be_no_other(conn: Connection, table: str) -> None:
    assert one(conn, f"SELECT count(*) FROM rowhook.{table}") == 1
    with pytest.raises(psycopg.errors.CheckViolation, match="there_is_one"):
        conn.execute(f"UPDATE rowhook.{table} SET singleton = false")


@pytest.mark.parametrize(
    "half", ["target = pg_current_snapshot()", "position = 1", "fresh_from = 1", "position = 1, fresh_from = 1"]
)
def test_the_cursors_window_is_there_as_a_whole_or_not_at_all(conn: Connection, half: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="window_is_whole"):
        conn.execute(f"UPDATE rowhook.cursor SET {half}")
    conn.execute("UPDATE rowhook.cursor SET target = pg_current_snapshot(), position = 1, fresh_from = 1")


@pytest.mark.parametrize(("rule", "change"), RING)
def test_of_the_ring_a_bad_state_is_refused(conn: Connection, rule: str, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=rule):
        conn.execute(f"UPDATE rowhook.ring SET {change} WHERE slot = 9")
    swept = "closed_at = now(), seen = '1:1:', system_identifier = 1, is_swept = true, archived_in = 'a file'"
    conn.execute(f"UPDATE rowhook.ring SET {swept}")


def test_the_ring_of_slots_takes_every_number_that_the_sequence_says(conn: Connection) -> None:
    """Ten partitions, one for each number that the sequence can say: no writer ever lacks one."""
    for slot in range(10):
        conn.execute("SELECT setval('rowhook.present_slot', %s)", [slot])
        conn.execute("INSERT INTO rowhook.event (op, type) VALUES ('emit', 'a')")
        assert one(conn, "SELECT count(*) FROM rowhook.event WHERE slot = %s AND kept_in = %s", slot, slot) == 1
    assert one(conn, "SELECT count(DISTINCT tableoid) FROM rowhook.event") == 10
    for outside in (-1, 10):
        with pytest.raises(psycopg.errors.NumericValueOutOfRange):
            conn.execute("SELECT setval('rowhook.present_slot', %s)", [outside])
    conn.execute("SELECT setval('rowhook.present_slot', 9, false)")  # as a dump of the schema alone leaves it
    conn.execute("INSERT INTO rowhook.event (op, type) VALUES ('emit', 'unset')")
    assert one(conn, "SELECT kept_in FROM rowhook.event WHERE type = 'unset'") == 0


def test_the_slot_is_that_of_the_moment_not_of_the_transactions_start(conn: Connection) -> None:
    """A long transaction would put what it writes last into a slot that is about to be emptied."""
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    conn.execute("SELECT rowhook.capture('notes')")
    with conn.transaction():
        for slot in (3, 4):
            conn.execute("SELECT setval('rowhook.present_slot', %s)", [slot])
            conn.execute("INSERT INTO notes VALUES (%s)", [slot])
    found = conn.execute("SELECT row_key, slot, kept_in FROM rowhook.event ORDER BY id").fetchall()
    assert found == [("3", 3, 3), ("4", 4, 4)]


def test_captures_compute_time_and_slot_once_for_all_rows_of_a_statement(conn: Connection) -> None:
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    conn.execute("SELECT rowhook.capture('notes')")
    with conn.transaction():
        conn.execute("INSERT INTO notes SELECT generate_series(1, 3)")
        conn.execute("SELECT pg_sleep(0.01)")
        conn.execute("INSERT INTO notes SELECT generate_series(4, 6)")
    assert one(conn, "SELECT count(*) FROM rowhook.event WHERE slot = 0 AND kept_in = 0") == 6
    assert one(conn, "SELECT count(DISTINCT occurred_at) FROM rowhook.event") == 2


def test_a_statement_that_changes_no_row_takes_no_transaction_id(conn: Connection) -> None:
    conn.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    conn.execute("SELECT rowhook.capture('notes')")
    with conn.transaction():
        conn.execute("UPDATE notes SET id = 2")
        conn.execute("DELETE FROM notes")
        assert one(conn, "SELECT pg_current_xact_id_if_assigned()") is None


UNCOMMENTED = """
SELECT format('%s %s', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relname)
  FROM pg_class AS c
 WHERE c.relnamespace = 'rowhook'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND obj_description(c.oid, 'pg_class') IS NULL
UNION ALL
SELECT format('column %s.%s', c.relname, a.attname)
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'rowhook'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND col_description(c.oid, a.attnum) IS NULL
UNION ALL
SELECT format('function %s', p.oid::regprocedure) FROM pg_proc AS p
 WHERE p.pronamespace = 'rowhook'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
UNION ALL
SELECT 'schema' WHERE obj_description('rowhook'::regnamespace, 'pg_namespace') IS NULL
UNION ALL
SELECT 'doorbell' WHERE obj_description('rowhook.doorbell'::regclass, 'pg_class') IS NULL
"""


def test_an_event_comes_about_in_known_ways_only(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="event_op"):
        conn.execute("INSERT INTO rowhook.event (op, type) VALUES ('upsert', 'a.b')")


def test_everything_in_the_schema_says_what_it_is(conn: Connection, finmind: str) -> None:
    assert conn.execute(UNCOMMENTED).fetchall() == []


def test_no_function_of_the_schema_trusts_the_callers_search_path(conn: Connection, finmind: str) -> None:
    loose = conn.execute("""
        SELECT oid::regprocedure::text FROM pg_proc
         WHERE pronamespace = 'rowhook'::regnamespace AND prosqlbody IS NULL
           AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(proconfig, '{}'))
    """).fetchall()
    # ring() has none, for its price in every write: it has its caller's rights, and every caller of ours has its path pinned.
    assert loose == [("rowhook.ring()",)]
    ring = conn.execute("SELECT prosecdef, prosrc FROM pg_proc WHERE oid = 'rowhook.ring()'::regprocedure").fetchone()
    assert ring is not None and ring[0] is False
    code = re.sub(r"--.*|'[^']*'", "", ring[1])
    assert re.findall(r"(?<![.\w])\w+(?=\()", code) == [], "every function that it calls is named with its schema"


def test_what_runs_as_its_owner_runs_as_the_role_without_power__but_for_follow_ddl(conn: Connection, finmind: str) -> None:
    definers = conn.execute("""
        SELECT DISTINCT CASE prorettype WHEN 'trigger'::regtype THEN 'triggers' ELSE proname END, proowner::regrole::text
          FROM pg_proc
         WHERE pronamespace = 'rowhook'::regnamespace AND prosecdef ORDER BY 1
    """).fetchall()
    # The event trigger's: whoever alters a captured table has no right to make Rowhook's functions anew, the migrating role has.
    migrator = one(conn, "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'rowhook'")
    assert definers == [("follow_ddl", migrator), ("predicate_fault", "rowhook_capture"), ("triggers", "rowhook_capture")]
    public = conn.execute("""
        SELECT p.oid::regprocedure::text FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
         WHERE p.pronamespace = 'rowhook'::regnamespace AND p.prosecdef AND a.grantee = 0
    """).fetchall()
    assert public == []
    settings = one(conn, "SELECT proconfig FROM pg_proc WHERE oid = 'rowhook.follow_ddl()'::regprocedure")
    assert settings == ["search_path=pg_catalog, pg_temp", "lock_timeout=500ms"]


def test_the_role_of_captures_can_do_nothing_but_insert_events_and_read_the_bell(conn: Connection) -> None:
    role = conn.execute(
        "SELECT rolsuper, rolcanlogin, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles"
        " WHERE rolname = 'rowhook_capture'"
    ).fetchall()
    assert role == [(False,) * 6]
    granted = conn.execute("""
        SELECT c.relname::text, a.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS a
         WHERE a.grantee = 'rowhook_capture'::regrole ORDER BY 1, 2
    """).fetchall()
    chains = [("chain", right) for right in ("DELETE", "INSERT", "SELECT", "UPDATE")]  # counted by the guard against loops
    assert granted == [
        ("capture_failure", "INSERT"),
        *chains,
        ("doorbell", "SELECT"),
        ("event", "INSERT"),
        ("present_slot", "SELECT"),
    ]
    assert not one(conn, "SELECT has_schema_privilege('rowhook_capture', 'rowhook', 'CREATE')")
