-- capture() and uncapture(): options checked, a plan made of them, installed.
-- depends: 0019-backfill

CREATE FUNCTION rowhook.capture_mode(source regclass, key text[]) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN rowhook.row_reasons(capture_mode.source, capture_mode.key) <> '{}' THEN 'row' ELSE 'statement' END
$fn$;
COMMENT ON FUNCTION rowhook.capture_mode(regclass, text[]) IS 'Statement triggers where they can work, row triggers elsewhere';

CREATE FUNCTION rowhook.read_by(source regclass) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT string_agg(DISTINCT rowhook.table_label(t.oid), ', ')
      FROM pg_rewrite AS r
      JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
      JOIN pg_class AS t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p', 'f') AND t.relnamespace <> 'pg_catalog'::regnamespace
     WHERE r.ev_class = read_by.source
$fn$;
COMMENT ON FUNCTION rowhook.read_by(regclass) IS 'The tables that a view reads';

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
$fn$;
COMMENT ON FUNCTION rowhook.check_source(regclass) IS 'Refuse what cannot be captured';

CREATE FUNCTION rowhook.captured_above(source regclass) RETURNS regclass LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT a.relid::regclass FROM pg_partition_ancestors(captured_above.source) WITH ORDINALITY AS a (relid, n)
      JOIN rowhook.capture AS c ON c.table_name = a.relid AND c.events <> '{}'
     WHERE a.relid <> captured_above.source ORDER BY a.n LIMIT 1
$fn$;
COMMENT ON FUNCTION rowhook.captured_above(regclass) IS 'The captured table of which this is a partition';

CREATE FUNCTION rowhook.captured_below(source regclass) RETURNS regclass LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT t.relid FROM pg_partition_tree(captured_below.source) AS t
      JOIN rowhook.capture AS c ON c.table_name = t.relid AND c.events <> '{}'
     WHERE t.relid <> captured_below.source ORDER BY t.level, t.relid LIMIT 1
$fn$;
COMMENT ON FUNCTION rowhook.captured_below(regclass) IS 'A partition of this table that is captured by itself';

CREATE FUNCTION rowhook.heirs(source regclass, name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    WITH RECURSIVE heir (oid) AS (
        SELECT i.inhrelid FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent AND c.relkind <> 'p' WHERE i.inhparent = heirs.source
        UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN heir AS h ON h.oid = i.inhparent)
    SELECT string_agg(rowhook.table_label(h.oid), ', ' ORDER BY h.oid) FROM heir AS h
     WHERE NOT EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = h.oid AND c.name = heirs.name)
$fn$;
COMMENT ON FUNCTION rowhook.heirs(regclass, text) IS 'Tables that inherit from this one and have no capture of this name';

CREATE FUNCTION rowhook.uncapture_commands(source regclass) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT string_agg('rowhook uncapture ' || rowhook.capture_label(c.table_name, c.name), '; ' ORDER BY c.id)
      FROM rowhook.capture AS c WHERE c.table_name = uncapture_commands.source AND c.events <> '{}'
$fn$;
COMMENT ON FUNCTION rowhook.uncapture_commands(regclass) IS 'What removes all captures of a table that make events of its rows';

CREATE FUNCTION rowhook.check_sight(c rowhook.capture, was rowhook.capture) RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.check_sight(rowhook.capture, rowhook.capture) IS 'Refuse what triggers would not see, or would see twice';

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

CREATE FUNCTION rowhook.fingerprint(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Without the table's oid, which a restore changes.
    SELECT md5(regexp_replace(regexp_replace(rowhook.capture_ddl(c), '^(DROP|GRANT) [^\n]*\n', '', 'gn'), '''+[0-9]+''+::regclass', '', 'g'))
$fn$;
COMMENT ON FUNCTION rowhook.fingerprint(rowhook.capture) IS 'Of the SQL that a capture is made of';

CREATE FUNCTION rowhook.capture_plan(
    table_name regclass, tenant text DEFAULT NULL, include text[] DEFAULT NULL, exclude text[] DEFAULT NULL,
    key text[] DEFAULT NULL, events text[] DEFAULT NULL, type_prefix text DEFAULT NULL, on_error text DEFAULT NULL,
    paused boolean DEFAULT NULL, redact jsonb DEFAULT NULL, max_size integer DEFAULT NULL, enrich jsonb DEFAULT NULL, predicate text DEFAULT NULL,
    name text DEFAULT '')
RETURNS rowhook.capture LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.capture_plan(regclass, text, text[], text[], text[], text[], text, text, boolean, jsonb, integer, jsonb, text, text) IS
    'What capture() would store, all options checked; rowhook.capture_ddl() of it is the SQL';

CREATE FUNCTION rowhook.capture_is_whole(c rowhook.capture) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- All triggers there, enabled as they should be, and their functions in the right hands (a restore changes that).
    SELECT (SELECT count(*) FROM pg_trigger AS t
              JOIN pg_proc AS p ON p.oid = t.tgfoid AND p.pronamespace = 'rowhook'::regnamespace
             WHERE t.tgrelid = (c).table_name AND quote_ident(t.tgname) = ANY (rowhook.trigger_names(c))
               AND CASE WHEN (c).paused THEN t.tgenabled = 'D' WHEN rowhook.subscribed((c).table_name) THEN t.tgenabled = 'A' ELSE t.tgenabled <> 'D' END
               AND pg_get_userbyid(p.proowner) = rowhook.capture_owner())
           = cardinality(rowhook.trigger_names(c))
       AND rowhook.grants_sql(c) = ''
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
    c.prefixes := coalesce(c.prefixes, '{}');
    IF c.events <> '{}' AND NOT c.prefixes ? c.type_prefix THEN
        c.prefixes := c.prefixes || jsonb_build_object(c.type_prefix, coalesce(pg_sequence_last_value(pg_get_serial_sequence('rowhook.event', 'id')), 0));
    END IF;
    RETURN c;
END
$fn$;
COMMENT ON FUNCTION rowhook.begun(rowhook.capture) IS 'A capture that was just installed, with where its events begin';

CREATE FUNCTION rowhook.execute_own(ddl text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- What Rowhook does to triggers and functions is no DDL that captures have to follow.
    PERFORM set_config('rowhook.at_work', 'on', true);
    EXECUTE ddl;
    PERFORM set_config('rowhook.at_work', '', true);
END
$fn$;
COMMENT ON FUNCTION rowhook.execute_own(text) IS 'Execute DDL of Rowhook''s own, which no capture follows';

CREATE FUNCTION rowhook.capture(
    table_name regclass, tenant text DEFAULT NULL, include text[] DEFAULT NULL, exclude text[] DEFAULT NULL,
    key text[] DEFAULT NULL, events text[] DEFAULT NULL, type_prefix text DEFAULT NULL, on_error text DEFAULT NULL,
    paused boolean DEFAULT NULL, redact jsonb DEFAULT NULL, max_size integer DEFAULT NULL, enrich jsonb DEFAULT NULL, predicate text DEFAULT NULL,
    name text DEFAULT '')
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.capture(regclass, text, text[], text[], text[], text[], text, text, boolean, jsonb, integer, jsonb, text, text) IS
    'Capture a table, or change how; by another name once more; returns installed, changed or unchanged';

CREATE FUNCTION rowhook.not_captured(source regclass, name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('table %s is not captured', coalesce(rowhook.table_label(not_captured.source), not_captured.source::text))
        || coalesce(' by the name ' || quote_ident(nullif(not_captured.name, '')),
                    (SELECT ' without a name' WHERE EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = not_captured.source)), '')
$fn$;
COMMENT ON FUNCTION rowhook.not_captured(regclass, text) IS 'What is wrong where a table has no capture of a name';

CREATE FUNCTION rowhook.uncapture(table_name regclass, name text DEFAULT '') RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.uncapture(regclass, text) IS 'Remove a capture and its rules; no trace of it is left on the table';

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rowhook FROM PUBLIC;
