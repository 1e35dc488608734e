-- Is every row accounted for? A table's rows against the events that tell of it, in one statement and so in one snapshot.
-- depends: 0012-tenants
--
-- The events of a key end with the row being there or gone. Per key they are in order of commit, but within one statement keys may
-- change hands (id = id + 1, a MERGE): what leaves a key and what arrives there are then simultaneous, whatever their ids. So the
-- events of one transaction are weighed together. All of it only reads: it works on a standby too.

CREATE TYPE rowhook.comparison AS (differ text[], added text[], dropped text[]);
COMMENT ON TYPE rowhook.comparison IS 'Of an event and its row: columns that differ, that only the row has, that only the event has';

CREATE FUNCTION rowhook.key_of(parts text[], types regtype[]) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.key_of(text[], regtype[]) IS 'A row key from its parts';

CREATE FUNCTION rowhook.old_key(event rowhook.event, key text[], types regtype[]) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.old_key(rowhook.event, text[], regtype[]) IS 'The key that an update took from its row, if it did';

CREATE FUNCTION rowhook.compared(event json, present json, definition text, skip text[]) RETURNS rowhook.comparison LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.compared(json, json, text, text[]) IS 'Where an event and its row differ';

CREATE FUNCTION rowhook.check_verifiable(c rowhook.capture) RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.check_verifiable(rowhook.capture) IS 'Refuse a table that events can''t prove';

CREATE FUNCTION rowhook.told_sql(c rowhook.capture, begins bigint) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.told_sql(rowhook.capture, bigint) IS 'SQL of what the events after one say of each key';

CREATE FUNCTION rowhook.verify_sql(c rowhook.capture, begins bigint, complete boolean, newer text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.verify_sql(rowhook.capture, bigint, boolean, text) IS 'SQL that judges each row of a table by its events';

CREATE FUNCTION rowhook.verify(table_name regclass, name text DEFAULT '', OUT verdict text, OUT row_key text, OUT columns text[], OUT added text[],
                               OUT dropped text[], OUT count bigint) RETURNS SETOF record LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET timezone = 'UTC'
SET datestyle = 'ISO, MDY'
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = 1
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.verify(regclass, text) IS
    'A table''s rows against its events: accounted, missing, stale (in these columns), ghost, unproven; keys of those that differ';

CREATE FUNCTION rowhook.log_of(c rowhook.capture, OUT begins bigint, OUT complete boolean, OUT newer text, OUT renumbered boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.log_of(rowhook.capture) IS 'From where on its events tell of a table, whether of every row, and which rows they should know';

REVOKE EXECUTE ON FUNCTION rowhook.key_of(text[], regtype[]), rowhook.old_key(rowhook.event, text[], regtype[]),
    rowhook.compared(json, json, text, text[]), rowhook.check_verifiable(rowhook.capture), rowhook.told_sql(rowhook.capture, bigint),
    rowhook.verify_sql(rowhook.capture, bigint, boolean, text), rowhook.verify(regclass, text), rowhook.log_of(rowhook.capture) FROM PUBLIC;
