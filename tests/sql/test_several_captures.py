"""Several captures of one table: each with options, types and triggers of its own, and none in another's way."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from relay import captures, schema_follow
from relay.config import load
from relay.doctor.examine import examine
from relay.doctor.finding import Finding
from tests.conftest import Connection
from tests.sql.conftest import Events, Mutate, one

TRIGGERS = (
    "SELECT array_agg(tgname::text ORDER BY tgname) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname LIKE '!rowhook%%'"
)
MINE = ["!rowhook_delete", "!rowhook_insert", "!rowhook_truncate", "!rowhook_update"]
AUDIT = [f"{name}_audit" for name in MINE]


@pytest.fixture
def t(conn: Connection) -> Connection:
    """Accounts, captured for receivers without their secret, and once more, by the name audit, with key and secret only."""
    conn.execute("CREATE TABLE account (id int PRIMARY KEY, owner text, secret text)")
    conn.execute("SELECT rowhook.capture('account', tenant => 'owner', exclude => '{secret}')")
    conn.execute(
        "SELECT rowhook.capture('account', name => 'audit', include => '{id,secret}', redact => '{\"secret\": \"mask\"}')"
    )
    return conn


def refused(conn: Connection, statement: str) -> tuple[str, str]:
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(statement.encode())
    assert caught.value.sqlstate == "RH001", caught.value
    return caught.value.diag.message_primary or "", caught.value.diag.message_hint or ""


def told(events: Events) -> list[tuple[str, Any, Any]]:
    return [(event.type, event.data, event.tenant) for event in events()]


def triggers(conn: Connection, table: str = "account") -> list[str] | None:
    found: list[str] | None = one(conn, TRIGGERS, table)
    return found


def test_each_makes_events_of_its_own_with_its_own_columns(t: Connection, events: Events) -> None:
    assert triggers(t) == sorted(MINE + AUDIT)
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    assert told(events) == [
        ("account.created", {"id": 1, "owner": "ann"}, "ann"),
        ("account_audit.created", {"id": 1, "secret": "****"}, None),
    ]
    t.execute("UPDATE account SET owner = 'bob'")
    assert [event.type for event in events()] == ["account.deleted", "account.created"], "no column of the audit's has changed"
    t.execute("UPDATE account SET secret = NULL")
    assert [event.type for event in events()] == ["account_audit.updated"]
    t.execute("DELETE FROM account; TRUNCATE account")
    assert [event.type for event in events()] == [
        f"account{name}.{past}" for past in ("deleted", "truncated") for name in ("", "_audit")
    ]


@pytest.mark.parametrize("kind", ["row by row", "partitioned"])
def test_row_by_row_as_well(conn: Connection, events: Events, kind: str) -> None:
    conn.execute("CREATE TABLE account (id int, v int)" + (" PARTITION BY LIST (id)" if kind == "partitioned" else ""))
    if kind == "partitioned":
        conn.execute("CREATE TABLE account_1 PARTITION OF account FOR VALUES IN (1)")
    conn.execute("SELECT rowhook.capture('account'), rowhook.capture('account', name => 'audit', include => '{v}')")
    if kind == "partitioned":
        conn.execute("CREATE TABLE account_2 PARTITION OF account FOR VALUES IN (2)")
    conn.execute("INSERT INTO account VALUES (1, 10)" + (", (2, 20)" if kind == "partitioned" else ""))
    types = sorted(event.type for event in events())
    assert types == sorted(["account.created", "account_audit.created"] * (2 if kind == "partitioned" else 1))
    assert one(conn, "SELECT rowhook.capture('account', exclude => '{v}')") == "changed"
    assert one(conn, "SELECT rowhook.capture('account', name => 'audit')") == "unchanged", "the other one's triggers stayed"
    conn.execute("INSERT INTO account VALUES (1, 11)")
    assert sorted(event.text or "" for event in events()) == ['{"id":1}', '{"v":11}']
    conn.execute("SELECT rowhook.uncapture('account')")
    conn.execute("INSERT INTO account VALUES (1, 12)")
    assert [event.text for event in events()] == ['{"v":12}']
    conn.execute("SELECT rowhook.uncapture('account', 'audit')")
    assert triggers(conn) is None


def test_changed_paused_and_removed_by_name(t: Connection, events: Events) -> None:
    again = "SELECT rowhook.capture('account'), rowhook.capture('account', name => 'audit')"
    assert t.execute(again).fetchall() == [("unchanged", "unchanged")]
    assert one(t, "SELECT rowhook.capture('account', name => 'audit', paused => true)") == "changed"
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    assert [event.type for event in events()] == ["account.created"]
    assert one(t, "SELECT rowhook.capture('account', name => 'audit', paused => false)") == "changed"
    assert one(t, "SELECT rowhook.uncapture('account', 'audit')") == "removed"
    assert triggers(t) == MINE
    assert one(t, "SELECT array_agg(proname ORDER BY proname) FROM pg_proc WHERE proname ~ '^capture_2_'") is None
    t.execute("INSERT INTO account VALUES (2, 'ann', 'x')")
    assert [event.type for event in events()] == ["account.created"]


def test_the_first_may_go_and_the_other_stay(t: Connection, events: Events) -> None:
    t.execute("SELECT rowhook.rule('account.named', on_table => 'account', op => 'insert', predicate => 'true')")
    t.execute("SELECT rowhook.uncapture('account')")
    assert triggers(t) == AUDIT
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    assert [event.type for event in events()] == ["account_audit.created"]
    assert one(t, "SELECT rowhook.capture('account', name => 'audit')") == "unchanged"
    assert one(t, "SELECT count(*) FROM rowhook.rule") == 0


def test_rules_are_those_of_the_capture_without_a_name(t: Connection, events: Events) -> None:
    t.execute("SELECT rowhook.rule('account.named', on_table => 'account', op => 'insert', predicate => 'new.owner = ''ann''')")
    assert one(t, "SELECT rowhook.capture('account', name => 'audit')") == "unchanged"
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    assert [event.type for event in events()] == ["account.created", "account.named", "account_audit.created"]
    t.execute("SELECT rowhook.capture('account', events => '{}')")
    t.execute("INSERT INTO account VALUES (2, 'ann', 'x')")
    assert [event.type for event in events()] == ["account.named", "account_audit.created"]


def test_a_rule_on_a_table_that_has_a_named_capture_only(conn: Connection, events: Events) -> None:
    conn.execute("CREATE TABLE account (id int PRIMARY KEY)")
    conn.execute("SELECT rowhook.capture('account', name => 'audit')")
    conn.execute("SELECT rowhook.rule('account.named', on_table => 'account', op => 'insert', predicate => 'true')")
    conn.execute("INSERT INTO account VALUES (1)")
    assert [event.type for event in events()] == ["account.named", "account_audit.created"]
    conn.execute("SELECT rowhook.unrule('account.named', on_table => 'account')")
    assert triggers(conn) == AUDIT


@pytest.mark.parametrize(
    ("call", "says", "hint"),
    [
        ("rowhook.capture('account', name => 'other', type_prefix => 'account')", "of another capture", "prefix of its own"),
        ("rowhook.capture('account', type_prefix => 'account_audit')", "(audit)", "prefix of its own"),
        ("rowhook.capture('account', name => 'Audit')", 'name: "Audit"', "small letters"),
        ("rowhook.capture('account', name => '7')", 'name: "7"', "a letter first"),
        ("rowhook.uncapture('account', 'other')", "table account is not captured by the name other", "account by the name audit"),
        ("rowhook.verify('account', 'other')", "table account is not captured by the name other", "capture it"),
        ("rowhook.backfill('account', name => 'other')", "table account is not captured by the name other", "first"),
    ],
)
def test_refused_with_what_would_be_right(t: Connection, call: str, says: str, hint: str) -> None:
    message, advice = refused(t, f"SELECT {call}")
    assert says in message
    assert hint in advice


def test_a_prefix_that_a_capture_had_is_its_own(t: Connection) -> None:
    t.execute("SELECT rowhook.capture('account', type_prefix => 'user')")
    says, _ = refused(t, "SELECT rowhook.capture('account', name => 'other', type_prefix => 'account')")
    assert "is, or was, that of another capture" in says
    assert one(t, "SELECT rowhook.capture('account', type_prefix => 'account')") == "changed"
    assert sorted(one(t, "SELECT prefixes FROM rowhook.capture WHERE name = ''")) == ["account", "user"]


def test_of_a_table_with_named_captures_only_it_says_so(conn: Connection) -> None:
    conn.execute("CREATE TABLE account (id int PRIMARY KEY)")
    conn.execute("SELECT rowhook.capture('account', name => 'audit')")
    assert refused(conn, "SELECT rowhook.uncapture('account')")[0] == "table account is not captured without a name"


def test_a_capture_without_events_keeps_no_prefix_from_others(conn: Connection, events: Events) -> None:
    conn.execute("CREATE TABLE account (id int PRIMARY KEY)")
    conn.execute("SELECT rowhook.capture('account', name => 'main', type_prefix => 'account')")
    conn.execute("SELECT rowhook.rule('account.named', on_table => 'account', op => 'insert', predicate => 'true')")
    conn.execute("INSERT INTO account VALUES (1)")
    assert [event.type for event in events()] == ["account.named", "account.created"]
    says, _ = refused(conn, "SELECT rowhook.capture('account', events => '{insert}')")
    assert says == 'type_prefix: "account" is, or was, that of another capture of table account (main)'
    assert one(conn, "SELECT rowhook.capture('account', events => '{insert}', type_prefix => 'account_plain')") == "changed"


@pytest.mark.parametrize("by", ["capture", "DDL"])
def test_a_rule_that_was_set_aside_stays_the_first_ones_to_restore(t: Connection, events: Events, dsn: str, by: str) -> None:
    """A named capture that is changed, or follows, has made no functions of the rules'."""
    make = "CREATE FUNCTION public.f(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'"
    t.execute("CREATE TABLE far (id int PRIMARY KEY, name text); ALTER TABLE account ADD far_id int REFERENCES far")
    t.execute("SELECT rowhook.capture('account', name => 'audit', enrich => '{\"far\": \"far_id.name\"}')")
    t.execute(make.encode())
    t.execute("SELECT rowhook.rule('account.named', on_table => 'account', op => 'insert', predicate => 'public.f(new.owner)')")
    t.execute("DROP FUNCTION public.f(text)")
    t.execute(make.encode())
    if by == "DDL":
        t.execute("ALTER TABLE far RENAME name TO title")
    else:
        t.execute("SELECT rowhook.capture('account', name => 'audit', include => '{id}')")
    assert one(t, "SELECT set_aside IS NOT NULL FROM rowhook.rule")
    schema_follow.ensure(load(DATABASE_URL=dsn))
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    assert "account.named" in [event.type for event in events()]


def test_hints_name_the_capture(conn: Connection) -> None:
    conn.execute("CREATE TABLE account (id int, v int) PARTITION BY LIST (id)")
    conn.execute("CREATE TABLE account_1 PARTITION OF account FOR VALUES IN (1)")
    conn.execute("SELECT rowhook.capture('account', name => 'audit'), rowhook.capture('account', name => 'other')")
    assert refused(conn, "SELECT rowhook.verify('account', 'audit')")[1].endswith("rowhook capture account --name audit --key …")
    assert refused(conn, "SELECT rowhook.verify('account', 'oops')")[1].endswith("rowhook capture account --name oops")
    assert refused(conn, "SELECT rowhook.backfill('account', name => 'oops')")[1].endswith("rowhook capture account --name oops")
    hint = "Capture either of them; first: rowhook uncapture account --name audit; rowhook uncapture account --name other"
    assert refused(conn, "SELECT rowhook.capture('account_1')")[1] == hint


# --- what reads captures -----------------------------------------------------------------------------------


def verdicts(conn: Connection, name: str) -> dict[str, int]:
    query = "SELECT verdict, sum(count)::int FROM rowhook.verify('account', %s) GROUP BY 1"
    return dict(conn.execute(query, [name]).fetchall())


def test_each_is_verified_by_its_own_events__mutant_they_are_taken_together(t: Connection, mutate: Mutate) -> None:
    t.execute("INSERT INTO account SELECT g, 'ann', 'x' FROM generate_series(1, 5) AS g")
    t.execute("""ALTER TABLE account DISABLE TRIGGER "!rowhook_update"; UPDATE account SET owner = 'bob' WHERE id = 1""")
    t.execute("""ALTER TABLE account ENABLE TRIGGER "!rowhook_update"; UPDATE account SET secret = 'y' WHERE id IN (1, 2)""")
    t.execute("""ALTER TABLE account DISABLE TRIGGER "!rowhook_insert_audit"; INSERT INTO account VALUES (6, 'ann', 'x')""")
    assert verdicts(t, "") == {"accounted": 5, "stale": 1}
    assert verdicts(t, "audit") == {"accounted": 5, "missing": 1}
    mutate("told_sql", "AND (%7$s)", "AND true")
    assert verdicts(t, "audit") != {"accounted": 5, "missing": 1}


def test_a_prefix_that_was_changed_still_tells_of_the_rows(t: Connection) -> None:
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    t.execute("SELECT rowhook.capture('account', type_prefix => 'user')")
    t.execute("INSERT INTO account VALUES (2, 'ann', 'x')")
    assert verdicts(t, "") == {"accounted": 2}


def test_another_ones_truncate_begins_no_log_anew(t: Connection) -> None:
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x'), (2, 'bob', 'y')")
    t.execute("SELECT rowhook.capture('account', paused => true)")
    t.execute("TRUNCATE account")
    t.execute("SELECT rowhook.capture('account', paused => false)")
    assert verdicts(t, "") == {"ghost": 2}
    assert verdicts(t, "audit") == {}


def test_a_prefix_that_was_another_ones_tells_from_then_on(conn: Connection) -> None:
    conn.execute("CREATE TABLE account (id int PRIMARY KEY, secret text)")
    conn.execute("SELECT rowhook.capture('account'), rowhook.capture('account', name => 'open', predicate => 'secret IS NULL')")
    conn.execute("INSERT INTO account VALUES (1, NULL)")
    conn.execute("UPDATE account SET secret = 'x'")
    assert verdicts(conn, "") == {"accounted": 1}
    conn.execute("SELECT rowhook.uncapture('account', 'open'); SELECT rowhook.capture('account', type_prefix => 'account_open')")
    assert verdicts(conn, "") == {"accounted": 1}, "account_open.deleted is not its own"
    conn.execute("INSERT INTO account VALUES (2, 'y')")
    assert verdicts(conn, "") == {"accounted": 2}


def test_a_prefix_stays_a_captures_own_when_its_events_begin_anew(conn: Connection) -> None:
    conn.execute("CREATE TABLE account (id int PRIMARY KEY, v int)")
    conn.execute("SELECT rowhook.capture('account'), rowhook.capture('account', name => 'audit')")
    conn.execute("SELECT rowhook.capture('account', name => 'audit', type_prefix => 'trail')")
    conn.execute("SELECT rowhook.capture('account', name => 'audit', predicate => 'v > 0')")
    assert "(audit)" in refused(conn, "SELECT rowhook.capture('account', type_prefix => 'account_audit')")[0]


def test_failures_are_the_captures_own(conn: Connection, dsn: str) -> None:
    conn.execute("CREATE TABLE account (id int PRIMARY KEY, v int)")
    conn.execute("SELECT rowhook.capture('account')")
    conn.execute("SELECT rowhook.capture('account', name => 'audit', on_error => 'record', predicate => '1 / v > 0')")
    conn.execute("INSERT INTO account VALUES (1, 0)")
    assert conn.execute("SELECT table_name, name FROM rowhook.capture_failure").fetchall() == [("account", "audit")]
    failed = [finding for finding in examine(load(DATABASE_URL=dsn)) if finding.check.startswith("uncaptured writes")]
    assert [(finding.check, finding.remedy) for finding in failed] == [
        ("uncaptured writes to account (audit)", "rowhook verify account --name audit lists the rows")
    ]


def test_tables_that_inherit_are_asked_for_a_capture_of_that_name(conn: Connection, dsn: str) -> None:
    conn.execute("CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE child () INHERITS (base)")
    conn.execute("SELECT rowhook.capture('child'), rowhook.capture('base'), rowhook.capture('base', name => 'audit')")
    found = {finding.check: finding.remedy for finding in _findings(dsn)}
    assert found["capture audit of base"] == "rowhook capture child --name audit"
    assert found["capture of base"] == ""


def test_a_backfill_that_is_under_way_goes_with_its_capture(t: Connection) -> None:
    for name in ("", "audit"):
        t.execute("SELECT rowhook.begin_backfill('account', NULL, NULL, %s)", [name])
    t.execute("SELECT rowhook.uncapture('account', 'audit')")
    assert one(t, "SELECT array_agg(name) FROM rowhook.backfill") == [""]


def test_each_is_backfilled_by_itself(conn: Connection, events: Events) -> None:
    conn.execute(
        "CREATE TABLE account (id int PRIMARY KEY, v int); INSERT INTO account SELECT g, g FROM generate_series(1, 3) AS g"
    )
    conn.execute("SELECT rowhook.capture('account'), rowhook.capture('account', name => 'audit', include => '{id}')")
    assert one(conn, "SELECT rowhook.backfill('account', name => 'audit')") == 3
    assert [(event.type, event.text) for event in events()] == [("account_audit.snapshot", f'{{"id":{g}}}') for g in (1, 2, 3)]
    assert verdicts(conn, "audit") == {"accounted": 3}
    assert verdicts(conn, "") == {"unproven": 3}, "the backfill was the other's"
    begun = "SELECT (rowhook.begin_backfill('account', NULL, NULL, %s)).id"
    assert one(conn, begun, "") != one(conn, begun, "audit")


@pytest.mark.parametrize("watched", [True, False])
def test_all_of_them_follow_ddl(t: Connection, events: Events, dsn: str, watched: bool) -> None:
    t.execute("SELECT rowhook.rule('account.named', on_table => 'account', op => 'insert', predicate => 'new.secret = ''x''')")
    if not watched:
        t.execute("DROP EVENT TRIGGER rowhook_follow_ddl")
    t.execute("ALTER TABLE account RENAME secret TO hidden")
    t.execute("ALTER TABLE account RENAME owner TO holder")
    if not watched:
        schema_follow.ensure(load(DATABASE_URL=dsn))
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    assert told(events) == [
        ("account.created", {"id": 1, "holder": "ann"}, "ann"),
        ("account_audit.created", {"id": 1, "hidden": "****"}, None),
    ]
    changed = "SELECT data -> 'event_types' ->> 0 FROM rowhook.event WHERE type = 'schema.changed' ORDER BY id"
    assert [row[0] for row in t.execute(changed)] == (
        ["account_audit.created", "account.created"] if watched else ["account.created", "account_audit.created"]
    )


def test_a_mode_that_has_to_be_another_is_followed_by_each(t: Connection, events: Events, dsn: str) -> None:
    """A trigger of the user's own makes row triggers of both, by the next run of the capture."""
    t.execute("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    t.execute("CREATE TRIGGER mine AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION touch()")
    found = {finding.check: finding for finding in _findings(dsn)}
    for name, command in (("of account", "account"), ("audit of account", "account --name audit")):
        assert found[f"capture {name}"].remedy == f"rowhook capture {command}"
    t.execute("SELECT rowhook.capture('account'), rowhook.capture('account', name => 'audit')")
    assert triggers(t) == ["!rowhook_row", "!rowhook_row_audit", "!rowhook_truncate", "!rowhook_truncate_audit"]
    t.execute("INSERT INTO account VALUES (1, 'ann', 'x')")
    assert [event.type for event in events()] == ["account.created", "account_audit.created"]


def _findings(dsn: str) -> list[Finding]:
    return [finding for finding in examine(load(DATABASE_URL=dsn)) if finding.check.startswith("capture ")]


def test_what_names_captures_lists_both(t: Connection, conn: Connection) -> None:
    with psycopg.connect(conn.info.dsn, row_factory=psycopg.rows.dict_row) as connection:
        rows = captures.everything(connection)
    assert [(row["table"], row["name"], row["type_prefix"]) for row in rows] == [
        ("account", "", "account"),
        ("account", "audit", "account_audit"),
    ]
