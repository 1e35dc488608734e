-- The generator: small static functions and triggers for each captured table; no dynamic SQL when they run.
-- depends: 0007-capture
--
-- Statement triggers with transition tables where they can work, row triggers elsewhere. Installing takes a SHARE ROW
-- EXCLUSIVE lock on the table for a moment; set lock_timeout and try again rather than queue behind a long writer.

CREATE FUNCTION rowhook.captured_columns(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN (c).include IS NOT NULL THEN (c).include
                WHEN (c).exclude IS NOT NULL
                THEN ARRAY(SELECT u.col FROM unnest(rowhook.columns_of((c).table_name)) WITH ORDINALITY AS u (col, n)
                            WHERE u.col <> ALL ((c).exclude) ORDER BY n) END
$fn$;
COMMENT ON FUNCTION rowhook.captured_columns(rowhook.capture) IS 'The columns that go into events; null: the whole row';

CREATE FUNCTION rowhook.side_sql(c rowhook.capture, row_name text, ordinal text, source text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('(SELECT %s AS i, %s AS j, %s AS k, %s AS t%s)', side_sql.ordinal,
        rowhook.payload_sql(side_sql.row_name, rowhook.captured_columns(c)), rowhook.key_sql(side_sql.row_name, (c).key),
        rowhook.tenant_sql(side_sql.row_name, (c).tenant), side_sql.source)
$fn$;
COMMENT ON FUNCTION rowhook.side_sql(rowhook.capture, text, text, text) IS 'Old or new rows of an update, numbered';

CREATE FUNCTION rowhook.update_sql(c rowhook.capture, pairs text, split boolean) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- "pairs" joins old rows o and new rows n (j: payload, k: key, t: tenant). With "split", a row whose tenant changed, or
    -- that has no partner, becomes deleted for the one and created for the other. Key and tenant may be excluded from the
    -- payload, so they are compared as well.
    SELECT format($sql$
    INSERT INTO rowhook.event (occurred_at, slot, kept_in, op, type, table_name, row_key, tenant, data, previous, moved)
    SELECT rowhook_now.at, rowhook_now.slot, rowhook_now.slot, e.op, e.type, %1$L, e.row_key, e.tenant, e.data, e.previous, e.moved
      FROM %2$s
     CROSS JOIN LATERAL (
           SELECT rowhook.event_op 'update' AS op, %3$L AS type, n.k AS row_key, n.t AS tenant, n.j AS data,
                  rowhook.changed(o.j, n.j) AS previous, false AS moved%4$s) AS e
     WHERE o.j::text IS DISTINCT FROM n.j::text OR o.k IS DISTINCT FROM n.k OR o.t IS DISTINCT FROM n.t
     ORDER BY coalesce(n.i, o.i)%5$s;$sql$,
        rowhook.table_label((c).table_name), update_sql.pairs, (c).type_prefix || '.updated',
        CASE WHEN update_sql.split THEN format($sql$
            WHERE o.j IS NOT NULL AND n.j IS NOT NULL AND o.t IS NOT DISTINCT FROM n.t
           UNION ALL
           SELECT 'delete', %L, o.k, o.t, o.j, NULL, n.j IS NOT NULL
            WHERE o.j IS NOT NULL AND (n.j IS NULL OR o.t IS DISTINCT FROM n.t)
           UNION ALL
           SELECT 'insert', %L, n.k, n.t, n.j, NULL, o.j IS NOT NULL
            WHERE n.j IS NOT NULL AND (o.j IS NULL OR o.t IS DISTINCT FROM n.t)$sql$,
            (c).type_prefix || '.deleted', (c).type_prefix || '.created') ELSE '' END,
        CASE WHEN update_sql.split THEN $sql$, e.op = 'insert'$sql$ ELSE '' END)  -- deleted for the one before created for the other
$fn$;
COMMENT ON FUNCTION rowhook.update_sql(rowhook.capture, text, boolean) IS 'The INSERT that captures updated rows';

CREATE FUNCTION rowhook.insert_sql(c rowhook.capture, op text, past text, row_name text, source text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format($sql$
    INSERT INTO rowhook.event (occurred_at, slot, kept_in, op, type, table_name, row_key, tenant, data)
    SELECT rowhook_now.at, rowhook_now.slot, rowhook_now.slot, %L, %L, %L, %s, %s, %s%s;$sql$, insert_sql.op, (c).type_prefix || '.' || insert_sql.past, rowhook.table_label((c).table_name),
        rowhook.key_sql(insert_sql.row_name, (c).key), rowhook.tenant_sql(insert_sql.row_name, (c).tenant),
        rowhook.payload_sql(insert_sql.row_name, rowhook.captured_columns(c)), insert_sql.source)
$fn$;
COMMENT ON FUNCTION rowhook.insert_sql(rowhook.capture, text, text, text, text) IS 'The INSERT that captures inserted or deleted rows';

CREATE FUNCTION rowhook.body_sql(c rowhook.capture, op text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE
    WHEN body_sql.op = 'truncate' THEN format($sql$
    INSERT INTO rowhook.event (occurred_at, slot, kept_in, op, type, table_name) VALUES (rowhook_now.at, rowhook_now.slot, rowhook_now.slot, 'truncate', %L, %L);$sql$,
            (c).type_prefix || '.truncated', rowhook.table_label((c).table_name))
    WHEN (c).mode = 'row' THEN CASE body_sql.op
        WHEN 'insert' THEN rowhook.insert_sql(c, 'insert', 'created', 'NEW', '')
        WHEN 'delete' THEN rowhook.insert_sql(c, 'delete', 'deleted', 'OLD', '')
        -- OFFSET 0 keeps the planner from computing the payload once for every place that uses it.
        ELSE rowhook.update_sql(c, rowhook.side_sql(c, 'OLD', '1', ' OFFSET 0') || ' AS o CROSS JOIN '
                || rowhook.side_sql(c, 'NEW', '1', ' OFFSET 0') || ' AS n', (c).tenant IS NOT NULL) END
    ELSE CASE body_sql.op
        WHEN 'insert' THEN rowhook.insert_sql(c, 'insert', 'created', 'rowhook_new', ' FROM rowhook_new_rows AS rowhook_new')
        WHEN 'delete' THEN rowhook.insert_sql(c, 'delete', 'deleted', 'rowhook_old', ' FROM rowhook_old_rows AS rowhook_old')
        -- The two transition tables are in the same order: pairing by ordinal is right even when keys change.
        ELSE format($sql$
    IF (SELECT count(*) FROM rowhook_old_rows) = (SELECT count(*) FROM rowhook_new_rows) THEN%s
    ELSE%s
    END IF;$sql$, rowhook.update_sql(c, p.old_rows || ' AS o JOIN ' || p.new_rows || ' AS n ON n.i = o.i', (c).tenant IS NOT NULL),
                  rowhook.update_sql(c, p.old_rows || ' AS o FULL JOIN ' || p.new_rows || ' AS n ON n.k = o.k', true)) END
    END
    FROM (SELECT rowhook.side_sql(c, 'rowhook_old', 'row_number() OVER ()', ' FROM rowhook_old_rows AS rowhook_old') AS old_rows,
                 rowhook.side_sql(c, 'rowhook_new', 'row_number() OVER ()', ' FROM rowhook_new_rows AS rowhook_new') AS new_rows) AS p
$fn$;
COMMENT ON FUNCTION rowhook.body_sql(rowhook.capture, text) IS 'What a trigger function does for one operation';

CREATE FUNCTION rowhook.function_sql(c rowhook.capture, name text, body text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Time and slot once for all rows, where the columns' own defaults would be computed for each; named by their block, as a
    -- captured column may be called "at". The transaction's id is left to its default: a statement that changes no row takes none.
    -- The doorbell after the events, clock before flag: see rowhook.ring(), whose test this repeats, since a call costs each
    -- write 2 microseconds and the test none.
    SELECT format($sql$CREATE OR REPLACE FUNCTION rowhook.%1$I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS %2$L;
COMMENT ON FUNCTION rowhook.%1$I() IS %3$L;
SELECT rowhook.give_to_capture_owner(%4$L);
$sql$, function_sql.name,
       CASE (c).on_error WHEN 'abort' THEN format($sql$%s
BEGIN%s%s
    RETURN NULL;
END
$sql$, t.declarations, function_sql.body, t.test) ELSE format($sql$%s
BEGIN
    BEGIN%s%s
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO rowhook.capture_failure (table_name, op, sqlstate, message) VALUES (%L, TG_OP, SQLSTATE, SQLERRM);
    END;
    RETURN NULL;
END
$sql$, t.declarations, function_sql.body, t.test, rowhook.table_label((c).table_name)) END,
       'Capture of ' || rowhook.table_label((c).table_name), format('rowhook.%I()', function_sql.name))
      FROM (SELECT $sql$
<<rowhook_now>>
DECLARE
    at     timestamptz := clock_timestamp();
    slot   smallint    := coalesce(pg_sequence_last_value('rowhook.present_slot'::regclass), 0);
    _now   double precision;
    _armed bigint;$sql$, $sql$
    IF FOUND THEN
        _now := date_part('epoch', clock_timestamp()) * 1000;
        _armed := pg_sequence_last_value('rowhook.doorbell'::regclass);
        IF _now < _armed THEN PERFORM rowhook.ring(); END IF;
    END IF;$sql$) AS t (declarations, test)
$fn$;
COMMENT ON FUNCTION rowhook.function_sql(rowhook.capture, text, text) IS 'CREATE FUNCTION of a trigger function';

CREATE FUNCTION rowhook.trigger_names(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Triggers fire in the order of their names: "!" sorts first, so "created" precedes what the user's own triggers cause.
    SELECT ARRAY(SELECT quote_ident('!rowhook_' || e) FROM unnest((c).events) AS e WHERE e = 'truncate' OR (c).mode = 'statement')
        || CASE WHEN (c).mode = 'row' AND (c).events && '{insert,update,delete}' THEN ARRAY[quote_ident('!rowhook_row')] ELSE '{}' END
$fn$;
COMMENT ON FUNCTION rowhook.trigger_names(rowhook.capture) IS 'The triggers of a capture, quoted';

CREATE FUNCTION rowhook.drop_ddl(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce((SELECT string_agg(format(E'DROP TRIGGER IF EXISTS %I ON %s;\n', t.tgname, (c).table_name), '' ORDER BY t.tgname)
                       FROM pg_trigger AS t WHERE t.tgrelid = (c).table_name AND t.tgparentid = 0
                        AND t.tgname ~ '^!rowhook_(row|insert|update|delete|truncate)$'), '')
        || coalesce((SELECT string_agg(format(E'DROP FUNCTION rowhook.%I();\n', p.proname), '' ORDER BY p.proname)
                       FROM pg_proc AS p WHERE p.pronamespace = 'rowhook'::regnamespace
                        AND p.proname ~ format('^capture_%s_(row|insert|update|delete|truncate)$', (c).id)), '')
$fn$;
COMMENT ON FUNCTION rowhook.drop_ddl(rowhook.capture) IS 'The SQL that removes a capture''s triggers and functions';

CREATE FUNCTION rowhook.capture_ddl(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT rowhook.drop_ddl(c) || CASE WHEN (c).mode = 'row' AND (c).events && '{insert,update,delete}'
        THEN rowhook.function_sql(c, format('capture_%s_row', (c).id), (
                SELECT string_agg(format(E'\n    %s TG_OP = %L THEN%s', CASE n WHEN 1 THEN 'IF' ELSE 'ELSIF' END, upper(op),
                                         rowhook.body_sql(c, op)), '' ORDER BY n) || E'\n    END IF;'
                  FROM unnest(ARRAY(SELECT e FROM unnest((c).events) AS e WHERE e <> 'truncate')) WITH ORDINALITY AS o (op, n)))
             || format(E'CREATE TRIGGER "!rowhook_row" AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION rowhook.capture_%s_row();\n',
                       (SELECT string_agg(upper(e), ' OR ') FROM unnest((c).events) AS e WHERE e <> 'truncate'), (c).table_name, (c).id)
        ELSE '' END
    || coalesce((SELECT string_agg(
            rowhook.function_sql(c, format('capture_%s_%s', (c).id, op), rowhook.body_sql(c, op))
            || format(E'CREATE TRIGGER "!rowhook_%s" AFTER %s ON %s%s FOR EACH STATEMENT EXECUTE FUNCTION rowhook.capture_%s_%s();\n',
                      op, upper(op), (c).table_name,
                      CASE op WHEN 'insert' THEN ' REFERENCING NEW TABLE AS rowhook_new_rows'
                              WHEN 'update' THEN ' REFERENCING OLD TABLE AS rowhook_old_rows NEW TABLE AS rowhook_new_rows'
                              WHEN 'delete' THEN ' REFERENCING OLD TABLE AS rowhook_old_rows' ELSE '' END, (c).id, op), '' ORDER BY n)
          FROM unnest((c).events) WITH ORDINALITY AS o (op, n)
         WHERE op = 'truncate' OR (c).mode = 'statement'), '')
    || CASE WHEN (c).paused THEN coalesce((SELECT string_agg(format(E'ALTER TABLE %s DISABLE TRIGGER %s;\n', (c).table_name, t), '')
          FROM unnest(rowhook.trigger_names(c)) AS t), '') ELSE '' END
$fn$;
COMMENT ON FUNCTION rowhook.capture_ddl(rowhook.capture) IS 'The SQL that installs a capture';

CREATE FUNCTION rowhook.capture_mode(source regclass, key text[]) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Rows without a key can't be paired; foreign tables have no transition tables, and a write through the parent of a partition
    -- or inheriting table fires none of its statement triggers; a user's own AFTER ROW trigger that writes the same row would
    -- make "updated" precede "created".
    SELECT CASE WHEN cardinality(capture_mode.key) = 0 OR c.relkind IN ('p', 'f')
                  OR EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid)
                  OR EXISTS (SELECT FROM pg_trigger AS t
                              WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
                                AND t.tgtype & 1 = 1 AND t.tgtype & 66 = 0 AND t.tgtype & 28 <> 0
                                AND t.tgname <> '!rowhook_row')
                THEN 'row' ELSE 'statement' END
      FROM pg_class AS c WHERE c.oid = capture_mode.source
$fn$;
COMMENT ON FUNCTION rowhook.capture_mode(regclass, text[]) IS 'Statement triggers where they can work, row triggers elsewhere';

CREATE FUNCTION rowhook.check_source(source regclass) RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
        PERFORM rowhook.refuse(format('%s is a view, not a table', _label), 'Capture the tables that it reads');
    ELSIF _class.relkind NOT IN ('r', 'p', 'f') THEN
        PERFORM rowhook.refuse(format('%s is not a table', _label), 'Name a table');
    ELSIF _class.relnamespace = 'rowhook'::regnamespace THEN
        PERFORM rowhook.refuse(format('%s belongs to Rowhook itself', _label), 'Its events would cause events without end; name a table of your own');
    ELSIF _class.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) OR _class.relpersistence = 't' THEN
        PERFORM rowhook.refuse(format('%s is a system or temporary table', _label), 'Name a table of your own');
    END IF;
END
$fn$;
COMMENT ON FUNCTION rowhook.check_source(regclass) IS 'Refuse what cannot be captured';

CREATE FUNCTION rowhook.json_casts(source regclass) RETURNS TABLE (column_name text, type_name text, function_name text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.json_casts(regclass) IS 'User-defined casts to json that capturing a table would run';

CREATE FUNCTION rowhook.capture_plan(
    table_name regclass, tenant text DEFAULT NULL, include text[] DEFAULT NULL, exclude text[] DEFAULT NULL,
    key text[] DEFAULT NULL, events text[] DEFAULT NULL, type_prefix text DEFAULT NULL, on_error text DEFAULT NULL,
    paused boolean DEFAULT NULL)
RETURNS rowhook.capture LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _was  rowhook.capture;
    _plan rowhook.capture;
    _bad  text;
BEGIN
    IF capture_plan.table_name IS NULL THEN
        PERFORM rowhook.refuse('table_name is null', 'Name an existing table, e.g. rowhook.capture(''expenses'')');
    END IF;
    PERFORM rowhook.check_source(capture_plan.table_name);
    SELECT c.* INTO _was FROM rowhook.capture AS c WHERE c.table_name = capture_plan.table_name;
    _plan := _was;
    _plan.id := coalesce(_was.id, nextval(pg_get_serial_sequence('rowhook.capture', 'id')));
    _plan.table_name := capture_plan.table_name;
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
         WHERE i.indrelid = capture_plan.table_name AND i.indisprimary AND a.attrelid = i.indrelid ORDER BY k.n));
    _plan.events := coalesce(capture_plan.events, _was.events, '{insert,update,delete,truncate}');
    _plan.type_prefix := coalesce(nullif(capture_plan.type_prefix, ''), _was.type_prefix, (
        SELECT rowhook.singular(c.relname) FROM pg_class AS c WHERE c.oid = capture_plan.table_name));
    _plan.on_error := coalesce(capture_plan.on_error, _was.on_error, 'abort');
    _plan.paused := coalesce(capture_plan.paused, _was.paused, false);

    PERFORM rowhook.check_columns(_plan.table_name, 'tenant', ARRAY[_plan.tenant]);
    PERFORM rowhook.check_columns(_plan.table_name, 'include', _plan.include);
    PERFORM rowhook.check_columns(_plan.table_name, 'exclude', _plan.exclude);
    PERFORM rowhook.check_columns(_plan.table_name, 'key', _plan.key);
    SELECT e INTO _bad FROM unnest(_plan.events) AS e WHERE e <> ALL ('{insert,update,delete,truncate}'::text[]);
    IF FOUND OR cardinality(_plan.events) = 0 THEN
        PERFORM rowhook.refuse(format('events: "%s" is not an operation', coalesce(_bad, '')), 'Give some of: insert, update, delete, truncate');
    END IF;
    IF _plan.on_error NOT IN ('abort', 'record') THEN
        PERFORM rowhook.refuse(format('on_error: "%s" is not known', _plan.on_error), 'Give abort or record');
    END IF;
    IF _plan.type_prefix !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' THEN
        PERFORM rowhook.refuse(format('type_prefix: "%s" is not a name', _plan.type_prefix), 'Use letters, digits, _ and -, with dots between');
    END IF;
    IF _plan.exclude @> rowhook.columns_of(_plan.table_name) THEN
        PERFORM rowhook.refuse('exclude: no column is left', 'Leave at least one column');
    END IF;
    -- One order, no repeats: the same options always give the same SQL.
    _plan.events := ARRAY(SELECT e FROM unnest('{insert,update,delete,truncate}'::text[]) AS e WHERE e = ANY (_plan.events));
    IF (SELECT c.relkind FROM pg_class AS c WHERE c.oid = _plan.table_name) = 'f' THEN
        _plan.events := array_remove(_plan.events, 'truncate');
        IF cardinality(_plan.events) = 0 THEN
            PERFORM rowhook.refuse('events: a foreign table''s truncate cannot be captured', 'Give some of: insert, update, delete');
        END IF;
    END IF;
    _plan.mode := rowhook.capture_mode(_plan.table_name, _plan.key);
    _plan.fingerprint := md5(regexp_replace(rowhook.capture_ddl(_plan), '^DROP [^\n]*\n', '', 'gn'));
    RETURN _plan;
END
$fn$;
COMMENT ON FUNCTION rowhook.capture_plan(regclass, text, text[], text[], text[], text[], text, text, boolean) IS
    'What capture() would store, all options checked; rowhook.capture_ddl() of it is the SQL';

CREATE FUNCTION rowhook.capture_is_whole(c rowhook.capture) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- All triggers there, enabled as they should be, and their functions in the right hands (a restore changes that).
    SELECT (SELECT count(*) FROM pg_trigger AS t
              JOIN pg_proc AS p ON p.oid = t.tgfoid AND p.pronamespace = 'rowhook'::regnamespace
             WHERE t.tgrelid = (c).table_name AND quote_ident(t.tgname) = ANY (rowhook.trigger_names(c))
               AND (t.tgenabled = 'D') = (c).paused
               AND pg_get_userbyid(p.proowner) = rowhook.capture_owner())
           = cardinality(rowhook.trigger_names(c))
$fn$;
COMMENT ON FUNCTION rowhook.capture_is_whole(rowhook.capture) IS 'Whether a capture''s triggers are in place';

CREATE FUNCTION rowhook.begun(c rowhook.capture) RETURNS rowhook.capture LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
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
    RETURN c;
END
$fn$;
COMMENT ON FUNCTION rowhook.begun(rowhook.capture) IS 'A capture that was just installed, with where its events begin';

CREATE FUNCTION rowhook.capture(
    table_name regclass, tenant text DEFAULT NULL, include text[] DEFAULT NULL, exclude text[] DEFAULT NULL,
    key text[] DEFAULT NULL, events text[] DEFAULT NULL, type_prefix text DEFAULT NULL, on_error text DEFAULT NULL,
    paused boolean DEFAULT NULL)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _was     rowhook.capture;
    _plan    rowhook.capture;
    _cast    record;
    _virtual name;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;  -- two relays that start at once
    _plan := rowhook.capture_plan(capture.table_name, capture.tenant, capture.include, capture.exclude, capture.key,
                                  capture.events, capture.type_prefix, capture.on_error, capture.paused);
    SELECT c.* INTO _was FROM rowhook.capture AS c WHERE c.table_name = _plan.table_name;
    IF _was.fingerprint = _plan.fingerprint AND rowhook.capture_is_whole(_plan) THEN
        RETURN 'unchanged';
    END IF;
    IF _plan.on_error = 'abort' THEN
        FOR _cast IN SELECT * FROM rowhook.json_casts(_plan.table_name) LOOP
            RAISE WARNING 'column "%" of type % is turned into JSON by %, which runs without the writer''s rights',
                _cast.column_name, _cast.type_name, _cast.function_name
                USING HINT = 'If it can fail, so can writes to the table: on_error => ''record'' lets them go on';
        END LOOP;
    END IF;
    FOR _virtual IN
        SELECT a.attname FROM pg_attribute AS a
         WHERE a.attrelid = _plan.table_name AND a.attgenerated = 'v'  -- from Postgres 18 on
           AND a.attname = ANY (coalesce(rowhook.captured_columns(_plan), ARRAY[a.attname::text]))
    LOOP
        RAISE WARNING 'column "%" is a virtual generated column: it is null in events', _virtual
            USING HINT = 'Postgres computes it when it is read, after triggers have run: exclude it, or make it STORED';
    END LOOP;
    IF _plan.mode = 'row' THEN
        RAISE NOTICE 'capturing % row by row', rowhook.table_label(_plan.table_name)
            USING DETAIL = 'It has no key, is partitioned, foreign, a partition or an inheriting table, or has AFTER ROW triggers of its own';
    END IF;
    EXECUTE rowhook.capture_ddl(_plan);
    IF _plan.key IS DISTINCT FROM _was.key THEN
        _plan.labels := NULL;  -- rows have other names in the events from here on
    END IF;
    _plan := rowhook.begun(_plan);
    DELETE FROM rowhook.capture AS c WHERE c.id = _plan.id;
    INSERT INTO rowhook.capture OVERRIDING SYSTEM VALUE SELECT (_plan).*;
    RETURN CASE WHEN _was.id IS NULL THEN 'installed' ELSE 'changed' END;
END
$fn$;
COMMENT ON FUNCTION rowhook.capture(regclass, text, text[], text[], text[], text[], text, text, boolean) IS
    'Capture a table, or change how; returns installed, changed or unchanged';

CREATE FUNCTION rowhook.uncapture(table_name regclass) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _was rowhook.capture;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM rowhook.capture AS c WHERE c.table_name = uncapture.table_name RETURNING c.* INTO _was;
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(format('table %s is not captured',
            coalesce(rowhook.table_label(uncapture.table_name), uncapture.table_name::text)), 'Captured tables are: '
            || coalesce((SELECT string_agg(rowhook.table_label(c.table_name), ', ') FROM rowhook.capture AS c), 'none'));
    END IF;
    IF rowhook.drop_ddl(_was) <> '' THEN
        EXECUTE rowhook.drop_ddl(_was);
    END IF;
    RETURN 'removed';
END
$fn$;
COMMENT ON FUNCTION rowhook.uncapture(regclass) IS 'Remove a capture; no trace is left on the table';
