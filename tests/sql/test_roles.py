"""The three roles: each connects and tries every verb on everything there is; only what the table in docs/security.md says works.

Logins are members of the roles, as an operator's are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from relay.migrations import known_ids, migrate, rollback
from tests.cluster import Cluster
from tests.conftest import Connect, Connection
from tests.sql.conftest import Events, one

DOCS = Path(__file__).parents[2] / "docs" / "security.md"

RELATIONS = """
SELECT c.oid::regclass::text, c.relkind::text,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('rowhook', 'public') AND c.relkind IN ('r', 'p', 'v', 'S') ORDER BY 1
"""
# Not by calling them: a STRICT function of NULLs is never called, and so never refused.
FUNCTIONS = """
SELECT p.oid::regprocedure::text, has_function_privilege(%s, p.oid, 'EXECUTE') FROM pg_proc AS p
 WHERE p.pronamespace = 'rowhook'::regnamespace
"""
ON_TABLES = {
    "SELECT": "SELECT * FROM {0} LIMIT 0",
    "INSERT": "INSERT INTO {0} DEFAULT VALUES",
    "DELETE": "DELETE FROM {0} WHERE false",
    "TRUNCATE": "TRUNCATE {0}",
    "COMMENT": "COMMENT ON TABLE {0} IS 'mine'",
    "TRIGGER": "CREATE TRIGGER mine BEFORE INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "ALTER": "ALTER TABLE {0} ADD COLUMN mine int",
    "INDEX": "CREATE INDEX ON {0} ((1))",
    "DROP": "DROP TABLE {0} CASCADE",
}
ON_SEQUENCES = {
    "SELECT": "SELECT last_value FROM {0}",
    "USAGE": "SELECT nextval('{0}')",
    "UPDATE": "SELECT setval('{0}', 1)",
    "ALTER": "ALTER SEQUENCE {0} RESTART",
}
ELSEWHERE = [
    "CREATE TABLE rowhook.mine (a int)",
    "CREATE FUNCTION rowhook.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "DROP SCHEMA rowhook CASCADE",
    "CREATE ROLE mine",
    "SET ROLE postgres",
    "ALTER ROLE rowhook_capture LOGIN",
    "GRANT rowhook_capture TO CURRENT_USER",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/rowhook-test-roles'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT * FROM pg_authid",
    "SET session_replication_role = replica",  # no trigger would fire
    "ALTER FUNCTION rowhook.capture_probe() RESET ALL",
    "CREATE TRIGGER mine AFTER INSERT ON expenses FOR EACH ROW EXECUTE FUNCTION rowhook.capture_probe()",
]

MAY = {
    "rowhook_capture": {
        "rowhook.event": "INSERT",
        "rowhook.capture_failure": "INSERT",
        "rowhook.doorbell": "SELECT",
        "rowhook.present_slot": "SELECT",
        "rowhook.ring()": "EXECUTE",
        "rowhook.changed(json,json)": "EXECUTE",
        "rowhook.changed_columns(json,json)": "EXECUTE",
        "rowhook.readable(json)": "EXECUTE",
        "rowhook.chain": "DELETE INSERT SELECT UPDATE",
        "rowhook.session_context()": "EXECUTE",
        "rowhook.skips()": "EXECUTE",
        "rowhook.loop_limit()": "EXECUTE",
        "rowhook.loops(text,text,text,text)": "EXECUTE",
        "rowhook.looped(text,text,text,text)": "EXECUTE",
        # Its own: the generated functions belong to it.
        "rowhook.predicate_fault(text,text,boolean,anyelement)": "EXECUTE",
        "rowhook.capture_probe()": "EXECUTE",
        "rowhook.capture_1_insert()": "EXECUTE",
        "rowhook.capture_1_update()": "EXECUTE",
        "rowhook.capture_1_delete()": "EXECUTE",
        "rowhook.capture_1_truncate()": "EXECUTE",
    },
    "rowhook_relay": {
        "rowhook.event": "INSERT SELECT UPDATE(kept_in) UPDATE(xid)",
        **{f"rowhook.event_{slot}": "SELECT TRUNCATE" for slot in range(10)},
        "rowhook.endpoint": "INSERT SELECT UPDATE",
        "rowhook.secret": "INSERT SELECT UPDATE",
        "rowhook.secret_id_seq": "USAGE",
        "rowhook.delivery": "DELETE INSERT SELECT UPDATE",
        "rowhook.attempt": "DELETE INSERT SELECT UPDATE",
        "rowhook.capture_failure": "DELETE SELECT",
        "rowhook.ring": "SELECT UPDATE",
        "rowhook.retention": "SELECT UPDATE",
        "rowhook.attempt_id_seq": "SELECT",
        "rowhook.capture": "SELECT",
        "rowhook.rule": "SELECT",
        "rowhook.schema_version": "SELECT",
        "rowhook.session_context()": "EXECUTE",
        "rowhook.instance": "DELETE INSERT SELECT UPDATE",
        "rowhook.cursor": "SELECT UPDATE",
        "rowhook.horizon": "SELECT UPDATE(removed_id) UPDATE(xid)",
        "rowhook.probe": "UPDATE(rung_at)",
        "rowhook.admin_log": "INSERT SELECT",
        "rowhook.idempotency": "DELETE INSERT SELECT UPDATE",
        "rowhook.doorbell": "SELECT UPDATE USAGE",  # who may UPDATE a sequence may also draw from it
        "rowhook.present_slot": "SELECT UPDATE USAGE",
        "rowhook.ring()": "EXECUTE",
        "rowhook.public_id(text,timestamp with time zone,bigint,smallint)": "EXECUTE",
        "rowhook.pattern_candidates(text)": "EXECUTE",
        "rowhook.emit(text,json,text,text)": "EXECUTE",
        # Retention's steps.
        "rowhook.slot_is_filled(integer)": "EXECUTE",
        "rowhook.present_slot()": "EXECUTE",
        "rowhook.survey_ring()": "EXECUTE",
        "rowhook.turn_ring(interval)": "EXECUTE",
        "rowhook.begin_sweep(integer)": "EXECUTE",
        "rowhook.sweep_slot(integer,bigint,integer,timestamp with time zone)": "EXECUTE",
        "rowhook.empty_slot(integer,interval)": "EXECUTE",
        "rowhook.archived(rowhook.event)": "EXECUTE",
        "rowhook.refuse(text,text)": "EXECUTE",
        "rowhook.deliver_past(bigint,timestamp with time zone,bigint,bigint,integer)": "EXECUTE",
        "rowhook.rate_clock": "INSERT SELECT UPDATE",
        "rowhook.rate_gap(text)": "EXECUTE",
        "rowhook.filter_pairs(text)": "EXECUTE",
        "rowhook.filter_values(text)": "EXECUTE",
        "rowhook.filter_fault(text)": "EXECUTE",
        "rowhook.filter_document(text,json,json,json)": "EXECUTE",
        "rowhook.filter_verdict(text,jsonb)": "EXECUTE",
        "rowhook.filter_verdict(text,text,json,json,json)": "EXECUTE",
        "rowhook.filters_take_too_long(boolean)": "EXECUTE",
        "rowhook.look(bigint,bigint,boolean,integer,bigint,integer,bigint,integer,bigint[],integer[])": "EXECUTE",
    },
    "rowhook_reader": {
        "rowhook.delivery_history": "SELECT",
        "rowhook.event_trail": "SELECT",
        "rowhook.endpoint_health": "SELECT",
        "rowhook.dead_letters": "SELECT",
        "rowhook.public_id(text,timestamp with time zone,bigint,smallint)": "EXECUTE",
    },
}
# What no role has to do with: it is for who migrates, captures or verifies. Whatever is new in the schema belongs here or in MAY,
# in sql/0011-roles.sql and in the table of docs/security.md.
FOR_WHO_MIGRATES = {
    *("rule", "rule_id_seq", "rule_sql", "rules_sql", "numbered_sql", "steps_sql", "operations", "by_operation_sql"),
    *("check_expression", "predicate_tree", "check_predicate", "check_rule", "rule_plan", "unrule", "rule_problem"),
    *("holds_sql", "predicate_depends", "predicate_problem"),
    *("timed", "cost", "event_sql", "redacted_sql", "enrichments", "grants_sql", "key_payload_sql"),
    *(
        "subscribed",
        "row_reasons",
        "trigger_suffix",
        "capture_label",
        "uncapture_commands",
        "row_trigger",
        "not_captured",
        "needs_names",
        "seen_columns",
        "column_sql",
        "settings_sql",
    ),
    *("check_sight", "captured_above", "captured_below", "heirs", "read_by"),
    *("check_redact", "check_enrich", "revoke_enrichments", "named_columns", "nulls_sql", "row_sql", "far_values"),
    *(
        "events_sql",
        "guard_sql",
        "taken_sql",
        "guarded_rows_sql",
        "enriched_sql",
        "bare",
        "rules_of",
        "rule_guards_sql",
        "rule_inserts_sql",
    ),
    *(
        "functions_ddl",
        "triggers_ddl",
        "fingerprint",
        "execute_own",
        "set_rules_aside",
        "origin_of",
        "known_of",
        "renamed",
        "followed",
    ),
    *("lacks_rights", "set_aside", "body_columns", "is_wider", "schema_changes", "types_of", "note_version", "holds_exclusively"),
    *("changed_sql", "chosen_sql", "compared_sql", "record_sql"),
    *("is_behind", "follow", "concerned", "follow_ddl", "watch_ddl", "grant_versions"),
    *("capture", "capture_id_seq", "event_id_seq", "endpoint_id_seq", "delivery_id_seq", "capture_failure_id_seq"),
    "admin_log_id_seq",
    *(
        "begun",
        "body_sql",
        "capture_ddl",
        "capture_is_whole",
        "capture_mode",
        "capture_owner",
        "capture_plan",
        "captured_columns",
    ),
    *("check_columns", "check_source", "check_verifiable", "columns_of", "compared", "drop_ddl", "function_sql", "insert_sql"),
    *("give_to_capture_owner", "grant_record_to_relay", "grant_retention", "grant_to_roles", "join_capture_role"),
    *("make_role", "mark_horizon_of_deleted", "set_up_roles"),
    *("backfill", "backfill_id_seq", "backfill_chunk", "backfill_page_sql", "begin_backfill", "grant_past", "writers_have_ended"),
    *(
        "json_casts",
        "keep_tenant",
        "key_of",
        "key_sql",
        "log_of",
        "mark_horizon",
        "old_key",
        "payload_sql",
        "side_sql",
    ),
    *("singular", "table_label", "tenant_sql", "told_sql", "trigger_names", "uncapture", "update_sql", "verify", "verify_sql"),
}
# What the table of the docs names beside them: columns, what is yoyo's, the slots of the ring.
NO_OBJECTS = {"xid", "kept_in", "removed_id", "rung_at", "migration_id", "_yoyo_migration", "event_0", "event_9"}
OBJECTS = """
SELECT c.relname FROM pg_class AS c
 WHERE c.relnamespace = 'rowhook'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT c.relispartition
UNION SELECT p.proname FROM pg_proc AS p
 WHERE p.pronamespace = 'rowhook'::regnamespace AND p.proname !~ '^capture_([0-9]+_[a-z]+|probe)$'
"""
# Its own functions it may of course redefine; as it cannot log in, and nobody but who migrates is a member, nobody does.
OWNS = {"rowhook_capture": ["ALTER FUNCTION rowhook.capture_probe() RESET ALL"]}


@pytest.fixture
def as_role(new_role: Callable[..., str], connect: Connect) -> Callable[[str], Connection]:
    """Connect as a login that is a member of a role and nothing else."""
    return lambda role: connect(user=new_role(f"IN ROLE {role}"))


def allowed(connection: Connection, statement: str) -> bool:
    """Whether Postgres lets this role do it, whatever else it says to it."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.errors.SyntaxError:
        raise
    except psycopg.Error:
        pass
    return True


def verbs(connection: Connection, name: str, kind: str, columns: list[str]) -> Iterable[str]:
    """What may be done to a relation, by trying all of it."""
    tried = {"v": {"SELECT": ON_TABLES["SELECT"]}, "S": ON_SEQUENCES}.get(kind, ON_TABLES)
    yield from (verb for verb, statement in tried.items() if allowed(connection, statement.format(name)))
    if kind in "rp":
        settable = [c for c in columns if allowed(connection, f'UPDATE {name} SET "{c}" = DEFAULT WHERE false')]
        yield from ["UPDATE"] if settable == columns else [f"UPDATE({c})" for c in settable]


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_what_it_is_for_and_nothing_else(
    role: str, finmind: str, conn: Connection, as_role: Callable[[str], Connection]
) -> None:
    me = as_role(role)
    may = {name: " ".join(sorted(verbs(me, name, kind, columns))) for name, kind, columns in conn.execute(RELATIONS).fetchall()}
    may |= {name: "EXECUTE" for name, may_call in conn.execute(FUNCTIONS, [me.info.user]).fetchall() if may_call}
    assert {name: what for name, what in may.items() if what} == MAY[role]
    assert {"expenses", "users", "rowhook.secret", "_yoyo_migration"} <= may.keys(), "the application's tables were tried too"


def test_whatever_is_in_the_schema_has_its_place_in_the_table_of_the_docs(conn: Connection) -> None:
    there = {name for (name,) in conn.execute(OBJECTS)}
    table = DOCS.read_text().partition("## Roles in the database")[2].partition("\n\nThe views show")[0].partition("| is for")[2]
    told = set(re.findall(r"`([a-z_]+)`", table)) - NO_OBJECTS
    has_grants = {re.sub(r"^rowhook\.|\(.*", "", name) for may in MAY.values() for name in may}
    assert told == {name for name in has_grants if not re.fullmatch("capture_(probe|[0-9]+_.*)|event_[0-9]", name)}
    assert there == told | FOR_WHO_MIGRATES, "what is new has its rights in the docs, and in MAY; or none, and is named here"


@pytest.mark.parametrize("role", MAY)
def test_a_role_has_no_power_beside_its_grants(
    role: str, finmind: str, conn: Connection, as_role: Callable[[str], Connection]
) -> None:
    me = as_role(role)
    assert [statement for statement in ELSEWHERE if allowed(me, statement)] == OWNS.get(role, [])
    attributes = "rolsuper, rolcanlogin, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication"
    assert conn.execute(f"SELECT {attributes} FROM pg_roles WHERE rolname = %s", [role]).fetchone() == (False,) * 6
    assert one(conn, "SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole", role) == 0


def test_public_may_call_nothing(conn: Connection, finmind: str) -> None:
    open_to_all = conn.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a"
        " WHERE p.pronamespace = 'rowhook'::regnamespace AND a.grantee = 0"
    ).fetchall()
    assert open_to_all == []


def test_of_the_record_of_migrations_a_relay_reads_the_names(dsn: str, as_role: Callable[[str], Connection]) -> None:
    relay = as_role("rowhook_relay")
    assert one(relay, "SELECT count(migration_id) FROM _yoyo_migration") == len(known_ids())
    assert not allowed(relay, "SELECT applied_at_utc FROM _yoyo_migration")


def test_no_view_shows_a_secret(conn: Connection, finmind: str, as_role: Callable[[str], Connection]) -> None:
    conn.execute("""
        INSERT INTO rowhook.endpoint (url) VALUES ('https://example.com/');
        INSERT INTO rowhook.secret (endpoint_id, key_id, ciphertext) VALUES (1, '0123abcd', decode(repeat('c0ffee', 20), 'hex'));
        UPDATE rowhook.endpoint
           SET header_names = '{X-Own}', headers_key_id = '0123abcd', headers = decode(repeat('c0ffee', 20), 'hex');
        INSERT INTO users (email, password_hash) VALUES ('a@example.com', 'x');
        INSERT INTO expenses (user_id, amount) VALUES (1, 1);
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, state, ended_at)
        SELECT e.id, e.slot, 1, 'dead', now() FROM rowhook.event AS e;
        INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class, error)
        SELECT d.id, 1, 1, 1, now(), 'timeout', 'slow' FROM rowhook.delivery AS d;
    """)
    reader = as_role("rowhook_reader")
    views = [name for name, kind, _ in conn.execute(RELATIONS).fetchall() if kind == "v"]
    assert len(views) == 4
    for view in views:
        shown = str(reader.execute(sql.SQL("SELECT v::text FROM {} AS v").format(sql.SQL(view))).fetchall())
        assert "example.com" in shown or "expense.created" in shown
        assert "0123abcd" not in shown and "c0ffee" not in shown


def test_the_rights_that_the_docs_name_are_those_that_emit_needs(
    conn: Connection, connect: Connect, events: Events, new_role: Callable[..., str]
) -> None:
    (grants,) = re.findall(r"(?m)^    GRANT USAGE ON SCHEMA rowhook TO app;(?:\n    .*)+", DOCS.read_text())
    app = new_role()
    assert grants.count(" TO app;") == 4
    for grant in grants.replace(" TO app;", f" TO {app};").split(";")[:-1]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connect(user=app).execute("SELECT rowhook.emit('order.shipped', '{}')")
        conn.execute(grant)
    connect(user=app).execute("SELECT rowhook.emit('order.shipped', '{}')")
    assert [event.type for event in events()] == ["order.shipped"]


FORGERY = """
CREATE TEMP TABLE expenses (id int PRIMARY KEY, user_id int, amount numeric);
CREATE TRIGGER forge AFTER INSERT ON expenses REFERENCING NEW TABLE AS rowhook_new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rowhook.capture_1_insert();
INSERT INTO expenses VALUES (4711, 1, 1000000);
"""


def test_a_captures_function_on_a_table_of_ones_own_forges_no_event__mutant_public_may_execute_it(
    conn: Connection, finmind: str, events: Events, as_role: Callable[[str], Connection]
) -> None:
    reader = as_role("rowhook_reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
        reader.execute(FORGERY)
    assert events() == []
    conn.execute("GRANT EXECUTE ON FUNCTION rowhook.capture_1_insert() TO PUBLIC")
    with reader.transaction():
        reader.execute(FORGERY)
    assert [(event.type, event.row_key) for event in events()] == [("expense.created", "4711")]


# --- clusters and databases --------------------------------------------------------------------------------


def roles(cluster: Cluster) -> list[str]:
    with cluster.connect() as connection:
        return [name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^rowhook_' ORDER BY 1")]


ALL = ["rowhook_capture", "rowhook_reader", "rowhook_relay", "rowhook_skip"]


def captures_an_order(cluster: Cluster, database: str) -> None:
    """A table's change becomes an event, through a function of rowhook_capture."""
    with cluster.connect(database) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY); TRUNCATE orders")
        connection.execute("SELECT rowhook.capture('orders')")
        connection.execute("TRUNCATE rowhook.event; INSERT INTO orders VALUES (1)")
        assert one(connection, "SELECT count(*) FROM rowhook.event") == 1
        assert one(connection, "SELECT rowhook.capture_owner()") == "rowhook_capture"


def test_two_databases_share_the_roles_and_the_last_one_takes_them_along(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster()
    first, second = cluster.create_database(), cluster.create_database()
    for database in (first, second):
        migrate(cluster.dsn(database))
        captures_an_order(cluster, database)
    assert roles(cluster) == ALL
    assert rollback(cluster.dsn(first)) == known_ids()[::-1]
    assert roles(cluster) == ALL
    captures_an_order(cluster, second)
    migrate(cluster.dsn(first))
    assert migrate(cluster.dsn(first)) == []
    captures_an_order(cluster, first)
    for database in (first, second):
        rollback(cluster.dsn(database))
    assert roles(cluster) == []


def test_what_a_plain_owner_lacks_is_said_and_can_be_made_up_for(
    start_cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = start_cluster()
    database = cluster.create_database()
    with cluster.connect() as connection:
        connection.execute(f"CREATE ROLE plain LOGIN; ALTER DATABASE {database} OWNER TO plain")
    dsn = cluster.dsn(database, user="plain")
    migrate(dsn)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 4
    for message, role, weaker in zip(
        said,
        ("rowhook_capture", "rowhook_relay", "rowhook_reader", "rowhook_skip"),
        (
            "(casts) runs with its rights",
            "relays have to log in as a role that owns the schema",
            "the views one by one",
            "nobody but a superuser",
        ),
        strict=True,
    ):
        assert f"role plain may not create role {role}: " in message
        assert weaker in message
        assert f"CREATE ROLE {role} NOLOGIN" in message and "SELECT rowhook.set_up_roles()" in message

    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("CREATE TABLE orders (id int PRIMARY KEY)")
        owner.execute("SELECT rowhook.capture('orders')")
        owner.execute("INSERT INTO orders VALUES (1)")
        with cluster.connect() as connection:
            for name in ALL:
                connection.execute(f"CREATE ROLE {name} NOLOGIN")
            connection.execute("GRANT rowhook_capture TO plain")
            connection.execute("CREATE ROLE looker LOGIN IN ROLE rowhook_reader")
        # The roles are there, but without rights in this database: the functions stay with the owner until they have them.
        owner.execute("INSERT INTO orders VALUES (2)")
        assert one(owner, "SELECT rowhook.capture('orders')") == "unchanged"
        owner.execute("SELECT rowhook.set_up_roles()")
        owner.execute("INSERT INTO orders VALUES (3)")
        assert one(owner, "SELECT count(*) FROM rowhook.event") == 3
        owners = owner.execute(
            "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE prosecdef AND prorettype <> 'event_trigger'::regtype"
        ).fetchall()
        assert owners == [("rowhook_capture",)]
        assert one(owner, "SELECT rowhook.capture('orders')") == "unchanged"
    with psycopg.connect(cluster.dsn(database, user="looker")) as looker:
        assert one(looker, "SELECT count(*) FROM rowhook.event_trail") == 3
    assert rollback(dsn) == known_ids()[::-1]


@pytest.mark.parametrize("power", ["LOGIN", "SUPERUSER", "BYPASSRLS", "IN ROLE pg_read_all_data"])
def test_a_role_that_was_there_with_powers_is_warned_about(
    start_cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture, power: str
) -> None:
    cluster = start_cluster()
    with cluster.connect() as connection:
        connection.execute(f"CREATE ROLE rowhook_capture {power}")
    migrate(cluster.dsn(cluster.create_database()))
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "role rowhook_capture has powers beyond those that it is for" in said


def test_the_record_in_a_closed_schema_is_still_read_by_a_relay(
    start_cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = start_cluster()
    database = cluster.create_database()
    with cluster.connect(database) as connection:
        connection.execute(f'CREATE SCHEMA "App 1"; ALTER DATABASE {database} SET search_path = "App 1"')
        connection.execute("CREATE ROLE sender LOGIN")
    migrate(cluster.dsn(database))
    with cluster.connect(database) as connection:
        connection.execute("GRANT rowhook_relay TO sender")
    with psycopg.connect(cluster.dsn(database, user="sender")) as sender:
        assert one(sender, 'SELECT count(migration_id) FROM "App 1"._yoyo_migration') == len(known_ids())
    rollback(cluster.dsn(database))
    assert roles(cluster) == []
    assert not caplog.records
