-- Schema "rowhook" after all migrations of sql/, as pg_dump sees it. Made by: python -m tests.sql.snapshot
-- Of the ten partitions of rowhook.event the first stands for all.

CREATE SCHEMA rowhook;

COMMENT ON SCHEMA rowhook IS 'Rowhook: committed rows become signed webhooks';

CREATE TYPE rowhook.comparison AS (
	differ text[],
	added text[],
	dropped text[]
);

COMMENT ON TYPE rowhook.comparison IS 'Of an event and its row: columns that differ, that only the row has, that only the event has';

CREATE TYPE rowhook.event_op AS ENUM (
    'insert',
    'update',
    'delete',
    'truncate',
    'rule',
    'emit',
    'own',
    'probe',
    'snapshot'
);

COMMENT ON TYPE rowhook.event_op IS 'How an event came about';

CREATE SEQUENCE rowhook.present_slot
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    MAXVALUE 9
    CACHE 1;

COMMENT ON SEQUENCE rowhook.present_slot IS 'The slot of the ring that new events are written to; retention turns it on';

CREATE TABLE rowhook.event (
    id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    occurred_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    endpoint_id bigint,
    slot smallint DEFAULT (COALESCE(pg_sequence_last_value('rowhook.present_slot'::regclass), (0)::bigint))::smallint NOT NULL,
    kept_in smallint DEFAULT (COALESCE(pg_sequence_last_value('rowhook.present_slot'::regclass), (0)::bigint))::smallint NOT NULL,
    moved boolean DEFAULT false NOT NULL,
    op rowhook.event_op NOT NULL,
    type text NOT NULL,
    table_name text,
    row_key text,
    tenant text,
    data json,
    previous json,
    context json,
    truncated boolean,
    looped boolean
)
PARTITION BY LIST (kept_in);
ALTER TABLE ONLY rowhook.event ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE ONLY rowhook.event ALTER COLUMN previous SET STORAGE EXTERNAL;

COMMENT ON TABLE rowhook.event IS 'What happened: a captured row change, or an event emitted by hand; append-only';

COMMENT ON COLUMN rowhook.event.id IS 'Order of capture; per row it is the order of commit';

COMMENT ON COLUMN rowhook.event.xid IS 'The writing transaction: the cursor finds new events by it';

COMMENT ON COLUMN rowhook.event.occurred_at IS 'When the change was made (not committed); the envelope''s timestamp';

COMMENT ON COLUMN rowhook.event.endpoint_id IS 'For this endpoint only, whatever its patterns are; null: for all whose patterns match';

COMMENT ON COLUMN rowhook.event.slot IS 'The slot in which it was written: part of its public id, and so it stays';

COMMENT ON COLUMN rowhook.event.kept_in IS 'The slot that holds it now: another one, once retention has moved what had not ended';

COMMENT ON COLUMN rowhook.event.moved IS 'The row is neither new nor gone: it moved from one tenant to another, or into or out of what is captured';

COMMENT ON COLUMN rowhook.event.op IS 'insert, update, delete, truncate: captured; rule: of a named rule; emit: rowhook.emit(); own: Rowhook''s; probe: test of the bell; snapshot: a row as it was found';

COMMENT ON COLUMN rowhook.event.type IS 'Event type, e.g. expense.created';

COMMENT ON COLUMN rowhook.event.table_name IS 'Captured table, with its schema unless that is public';

COMMENT ON COLUMN rowhook.event.row_key IS 'Primary key as text; a JSON array of texts for several columns';

COMMENT ON COLUMN rowhook.event.tenant IS 'Whose event it is; endpoints with a tenant get only theirs';

COMMENT ON COLUMN rowhook.event.data IS 'The row as JSON text, sent verbatim; the old row for a delete';

COMMENT ON COLUMN rowhook.event.previous IS 'Old values of the columns that an update changed';

COMMENT ON COLUMN rowhook.event.context IS 'What the writer''s session said of itself: rowhook.actor, .correlation_id, .traceparent, .context';

COMMENT ON COLUMN rowhook.event.truncated IS 'True: the row was over the capture''s max_size, and data holds its key only; null takes no room';

COMMENT ON COLUMN rowhook.event.looped IS 'True: its correlation chain has had the same row and type too often; sent only by a replay';

CREATE FUNCTION rowhook.archived(event rowhook.event) RETURNS TABLE(id text, type text, occurred_at timestamp with time zone, op text, "table" text, row_key text, tenant text, moved boolean, truncated boolean, looped boolean, data text, previous text, context text, deliveries text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT rowhook.public_id('evt', (event).occurred_at, (event).id, (event).slot), (event).type, (event).occurred_at, (event).op::text,
           (event).table_name, (event).row_key, (event).tenant, (event).moved, (event).truncated IS TRUE, (event).looped IS TRUE,
           (event).data::text, (event).previous::text, (event).context::text, (
               SELECT coalesce(json_agg(json_build_object(
                          'id', rowhook.public_id('dlv', d.created_at, d.id), 'endpoint_id', p.public_id, 'url', p.url, 'state', d.state,
                          'created_at', d.created_at, 'ended_at', d.ended_at,
                          'attempts', (
                              SELECT coalesce(json_agg(json_build_object(
                                         'number', a.number, 'started_at', a.started_at,
                                         'duration_ms', round((extract(epoch FROM a.duration) * 1000)::numeric, 3),
                                         'status_code', a.status_code, 'error_class', a.error_class, 'error', a.error,
                                         'response_excerpt', a.response_excerpt) ORDER BY a.number), '[]'::json)
                                FROM rowhook.attempt AS a WHERE a.delivery_id = d.id)) ORDER BY d.id), '[]'::json)
                 FROM rowhook.delivery AS d JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
                WHERE d.event_id = (event).id AND d.event_slot = (event).slot)::text
$$;

COMMENT ON FUNCTION rowhook.archived(event rowhook.event) IS 'An event as archives have it: JSON as the text that it is; deliveries, with their attempts, as a JSON array';

CREATE FUNCTION rowhook.backfill(table_name regclass, rows text DEFAULT NULL::text, endpoint text DEFAULT NULL::text, name text DEFAULT ''::text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _backfill rowhook.backfill := rowhook.begin_backfill(backfill.table_name, backfill.rows, backfill.endpoint, backfill.name);
BEGIN
    WHILE rowhook.backfill_chunk(_backfill.id, 1000) IS NOT NULL LOOP
        NULL;
    END LOOP;
    RETURN (SELECT b.sent FROM rowhook.backfill AS b WHERE b.id = _backfill.id);
END
$$;

COMMENT ON FUNCTION rowhook.backfill(table_name regclass, rows text, endpoint text, name text) IS 'Send rows that were there before as <prefix>.snapshot events, in the present transaction; the command rowhook backfill does it in many';

CREATE FUNCTION rowhook.backfill_chunk(backfill bigint, chunk integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET bytea_output TO 'hex'
    SET extra_float_digits TO '1'
    AS $_$
#variable_conflict use_column
DECLARE
    _backfill rowhook.backfill;
    _capture  rowhook.capture;
    _key      text;
    _texts    text;
    _after    text;
    _upto     text;
    _last     text[];
    _sql      text;
    _sent     integer;
BEGIN
    SELECT b.* INTO _backfill FROM rowhook.backfill AS b WHERE b.id = backfill_chunk.backfill AND b.ended_at IS NULL FOR UPDATE;
    SELECT c.* INTO _capture FROM rowhook.capture AS c WHERE c.table_name = _backfill.table_name AND c.name = _backfill.name;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT format('(%s)', string_agg(format('t.%I', a.attname), ', ' ORDER BY k.n)),
           string_agg(format('t.%I::text', a.attname), ', ' ORDER BY k.n),
           format('(%s)', string_agg(format('$1[%s]::%s', k.n, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.n)),
           format('(%s)', string_agg(format('$2[%s]::%s', k.n, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.n))
      INTO _key, _texts, _after, _upto
      FROM unnest(_capture.key) WITH ORDINALITY AS k (col, n)
      JOIN pg_attribute AS a ON a.attrelid = _capture.table_name AND a.attname = k.col;
    _after := CASE WHEN _backfill.after IS NULL THEN 'true' ELSE format('%s > %s', _key, _after) END;
    -- Where the chunk ends is settled first, without locks: of rows that are waited for some may drop out.
    EXECUTE format('SELECT p.k FROM (SELECT ARRAY[%s] AS k, row_number() OVER () AS n FROM (SELECT t.* %s LIMIT $3) AS t) AS p ORDER BY p.n DESC LIMIT 1',
                   _texts, rowhook.backfill_page_sql(_capture, _backfill.rows, _after))
       INTO _last USING _backfill.after, NULL::text[], backfill_chunk.chunk;
    IF _last IS NULL THEN
        UPDATE rowhook.backfill AS b SET ended_at = clock_timestamp() WHERE b.id = _backfill.id;
        RETURN NULL;
    END IF;
    -- Lock first, id afterwards: the rows are locked inside, and what an event is made of, its id with it, is computed around that.
    _sql := rowhook.insert_sql(_capture, 'snapshot', 'snapshot', 't', format($sql$
      FROM (SELECT t.* %s FOR SHARE OF t) AS t
     CROSS JOIN (SELECT clock_timestamp() AS at, rowhook.present_slot() AS slot, NULL::json AS context, NULL::text AS chain OFFSET 0) AS rowhook_now$sql$,
        rowhook.backfill_page_sql(_capture, _backfill.rows, format('%s AND %s <= %s', _after, _key, _upto))));
    IF _backfill.endpoint_id IS NOT NULL THEN
        _sql := regexp_replace(_sql, '(INSERT INTO rowhook\.event \()([^)]*\)\s*SELECT )', format('\1endpoint_id, \2%s, ', _backfill.endpoint_id));
    END IF;
    EXECUTE _sql USING _backfill.after, _last;
    GET DIAGNOSTICS _sent = ROW_COUNT;
    UPDATE rowhook.backfill AS b SET after = _last, sent = b.sent + _sent, moved_at = clock_timestamp() WHERE b.id = _backfill.id;
    PERFORM rowhook.ring();
    RETURN _sent;
END
$_$;

COMMENT ON FUNCTION rowhook.backfill_chunk(backfill bigint, chunk integer) IS 'Send the next rows of a backfill; null: there are none, it has ended';

CREATE TABLE rowhook.capture (
    id integer NOT NULL,
    table_name regclass NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    installed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    mode text NOT NULL,
    events text[] NOT NULL,
    type_prefix text NOT NULL,
    tenant text,
    include text[],
    exclude text[],
    key text[] NOT NULL,
    on_error text NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    fingerprint text NOT NULL,
    labels text[] NOT NULL,
    prefixes jsonb NOT NULL,
    since_event bigint NOT NULL,
    since_xid xid8 NOT NULL,
    began_empty boolean NOT NULL,
    redact jsonb,
    max_size integer,
    enrich jsonb,
    predicate text,
    predicate_depends text,
    known jsonb NOT NULL,
    CONSTRAINT events_known CHECK ((events <@ '{insert,update,delete,truncate}'::text[])),
    CONSTRAINT include_or_exclude CHECK (((include IS NULL) OR (exclude IS NULL))),
    CONSTRAINT max_size_is_positive CHECK ((max_size > 0)),
    CONSTRAINT mode_known CHECK ((mode = ANY (ARRAY['statement'::text, 'row'::text]))),
    CONSTRAINT name_is_a_name CHECK ((name ~ '^([a-z][a-z0-9_]{0,29})?$'::text)),
    CONSTRAINT on_error_known CHECK ((on_error = ANY (ARRAY['abort'::text, 'record'::text]))),
    CONSTRAINT predicate_depends_known CHECK ((predicate_depends = ANY (ARRAY['row'::text, 'settings'::text, 'functions'::text]))),
    CONSTRAINT predicate_depends_on_something CHECK (((predicate IS NULL) = (predicate_depends IS NULL))),
    CONSTRAINT type_prefix_is_a_name CHECK ((type_prefix ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'::text))
);

COMMENT ON TABLE rowhook.capture IS 'Captured tables and their options';

COMMENT ON COLUMN rowhook.capture.id IS 'Internal id; part of the generated functions'' names';

COMMENT ON COLUMN rowhook.capture.table_name IS 'The table; follows renames';

COMMENT ON COLUMN rowhook.capture.name IS 'Which of the table''s captures; the one without a name has its rules';

COMMENT ON COLUMN rowhook.capture.installed_at IS 'When its triggers were last generated';

COMMENT ON COLUMN rowhook.capture.mode IS 'statement: transition tables; row: where those cannot work';

COMMENT ON COLUMN rowhook.capture.events IS 'Which operations: insert, update, delete, truncate; none where only rules make events';

COMMENT ON COLUMN rowhook.capture.type_prefix IS 'First part of the event type, e.g. expense';

COMMENT ON COLUMN rowhook.capture.tenant IS 'Column that says whose row it is';

COMMENT ON COLUMN rowhook.capture.include IS 'Only these columns';

COMMENT ON COLUMN rowhook.capture.exclude IS 'All columns but these';

COMMENT ON COLUMN rowhook.capture.key IS 'Columns of the row key; empty: none';

COMMENT ON COLUMN rowhook.capture.on_error IS 'abort: the write fails rather than go uncaptured; record: a row in capture_failure';

COMMENT ON COLUMN rowhook.capture.paused IS 'Triggers are disabled';

COMMENT ON COLUMN rowhook.capture.fingerprint IS 'Of the generated SQL: nothing is reinstalled while it is the same';

COMMENT ON COLUMN rowhook.capture.labels IS 'Names of the table in its events: the present one last, after those it had before';

COMMENT ON COLUMN rowhook.capture.prefixes IS 'Its type prefixes, now and before, each with the event id after which it is its own: {"expense": 0}';

COMMENT ON COLUMN rowhook.capture.since_event IS 'Its events have higher ids: the highest when it was first installed';

COMMENT ON COLUMN rowhook.capture.since_xid IS 'The transaction that first installed it: what older ones wrote was not captured';

COMMENT ON COLUMN rowhook.capture.began_empty IS 'Whether the table was empty then, so that its events tell of every row';

COMMENT ON COLUMN rowhook.capture.redact IS 'Columns whose values never reach an event as they are: {"email": "sha256", "card": "last4", "phone": "mask"}';

COMMENT ON COLUMN rowhook.capture.max_size IS 'Bytes of JSON above which an event holds its row''s key only; null: none';

COMMENT ON COLUMN rowhook.capture.enrich IS 'Further values, found by a foreign key: {"category_name": "category_id.name"}';

COMMENT ON COLUMN rowhook.capture.predicate IS 'Only rows for which this SQL holds; null: all';

COMMENT ON COLUMN rowhook.capture.predicate_depends IS 'What that depends on. row: on the row alone; settings: on the clock or the session too; functions: on functions that are not Postgres'' own';

COMMENT ON COLUMN rowhook.capture.known IS 'The table as its functions know it: columns by number with name and type, and those that enrich reads';

CREATE FUNCTION rowhook.backfill_page_sql(c rowhook.capture, rows text, bounds text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Rows of inheriting tables fire triggers of their own, and are backfilled by themselves.
    SELECT format(E'FROM %s%s AS t WHERE (%s\n) AND %s ORDER BY %s',
        CASE WHEN (SELECT r.relkind FROM pg_class AS r WHERE r.oid = (c).table_name) = 'p' THEN '' ELSE 'ONLY ' END, (c).table_name,
        coalesce(backfill_page_sql.rows, 'true'), backfill_page_sql.bounds,
        (SELECT string_agg(format('t.%I', k.col), ', ' ORDER BY k.n) FROM unnest((c).key) WITH ORDINALITY AS k (col, n)))
$$;

COMMENT ON FUNCTION rowhook.backfill_page_sql(c rowhook.capture, rows text, bounds text) IS 'The rows of a backfill within bounds, in order of their key';

CREATE FUNCTION rowhook.bare(c rowhook.capture) RETURNS rowhook.capture
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    c.enrich := NULL;
    RETURN c;
END
$$;

COMMENT ON FUNCTION rowhook.bare(c rowhook.capture) IS 'A capture without its further values';

CREATE TABLE rowhook.backfill (
    id bigint NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    endpoint_id bigint,
    since_event bigint,
    sent bigint DEFAULT 0 NOT NULL,
    table_name regclass NOT NULL,
    rows text,
    after text[],
    name text DEFAULT ''::text NOT NULL,
    CONSTRAINT sent_is_a_count CHECK ((sent >= 0))
);

COMMENT ON TABLE rowhook.backfill IS 'Backfills: how far each is; one that was interrupted goes on from there';

COMMENT ON COLUMN rowhook.backfill.id IS 'Internal id';

COMMENT ON COLUMN rowhook.backfill.started_at IS 'When it was begun';

COMMENT ON COLUMN rowhook.backfill.moved_at IS 'When its last chunk was sent';

COMMENT ON COLUMN rowhook.backfill.ended_at IS 'When no row was left; null: it goes on';

COMMENT ON COLUMN rowhook.backfill.endpoint_id IS 'For this endpoint only; null: for all whose patterns match';

COMMENT ON COLUMN rowhook.backfill.since_event IS 'Of what was written since it began the events have higher ids, for verify; null: a writer was under way for too long to tell';

COMMENT ON COLUMN rowhook.backfill.sent IS 'Rows so far';

COMMENT ON COLUMN rowhook.backfill.table_name IS 'The captured table';

COMMENT ON COLUMN rowhook.backfill.rows IS 'Only rows for which this SQL holds; null: all';

COMMENT ON COLUMN rowhook.backfill.after IS 'The row key that it has come to, part by part; null: it has not begun';

COMMENT ON COLUMN rowhook.backfill.name IS 'Which of its captures';

CREATE FUNCTION rowhook.begin_backfill(table_name regclass, rows text, endpoint text, name text DEFAULT ''::text) RETURNS rowhook.backfill
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _capture  rowhook.capture;
    _backfill rowhook.backfill;
    _endpoint bigint;
    _highest  bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence('rowhook.event', 'id')), 0);
    _label    text := coalesce(rowhook.table_label(begin_backfill.table_name), begin_backfill.table_name::text);
BEGIN
    SELECT c.* INTO _capture FROM rowhook.capture AS c WHERE c.table_name = begin_backfill.table_name AND c.name = coalesce(begin_backfill.name, '');
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(rowhook.not_captured(begin_backfill.table_name, begin_backfill.name), format('What changes meanwhile would be missed; first: rowhook capture %s', rowhook.capture_label(begin_backfill.table_name, begin_backfill.name)));
    END IF;
    PERFORM rowhook.check_verifiable(_capture);  -- rows that can be told apart: it goes on after a row key
    IF begin_backfill.endpoint IS NOT NULL THEN
        SELECT p.id INTO _endpoint FROM rowhook.endpoint AS p WHERE p.public_id = begin_backfill.endpoint AND p.state <> 'removed';
        IF NOT FOUND THEN
            PERFORM rowhook.refuse(format('there is no endpoint %s', begin_backfill.endpoint), 'rowhook endpoint list shows those that there are');
        END IF;
    END IF;
    BEGIN
        EXECUTE format(E'SELECT FROM %s AS t WHERE (%s\n) LIMIT 0', begin_backfill.table_name, coalesce(begin_backfill.rows, 'true'));
    EXCEPTION WHEN syntax_error_or_access_rule_violation OR undefined_column OR undefined_function OR datatype_mismatch THEN
        PERFORM rowhook.refuse(format('rows: %s', SQLERRM), format('Give a condition on the columns of %s, e.g. "amount > 100"', _label));
    END;
    -- For verify: a row of a writer who has its event's id by now and commits when the chunks have passed it would have none after.
    INSERT INTO rowhook.backfill (table_name, name, rows, endpoint_id, since_event)
    VALUES (begin_backfill.table_name, _capture.name, begin_backfill.rows, _endpoint, CASE WHEN rowhook.writers_have_ended('5 s') THEN _highest END)
    ON CONFLICT DO NOTHING;
    SELECT b.* INTO _backfill FROM rowhook.backfill AS b
     WHERE b.table_name = begin_backfill.table_name AND b.name = _capture.name AND b.rows IS NOT DISTINCT FROM begin_backfill.rows
       AND b.endpoint_id IS NOT DISTINCT FROM _endpoint AND b.ended_at IS NULL;
    RETURN _backfill;
END
$$;

COMMENT ON FUNCTION rowhook.begin_backfill(table_name regclass, rows text, endpoint text, name text) IS 'A new backfill, or the same one that was interrupted';

CREATE FUNCTION rowhook.begin_sweep(slot integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    -- Whoever makes deliveries of past events (endpoint add --since) holds the rows of the slots it takes from: this waits for them.
    -- The cursor's "seen" means nothing in another cluster, until a dispatcher has begun anew there.
    UPDATE rowhook.ring AS r
       SET seen = c.seen, system_identifier = c.system_identifier, is_swept = false, archived_in = NULL
      FROM rowhook.cursor AS c
     WHERE r.slot = begin_sweep.slot AND r.closed_at IS NOT NULL
       AND (r.seen IS NULL OR r.system_identifier <> (SELECT s.system_identifier FROM pg_control_system() AS s));
    RETURN EXISTS (SELECT FROM rowhook.ring AS r, rowhook.cursor AS c, pg_control_system() AS s
                    WHERE r.slot = begin_sweep.slot AND r.seen IS NOT NULL AND r.system_identifier = s.system_identifier
                      AND c.system_identifier = s.system_identifier);
END
$$;

COMMENT ON FUNCTION rowhook.begin_sweep(slot integer) IS 'Remember what was dispatched of a slot that was left; false: it can''t be told yet';

CREATE FUNCTION rowhook.begun(c rowhook.capture) RETURNS rowhook.capture
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _label text := rowhook.table_label(c.table_name);
BEGIN
    -- Where its events begin, for verify; asked when the triggers are there, so that no writer comes between.
    IF c.labels IS NULL THEN
        c.since_event := coalesce(pg_sequence_last_value(pg_get_serial_sequence('rowhook.event', 'id')), 0);
        c.since_xid := pg_current_xact_id();
        c.began_empty := false;
        IF (SELECT r.relkind IN ('r', 'p') AND has_table_privilege(r.oid, 'SELECT') AND NOT row_security_active(r.oid)
              FROM pg_class AS r WHERE r.oid = c.table_name) THEN
            EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', c.table_name) INTO c.began_empty;
        END IF;
    END IF;
    c.labels := array_remove(coalesce(c.labels, '{}'), _label) || _label;
    c.prefixes := coalesce(c.prefixes, '{}');
    IF c.events <> '{}' AND NOT c.prefixes ? c.type_prefix THEN
        c.prefixes := c.prefixes || jsonb_build_object(c.type_prefix, coalesce(pg_sequence_last_value(pg_get_serial_sequence('rowhook.event', 'id')), 0));
    END IF;
    RETURN c;
END
$$;

COMMENT ON FUNCTION rowhook.begun(c rowhook.capture) IS 'A capture that was just installed, with where its events begin';

CREATE FUNCTION rowhook.body_columns(c rowhook.capture) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT coalesce((SELECT jsonb_agg(b.is ORDER BY b.n, b.name) FROM (
        SELECT a.attname::text AS name, array_position(w.names, a.attname::text) AS n, jsonb_build_object('name', a.attname, 'number', a.attnum, 'type',
                   CASE WHEN (c).redact ? a.attname THEN format('redacted: %s', (c).redact ->> a.attname) ELSE format_type(a.atttypid, a.atttypmod) END) AS is
          FROM pg_attribute AS a CROSS JOIN (SELECT coalesce(rowhook.captured_columns(c), rowhook.columns_of((c).table_name)) AS names) AS w
         WHERE a.attrelid = (c).table_name AND a.attname = ANY (w.names) AND a.attnum > 0
        UNION ALL
        SELECT e.name, 10000, jsonb_build_object('name', e.name, 'number', NULL, 'type', format('found by %s', (c).enrich ->> e.name))
          FROM rowhook.enrichments(c) AS e) AS b), '[]')
$$;

COMMENT ON FUNCTION rowhook.body_columns(c rowhook.capture) IS 'What the data of a capture''s events holds';

CREATE FUNCTION rowhook.body_sql(c rowhook.capture, op text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Which rows are captured can't be told by a predicate that doesn't fit: none is, as what was sent can't be taken back.
    SELECT CASE WHEN (c).predicate IS NULL OR b.sql = '' OR body_sql.op = 'truncate' THEN b.sql
                ELSE rowhook.guard_sql(c, format('%s CROSS JOIN %s WHERE false AND %s', rowhook.guarded_rows_sql(c, body_sql.op, 'rowhook_old', 'rowhook_new'),
                         rowhook.taken_sql(c), rowhook.holds_sql(c, CASE body_sql.op WHEN 'delete' THEN 'rowhook_old' ELSE 'rowhook_new' END)), 'when', '_captured := false;')
                     || format(E'\n    IF _captured THEN%s\n    END IF;', b.sql) END
      FROM (SELECT rowhook.enriched_sql(c, body_sql.op, true, rowhook.events_sql(c, body_sql.op), rowhook.events_sql(rowhook.bare(c), body_sql.op)) AS sql) AS b
$$;

COMMENT ON FUNCTION rowhook.body_sql(c rowhook.capture, op text) IS 'What a trigger function does for one operation, rules apart';

CREATE FUNCTION rowhook.by_operation_sql(operations text[], bodies text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT coalesce(string_agg(format(E'\n    %s _op = %L THEN%s', CASE n WHEN 1 THEN 'IF' ELSE 'ELSIF' END, upper(op), body), '' ORDER BY n)
                    || E'\n    END IF;', '')
      FROM (SELECT op, body, row_number() OVER (ORDER BY n) AS n
              FROM unnest(by_operation_sql.operations, by_operation_sql.bodies) WITH ORDINALITY AS o (op, body, n) WHERE body <> '') AS o
$$;

COMMENT ON FUNCTION rowhook.by_operation_sql(operations text[], bodies text[]) IS 'What a row trigger does, told by its operation';

CREATE FUNCTION rowhook.capture(table_name regclass, tenant text DEFAULT NULL::text, include text[] DEFAULT NULL::text[], exclude text[] DEFAULT NULL::text[], key text[] DEFAULT NULL::text[], events text[] DEFAULT NULL::text[], type_prefix text DEFAULT NULL::text, on_error text DEFAULT NULL::text, paused boolean DEFAULT NULL::boolean, redact jsonb DEFAULT NULL::jsonb, max_size integer DEFAULT NULL::integer, enrich jsonb DEFAULT NULL::jsonb, predicate text DEFAULT NULL::text, name text DEFAULT ''::text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _was  rowhook.capture;
    _plan rowhook.capture;
    _cast record;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;  -- two relays that start at once
    IF coalesce(capture.name, '') = '' THEN
        PERFORM rowhook.set_rules_aside(capture.table_name);
    END IF;
    _plan := rowhook.capture_plan(capture.table_name, capture.tenant, capture.include, capture.exclude, capture.key,
                                  capture.events, capture.type_prefix, capture.on_error, capture.paused, capture.redact, capture.max_size,
                                  capture.enrich, capture.predicate, capture.name);
    SELECT c.* INTO _was FROM rowhook.capture AS c WHERE c.id = _plan.id;
    IF _was.fingerprint = _plan.fingerprint AND _was.known -> 'origin' = _plan.known -> 'origin' AND rowhook.capture_is_whole(_plan) THEN
        UPDATE rowhook.capture AS c
           SET (exclude, include, redact, enrich, predicate_depends, known)
             = (_plan.exclude, _plan.include, _plan.redact, _plan.enrich, _plan.predicate_depends, _plan.known)
         WHERE c.id = _plan.id AND c.known <> _plan.known;  -- a column that is left out may have another name
        PERFORM rowhook.note_version(_plan, tell => _was.known <> _plan.known);
        RETURN 'unchanged';
    END IF;
    IF _plan.on_error = 'abort' THEN
        FOR _cast IN SELECT * FROM rowhook.json_casts(_plan.table_name) LOOP
            RAISE WARNING 'column "%" of type % is turned into JSON by %, which runs without the writer''s rights',
                _cast.column_name, _cast.type_name, _cast.function_name
                USING HINT = 'If it can fail, so can writes to the table: on_error => ''record'' lets them go on';
        END LOOP;
    END IF;
    IF _plan.mode = 'row' THEN
        RAISE NOTICE 'capturing % row by row', rowhook.table_label(_plan.table_name)
            USING DETAIL = 'It ' || array_to_string(rowhook.row_reasons(_plan.table_name, _plan.key), ', ');
    END IF;
    IF rowhook.heirs(_plan.table_name, _plan.name) IS NOT NULL THEN
        RAISE WARNING 'rows of tables that inherit from % make no event: %', rowhook.table_label(_plan.table_name), rowhook.heirs(_plan.table_name, _plan.name)
            USING HINT = 'Capture those tables too';
    END IF;
    PERFORM rowhook.execute_own(rowhook.capture_ddl(_plan));
    IF rowhook.known_of(_plan) <> _plan.known THEN
        -- It waited for the table's lock, and the table was altered meanwhile.
        IF _plan.name = '' THEN
            PERFORM rowhook.set_rules_aside(_plan.table_name);
        END IF;
        _plan := rowhook.followed(_plan);
        _plan.known := rowhook.known_of(_plan);
        _plan.fingerprint := rowhook.fingerprint(_plan);
        PERFORM rowhook.execute_own(rowhook.capture_ddl(_plan));
    END IF;
    PERFORM rowhook.revoke_enrichments(_was, _plan);
    IF _plan.key IS DISTINCT FROM _was.key OR _plan.predicate IS DISTINCT FROM _was.predicate OR _was.events = '{}' THEN
        _plan.labels := NULL;  -- rows have other names in the events from here on, others have events, or only now have any
    END IF;
    _plan := rowhook.begun(_plan);
    DELETE FROM rowhook.capture AS c WHERE c.id = _plan.id;
    INSERT INTO rowhook.capture OVERRIDING SYSTEM VALUE SELECT (_plan).*;
    PERFORM rowhook.note_version(_plan, tell => _was.known <> _plan.known);  -- other options alone are the operator's own doing
    RETURN CASE WHEN _was.id IS NULL THEN 'installed' ELSE 'changed' END;
END
$$;

COMMENT ON FUNCTION rowhook.capture(table_name regclass, tenant text, include text[], exclude text[], key text[], events text[], type_prefix text, on_error text, paused boolean, redact jsonb, max_size integer, enrich jsonb, predicate text, name text) IS 'Capture a table, or change how; by another name once more; returns installed, changed or unchanged';

CREATE FUNCTION rowhook.capture_ddl(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT rowhook.drop_ddl(c) || rowhook.grants_sql(c) || rowhook.functions_ddl(c) || rowhook.triggers_ddl(c)
$$;

COMMENT ON FUNCTION rowhook.capture_ddl(c rowhook.capture) IS 'The SQL that installs a capture and its rules';

CREATE FUNCTION rowhook.capture_is_whole(c rowhook.capture) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- All triggers there, enabled as they should be, and their functions in the right hands (a restore changes that).
    SELECT (SELECT count(*) FROM pg_trigger AS t
              JOIN pg_proc AS p ON p.oid = t.tgfoid AND p.pronamespace = 'rowhook'::regnamespace
             WHERE t.tgrelid = (c).table_name AND quote_ident(t.tgname) = ANY (rowhook.trigger_names(c))
               AND CASE WHEN (c).paused THEN t.tgenabled = 'D' WHEN rowhook.subscribed((c).table_name) THEN t.tgenabled = 'A' ELSE t.tgenabled <> 'D' END
               AND pg_get_userbyid(p.proowner) = rowhook.capture_owner())
           = cardinality(rowhook.trigger_names(c))
       AND rowhook.grants_sql(c) = ''
$$;

COMMENT ON FUNCTION rowhook.capture_is_whole(c rowhook.capture) IS 'Whether a capture''s triggers are in place';

CREATE FUNCTION rowhook.capture_label(source regclass, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT coalesce(rowhook.table_label(capture_label.source), capture_label.source::text) || coalesce(' --name ' || quote_ident(nullif(capture_label.name, '')), '')
$$;

COMMENT ON FUNCTION rowhook.capture_label(source regclass, name text) IS 'A table and which of its captures, as commands take them';

CREATE FUNCTION rowhook.capture_mode(source regclass, key text[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN rowhook.row_reasons(capture_mode.source, capture_mode.key) <> '{}' THEN 'row' ELSE 'statement' END
$$;

COMMENT ON FUNCTION rowhook.capture_mode(source regclass, key text[]) IS 'Statement triggers where they can work, row triggers elsewhere';

CREATE FUNCTION rowhook.capture_owner() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Only once it has its rights: otherwise each captured write would fail.
    SELECT coalesce((SELECT r.rolname::text FROM pg_roles AS r
                      WHERE r.rolname = 'rowhook_capture' AND pg_has_role(current_user, r.oid, 'MEMBER')
                        AND has_table_privilege(r.oid, 'rowhook.event', 'INSERT')), current_user::text)
$$;

COMMENT ON FUNCTION rowhook.capture_owner() IS 'Which role capture functions belong to';

CREATE FUNCTION rowhook.capture_plan(table_name regclass, tenant text DEFAULT NULL::text, include text[] DEFAULT NULL::text[], exclude text[] DEFAULT NULL::text[], key text[] DEFAULT NULL::text[], events text[] DEFAULT NULL::text[], type_prefix text DEFAULT NULL::text, on_error text DEFAULT NULL::text, paused boolean DEFAULT NULL::boolean, redact jsonb DEFAULT NULL::jsonb, max_size integer DEFAULT NULL::integer, enrich jsonb DEFAULT NULL::jsonb, predicate text DEFAULT NULL::text, name text DEFAULT ''::text) RETURNS rowhook.capture
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
DECLARE
    _was  rowhook.capture;
    _plan rowhook.capture;
    _name text := coalesce(capture_plan.name, '');
    _bad  text;
BEGIN
    IF capture_plan.table_name IS NULL THEN
        PERFORM rowhook.refuse('table_name is null', 'Name an existing table, e.g. rowhook.capture(''expenses'')');
    END IF;
    PERFORM rowhook.check_source(capture_plan.table_name);
    IF _name !~ '^([a-z][a-z0-9_]{0,29})?$' THEN
        PERFORM rowhook.refuse(format('name: "%s" can''t be a capture''s name', _name), 'Use small letters, digits and _, a letter first, 30 at most: audit');
    END IF;
    SELECT f.* INTO _was FROM rowhook.capture AS c, rowhook.followed(c) AS f WHERE c.table_name = capture_plan.table_name AND c.name = _name;
    _plan := _was;
    _plan.id := coalesce(_was.id, nextval(pg_get_serial_sequence('rowhook.capture', 'id')));
    _plan.table_name := capture_plan.table_name;
    _plan.name := _name;
    _plan.installed_at := clock_timestamp();
    -- An option that is not given keeps what it was; an empty one takes it back.
    _plan.tenant := nullif(coalesce(capture_plan.tenant, _was.tenant), '');
    IF cardinality(capture_plan.include) > 0 AND cardinality(capture_plan.exclude) > 0 THEN
        PERFORM rowhook.refuse('include and exclude are both given', 'Give the columns to send, or the columns to leave out');
    END IF;
    _plan.include := nullif(coalesce(capture_plan.include, CASE WHEN capture_plan.exclude IS NULL THEN _was.include END), '{}');
    _plan.exclude := nullif(coalesce(capture_plan.exclude, CASE WHEN capture_plan.include IS NULL THEN _was.exclude END), '{}');
    _plan.key := coalesce(capture_plan.key, _was.key, ARRAY(
        SELECT a.attname::text FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
          JOIN pg_attribute AS a ON a.attnum = k.attnum
         WHERE i.indrelid = capture_plan.table_name AND i.indisprimary AND a.attrelid = i.indrelid AND k.n <= i.indnkeyatts ORDER BY k.n));
    _plan.events := coalesce(capture_plan.events, _was.events, '{insert,update,delete,truncate}');
    _plan.type_prefix := coalesce(nullif(capture_plan.type_prefix, ''), _was.type_prefix, (
        SELECT rowhook.singular(c.relname) || rowhook.trigger_suffix(_plan) FROM pg_class AS c WHERE c.oid = capture_plan.table_name));
    _plan.on_error := coalesce(capture_plan.on_error, _was.on_error, 'abort');
    _plan.paused := coalesce(capture_plan.paused, _was.paused, false);
    _plan.redact := nullif(coalesce(capture_plan.redact, _was.redact), '{}');
    _plan.max_size := nullif(coalesce(capture_plan.max_size, _was.max_size), 0);
    _plan.enrich := nullif(coalesce(capture_plan.enrich, _was.enrich), '{}');
    _plan.predicate := nullif(coalesce(capture_plan.predicate, _was.predicate), '');
    -- What was given before is not parsed here, where anybody's DDL may lead: types may be others by now, with others' functions.
    _plan.predicate_depends := CASE WHEN _plan.predicate IS NULL THEN NULL
        WHEN capture_plan.predicate IS NOT NULL THEN rowhook.predicate_depends(_plan.table_name, _plan.predicate)
        WHEN rowhook.known_of(_plan) -> 'columns' @> (_was.known -> 'columns') THEN _was.predicate_depends ELSE 'functions' END;

    -- What is given must fit; what was given before and has lost its column is set aside (rowhook.set_aside).
    PERFORM rowhook.check_columns(_plan.table_name, 'tenant', ARRAY[nullif(capture_plan.tenant, '')]);
    PERFORM rowhook.check_columns(_plan.table_name, 'include', capture_plan.include);
    PERFORM rowhook.check_columns(_plan.table_name, 'exclude', capture_plan.exclude);
    PERFORM rowhook.check_columns(_plan.table_name, 'key', capture_plan.key);
    PERFORM rowhook.check_sight(_plan, _was);
    PERFORM rowhook.check_redact(_plan);
    IF capture_plan.redact IS NOT NULL THEN
        PERFORM rowhook.check_columns(_plan.table_name, 'redact', ARRAY(SELECT jsonb_object_keys(_plan.redact)));
    END IF;
    IF capture_plan.enrich IS NOT NULL THEN
        PERFORM rowhook.check_enrich(_plan);
    END IF;
    IF _plan.max_size < 0 THEN
        PERFORM rowhook.refuse(format('max_size: %s is not a number of bytes', _plan.max_size), 'Give how large an event''s JSON may be, e.g. 65536; 0: any size');
    END IF;
    SELECT e INTO _bad FROM unnest(_plan.events) AS e WHERE e <> ALL ('{insert,update,delete,truncate}'::text[]);
    IF FOUND OR _plan.events = '{}' AND rowhook.operations(_plan) = '{}' THEN  -- with rules it may be none
        PERFORM rowhook.refuse(format('events: "%s" is not an operation', coalesce(_bad, '')), 'Give some of: insert, update, delete, truncate');
    END IF;
    IF _plan.on_error NOT IN ('abort', 'record') THEN
        PERFORM rowhook.refuse(format('on_error: "%s" is not known', _plan.on_error), 'Give abort or record');
    END IF;
    IF _plan.type_prefix !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' THEN
        PERFORM rowhook.refuse(format('type_prefix: "%s" is not a name', _plan.type_prefix), 'Use letters, digits, _ and -, with dots between');
    END IF;
    SELECT coalesce(nullif(o.name, ''), 'without a name') INTO _bad FROM rowhook.capture AS o
     WHERE o.table_name = _plan.table_name AND o.name <> _name AND o.prefixes ? _plan.type_prefix AND _plan.events <> '{}' LIMIT 1;
    IF FOUND THEN  -- who receives them, and verify, tell the captures of a table apart by it
        PERFORM rowhook.refuse(format('type_prefix: "%s" is, or was, that of another capture of table %s (%s)', _plan.type_prefix,
            rowhook.table_label(_plan.table_name), _bad), 'Give each capture of a table a prefix of its own');
    END IF;
    IF capture_plan.exclude IS NOT NULL AND _plan.exclude @> rowhook.columns_of(_plan.table_name) THEN
        PERFORM rowhook.refuse('exclude: no column is left', 'Leave at least one column');
    END IF;
    -- One order, no repeats: the same options always give the same SQL.
    _plan.events := ARRAY(SELECT e FROM unnest('{insert,update,delete,truncate}'::text[]) AS e WHERE e = ANY (_plan.events));
    IF (SELECT c.relkind FROM pg_class AS c WHERE c.oid = _plan.table_name) = 'f' THEN
        _plan.events := array_remove(_plan.events, 'truncate');
        IF rowhook.operations(_plan) = '{}' THEN
            PERFORM rowhook.refuse('events: a foreign table''s truncate cannot be captured', 'Give some of: insert, update, delete');
        END IF;
    END IF;
    _plan.mode := rowhook.capture_mode(_plan.table_name, _plan.key);
    _plan.known := rowhook.known_of(_plan);
    _plan.fingerprint := rowhook.fingerprint(_plan);
    RETURN _plan;
END
$_$;

COMMENT ON FUNCTION rowhook.capture_plan(table_name regclass, tenant text, include text[], exclude text[], key text[], events text[], type_prefix text, on_error text, paused boolean, redact jsonb, max_size integer, enrich jsonb, predicate text, name text) IS 'What capture() would store, all options checked; rowhook.capture_ddl() of it is the SQL';

CREATE FUNCTION rowhook.capture_probe() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO rowhook.event (op, type, table_name) VALUES ('probe', 'rowhook.probe', 'rowhook.probe');
    PERFORM rowhook.ring();
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION rowhook.capture_probe() IS 'Trigger function of rowhook.probe';

CREATE FUNCTION rowhook.captured_above(source regclass) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT a.relid::regclass FROM pg_partition_ancestors(captured_above.source) WITH ORDINALITY AS a (relid, n)
      JOIN rowhook.capture AS c ON c.table_name = a.relid AND c.events <> '{}'
     WHERE a.relid <> captured_above.source ORDER BY a.n LIMIT 1
$$;

COMMENT ON FUNCTION rowhook.captured_above(source regclass) IS 'The captured table of which this is a partition';

CREATE FUNCTION rowhook.captured_below(source regclass) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT t.relid FROM pg_partition_tree(captured_below.source) AS t
      JOIN rowhook.capture AS c ON c.table_name = t.relid AND c.events <> '{}'
     WHERE t.relid <> captured_below.source ORDER BY t.level, t.relid LIMIT 1
$$;

COMMENT ON FUNCTION rowhook.captured_below(source regclass) IS 'A partition of this table that is captured by itself';

CREATE FUNCTION rowhook.captured_columns(c rowhook.capture) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN (c).include IS NOT NULL
                THEN ARRAY(SELECT u.col FROM unnest((c).include) WITH ORDINALITY AS u (col, n)
                            WHERE u.col = ANY (rowhook.columns_of((c).table_name)) ORDER BY n)
                WHEN (c).exclude IS NOT NULL
                THEN ARRAY(SELECT u.col FROM unnest(rowhook.columns_of((c).table_name)) WITH ORDINALITY AS u (col, n)
                            WHERE u.col <> ALL ((c).exclude) ORDER BY n) END
$$;

COMMENT ON FUNCTION rowhook.captured_columns(c rowhook.capture) IS 'The columns that go into events; null: the whole row';

CREATE FUNCTION rowhook.changed(old_row json, new_row json) RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- json_each raises an error on \u0000 and on surrogates, which column type json may hold: then all old values go out. Few
    -- rows hold an escape at all, and looking for one costs less than the pattern.
    -- Both are rows of one table, so they have the same keys in the same order, and are read side by side.
    SELECT CASE WHEN strpos(changed.old_row::text || changed.new_row::text, '\u') > 0
                 AND changed.old_row::text || changed.new_row::text ~* '(^|[^\\])(\\\\)*\\u(0000|d[89a-f])'
                THEN changed.old_row
                ELSE (SELECT ('{' || coalesce(string_agg(to_json(z.key)::text || ':' || z.was::text, ',' ORDER BY z.n), '') || '}')::json
                        FROM ROWS FROM (json_each(changed.old_row), json_each(changed.new_row))
                             WITH ORDINALITY AS z (key, was, same_key, becomes, n)
                       WHERE z.was::text IS DISTINCT FROM z.becomes::text)
           END
$$;

COMMENT ON FUNCTION rowhook.changed(old_row json, new_row json) IS 'Old values of the columns that differ';

CREATE FUNCTION rowhook.changed_columns(old_row json, new_row json) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    -- Rows of one table have the same keys in the same order.
    RETURN ARRAY(SELECT z.key
                   FROM ROWS FROM (json_each(changed_columns.old_row), json_each(changed_columns.new_row)) AS z (key, was, same_key, becomes)
                  WHERE z.was::text IS DISTINCT FROM z.becomes::text);
EXCEPTION WHEN untranslatable_character OR invalid_text_representation THEN
    -- Column type json may hold escapes that no text can.
    RETURN rowhook.changed_columns(rowhook.readable(changed_columns.old_row), rowhook.readable(changed_columns.new_row));
END
$$;

COMMENT ON FUNCTION rowhook.changed_columns(old_row json, new_row json) IS 'Names of the columns that differ';

CREATE FUNCTION rowhook.changed_sql(compared text, old_data text, new_data text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- The JSON isn't parsed, which costs several times as much: it is cut where columns begin. The first piece begins with the brace
    -- of the whole, the last one ends with it. Where there are other pieces than columns (type json keeps its line feeds), or escapes
    -- that can't be text, rowhook.changed() does it.
    SELECT format($sql$
                  CASE WHEN cardinality(%1$s.olds) = %1$s.columns AND cardinality(%1$s.news) = %1$s.columns
                        AND strpos(%1$s.was, chr(92) || 'u') + strpos(%1$s.becomes, chr(92) || 'u') = 0
                       THEN (SELECT ('{' || ltrim(coalesce(string_agg(z.was, ','), ''), '{')
                                         || CASE WHEN %1$s.olds[%1$s.columns] = %1$s.news[%1$s.columns] THEN '}' ELSE '' END)::json
                               FROM (SELECT unnest(%1$s.olds) AS was, unnest(%1$s.news) AS becomes) AS z WHERE z.was <> z.becomes)
                       ELSE rowhook.changed(%2$s, %3$s) END$sql$, changed_sql.compared, changed_sql.old_data, changed_sql.new_data)
$_$;

COMMENT ON FUNCTION rowhook.changed_sql(compared text, old_data text, new_data text) IS 'SQL expression of the old values of the columns that differ';

CREATE FUNCTION rowhook.check_columns(source regclass, option text, given text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _missing text;
BEGIN
    SELECT g INTO _missing FROM unnest(check_columns.given) AS g
     WHERE g <> ALL (rowhook.columns_of(check_columns.source)) LIMIT 1;
    IF FOUND THEN
        PERFORM rowhook.refuse(
            format('%s: table %s has no column "%s"', check_columns.option, rowhook.table_label(check_columns.source), _missing),
            'Its columns are: ' || array_to_string(rowhook.columns_of(check_columns.source), ', '));
    END IF;
END
$$;

COMMENT ON FUNCTION rowhook.check_columns(source regclass, option text, given text[]) IS 'Refuse columns that the table does not have';

CREATE FUNCTION rowhook.check_enrich(c rowhook.capture) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _name  text;
    _path  text;
    _found record;
BEGIN
    IF c.enrich IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(c.enrich) <> 'object' THEN
        PERFORM rowhook.refuse('enrich is not a JSON object', 'Give names, and where their values are: {"category_name": "category_id.name"}');
    END IF;
    FOR _name, _path IN SELECT * FROM jsonb_each_text(c.enrich) LOOP
        IF _path IS NULL OR _path !~ '^[^.]+\.[^.]+$' THEN
            PERFORM rowhook.refuse(format('enrich: "%s" does not say where "%s" is', _path, _name), 'Give COLUMN.COLUMN: a foreign key, and a column of the row that it leads to');
        END IF;
        PERFORM rowhook.check_columns(c.table_name, 'enrich', ARRAY[split_part(_path, '.', 1)]);
        IF _name = ANY (rowhook.columns_of(c.table_name)) THEN
            PERFORM rowhook.refuse(format('enrich: table %s has a column "%s" itself', rowhook.table_label(c.table_name), _name), 'Choose another name');
        END IF;
        SELECT e.* INTO _found FROM rowhook.enrichments(c) AS e WHERE e.name = _name;
        IF NOT FOUND THEN
            PERFORM rowhook.check_columns(f.confrelid::regclass, 'enrich', ARRAY[split_part(_path, '.', 2)])
               FROM pg_constraint AS f JOIN pg_attribute AS n ON n.attrelid = f.conrelid AND f.conkey = ARRAY[n.attnum]
              WHERE f.conrelid = c.table_name AND f.contype = 'f' AND n.attname = split_part(_path, '.', 1);
            PERFORM rowhook.refuse(format('enrich: column "%s" of table %s is no foreign key by itself', split_part(_path, '.', 1), rowhook.table_label(c.table_name)),
                                   'Name a column that REFERENCES one of another table');
        END IF;
    END LOOP;
END
$_$;

COMMENT ON FUNCTION rowhook.check_enrich(c rowhook.capture) IS 'Refuse further values that no foreign key leads to';

CREATE FUNCTION rowhook.check_expression(option text, given text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _frame text;
BEGIN
    -- One expression and nothing more: only such a text is whole within either kind of brackets. Parsed as functions' bodies, which
    -- nobody calls.
    FOREACH _frame IN ARRAY ARRAY[E'(%s\n)', E'ARRAY[%s\n]'] LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION rowhook.%I() RETURNS void LANGUAGE plpgsql AS %L', 'expression_' || pg_backend_pid(),
                           format('BEGIN PERFORM %s; END', format(_frame, check_expression.given)));
            RAISE EXCEPTION USING ERRCODE = 'RH003';
        EXCEPTION
            WHEN SQLSTATE 'RH003' THEN NULL;
            WHEN syntax_error THEN
                PERFORM rowhook.refuse(format('%s: it is not an expression of SQL (%s)', check_expression.option, SQLERRM),
                                       'Give a condition, e.g. new.amount > 1000');
        END;
    END LOOP;
END
$$;

COMMENT ON FUNCTION rowhook.check_expression(option text, given text) IS 'Refuse what is not one expression';

CREATE FUNCTION rowhook.check_predicate(source regclass, op text, predicate text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _tree    text;
    _changed boolean := false;
    _bad     text;
BEGIN
    PERFORM rowhook.check_expression('predicate', check_predicate.predicate);
    BEGIN
        BEGIN
            _tree := rowhook.predicate_tree(check_predicate.source, check_predicate.op, check_predicate.predicate, false);
        EXCEPTION WHEN undefined_column THEN
            _changed := check_predicate.op = 'update';
            _tree := rowhook.predicate_tree(check_predicate.source, check_predicate.op, check_predicate.predicate, _changed);
        END;
    EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE !~ '^(42|22|0A|23)' OR SQLSTATE = '42501' THEN
            RAISE;
        END IF;
        PERFORM rowhook.refuse('predicate: ' || SQLERRM, format('It sees %s; functions and types outside pg_catalog need their schema',
            CASE check_predicate.op WHEN 'insert' THEN 'new.COLUMN' WHEN 'delete' THEN 'old.COLUMN'
                                    WHEN 'row' THEN 'each row''s columns, by their names or as new.COLUMN (of old and new rows there are rules)'
                                    ELSE 'old.COLUMN, new.COLUMN and changed, the names of the columns that changed' END));
    END;
    IF (SELECT count(*) FROM regexp_matches(_tree, ':rtekind 0 ', 'g'))
       > (SELECT count(*) FROM regexp_matches(rowhook.predicate_tree(check_predicate.source, check_predicate.op, 'true', _changed), ':rtekind 0 ', 'g')) THEN
        PERFORM rowhook.refuse('predicate: it reads a table', 'It may look at the row''s old and new values only');
    END IF;
    SELECT p.oid::regprocedure::text INTO _bad
      FROM pg_proc AS p
     WHERE p.provolatile = 'v'
       AND p.oid IN (SELECT m[2]::oid FROM regexp_matches(_tree, ':(funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') AS m
                     UNION SELECT o.oprcode FROM regexp_matches(_tree, ':opno (\d+)', 'g') AS m JOIN pg_operator AS o ON o.oid = m[1]::oid)
     LIMIT 1;
    IF FOUND THEN
        PERFORM rowhook.refuse(format('predicate: %s is volatile: it may write, or say another thing each time', _bad),
                               'Call functions that are STABLE or IMMUTABLE, e.g. now() for clock_timestamp()');
    END IF;
    RETURN _changed;
END
$$;

COMMENT ON FUNCTION rowhook.check_predicate(source regclass, op text, predicate text) IS 'Refuse a predicate that is none; whether it asks which columns changed';

CREATE FUNCTION rowhook.check_redact(c rowhook.capture) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _column text;
    _method text;
BEGIN
    IF c.redact IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(c.redact) <> 'object' THEN
        PERFORM rowhook.refuse('redact is not a JSON object', 'Give columns and how: {"email": "sha256", "card": "last4", "phone": "mask"}');
    END IF;
    FOR _column, _method IN SELECT * FROM jsonb_each_text(c.redact) LOOP
        IF _method IS NULL OR _method NOT IN ('sha256', 'mask', 'last4') THEN
            PERFORM rowhook.refuse(format('redact: "%s" is no way to make column "%s" unreadable', _method, _column), 'Give sha256, mask or last4');
        ELSIF _column = ANY (c.key || c.tenant) THEN
            -- It would be in the event all the same.
            PERFORM rowhook.refuse(format('redact: column "%s" is the row key''s or the tenant''s, which events need as it is', _column),
                                   'Choose another key or tenant, or leave the column out of redact');
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION rowhook.check_redact(c rowhook.capture) IS 'Refuse what can''t be redacted';

CREATE FUNCTION rowhook.check_rule(type text, op text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
BEGIN
    IF check_rule.type IS NULL OR check_rule.type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' THEN
        PERFORM rowhook.refuse(format('type: "%s" is not an event type', check_rule.type), 'Use letters, digits, _ and -, with dots between: bill.paid');
    ELSIF NOT EXISTS (SELECT FROM rowhook.pattern_candidates(check_rule.type) AS p WHERE p = '*') THEN
        PERFORM rowhook.refuse(format('type: "%s" is one of Rowhook''s own', check_rule.type), 'Choose another name');
    ELSIF check_rule.op IS NULL OR check_rule.op NOT IN ('insert', 'update', 'delete') THEN
        PERFORM rowhook.refuse(format('op: "%s" is not an operation that a rule can have', check_rule.op), 'Give one of: insert, update, delete');
    END IF;
END
$_$;

COMMENT ON FUNCTION rowhook.check_rule(type text, op text) IS 'Refuse a rule''s type or operation';

CREATE FUNCTION rowhook.check_sight(c rowhook.capture, was rowhook.capture) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _label text := rowhook.table_label(c.table_name);
    _other text;
BEGIN
    SELECT a.attname INTO _other FROM pg_attribute AS a
     WHERE a.attrelid = c.table_name AND a.attname = ANY (c.key || c.tenant) AND a.attgenerated = 'v' LIMIT 1;
    IF FOUND THEN
        PERFORM rowhook.refuse(format('column "%s" of table %s is a virtual generated column: it can be neither key nor tenant', _other, _label),
                               'Name a column that is stored');
    END IF;
    -- Once it is captured this is no refusal any more, but a finding of doctor's: partitions are attached by whoever may.
    IF c.events = '{}' OR was.events <> '{}' THEN
        RETURN;
    END IF;
    _other := rowhook.table_label(rowhook.captured_above(c.table_name));
    IF _other IS NOT NULL THEN
        PERFORM rowhook.refuse(format('%s is a partition of %s, which is captured: its rows make events there', _label, _other),
                               format('Capture either of them; first: %s', rowhook.uncapture_commands(rowhook.captured_above(c.table_name))));
    END IF;
    _other := rowhook.table_label(rowhook.captured_below(c.table_name));
    IF _other IS NOT NULL THEN
        PERFORM rowhook.refuse(format('%s, a partition of %s, is captured by itself: its rows would make events twice', _other, _label),
                               format('Capture either of them; first: %s', rowhook.uncapture_commands(rowhook.captured_below(c.table_name))));
    END IF;
END
$$;

COMMENT ON FUNCTION rowhook.check_sight(c rowhook.capture, was rowhook.capture) IS 'Refuse what triggers would not see, or would see twice';

CREATE FUNCTION rowhook.check_source(source regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _class pg_class;
    _label text;
BEGIN
    SELECT * INTO _class FROM pg_class WHERE oid = check_source.source;
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(format('there is no table with oid %s', check_source.source::oid), 'Name an existing table');
    END IF;
    _label := rowhook.table_label(check_source.source);
    IF _class.relkind IN ('v', 'm') THEN
        PERFORM rowhook.refuse(format('%s is a view, not a table', _label), 'Capture the tables that it reads' || coalesce(': ' || rowhook.read_by(_class.oid), ''));
    ELSIF _class.relkind NOT IN ('r', 'p', 'f') THEN
        PERFORM rowhook.refuse(format('%s is not a table', _label), 'Name a table');
    ELSIF _class.relnamespace = 'rowhook'::regnamespace THEN
        PERFORM rowhook.refuse(format('%s belongs to Rowhook itself', _label), 'Its events would cause events without end; name a table of your own');
    ELSIF _class.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) OR _class.relpersistence = 't' THEN
        PERFORM rowhook.refuse(format('%s is a system or temporary table', _label), 'Name a table of your own');
    ELSIF _class.relkind = 'f' AND pg_relation_is_updatable(_class.oid, false) & 28 = 0 THEN
        PERFORM rowhook.refuse(format('%s is a foreign table that can only be read', _label), 'Its rows change elsewhere: capture them there');
    END IF;
END
$$;

COMMENT ON FUNCTION rowhook.check_source(source regclass) IS 'Refuse what cannot be captured';

CREATE FUNCTION rowhook.check_verifiable(c rowhook.capture) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _label text := rowhook.table_label(c.table_name);
    _which text := rowhook.capture_label(c.table_name, c.name);
    _cast  record;
BEGIN
    IF c.events = '{}' THEN
        PERFORM rowhook.refuse(format('only rules make events of table %s: they don''t tell of every row', _label),
            format('Capture its rows: rowhook capture %s --events insert,update,delete,truncate', _which));
    END IF;
    IF cardinality(c.key) = 0 THEN
        PERFORM rowhook.refuse(format('table %s has no row key: its rows can''t be told apart', _label),
            format('Give it a primary key, or name unique columns: rowhook capture %s --key …', _which));
    END IF;
    PERFORM rowhook.check_columns(c.table_name, 'key', c.key);
    IF EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.table_name AND a.attname = ANY (c.key) AND NOT a.attnotnull)
       OR NOT EXISTS (
            SELECT FROM pg_index AS i
             WHERE i.indrelid = c.table_name AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
               AND c.key @> ARRAY(SELECT a.attname::text FROM pg_attribute AS a
                                   WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))) THEN
        PERFORM rowhook.refuse(format('the row key of table %s (%s) may be null or the same in several rows: they can''t be told apart',
                _label, array_to_string(c.key, ', ')),
            format('Let the columns be NOT NULL and have a unique index, or choose others: rowhook capture %s --key …', _which));
    END IF;
    -- What follows runs with the rights of who asks: no code of other people's may be called by it.
    IF c.predicate_depends = 'functions' OR c.predicate IS NOT NULL AND NOT rowhook.known_of(c) -> 'columns' @> (c.known -> 'columns') THEN
        PERFORM rowhook.refuse(format('the predicate of %s calls functions that are not Postgres'' own, or may do so since columns have changed, with the rights of %s: %s', _label, current_user, c.predicate),
            format('Say it without them, or once more: rowhook capture %s --when …', _which));
    END IF;
    FOR _cast IN
        SELECT j.column_name, j.type_name, p.oid::regprocedure AS function_name, pg_get_userbyid(p.proowner) AS owner
          FROM (SELECT * FROM rowhook.json_casts(c.table_name)
                UNION ALL
                SELECT a.attname, format_type(a.atttypid, NULL), k.castfunc::regprocedure::text
                  FROM pg_attribute AS a JOIN pg_cast AS k ON k.castsource = a.atttypid AND k.casttarget = 'text'::regtype
                 WHERE a.attrelid = c.table_name AND a.attname = ANY (c.key) AND k.castmethod = 'f' AND k.oid >= 16384) AS j
          JOIN pg_proc AS p ON p.oid = j.function_name::regprocedure
         WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = p.proowner AND (r.rolsuper OR r.rolname = current_user))
    LOOP
        PERFORM rowhook.refuse(format('column "%s" of table %s has type %s, whose cast %s belongs to role %s and would run with the rights of %s',
                _cast.column_name, _label, _cast.type_name, _cast.function_name, _cast.owner, current_user),
            format('Ask as role %s, once that may SELECT on rowhook.event', _cast.owner));
    END LOOP;
END
$$;

COMMENT ON FUNCTION rowhook.check_verifiable(c rowhook.capture) IS 'Refuse a table that events can''t prove';

CREATE FUNCTION rowhook.chosen_sql(c rowhook.capture, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN rowhook.captured_columns(c) IS NOT NULL OR (c).redact IS NOT NULL OR (c).enrich IS NOT NULL OR rowhook.needs_names((c).table_name)
                THEN concat_ws(', ',
        (SELECT string_agg(CASE WHEN (c).redact ? u.col
                    THEN rowhook.redacted_sql(rowhook.column_sql((c).table_name, chosen_sql.row_name, u.col) || '::text', (c).redact ->> u.col)
                    ELSE rowhook.column_sql((c).table_name, chosen_sql.row_name, u.col) END || format(' AS %I', u.col), ', ' ORDER BY u.n)
           FROM unnest(coalesce(rowhook.captured_columns(c), rowhook.columns_of((c).table_name))) WITH ORDINALITY AS u (col, n)),
        (SELECT string_agg(format('%s AS %I', f.value, f.name), ', ' ORDER BY f.name) FROM rowhook.far_values(c, chosen_sql.row_name) AS f)) END
$$;

COMMENT ON FUNCTION rowhook.chosen_sql(c rowhook.capture, row_name text) IS 'What is SELECTed of a row for its event''s data; null: the whole row as it is';

CREATE FUNCTION rowhook.column_sql(source regclass, row_name text, col text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- The expression of a virtual column calls built-in functions only: Postgres refuses others. Its own casts don't show in it.
    SELECT coalesce((SELECT format('(SELECT (%s)::%s FROM (SELECT %s.*) AS rowhook_virtual)', pg_get_expr(d.adbin, d.adrelid),
                                   format_type(a.atttypid, a.atttypmod), column_sql.row_name)
                       FROM pg_attribute AS a JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                      WHERE a.attrelid = column_sql.source AND a.attname = column_sql.col AND a.attgenerated = 'v'),
                    format('%s.%I', column_sql.row_name, column_sql.col))
$$;

COMMENT ON FUNCTION rowhook.column_sql(source regclass, row_name text, col text) IS 'SQL expression of a column''s value as it is read';

CREATE FUNCTION rowhook.columns_of(source regclass) RETURNS text[]
    LANGUAGE sql STABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT array_agg(a.attname::text ORDER BY a.attnum)
      FROM pg_attribute AS a
     WHERE a.attrelid = columns_of.source AND a.attnum > 0 AND NOT a.attisdropped
$$;

COMMENT ON FUNCTION rowhook.columns_of(source regclass) IS 'A table''s columns in order';

CREATE FUNCTION rowhook.compared(event json, present json, definition text, skip text[]) RETURNS rowhook.comparison
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _result rowhook.comparison;
    _again  json;
BEGIN
    SELECT array_agg(coalesce(e.key, p.key) ORDER BY coalesce(e.key, p.key)) FILTER (WHERE e.value::text <> p.value::text),
           array_agg(p.key ORDER BY p.key) FILTER (WHERE e.key IS NULL), array_agg(e.key ORDER BY e.key) FILTER (WHERE p.key IS NULL)
      INTO _result.differ, _result.added, _result.dropped
      FROM json_each(compared.event) AS e FULL JOIN json_each(compared.present) AS p ON p.key = e.key
     WHERE coalesce(e.key, p.key) <> ALL (compared.skip);
    _result.differ := coalesce(_result.differ, '{}');
    IF _result.differ <> '{}' AND compared.definition IS NOT NULL THEN
        -- The writer's settings (TimeZone, bytea_output …) or the column's type may have been others: the same value still.
        BEGIN
            EXECUTE format('SELECT row_to_json(x.*) FROM json_to_record($1) AS x(%s)', compared.definition) INTO _again USING compared.event;
            _result.differ := ARRAY(SELECT d FROM unnest(_result.differ) AS d
                                     WHERE (_again -> d)::text IS DISTINCT FROM (compared.present -> d)::text);
        EXCEPTION WHEN OTHERS THEN
            NULL;  -- not a value of its type any more: they do differ
        END;
    END IF;
    RETURN _result;
EXCEPTION WHEN untranslatable_character OR invalid_text_representation THEN
    RETURN rowhook.compared(rowhook.readable(compared.event), rowhook.readable(compared.present), compared.definition, compared.skip);
END
$_$;

COMMENT ON FUNCTION rowhook.compared(event json, present json, definition text, skip text[]) IS 'Where an event and its row differ';

CREATE FUNCTION rowhook.compared_sql(old_record text, new_record text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- With line feeds, row_to_json puts two bytes more before each column but the first. (No backslashes: they would make the bodies
    -- of generated functions hard to read.)
    SELECT format($sql$(
           SELECT v.*, string_to_array(v.was, ',' || chr(10) || ' ') AS olds, string_to_array(v.becomes, ',' || chr(10) || ' ') AS news,
                  (octet_length(v.becomes) - octet_length(v.data::text)) / 2 + 1 AS columns
             FROM (SELECT row_to_json(%1$s, true)::text AS was, row_to_json(%2$s, true)::text AS becomes, row_to_json(%2$s) AS data OFFSET 0) AS v OFFSET 0)$sql$,
        compared_sql.old_record, compared_sql.new_record)
$_$;

COMMENT ON FUNCTION rowhook.compared_sql(old_record text, new_record text) IS 'SQL of a row that holds an old and a new record as JSON, column by column';

CREATE FUNCTION rowhook.concerned(tag text, altered oid[]) RETURNS SETOF rowhook.capture
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Those of the tables that were altered and of what inherits from them, those that read other tables, those whose table is gone; a
    -- type, a schema, a function may concern any.
    WITH RECURSIVE reached (oid) AS (
        SELECT unnest(concerned.altered)
        UNION SELECT i.inhrelid FROM reached AS p JOIN pg_inherits AS i ON i.inhparent = p.oid
    )
    SELECT c.* FROM rowhook.capture AS c
     WHERE (concerned.tag NOT IN ('ALTER TABLE', 'DROP TABLE', 'ALTER FOREIGN TABLE', 'DROP FOREIGN TABLE') OR c.table_name IN (SELECT r.oid FROM reached AS r)
            OR c.enrich IS NOT NULL OR NOT EXISTS (SELECT FROM pg_class AS t WHERE t.oid = c.table_name))
       AND rowhook.is_behind(c)
     ORDER BY c.id
$$;

COMMENT ON FUNCTION rowhook.concerned(tag text, altered oid[]) IS 'Captures that a command of DDL has left behind';

CREATE FUNCTION rowhook.cost(c rowhook.capture, most integer DEFAULT 1000, OUT op text, OUT rows bigint, OUT bare_us numeric, OUT captured_us numeric) RETURNS SETOF record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $_$
#variable_conflict use_column
DECLARE
    _column     text := (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = c.table_name AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum LIMIT 1);
    _statements text[] := ARRAY['INSERT INTO pg_temp.rowhook_copy SELECT * FROM pg_temp.rowhook_rows',
                                format('UPDATE pg_temp.rowhook_copy SET %1$I = %1$I', _column), 'DELETE FROM pg_temp.rowhook_copy'];
    _copy       rowhook.capture := c;
    _rows       bigint;
    _bare       double precision[];
    _captured   double precision[];
BEGIN
    -- On a copy without indexes, by the functions that would be installed, which belong to whom they would; then all is undone. Each
    -- operation is one statement on all rows. The update changes no value: it shows what looking for changes and rules cost.
    BEGIN
        EXECUTE format('CREATE TEMP TABLE rowhook_rows AS SELECT * FROM %s LIMIT %s', c.table_name, most);
        GET DIAGNOSTICS _rows = ROW_COUNT;
        IF _rows > 0 THEN
            CREATE TEMP TABLE rowhook_copy (LIKE pg_temp.rowhook_rows);
            _bare := rowhook.timed(_statements);
            _copy.id := nextval(pg_get_serial_sequence('rowhook.capture', 'id'));
            _copy.table_name := 'pg_temp.rowhook_copy'::regclass;
            INSERT INTO rowhook.rule (table_name, type, op, predicate, uses_changed)
            SELECT _copy.table_name, r.type, r.op, r.predicate, r.uses_changed FROM rowhook.rule AS r WHERE r.table_name = c.table_name ORDER BY r.id;
            EXECUTE rowhook.capture_ddl(_copy);
            _captured := rowhook.timed(_statements);
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'RH003';
    EXCEPTION
        WHEN SQLSTATE 'RH003' THEN NULL;
        WHEN insufficient_privilege THEN RETURN;  -- not a row may be read, or none be hidden
    END;
    RETURN QUERY SELECT o.op, _rows, round((_bare[o.n] / _rows)::numeric, 2), round((_captured[o.n] / _rows)::numeric, 2)
                   FROM unnest('{insert,update,delete}'::text[]) WITH ORDINALITY AS o (op, n)
                  WHERE _rows > 0 AND o.op = ANY (rowhook.operations(c));
END
$_$;

COMMENT ON FUNCTION rowhook.cost(c rowhook.capture, most integer, OUT op text, OUT rows bigint, OUT bare_us numeric, OUT captured_us numeric) IS 'Microseconds per row of each operation, without and with a capture as planned; measured in a transaction that is undone';

CREATE FUNCTION rowhook.deliver_past(endpoint bigint, since timestamp with time zone, after bigint, upto bigint, batch integer, OUT last_id bigint, OUT made bigint) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _slots smallint[];
BEGIN
    -- Not from slots that are being swept: those events are about to go. The others are held until this has committed.
    SELECT array_agg(s.slot) INTO _slots FROM (SELECT r.slot FROM rowhook.ring AS r WHERE r.seen IS NULL ORDER BY r.slot FOR SHARE) AS s;
    -- An event is either here, or is seen for the first time by a dispatch that knows the endpoint, which was committed before; or
    -- both: then it has its delivery by the time the other comes to it.
    WITH page AS MATERIALIZED (
        SELECT e.id, e.slot, e.kept_in, e.occurred_at, e.op, e.endpoint_id, e.type, e.tenant, e.table_name, e.row_key
          FROM rowhook.event AS e WHERE e.id > deliver_past.after AND e.id <= deliver_past.upto ORDER BY e.id LIMIT deliver_past.batch
    ), made AS (
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, state, due_at)
        SELECT e.id, e.slot, p.id, CASE WHEN p.ordered THEN coalesce(coalesce(e.table_name, '') || ':' || e.row_key, '#' || e.id) END,
               'pending', clock_timestamp()
          FROM page AS e JOIN rowhook.endpoint AS p ON p.id = deliver_past.endpoint AND p.state <> 'removed'
         CROSS JOIN LATERAL (SELECT x.type, x.data, x.previous FROM rowhook.event AS x WHERE x.id = e.id AND x.slot = e.slot LIMIT 1) AS x
         WHERE e.occurred_at >= deliver_past.since AND e.kept_in = ANY (_slots) AND e.op <> 'probe' AND e.endpoint_id IS NULL
           AND (p.tenant IS NULL OR p.tenant = e.tenant)
           AND EXISTS (SELECT FROM rowhook.pattern_candidates(e.type) AS k (pattern) WHERE k.pattern = ANY (p.events))
           AND (p.filter IS NULL OR rowhook.filter_verdict(p.filter, x.type, x.data, x.previous) = 'matched')
         ORDER BY e.id
        ON CONFLICT DO NOTHING RETURNING event_id
    )
    SELECT (SELECT max(page.id) FROM page), (SELECT count(*) FROM made) INTO last_id, made;
END
$$;

COMMENT ON FUNCTION rowhook.deliver_past(endpoint bigint, since timestamp with time zone, after bigint, upto bigint, batch integer, OUT last_id bigint, OUT made bigint) IS 'Deliveries to an endpoint of the next events after an id, up to another, that happened since a time; last_id is null at the end';

CREATE FUNCTION rowhook.drop_ddl(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    SELECT coalesce((SELECT string_agg(format(E'DROP TRIGGER IF EXISTS %I ON %s;\n', t.tgname, (c).table_name), '' ORDER BY t.tgname)
                       FROM pg_trigger AS t WHERE t.tgrelid = (c).table_name AND t.tgparentid = 0
                        AND t.tgname ~ format('^!rowhook_(row_%s|(row|insert|update|delete|truncate)%s)$', (c).id, rowhook.trigger_suffix(c))), '')
        || coalesce((SELECT string_agg(format(E'DROP FUNCTION rowhook.%I();\n', p.proname), '' ORDER BY p.proname)
                       FROM pg_proc AS p WHERE p.pronamespace = 'rowhook'::regnamespace
                        AND p.proname ~ format('^capture_%s_(row|insert|update|delete|truncate)$', (c).id)), '')
$_$;

COMMENT ON FUNCTION rowhook.drop_ddl(c rowhook.capture) IS 'The SQL that removes a capture''s triggers and functions';

CREATE FUNCTION rowhook.emit(type text, data json DEFAULT NULL::json, key text DEFAULT NULL::text, tenant text DEFAULT NULL::text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _id text;
BEGIN
    IF emit.type IS NULL OR emit.type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' THEN
        PERFORM rowhook.refuse(format('type: "%s" is not an event type', emit.type), 'Use letters, digits, _ and -, with dots between: order.shipped');
    ELSIF NOT EXISTS (SELECT FROM rowhook.pattern_candidates(emit.type) AS p WHERE p = '*') THEN
        PERFORM rowhook.refuse(format('type: "%s" is one of Rowhook''s own', emit.type), 'Choose another name');
    END IF;
    INSERT INTO rowhook.event (op, type, row_key, tenant, data, context)
    VALUES ('emit', emit.type, emit.key, emit.tenant, emit.data, rowhook.session_context())
    RETURNING rowhook.public_id('evt', occurred_at, id, slot) INTO _id;
    PERFORM rowhook.ring();
    RETURN _id;
END
$_$;

COMMENT ON FUNCTION rowhook.emit(type text, data json, key text, tenant text) IS 'Write an event by hand, in the present transaction; returns its public id';

CREATE FUNCTION rowhook.empty_slot(slot integer, patience interval) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _ring rowhook.ring;
    _late boolean;
BEGIN
    PERFORM set_config('lock_timeout', greatest(1, extract(epoch FROM empty_slot.patience) * 1000)::int::text, true);
    EXECUTE format('LOCK TABLE ONLY rowhook.event_%s IN ACCESS EXCLUSIVE MODE', empty_slot.slot);
    -- From here on nobody adds to it, and each statement sees all that has committed.
    SELECT r.* INTO _ring FROM rowhook.ring AS r, rowhook.cursor AS c, pg_control_system() AS s
     WHERE r.slot = empty_slot.slot AND r.is_swept AND r.slot <> rowhook.present_slot()
       AND r.system_identifier = s.system_identifier AND c.system_identifier = s.system_identifier;
    IF NOT FOUND THEN
        RETURN 'unswept';
    END IF;
    -- What is in "seen" was dispatched, and swept: it has no deliveries, and got none since. So only the rest is looked for, by the index
    -- over transactions: the lock is held for a moment, however many events there are.
    EXECUTE format($sql$
        SELECT EXISTS (SELECT FROM rowhook.event_%1$s AS e WHERE e.xid >= pg_snapshot_xmax($1))
            OR EXISTS (SELECT FROM pg_snapshot_xip($1) AS x (xid)
                        CROSS JOIN LATERAL (SELECT FROM rowhook.event_%1$s AS e WHERE e.xid = x.xid LIMIT 1) AS e)$sql$, empty_slot.slot)
       INTO _late USING _ring.seen;
    IF _late THEN
        UPDATE rowhook.ring AS r SET seen = NULL, system_identifier = NULL, is_swept = false, archived_in = NULL WHERE r.slot = empty_slot.slot;
        RETURN 'late';
    END IF;
    EXECUTE format('TRUNCATE ONLY rowhook.event_%s', empty_slot.slot);
    UPDATE rowhook.ring AS r
       SET opened_at = NULL, closed_at = NULL, seen = NULL, system_identifier = NULL, is_swept = false, archived_in = NULL
     WHERE r.slot = empty_slot.slot;
    UPDATE rowhook.retention SET emptied_at = clock_timestamp();
    RETURN 'emptied';
END
$_$;

COMMENT ON FUNCTION rowhook.empty_slot(slot integer, patience interval) IS 'Empty a slot that was swept: emptied; late: it holds what was not seen, and is to be swept anew; unswept';

CREATE FUNCTION rowhook.enriched_sql(c rowhook.capture, op text, guarded boolean, body text, bare text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN enriched_sql.body = '' OR enriched_sql.op = 'truncate' OR NOT EXISTS (SELECT FROM rowhook.enrichments(c)) THEN enriched_sql.body
                ELSE CASE WHEN enriched_sql.guarded
                          -- Executed, for no row: rights are looked at only then, and a table that was made anew has none.
                          THEN rowhook.guard_sql(c, (SELECT string_agg(f.value, ', ') FROM rowhook.far_values(c, CASE enriched_sql.op WHEN 'delete' THEN 'rowhook_old' ELSE 'rowhook_new' END) AS f)
                                   || rowhook.guarded_rows_sql(c, enriched_sql.op, 'rowhook_old', 'rowhook_new') || ' LIMIT 0', 'enrich', '_enriched := false;') ELSE '' END
                     || format(E'\n    IF _enriched THEN%s\n    ELSE%s\n    END IF;', enriched_sql.body, enriched_sql.bare) END
$$;

COMMENT ON FUNCTION rowhook.enriched_sql(c rowhook.capture, op text, guarded boolean, body text, bare text) IS 'What is done with further values, and without where they can''t be found';

CREATE FUNCTION rowhook.enrichments(c rowhook.capture, OUT name text, OUT near text, OUT far regclass, OUT far_key text, OUT far_column text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT DISTINCT ON (e.key) e.key, n.attname::text, f.confrelid::regclass, k.attname::text, split_part(e.value, '.', 2)
      FROM jsonb_each_text((c).enrich) AS e
      JOIN pg_attribute AS n ON n.attrelid = (c).table_name AND n.attname = split_part(e.value, '.', 1)
      JOIN pg_constraint AS f ON f.conrelid = n.attrelid AND f.contype = 'f' AND f.conkey = ARRAY[n.attnum]
      JOIN pg_attribute AS k ON k.attrelid = f.confrelid AND k.attnum = f.confkey[1]
     WHERE EXISTS (SELECT FROM pg_attribute AS v WHERE v.attrelid = f.confrelid AND v.attname = split_part(e.value, '.', 2) AND v.attnum > 0)
     ORDER BY e.key, f.conname
$$;

COMMENT ON FUNCTION rowhook.enrichments(c rowhook.capture, OUT name text, OUT near text, OUT far regclass, OUT far_key text, OUT far_column text) IS 'Where a capture''s further values are found: the row that a foreign key leads to';

CREATE FUNCTION rowhook.event_sql(c rowhook.capture, op text, type text, row_key text, tenant text, data text, keys text, source text, previous text DEFAULT 'NULL'::text, moved text DEFAULT 'false'::text, old_keys text DEFAULT 'NULL'::text, condition text DEFAULT ''::text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- All but "source" and "condition" are expressions of one event. Where there is a limit of size, data and previous are computed
    -- once and measured.
    SELECT format($sql$
    INSERT INTO rowhook.event (occurred_at, slot, kept_in, context, looped, op, type, table_name, row_key, tenant, moved, data, previous%s)
    SELECT rowhook_now.at, rowhook_now.slot, rowhook_now.slot, rowhook_now.context,
           CASE WHEN rowhook_now.chain IS NOT NULL THEN rowhook.looped(rowhook_now.chain, %s, %5$L, (%6$s)::text) END,
           %4$s, %2$s, %5$L, %6$s, %7$s, %8$s, %9$s%3$s%10$s;$sql$,
        CASE WHEN (c).max_size IS NULL THEN '' ELSE ', truncated' END,
        event_sql.type, event_sql.source, event_sql.op, rowhook.table_label((c).table_name), event_sql.row_key, event_sql.tenant, event_sql.moved,
        CASE WHEN (c).max_size IS NULL THEN event_sql.data || ', ' || event_sql.previous
             ELSE format('CASE WHEN rowhook_size.big THEN %s ELSE rowhook_size.data END, CASE WHEN rowhook_size.big THEN %s ELSE rowhook_size.previous END, nullif(rowhook_size.big, false)',
                         event_sql.keys, event_sql.old_keys) END,
        CASE WHEN (c).max_size IS NULL THEN '' ELSE format($sql$
     %s (SELECT v.data, v.previous, octet_length(v.data::text) + coalesce(octet_length(v.previous::text), 0) > %s AS big
           FROM (SELECT %s AS data, (%s)::json AS previous OFFSET 0) AS v OFFSET 0) AS rowhook_size$sql$,
             CASE event_sql.source WHEN '' THEN 'FROM' ELSE 'CROSS JOIN LATERAL' END, (c).max_size, event_sql.data, event_sql.previous) END
        || event_sql.condition)
$_$;

COMMENT ON FUNCTION rowhook.event_sql(c rowhook.capture, op text, type text, row_key text, tenant text, data text, keys text, source text, previous text, moved text, old_keys text, condition text) IS 'An INSERT of events';

CREATE FUNCTION rowhook.events_sql(c rowhook.capture, op text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    SELECT CASE
    WHEN events_sql.op <> ALL ((c).events) THEN ''
    WHEN events_sql.op = 'truncate' THEN rowhook.event_sql(c, $sql$'truncate'$sql$, quote_literal((c).type_prefix || '.truncated'), 'NULL', 'NULL', 'NULL::json', 'NULL', '')
    WHEN (c).mode = 'row' THEN CASE events_sql.op
        WHEN 'insert' THEN rowhook.insert_sql(c, 'insert', 'created', 'rowhook_new', E'\n      FROM ' || rowhook.row_sql(c, 'new') || ' AS rowhook_new')
        WHEN 'delete' THEN rowhook.insert_sql(c, 'delete', 'deleted', 'rowhook_old', E'\n      FROM ' || rowhook.row_sql(c, 'old') || ' AS rowhook_old')
        -- OFFSET 0 keeps the planner from computing the payload once for every place that uses it.
        ELSE rowhook.update_sql(c, rowhook.side_sql(c, 'rowhook_old', '1', format(' FROM %s AS rowhook_old OFFSET 0', rowhook.row_sql(c, 'old'))) || ' AS o CROSS JOIN '
                || rowhook.side_sql(c, 'rowhook_new', '1', format(' FROM %s AS rowhook_new OFFSET 0', rowhook.row_sql(c, 'new'))) || ' AS n', (c).tenant IS NOT NULL) END
    ELSE CASE events_sql.op
        WHEN 'insert' THEN rowhook.insert_sql(c, 'insert', 'created', 'rowhook_new', ' FROM rowhook_new_rows AS rowhook_new')
        WHEN 'delete' THEN rowhook.insert_sql(c, 'delete', 'deleted', 'rowhook_old', ' FROM rowhook_old_rows AS rowhook_old')
        -- The two transition tables are in the same order: pairing by ordinal is right even when keys change. FULL JOIN, though none
        -- is left over: it is never done row by row, as the planner would think right where a session's first update was of one row.
        ELSE format($sql$
    IF (SELECT count(*) FROM rowhook_old_rows) = (SELECT count(*) FROM rowhook_new_rows) THEN%s
    ELSE%s
    END IF;$sql$, rowhook.update_sql(c, p.old_rows || ' AS o FULL JOIN ' || p.new_rows || ' AS n ON n.i = o.i', (c).tenant IS NOT NULL),
                  rowhook.update_sql(c, p.old_rows || ' AS o FULL JOIN ' || p.new_rows || ' AS n ON n.k = o.k', true)) END
    END
    FROM (SELECT rowhook.side_sql(c, 'rowhook_old', 'row_number() OVER ()', ' FROM rowhook_old_rows AS rowhook_old') AS old_rows,
                 rowhook.side_sql(c, 'rowhook_new', 'row_number() OVER ()', ' FROM rowhook_new_rows AS rowhook_new') AS new_rows) AS p
$_$;

COMMENT ON FUNCTION rowhook.events_sql(c rowhook.capture, op text) IS 'The INSERTs of the events of one operation, rules apart';

CREATE FUNCTION rowhook.execute_own(ddl text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    -- What Rowhook does to triggers and functions is no DDL that captures have to follow.
    PERFORM set_config('rowhook.at_work', 'on', true);
    EXECUTE ddl;
    PERFORM set_config('rowhook.at_work', '', true);
END
$$;

COMMENT ON FUNCTION rowhook.execute_own(ddl text) IS 'Execute DDL of Rowhook''s own, which no capture follows';

CREATE FUNCTION rowhook.far_values(c rowhook.capture, row_name text, OUT name text, OUT value text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT e.name, format('(SELECT rowhook_far.%I FROM %s AS rowhook_far WHERE rowhook_far.%I = %s.%I)', e.far_column, e.far, e.far_key, far_values.row_name, e.near)
      FROM rowhook.enrichments(c) AS e ORDER BY e.name
$$;

COMMENT ON FUNCTION rowhook.far_values(c rowhook.capture, row_name text, OUT name text, OUT value text) IS 'A capture''s further values, and the SQL expressions that find them';

CREATE FUNCTION rowhook.filter_document(type text, data json, previous json, context json DEFAULT NULL::json) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF coalesce(octet_length(filter_document.data::text), 0) + coalesce(octet_length(filter_document.previous::text), 0) > 1048576 THEN
        RETURN to_jsonb('failed: the event is larger than 1 MiB, and filters are not evaluated on such'::text);
    END IF;
    RETURN jsonb_build_object('type', filter_document.type, 'data', filter_document.data, 'previous', filter_document.previous,
                              'context', filter_document.context);
EXCEPTION WHEN OTHERS THEN  -- what json can say and jsonb can't: \u0000, a number of 200,000 digits, nesting without end
    RETURN to_jsonb('failed: the event can not be read by filters (' || SQLERRM || ')');
END
$$;

COMMENT ON FUNCTION rowhook.filter_document(type text, data json, previous json, context json) IS 'An event as filters see it, an object; a text where it can''t be read: why';

CREATE FUNCTION rowhook.filter_fault(filter text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _path jsonpath;
    _bare text;  -- without the texts and names in it
    _flat text;
    _found jsonb;
BEGIN
    IF length(filter_fault.filter) > 500 THEN
        RETURN ARRAY[format('the filter has %s characters', length(filter_fault.filter)), 'give 500 at most'];
    END IF;
    _path := filter_fault.filter::jsonpath;
    _bare := regexp_replace(_path::text, '"(\\.|[^"\\])*"', '""', 'g');
    IF _bare ~ 'like_regex|\*\*|\.keyvalue\(|,' THEN
        RETURN ARRAY['like_regex, **, keyvalue() and lists of subscripts have no place in a filter: their time has no bound',
                     'compare with ==, <> or <, or by starts with'];
    ELSIF _bare ~ '\$""' THEN
        RETURN ARRAY['the filter has a variable, and nobody gives it a value', 'write the value itself'];
    END IF;
    LOOP  -- what is in brackets goes, from within, as long as it doesn't begin at the root
        _flat := regexp_replace(coalesce(_flat, _bare), '\([^()$]*\)', '', 'g');
        EXIT WHEN _flat !~ '\([^()$]*\)';
    END LOOP;
    IF _flat ~ '\?\(' THEN
        RETURN ARRAY['an expression within ?(…) begins at $, and would be looked for again for each value', 'say @ there'];
    ELSIF rowhook.filter_pairs(filter_fault.filter) > 4 THEN
        RETURN ARRAY['more than 4 comparisons have no literal value on either side', 'give fewer'];
    END IF;
    _found := jsonb_path_query_array('{"type": "a", "data": {}, "previous": {}, "context": {}}', _path, silent => true);
    IF jsonb_array_length(_found) <> 1 OR jsonb_typeof(_found -> 0) NOT IN ('boolean', 'null') OR _bare IN ('true', 'false', 'null') THEN
        RETURN ARRAY['the filter is no predicate: it gives a value, not true or false',
                     'compare, e.g. $.data.amount > 1000, or say exists($.data.amount)'];
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN ARRAY['the filter is no SQL/JSON path (' || SQLERRM || ')', 'give one over type, data, previous and context: $.data.amount > 1000'];
END
$_$;

COMMENT ON FUNCTION rowhook.filter_fault(filter text) IS 'Why a text can be no endpoint''s filter, and what would be right; null: it can';

CREATE FUNCTION rowhook.filter_pairs(filter text) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _operator constant text := '(?:==|!=|<=|>=|<|>)';
    _literal constant text := '(?:""|-?[0-9.]+(?:[eE][-+]?[0-9]+)?|true|false|null)(?:\.[a-z_]+\([^()]*\))*';
    _bare text := regexp_replace(filter::jsonpath::text, '"(\\.|[^"\\])*"', '""', 'g');
BEGIN
    _bare := regexp_replace(_bare, ' ' || _operator || ' ' || _literal || '(?=\)| &&| \|\|)', '', 'g');
    _bare := regexp_replace(_bare, '(\(|&& |\|\| )' || _literal || ' ' || _operator || ' ', '\1', 'g');
    RETURN (SELECT count(*) FROM regexp_matches(_bare, ' ' || _operator || ' ', 'g'));
END
$$;

COMMENT ON FUNCTION rowhook.filter_pairs(filter text) IS 'How many comparisons of a filter have no literal on either side: each may compare every value with every other';

CREATE FUNCTION rowhook.filter_values(document text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT
    BEGIN ATOMIC
 SELECT (
         CASE
             WHEN ((octet_length(document) - octet_length(replace(document, ','::text, ''::text))) > 500) THEN ( SELECT (octet_length(t.bare) - octet_length(replace(t.bare, ','::text, ''::text)))
                FROM ( SELECT regexp_replace(filter_values.document, '"(\\.|[^"\\])*"'::text, ''::text, 'g'::text) AS bare) t)
             ELSE 0
         END + 1);
END;

COMMENT ON FUNCTION rowhook.filter_values(document text) IS 'How many values the JSON holds at most, roughly, where they are many';

CREATE FUNCTION rowhook.filter_verdict(filter text, document jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _holds boolean;
BEGIN
    IF jsonb_typeof(filter_verdict.document) = 'string' THEN
        RETURN filter_verdict.document #>> '{}';
    ELSIF pg_column_size(filter_verdict.document) > 2048 AND rowhook.filter_pairs(filter_verdict.filter) > 0
          AND rowhook.filter_values(filter_verdict.document::text) > 500 THEN
        RETURN 'failed: the event has more than 500 values, and the filter compares them with each other';
    END IF;
    IF pg_column_size(filter_verdict.document)::bigint * length(filter_verdict.filter) > 100000000 THEN
        RETURN 'failed: the event is too large for so long a filter';
    END IF;
    _holds := jsonb_path_match(filter_verdict.document, filter_verdict.filter::jsonpath);
    RETURN CASE WHEN _holds THEN 'matched' WHEN NOT _holds THEN 'not matched' ELSE 'unknown' END;
EXCEPTION WHEN OTHERS THEN
    RETURN 'failed: ' || SQLERRM;
END
$$;

COMMENT ON FUNCTION rowhook.filter_verdict(filter text, document jsonb) IS 'What a filter says of an event: matched; not matched; unknown (something can''t be compared), which is no match; failed: and why';

CREATE FUNCTION rowhook.filter_verdict(filter text, type text, data json, previous json, context json DEFAULT NULL::json) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT rowhook.filter_verdict(filter, rowhook.filter_document(type, data, previous, context)) AS filter_verdict;
END;

COMMENT ON FUNCTION rowhook.filter_verdict(filter text, type text, data json, previous json, context json) IS 'The same, of an event as it is stored';

CREATE FUNCTION rowhook.filters_take_too_long(is_alone boolean) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF filters_take_too_long.is_alone THEN
        RETURN 'failed: the filters of all endpoints took too long on this event';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'RH002', MESSAGE = 'the filters take too long on so many events at once';
END
$$;

COMMENT ON FUNCTION rowhook.filters_take_too_long(is_alone boolean) IS 'Dispatch: fewer events at once, please; where there is one only, it fails';

CREATE FUNCTION rowhook.fingerprint(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Without the table's oid, which a restore changes.
    SELECT md5(regexp_replace(regexp_replace(rowhook.capture_ddl(c), '^(DROP|GRANT) [^\n]*\n', '', 'gn'), '''+[0-9]+''+::regclass', '', 'g'))
$$;

COMMENT ON FUNCTION rowhook.fingerprint(c rowhook.capture) IS 'Of the SQL that a capture is made of';

CREATE FUNCTION rowhook.follow(c rowhook.capture) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _plan   rowhook.capture;
    _enrich jsonb;
    _anew   boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class AS t WHERE t.oid = c.table_name) THEN
        PERFORM rowhook.note_version(c, tell => true);
        RETURN 'dropped';
    END IF;
    IF c.name = '' THEN
        PERFORM rowhook.set_rules_aside(c.table_name);
    END IF;
    _plan := rowhook.capture_plan(c.table_name, name => c.name);
    _enrich := _plan.enrich;
    -- No right is granted here: a foreign key may have been led elsewhere by somebody who may not read there.
    _plan.enrich := (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(_plan.enrich) AS e WHERE NOT rowhook.lacks_rights(_plan, e.key));
    _plan.fingerprint := rowhook.fingerprint(_plan);
    _anew := _plan.mode <> c.mode OR (SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = c.table_name AND quote_ident(t.tgname) = ANY (rowhook.trigger_names(_plan)))
                                     <> cardinality(rowhook.trigger_names(_plan));
    IF _anew AND NOT rowhook.holds_exclusively(c.table_name) THEN
        _plan.mode := c.mode;  -- for somebody who waits for the table's lock with patience
        _plan.fingerprint := 'its mode is another';
        _anew := false;
    END IF;
    IF _plan.key IS DISTINCT FROM c.key THEN
        _plan.labels := NULL;
    END IF;
    _plan := rowhook.begun(_plan);
    UPDATE rowhook.capture AS w
       SET (installed_at, mode, tenant, include, exclude, key, redact, enrich, predicate_depends, known, fingerprint, labels, since_event, since_xid, began_empty)
         = (_plan.installed_at, _plan.mode, _plan.tenant, _plan.include, _plan.exclude, _plan.key, _plan.redact, _enrich, _plan.predicate_depends, _plan.known,
            _plan.fingerprint, _plan.labels, _plan.since_event, _plan.since_xid, _plan.began_empty)
     WHERE w.id = c.id;
    PERFORM rowhook.execute_own(CASE WHEN _anew THEN rowhook.drop_ddl(c) || rowhook.functions_ddl(_plan) || rowhook.triggers_ddl(_plan)
                                     ELSE rowhook.functions_ddl(_plan) END);
    _plan.enrich := _enrich;
    PERFORM rowhook.note_version(_plan, tell => true);
    RETURN 'followed';
END
$$;

COMMENT ON FUNCTION rowhook.follow(c rowhook.capture) IS 'Take over what has become of a captured table: functions anew, rules that fit, a version';

CREATE FUNCTION rowhook.follow_ddl() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '500ms'
    AS $$
DECLARE
    _capture rowhook.capture;
BEGIN
    -- Rowhook's own DDL. Who says so of theirs is followed later.
    IF current_setting('rowhook.at_work', true) = 'on' THEN
        RETURN;
    END IF;
    FOR _capture IN
        SELECT c.* FROM rowhook.concerned(TG_TAG, ARRAY(SELECT d.objid FROM pg_event_trigger_ddl_commands() AS d WHERE d.classid = 'pg_class'::regclass)) AS c
    LOOP
        BEGIN
            PERFORM rowhook.follow(_capture);
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO rowhook.capture_failure (table_name, name, op, sqlstate, message)
            VALUES (_capture.labels[cardinality(_capture.labels)], _capture.name, TG_TAG, SQLSTATE, 'the schema''s change waits for rowhook run: ' || SQLERRM);
        END;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'Rowhook could not follow this change of the schema: %', SQLERRM USING HINT = 'rowhook run does, when it is started; rowhook doctor says what waits';
END
$$;

COMMENT ON FUNCTION rowhook.follow_ddl() IS 'Event trigger function: captures follow what DDL does to their tables, in its transaction';

CREATE FUNCTION rowhook.followed(c rowhook.capture) RETURNS rowhook.capture
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF c.known = rowhook.known_of(c) THEN
        RETURN c;
    END IF;
    c.tenant := rowhook.renamed(c, c.tenant);
    c.key := ARRAY(SELECT rowhook.renamed(c, u.col) FROM unnest(c.key) WITH ORDINALITY AS u (col, n) ORDER BY u.n);
    c.include := (SELECT array_agg(rowhook.renamed(c, u.col) ORDER BY u.n) FROM unnest(c.include) WITH ORDINALITY AS u (col, n));
    c.exclude := (SELECT array_agg(rowhook.renamed(c, u.col) ORDER BY u.n) FROM unnest(c.exclude) WITH ORDINALITY AS u (col, n));
    c.redact := (SELECT jsonb_object_agg(rowhook.renamed(c, e.key), e.value) FROM jsonb_each(c.redact) AS e);
    -- The foreign key by its column, the value by its column's number in the other table, while that is the same one.
    c.enrich := (SELECT jsonb_object_agg(e.key, format('%s.%s', rowhook.renamed(c, split_part(e.value, '.', 1)),
                            coalesce(a.attname, split_part(e.value, '.', 2))))
                   FROM jsonb_each_text(c.enrich) AS e
                   LEFT JOIN pg_attribute AS a ON a.attrelid = (c.known #>> ARRAY['far', e.key, '0'])::oid AND NOT a.attisdropped
                         AND a.attnum = (c.known #>> ARRAY['far', e.key, '1'])::smallint AND c.known ->> 'origin' = rowhook.origin_of(c.table_name));
    RETURN c;
END
$$;

COMMENT ON FUNCTION rowhook.followed(c rowhook.capture) IS 'A capture whose options name columns as they are called now';

CREATE FUNCTION rowhook.function_sql(c rowhook.capture, name text, body text, rules text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- Time and slot once for all rows, where the columns' own defaults would be computed for each; named by their block, as a
    -- captured column may be called "at". The transaction's id is left to its default: a statement that changes no row takes none.
    -- What the session says of itself is looked for once a statement, all of it in one expression, which ignores what is null.
    -- FOUND and TG_OP have other names in the innermost block: a column's null, further out, may be called as they are.
    SELECT format($sql$CREATE OR REPLACE FUNCTION rowhook.%1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp%5$s
AS %2$L;
COMMENT ON FUNCTION rowhook.%1$I() IS %3$L;
SELECT rowhook.give_to_capture_owner(%4$L);
$sql$, function_sql.name, format($sql$
#variable_conflict use_column
%s<<rowhook_now>>
DECLARE
    at     timestamptz := clock_timestamp();
    slot   smallint    := coalesce(pg_sequence_last_value('rowhook.present_slot'::regclass), 0)::smallint;
    context json;
    chain   text;
    _now   double precision;
    _armed bigint;
    _wrote ALIAS FOR %s.found;
    _op    ALIAS FOR %s.tg_op;%s
BEGIN
    IF greatest(current_setting('rowhook.actor', true), current_setting('rowhook.correlation_id', true), current_setting('rowhook.traceparent', true),
                current_setting('rowhook.context', true), current_setting('rowhook.skip', true)) <> '' THEN
        IF rowhook.skips() THEN RETURN NULL; END IF;
        context := rowhook.session_context();
        chain := context ->> 'correlation_id';
    END IF;%s
    RETURN NULL;
END%s
$sql$, coalesce(rowhook.nulls_sql(c), ''),  -- old and new are tables' names in rules: hence use_column
       quote_ident(function_sql.name), quote_ident(function_sql.name),
       CASE function_sql.rules WHEN '' THEN '' ELSE E'\n    _found boolean := false;\n    _broken text[] := \'{}\';' END
           || CASE WHEN EXISTS (SELECT FROM rowhook.enrichments(c)) THEN E'\n    _enriched boolean := true;' ELSE '' END
           || CASE WHEN (c).predicate IS NULL THEN '' ELSE E'\n    _captured boolean := true;' END
           || CASE WHEN function_sql.rules <> '' AND (c).on_error = 'record' THEN E'\n    _rule  text;' ELSE '' END,
       rowhook.steps_sql(c, function_sql.body, function_sql.rules),
       CASE WHEN rowhook.nulls_sql(c) IS NULL THEN '' ELSE E';\nEND;\nEND' END),
       'Capture of ' || rowhook.table_label((c).table_name), format('rowhook.%I()', function_sql.name), rowhook.settings_sql(c))
$_$;

COMMENT ON FUNCTION rowhook.function_sql(c rowhook.capture, name text, body text, rules text) IS 'CREATE FUNCTION of a trigger function';

CREATE FUNCTION rowhook.functions_ddl(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN (c).mode = 'row' AND rows.operations <> '{}'
        THEN rowhook.function_sql(c, format('capture_%s_row', (c).id),
                rowhook.by_operation_sql(rows.operations, ARRAY(SELECT rowhook.body_sql(c, op) FROM unnest(rows.operations) WITH ORDINALITY AS o (op, n) ORDER BY n)),
                rowhook.by_operation_sql(rows.operations, ARRAY(SELECT rowhook.rules_sql(c, op) FROM unnest(rows.operations) WITH ORDINALITY AS o (op, n) ORDER BY n)))
        ELSE '' END
    || coalesce((SELECT string_agg(rowhook.function_sql(c, format('capture_%s_%s', (c).id, op), rowhook.body_sql(c, op), rowhook.rules_sql(c, op)), '' ORDER BY n)
                   FROM unnest(rowhook.operations(c)) WITH ORDINALITY AS o (op, n)
                  WHERE op = 'truncate' OR (c).mode = 'statement'), '')
      FROM (SELECT array_remove(rowhook.operations(c), 'truncate') AS operations) AS rows
$$;

COMMENT ON FUNCTION rowhook.functions_ddl(c rowhook.capture) IS 'The SQL that makes a capture''s functions, or makes them anew';

CREATE FUNCTION rowhook.give_to_capture_owner(signature text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _owner text := rowhook.capture_owner();
BEGIN
    -- A trigger function needs no EXECUTE to be run by its trigger; who has it could bind the function to a table of theirs.
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
    IF pg_get_userbyid((SELECT p.proowner FROM pg_proc AS p WHERE p.oid = signature::regprocedure)) = _owner THEN
        NULL;  -- made anew, it keeps its owner
    ELSIF (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        EXECUTE format('ALTER FUNCTION %s OWNER TO %I', signature, _owner);
    ELSIF _owner <> current_user THEN
        -- The new owner must be able to create in the schema at this moment, and at no other.
        EXECUTE format('GRANT CREATE ON SCHEMA rowhook TO %I', _owner);
        EXECUTE format('ALTER FUNCTION %s OWNER TO %I', signature, _owner);
        EXECUTE format('REVOKE CREATE ON SCHEMA rowhook FROM %I', _owner);
    END IF;
END
$$;

COMMENT ON FUNCTION rowhook.give_to_capture_owner(signature text) IS 'Make a trigger function belong to the role without power';

CREATE FUNCTION rowhook.grant_past() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    GRANT EXECUTE ON FUNCTION rowhook.deliver_past(bigint, timestamptz, bigint, bigint, integer) TO rowhook_relay;
END
$$;

COMMENT ON FUNCTION rowhook.grant_past() IS 'The right with which rowhook_relay gives an endpoint its past';

CREATE FUNCTION rowhook.grant_record_to_relay() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _record record;
BEGIN
    -- The record of migrations, which a relay reads when it starts, is where new tables went when it was made.
    FOR _record IN
        SELECT c.oid::regclass AS name, n.nspname AS schema
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relname = '_yoyo_migration' AND c.relkind = 'r' AND c.relpersistence <> 't'
           AND pg_has_role(current_user, c.relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT SELECT (migration_id) ON %s TO rowhook_relay', _record.name);
        IF NOT has_schema_privilege('rowhook_relay', _record.schema, 'USAGE') THEN
            BEGIN
                EXECUTE format('GRANT USAGE ON SCHEMA %I TO rowhook_relay', _record.schema);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE WARNING 'role % may not let rowhook_relay into schema %, where the record of migrations is', current_user, _record.schema
                    USING HINT = format('Let its owner run: GRANT USAGE ON SCHEMA %I TO rowhook_relay', _record.schema);
            END;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION rowhook.grant_record_to_relay() IS 'Let rowhook_relay see which migrations were applied';

CREATE FUNCTION rowhook.grant_retention() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    -- Of an event a relay may change nothing but where it is kept; a slot it may empty, and no event may it delete.
    GRANT UPDATE (kept_in) ON rowhook.event TO rowhook_relay;
    FOR _slot IN 0..9 LOOP
        EXECUTE format('GRANT SELECT, TRUNCATE ON rowhook.event_%s TO rowhook_relay', _slot);
    END LOOP;
    GRANT DELETE ON rowhook.delivery, rowhook.attempt TO rowhook_relay;
    IF current_setting('server_version_num')::int >= 170000 THEN  -- before, only their owner may vacuum them, or autovacuum does
        EXECUTE 'GRANT MAINTAIN ON rowhook.delivery, rowhook.attempt TO rowhook_relay';
    END IF;
    GRANT SELECT, DELETE ON rowhook.capture_failure TO rowhook_relay;
    GRANT UPDATE (removed_id) ON rowhook.horizon TO rowhook_relay;
    GRANT SELECT, UPDATE ON rowhook.ring, rowhook.retention TO rowhook_relay;
    GRANT EXECUTE ON FUNCTION rowhook.slot_is_filled(integer), rowhook.present_slot(), rowhook.survey_ring(), rowhook.turn_ring(interval),
        rowhook.begin_sweep(integer), rowhook.sweep_slot(integer, bigint, integer, timestamptz), rowhook.empty_slot(integer, interval),
        rowhook.archived(rowhook.event), rowhook.refuse(text, text) TO rowhook_relay;
END
$$;

COMMENT ON FUNCTION rowhook.grant_retention() IS 'The rights with which rowhook_relay keeps house';

CREATE FUNCTION rowhook.grant_to_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _view regclass;
BEGIN
    IF to_regrole('rowhook_capture') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_capture;
        GRANT INSERT ON rowhook.event, rowhook.capture_failure TO rowhook_capture;
        GRANT SELECT ON SEQUENCE rowhook.doorbell, rowhook.present_slot TO rowhook_capture;
        GRANT EXECUTE ON FUNCTION rowhook.ring(), rowhook.changed(json, json), rowhook.changed_columns(json, json), rowhook.readable(json)
            TO rowhook_capture;
        -- Made by a later migration, which calls this again.
        IF to_regclass('rowhook.chain') IS NOT NULL THEN
            GRANT SELECT, INSERT, UPDATE, DELETE ON rowhook.chain TO rowhook_capture;
            GRANT EXECUTE ON FUNCTION rowhook.session_context(), rowhook.skips(), rowhook.loop_limit(), rowhook.loops(text, text, text, text),
                rowhook.looped(text, text, text, text) TO rowhook_capture;
        END IF;
    END IF;
    IF to_regrole('rowhook_relay') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_relay;
        -- Of an event nothing can be changed but, after a restore into another cluster, the transaction id.
        GRANT SELECT, INSERT, UPDATE (xid) ON rowhook.event TO rowhook_relay;
        GRANT SELECT, INSERT, UPDATE ON rowhook.endpoint, rowhook.secret, rowhook.delivery, rowhook.attempt TO rowhook_relay;
        GRANT SELECT, INSERT, UPDATE, DELETE ON rowhook.instance TO rowhook_relay;
        GRANT SELECT, INSERT, UPDATE ON rowhook.rate_clock TO rowhook_relay;
        GRANT SELECT, UPDATE ON rowhook.cursor TO rowhook_relay;
        GRANT SELECT, UPDATE (xid) ON rowhook.horizon TO rowhook_relay;
        GRANT UPDATE (rung_at) ON rowhook.probe TO rowhook_relay;
        GRANT SELECT, UPDATE ON SEQUENCE rowhook.doorbell, rowhook.present_slot TO rowhook_relay;
        GRANT USAGE ON SEQUENCE rowhook.secret_id_seq TO rowhook_relay;
        GRANT SELECT ON SEQUENCE rowhook.attempt_id_seq TO rowhook_relay;  -- how far recording has come, for those who stream
        -- The API's catalog of event types, and what it is asked to emit.
        GRANT SELECT ON rowhook.capture, rowhook.rule TO rowhook_relay;
        IF to_regclass('rowhook.schema_version') IS NOT NULL THEN
            PERFORM rowhook.grant_versions();
        END IF;
        GRANT EXECUTE ON FUNCTION rowhook.emit(text, json, text, text), rowhook.refuse(text, text) TO rowhook_relay;
        GRANT EXECUTE ON FUNCTION rowhook.ring(), rowhook.public_id(text, timestamptz, bigint, smallint),
            rowhook.pattern_candidates(text), rowhook.rate_gap(text), rowhook.filters_take_too_long(boolean),
            rowhook.filter_fault(text), rowhook.filter_pairs(text), rowhook.filter_values(text), rowhook.filter_document(text, json, json, json),
            rowhook.filter_verdict(text, jsonb), rowhook.filter_verdict(text, text, json, json, json) TO rowhook_relay;
        IF to_regclass('rowhook.ring') IS NOT NULL THEN
            PERFORM rowhook.grant_retention();
        END IF;
        IF to_regclass('rowhook.chain') IS NOT NULL THEN  -- emit() asks what the session says
            GRANT EXECUTE ON FUNCTION rowhook.session_context() TO rowhook_relay;
        END IF;
        -- Made by a later migration, which calls this again. The log is added to, and never mended.
        IF to_regclass('rowhook.admin_log') IS NOT NULL THEN
            GRANT SELECT, INSERT ON rowhook.admin_log TO rowhook_relay;
            GRANT SELECT, INSERT, UPDATE, DELETE ON rowhook.idempotency TO rowhook_relay;
        END IF;
        IF to_regclass('rowhook.backfill') IS NOT NULL THEN
            PERFORM rowhook.grant_past();
        END IF;
        IF to_regprocedure('rowhook.look(bigint, bigint, boolean, integer, bigint, integer, bigint, integer, bigint[], integer[])') IS NOT NULL THEN
            GRANT EXECUTE ON FUNCTION rowhook.look(bigint, bigint, boolean, integer, bigint, integer, bigint, integer, bigint[], integer[]) TO rowhook_relay;
        END IF;
        PERFORM rowhook.grant_record_to_relay();
    END IF;
    IF to_regrole('rowhook_skip') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_skip;  -- so that it stays while any database of the cluster has it
    END IF;
    IF to_regrole('rowhook_reader') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_reader;
        -- A view reads its tables as its owner, but calls functions as who asks.
        GRANT EXECUTE ON FUNCTION rowhook.public_id(text, timestamptz, bigint, smallint) TO rowhook_reader;
        FOR _view IN SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'rowhook'::regnamespace AND c.relkind = 'v' LOOP
            EXECUTE format('GRANT SELECT ON %s TO rowhook_reader', _view);
        END LOOP;
    END IF;
END
$$;

COMMENT ON FUNCTION rowhook.grant_to_roles() IS 'Every right that the three roles have in this database';

CREATE FUNCTION rowhook.grant_versions() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    GRANT SELECT ON rowhook.schema_version TO rowhook_relay;
END
$$;

COMMENT ON FUNCTION rowhook.grant_versions() IS 'What rowhook_relay may do with versions of schemas: tell of them';

CREATE FUNCTION rowhook.grants_sql(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- What the owner of the capture's functions needs to find them: SELECT on two columns, and no more.
    SELECT coalesce(string_agg(DISTINCT g.statement, ''), '')
      FROM rowhook.enrichments(c) AS e
      JOIN pg_class AS t ON t.oid = e.far
     CROSS JOIN LATERAL (VALUES
        (format(E'GRANT USAGE ON SCHEMA %s TO %I;\n', t.relnamespace::regnamespace, rowhook.capture_owner()),
         has_schema_privilege(rowhook.capture_owner(), t.relnamespace, 'USAGE')),
        (format(E'GRANT SELECT (%I, %I) ON %s TO %I;\n', e.far_key, e.far_column, e.far, rowhook.capture_owner()),
         has_column_privilege(rowhook.capture_owner(), e.far, e.far_key, 'SELECT') AND has_column_privilege(rowhook.capture_owner(), e.far, e.far_column, 'SELECT')))
        AS g (statement, granted)
     WHERE NOT g.granted
$$;

COMMENT ON FUNCTION rowhook.grants_sql(c rowhook.capture) IS 'The rights that a capture''s functions lack for its further values';

CREATE FUNCTION rowhook.guard_sql(c rowhook.capture, query text, says text, otherwise text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- Does Postgres still understand this? The query is parsed again whenever something that it names has changed, and evaluates
    -- nothing, so what is caught can have no other cause. The subtransaction writes nothing: it takes no transaction id.
    SELECT format($sql$
    BEGIN
        PERFORM %s;
    EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR feature_not_supported OR invalid_schema_name OR internal_error THEN
        %s%s
    END;$sql$, guard_sql.query, guard_sql.otherwise,
        CASE WHEN guard_sql.says IS NULL THEN '' ELSE format($sql$
        INSERT INTO rowhook.capture_failure (table_name, name, op, sqlstate, message) VALUES (%L, %L, _op, SQLSTATE, %L || SQLERRM);$sql$,
            rowhook.table_label((c).table_name), (c).name, guard_sql.says || ' is set aside: ') END)
$_$;

COMMENT ON FUNCTION rowhook.guard_sql(c rowhook.capture, query text, says text, otherwise text) IS 'What keeps a writer from failing where DDL has taken away what an expression needs';

CREATE FUNCTION rowhook.guarded_rows_sql(c rowhook.capture, op text, old_name text, new_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT E'\n          FROM ' || string_agg(format('%s AS %I', CASE (c).mode WHEN 'row' THEN rowhook.row_sql(c, s.side) ELSE format('rowhook_%s_rows', s.side) END, s.name),
                                               ' CROSS JOIN ' ORDER BY s.n)
      FROM (VALUES (1, 'old', guarded_rows_sql.old_name), (2, 'new', guarded_rows_sql.new_name)) AS s (n, side, name)
     WHERE CASE guarded_rows_sql.op WHEN 'insert' THEN s.side = 'new' WHEN 'delete' THEN s.side = 'old' ELSE true END
$$;

COMMENT ON FUNCTION rowhook.guarded_rows_sql(c rowhook.capture, op text, old_name text, new_name text) IS 'The rows that one operation has, for what is only parsed';

CREATE FUNCTION rowhook.heirs(source regclass, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    WITH RECURSIVE heir (oid) AS (
        SELECT i.inhrelid FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent AND c.relkind <> 'p' WHERE i.inhparent = heirs.source
        UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN heir AS h ON h.oid = i.inhparent)
    SELECT string_agg(rowhook.table_label(h.oid), ', ' ORDER BY h.oid) FROM heir AS h
     WHERE NOT EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = h.oid AND c.name = heirs.name)
$$;

COMMENT ON FUNCTION rowhook.heirs(source regclass, name text) IS 'Tables that inherit from this one and have no capture of this name';

CREATE FUNCTION rowhook.holds_exclusively(source regclass) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation = holds_exclusively.source
                      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                      AND l.mode = 'AccessExclusiveLock' AND l.granted)
$$;

COMMENT ON FUNCTION rowhook.holds_exclusively(source regclass) IS 'Whether this session holds a table so that nobody writes to it';

CREATE FUNCTION rowhook.holds_sql(c rowhook.capture, row_name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Nothing is nearer than the row itself, which is also called new: so a column may have any name. The predicate ends with its line,
    -- since it may end in a comment.
    SELECT CASE WHEN (c).predicate IS NOT NULL
                THEN format(E'EXISTS (SELECT FROM (SELECT %s.*) AS new WHERE (%s\n     ))', holds_sql.row_name, (c).predicate) END
$$;

COMMENT ON FUNCTION rowhook.holds_sql(c rowhook.capture, row_name text) IS 'SQL expression of whether a row is one that is captured; null: all are';

CREATE FUNCTION rowhook.insert_sql(c rowhook.capture, op text, past text, row_name text, source text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT rowhook.event_sql(c, quote_literal(insert_sql.op), quote_literal((c).type_prefix || '.' || insert_sql.past),
        rowhook.key_sql(insert_sql.row_name, (c).key), rowhook.tenant_sql(insert_sql.row_name, (c).tenant), rowhook.payload_sql(c, insert_sql.row_name),
        rowhook.key_payload_sql(c, insert_sql.row_name), insert_sql.source, condition => coalesce(E'\n     WHERE ' || rowhook.holds_sql(c, insert_sql.row_name), ''))
$$;

COMMENT ON FUNCTION rowhook.insert_sql(c rowhook.capture, op text, past text, row_name text, source text) IS 'The INSERT that captures inserted or deleted rows';

CREATE FUNCTION rowhook.is_behind(c rowhook.capture) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT (c).known <> rowhook.known_of(c) AND (
               EXISTS (SELECT FROM pg_class AS t WHERE t.oid = (c).table_name)
               OR NOT EXISTS (SELECT FROM rowhook.schema_version AS v WHERE v.capture_id = (c).id AND v.changes @> '[{"change": "table dropped"}]'))
        OR EXISTS (SELECT FROM rowhook.rule AS r JOIN pg_class AS t ON t.oid = r.table_name
                    WHERE (c).name = '' AND r.table_name = (c).table_name AND rowhook.rule_problem(r) IS DISTINCT FROM r.set_aside)
        OR (c).mode <> rowhook.capture_mode((c).table_name, (c).key)
$$;

COMMENT ON FUNCTION rowhook.is_behind(c rowhook.capture) IS 'Whether a table has changed since its capture was made';

CREATE FUNCTION rowhook.is_wider(was text, becomes text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Whether each value of the one can be read as before among those of the other: the same kind of JSON, and room for all of them.
    SELECT coalesce(is_wider.was = is_wider.becomes
        OR array_position(t.numbers, is_wider.was) < array_position(t.numbers, is_wider.becomes)
        OR is_wider.was = 'real' AND is_wider.becomes = 'double precision'
        OR is_wider.was IN ('json', 'jsonb') AND is_wider.becomes IN ('json', 'jsonb')
        OR is_wider.was ~ '^numeric\(' AND is_wider.becomes = 'numeric'
        OR is_wider.was ~ '^character varying' AND is_wider.becomes IN ('text', 'character varying')
        OR is_wider.was = 'character varying' AND is_wider.becomes = 'text' OR is_wider.was = 'text' AND is_wider.becomes = 'character varying'
        OR split_part(is_wider.was, '(', 1) = 'character varying' AND split_part(is_wider.becomes, '(', 1) = 'character varying'
           AND substring(is_wider.was FROM '\((\d+)\)')::integer <= substring(is_wider.becomes FROM '\((\d+)\)')::integer
        OR is_wider.was ~ '^numeric\(' AND is_wider.becomes ~ '^numeric\('
           AND split_part(is_wider.was, ',', 2) = split_part(is_wider.becomes, ',', 2)
           AND substring(is_wider.was FROM '\((\d+)')::integer <= substring(is_wider.becomes FROM '\((\d+)')::integer, false)
      FROM (SELECT '{smallint,integer,bigint,numeric}'::text[] AS numbers) AS t
$$;

COMMENT ON FUNCTION rowhook.is_wider(was text, becomes text) IS 'Whether a column''s new type holds what the old one did, in the same form';

CREATE FUNCTION rowhook.join_capture_role() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    -- ALTER FUNCTION … OWNER needs membership, and from Postgres 16 on the SET option; who creates a role only gets ADMIN.
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = 'rowhook_capture')
       AND NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        EXECUTE format('GRANT rowhook_capture TO %I%s', current_user,
            CASE WHEN current_setting('server_version_num')::int >= 160000 THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END);
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR invalid_grant_operation THEN
        IF NOT pg_has_role(current_user, 'rowhook_capture', 'MEMBER') THEN
            RAISE WARNING 'role % is not a member of rowhook_capture: capture functions belong to it, and what a table''s owner '
                'defined (casts) runs with its rights', current_user
                USING HINT = format('Let a superuser run: GRANT rowhook_capture TO %I; and then: SELECT rowhook.set_up_roles()', current_user);
        END IF;
    WHEN unique_violation THEN
        NULL;  -- this role is migrating another database at the same moment
END
$$;

COMMENT ON FUNCTION rowhook.join_capture_role() IS 'Make the migrating role a member of rowhook_capture, so that it can give functions to it';

CREATE FUNCTION rowhook.json_casts(source regclass) RETURNS TABLE(column_name text, type_name text, function_name text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- row_to_json calls such a cast, as the owner of the capture function: one that reads a table fails, and with it the write.
    -- It looks into arrays, domains and composite types.
    WITH RECURSIVE used (column_name, type) AS (
        SELECT a.attname::text, a.atttypid FROM pg_attribute AS a
         WHERE a.attrelid = json_casts.source AND a.attnum > 0 AND NOT a.attisdropped
        UNION
        SELECT u.column_name, inner_type.oid
          FROM used AS u JOIN pg_type AS t ON t.oid = u.type,
               LATERAL (SELECT t.typelem UNION ALL SELECT t.typbasetype
                        UNION ALL SELECT a.atttypid FROM pg_attribute AS a
                                   WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS inner_type (oid)
         WHERE inner_type.oid <> 0)
    SELECT u.column_name, format_type(u.type, NULL), k.castfunc::regprocedure::text
      FROM used AS u
      JOIN pg_cast AS k ON k.castsource = u.type AND k.casttarget = 'json'::regtype AND k.castmethod = 'f' AND k.oid >= 16384
$$;

COMMENT ON FUNCTION rowhook.json_casts(source regclass) IS 'User-defined casts to json that capturing a table would run';

CREATE FUNCTION rowhook.keep_tenant() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RH001',
        MESSAGE = format('endpoint %s keeps its tenant (%s): what waits for it and what may be replayed is that one''s', OLD.public_id,
                         coalesce(quote_literal(OLD.tenant), 'none: all of them')),
        HINT = format('Add another endpoint for tenant %L, and remove this one', NEW.tenant);
END
$$;

COMMENT ON FUNCTION rowhook.keep_tenant() IS 'Trigger function of rowhook.endpoint: refuse another tenant';

CREATE FUNCTION rowhook.key_of(parts text[], types regtype[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _parts text[] := key_of.parts;
    _part  text;
BEGIN
    -- As this session writes it: a time in another zone is the same key. Types of other people's are left as they are.
    FOR _i IN 1..cardinality(_parts) LOOP
        IF (SELECT t.typnamespace = 'pg_catalog'::regnamespace FROM pg_type AS t WHERE t.oid = types[_i]) THEN
            EXECUTE format('SELECT $1::%s::text', types[_i]) INTO _part USING _parts[_i];
            _parts[_i] := _part;
        END IF;
    END LOOP;
    RETURN CASE WHEN cardinality(_parts) = 1 THEN _parts[1] ELSE json_build_array(VARIADIC _parts)::text END;
EXCEPTION WHEN data_exception THEN  -- the column has another type by now
    RETURN CASE WHEN cardinality(parts) = 1 THEN parts[1] ELSE json_build_array(VARIADIC parts)::text END;
END
$_$;

COMMENT ON FUNCTION rowhook.key_of(parts text[], types regtype[]) IS 'A row key from its parts';

CREATE FUNCTION rowhook.key_payload_sql(c rowhook.capture, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    SELECT coalesce((SELECT format('(SELECT row_to_json(_k.*) FROM (SELECT %s) AS _k)', string_agg(format('%s.%I', key_payload_sql.row_name, u.col), ', ' ORDER BY u.n))
                       FROM unnest((c).key) WITH ORDINALITY AS u (col, n)
                      WHERE u.col = ANY (coalesce(rowhook.captured_columns(c), (c).key)) HAVING count(*) > 0), $sql$'{}'::json$sql$)
$_$;

COMMENT ON FUNCTION rowhook.key_payload_sql(c rowhook.capture, row_name text) IS 'SQL expression of an event''s data where its row is too large';

CREATE FUNCTION rowhook.key_sql(row_name text, columns text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE cardinality(key_sql.columns)
           WHEN 0 THEN 'NULL::text'
           WHEN 1 THEN format('%s.%I::text', key_sql.row_name, key_sql.columns[1])
           ELSE (SELECT 'json_build_array(' || string_agg(format('%s.%I::text', key_sql.row_name, c), ', ' ORDER BY n) || ')::text'
                   FROM unnest(key_sql.columns) WITH ORDINALITY AS u (c, n)) END
$$;

COMMENT ON FUNCTION rowhook.key_sql(row_name text, columns text[]) IS 'SQL expression of a row key';

CREATE FUNCTION rowhook.known_of(c rowhook.capture) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT jsonb_build_object('origin', rowhook.origin_of((c).table_name), 'label', rowhook.table_label((c).table_name),
        'columns', coalesce((SELECT jsonb_object_agg(a.attnum, jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod)))
                      FROM pg_attribute AS a WHERE a.attrelid = (c).table_name AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
        'far', coalesce((SELECT jsonb_object_agg(e.name, jsonb_build_array(e.far::oid, a.attnum, e.far::text, e.far_key, e.near))
                           FROM rowhook.enrichments(c) AS e JOIN pg_attribute AS a ON a.attrelid = e.far AND a.attname = e.far_column), '{}'))
$$;

COMMENT ON FUNCTION rowhook.known_of(c rowhook.capture) IS 'A capture''s table as it is now';

CREATE FUNCTION rowhook.lacks_rights(c rowhook.capture, name text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    c.enrich := jsonb_build_object(lacks_rights.name, c.enrich -> lacks_rights.name);
    RETURN rowhook.grants_sql(c) <> '';
END
$$;

COMMENT ON FUNCTION rowhook.lacks_rights(c rowhook.capture, name text) IS 'Whether the role of captures may not read one of the further values';

CREATE FUNCTION rowhook.log_of(c rowhook.capture, OUT begins bigint, OUT complete boolean, OUT newer text, OUT renumbered boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _horizon  rowhook.horizon;
    _now      bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    _bound    bigint;
    _truncate bigint;
    _backfill bigint;
    _ddl      xid[];
BEGIN
    SELECT h.* INTO _horizon FROM rowhook.horizon AS h;
    SELECT max(e.id) INTO _truncate FROM rowhook.event AS e
     WHERE e.table_name = ANY (c.labels) AND e.op = 'truncate' AND e.id > c.since_event
       AND EXISTS (SELECT FROM jsonb_each_text(c.prefixes) AS p WHERE e.type = p.key || '.truncated' AND e.id > p.value::bigint);
    begins := greatest(c.since_event, _truncate);
    -- From empty: as it was captured, or since a TRUNCATE; and nothing of it is gone.
    complete := _horizon.removed_id <= begins AND (c.began_empty OR _truncate IS NOT NULL);
    -- Or from a backfill of every row, which ended: each has an event since that began.
    SELECT max(b.since_event) INTO _backfill FROM rowhook.backfill AS b
     WHERE b.table_name = c.table_name AND b.name = c.name AND b.rows IS NULL AND b.ended_at IS NOT NULL AND b.since_event >= begins;
    IF NOT complete AND _horizon.removed_id <= _backfill THEN
        begins := _backfill;
        complete := true;
    END IF;
    renumbered := (SELECT k.system_identifier <> s.system_identifier FROM rowhook.cursor AS k, pg_control_system() AS s);
    _bound := greatest(c.since_xid, _horizon.xid)::text::bigint;
    -- Where they aren't complete, a row without event is no finding unless it was written since: by the transaction that wrote it.
    -- DDL that rewrites a table does so in its own name.
    _ddl := ARRAY(SELECT DISTINCT x.xmin FROM (SELECT r.oid, r.xmin FROM pg_class AS r UNION ALL SELECT a.attrelid, a.xmin FROM pg_attribute AS a) AS x
                   WHERE x.oid = c.table_name OR x.oid IN (SELECT p.relid FROM pg_partition_tree(c.table_name) AS p));
    newer := CASE WHEN renumbered OR _bound >= _now THEN 'false'
                  ELSE format('h.xmin::text::bigint > 2 AND ((%s - h.xmin::text::bigint) & 4294967295) < %s AND h.xmin <> ALL (%L)',
                              _now, _now - _bound, _ddl) END;
END
$$;

COMMENT ON FUNCTION rowhook.log_of(c rowhook.capture, OUT begins bigint, OUT complete boolean, OUT newer text, OUT renumbered boolean) IS 'From where on its events tell of a table, whether of every row, and which rows they should know';

CREATE FUNCTION rowhook.look(instance bigint, system bigint, disarm boolean, chunk integer, most_size bigint, capacity integer, room_for_size bigint, endpoint_room integer, endpoints bigint[], rooms integer[]) RETURNS TABLE(refusal text, events bigint, more boolean, parked bigint, parked_for bigint[], size bigint, id bigint, created_at timestamp with time zone, endpoint_id bigint, revision bigint, number integer, failures integer, free_tries integer, webhook_id text, shape text, body text, event_id bigint, event_slot smallint, occurred_at timestamp with time zone, type text, tenant text, table_name text, row_key text, moved boolean, data json, previous json, context json, truncated boolean, looped boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _cursor    rowhook.cursor;
    _is_old    boolean;  -- the window was opened by a look before, and knows nothing of what has committed since
    _late_from bigint;
    _late_by   timestamptz;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a look needs read committed: elsewhere all its statements have one snapshot, and events are lost';
    END IF;
    IF look.disarm THEN
        PERFORM setval('rowhook.doorbell', 0);
    END IF;
    -- Held until commit: who marks this instance dead waits, or has been and this finds no row.
    PERFORM FROM rowhook.instance AS i WHERE i.id = look.instance AND i.state = 'live' FOR KEY SHARE;
    IF NOT FOUND THEN
        refusal := 'dead';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT c.* INTO _cursor FROM rowhook.cursor AS c FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR _cursor.system_identifier <> look.system THEN
        refusal := CASE WHEN FOUND THEN 'elsewhere' ELSE 'skipped' END;
        RETURN NEXT;
        RETURN;
    END IF;
    _is_old := _cursor.target IS NOT NULL;
    IF _cursor.target IS NULL THEN
        -- Where a window begins, in event ids: among the transactions that were in progress at "seen" (late), and among those that began
        -- after it (fresh). "+ 0": for min(id) by itself the planner walks the primary key from the first event ever; so it reads (xid, id),
        -- and of it only the window.
        SELECT t.target,
               (SELECT min(e.id + 0) FROM rowhook.event AS e
                 WHERE e.xid >= pg_snapshot_xmax(_cursor.seen) AND e.xid < pg_snapshot_xmax(t.target)
                   AND pg_visible_in_snapshot(e.xid, t.target)),
               (SELECT min(e.id) FROM pg_snapshot_xip(_cursor.seen) AS x (xid)
                 CROSS JOIN LATERAL (SELECT e.id FROM rowhook.event AS e
                                      WHERE e.xid = x.xid AND pg_visible_in_snapshot(e.xid, t.target)
                                      ORDER BY e.id LIMIT 1) AS e)
          INTO _cursor.target, _cursor.fresh_from, _late_from
          FROM (SELECT pg_current_snapshot() AS target) AS t;
        _cursor.position := least(_cursor.fresh_from, _late_from) - 1;
        IF _cursor.position IS NULL THEN
            RETURN;
        END IF;
        _cursor.fresh_from := coalesce(_cursor.fresh_from, 9223372036854775807);
    END IF;
    _late_by := clock_timestamp() + interval '4 s';
    -- One chunk of the window in id order: its deliveries, those that fit leased at once, and the cursor's move. Late transactions are
    -- read one by one through (xid, id), fresh ones along the primary key from the first of them on: neither reads what lies between.
    RETURN QUERY
    WITH late AS (
        SELECT e.* FROM pg_snapshot_xip(_cursor.seen) AS x (xid)
         CROSS JOIN LATERAL (SELECT e.* FROM rowhook.event AS e
                              WHERE e.xid = x.xid AND e.id > _cursor.position AND pg_visible_in_snapshot(e.xid, _cursor.target)
                              ORDER BY e.id LIMIT look.chunk) AS e
    ), fresh AS (
        SELECT e.* FROM rowhook.event AS e
         WHERE e.id > greatest(_cursor.position, _cursor.fresh_from - 1)
           AND e.xid >= pg_snapshot_xmax(_cursor.seen) AND e.xid < pg_snapshot_xmax(_cursor.target)
           AND pg_visible_in_snapshot(e.xid, _cursor.target)
         ORDER BY e.id LIMIT look.chunk
    ), sized AS (
        SELECT w.*, coalesce(CASE WHEN pg_column_compression(w.data) IS NULL THEN pg_column_size(w.data) ELSE octet_length(w.data::text) END, 0)
               + coalesce(CASE WHEN pg_column_compression(w.previous) IS NULL THEN pg_column_size(w.previous) ELSE octet_length(w.previous::text) END, 0) AS size
          FROM (SELECT * FROM late UNION ALL SELECT * FROM fresh) AS w ORDER BY w.id LIMIT look.chunk
    ), chunk AS MATERIALIZED (
        -- Its end is where it is large enough, one event at the least: what is left waits for the next look, since what is parked for
        -- want of bytes would be read, and unpacked, a second time.
        SELECT s.*
          FROM (SELECT s.*, sum(s.size) OVER in_turn - s.size AS before, lead(s.id) OVER in_turn AS next_id
                  FROM sized AS s WINDOW in_turn AS (ORDER BY s.id)) AS s
         WHERE s.before < greatest(look.most_size, 1)
    ), candidate AS MATERIALIZED (
        SELECT t.type, k.pattern COLLATE "C" AS pattern  -- compared as bytes: a language's order costs ten times as much
          FROM (SELECT DISTINCT c.type FROM chunk AS c WHERE c.op <> 'probe') AS t CROSS JOIN LATERAL rowhook.pattern_candidates(t.type) AS k (pattern)
    ), subscribed AS MATERIALIZED (
        SELECT unnest(p.events) COLLATE "C" AS pattern, p.id AS endpoint_id, p.tenant, p.ordered,
               p.state = 'active' AND p.circuit = 'closed' AS active,
               -- What has a rate is parked: only claim knows when its next request is due.
               CASE WHEN p.rate IS NULL THEN coalesce(b.room, p.max_in_flight * 2, look.endpoint_room) ELSE 0 END AS room,
               p.filter IS NOT NULL AS filtered, nullif(p.shape, 'standard') AS shape
          FROM rowhook.endpoint AS p
          LEFT JOIN unnest(look.endpoints, look.rooms) AS b (endpoint_id, room) ON b.endpoint_id = p.id
         WHERE p.state <> 'removed'
    ), wanted AS MATERIALIZED (
        SELECT DISTINCT k.type, NULL::bigint AS addressee, s.endpoint_id, s.tenant, s.active, s.ordered, s.room, s.filtered, s.shape
          FROM candidate AS k JOIN subscribed AS s ON s.pattern = k.pattern
        UNION ALL  -- An event for one endpoint goes there whatever its patterns are, and nowhere else.
        SELECT DISTINCT a.type, a.endpoint_id, s.endpoint_id, s.tenant, s.active, s.ordered, s.room, s.filtered, s.shape
          FROM (SELECT DISTINCT c.type, c.endpoint_id FROM chunk AS c WHERE c.endpoint_id IS NOT NULL) AS a
          JOIN subscribed AS s ON s.endpoint_id = a.endpoint_id
    ), asked AS MATERIALIZED (
        -- Filters, and nothing where there are none. An event is parsed once for all of them. What takes too long is given up: with
        -- fewer events at once, or for the one. What is for one endpoint and tells of no row (a ping) goes there unasked.
        SELECT c.id, c.type, c.tenant, c.endpoint_id,
               CASE WHEN clock_timestamp() < _late_by THEN rowhook.filter_document(c.type, c.data, c.previous, c.context)
                    ELSE to_jsonb(rowhook.filters_take_too_long(look.chunk = 1)) END AS document
          FROM chunk AS c
         WHERE (c.endpoint_id IS NULL OR c.table_name IS NOT NULL)
           AND EXISTS (SELECT FROM wanted AS w WHERE w.filtered AND w.type = c.type AND w.addressee IS NOT DISTINCT FROM c.endpoint_id
                          AND (w.tenant IS NULL OR w.tenant = c.tenant))
    ), filtered AS MATERIALIZED (
        SELECT a.id, w.endpoint_id,
               CASE WHEN clock_timestamp() < _late_by THEN rowhook.filter_verdict(p.filter, a.document)
                    ELSE rowhook.filters_take_too_long(look.chunk = 1) END AS verdict
          FROM asked AS a
          JOIN wanted AS w ON w.filtered AND w.type = a.type AND w.addressee IS NOT DISTINCT FROM a.endpoint_id
                          AND (w.tenant IS NULL OR w.tenant = a.tenant)
          JOIN rowhook.endpoint AS p ON p.id = w.endpoint_id
    ), pair AS (
        -- A filter that fails ends that one delivery. Of an ordered endpoint what has a key is parked: only claim looks whether those
        -- before it have ended.
        SELECT c.id, c.slot, w.endpoint_id, CASE WHEN w.ordered THEN coalesce(coalesce(c.table_name, '') || ':' || c.row_key, '#' || c.id) END AS order_key,
               w.active AS claimable,
               w.active AND c.before < look.room_for_size AND NOT (w.ordered AND c.row_key IS NOT NULL) AS active, w.room, w.shape, nullif(f.verdict, 'matched') AS fault,
               row_number() OVER (PARTITION BY w.endpoint_id ORDER BY c.id) AS nth
          FROM chunk AS c JOIN wanted AS w ON w.type = c.type AND w.addressee IS NOT DISTINCT FROM c.endpoint_id
          LEFT JOIN filtered AS f ON f.id = c.id AND f.endpoint_id = w.endpoint_id
         WHERE (w.tenant IS NULL OR w.tenant = c.tenant) AND (NOT w.filtered OR f.verdict NOT IN ('not matched', 'unknown') OR c.endpoint_id IS NOT NULL AND c.table_name IS NULL)
    ), placed AS (
        SELECT p.*, p.active AND p.nth <= p.room AND p.fault IS NULL
                    AND sum((p.active AND p.nth <= p.room)::int) OVER (ORDER BY p.id, p.endpoint_id) <= look.capacity AS leased
          FROM pair AS p
    ), made AS (
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, state, instance_id, attempts, leased_at, due_at, ended_at, shape)
        SELECT p.id, p.slot, p.endpoint_id, p.order_key,
               CASE WHEN p.leased THEN 'leased' WHEN p.fault IS NULL THEN 'pending' ELSE 'dead' END,
               CASE WHEN p.leased THEN look.instance END,
               (p.leased OR p.fault IS NOT NULL)::int,
               CASE WHEN p.leased THEN clock_timestamp() END,
               CASE WHEN NOT p.leased AND p.fault IS NULL THEN clock_timestamp() END,
               CASE WHEN p.fault IS NOT NULL THEN clock_timestamp() END,
               CASE WHEN p.leased OR p.fault IS NOT NULL THEN p.shape END
          FROM placed AS p ORDER BY p.id, p.endpoint_id
        ON CONFLICT DO NOTHING
        RETURNING id, event_id, endpoint_id, created_at, state, shape
    ), failed AS (
        -- The filters of these failed: an attempt that never became a request says why.
        INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class, error)
        SELECT m.id, m.endpoint_id, 1, look.instance, clock_timestamp(), 'internal', 'the endpoint''s filter ' || p.fault
          FROM made AS m JOIN placed AS p ON p.id = m.event_id AND p.endpoint_id = m.endpoint_id WHERE m.state = 'dead'
    ), read AS (
        SELECT count(*) AS events, max(c.id) AS last_id, coalesce(sum(c.size), 0)::bigint AS size,
               count(*) < look.chunk AND (max(c.next_id) > max(c.id)) IS NOT TRUE AS is_whole
          FROM chunk AS c
    ), moved AS (
        -- Within the window, or past it.
        UPDATE rowhook.cursor AS c
           SET seen = CASE WHEN r.is_whole THEN _cursor.target ELSE _cursor.seen END,
               target = CASE WHEN NOT r.is_whole THEN _cursor.target END,
               position = CASE WHEN NOT r.is_whole THEN r.last_id END,
               fresh_from = CASE WHEN NOT r.is_whole THEN _cursor.fresh_from END,
               highest_id = greatest(_cursor.highest_id, r.last_id), moved_at = clock_timestamp()
          FROM read AS r
    ), parked AS (
        SELECT (SELECT count(*) FROM made AS m WHERE m.state = 'pending') AS parked,
               (SELECT coalesce(array_agg(DISTINCT p.endpoint_id), '{}') FROM placed AS p WHERE p.claimable AND NOT p.leased) AS parked_for
    )
    -- What it came to is the last row, and not repeated in each: that cost a fiftieth of all that a delivery does.
    (SELECT NULL::text, NULL::bigint, NULL::boolean, NULL::bigint, NULL::bigint[], NULL::bigint,
            m.id, m.created_at, m.endpoint_id, m.revision, 1, 0, 0, NULL::text, m.shape, NULL::text, m.event_id, e.slot,
            -- What the body could not say (infinity, BC) makes that body fail, and not the reading of all others.
            CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END,
            e.type, e.tenant, e.table_name, e.row_key, e.moved, e.data, e.previous, e.context, e.truncated, e.looped
       FROM (SELECT m.id, m.created_at, m.endpoint_id, q.revision, m.shape, m.event_id,
                    row_number() OVER (PARTITION BY m.event_id ORDER BY m.endpoint_id) AS nth
               FROM made AS m JOIN rowhook.endpoint AS q ON q.id = m.endpoint_id
              WHERE m.state = 'leased') AS m
       LEFT JOIN chunk AS e ON e.id = m.event_id AND m.nth = 1
      ORDER BY m.event_id, m.endpoint_id)
    UNION ALL
    SELECT NULL, r.events, _is_old OR NOT r.is_whole, k.parked, k.parked_for, r.size,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
      FROM read AS r CROSS JOIN parked AS k;
END
$$;

COMMENT ON FUNCTION rowhook.look(instance bigint, system bigint, disarm boolean, chunk integer, most_size bigint, capacity integer, room_for_size bigint, endpoint_room integer, endpoints bigint[], rooms integer[]) IS 'Dispatch the next chunk of at most so many events and, but for the first, bytes: each delivery that was leased, and at last what it came to; or why it was no look (refusal)';

CREATE FUNCTION rowhook.loop_limit() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    SELECT CASE WHEN current_setting('rowhook.loop_limit', true) ~ '^[0-9]{1,6}$' THEN current_setting('rowhook.loop_limit', true)::integer ELSE 20 END
$_$;

COMMENT ON FUNCTION rowhook.loop_limit() IS 'How often a chain may come by a row: rowhook.loop_limit of the database, 20 otherwise';

CREATE FUNCTION rowhook.looped(chain text, type text, table_name text, row_key text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    -- STABLE is not true of it, and makes each captured write an eighth cheaper: around a volatile expression the planner keeps a
    -- subquery. It stands where it is evaluated exactly once for an event.
    RETURN rowhook.loops(looped.chain, looped.type, looped.table_name, looped.row_key);
END
$$;

COMMENT ON FUNCTION rowhook.looped(chain text, type text, table_name text, row_key text) IS 'rowhook.loops(), as the generated functions call it';

CREATE FUNCTION rowhook.loops(chain text, type text, table_name text, row_key text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _seen integer;
BEGIN
    IF loops.row_key IS NULL OR length(loops.row_key) > 1000 THEN
        RETURN NULL;
    END IF;
    -- The writer holds the row's own lock: whoever waits here would have waited there.
    INSERT INTO rowhook.chain AS c (correlation_id, type, table_name, row_key) VALUES (left(loops.chain, 200), loops.type, loops.table_name, loops.row_key)
    ON CONFLICT ON CONSTRAINT chain_pkey DO UPDATE SET seen = c.seen + 1, last_at = clock_timestamp()
    RETURNING c.seen INTO _seen;
    -- Each new one takes two old ones away, so that they are never many; not where a row that went meanwhile would be an error.
    IF _seen = 1 AND current_setting('transaction_isolation') = 'read committed' THEN
        DELETE FROM rowhook.chain AS c WHERE c.ctid = ANY (ARRAY(
            SELECT o.ctid FROM rowhook.chain AS o WHERE o.last_at < clock_timestamp() - interval '1 day' ORDER BY o.last_at LIMIT 2 FOR UPDATE SKIP LOCKED));
    END IF;
    RETURN CASE WHEN _seen > rowhook.loop_limit() THEN true END;
END
$$;

COMMENT ON FUNCTION rowhook.loops(chain text, type text, table_name text, row_key text) IS 'Count an event of a chain; true: the same row and type came by too often, null: not yet';

CREATE FUNCTION rowhook.make_role(name text, otherwise text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = make_role.name) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', make_role.name);
    ELSIF EXISTS (SELECT FROM pg_roles AS r
                   WHERE r.rolname = make_role.name
                     AND (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
                          OR EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid))) THEN
        RAISE WARNING 'role % has powers beyond those that it is for', make_role.name
            USING HINT = format('It should have no attribute (LOGIN, SUPERUSER, …) and be a member of no role: \du %s', make_role.name);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'role % may not create role %: %', current_user, make_role.name, make_role.otherwise
            USING HINT = format('Let a superuser run: CREATE ROLE %I NOLOGIN%s; and then: SELECT rowhook.set_up_roles()', make_role.name,
                CASE WHEN make_role.name = 'rowhook_capture' THEN format('; GRANT rowhook_capture TO %I', current_user) ELSE '' END);
    WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another database of this cluster made it at the same moment
END
$$;

COMMENT ON FUNCTION rowhook.make_role(name text, otherwise text) IS 'Make a NOLOGIN role, or say what is weaker without it';

CREATE FUNCTION rowhook.mark_horizon() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
BEGIN
    -- The TRUNCATE holds its lock by now: nobody adds to the slot any more, and all that is committed is seen.
    EXECUTE format($sql$
        UPDATE rowhook.horizon AS h
           SET removed_id = greatest(h.removed_id, e.id), xid = greatest(h.xid, e.xid)
          FROM (SELECT (SELECT max(id) FROM %1$s) AS id, (SELECT xid FROM %1$s ORDER BY xid DESC LIMIT 1) AS xid) AS e
         WHERE e.id IS NOT NULL$sql$, TG_RELID::regclass);
    RETURN NULL;
END
$_$;

COMMENT ON FUNCTION rowhook.mark_horizon() IS 'Trigger function of the slots of rowhook.event: remember what a TRUNCATE removes';

CREATE FUNCTION rowhook.mark_horizon_of_deleted() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    UPDATE rowhook.horizon AS h
       SET removed_id = greatest(h.removed_id, e.id), xid = greatest(h.xid, e.xid)
      FROM (SELECT max(g.id) AS id, max(g.xid::text::bigint)::text::xid8 AS xid FROM gone AS g) AS e
     WHERE e.id IS NOT NULL;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION rowhook.mark_horizon_of_deleted() IS 'Trigger function of rowhook.event and its slots: remember what a DELETE removes; a move is none';

CREATE FUNCTION rowhook.named_columns(c rowhook.capture) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT ARRAY(SELECT DISTINCT u.col FROM unnest((c).key || (c).tenant || rowhook.captured_columns(c)
            || CASE WHEN (c).redact IS NOT NULL OR (c).enrich IS NOT NULL THEN rowhook.columns_of((c).table_name) END) AS u (col)
                  WHERE u.col IS NOT NULL ORDER BY u.col)
$$;

COMMENT ON FUNCTION rowhook.named_columns(c rowhook.capture) IS 'The columns whose names are in a capture''s functions';

CREATE FUNCTION rowhook.needs_names(source regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Triggers don't see what a virtual generated column (from Postgres 18 on) is when it is read; and they see a row of a partition
    -- as that has its columns in order.
    SELECT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = needs_names.source AND a.attgenerated = 'v' AND NOT a.attisdropped)
        OR EXISTS (SELECT FROM pg_partition_tree(needs_names.source) AS t
                    WHERE t.isleaf AND t.relid <> needs_names.source AND rowhook.columns_of(t.relid) <> rowhook.columns_of(needs_names.source))
$$;

COMMENT ON FUNCTION rowhook.needs_names(source regclass) IS 'Whether the whole row, as a trigger sees it, is another than the table''s';

CREATE FUNCTION rowhook.not_captured(source regclass, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT format('table %s is not captured', coalesce(rowhook.table_label(not_captured.source), not_captured.source::text))
        || coalesce(' by the name ' || quote_ident(nullif(not_captured.name, '')),
                    (SELECT ' without a name' WHERE EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = not_captured.source)), '')
$$;

COMMENT ON FUNCTION rowhook.not_captured(source regclass, name text) IS 'What is wrong where a table has no capture of a name';

CREATE FUNCTION rowhook.note_version(c rowhook.capture, tell boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _gone    boolean := rowhook.table_label(c.table_name) IS NULL;
    _label   text    := coalesce(rowhook.table_label(c.table_name), c.labels[cardinality(c.labels)]);
    _origin  text    := rowhook.origin_of(c.table_name);
    _columns jsonb   := rowhook.body_columns(c);
    _last    rowhook.schema_version;
    _changes jsonb;
    _compatible boolean;
BEGIN
    SELECT v.* INTO _last FROM rowhook.schema_version AS v WHERE v.capture_id = c.id ORDER BY v.version DESC LIMIT 1;
    _changes := CASE WHEN _last.version IS NULL THEN '[]'
                     WHEN _gone AND _last.changes @> '[{"change": "table dropped"}]' THEN '[]'
                     WHEN _gone THEN jsonb_build_array(jsonb_build_object('change', 'table dropped', 'compatible', false))
                     ELSE CASE WHEN _last.table_name <> _label
                               THEN jsonb_build_array(jsonb_build_object('change', 'table renamed', 'was', _last.table_name, 'table', _label, 'compatible', false))
                               ELSE '[]' END || rowhook.schema_changes(_last.columns, _columns, _last.origin = _origin) END;
    IF _changes = '[]' AND _last.version IS NOT NULL THEN
        UPDATE rowhook.schema_version AS v SET columns = _columns, origin = _origin
         WHERE v.capture_id = c.id AND v.version = _last.version AND (v.columns, v.origin) IS DISTINCT FROM (_columns, _origin) AND NOT _gone;
        RETURN;
    END IF;
    _compatible := NOT _changes @> '[{"compatible": false}]';
    INSERT INTO rowhook.schema_version (capture_id, version, table_name, origin, columns, changes, compatible)
    VALUES (c.id, coalesce(_last.version, 0) + 1, _label, _origin, _columns, _changes, _compatible);
    IF tell AND NOT _compatible THEN
        INSERT INTO rowhook.event (op, type, table_name, row_key, data, context)
        VALUES ('own', 'schema.changed', _label, _label,
                json_build_object('table', _label, 'version', _last.version + 1, 'event_types', rowhook.types_of(c), 'changes', _changes),
                rowhook.session_context());
        PERFORM rowhook.ring();
    END IF;
END
$$;

COMMENT ON FUNCTION rowhook.note_version(c rowhook.capture, tell boolean) IS 'Keep a version of a capture''s schema, if it is another one; tell: emit schema.changed if that is incompatible';

CREATE FUNCTION rowhook.nulls_sql(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Always in quotes: quote_ident() doesn't know plpgsql's own words (if, loop).
    SELECT string_agg(format(E'<<rowhook_%s>>\nDECLARE%s\nBEGIN\n', side, (
               SELECT string_agg(format(' "%s" text;', replace(u.col, '"', '""')), '') FROM unnest(rowhook.named_columns(c)) AS u (col))), '')
      FROM unnest('{old,new}'::text[]) AS side
     WHERE rowhook.named_columns(c) <> '{}'
$$;

COMMENT ON FUNCTION rowhook.nulls_sql(c rowhook.capture) IS 'The blocks in which a column that is gone is null; each wants an END';

CREATE FUNCTION rowhook.numbered_sql(side text, key text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    SELECT format('(SELECT row_number() OVER () AS rowhook_i, %2$s AS rowhook_k, CASE WHEN true THEN rowhook_%1$s.* END AS rowhook_row, rowhook_%1$s.* FROM rowhook_%1$s_rows AS rowhook_%1$s)',
                  numbered_sql.side, rowhook.key_sql('rowhook_' || numbered_sql.side, numbered_sql.key))
$_$;

COMMENT ON FUNCTION rowhook.numbered_sql(side text, key text[]) IS 'Old or new rows of an update, by their columns, with number and key';

CREATE FUNCTION rowhook.old_key(event rowhook.event, key text[], types regtype[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _key text;
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(old_key.key) AS k WHERE event.previous -> k IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    _key := rowhook.key_of(ARRAY(SELECT coalesce(event.previous ->> k, event.data ->> k)
                                   FROM unnest(old_key.key) WITH ORDINALITY AS u (k, n) ORDER BY n), old_key.types);
    RETURN nullif(_key, event.row_key);
EXCEPTION WHEN untranslatable_character OR invalid_text_representation THEN
    event.previous := rowhook.readable(event.previous);
    event.data := rowhook.readable(event.data);
    RETURN rowhook.old_key(event, old_key.key, old_key.types);
END
$$;

COMMENT ON FUNCTION rowhook.old_key(event rowhook.event, key text[], types regtype[]) IS 'The key that an update took from its row, if it did';

CREATE FUNCTION rowhook.operations(c rowhook.capture) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT ARRAY(SELECT o FROM unnest('{insert,update,delete,truncate}'::text[]) AS o
                  WHERE o = ANY ((c).events) OR (c).name = '' AND EXISTS (SELECT FROM rowhook.rule AS r WHERE r.table_name = (c).table_name AND r.op = o))
$$;

COMMENT ON FUNCTION rowhook.operations(c rowhook.capture) IS 'Operations that a capture, or one of the rules that it has, makes events of';

CREATE FUNCTION rowhook.origin_of(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT format('%s/%s/%s', s.system_identifier, d.oid, origin_of.source::oid)
      FROM pg_control_system() AS s, pg_database AS d WHERE d.datname = current_database()
$$;

COMMENT ON FUNCTION rowhook.origin_of(source regclass) IS 'Where a table''s columns have the numbers that they have';

CREATE FUNCTION rowhook.pattern_candidates(type text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT pattern_candidates.type AS type
 UNION ALL
  SELECT p.pattern
    FROM ( SELECT (array_to_string(parts.parts[1:n.n], '.'::text) || '.*'::text) AS pattern
            FROM string_to_array(pattern_candidates.type, '.'::text) parts(parts),
             LATERAL generate_series(1, (array_length(parts.parts, 1) - 1)) n(n)
         UNION ALL
          SELECT '*'::text) p
   WHERE (pattern_candidates.type <> ALL (ARRAY['endpoint.disabled'::text, 'delivery.dead'::text, 'webhook.ping'::text, 'schema.changed'::text, 'rowhook.probe'::text]));
END;

COMMENT ON FUNCTION rowhook.pattern_candidates(type text) IS 'The patterns that match an event type';

CREATE FUNCTION rowhook.payload_sql(c rowhook.capture, row_name text, whole text DEFAULT '*'::text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- The whole row follows ADD, DROP and RENAME COLUMN by itself; row_to_json keeps numeric scale and survives odd json.
    -- ".*" is the whole row even where a column has the row's name.
    SELECT coalesce('(SELECT row_to_json(_r.*) FROM (SELECT ' || rowhook.chosen_sql(c, payload_sql.row_name) || ') AS _r)',
                    format('row_to_json(%s.%s)', payload_sql.row_name, payload_sql.whole))
$$;

COMMENT ON FUNCTION rowhook.payload_sql(c rowhook.capture, row_name text, whole text) IS 'SQL expression of an event''s data; whole: what stands for the whole row';

CREATE FUNCTION rowhook.predicate_depends(source regclass, predicate text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _tree text;
BEGIN
    IF predicate_depends.predicate IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM rowhook.check_predicate(predicate_depends.source, 'row', predicate_depends.predicate);
    _tree := rowhook.predicate_tree(predicate_depends.source, 'row', predicate_depends.predicate, false);
    -- A cast by text goes by the session's settings; one to a domain runs what that checks.
    RETURN (
        SELECT CASE WHEN bool_or(p.oid >= 16384) OR _tree ~ '\{COERCETODOMAIN ' THEN 'functions'
                    WHEN bool_or(p.provolatile <> 'i') OR _tree ~ '\{(SQLVALUEFUNCTION|COERCEVIAIO) ' THEN 'settings' ELSE 'row' END
          FROM pg_proc AS p
         WHERE p.oid IN (SELECT m[2]::oid FROM regexp_matches(_tree, ':(funcid|opfuncid) (\d+)', 'g') AS m
                         UNION SELECT o.oprcode FROM regexp_matches(_tree, ':opno (\d+)', 'g') AS m JOIN pg_operator AS o ON o.oid = m[1]::oid));
END
$$;

COMMENT ON FUNCTION rowhook.predicate_depends(source regclass, predicate text) IS 'Refuse a capture''s predicate that is none; what it depends on: row, settings, functions';

CREATE FUNCTION rowhook.predicate_fault(op text, predicate text, uses_changed boolean, sample anyelement) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
BEGIN
    -- As the role without power, who will run it: reading a literal can run what owners of types defined (the CHECK of a domain).
    EXECUTE format(E'SELECT FROM %s%s WHERE false AND (%s\n) IS TRUE',
        CASE predicate_fault.op WHEN 'insert' THEN '(SELECT ($1).*) AS new' WHEN 'row' THEN '(SELECT ($1).*) AS new' WHEN 'delete' THEN '(SELECT ($1).*) AS old'
                                ELSE '(SELECT ($1).*) AS old, (SELECT ($1).*) AS new' END,
        CASE WHEN predicate_fault.uses_changed THEN ', (SELECT NULL::text[] AS changed) AS rowhook_changed' ELSE '' END,
        predicate_fault.predicate) USING predicate_fault.sample;
    RETURN NULL;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR feature_not_supported OR invalid_schema_name OR internal_error THEN
    RETURN SQLERRM;
END
$_$;

COMMENT ON FUNCTION rowhook.predicate_fault(op text, predicate text, uses_changed boolean, sample anyelement) IS 'Why a predicate can''t be evaluated for rows of this type; null: it can';

CREATE FUNCTION rowhook.predicate_problem(c rowhook.capture) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _problem text;
BEGIN
    IF (c).predicate IS NOT NULL THEN
        EXECUTE format('SELECT rowhook.predicate_fault(''row'', $1, false, NULL::%s)', (c).table_name) INTO _problem USING (c).predicate;
    END IF;
    RETURN _problem;
END
$_$;

COMMENT ON FUNCTION rowhook.predicate_problem(c rowhook.capture) IS 'Why a capture''s predicate can''t be evaluated today: its table has changed; null: it can';

CREATE FUNCTION rowhook.predicate_tree(source regclass, op text, predicate text, with_changed boolean) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _view    text := 'predicate_' || pg_backend_pid();
    _columns text := rowhook.seen_columns(predicate_tree.source);
    _tree    text;
BEGIN
    -- What Postgres understands of it, in the same place of the same kind of statement: a view, which is undone at once. The other row
    -- stands beside the one that an operation has, so that a column without "new." or "old." is refused in each of them. A capture's
    -- predicate (op: row) is asked of each row by itself.
    BEGIN
        EXECUTE format(E'CREATE VIEW rowhook.%I AS SELECT 1 AS one FROM (SELECT %s FROM %s) AS %s%s%s WHERE (%s\n)',
            _view, _columns, predicate_tree.source, CASE predicate_tree.op WHEN 'delete' THEN 'old' ELSE 'new' END,
            CASE WHEN predicate_tree.op <> 'row'
                 THEN format(', (SELECT %s FROM %s) AS %s', _columns, predicate_tree.source, CASE predicate_tree.op WHEN 'update' THEN 'old' ELSE 'rowhook_other' END) END,
            CASE WHEN predicate_tree.with_changed THEN ', (SELECT NULL::text[] AS changed) AS rowhook_changed' ELSE '' END, predicate_tree.predicate);
        SELECT r.ev_action::text INTO _tree FROM pg_rewrite AS r WHERE r.ev_class = to_regclass('rowhook.' || _view);
        RAISE EXCEPTION USING ERRCODE = 'RH003';
    EXCEPTION WHEN SQLSTATE 'RH003' THEN
        RETURN _tree;
    END;
END
$$;

COMMENT ON FUNCTION rowhook.predicate_tree(source regclass, op text, predicate text, with_changed boolean) IS 'A predicate as Postgres parsed it';

CREATE FUNCTION rowhook.present_slot() RETURNS smallint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT coalesce(pg_sequence_last_value('rowhook.present_slot'::regclass), 0)::smallint
$$;

COMMENT ON FUNCTION rowhook.present_slot() IS 'The slot that writers write to';

CREATE FUNCTION rowhook.public_id(prefix text, made_at timestamp with time zone, id bigint, slot smallint DEFAULT 0) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- 130 bits in 26 characters of Crockford's base 32, as a ULID: 2 zero bits, 48 of milliseconds, 64 of id, 16 of slot.
    SELECT public_id.prefix || '_' || string_agg(
               substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(b.bits FROM i * 5 + 1 FOR 5)::bit(5)::int + 1, 1),
               '' ORDER BY i)
      FROM (SELECT B'00'
                   || CASE WHEN isfinite(public_id.made_at) THEN floor(extract(epoch FROM public_id.made_at) * 1000)::bigint
                           ELSE -1 END::bit(48)
                   || public_id.id::bit(64)
                   || public_id.slot::int::bit(16) AS bits) AS b,
           generate_series(0, 25) AS i
$$;

COMMENT ON FUNCTION rowhook.public_id(prefix text, made_at timestamp with time zone, id bigint, slot smallint) IS 'A sortable public id (evt_, end_, dlv_) from time, id and slot; relay/public_id.py computes the same';

CREATE FUNCTION rowhook.rate_gap(rate text) RETURNS interval
    LANGUAGE sql IMMUTABLE STRICT
    BEGIN ATOMIC
 SELECT (
         CASE split_part(rate, '/'::text, 2)
             WHEN 's'::text THEN '00:00:01'::interval
             WHEN 'min'::text THEN '00:01:00'::interval
             WHEN 'h'::text THEN '01:00:00'::interval
             WHEN 'd'::text THEN '24:00:00'::interval
             ELSE NULL::interval
         END / ((split_part(rate, '/'::text, 1))::integer)::double precision);
END;

COMMENT ON FUNCTION rowhook.rate_gap(rate text) IS 'The time from one request to the next';

CREATE FUNCTION rowhook.read_by(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT string_agg(DISTINCT rowhook.table_label(t.oid), ', ')
      FROM pg_rewrite AS r
      JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
      JOIN pg_class AS t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p', 'f') AND t.relnamespace <> 'pg_catalog'::regnamespace
     WHERE r.ev_class = read_by.source
$$;

COMMENT ON FUNCTION rowhook.read_by(source regclass) IS 'The tables that a view reads';

CREATE FUNCTION rowhook.readable(odd json) RETURNS json
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Column type json may hold \u0000 and halves of surrogates, at which functions of json give up: they become plain text.
    SELECT regexp_replace(readable.odd::text, '(?<!\\)((?:\\\\)*)\\(u0000|u[dD][89a-fA-F][0-9a-fA-F]{2})', '\1\\\\\2', 'g')::json
$$;

COMMENT ON FUNCTION rowhook.readable(odd json) IS 'Json without the escapes that can''t be text';

CREATE FUNCTION rowhook.record_sql(c rowhook.capture, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- In a list of what is SELECTed, ".*" alone would be all columns.
    SELECT coalesce('(SELECT CASE WHEN true THEN _r.* END FROM (SELECT ' || rowhook.chosen_sql(c, record_sql.row_name) || ') AS _r)',
                    format('CASE WHEN true THEN %s.* END', record_sql.row_name))
$$;

COMMENT ON FUNCTION rowhook.record_sql(c rowhook.capture, row_name text) IS 'SQL expression of the record whose JSON is an event''s data';

CREATE FUNCTION rowhook.redacted_sql(value text, method text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- "value" is SQL of a text. A mask says nothing of its length; of a short value even the last four would say too much.
    SELECT CASE redacted_sql.method
           WHEN 'sha256' THEN format('encode(sha256(convert_to(%s, %L)), %L)', redacted_sql.value, 'UTF8', 'hex')
           WHEN 'mask' THEN format('CASE WHEN %s IS NOT NULL THEN %L END', redacted_sql.value, '****')
           WHEN 'last4' THEN format('CASE WHEN length(%1$s) >= 8 THEN %2$L || right(%1$s, 4) WHEN %1$s IS NOT NULL THEN %2$L END', redacted_sql.value, '****') END
$_$;

COMMENT ON FUNCTION rowhook.redacted_sql(value text, method text) IS 'SQL expression of a value made unreadable';

CREATE FUNCTION rowhook.refuse(message text, hint text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RH001', MESSAGE = refuse.message;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'RH001', MESSAGE = refuse.message, HINT = refuse.hint;
END
$$;

COMMENT ON FUNCTION rowhook.refuse(message text, hint text) IS 'A user''s mistake: error RH001 with what was given and what would be right';

CREATE FUNCTION rowhook.renamed(c rowhook.capture, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT coalesce((SELECT a.attname FROM jsonb_each((c).known -> 'columns') AS k
                       JOIN pg_attribute AS a ON a.attrelid = (c).table_name AND a.attnum = k.key::smallint AND NOT a.attisdropped
                      WHERE k.value ->> 0 = renamed.name AND (c).known ->> 'origin' = rowhook.origin_of((c).table_name)), renamed.name)
$$;

COMMENT ON FUNCTION rowhook.renamed(c rowhook.capture, name text) IS 'What a column is called now that a capture knows by this name';

CREATE FUNCTION rowhook.revoke_enrichments(was rowhook.capture, becomes rowhook.capture) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _surplus record;
BEGIN
    -- Columns that a capture read and none reads any more. (The recipe finmind has rights of its own on its expenses.)
    FOR _surplus IN
        SELECT e.far, col.name FROM rowhook.enrichments(was) AS e CROSS JOIN LATERAL (VALUES (e.far_key), (e.far_column)) AS col (name)
        EXCEPT
        SELECT e.far, col.name
          FROM (SELECT b.* FROM (SELECT (becomes).*) AS b UNION ALL SELECT c.* FROM rowhook.capture AS c WHERE c.id IS DISTINCT FROM was.id) AS c
         CROSS JOIN LATERAL rowhook.enrichments(c.*::rowhook.capture) AS e CROSS JOIN LATERAL (VALUES (e.far_key), (e.far_column)) AS col (name)
    LOOP
        IF rowhook.capture_owner() <> current_user
           AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = _surplus.far AND t.tgname = '!rowhook_budget_insert') THEN
            EXECUTE format('REVOKE SELECT (%I) ON %s FROM %I', _surplus.name, _surplus.far, rowhook.capture_owner());
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION rowhook.revoke_enrichments(was rowhook.capture, becomes rowhook.capture) IS 'Take back rights that were given for further values';

CREATE FUNCTION rowhook.ring() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _now   double precision;
    _armed bigint;
BEGIN
    -- The caller has inserted its events before. Clock first, flag second: a writer that pauses in between then rings
    -- once too often; the other way round it would miss a bell armed during the pause.
    _now := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000;
    _armed := pg_catalog.pg_sequence_last_value('rowhook.doorbell'::pg_catalog.regclass);
    IF _now < _armed AND pg_catalog.current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_catalog.pg_notify('rowhook_bell', '');  -- PREPARE TRANSACTION fails after a NOTIFY: hence the setting's test
    END IF;
END
$$;

COMMENT ON FUNCTION rowhook.ring() IS 'Wake the dispatcher, if it asked for it; call after the events were inserted';

CREATE FUNCTION rowhook.row_reasons(source regclass, key text[]) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Rows without a key can't be paired; foreign tables have no transition tables; a write through the parent of a partition or of
    -- an inheriting table fires none of its statement triggers, and those of the parent would tell of rows that are not its own; a
    -- user's own AFTER ROW trigger that writes the same row would make "updated" precede "created".
    SELECT array_remove(ARRAY[
        CASE WHEN cardinality(row_reasons.key) = 0 THEN 'has no key' END,
        CASE WHEN c.relkind = 'p' THEN 'is partitioned' END,
        CASE WHEN c.relkind = 'f' THEN 'is a foreign table' END,
        CASE WHEN c.relispartition THEN 'is a partition'
             WHEN EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid) THEN 'inherits from another table' END,
        CASE WHEN c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid) THEN 'has tables that inherit from it' END,
        (SELECT format('has an AFTER ROW trigger of its own (%s)', min(t.tgname)) FROM pg_trigger AS t
          WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
            AND t.tgtype & 1 = 1 AND t.tgtype & 66 = 0 AND t.tgtype & 28 <> 0 AND t.tgname !~ '^!rowhook_row' HAVING count(*) > 0),
        CASE WHEN rowhook.subscribed(c.oid) THEN 'is written to by a subscription' END], NULL)
      FROM pg_class AS c WHERE c.oid = row_reasons.source
$$;

COMMENT ON FUNCTION rowhook.row_reasons(source regclass, key text[]) IS 'Why a table can only be captured row by row: what "it" is or has; none: statement triggers can work';

CREATE FUNCTION rowhook.row_sql(c rowhook.capture, side text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT format('(SELECT %s.* WHERE %L::regclass IS NOT NULL)', upper(row_sql.side), (c).table_name::oid)
$$;

COMMENT ON FUNCTION rowhook.row_sql(c rowhook.capture, side text) IS 'A row trigger''s OLD or NEW row, planned anew when its table changes';

CREATE FUNCTION rowhook.row_trigger(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Partitions get the trigger of their table, also when they are attached: not if they had one of that name themselves.
    SELECT '!rowhook_row' || CASE WHEN EXISTS (SELECT FROM pg_class AS r WHERE r.oid = (c).table_name AND r.relkind = 'p')
                                  THEN '_' || (c).id ELSE rowhook.trigger_suffix(c) END
$$;

COMMENT ON FUNCTION rowhook.row_trigger(c rowhook.capture) IS 'Name of a capture''s row trigger';

CREATE FUNCTION rowhook.rule(type text, on_table regclass, op text, predicate text, description text DEFAULT NULL::text, tenant text DEFAULT NULL::text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _plan     record;
    _captured text;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;
    SELECT p.result, (p.capture).events, (p.capture).tenant INTO _plan
      FROM rowhook.rule_plan(rule.type, rule.on_table, rule.op, rule.predicate, rule.description, rule.tenant) AS p;
    _captured := rowhook.capture(rule.on_table, tenant => _plan.tenant, events => _plan.events);
    RETURN CASE WHEN _plan.result = 'unchanged' AND _captured <> 'unchanged' THEN 'changed' ELSE _plan.result END;
END
$$;

COMMENT ON FUNCTION rowhook.rule(type text, on_table regclass, op text, predicate text, description text, tenant text) IS 'Make events of a type whenever a predicate holds for a row that is written; returns installed, changed or unchanged';

CREATE FUNCTION rowhook.rule_guards_sql(c rowhook.capture, op text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- All at once; which of them it is, is asked only where they don't all fit.
    WITH fits AS (
        SELECT r.id, p.holds, g.source,
               rowhook.guard_sql(c, format('%s WHERE false AND %s', g.source, p.holds), 'rule ' || r.type, format('_broken := _broken || %L::text;', r.type)) AS guard
          FROM rowhook.rules_of(c, rule_guards_sql.op) AS r
         CROSS JOIN LATERAL (SELECT format(E'(%s\n          ) IS TRUE', r.predicate) AS holds) AS p
         CROSS JOIN (SELECT rowhook.guarded_rows_sql(c, rule_guards_sql.op, 'old', 'new')
                         || CASE WHEN bool_or(u.uses_changed) THEN ' CROSS JOIN (SELECT NULL::text[] AS changed) AS rowhook_changed' ELSE '' END AS source
                       FROM rowhook.rules_of(c, rule_guards_sql.op) AS u) AS g
    )
    SELECT CASE count(*) WHEN 0 THEN '' WHEN 1 THEN min(f.guard)
                ELSE rowhook.guard_sql(c, format('%s WHERE false AND (%s)', min(f.source), string_agg(f.holds, ' OR ' ORDER BY f.id)), NULL, string_agg(f.guard, '' ORDER BY f.id)) END
      FROM fits AS f
$$;

COMMENT ON FUNCTION rowhook.rule_guards_sql(c rowhook.capture, op text) IS 'Which rules of one operation still fit their table';

CREATE FUNCTION rowhook.rule_inserts_sql(c rowhook.capture, op text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- Old and new rows of an UPDATE are paired as for the capture itself. They carry themselves along whole (rowhook_row), because
    -- their number is no column of the table.
    SELECT CASE
    WHEN (c).mode = 'row' OR rule_inserts_sql.op IN ('insert', 'delete') THEN coalesce(
        (SELECT string_agg(rowhook.rule_sql(c, r, rowhook.guarded_rows_sql(c, r.op, 'old', 'new'), '*'), '' ORDER BY r.id)
           FROM rowhook.rules_of(c, rule_inserts_sql.op) AS r), '')
    ELSE coalesce((SELECT format($sql$
    IF (SELECT count(*) FROM rowhook_old_rows) = (SELECT count(*) FROM rowhook_new_rows) THEN%s
    ELSE%s
    END IF;$sql$, string_agg(rowhook.rule_sql(c, r, format(p.pairs, 'FULL ', 'new.rowhook_i = old.rowhook_i'), 'rowhook_row'), '' ORDER BY r.id),
                  string_agg(rowhook.rule_sql(c, r, format(p.pairs, '', p.same_key), 'rowhook_row'), '' ORDER BY r.id))
        FROM rowhook.rules_of(c, rule_inserts_sql.op) AS r
       CROSS JOIN (SELECT format(E'\n      FROM %s AS old\n      %%sJOIN %s AS new ON %%s',
                                 replace(rowhook.numbered_sql('old', (c).key), '%', '%%'), replace(rowhook.numbered_sql('new', (c).key), '%', '%%')) AS pairs,
                          'new.rowhook_k = old.rowhook_k' AS same_key) AS p
       HAVING count(*) > 0), '') END
$_$;

COMMENT ON FUNCTION rowhook.rule_inserts_sql(c rowhook.capture, op text) IS 'The INSERTs of the events of one operation''s rules';

CREATE FUNCTION rowhook.rule_plan(type text, on_table regclass, op text, predicate text, description text DEFAULT NULL::text, tenant text DEFAULT NULL::text, OUT result text, OUT capture rowhook.capture, OUT sql text) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _was  rowhook.rule;
    _uses boolean;
BEGIN
    PERFORM rowhook.check_rule(rule_plan.type, rule_plan.op);
    IF rule_plan.on_table IS NULL THEN
        PERFORM rowhook.refuse('on_table is null', 'Name an existing table, e.g. on_table => ''bills''');
    END IF;
    PERFORM rowhook.check_source(rule_plan.on_table);
    _uses := rowhook.check_predicate(rule_plan.on_table, rule_plan.op, rule_plan.predicate);
    SELECT r.* INTO _was FROM rowhook.rule AS r WHERE r.table_name = rule_plan.on_table AND r.type = rule_plan.type;
    result := CASE WHEN _was.id IS NULL THEN 'installed'
                   WHEN (_was.op, _was.predicate) IS DISTINCT FROM (rule_plan.op, rule_plan.predicate)
                     OR coalesce(rule_plan.description, _was.description) IS DISTINCT FROM _was.description OR _was.set_aside IS NOT NULL THEN 'changed' ELSE 'unchanged' END;
    INSERT INTO rowhook.rule AS r (table_name, type, op, predicate, description, uses_changed)
    VALUES (rule_plan.on_table, rule_plan.type, rule_plan.op, rule_plan.predicate, nullif(rule_plan.description, ''), _uses)
    ON CONFLICT ON CONSTRAINT rule_once_per_table DO UPDATE
       SET op = excluded.op, predicate = excluded.predicate, uses_changed = excluded.uses_changed, set_aside = NULL, defined_at = clock_timestamp(),
           description = nullif(coalesce(rule_plan.description, r.description), '')
     WHERE rule_plan.result <> 'unchanged';
    -- Tenant and key are its capture's. A table that has none gets one without events of its own.
    capture := rowhook.capture_plan(rule_plan.on_table, tenant => rule_plan.tenant,
        events => CASE WHEN NOT EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = rule_plan.on_table AND c.name = '') THEN '{}'::text[] END);
    sql := rowhook.capture_ddl(capture);  -- here, where the rule is seen
END
$$;

COMMENT ON FUNCTION rowhook.rule_plan(type text, on_table regclass, op text, predicate text, description text, tenant text, OUT result text, OUT capture rowhook.capture, OUT sql text) IS 'Define a rule without installing it: what its table''s capture becomes, all checked, and the SQL of that';

CREATE TABLE rowhook.rule (
    id integer NOT NULL,
    table_name regclass NOT NULL,
    defined_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    type text NOT NULL,
    op text NOT NULL,
    predicate text NOT NULL,
    description text,
    uses_changed boolean NOT NULL,
    set_aside text,
    CONSTRAINT op_known CHECK ((op = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text])))
);

COMMENT ON TABLE rowhook.rule IS 'Named events: rows of a table for which a predicate holds when they are written';

COMMENT ON COLUMN rowhook.rule.id IS 'Internal id; rules of a table make their events in this order';

COMMENT ON COLUMN rowhook.rule.table_name IS 'The table, which has a capture; follows renames';

COMMENT ON COLUMN rowhook.rule.defined_at IS 'When it was defined, or last changed';

COMMENT ON COLUMN rowhook.rule.type IS 'Event type, e.g. bill.paid';

COMMENT ON COLUMN rowhook.rule.op IS 'The operation: insert, update or delete';

COMMENT ON COLUMN rowhook.rule.predicate IS 'SQL over old, new and changed';

COMMENT ON COLUMN rowhook.rule.description IS 'What it is for, in words';

COMMENT ON COLUMN rowhook.rule.uses_changed IS 'Whether it asks which columns changed: only then are they found out';

COMMENT ON COLUMN rowhook.rule.set_aside IS 'Why it makes no events: the table has changed so that it doesn''t fit; null: it does';

CREATE FUNCTION rowhook.rule_problem(r rowhook.rule) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _problem text;
BEGIN
    -- A null of the table's row type is given along, since the role that looks at it may not even know the table's schema.
    IF EXISTS (SELECT FROM pg_class AS t WHERE t.oid = r.table_name) THEN
        EXECUTE format('SELECT rowhook.predicate_fault($1, $2, $3, NULL::%s)', r.table_name) INTO _problem USING r.op, r.predicate, r.uses_changed;
    END IF;
    RETURN _problem;
END
$_$;

COMMENT ON FUNCTION rowhook.rule_problem(r rowhook.rule) IS 'Why a rule can''t be evaluated today: its table has changed; null: it can';

CREATE FUNCTION rowhook.rule_sql(c rowhook.capture, r rowhook.rule, source text, whole text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- Rows are called old and new, as predicates name them, and once more as captures do; a predicate ends with its line, since it may
    -- end in a comment. In coalesce() it doesn't say that both rows are there, which would make another join of the FULL one.
    SELECT CASE (c).on_error WHEN 'record' THEN format(E'\n    _rule := %L;', (r).type) ELSE '' END
        || format(E'\n    IF %L <> ALL (_broken) THEN', (r).type)
        || rowhook.event_sql(c, $sql$'rule'$sql$, quote_literal((r).type), rowhook.key_sql(n.name, (c).key), rowhook.tenant_sql(n.name, (c).tenant),
            rowhook.payload_sql(c, n.name, rule_sql.whole), rowhook.key_payload_sql(c, n.name),
            source => rule_sql.source
                || CASE (r).op WHEN 'insert' THEN '' ELSE E'\n     CROSS JOIN LATERAL (SELECT old.*) AS rowhook_old' END
                || CASE (r).op WHEN 'delete' THEN '' ELSE E'\n     CROSS JOIN LATERAL (SELECT new.*) AS rowhook_new' END
                || CASE WHEN (r).uses_changed THEN format(
                E'\n     CROSS JOIN LATERAL (SELECT rowhook.changed_columns(row_to_json(old.%1$s), row_to_json(new.%1$s)) AS changed OFFSET 0) AS rowhook_changed',
                rule_sql.whole) ELSE '' END,
            previous => CASE (r).op WHEN 'update' THEN format('rowhook.changed(%s, %s)', rowhook.payload_sql(c, 'rowhook_old', rule_sql.whole),
                                                             rowhook.payload_sql(c, 'rowhook_new', rule_sql.whole)) ELSE 'NULL' END,
            condition => format(E'\n     WHERE coalesce((%s\n     ), false)', (r).predicate))
        || E'\n    _found := _found OR _wrote;\n    END IF;'
      FROM (SELECT CASE (r).op WHEN 'delete' THEN 'rowhook_old' ELSE 'rowhook_new' END AS name) AS n
$_$;

COMMENT ON FUNCTION rowhook.rule_sql(c rowhook.capture, r rowhook.rule, source text, whole text) IS 'The INSERT of one rule''s events';

CREATE FUNCTION rowhook.rules_of(c rowhook.capture, op text) RETURNS SETOF rowhook.rule
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT r.* FROM rowhook.rule AS r
     WHERE (c).name = '' AND r.table_name = (c).table_name AND r.op = rules_of.op AND r.set_aside IS NULL ORDER BY r.id
$$;

COMMENT ON FUNCTION rowhook.rules_of(c rowhook.capture, op text) IS 'A capture''s rules for one operation, but for those that are set aside';

CREATE FUNCTION rowhook.rules_sql(c rowhook.capture, op text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT rowhook.rule_guards_sql(c, rules_sql.op)
        || rowhook.enriched_sql(c, rules_sql.op, rules_sql.op <> ALL ((c).events), rowhook.rule_inserts_sql(c, rules_sql.op),
                                rowhook.rule_inserts_sql(rowhook.bare(c), rules_sql.op))
$$;

COMMENT ON FUNCTION rowhook.rules_sql(c rowhook.capture, op text) IS 'What a trigger function does for the rules of one operation';

CREATE FUNCTION rowhook.schema_changes(was jsonb, becomes jsonb, same_numbers boolean) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Columns are the same by their number; where numbers mean nothing any more (a restore), by name.
    WITH pair AS (
        SELECT o.value AS o, n.value AS n
          FROM jsonb_array_elements(schema_changes.was) AS o
          FULL JOIN jsonb_array_elements(schema_changes.becomes) AS n
            ON CASE WHEN schema_changes.same_numbers THEN coalesce(o.value ->> 'number', '-' || (o.value ->> 'name')) ELSE o.value ->> 'name' END
             = CASE WHEN schema_changes.same_numbers THEN coalesce(n.value ->> 'number', '-' || (n.value ->> 'name')) ELSE n.value ->> 'name' END
    ), change AS (
        SELECT 1 AS kind, o ->> 'name' AS name, jsonb_build_object('change', 'dropped', 'column', o -> 'name', 'type', o -> 'type', 'compatible', false) AS is
          FROM pair WHERE n IS NULL
        UNION ALL
        SELECT 2, o ->> 'name', jsonb_build_object('change', 'renamed', 'column', n -> 'name', 'was', o -> 'name', 'compatible', false)
          FROM pair WHERE o ->> 'name' <> n ->> 'name'
        UNION ALL
        SELECT 3, n ->> 'name', jsonb_build_object('change', 'retyped', 'column', n -> 'name', 'type', n -> 'type', 'was', o -> 'type',
                                                   'compatible', rowhook.is_wider(o ->> 'type', n ->> 'type'))
          FROM pair WHERE o ->> 'type' <> n ->> 'type'
        UNION ALL
        SELECT 4, n ->> 'name', jsonb_build_object('change', 'added', 'column', n -> 'name', 'type', n -> 'type', 'compatible', true)
          FROM pair WHERE o IS NULL
    )
    SELECT coalesce(jsonb_agg(c.is ORDER BY c.kind, c.name), '[]') FROM change AS c
$$;

COMMENT ON FUNCTION rowhook.schema_changes(was jsonb, becomes jsonb, same_numbers boolean) IS 'What differs between two lists of columns, and whether who reads them has to know';

CREATE FUNCTION rowhook.seen_columns(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN bool_or(a.attgenerated = 'v') THEN coalesce(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attgenerated <> 'v'), '')
                ELSE '*' END
      FROM pg_attribute AS a WHERE a.attrelid = seen_columns.source AND a.attnum > 0 AND NOT a.attisdropped
$$;

COMMENT ON FUNCTION rowhook.seen_columns(source regclass) IS 'The columns that a trigger sees, as SELECT names them: all but virtual ones';

CREATE FUNCTION rowhook.session_context() RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    _given       text := nullif(current_setting('rowhook.context', true), '');
    _traceparent text := nullif(current_setting('rowhook.traceparent', true), '');
    _context     jsonb := '{}';
    _ignored     text[] := '{}';
BEGIN
    IF _given IS NOT NULL THEN
        BEGIN
            _context := _given::jsonb;
        EXCEPTION WHEN OTHERS THEN
            _context := 'null';
        END;
        IF jsonb_typeof(_context) <> 'object' OR octet_length(_given) > 4096 THEN
            _context := '{}';
            _ignored := _ignored || 'rowhook.context is not a JSON object of at most 4096 bytes'::text;
        END IF;
    END IF;
    IF _traceparent !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        _traceparent := NULL;
        _ignored := _ignored || 'rowhook.traceparent is not one of W3C Trace Context'::text;
    END IF;
    _context := _context || jsonb_strip_nulls(jsonb_build_object(
        'actor', nullif(left(current_setting('rowhook.actor', true), 200), ''),
        'correlation_id', nullif(left(current_setting('rowhook.correlation_id', true), 200), ''),
        'traceparent', _traceparent, 'ignored', CASE WHEN _ignored <> '{}' THEN to_jsonb(_ignored) END));
    RETURN nullif(_context, '{}')::json;
END
$_$;

COMMENT ON FUNCTION rowhook.session_context() IS 'What the session says of itself as an event''s context; null: nothing';

CREATE FUNCTION rowhook.set_aside(c rowhook.capture) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Of an exclusion nothing is set aside: what isn't there is left out.
    SELECT ARRAY(
        SELECT format('%s: there is no column "%s" any more', o.option, o.col)
          FROM (SELECT 'key' AS option, unnest((c).key) AS col UNION ALL SELECT 'tenant', (c).tenant UNION ALL SELECT 'include', unnest((c).include)
                UNION ALL SELECT 'redact', jsonb_object_keys((c).redact)) AS o
         WHERE o.col <> ALL (coalesce(rowhook.columns_of((c).table_name), '{}'))
        UNION ALL
        SELECT format('enrich: "%s" is not found by a foreign key (%s) any more', e.key, e.value) FROM jsonb_each_text((c).enrich) AS e
         WHERE NOT EXISTS (SELECT FROM rowhook.enrichments(c) AS n WHERE n.name = e.key)
        UNION ALL
        SELECT format('enrich: role %s lacks the right to read "%s" (%s)', rowhook.capture_owner(), e.key, e.value) FROM jsonb_each_text((c).enrich) AS e
         WHERE rowhook.lacks_rights(c, e.key))
$$;

COMMENT ON FUNCTION rowhook.set_aside(c rowhook.capture) IS 'What a capture''s options ask for and its table no longer has';

CREATE FUNCTION rowhook.set_rules_aside(source regclass) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    UPDATE rowhook.rule AS r SET set_aside = p.problem
      FROM (SELECT q.id, rowhook.rule_problem(q) AS problem FROM rowhook.rule AS q WHERE q.table_name = set_rules_aside.source) AS p
     WHERE p.id = r.id AND p.problem IS DISTINCT FROM r.set_aside
$$;

COMMENT ON FUNCTION rowhook.set_rules_aside(source regclass) IS 'Note which rules of a table fit it no longer, and which do again';

CREATE FUNCTION rowhook.set_up_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _function regprocedure;
BEGIN
    PERFORM rowhook.make_role('rowhook_capture',
        format('capture functions belong to %I, and what a table''s owner defined (casts) runs with its rights', current_user));
    PERFORM rowhook.make_role('rowhook_relay', 'relays have to log in as a role that owns the schema, or has all rights on it');
    PERFORM rowhook.make_role('rowhook_reader', 'who may only read has to be granted the views one by one');
    PERFORM rowhook.make_role('rowhook_skip', 'nobody but a superuser may write uncaptured (rowhook.skip)');
    PERFORM rowhook.join_capture_role();
    PERFORM rowhook.grant_to_roles();
    FOR _function IN
        SELECT p.oid FROM pg_proc AS p
         WHERE p.pronamespace = 'rowhook'::regnamespace AND p.prosecdef AND pg_has_role(current_user, p.proowner, 'USAGE')
           AND p.prorettype <> 'event_trigger'::regtype  -- that one captures: it stays with who migrates
           AND pg_get_userbyid(p.proowner) <> rowhook.capture_owner()
    LOOP
        PERFORM rowhook.give_to_capture_owner(_function::text);
    END LOOP;
END
$$;

COMMENT ON FUNCTION rowhook.set_up_roles() IS 'Make the roles that are missing, grant what they are for, give them the trigger functions; any time again';

CREATE FUNCTION rowhook.settings_sql(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- The same value is to give the same text, and the same row key, whoever writes: where a setting of the session makes it another,
    -- the function has its own. JSON's dates are ISO in any case and a timestamptz says its zone, but not as text, as in a key or in
    -- a range. It looks into arrays, domains, composite types and ranges; what types of others depend on it can't know, but of
    -- floats that many are made of them. All but the last together cost an INSERT of one row 1.2 microseconds of 18, so they are not for
    -- tables that don't need them.
    WITH RECURSIVE used (type, as_text) AS (
        (SELECT a.atttypid, coalesce(a.attname = ANY ((c).key || (c).tenant), false) OR coalesce((c).redact ? a.attname, false)
           FROM pg_attribute AS a WHERE a.attrelid = (c).table_name AND a.attnum > 0 AND NOT a.attisdropped)
        UNION
        SELECT i.type, u.as_text OR i.as_text
          FROM used AS u JOIN pg_type AS t ON t.oid = u.type,
               LATERAL (SELECT t.typelem, false UNION ALL SELECT t.typbasetype, false
                        UNION ALL SELECT a.atttypid, false FROM pg_attribute AS a
                                   WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                        UNION ALL SELECT r.rngsubtype, true FROM pg_range AS r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)) AS i (type, as_text)
         WHERE i.type <> 0
    ), leaf AS (
        SELECT u.type, u.as_text, t.typtype = 'b' AND t.typcategory = 'U' AND t.typnamespace <> 'pg_catalog'::regnamespace AS unknown
          FROM (SELECT * FROM used
                UNION SELECT a.atttypid, false FROM rowhook.enrichments(c) AS e JOIN pg_attribute AS a ON a.attrelid = e.far AND a.attname = e.far_column) AS u
          JOIN pg_type AS t ON t.oid = u.type
    )
    SELECT coalesce(string_agg(format(E'\nSET %s = %L', s.name, s.value), '' ORDER BY s.n), '')
      FROM (VALUES (1, 'timezone', 'UTC', '{timestamptz}'::regtype[], true), (2, 'datestyle', 'ISO, MDY', '{date,timestamp,timestamptz}', true),
                   (3, 'intervalstyle', 'postgres', '{interval}', false), (4, 'bytea_output', 'hex', '{bytea}', false),
                   (5, 'extra_float_digits', '1', '{float4,float8,point,lseg,path,box,polygon,line,circle}', false),
                   (6, 'lc_monetary', 'C', '{money}', false)) AS s (n, name, value, types, in_text_only)
     WHERE EXISTS (SELECT FROM leaf AS l WHERE l.type = ANY (s.types) AND (l.as_text OR NOT s.in_text_only) OR l.unknown AND s.n = 5)
$$;

COMMENT ON FUNCTION rowhook.settings_sql(c rowhook.capture) IS 'Settings of trigger functions without which the text of values would be the writer''s session''s';

CREATE FUNCTION rowhook.side_sql(c rowhook.capture, row_name text, ordinal text, source text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- A row that is not captured has no record.
    SELECT format('(SELECT %s AS i, %s AS r, %s AS k, %s AS t%s%s)', side_sql.ordinal,
        coalesce('CASE WHEN ' || rowhook.holds_sql(c, side_sql.row_name) || ' THEN ' || rowhook.record_sql(c, side_sql.row_name) || ' END',
                 rowhook.record_sql(c, side_sql.row_name)),
        rowhook.key_sql(side_sql.row_name, (c).key), rowhook.tenant_sql(side_sql.row_name, (c).tenant),
        CASE WHEN (c).max_size IS NULL THEN '' ELSE format(', %s AS x', rowhook.key_payload_sql(c, side_sql.row_name)) END, side_sql.source)
$$;

COMMENT ON FUNCTION rowhook.side_sql(c rowhook.capture, row_name text, ordinal text, source text) IS 'Old or new rows of an update, numbered';

CREATE FUNCTION rowhook.singular(plural text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- Enough for regular English; the command line uses a dictionary, and type_prefix overrides both.
    SELECT CASE WHEN w ~* '^s?$' THEN 'row' WHEN w ~* 'ies$' THEN regexp_replace(w, 'ies$', 'y', 'i')
                WHEN w ~* '(ss|x|ch|sh)es$' THEN regexp_replace(w, 'es$', '', 'i')
                WHEN w ~* '(ss|us|is)$' THEN w
                ELSE regexp_replace(w, 's$', '', 'i') END
      FROM (SELECT regexp_replace(singular.plural, '[^A-Za-z0-9_-]+', '_', 'g') AS w) AS word
$_$;

COMMENT ON FUNCTION rowhook.singular(plural text) IS 'Default type prefix of a table: expenses -> expense';

CREATE FUNCTION rowhook.skips() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- By who logged in: who a function runs as, or SET ROLE says, does not count.
    SELECT lower(current_setting('rowhook.skip', true)) IN ('on', 'true', 'yes', '1')
       AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = 'rowhook_skip' AND pg_has_role(session_user, r.oid, 'MEMBER'))
$$;

COMMENT ON FUNCTION rowhook.skips() IS 'Whether the session''s writes make no events: it says so, and is a member of rowhook_skip';

CREATE FUNCTION rowhook.slot_is_filled(slot integer) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _filled boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM rowhook.event_%s)', slot_is_filled.slot) INTO _filled;
    RETURN _filled;
END
$$;

COMMENT ON FUNCTION rowhook.slot_is_filled(slot integer) IS 'Whether a slot of the ring holds any event';

CREATE FUNCTION rowhook.steps_sql(c rowhook.capture, body text, rules text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- The doorbell after the events, clock before flag: see rowhook.ring(), whose test this repeats, since a call costs each
    -- write 2 microseconds. A flag that is 0 or null, disarmed, needs no clock. Under on_error = record what fails costs no more than
    -- its own events: a rule's not the row's, nor the other way round.
    WITH ring (test) AS (
        SELECT format($sql$
    IF %s AND pg_sequence_last_value('rowhook.doorbell'::regclass) > 0 THEN
        _now := date_part('epoch', clock_timestamp()) * 1000;
        _armed := pg_sequence_last_value('rowhook.doorbell'::regclass);
        IF _now < _armed THEN PERFORM rowhook.ring(); END IF;
    END IF;$sql$, CASE steps_sql.rules WHEN '' THEN '_wrote' ELSE '_found' END)
    ), step (n, says, step) AS (
        SELECT 1, '', steps_sql.body || ring.test FROM ring WHERE steps_sql.rules = ''
        UNION ALL SELECT 1, '', steps_sql.body || E'\n    _found := _wrote;' WHERE steps_sql.rules <> '' AND steps_sql.body <> ''
        UNION ALL SELECT 2, $sql$'rule ' || _rule || ': ' || $sql$, steps_sql.rules WHERE steps_sql.rules <> ''
        UNION ALL SELECT 3, '', ring.test FROM ring WHERE steps_sql.rules <> ''
    )
    SELECT string_agg(CASE (c).on_error WHEN 'abort' THEN s.step ELSE format($sql$
    BEGIN%s
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO rowhook.capture_failure (table_name, name, op, sqlstate, message) VALUES (%L, %L, _op, SQLSTATE, %sSQLERRM);
    END;$sql$, s.step, rowhook.table_label((c).table_name), (c).name, s.says) END, '' ORDER BY s.n) FROM step AS s
$_$;

COMMENT ON FUNCTION rowhook.steps_sql(c rowhook.capture, body text, rules text) IS 'What a trigger function does: the capture''s events, the rules'', the bell';

CREATE FUNCTION rowhook.subscribed(source regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Publications name partitions or their root, whichever the publisher chose.
    SELECT EXISTS (SELECT FROM pg_subscription_rel AS s
                    WHERE s.srrelid = subscribed.source
                       OR s.srrelid IN (SELECT t.relid FROM pg_partition_tree(subscribed.source) AS t)
                       OR s.srrelid IN (SELECT a.relid FROM pg_partition_ancestors(subscribed.source) AS a))
$$;

COMMENT ON FUNCTION rowhook.subscribed(source regclass) IS 'Whether a subscription writes to a table: that fires row triggers only, and of those the ones that fire always';

CREATE TABLE rowhook.ring (
    slot smallint NOT NULL,
    is_swept boolean DEFAULT false NOT NULL,
    opened_at timestamp with time zone,
    closed_at timestamp with time zone,
    system_identifier bigint,
    seen pg_snapshot,
    archived_in text,
    CONSTRAINT seen_has_its_cluster CHECK (((seen IS NULL) = (system_identifier IS NULL))),
    CONSTRAINT slot_is_in_the_ring CHECK (((slot >= 0) AND (slot <= 9))),
    CONSTRAINT swept_has_seen CHECK (((seen IS NOT NULL) OR ((NOT is_swept) AND (archived_in IS NULL)))),
    CONSTRAINT swept_was_closed CHECK (((seen IS NULL) OR (closed_at IS NOT NULL)))
);

COMMENT ON TABLE rowhook.ring IS 'The ten slots of the ring: since when each is written to, when it was left, how far retention is with it';

COMMENT ON COLUMN rowhook.ring.slot IS 'Number of the partition: rowhook.event_0 to event_9';

COMMENT ON COLUMN rowhook.ring.is_swept IS 'Its events that were seen have no deliveries any more, or were moved: it can be emptied';

COMMENT ON COLUMN rowhook.ring.opened_at IS 'When it became the present one, as far as retention noticed; null: it is empty';

COMMENT ON COLUMN rowhook.ring.closed_at IS 'When writers left it; null: it is the present one, or empty';

COMMENT ON COLUMN rowhook.ring.system_identifier IS 'The cluster in which "seen" means something';

COMMENT ON COLUMN rowhook.ring.seen IS 'What had been dispatched when its sweep began; from then on its events get no new deliveries';

COMMENT ON COLUMN rowhook.ring.archived_in IS 'The files that hold what was seen, where it is archived before it goes';

CREATE FUNCTION rowhook.survey_ring() RETURNS SETOF rowhook.ring
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _present smallint := rowhook.present_slot();
    _open    boolean;
    _closed  boolean;
BEGIN
    -- The sequence and the slots are the truth; this table only remembers since when. A late writer may fill a slot again that was
    -- emptied: then it was left just now. Nothing is written where nothing has changed.
    FOR _slot IN 0..9 LOOP
        _open := _slot = _present;
        _closed := NOT _open AND rowhook.slot_is_filled(_slot);
        UPDATE rowhook.ring AS r
           SET opened_at = CASE WHEN _open OR _closed THEN coalesce(r.opened_at, clock_timestamp()) END,
               closed_at = CASE WHEN _closed THEN coalesce(r.closed_at, clock_timestamp()) END,
               seen = NULL, system_identifier = NULL, is_swept = false, archived_in = NULL
         WHERE r.slot = _slot AND ((r.opened_at IS NOT NULL) <> (_open OR _closed) OR (r.closed_at IS NOT NULL) <> _closed);
    END LOOP;
    RETURN QUERY SELECT r.* FROM rowhook.ring AS r ORDER BY r.slot;
END
$$;

COMMENT ON FUNCTION rowhook.survey_ring() IS 'The ring as it is now';

CREATE FUNCTION rowhook.sweep_slot(slot integer, after bigint, batch integer, ended_before timestamp with time zone, OUT last_id bigint, OUT deliveries bigint, OUT moved bigint) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
DECLARE
    _ids     bigint[];
    _present smallint := rowhook.present_slot();
BEGIN
    IF _present = sweep_slot.slot OR NOT EXISTS (SELECT FROM rowhook.ring AS r WHERE r.slot = sweep_slot.slot AND r.seen IS NOT NULL) THEN
        PERFORM rowhook.refuse(format('slot %s is not being swept', sweep_slot.slot));
    END IF;
    EXECUTE format('SELECT array_agg(p.id), max(p.id) FROM (SELECT e.id FROM rowhook.event_%s AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2) AS p',
                   sweep_slot.slot) INTO _ids, last_id USING sweep_slot.after, sweep_slot.batch;
    IF last_id IS NULL THEN
        UPDATE rowhook.ring AS r SET is_swept = true WHERE r.slot = sweep_slot.slot;
        RETURN;
    END IF;
    -- A replay that is about to make one pending again is waited for, and then this leaves it alone.
    WITH gone AS (
        DELETE FROM rowhook.delivery AS d
         WHERE d.event_id = ANY (_ids) AND d.state IN ('delivered', 'dead', 'cancelled') AND d.ended_at < sweep_slot.ended_before
        RETURNING d.id
    ), tried AS (
        DELETE FROM rowhook.attempt AS a USING gone AS g WHERE a.delivery_id = g.id
    )
    SELECT count(*) INTO deliveries FROM gone;
    -- A statement of its own, later: it sees what that one left. Deliveries name their event by its slot of birth, which stays; so do
    -- its public id and its bytes.
    UPDATE rowhook.event AS e SET kept_in = _present
     WHERE e.kept_in = sweep_slot.slot AND e.id = ANY (_ids) AND EXISTS (SELECT FROM rowhook.delivery AS d WHERE d.event_id = e.id);
    GET DIAGNOSTICS moved = ROW_COUNT;
END
$_$;

COMMENT ON FUNCTION rowhook.sweep_slot(slot integer, after bigint, batch integer, ended_before timestamp with time zone, OUT last_id bigint, OUT deliveries bigint, OUT moved bigint) IS 'The next events of a slot after an id: old deliveries go, what is left is moved. last_id is null at the end';

CREATE FUNCTION rowhook.table_label(source regclass) RETURNS text
    LANGUAGE sql STABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN n.nspname = 'public' THEN quote_ident(c.relname) ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = table_label.source
$$;

COMMENT ON FUNCTION rowhook.table_label(source regclass) IS 'A table''s name as events show it: with its schema unless that is public';

CREATE FUNCTION rowhook.taken_sql(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- A predicate's column that is gone would be looked for among the function's variables. Here each of their names is ambiguous, which
    -- is an error; the row's own columns are nearer.
    SELECT format('(SELECT %s) AS rowhook_taken', string_agg(format('0 AS "%1$s", 0 AS "%1$s"', replace(t.name, '"', '""')), ', ' ORDER BY t.name))
      FROM (SELECT unnest('{at,slot,context,chain,_now,_armed,_wrote,_op,_found,_broken,_rule,_captured,_enriched,found,tg_name,tg_when,tg_level,tg_op,tg_relid,tg_relname,tg_table_name,tg_table_schema,tg_nargs,tg_argv}'::text[])
            UNION SELECT unnest(rowhook.named_columns(c))) AS t (name)
     WHERE t.name NOT IN ('new', 'old')  -- rows as a whole
$_$;

COMMENT ON FUNCTION rowhook.taken_sql(c rowhook.capture) IS 'A row in which each name of a trigger function''s variables is there twice';

CREATE FUNCTION rowhook.tenant_sql(row_name text, column_name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN tenant_sql.column_name IS NULL THEN 'NULL::text'
                ELSE format('%s.%I::text', tenant_sql.row_name, tenant_sql.column_name) END
$$;

COMMENT ON FUNCTION rowhook.tenant_sql(row_name text, column_name text) IS 'SQL expression of a tenant';

CREATE FUNCTION rowhook.timed(statements text[]) RETURNS double precision[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _best  double precision[] := array_fill(NULL::double precision, ARRAY[cardinality(statements)]);
    _began timestamptz;
    _took  double precision;
BEGIN
    -- The best of five rounds: the first ones plan and warm up, and a machine that others use is slow at times.
    FOR _round IN 1..5 LOOP
        FOR _i IN 1..cardinality(statements) LOOP
            _began := clock_timestamp();
            EXECUTE statements[_i];
            _took := extract(epoch FROM clock_timestamp() - _began) * 1000000;
            _best[_i] := least(_best[_i], _took);
        END LOOP;
    END LOOP;
    RETURN _best;
END
$$;

COMMENT ON FUNCTION rowhook.timed(statements text[]) IS 'How long each of these statements takes, in microseconds';

CREATE FUNCTION rowhook.told_sql(c rowhook.capture, begins bigint) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- One row a key: whether the events end with it there (null: they can't tell), and the last that says what is in it.
    SELECT format($sql$
    touch AS (
        SELECT t.k COLLATE "C" AS k, e.id, e.slot, e.xid, t.puts, t.arrives
          FROM rowhook.event AS e
         CROSS JOIN LATERAL (SELECT CASE WHEN e.op = 'update' AND (%3$s) THEN rowhook.old_key(e, %4$L, %5$L) END AS key OFFSET 0) AS was
         CROSS JOIN LATERAL (SELECT %6$s, e.op <> 'delete', e.op = 'insert' OR was.key IS NOT NULL
                             UNION ALL SELECT was.key, false, false WHERE was.key IS NOT NULL) AS t (k, puts, arrives)
         WHERE e.table_name = ANY (%1$L) AND e.id > %2$s AND e.op IN ('insert', 'update', 'delete', 'snapshot') AND e.row_key IS NOT NULL
           AND (%7$s)
    ), turn AS (
        SELECT k, max(id) AS id, max(ARRAY[id, slot]) FILTER (WHERE puts) AS put,
               CASE WHEN max(id) FILTER (WHERE puts) = max(id) THEN true
                    -- What left after something arrived in the same transaction may have left before. (3: see the reseed.)
                    WHEN count(*) FILTER (WHERE arrives) < count(*) FILTER (WHERE NOT puts) OR xid = '3' THEN false END AS present
          FROM touch GROUP BY k, xid
    ), told AS (
        SELECT k, (array_agg(present ORDER BY id DESC) FILTER (WHERE present IS NOT NULL))[1] AS present, max(put) AS put
          FROM turn GROUP BY k
    )$sql$, (c).labels, told_sql.begins, k.mentioned, (c).key, k.types, k.again,
        (SELECT string_agg(format('e.type = ANY (%L) AND e.id > %s', ARRAY(SELECT p.key || '.' || past FROM unnest('{created,updated,deleted,snapshot}'::text[]) AS past), p.value), ' OR ')
           FROM jsonb_each_text((c).prefixes) AS p))
      FROM (SELECT array_agg(a.atttypid::regtype ORDER BY u.n) AS types,
                   string_agg(format('strpos(e.previous::text, %L) > 0', to_json(u.col)::text || ':'), ' OR ') AS mentioned,
                   -- The text of these types depends on the writer's settings.
                   CASE WHEN NOT bool_or(a.atttypid = ANY ('{timestamptz,timestamp,date,interval,bytea,float4,float8}'::regtype[])) THEN 'e.row_key'
                        ELSE format('rowhook.key_of(%s, %L)',
                                    CASE cardinality((c).key) WHEN 1 THEN 'ARRAY[e.row_key]' ELSE 'ARRAY(SELECT json_array_elements_text(e.row_key::json))' END,
                                    array_agg(a.atttypid::regtype ORDER BY u.n)) END AS again
              FROM unnest((c).key) WITH ORDINALITY AS u (col, n)
              JOIN pg_attribute AS a ON a.attrelid = (c).table_name AND a.attname = u.col) AS k
$_$;

COMMENT ON FUNCTION rowhook.told_sql(c rowhook.capture, begins bigint) IS 'SQL of what the events after one say of each key';

CREATE FUNCTION rowhook.trigger_names(c rowhook.capture) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Triggers fire in the order of their names: "!" sorts first, so "created" precedes what the user's own triggers cause.
    SELECT ARRAY(SELECT quote_ident('!rowhook_' || e || rowhook.trigger_suffix(c)) FROM unnest(rowhook.operations(c)) AS e WHERE e = 'truncate' OR (c).mode = 'statement')
        || CASE WHEN (c).mode = 'row' AND rowhook.operations(c) && '{insert,update,delete}' THEN ARRAY[quote_ident(rowhook.row_trigger(c))] ELSE '{}' END
$$;

COMMENT ON FUNCTION rowhook.trigger_names(c rowhook.capture) IS 'The triggers of a capture, quoted';

CREATE FUNCTION rowhook.trigger_suffix(c rowhook.capture) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- A name begins with a letter, a capture's id with a digit.
    SELECT CASE (c).name WHEN '' THEN '' ELSE '_' || (c).name END
$$;

COMMENT ON FUNCTION rowhook.trigger_suffix(c rowhook.capture) IS 'By which the triggers of a table''s captures differ';

CREATE FUNCTION rowhook.triggers_ddl(c rowhook.capture) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE WHEN (c).mode = 'row' AND rows.operations <> '{}'
        THEN format(E'CREATE TRIGGER %I AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION rowhook.capture_%s_row();\n',
                    rowhook.row_trigger(c), upper(array_to_string(rows.operations, ' OR ')), (c).table_name, (c).id)
        ELSE '' END
    || coalesce((SELECT string_agg(format(E'CREATE TRIGGER %I AFTER %s ON %s%s FOR EACH STATEMENT EXECUTE FUNCTION rowhook.capture_%s_%s();\n',
                      '!rowhook_' || op || rowhook.trigger_suffix(c), upper(op), (c).table_name,
                      CASE op WHEN 'insert' THEN ' REFERENCING NEW TABLE AS rowhook_new_rows'
                              WHEN 'update' THEN ' REFERENCING OLD TABLE AS rowhook_old_rows NEW TABLE AS rowhook_new_rows'
                              WHEN 'delete' THEN ' REFERENCING OLD TABLE AS rowhook_old_rows' ELSE '' END, (c).id, op), '' ORDER BY n)
          FROM unnest(rowhook.operations(c)) WITH ORDINALITY AS o (op, n)
         WHERE op = 'truncate' OR (c).mode = 'statement'), '')
    || CASE WHEN (c).paused OR rowhook.subscribed((c).table_name) THEN coalesce((
            SELECT string_agg(format(E'ALTER TABLE %s %s TRIGGER %s;\n', (c).table_name, CASE WHEN (c).paused THEN 'DISABLE' ELSE 'ENABLE ALWAYS' END, t), '')
              FROM unnest(rowhook.trigger_names(c)) AS t), '') ELSE '' END
      FROM (SELECT array_remove(rowhook.operations(c), 'truncate') AS operations) AS rows
$$;

COMMENT ON FUNCTION rowhook.triggers_ddl(c rowhook.capture) IS 'The SQL that makes a capture''s triggers, where there are none';

CREATE FUNCTION rowhook.turn_ring(width interval) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _present smallint := rowhook.present_slot();
    _next    integer;
BEGIN
    IF NOT EXISTS (SELECT FROM rowhook.ring AS r WHERE r.slot = _present AND r.opened_at <= clock_timestamp() - turn_ring.width)
       OR NOT rowhook.slot_is_filled(_present) THEN
        RETURN 'young';
    END IF;
    FOR _step IN 1..9 LOOP
        _next := (_present + _step) % 10;
        IF NOT rowhook.slot_is_filled(_next) THEN
            PERFORM setval('rowhook.present_slot', _next), rowhook.survey_ring();
            RETURN 'turned';
        END IF;
    END LOOP;
    RETURN 'full';
END
$$;

COMMENT ON FUNCTION rowhook.turn_ring(width interval) IS 'Let writers go on to an empty slot, if the present one was written to for so long: young, turned, or full';

CREATE FUNCTION rowhook.types_of(c rowhook.capture) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT ARRAY(SELECT (c).type_prefix || '.' || CASE e WHEN 'insert' THEN 'created' WHEN 'truncate' THEN 'truncated' ELSE e || 'd' END
                   FROM unnest((c).events) WITH ORDINALITY AS u (e, n) ORDER BY u.n)
        || ARRAY(SELECT r.type FROM rowhook.rule AS r WHERE (c).name = '' AND r.table_name = (c).table_name ORDER BY r.id)
$$;

COMMENT ON FUNCTION rowhook.types_of(c rowhook.capture) IS 'The event types of a capture and its rules';

CREATE FUNCTION rowhook.uncapture(table_name regclass, name text DEFAULT ''::text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _was rowhook.capture;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM rowhook.capture AS c WHERE c.table_name = uncapture.table_name AND c.name = coalesce(uncapture.name, '') RETURNING c.* INTO _was;
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(rowhook.not_captured(uncapture.table_name, uncapture.name), 'Captured tables are: '
            || coalesce((SELECT string_agg(rowhook.table_label(c.table_name) || coalesce(' by the name ' || nullif(c.name, ''), ''), ', ' ORDER BY c.id)
                           FROM rowhook.capture AS c), 'none'));
    END IF;
    DELETE FROM rowhook.rule AS r WHERE r.table_name = uncapture.table_name AND _was.name = '';
    DELETE FROM rowhook.schema_version AS v WHERE v.capture_id = _was.id;
    DELETE FROM rowhook.backfill AS b WHERE b.table_name = _was.table_name AND b.name = _was.name AND b.ended_at IS NULL;
    IF rowhook.drop_ddl(_was) <> '' THEN
        PERFORM rowhook.execute_own(rowhook.drop_ddl(_was));
    END IF;
    PERFORM rowhook.revoke_enrichments(_was, NULL);
    RETURN 'removed';
END
$$;

COMMENT ON FUNCTION rowhook.uncapture(table_name regclass, name text) IS 'Remove a capture and its rules; no trace of it is left on the table';

CREATE FUNCTION rowhook.uncapture_commands(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT string_agg('rowhook uncapture ' || rowhook.capture_label(c.table_name, c.name), '; ' ORDER BY c.id)
      FROM rowhook.capture AS c WHERE c.table_name = uncapture_commands.source AND c.events <> '{}'
$$;

COMMENT ON FUNCTION rowhook.uncapture_commands(source regclass) IS 'What removes all captures of a table that make events of its rows';

CREATE FUNCTION rowhook.unrule(type text, on_table regclass) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    _capture rowhook.capture;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM rowhook.rule AS r WHERE r.table_name = unrule.on_table AND r.type = unrule.type;
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(format('table %s has no rule "%s"', coalesce(rowhook.table_label(unrule.on_table), unrule.on_table::text), unrule.type),
            'Its rules are: ' || coalesce((SELECT string_agg(r.type, ', ' ORDER BY r.id) FROM rowhook.rule AS r WHERE r.table_name = unrule.on_table), 'none'));
    END IF;
    SELECT c.* INTO _capture FROM rowhook.capture AS c WHERE c.table_name = unrule.on_table AND c.name = '';
    IF rowhook.operations(_capture) = '{}' THEN
        PERFORM rowhook.uncapture(unrule.on_table);
    ELSE
        PERFORM rowhook.capture(unrule.on_table);
    END IF;
    RETURN 'removed';
END
$$;

COMMENT ON FUNCTION rowhook.unrule(type text, on_table regclass) IS 'Remove a rule; of a table that only rules made events of no trace is left';

CREATE FUNCTION rowhook.update_sql(c rowhook.capture, pairs text, split boolean) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- "pairs" joins old rows o and new rows n (r: what of the row is captured, k: key, t: tenant, x: key as payload); p has their JSON.
    -- With "split", a row whose tenant changed, or that has no partner, becomes deleted for the one and created for the other; so does
    -- one that leaves those that are captured or comes under them, which has no record before or after. JSON is made only of rows that
    -- differ bit by bit, an event only where the JSON does. Key and tenant may be excluded from it, so they are compared as well.
    SELECT rowhook.event_sql(c, 'e.op', 'e.type', 'e.row_key', 'e.tenant', 'e.data', 'e.keys', previous => 'e.previous', moved => 'e.moved',
        old_keys => 'e.old_keys', source => format($sql$
      FROM %1$s
     CROSS JOIN LATERAL %6$s AS p
     CROSS JOIN LATERAL (
           SELECT rowhook.event_op 'update' AS op, %2$L AS type, n.k AS row_key, n.t AS tenant, p.data,%5$s AS previous, false AS moved%3$s%4$s) AS e$sql$,
        update_sql.pairs, (c).type_prefix || '.updated',
        CASE WHEN (c).max_size IS NULL THEN '' ELSE ', n.x AS keys, CASE WHEN o.k IS DISTINCT FROM n.k THEN o.x END AS old_keys' END,
        CASE WHEN update_sql.split OR (c).predicate IS NOT NULL THEN format($sql$
            WHERE p.was IS NOT NULL AND p.becomes IS NOT NULL AND o.t IS NOT DISTINCT FROM n.t
           UNION ALL
           SELECT 'delete', %L, o.k, o.t, row_to_json(o.r), NULL, n.i IS NOT NULL%s
            WHERE p.was IS NOT NULL AND (p.becomes IS NULL OR o.t IS DISTINCT FROM n.t)
           UNION ALL
           SELECT 'insert', %L, n.k, n.t, p.data, NULL, o.i IS NOT NULL%s
            WHERE p.becomes IS NOT NULL AND (p.was IS NULL OR o.t IS DISTINCT FROM n.t)$sql$,
            (c).type_prefix || '.deleted', CASE WHEN (c).max_size IS NULL THEN '' ELSE ', o.x, NULL' END,
            (c).type_prefix || '.created', CASE WHEN (c).max_size IS NULL THEN '' ELSE ', n.x, NULL' END) ELSE '' END,
        rowhook.changed_sql('p', 'row_to_json(o.r)', 'row_to_json(n.r)'), rowhook.compared_sql('o.r', 'n.r')),
        condition => $sql$
     WHERE ((o.r *<> n.r) IS NOT FALSE OR o.k IS DISTINCT FROM n.k OR o.t IS DISTINCT FROM n.t)
       AND (p.was IS DISTINCT FROM p.becomes OR o.k IS DISTINCT FROM n.k OR o.t IS DISTINCT FROM n.t)
     ORDER BY coalesce(n.i, o.i)$sql$ || CASE WHEN update_sql.split OR (c).predicate IS NOT NULL THEN $sql$, e.op = 'insert'$sql$ ELSE '' END)  -- deleted for the one before created for the other
$_$;

COMMENT ON FUNCTION rowhook.update_sql(c rowhook.capture, pairs text, split boolean) IS 'The INSERT that captures updated rows';

CREATE FUNCTION rowhook.verify(table_name regclass, name text DEFAULT ''::text, OUT verdict text, OUT row_key text, OUT columns text[], OUT added text[], OUT dropped text[], OUT count bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET bytea_output TO 'hex'
    SET extra_float_digits TO '1'
    AS $$
#variable_conflict use_column
DECLARE
    _capture  rowhook.capture;
    _begins   bigint;
    _complete boolean;
    _newer    text;
BEGIN
    SELECT c.* INTO _capture FROM rowhook.capture AS c WHERE c.table_name = verify.table_name AND c.name = coalesce(verify.name, '');
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(rowhook.not_captured(verify.table_name, verify.name),
            format('There are no events to prove it by; capture it: rowhook capture %s', rowhook.capture_label(verify.table_name, verify.name)));
    END IF;
    PERFORM rowhook.check_verifiable(_capture);
    IF _capture.predicate_depends = 'settings' THEN
        PERFORM rowhook.refuse(format('which rows of table %s are captured depends on the clock or the session: %s', rowhook.table_label(verify.table_name), _capture.predicate),
            'What it said when they were written can''t be told; let it depend on the row alone');
    END IF;
    SELECT b.begins, b.complete, b.newer INTO _begins, _complete, _newer FROM rowhook.log_of(_capture) AS b;
    RETURN QUERY EXECUTE rowhook.verify_sql(_capture, _begins, _complete, _newer);
END
$$;

COMMENT ON FUNCTION rowhook.verify(table_name regclass, name text, OUT verdict text, OUT row_key text, OUT columns text[], OUT added text[], OUT dropped text[], OUT count bigint) IS 'A table''s rows against its events: accounted, missing, stale (in these columns), ghost, unproven; keys of those that differ';

CREATE FUNCTION rowhook.verify_sql(c rowhook.capture, begins bigint, complete boolean, newer text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    SELECT format($sql$
    WITH %1$s, present AS (
        SELECT %2$s COLLATE "C" AS k, %3$s AS j, t.xmin FROM %4$s AS t%12$s
    ), pair AS (
        SELECT coalesce(h.k, s.k) AS k, h.j, s.put,
               CASE WHEN h.k IS NULL THEN CASE WHEN s.present AND %9$L THEN 'ghost' END
                    WHEN s.k IS NOT NULL AND coalesce(s.present, NOT %5$L) THEN 'told'
                    WHEN %10$L AND (s.k IS NOT NULL OR %5$L OR %6$s) THEN 'missing'
                    ELSE 'unproven' END AS verdict
          FROM present AS h FULL JOIN told AS s ON s.k = h.k
    ), judged AS (
        SELECT p.k, x.c, CASE WHEN p.verdict <> 'told' THEN p.verdict
                              WHEN e.truncated OR e.data::text = p.j::text OR (x.c).differ = '{}' THEN 'accounted'
                              WHEN %11$L THEN 'stale' ELSE 'unproven' END AS verdict
          FROM pair AS p
          LEFT JOIN rowhook.event AS e ON e.id = p.put[1] AND e.slot = p.put[2]
         CROSS JOIN LATERAL (SELECT CASE WHEN p.verdict = 'told' AND e.truncated IS NULL AND e.data::text IS DISTINCT FROM p.j::text
                                         THEN rowhook.compared(e.data, p.j, %7$L, %8$L) END AS c OFFSET 0) AS x
         WHERE p.verdict IS NOT NULL
    )
    SELECT j.verdict, CASE WHEN j.verdict IN ('missing', 'stale', 'ghost') THEN j.k END, CASE WHEN j.verdict = 'stale' THEN (j.c).differ END,
           (j.c).added, (j.c).dropped, count(*)
      FROM judged AS j GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2$sql$,
        rowhook.told_sql(c, verify_sql.begins), rowhook.key_sql('t', (c).key), rowhook.payload_sql(c, 't'),
        -- Rows of inheriting tables fire triggers of their own.
        CASE WHEN r.relkind = 'p' THEN '' ELSE 'ONLY ' END || (c).table_name::text,
        verify_sql.complete, verify_sql.newer,
        (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
           FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid AND t.typnamespace = 'pg_catalog'::regnamespace
          WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT coalesce((c).redact ? a.attname, false)),
        -- What a foreign key led to is another row's; of what was redacted nothing but its text can be compared, which of some types is
        -- the writer's settings'.
        ARRAY(SELECT a.attname::text FROM pg_attribute AS a
               WHERE a.attrelid = r.oid AND (c).redact ? a.attname
                 AND a.atttypid = ANY ('{timestamptz,timestamp,date,interval,bytea,float4,float8}'::regtype[]))
        || ARRAY(SELECT k FROM jsonb_object_keys((c).enrich) AS k),
        'delete' = ANY ((c).events), 'insert' = ANY ((c).events), 'update' = ANY ((c).events),
        coalesce(' WHERE ' || rowhook.holds_sql(c, 't'), ''))
      FROM pg_class AS r WHERE r.oid = (c).table_name
$_$;

COMMENT ON FUNCTION rowhook.verify_sql(c rowhook.capture, begins bigint, complete boolean, newer text) IS 'SQL that judges each row of a table by its events';

CREATE FUNCTION rowhook.watch_ddl() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = 'rowhook_follow_ddl') THEN
        CREATE EVENT TRIGGER rowhook_follow_ddl ON ddl_command_end
            WHEN TAG IN ('ALTER TABLE', 'DROP TABLE', 'ALTER FOREIGN TABLE', 'DROP FOREIGN TABLE', 'ALTER SCHEMA', 'DROP SCHEMA', 'DROP OWNED',
                         'ALTER TYPE', 'DROP TYPE', 'ALTER DOMAIN', 'DROP DOMAIN', 'ALTER FUNCTION', 'DROP FUNCTION', 'DROP OPERATOR', 'DROP CAST',
                         'ALTER EXTENSION', 'DROP EXTENSION')
            EXECUTE FUNCTION rowhook.follow_ddl();
    END IF;
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN false;
END
$$;

COMMENT ON FUNCTION rowhook.watch_ddl() IS 'Make the event trigger by which captures follow DDL at once; false: this role may not';

CREATE FUNCTION rowhook.writers_have_ended(patience interval) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    _writers  text[];
    _deadline timestamptz := clock_timestamp() + writers_have_ended.patience;
BEGIN
    -- Whoever has taken an id and not committed holds this lock. Those that begin later are of no interest.
    LOOP
        _writers := ARRAY(SELECT DISTINCT l.virtualtransaction FROM pg_locks AS l
                           WHERE l.locktype = 'relation' AND l.relation = 'rowhook.event'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
                             AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                             AND l.pid IS DISTINCT FROM pg_backend_pid() AND (_writers IS NULL OR l.virtualtransaction = ANY (_writers)));
        IF _writers = '{}' OR clock_timestamp() > _deadline THEN
            RETURN _writers = '{}';
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;

COMMENT ON FUNCTION rowhook.writers_have_ended(patience interval) IS 'Wait for those who are writing events now; false: some go on for longer than that';

CREATE TABLE rowhook.admin_log (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    who text NOT NULL,
    via text NOT NULL,
    action text NOT NULL,
    subject text,
    tenant text,
    request_id text,
    before jsonb,
    after jsonb,
    CONSTRAINT action_is_a_name CHECK ((action ~ '^[a-z_-]+(\.[a-z_-]+)+$'::text)),
    CONSTRAINT via_known CHECK ((via = ANY (ARRAY['cli'::text, 'api'::text, 'run'::text])))
);

COMMENT ON TABLE rowhook.admin_log IS 'Changes through the API or the command line, each written in the transaction of the change; never a secret';

COMMENT ON COLUMN rowhook.admin_log.id IS 'Internal id';

COMMENT ON COLUMN rowhook.admin_log.at IS 'When';

COMMENT ON COLUMN rowhook.admin_log.who IS 'The name of a token, tenant … of a JWT, user@host of a command, or recipe … of what ROWHOOK_RECIPES names';

COMMENT ON COLUMN rowhook.admin_log.via IS 'cli, api, or run: what settings asked for when a relay started';

COMMENT ON COLUMN rowhook.admin_log.action IS 'What was done: endpoint.add, endpoint.edit, capture.install, …';

COMMENT ON COLUMN rowhook.admin_log.subject IS 'To what: a public id, or the name of a table';

COMMENT ON COLUMN rowhook.admin_log.tenant IS 'Whose that is; null: the operator''s';

COMMENT ON COLUMN rowhook.admin_log.request_id IS 'X-Request-Id of the request that asked for it';

COMMENT ON COLUMN rowhook.admin_log.before IS 'As it was: of a change, what differs; null: there was none';

COMMENT ON COLUMN rowhook.admin_log.after IS 'As it is since; null: it is gone';

ALTER TABLE rowhook.admin_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.admin_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE rowhook.attempt (
    id bigint NOT NULL,
    delivery_id bigint NOT NULL,
    endpoint_id bigint NOT NULL,
    instance_id bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    duration interval,
    number integer NOT NULL,
    status_code smallint,
    error_class text,
    error text,
    response_excerpt text,
    CONSTRAINT error_class_known CHECK ((error_class = ANY (ARRAY['dns'::text, 'refused'::text, 'tls'::text, 'timeout'::text, 'reset'::text, 'blocked'::text, 'http_4xx'::text, 'http_5xx'::text, 'redirect'::text, 'protocol'::text, 'too_large'::text, 'lost'::text, 'internal'::text]))),
    CONSTRAINT lost_knows_nothing CHECK (((error_class <> 'lost'::text) OR ((status_code IS NULL) AND (duration IS NULL)))),
    CONSTRAINT number_is_positive CHECK ((number > 0)),
    CONSTRAINT status_code_is_http CHECK (((status_code >= 100) AND (status_code <= 999))),
    CONSTRAINT success_has_status CHECK (((error_class IS NOT NULL) OR ((status_code IS NOT NULL) AND ((status_code >= 200) AND (status_code <= 299)))))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0.1');

COMMENT ON TABLE rowhook.attempt IS 'One try to deliver, and what came of it';

COMMENT ON COLUMN rowhook.attempt.id IS 'Order of recording; a lost one whose outcome becomes known after all gets a new one';

COMMENT ON COLUMN rowhook.attempt.delivery_id IS 'The delivery';

COMMENT ON COLUMN rowhook.attempt.endpoint_id IS 'The delivery''s endpoint';

COMMENT ON COLUMN rowhook.attempt.instance_id IS 'The relay that made it';

COMMENT ON COLUMN rowhook.attempt.started_at IS 'When the request was begun; of a lost one: when it was claimed';

COMMENT ON COLUMN rowhook.attempt.recorded_at IS 'When its outcome was written here; in the order of id, but for transactions at the same moment';

COMMENT ON COLUMN rowhook.attempt.duration IS 'From the start to the end of the answer or the error';

COMMENT ON COLUMN rowhook.attempt.number IS '1, 2, 3 … within the delivery, over all replays';

COMMENT ON COLUMN rowhook.attempt.status_code IS 'HTTP status, where an answer came';

COMMENT ON COLUMN rowhook.attempt.error_class IS 'Null for success; otherwise what kind of failure';

COMMENT ON COLUMN rowhook.attempt.error IS 'The failure in words';

COMMENT ON COLUMN rowhook.attempt.response_excerpt IS 'The first 4 kB of the answer''s body';

ALTER TABLE rowhook.attempt ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE rowhook.backfill ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.backfill_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE rowhook.capture_failure (
    id bigint NOT NULL,
    occurred_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    table_name text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    op text NOT NULL,
    sqlstate text NOT NULL,
    message text NOT NULL
);

COMMENT ON TABLE rowhook.capture_failure IS 'Writes that went uncaptured under on_error = record';

COMMENT ON COLUMN rowhook.capture_failure.id IS 'Internal id';

COMMENT ON COLUMN rowhook.capture_failure.occurred_at IS 'When';

COMMENT ON COLUMN rowhook.capture_failure.table_name IS 'The captured table';

COMMENT ON COLUMN rowhook.capture_failure.name IS 'Which of its captures';

COMMENT ON COLUMN rowhook.capture_failure.op IS 'INSERT, UPDATE, DELETE or TRUNCATE';

COMMENT ON COLUMN rowhook.capture_failure.sqlstate IS 'Postgres'' error code';

COMMENT ON COLUMN rowhook.capture_failure.message IS 'Postgres'' error message';

ALTER TABLE rowhook.capture_failure ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.capture_failure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE rowhook.capture ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.capture_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE rowhook.chain (
    correlation_id text NOT NULL,
    type text NOT NULL,
    table_name text NOT NULL,
    row_key text NOT NULL,
    last_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    seen integer DEFAULT 1 NOT NULL
);

COMMENT ON TABLE rowhook.chain IS 'How often a correlation id has come by a row with one type; forgotten a day after the last time';

COMMENT ON COLUMN rowhook.chain.correlation_id IS 'What the events of a chain have in common';

COMMENT ON COLUMN rowhook.chain.type IS 'Event type';

COMMENT ON COLUMN rowhook.chain.table_name IS 'The captured table';

COMMENT ON COLUMN rowhook.chain.row_key IS 'The row';

COMMENT ON COLUMN rowhook.chain.last_at IS 'When it last came by';

COMMENT ON COLUMN rowhook.chain.seen IS 'How often, up to now';

CREATE TABLE rowhook.cursor (
    singleton boolean DEFAULT true NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    "position" bigint,
    fresh_from bigint,
    highest_id bigint DEFAULT 0 NOT NULL,
    system_identifier bigint NOT NULL,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT there_is_one CHECK (singleton),
    CONSTRAINT window_is_whole CHECK ((((target IS NULL) = ("position" IS NULL)) AND ((target IS NULL) = (fresh_from IS NULL))))
)
WITH (fillfactor='50');

COMMENT ON TABLE rowhook.cursor IS 'How far events have been dispatched; one row';

COMMENT ON COLUMN rowhook.cursor.singleton IS 'Always true';

COMMENT ON COLUMN rowhook.cursor.seen IS 'Events visible in this snapshot have been dispatched';

COMMENT ON COLUMN rowhook.cursor.target IS 'End of the window being dispatched in chunks; null between windows';

COMMENT ON COLUMN rowhook.cursor."position" IS 'Within the window: events up to this id have been dispatched';

COMMENT ON COLUMN rowhook.cursor.fresh_from IS 'Lowest id among the window''s transactions that began after "seen"';

COMMENT ON COLUMN rowhook.cursor.highest_id IS 'Highest event id ever dispatched';

COMMENT ON COLUMN rowhook.cursor.system_identifier IS 'The cluster in which "seen" means something';

COMMENT ON COLUMN rowhook.cursor.moved_at IS 'When it last moved';

CREATE TABLE rowhook.delivery (
    id bigint NOT NULL,
    event_id bigint NOT NULL,
    endpoint_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    due_at timestamp with time zone,
    leased_at timestamp with time zone,
    ended_at timestamp with time zone,
    instance_id bigint,
    attempts integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    event_slot smallint NOT NULL,
    free_tries smallint DEFAULT 0 NOT NULL,
    last_try boolean DEFAULT false NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    webhook_id text,
    order_key text,
    shape text,
    body text,
    CONSTRAINT ended_has_time CHECK (((state = ANY (ARRAY['delivered'::text, 'dead'::text, 'cancelled'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT leased_has_owner CHECK (((state = 'leased'::text) = (instance_id IS NOT NULL))),
    CONSTRAINT leased_has_time CHECK (((state <> 'leased'::text) OR (leased_at IS NOT NULL))),
    CONSTRAINT leased_is_counted CHECK (((state <> 'leased'::text) OR (attempts > 0))),
    CONSTRAINT pending_has_due CHECK (((state = 'pending'::text) = (due_at IS NOT NULL))),
    CONSTRAINT pending_has_further_tries CHECK (((state <> 'pending'::text) OR (NOT last_try))),
    CONSTRAINT state_known CHECK ((state = ANY (ARRAY['pending'::text, 'leased'::text, 'delivered'::text, 'dead'::text, 'cancelled'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0.1');

COMMENT ON TABLE rowhook.delivery IS 'One event on its way to one endpoint';

COMMENT ON COLUMN rowhook.delivery.id IS 'Internal id';

COMMENT ON COLUMN rowhook.delivery.event_id IS 'The event; no foreign key, see event';

COMMENT ON COLUMN rowhook.delivery.endpoint_id IS 'The endpoint; endpoints are never deleted';

COMMENT ON COLUMN rowhook.delivery.created_at IS 'When it was dispatched';

COMMENT ON COLUMN rowhook.delivery.due_at IS 'Pending: when it may be tried next';

COMMENT ON COLUMN rowhook.delivery.leased_at IS 'When the present or last try was claimed';

COMMENT ON COLUMN rowhook.delivery.ended_at IS 'When it was delivered, died or was cancelled';

COMMENT ON COLUMN rowhook.delivery.instance_id IS 'Leased: the running relay that holds it';

COMMENT ON COLUMN rowhook.delivery.attempts IS 'Tries claimed so far, over all replays; the number of the present or last attempt';

COMMENT ON COLUMN rowhook.delivery.failures IS 'Tries since the last replay that used up the schedule';

COMMENT ON COLUMN rowhook.delivery.event_slot IS 'The event''s partition, so that a join reads only that one';

COMMENT ON COLUMN rowhook.delivery.free_tries IS 'Tries in a row that did not use up the schedule: lost ones, stale keep-alive connections';

COMMENT ON COLUMN rowhook.delivery.last_try IS 'Given up by a person while it was out: if the present try fails, it is cancelled';

COMMENT ON COLUMN rowhook.delivery.state IS 'pending, leased, delivered, dead or cancelled';

COMMENT ON COLUMN rowhook.delivery.webhook_id IS 'Sent instead of the event''s id after a replay under a new id';

COMMENT ON COLUMN rowhook.delivery.order_key IS 'Ordered endpoints: table:row key, within which events are sent one after the other; #event where there is no row key';

COMMENT ON COLUMN rowhook.delivery.shape IS 'What its body looks like, whatever its endpoint says since it was first claimed; null: standard, or not claimed yet';

COMMENT ON COLUMN rowhook.delivery.body IS 'Shape template: the body, made before the first request; each retry carries the same';

CREATE TABLE rowhook.endpoint (
    id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    public_id text GENERATED ALWAYS AS (rowhook.public_id('end'::text, created_at, id)) STORED NOT NULL,
    revision bigint DEFAULT 1 NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    state_reason text,
    url text NOT NULL,
    events text[] DEFAULT '{*}'::text[] NOT NULL,
    tenant text,
    filter text,
    shape text DEFAULT 'standard'::text NOT NULL,
    template text,
    rate text,
    description text,
    retry_schedule interval[],
    timeout interval,
    max_in_flight integer,
    header_names text[] DEFAULT '{}'::text[] NOT NULL,
    headers bytea,
    headers_key_id text,
    ca_certificates text,
    client_certificate text,
    client_key bytea,
    client_key_id text,
    ordered boolean DEFAULT false NOT NULL,
    failing_since timestamp with time zone,
    circuit text DEFAULT 'closed'::text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    opened_at timestamp with time zone,
    probes integer DEFAULT 0 NOT NULL,
    probe_at timestamp with time zone,
    ramp integer,
    CONSTRAINT certificates_are_pem CHECK (((ca_certificates ~ '^-----BEGIN CERTIFICATE-----'::text) AND (client_certificate ~ '^-----BEGIN CERTIFICATE-----'::text) AND (ca_certificates !~ 'PRIVATE KEY'::text) AND (client_certificate !~ 'PRIVATE KEY'::text))),
    CONSTRAINT circuit_known CHECK ((circuit = ANY (ARRAY['closed'::text, 'open'::text, 'ramping'::text]))),
    CONSTRAINT circuit_was_opened CHECK (((circuit <> 'closed'::text) = (opened_at IS NOT NULL))),
    CONSTRAINT client_certificate_has_key CHECK ((((client_certificate IS NULL) = (client_key IS NULL)) AND ((client_certificate IS NULL) = (client_key_id IS NULL)))),
    CONSTRAINT events_are_patterns CHECK (((cardinality(events) >= 1) AND (array_position(events, NULL::text) IS NULL) AND (cardinality(string_to_array(array_to_string(events, ','::text), ','::text)) = cardinality(events)) AND (array_to_string(events, ','::text) ~ '^(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)(,(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?))*$'::text))),
    CONSTRAINT filter_is_sound CHECK ((rowhook.filter_fault(filter) IS NULL)),
    CONSTRAINT headers_have_names_and_key CHECK ((((headers IS NULL) = (header_names = '{}'::text[])) AND ((headers IS NULL) = (headers_key_id IS NULL)))),
    CONSTRAINT max_in_flight_is_positive CHECK ((max_in_flight > 0)),
    CONSTRAINT max_in_flight_is_possible CHECK ((max_in_flight <= 100000)),
    CONSTRAINT open_has_probe CHECK (((circuit = 'open'::text) = (probe_at IS NOT NULL))),
    CONSTRAINT ramping_has_limit CHECK ((((circuit = 'ramping'::text) = (ramp IS NOT NULL)) AND (ramp > 0))),
    CONSTRAINT rate_is_a_rate CHECK ((rate ~ '^[1-9][0-9]{0,5}/(s|min|h|d)$'::text)),
    CONSTRAINT shape_known CHECK ((shape = ANY (ARRAY['standard'::text, 'thin'::text, 'cloudevents'::text, 'cloudevents-binary'::text, 'legacy'::text, 'template'::text]))),
    CONSTRAINT state_known CHECK ((state = ANY (ARRAY['active'::text, 'paused'::text, 'disabled'::text, 'removed'::text]))),
    CONSTRAINT template_has_text CHECK ((((shape = 'template'::text) = (template IS NOT NULL)) AND (length(template) <= 20000))),
    CONSTRAINT timeout_has_an_end CHECK ((timeout <= '1 day'::interval)),
    CONSTRAINT timeout_is_positive CHECK ((timeout > '00:00:00'::interval)),
    CONSTRAINT url_is_http CHECK ((url ~ '^https?://[^\s]+$'::text)),
    CONSTRAINT waits_are_waits CHECK (((array_position(retry_schedule, NULL::interval) IS NULL) AND ('00:00:00'::interval <= ALL (retry_schedule)) AND ('30 days'::interval >= ALL (retry_schedule))))
);

COMMENT ON TABLE rowhook.endpoint IS 'A receiver''s URL and what it wants; removed ones stay for the record';

COMMENT ON COLUMN rowhook.endpoint.id IS 'Internal id';

COMMENT ON COLUMN rowhook.endpoint.created_at IS 'When it was added';

COMMENT ON COLUMN rowhook.endpoint.public_id IS 'The id that people and programs use: end_…';

COMMENT ON COLUMN rowhook.endpoint.revision IS 'Counts changes of the endpoint and its secrets; relays reload what changed';

COMMENT ON COLUMN rowhook.endpoint.state IS 'active; paused (by a person) or disabled (by Rowhook): deliveries accumulate; removed: gets nothing';

COMMENT ON COLUMN rowhook.endpoint.state_reason IS 'Why it is not active';

COMMENT ON COLUMN rowhook.endpoint.url IS 'Where to POST';

COMMENT ON COLUMN rowhook.endpoint.events IS 'Patterns of event types: *, expense.*, expense.created';

COMMENT ON COLUMN rowhook.endpoint.tenant IS 'Only this tenant''s events; null: the operator''s endpoint, all tenants';

COMMENT ON COLUMN rowhook.endpoint.filter IS 'SQL/JSON path over type, data, previous and context: only events for which it is true; null: all';

COMMENT ON COLUMN rowhook.endpoint.shape IS 'What its bodies look like: standard, thin, cloudevents, cloudevents-binary, legacy, template';

COMMENT ON COLUMN rowhook.endpoint.template IS 'Shape template: what makes its bodies, in Jinja''s language';

COMMENT ON COLUMN rowhook.endpoint.rate IS 'Most requests in a time over all relays, e.g. 10/s, 100/min; null: no limit';

COMMENT ON COLUMN rowhook.endpoint.description IS 'A note for people';

COMMENT ON COLUMN rowhook.endpoint.retry_schedule IS 'Waits before each retry; null: ROWHOOK_RETRY_SCHEDULE';

COMMENT ON COLUMN rowhook.endpoint.timeout IS 'Total time of one attempt; null: ROWHOOK_TIMEOUT';

COMMENT ON COLUMN rowhook.endpoint.max_in_flight IS 'Most requests at once from one relay; null: the relay''s default';

COMMENT ON COLUMN rowhook.endpoint.header_names IS 'Names of headers that its requests carry beside Rowhook''s own';

COMMENT ON COLUMN rowhook.endpoint.headers IS 'Those headers, encrypted: nonce and AES-256-GCM of JSON, bound to the endpoint''s id';

COMMENT ON COLUMN rowhook.endpoint.headers_key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted them';

COMMENT ON COLUMN rowhook.endpoint.ca_certificates IS 'In PEM: the authorities that may vouch for it; null: the system''s';

COMMENT ON COLUMN rowhook.endpoint.client_certificate IS 'In PEM: what it is shown over TLS, with those that lead to its authority';

COMMENT ON COLUMN rowhook.endpoint.client_key IS 'The key of that, encrypted: nonce and AES-256-GCM of PEM, bound to the endpoint''s id';

COMMENT ON COLUMN rowhook.endpoint.client_key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted it';

COMMENT ON COLUMN rowhook.endpoint.ordered IS 'Of one row, an event is sent only when those before it have ended';

COMMENT ON COLUMN rowhook.endpoint.failing_since IS 'When the first request that failed since the last success was begun';

COMMENT ON COLUMN rowhook.endpoint.circuit IS 'closed: sends freely; open, after nothing but failures: one probe at a time; ramping: more and more at once';

COMMENT ON COLUMN rowhook.endpoint.failures IS 'Failures since the last success; while the circuit is closed, counted as far as it takes to open it';

COMMENT ON COLUMN rowhook.endpoint.opened_at IS 'When the circuit opened; null while it is closed';

COMMENT ON COLUMN rowhook.endpoint.probes IS 'Probes that have failed since the circuit opened: each makes the wait for the next longer';

COMMENT ON COLUMN rowhook.endpoint.probe_at IS 'Open: when the next probe may be sent';

COMMENT ON COLUMN rowhook.endpoint.ramp IS 'Ramping: how many deliveries all relays together may hold';

CREATE VIEW rowhook.dead_letters AS
 SELECT rowhook.public_id('dlv'::text, d.created_at, d.id) AS delivery_id,
    rowhook.public_id('evt'::text, e.occurred_at, e.id, e.slot) AS event_id,
    e.type AS event_type,
    e.tenant,
    e.row_key,
    p.public_id AS endpoint_id,
    p.url,
    d.attempts,
    d.ended_at AS died_at,
    a.status_code,
    a.error_class,
    a.error
   FROM (((rowhook.delivery d
     JOIN rowhook.endpoint p ON ((p.id = d.endpoint_id)))
     LEFT JOIN rowhook.event e ON (((e.id = d.event_id) AND (e.slot = d.event_slot))))
     LEFT JOIN rowhook.attempt a ON (((a.delivery_id = d.id) AND (a.number = d.attempts))))
  WHERE (d.state = 'dead'::text);

COMMENT ON VIEW rowhook.dead_letters IS 'Deliveries that ended without success, with their last attempt; rowhook replay sends them again';

COMMENT ON COLUMN rowhook.dead_letters.delivery_id IS 'Public id of the delivery, dlv_…';

COMMENT ON COLUMN rowhook.dead_letters.event_id IS 'Public id of the event, evt_…; receivers see it as webhook-id';

COMMENT ON COLUMN rowhook.dead_letters.event_type IS 'Event type, e.g. expense.created';

COMMENT ON COLUMN rowhook.dead_letters.tenant IS 'Whose event or endpoint it is';

COMMENT ON COLUMN rowhook.dead_letters.row_key IS 'Primary key as text; a JSON array of texts for several columns';

COMMENT ON COLUMN rowhook.dead_letters.endpoint_id IS 'Public id of the endpoint, end_…';

COMMENT ON COLUMN rowhook.dead_letters.url IS 'Where the endpoint takes its events';

COMMENT ON COLUMN rowhook.dead_letters.attempts IS 'Tries so far';

COMMENT ON COLUMN rowhook.dead_letters.died_at IS 'When it became a dead letter';

COMMENT ON COLUMN rowhook.dead_letters.status_code IS 'HTTP status, where an answer came';

COMMENT ON COLUMN rowhook.dead_letters.error_class IS 'What kind of failure; null for success';

COMMENT ON COLUMN rowhook.dead_letters.error IS 'The failure in words';

CREATE VIEW rowhook.delivery_history AS
 SELECT rowhook.public_id('evt'::text, e.occurred_at, e.id, e.slot) AS event_id,
    rowhook.public_id('dlv'::text, d.created_at, d.id) AS delivery_id,
    e.type AS event_type,
    e.tenant,
    e.row_key,
    p.public_id AS endpoint_id,
    p.url,
    a.number AS attempt,
    a.started_at,
    round((EXTRACT(epoch FROM a.duration) * (1000)::numeric), 3) AS duration_ms,
    a.status_code,
    a.error_class,
    a.error,
    a.response_excerpt,
    d.state AS delivery_status,
    d.due_at AS next_attempt_at
   FROM (((rowhook.attempt a
     JOIN rowhook.delivery d ON ((d.id = a.delivery_id)))
     JOIN rowhook.endpoint p ON ((p.id = d.endpoint_id)))
     LEFT JOIN rowhook.event e ON (((e.id = d.event_id) AND (e.slot = d.event_slot))));

COMMENT ON VIEW rowhook.delivery_history IS 'One row per attempt';

COMMENT ON COLUMN rowhook.delivery_history.event_id IS 'Public id of the event, evt_…; receivers see it as webhook-id';

COMMENT ON COLUMN rowhook.delivery_history.delivery_id IS 'Public id of the delivery, dlv_…';

COMMENT ON COLUMN rowhook.delivery_history.event_type IS 'Event type, e.g. expense.created';

COMMENT ON COLUMN rowhook.delivery_history.tenant IS 'Whose event or endpoint it is';

COMMENT ON COLUMN rowhook.delivery_history.row_key IS 'Primary key as text; a JSON array of texts for several columns';

COMMENT ON COLUMN rowhook.delivery_history.endpoint_id IS 'Public id of the endpoint, end_…';

COMMENT ON COLUMN rowhook.delivery_history.url IS 'Where the endpoint takes its events';

COMMENT ON COLUMN rowhook.delivery_history.attempt IS 'Number of the attempt within the delivery';

COMMENT ON COLUMN rowhook.delivery_history.started_at IS 'When the request was begun';

COMMENT ON COLUMN rowhook.delivery_history.duration_ms IS 'How long it took, in milliseconds';

COMMENT ON COLUMN rowhook.delivery_history.status_code IS 'HTTP status, where an answer came';

COMMENT ON COLUMN rowhook.delivery_history.error_class IS 'What kind of failure; null for success';

COMMENT ON COLUMN rowhook.delivery_history.error IS 'The failure in words';

COMMENT ON COLUMN rowhook.delivery_history.response_excerpt IS 'The first 4 kB of the answer''s body';

COMMENT ON COLUMN rowhook.delivery_history.delivery_status IS 'State of the delivery: pending, leased, delivered, dead or cancelled';

COMMENT ON COLUMN rowhook.delivery_history.next_attempt_at IS 'When it may be tried next, while it is pending';

ALTER TABLE rowhook.delivery ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.delivery_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE UNLOGGED SEQUENCE rowhook.doorbell
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE rowhook.doorbell IS 'Armed until: milliseconds of the epoch; writers notify while the clock is before it';

CREATE VIEW rowhook.endpoint_health AS
 SELECT p.public_id AS endpoint_id,
    p.url,
    p.tenant,
    p.state,
    p.state_reason,
    p.ordered,
    p.failing_since,
    p.circuit,
    p.opened_at,
    p.probe_at,
    p.ramp,
    COALESCE(d.pending, (0)::bigint) AS pending,
    COALESCE(d.leased, (0)::bigint) AS leased,
    COALESCE(d.delivered, (0)::bigint) AS delivered,
    COALESCE(d.dead, (0)::bigint) AS dead,
    COALESCE(d.cancelled, (0)::bigint) AS cancelled,
    d.last_delivered_at,
    d.oldest_pending_at
   FROM (rowhook.endpoint p
     LEFT JOIN ( SELECT delivery.endpoint_id,
            count(*) FILTER (WHERE (delivery.state = 'pending'::text)) AS pending,
            count(*) FILTER (WHERE (delivery.state = 'leased'::text)) AS leased,
            count(*) FILTER (WHERE (delivery.state = 'delivered'::text)) AS delivered,
            count(*) FILTER (WHERE (delivery.state = 'dead'::text)) AS dead,
            count(*) FILTER (WHERE (delivery.state = 'cancelled'::text)) AS cancelled,
            max(delivery.ended_at) FILTER (WHERE (delivery.state = 'delivered'::text)) AS last_delivered_at,
            min(delivery.created_at) FILTER (WHERE (delivery.state = 'pending'::text)) AS oldest_pending_at
           FROM rowhook.delivery
          GROUP BY delivery.endpoint_id) d ON ((d.endpoint_id = p.id)));

COMMENT ON VIEW rowhook.endpoint_health IS 'One row per endpoint: its state, and how many deliveries are in which state';

COMMENT ON COLUMN rowhook.endpoint_health.endpoint_id IS 'Public id of the endpoint, end_…';

COMMENT ON COLUMN rowhook.endpoint_health.url IS 'Where the endpoint takes its events';

COMMENT ON COLUMN rowhook.endpoint_health.tenant IS 'Whose event or endpoint it is';

COMMENT ON COLUMN rowhook.endpoint_health.state IS 'State of the endpoint: active, paused, disabled or removed';

COMMENT ON COLUMN rowhook.endpoint_health.state_reason IS 'Why it is not active';

COMMENT ON COLUMN rowhook.endpoint_health.ordered IS 'Whether events of one row are sent one after the other';

COMMENT ON COLUMN rowhook.endpoint_health.failing_since IS 'When the first request that failed since the last success was begun';

COMMENT ON COLUMN rowhook.endpoint_health.circuit IS 'closed: sends freely; open: one probe at a time; ramping: more and more at once';

COMMENT ON COLUMN rowhook.endpoint_health.opened_at IS 'When the circuit opened; null while it is closed';

COMMENT ON COLUMN rowhook.endpoint_health.probe_at IS 'Circuit open: when the next probe may be sent';

COMMENT ON COLUMN rowhook.endpoint_health.ramp IS 'Circuit ramping: how many deliveries may be out at once';

COMMENT ON COLUMN rowhook.endpoint_health.pending IS 'Deliveries that wait';

COMMENT ON COLUMN rowhook.endpoint_health.leased IS 'Deliveries that a relay holds';

COMMENT ON COLUMN rowhook.endpoint_health.delivered IS 'Deliveries that succeeded';

COMMENT ON COLUMN rowhook.endpoint_health.dead IS 'Dead letters';

COMMENT ON COLUMN rowhook.endpoint_health.cancelled IS 'Deliveries that were cancelled';

COMMENT ON COLUMN rowhook.endpoint_health.last_delivered_at IS 'The last success';

COMMENT ON COLUMN rowhook.endpoint_health.oldest_pending_at IS 'When the oldest waiting delivery was dispatched';

ALTER TABLE rowhook.endpoint ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.endpoint_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE rowhook.event_0 (
    id bigint CONSTRAINT event_id_not_null NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() CONSTRAINT event_xid_not_null NOT NULL,
    occurred_at timestamp with time zone DEFAULT clock_timestamp() CONSTRAINT event_occurred_at_not_null NOT NULL,
    endpoint_id bigint,
    slot smallint DEFAULT (COALESCE(pg_sequence_last_value('rowhook.present_slot'::regclass), (0)::bigint))::smallint CONSTRAINT event_slot_not_null NOT NULL,
    kept_in smallint DEFAULT (COALESCE(pg_sequence_last_value('rowhook.present_slot'::regclass), (0)::bigint))::smallint CONSTRAINT event_kept_in_not_null NOT NULL,
    moved boolean DEFAULT false CONSTRAINT event_moved_not_null NOT NULL,
    op rowhook.event_op CONSTRAINT event_op_not_null NOT NULL,
    type text CONSTRAINT event_type_not_null NOT NULL,
    table_name text,
    row_key text,
    tenant text,
    data json,
    previous json,
    context json,
    truncated boolean,
    looped boolean
);
ALTER TABLE ONLY rowhook.event_0 ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE ONLY rowhook.event_0 ALTER COLUMN previous SET STORAGE EXTERNAL;

COMMENT ON TABLE rowhook.event_0 IS 'One slot of the ring of events';

COMMENT ON COLUMN rowhook.event_0.id IS 'Order of capture; per row it is the order of commit';

COMMENT ON COLUMN rowhook.event_0.xid IS 'The writing transaction: the cursor finds new events by it';

COMMENT ON COLUMN rowhook.event_0.occurred_at IS 'When the change was made (not committed); the envelope''s timestamp';

COMMENT ON COLUMN rowhook.event_0.endpoint_id IS 'For this endpoint only, whatever its patterns are; null: for all whose patterns match';

COMMENT ON COLUMN rowhook.event_0.slot IS 'The slot in which it was written: part of its public id, and so it stays';

COMMENT ON COLUMN rowhook.event_0.kept_in IS 'The slot that holds it now: another one, once retention has moved what had not ended';

COMMENT ON COLUMN rowhook.event_0.moved IS 'The row is neither new nor gone: it moved from one tenant to another, or into or out of what is captured';

COMMENT ON COLUMN rowhook.event_0.op IS 'insert, update, delete, truncate: captured; rule: of a named rule; emit: rowhook.emit(); own: Rowhook''s; probe: test of the bell; snapshot: a row as it was found';

COMMENT ON COLUMN rowhook.event_0.type IS 'Event type, e.g. expense.created';

COMMENT ON COLUMN rowhook.event_0.table_name IS 'Captured table, with its schema unless that is public';

COMMENT ON COLUMN rowhook.event_0.row_key IS 'Primary key as text; a JSON array of texts for several columns';

COMMENT ON COLUMN rowhook.event_0.tenant IS 'Whose event it is; endpoints with a tenant get only theirs';

COMMENT ON COLUMN rowhook.event_0.data IS 'The row as JSON text, sent verbatim; the old row for a delete';

COMMENT ON COLUMN rowhook.event_0.previous IS 'Old values of the columns that an update changed';

COMMENT ON COLUMN rowhook.event_0.context IS 'What the writer''s session said of itself: rowhook.actor, .correlation_id, .traceparent, .context';

COMMENT ON COLUMN rowhook.event_0.truncated IS 'True: the row was over the capture''s max_size, and data holds its key only; null takes no room';

COMMENT ON COLUMN rowhook.event_0.looped IS 'True: its correlation chain has had the same row and type too often; sent only by a replay';

ALTER TABLE rowhook.event ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW rowhook.event_trail AS
 SELECT rowhook.public_id('evt'::text, e.occurred_at, e.id, e.slot) AS event_id,
    e.type AS event_type,
    e.occurred_at,
    e.table_name,
    e.row_key,
    e.tenant,
    p.public_id AS endpoint_id,
    d.state AS delivery_status,
    d.attempts,
        CASE
            WHEN (d.state = 'delivered'::text) THEN d.ended_at
            ELSE NULL::timestamp with time zone
        END AS delivered_at
   FROM ((rowhook.event e
     LEFT JOIN rowhook.delivery d ON (((d.event_id = e.id) AND (d.event_slot = e.slot))))
     LEFT JOIN rowhook.endpoint p ON ((p.id = d.endpoint_id)))
  WHERE (e.op <> 'probe'::rowhook.event_op);

COMMENT ON VIEW rowhook.event_trail IS 'One row per event and endpoint; endpoint_id is null where none wanted it';

COMMENT ON COLUMN rowhook.event_trail.event_id IS 'Public id of the event, evt_…; receivers see it as webhook-id';

COMMENT ON COLUMN rowhook.event_trail.event_type IS 'Event type, e.g. expense.created';

COMMENT ON COLUMN rowhook.event_trail.occurred_at IS 'When the change was made';

COMMENT ON COLUMN rowhook.event_trail.table_name IS 'Captured table, with its schema unless that is public';

COMMENT ON COLUMN rowhook.event_trail.row_key IS 'Primary key as text; a JSON array of texts for several columns';

COMMENT ON COLUMN rowhook.event_trail.tenant IS 'Whose event or endpoint it is';

COMMENT ON COLUMN rowhook.event_trail.endpoint_id IS 'Public id of the endpoint, end_…';

COMMENT ON COLUMN rowhook.event_trail.delivery_status IS 'State of the delivery: pending, leased, delivered, dead or cancelled';

COMMENT ON COLUMN rowhook.event_trail.attempts IS 'Tries so far';

COMMENT ON COLUMN rowhook.event_trail.delivered_at IS 'When it was delivered';

CREATE TABLE rowhook.horizon (
    singleton boolean DEFAULT true NOT NULL,
    removed_id bigint DEFAULT 0 NOT NULL,
    xid xid8 DEFAULT '0'::xid8 NOT NULL,
    CONSTRAINT there_is_one CHECK (singleton)
);

COMMENT ON TABLE rowhook.horizon IS 'How far back the events reach; one row';

COMMENT ON COLUMN rowhook.horizon.singleton IS 'Always true';

COMMENT ON COLUMN rowhook.horizon.removed_id IS 'Highest id among events that were removed; 0: none was';

COMMENT ON COLUMN rowhook.horizon.xid IS 'Of transactions up to this one events may be missing: removed, or numbered otherwise before a restore';

CREATE TABLE rowhook.idempotency (
    key text NOT NULL,
    principal text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    fingerprint bytea NOT NULL,
    key_id text,
    answer bytea,
    CONSTRAINT answer_has_key CHECK (((answer IS NULL) = (key_id IS NULL)))
);

COMMENT ON TABLE rowhook.idempotency IS 'Answers to POSTs that carried an Idempotency-Key, given again to the same request for a day';

COMMENT ON COLUMN rowhook.idempotency.key IS 'The header''s value';

COMMENT ON COLUMN rowhook.idempotency.principal IS 'Who sent it: keys of others are other keys';

COMMENT ON COLUMN rowhook.idempotency.expires_at IS 'Until then it is remembered';

COMMENT ON COLUMN rowhook.idempotency.fingerprint IS 'SHA-256 over method, path and body: the same key with another request is refused';

COMMENT ON COLUMN rowhook.idempotency.key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted the answer; null while there is none';

COMMENT ON COLUMN rowhook.idempotency.answer IS 'Status, headers and body, encrypted because a body may show a secret: nonce and AES-256-GCM, bound to principal and key';

CREATE TABLE rowhook.instance (
    id bigint NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    beat_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    missed_rings integer DEFAULT 0 NOT NULL,
    state text DEFAULT 'live'::text NOT NULL,
    name text NOT NULL,
    CONSTRAINT dead_has_end CHECK (((state = 'dead'::text) = (ended_at IS NOT NULL))),
    CONSTRAINT id_is_positive CHECK ((id > 0)),
    CONSTRAINT state_known CHECK ((state = ANY (ARRAY['live'::text, 'dead'::text])))
)
WITH (fillfactor='50');

COMMENT ON TABLE rowhook.instance IS 'Running relays, and those that ran lately';

COMMENT ON COLUMN rowhook.instance.id IS 'Random, never used again; key of the advisory lock that its session holds';

COMMENT ON COLUMN rowhook.instance.started_at IS 'When it registered';

COMMENT ON COLUMN rowhook.instance.beat_at IS 'Its last sign of life; one that holds its lock and is silent is frozen';

COMMENT ON COLUMN rowhook.instance.ended_at IS 'When it stopped or was found dead';

COMMENT ON COLUMN rowhook.instance.missed_rings IS 'Events that its safety looks found and for which nobody had rung; should stay 0';

COMMENT ON COLUMN rowhook.instance.state IS 'live or dead; a dead one''s leases are taken over';

COMMENT ON COLUMN rowhook.instance.name IS 'host:process, or --instance-name';

CREATE TABLE rowhook.probe (
    singleton boolean DEFAULT true NOT NULL,
    rung_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT there_is_one CHECK (singleton)
);

COMMENT ON TABLE rowhook.probe IS 'Updated to test the bell through a real trigger; its events go nowhere';

COMMENT ON COLUMN rowhook.probe.singleton IS 'Always true';

COMMENT ON COLUMN rowhook.probe.rung_at IS 'When the bell was last tested';

CREATE TABLE rowhook.rate_clock (
    endpoint_id bigint NOT NULL,
    next_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');

COMMENT ON TABLE rowhook.rate_clock IS 'Endpoints with a rate: when they may be sent something again';

COMMENT ON COLUMN rowhook.rate_clock.endpoint_id IS 'The endpoint';

COMMENT ON COLUMN rowhook.rate_clock.next_at IS 'When the next request is due, by its rate; it moves on with each claim';

CREATE TABLE rowhook.retention (
    singleton boolean DEFAULT true NOT NULL,
    keep interval,
    ran_at timestamp with time zone,
    emptied_at timestamp with time zone,
    trouble text,
    CONSTRAINT there_is_one CHECK (singleton)
);

COMMENT ON TABLE rowhook.retention IS 'How retention fares; one row';

COMMENT ON COLUMN rowhook.retention.singleton IS 'Always true';

COMMENT ON COLUMN rowhook.retention.keep IS 'ROWHOOK_RETENTION of the relay that ran last; null: forever';

COMMENT ON COLUMN rowhook.retention.ran_at IS 'When a relay last looked';

COMMENT ON COLUMN rowhook.retention.emptied_at IS 'When a slot was last emptied';

COMMENT ON COLUMN rowhook.retention.trouble IS 'What kept it from finishing, the last time; null: nothing';

ALTER TABLE rowhook.rule ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.rule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE rowhook.schema_version (
    capture_id integer NOT NULL,
    version integer NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    table_name text NOT NULL,
    origin text NOT NULL,
    columns jsonb NOT NULL,
    changes jsonb NOT NULL,
    compatible boolean NOT NULL
);

COMMENT ON TABLE rowhook.schema_version IS 'What the events of a capture hold, from when on, and what changed with each version';

COMMENT ON COLUMN rowhook.schema_version.capture_id IS 'The capture; its versions go with it';

COMMENT ON COLUMN rowhook.schema_version.version IS 'Counted from 1';

COMMENT ON COLUMN rowhook.schema_version.since IS 'When it began, or was noticed';

COMMENT ON COLUMN rowhook.schema_version.table_name IS 'The table''s name in events';

COMMENT ON COLUMN rowhook.schema_version.origin IS 'Cluster, database and table in which columns have these numbers: a restore changes them';

COMMENT ON COLUMN rowhook.schema_version.columns IS 'In order: [{"name", "type", "number"}]';

COMMENT ON COLUMN rowhook.schema_version.changes IS 'Since the version before: [{"change", "column", "compatible", …}]';

COMMENT ON COLUMN rowhook.schema_version.compatible IS 'Whether who understood the version before understands this one';

CREATE TABLE rowhook.secret (
    id bigint NOT NULL,
    endpoint_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone,
    public_key text,
    key_id text NOT NULL,
    ciphertext bytea NOT NULL,
    CONSTRAINT ciphertext_is_whole CHECK ((octet_length(ciphertext) >= 44)),
    CONSTRAINT key_id_is_hex CHECK ((key_id ~ '^[0-9a-f]{8}$'::text)),
    CONSTRAINT public_key_is_public CHECK ((public_key ~ '^whpk_'::text))
);

COMMENT ON TABLE rowhook.secret IS 'Signing secrets; while one is replaced, both sign';

COMMENT ON COLUMN rowhook.secret.id IS 'Internal id; the highest of an endpoint is its newest';

COMMENT ON COLUMN rowhook.secret.endpoint_id IS 'Whose it is';

COMMENT ON COLUMN rowhook.secret.created_at IS 'When it was made';

COMMENT ON COLUMN rowhook.secret.expires_at IS 'Signs until then; null: until replaced';

COMMENT ON COLUMN rowhook.secret.public_key IS 'whpk_…, where it signs by ed25519; null: by HMAC';

COMMENT ON COLUMN rowhook.secret.key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted it';

COMMENT ON COLUMN rowhook.secret.ciphertext IS 'The secret, encrypted: nonce and AES-256-GCM of its text, bound to endpoint_id and id';

ALTER TABLE rowhook.secret ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowhook.secret_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY rowhook.event ATTACH PARTITION rowhook.event_0 FOR VALUES IN ('0');

ALTER TABLE ONLY rowhook.admin_log
    ADD CONSTRAINT admin_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY rowhook.backfill
    ADD CONSTRAINT backfill_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.capture_failure
    ADD CONSTRAINT capture_failure_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.capture
    ADD CONSTRAINT capture_once_per_table UNIQUE (table_name, name);

ALTER TABLE ONLY rowhook.capture
    ADD CONSTRAINT capture_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.chain
    ADD CONSTRAINT chain_pkey PRIMARY KEY (correlation_id, type, table_name, row_key);

ALTER TABLE ONLY rowhook.cursor
    ADD CONSTRAINT cursor_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY rowhook.delivery
    ADD CONSTRAINT delivery_once_per_endpoint UNIQUE (event_id, endpoint_id);

ALTER TABLE ONLY rowhook.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.endpoint
    ADD CONSTRAINT endpoint_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.endpoint
    ADD CONSTRAINT endpoint_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY rowhook.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (id, kept_in);

ALTER TABLE ONLY rowhook.event_0
    ADD CONSTRAINT event_0_pkey PRIMARY KEY (id, kept_in);

ALTER TABLE ONLY rowhook.horizon
    ADD CONSTRAINT horizon_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY rowhook.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (principal, key);

ALTER TABLE ONLY rowhook.instance
    ADD CONSTRAINT instance_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.probe
    ADD CONSTRAINT probe_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY rowhook.rate_clock
    ADD CONSTRAINT rate_clock_pkey PRIMARY KEY (endpoint_id);

ALTER TABLE ONLY rowhook.retention
    ADD CONSTRAINT retention_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY rowhook.ring
    ADD CONSTRAINT ring_pkey PRIMARY KEY (slot);

ALTER TABLE ONLY rowhook.rule
    ADD CONSTRAINT rule_once_per_table UNIQUE (table_name, type);

ALTER TABLE ONLY rowhook.rule
    ADD CONSTRAINT rule_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowhook.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (capture_id, version);

ALTER TABLE ONLY rowhook.secret
    ADD CONSTRAINT secret_pkey PRIMARY KEY (id);

CREATE INDEX admin_log_of_subject ON rowhook.admin_log USING btree (subject, id);

CREATE INDEX attempt_of_endpoint ON rowhook.attempt USING btree (endpoint_id, id) WITH (deduplicate_items=off);

CREATE UNIQUE INDEX backfill_once_at_a_time ON rowhook.backfill USING btree (table_name, name, COALESCE(rows, ''::text), COALESCE(endpoint_id, (0)::bigint)) WHERE (ended_at IS NULL);

CREATE INDEX chain_by_age ON rowhook.chain USING btree (last_at);

CREATE INDEX delivery_dead ON rowhook.delivery USING btree (endpoint_id, ended_at) WHERE (state = 'dead'::text);

CREATE INDEX delivery_leased ON rowhook.delivery USING btree (instance_id) WHERE (state = 'leased'::text);

CREATE INDEX delivery_ordered ON rowhook.delivery USING btree (endpoint_id, order_key, event_id) WHERE ((order_key IS NOT NULL) AND (state = ANY (ARRAY['pending'::text, 'leased'::text])));

CREATE INDEX delivery_pending ON rowhook.delivery USING btree (endpoint_id, due_at) WHERE (state = 'pending'::text);

CREATE INDEX endpoint_gated ON rowhook.endpoint USING btree (id) WHERE ((circuit <> 'closed'::text) OR (rate IS NOT NULL));

CREATE INDEX endpoint_of_tenant ON rowhook.endpoint USING btree (tenant, id);

CREATE INDEX event_by_transaction ON ONLY rowhook.event USING btree (xid, id) WITH (deduplicate_items=off);

CREATE INDEX event_0_xid_id_idx ON rowhook.event_0 USING btree (xid, id) WITH (deduplicate_items=off);

CREATE INDEX idempotency_expired ON rowhook.idempotency USING btree (expires_at);

CREATE INDEX secret_of_endpoint ON rowhook.secret USING btree (endpoint_id);

ALTER INDEX rowhook.event_pkey ATTACH PARTITION rowhook.event_0_pkey;

ALTER INDEX rowhook.event_by_transaction ATTACH PARTITION rowhook.event_0_xid_id_idx;

CREATE TRIGGER keep_tenant BEFORE UPDATE OF tenant ON rowhook.endpoint FOR EACH ROW WHEN (((new.tenant IS NOT NULL) AND (new.tenant IS DISTINCT FROM old.tenant))) EXECUTE FUNCTION rowhook.keep_tenant();

CREATE TRIGGER mark_horizon BEFORE TRUNCATE ON rowhook.event_0 FOR EACH STATEMENT EXECUTE FUNCTION rowhook.mark_horizon();

CREATE TRIGGER mark_horizon_of_deleted AFTER DELETE ON rowhook.event REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION rowhook.mark_horizon_of_deleted();

CREATE TRIGGER mark_horizon_of_deleted AFTER DELETE ON rowhook.event_0 REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION rowhook.mark_horizon_of_deleted();

CREATE TRIGGER rowhook_update AFTER UPDATE ON rowhook.probe FOR EACH STATEMENT EXECUTE FUNCTION rowhook.capture_probe();

ALTER TABLE ONLY rowhook.secret
    ADD CONSTRAINT secret_endpoint_fkey FOREIGN KEY (endpoint_id) REFERENCES rowhook.endpoint(id);

GRANT USAGE ON SCHEMA rowhook TO rowhook_capture;
GRANT USAGE ON SCHEMA rowhook TO rowhook_relay;
GRANT USAGE ON SCHEMA rowhook TO rowhook_skip;
GRANT USAGE ON SCHEMA rowhook TO rowhook_reader;

GRANT SELECT ON SEQUENCE rowhook.present_slot TO rowhook_capture;
GRANT SELECT,UPDATE ON SEQUENCE rowhook.present_slot TO rowhook_relay;

GRANT INSERT ON TABLE rowhook.event TO rowhook_capture;
GRANT SELECT,INSERT ON TABLE rowhook.event TO rowhook_relay;

GRANT UPDATE(xid) ON TABLE rowhook.event TO rowhook_relay;

GRANT UPDATE(kept_in) ON TABLE rowhook.event TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.archived(event rowhook.event) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.archived(event rowhook.event) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.backfill(table_name regclass, rows text, endpoint text, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.backfill_chunk(backfill bigint, chunk integer) FROM PUBLIC;

GRANT SELECT ON TABLE rowhook.capture TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.backfill_page_sql(c rowhook.capture, rows text, bounds text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.bare(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.begin_backfill(table_name regclass, rows text, endpoint text, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.begin_sweep(slot integer) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.begin_sweep(slot integer) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.begun(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.body_columns(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.body_sql(c rowhook.capture, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.by_operation_sql(operations text[], bodies text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture(table_name regclass, tenant text, include text[], exclude text[], key text[], events text[], type_prefix text, on_error text, paused boolean, redact jsonb, max_size integer, enrich jsonb, predicate text, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture_ddl(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture_is_whole(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture_label(source regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture_mode(source regclass, key text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture_owner() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture_plan(table_name regclass, tenant text, include text[], exclude text[], key text[], events text[], type_prefix text, on_error text, paused boolean, redact jsonb, max_size integer, enrich jsonb, predicate text, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.capture_probe() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.captured_above(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.captured_below(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.captured_columns(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.changed(old_row json, new_row json) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.changed(old_row json, new_row json) TO rowhook_capture;

REVOKE ALL ON FUNCTION rowhook.changed_columns(old_row json, new_row json) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.changed_columns(old_row json, new_row json) TO rowhook_capture;

REVOKE ALL ON FUNCTION rowhook.changed_sql(compared text, old_data text, new_data text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_columns(source regclass, option text, given text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_enrich(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_expression(option text, given text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_predicate(source regclass, op text, predicate text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_redact(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_rule(type text, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_sight(c rowhook.capture, was rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_source(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.check_verifiable(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.chosen_sql(c rowhook.capture, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.column_sql(source regclass, row_name text, col text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.columns_of(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.compared(event json, present json, definition text, skip text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.compared_sql(old_record text, new_record text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.concerned(tag text, altered oid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.cost(c rowhook.capture, most integer, OUT op text, OUT rows bigint, OUT bare_us numeric, OUT captured_us numeric) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.deliver_past(endpoint bigint, since timestamp with time zone, after bigint, upto bigint, batch integer, OUT last_id bigint, OUT made bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.deliver_past(endpoint bigint, since timestamp with time zone, after bigint, upto bigint, batch integer, OUT last_id bigint, OUT made bigint) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.drop_ddl(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.emit(type text, data json, key text, tenant text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.emit(type text, data json, key text, tenant text) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.empty_slot(slot integer, patience interval) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.empty_slot(slot integer, patience interval) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.enriched_sql(c rowhook.capture, op text, guarded boolean, body text, bare text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.enrichments(c rowhook.capture, OUT name text, OUT near text, OUT far regclass, OUT far_key text, OUT far_column text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.event_sql(c rowhook.capture, op text, type text, row_key text, tenant text, data text, keys text, source text, previous text, moved text, old_keys text, condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.events_sql(c rowhook.capture, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.execute_own(ddl text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.far_values(c rowhook.capture, row_name text, OUT name text, OUT value text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.filter_document(type text, data json, previous json, context json) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.filter_document(type text, data json, previous json, context json) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.filter_fault(filter text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.filter_fault(filter text) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.filter_pairs(filter text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.filter_pairs(filter text) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.filter_values(document text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.filter_values(document text) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.filter_verdict(filter text, document jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.filter_verdict(filter text, document jsonb) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.filter_verdict(filter text, type text, data json, previous json, context json) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.filter_verdict(filter text, type text, data json, previous json, context json) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.filters_take_too_long(is_alone boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.filters_take_too_long(is_alone boolean) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.fingerprint(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.follow(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.follow_ddl() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.followed(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.function_sql(c rowhook.capture, name text, body text, rules text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.functions_ddl(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.give_to_capture_owner(signature text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.grant_past() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.grant_record_to_relay() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.grant_retention() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.grant_to_roles() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.grant_versions() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.grants_sql(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.guard_sql(c rowhook.capture, query text, says text, otherwise text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.guarded_rows_sql(c rowhook.capture, op text, old_name text, new_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.heirs(source regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.holds_exclusively(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.holds_sql(c rowhook.capture, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.insert_sql(c rowhook.capture, op text, past text, row_name text, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.is_behind(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.is_wider(was text, becomes text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.join_capture_role() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.json_casts(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.keep_tenant() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.key_of(parts text[], types regtype[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.key_payload_sql(c rowhook.capture, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.key_sql(row_name text, columns text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.known_of(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.lacks_rights(c rowhook.capture, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.log_of(c rowhook.capture, OUT begins bigint, OUT complete boolean, OUT newer text, OUT renumbered boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.look(instance bigint, system bigint, disarm boolean, chunk integer, most_size bigint, capacity integer, room_for_size bigint, endpoint_room integer, endpoints bigint[], rooms integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.look(instance bigint, system bigint, disarm boolean, chunk integer, most_size bigint, capacity integer, room_for_size bigint, endpoint_room integer, endpoints bigint[], rooms integer[]) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.loop_limit() FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.loop_limit() TO rowhook_capture;

REVOKE ALL ON FUNCTION rowhook.looped(chain text, type text, table_name text, row_key text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.looped(chain text, type text, table_name text, row_key text) TO rowhook_capture;

REVOKE ALL ON FUNCTION rowhook.loops(chain text, type text, table_name text, row_key text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.loops(chain text, type text, table_name text, row_key text) TO rowhook_capture;

REVOKE ALL ON FUNCTION rowhook.make_role(name text, otherwise text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.mark_horizon() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.mark_horizon_of_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.named_columns(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.needs_names(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.not_captured(source regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.note_version(c rowhook.capture, tell boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.nulls_sql(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.numbered_sql(side text, key text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.old_key(event rowhook.event, key text[], types regtype[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.operations(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.origin_of(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.pattern_candidates(type text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.pattern_candidates(type text) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.payload_sql(c rowhook.capture, row_name text, whole text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.predicate_depends(source regclass, predicate text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.predicate_fault(op text, predicate text, uses_changed boolean, sample anyelement) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.predicate_problem(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.predicate_tree(source regclass, op text, predicate text, with_changed boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.present_slot() FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.present_slot() TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.public_id(prefix text, made_at timestamp with time zone, id bigint, slot smallint) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.public_id(prefix text, made_at timestamp with time zone, id bigint, slot smallint) TO rowhook_relay;
GRANT ALL ON FUNCTION rowhook.public_id(prefix text, made_at timestamp with time zone, id bigint, slot smallint) TO rowhook_reader;

REVOKE ALL ON FUNCTION rowhook.rate_gap(rate text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.rate_gap(rate text) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.read_by(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.readable(odd json) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.readable(odd json) TO rowhook_capture;

REVOKE ALL ON FUNCTION rowhook.record_sql(c rowhook.capture, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.redacted_sql(value text, method text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.refuse(message text, hint text) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.refuse(message text, hint text) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.renamed(c rowhook.capture, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.revoke_enrichments(was rowhook.capture, becomes rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.ring() FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.ring() TO rowhook_capture;
GRANT ALL ON FUNCTION rowhook.ring() TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.row_reasons(source regclass, key text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.row_sql(c rowhook.capture, side text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.row_trigger(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.rule(type text, on_table regclass, op text, predicate text, description text, tenant text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.rule_guards_sql(c rowhook.capture, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.rule_inserts_sql(c rowhook.capture, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.rule_plan(type text, on_table regclass, op text, predicate text, description text, tenant text, OUT result text, OUT capture rowhook.capture, OUT sql text) FROM PUBLIC;

GRANT SELECT ON TABLE rowhook.rule TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.rule_problem(r rowhook.rule) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.rule_sql(c rowhook.capture, r rowhook.rule, source text, whole text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.rules_of(c rowhook.capture, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.rules_sql(c rowhook.capture, op text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.schema_changes(was jsonb, becomes jsonb, same_numbers boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.seen_columns(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.session_context() FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.session_context() TO rowhook_capture;
GRANT ALL ON FUNCTION rowhook.session_context() TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.set_aside(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.set_rules_aside(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.set_up_roles() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.settings_sql(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.side_sql(c rowhook.capture, row_name text, ordinal text, source text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.singular(plural text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.skips() FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.skips() TO rowhook_capture;

REVOKE ALL ON FUNCTION rowhook.slot_is_filled(slot integer) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.slot_is_filled(slot integer) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.steps_sql(c rowhook.capture, body text, rules text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.subscribed(source regclass) FROM PUBLIC;

GRANT SELECT,UPDATE ON TABLE rowhook.ring TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.survey_ring() FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.survey_ring() TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.sweep_slot(slot integer, after bigint, batch integer, ended_before timestamp with time zone, OUT last_id bigint, OUT deliveries bigint, OUT moved bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.sweep_slot(slot integer, after bigint, batch integer, ended_before timestamp with time zone, OUT last_id bigint, OUT deliveries bigint, OUT moved bigint) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.table_label(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.taken_sql(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.tenant_sql(row_name text, column_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.timed(statements text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.told_sql(c rowhook.capture, begins bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.trigger_names(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.trigger_suffix(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.triggers_ddl(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.turn_ring(width interval) FROM PUBLIC;
GRANT ALL ON FUNCTION rowhook.turn_ring(width interval) TO rowhook_relay;

REVOKE ALL ON FUNCTION rowhook.types_of(c rowhook.capture) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.uncapture(table_name regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.uncapture_commands(source regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.unrule(type text, on_table regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.update_sql(c rowhook.capture, pairs text, split boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.verify(table_name regclass, name text, OUT verdict text, OUT row_key text, OUT columns text[], OUT added text[], OUT dropped text[], OUT count bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.verify_sql(c rowhook.capture, begins bigint, complete boolean, newer text) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.watch_ddl() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowhook.writers_have_ended(patience interval) FROM PUBLIC;

GRANT SELECT,INSERT ON TABLE rowhook.admin_log TO rowhook_relay;

GRANT SELECT,INSERT,DELETE,MAINTAIN,UPDATE ON TABLE rowhook.attempt TO rowhook_relay;

GRANT SELECT ON SEQUENCE rowhook.attempt_id_seq TO rowhook_relay;

GRANT INSERT ON TABLE rowhook.capture_failure TO rowhook_capture;
GRANT SELECT,DELETE ON TABLE rowhook.capture_failure TO rowhook_relay;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE rowhook.chain TO rowhook_capture;

GRANT SELECT,UPDATE ON TABLE rowhook.cursor TO rowhook_relay;

GRANT SELECT,INSERT,DELETE,MAINTAIN,UPDATE ON TABLE rowhook.delivery TO rowhook_relay;

GRANT SELECT,INSERT,UPDATE ON TABLE rowhook.endpoint TO rowhook_relay;

GRANT SELECT ON TABLE rowhook.dead_letters TO rowhook_reader;

GRANT SELECT ON TABLE rowhook.delivery_history TO rowhook_reader;

GRANT SELECT ON SEQUENCE rowhook.doorbell TO rowhook_capture;
GRANT SELECT,UPDATE ON SEQUENCE rowhook.doorbell TO rowhook_relay;

GRANT SELECT ON TABLE rowhook.endpoint_health TO rowhook_reader;

GRANT SELECT,TRUNCATE ON TABLE rowhook.event_0 TO rowhook_relay;

GRANT SELECT ON TABLE rowhook.event_trail TO rowhook_reader;

GRANT SELECT ON TABLE rowhook.horizon TO rowhook_relay;

GRANT UPDATE(removed_id) ON TABLE rowhook.horizon TO rowhook_relay;

GRANT UPDATE(xid) ON TABLE rowhook.horizon TO rowhook_relay;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE rowhook.idempotency TO rowhook_relay;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE rowhook.instance TO rowhook_relay;

GRANT UPDATE(rung_at) ON TABLE rowhook.probe TO rowhook_relay;

GRANT SELECT,INSERT,UPDATE ON TABLE rowhook.rate_clock TO rowhook_relay;

GRANT SELECT,UPDATE ON TABLE rowhook.retention TO rowhook_relay;

GRANT SELECT ON TABLE rowhook.schema_version TO rowhook_relay;

GRANT SELECT,INSERT,UPDATE ON TABLE rowhook.secret TO rowhook_relay;

GRANT USAGE ON SEQUENCE rowhook.secret_id_seq TO rowhook_relay;
