-- The schema follows: what DDL does to captured tables is taken over by their captures, kept as versions, and told to receivers.
-- depends: 0023-cost
--
-- Three lines of defence. A writer never fails for it, whatever is done here or isn't: the trigger functions' own shields
-- (0008-capture-expressions). Where an event trigger may be made (by superusers; managed services have roles of their own for it), the
-- functions are made anew in the transaction of the DDL, which holds the table's lock: no writer is in between. Elsewhere `rowhook
-- run` does it when it starts, and `rowhook doctor` says what waits for it.
--
-- Options stay what the operator chose. A column that is renamed is followed by its number, so that what was redacted or excluded stays
-- so; one that is dropped sets aside what names it, until it is back.

CREATE TABLE rowhook.schema_version (
    capture_id integer     NOT NULL,
    version    integer     NOT NULL,
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    table_name text        NOT NULL,
    origin     text        NOT NULL,
    columns    jsonb       NOT NULL,
    changes    jsonb       NOT NULL,
    compatible boolean     NOT NULL,
    CONSTRAINT schema_version_pkey PRIMARY KEY (capture_id, version)
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

-- --- what is, and what was ------------------------------------------------------------------------------------

CREATE FUNCTION rowhook.origin_of(source regclass) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('%s/%s/%s', s.system_identifier, d.oid, origin_of.source::oid)
      FROM pg_control_system() AS s, pg_database AS d WHERE d.datname = current_database()
$fn$;
COMMENT ON FUNCTION rowhook.origin_of(regclass) IS 'Where a table''s columns have the numbers that they have';

CREATE FUNCTION rowhook.known_of(c rowhook.capture) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT jsonb_build_object('origin', rowhook.origin_of((c).table_name), 'label', rowhook.table_label((c).table_name),
        'columns', coalesce((SELECT jsonb_object_agg(a.attnum, jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod)))
                      FROM pg_attribute AS a WHERE a.attrelid = (c).table_name AND a.attnum > 0 AND NOT a.attisdropped), '{}'),
        'far', coalesce((SELECT jsonb_object_agg(e.name, jsonb_build_array(e.far::oid, a.attnum, e.far::text, e.far_key, e.near))
                           FROM rowhook.enrichments(c) AS e JOIN pg_attribute AS a ON a.attrelid = e.far AND a.attname = e.far_column), '{}'))
$fn$;
COMMENT ON FUNCTION rowhook.known_of(rowhook.capture) IS 'A capture''s table as it is now';

CREATE FUNCTION rowhook.renamed(c rowhook.capture, name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce((SELECT a.attname FROM jsonb_each((c).known -> 'columns') AS k
                       JOIN pg_attribute AS a ON a.attrelid = (c).table_name AND a.attnum = k.key::smallint AND NOT a.attisdropped
                      WHERE k.value ->> 0 = renamed.name AND (c).known ->> 'origin' = rowhook.origin_of((c).table_name)), renamed.name)
$fn$;
COMMENT ON FUNCTION rowhook.renamed(rowhook.capture, text) IS 'What a column is called now that a capture knows by this name';

CREATE FUNCTION rowhook.followed(c rowhook.capture) RETURNS rowhook.capture LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.followed(rowhook.capture) IS 'A capture whose options name columns as they are called now';

CREATE FUNCTION rowhook.lacks_rights(c rowhook.capture, name text) RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    c.enrich := jsonb_build_object(lacks_rights.name, c.enrich -> lacks_rights.name);
    RETURN rowhook.grants_sql(c) <> '';
END
$fn$;
COMMENT ON FUNCTION rowhook.lacks_rights(rowhook.capture, text) IS 'Whether the role of captures may not read one of the further values';

CREATE FUNCTION rowhook.set_aside(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.set_aside(rowhook.capture) IS 'What a capture''s options ask for and its table no longer has';

-- --- versions -------------------------------------------------------------------------------------------------

CREATE FUNCTION rowhook.body_columns(c rowhook.capture) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce((SELECT jsonb_agg(b.is ORDER BY b.n, b.name) FROM (
        SELECT a.attname::text AS name, array_position(w.names, a.attname::text) AS n, jsonb_build_object('name', a.attname, 'number', a.attnum, 'type',
                   CASE WHEN (c).redact ? a.attname THEN format('redacted: %s', (c).redact ->> a.attname) ELSE format_type(a.atttypid, a.atttypmod) END) AS is
          FROM pg_attribute AS a CROSS JOIN (SELECT coalesce(rowhook.captured_columns(c), rowhook.columns_of((c).table_name)) AS names) AS w
         WHERE a.attrelid = (c).table_name AND a.attname = ANY (w.names) AND a.attnum > 0
        UNION ALL
        SELECT e.name, 10000, jsonb_build_object('name', e.name, 'number', NULL, 'type', format('found by %s', (c).enrich ->> e.name))
          FROM rowhook.enrichments(c) AS e) AS b), '[]')
$fn$;
COMMENT ON FUNCTION rowhook.body_columns(rowhook.capture) IS 'What the data of a capture''s events holds';

CREATE FUNCTION rowhook.is_wider(was text, becomes text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.is_wider(text, text) IS 'Whether a column''s new type holds what the old one did, in the same form';

CREATE FUNCTION rowhook.schema_changes(was jsonb, becomes jsonb, same_numbers boolean) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.schema_changes(jsonb, jsonb, boolean) IS 'What differs between two lists of columns, and whether who reads them has to know';

CREATE FUNCTION rowhook.types_of(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT ARRAY(SELECT (c).type_prefix || '.' || CASE e WHEN 'insert' THEN 'created' WHEN 'truncate' THEN 'truncated' ELSE e || 'd' END
                   FROM unnest((c).events) WITH ORDINALITY AS u (e, n) ORDER BY u.n)
        || ARRAY(SELECT r.type FROM rowhook.rule AS r WHERE (c).name = '' AND r.table_name = (c).table_name ORDER BY r.id)
$fn$;
COMMENT ON FUNCTION rowhook.types_of(rowhook.capture) IS 'The event types of a capture and its rules';

CREATE FUNCTION rowhook.note_version(c rowhook.capture, tell boolean) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.note_version(rowhook.capture, boolean) IS 'Keep a version of a capture''s schema, if it is another one; tell: emit schema.changed if that is incompatible';

-- --- following ------------------------------------------------------------------------------------------------

CREATE FUNCTION rowhook.holds_exclusively(source regclass) RETURNS boolean LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation = holds_exclusively.source
                      AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                      AND l.mode = 'AccessExclusiveLock' AND l.granted)
$fn$;
COMMENT ON FUNCTION rowhook.holds_exclusively(regclass) IS 'Whether this session holds a table so that nobody writes to it';

CREATE FUNCTION rowhook.is_behind(c rowhook.capture) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT (c).known <> rowhook.known_of(c) AND (
               EXISTS (SELECT FROM pg_class AS t WHERE t.oid = (c).table_name)
               OR NOT EXISTS (SELECT FROM rowhook.schema_version AS v WHERE v.capture_id = (c).id AND v.changes @> '[{"change": "table dropped"}]'))
        OR EXISTS (SELECT FROM rowhook.rule AS r JOIN pg_class AS t ON t.oid = r.table_name
                    WHERE (c).name = '' AND r.table_name = (c).table_name AND rowhook.rule_problem(r) IS DISTINCT FROM r.set_aside)
        OR (c).mode <> rowhook.capture_mode((c).table_name, (c).key)
$fn$;
COMMENT ON FUNCTION rowhook.is_behind(rowhook.capture) IS 'Whether a table has changed since its capture was made';

CREATE FUNCTION rowhook.follow(c rowhook.capture) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.follow(rowhook.capture) IS 'Take over what has become of a captured table: functions anew, rules that fit, a version';

CREATE FUNCTION rowhook.concerned(tag text, altered oid[]) RETURNS SETOF rowhook.capture LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.concerned(text, oid[]) IS 'Captures that a command of DDL has left behind';

-- Fires for everybody's DDL, so with the rights of who migrated; nothing that others defined is evaluated here. No wait is long, and no
-- failure is the DDL's: the shields hold until the next `rowhook run`.
CREATE FUNCTION rowhook.follow_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.follow_ddl() IS 'Event trigger function: captures follow what DDL does to their tables, in its transaction';

CREATE FUNCTION rowhook.watch_ddl() RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.watch_ddl() IS 'Make the event trigger by which captures follow DDL at once; false: this role may not';

CREATE FUNCTION rowhook.grant_versions() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    GRANT SELECT ON rowhook.schema_version TO rowhook_relay;
END
$fn$;
COMMENT ON FUNCTION rowhook.grant_versions() IS 'What rowhook_relay may do with versions of schemas: tell of them';

REVOKE EXECUTE ON FUNCTION rowhook.origin_of(regclass), rowhook.known_of(rowhook.capture), rowhook.renamed(rowhook.capture, text),
    rowhook.followed(rowhook.capture), rowhook.lacks_rights(rowhook.capture, text), rowhook.set_aside(rowhook.capture), rowhook.body_columns(rowhook.capture), rowhook.is_wider(text, text),
    rowhook.schema_changes(jsonb, jsonb, boolean), rowhook.types_of(rowhook.capture), rowhook.note_version(rowhook.capture, boolean),
    rowhook.holds_exclusively(regclass), rowhook.is_behind(rowhook.capture), rowhook.follow(rowhook.capture), rowhook.concerned(text, oid[]),
    rowhook.follow_ddl(), rowhook.watch_ddl(), rowhook.grant_versions() FROM PUBLIC;
SELECT rowhook.grant_to_roles();
SELECT rowhook.watch_ddl();
