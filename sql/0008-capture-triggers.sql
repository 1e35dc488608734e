-- The generator: small static functions and triggers for each captured table; no dynamic SQL when they run.
-- depends: 0008-capture-settings
--
-- Statement triggers with transition tables where they can work, row triggers elsewhere. Installing takes a SHARE ROW
-- EXCLUSIVE lock on the table for a moment; set lock_timeout and try again rather than queue behind a long writer.

CREATE FUNCTION rowhook.event_sql(c rowhook.capture, op text, type text, row_key text, tenant text, data text, keys text, source text,
                                  previous text DEFAULT 'NULL', moved text DEFAULT 'false', old_keys text DEFAULT 'NULL', condition text DEFAULT '')
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.event_sql(rowhook.capture, text, text, text, text, text, text, text, text, text, text, text) IS 'An INSERT of events';

CREATE FUNCTION rowhook.side_sql(c rowhook.capture, row_name text, ordinal text, source text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- A row that is not captured has no record.
    SELECT format('(SELECT %s AS i, %s AS r, %s AS k, %s AS t%s%s)', side_sql.ordinal,
        coalesce('CASE WHEN ' || rowhook.holds_sql(c, side_sql.row_name) || ' THEN ' || rowhook.record_sql(c, side_sql.row_name) || ' END',
                 rowhook.record_sql(c, side_sql.row_name)),
        rowhook.key_sql(side_sql.row_name, (c).key), rowhook.tenant_sql(side_sql.row_name, (c).tenant),
        CASE WHEN (c).max_size IS NULL THEN '' ELSE format(', %s AS x', rowhook.key_payload_sql(c, side_sql.row_name)) END, side_sql.source)
$fn$;
COMMENT ON FUNCTION rowhook.side_sql(rowhook.capture, text, text, text) IS 'Old or new rows of an update, numbered';

CREATE FUNCTION rowhook.update_sql(c rowhook.capture, pairs text, split boolean) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.update_sql(rowhook.capture, text, boolean) IS 'The INSERT that captures updated rows';

CREATE FUNCTION rowhook.insert_sql(c rowhook.capture, op text, past text, row_name text, source text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT rowhook.event_sql(c, quote_literal(insert_sql.op), quote_literal((c).type_prefix || '.' || insert_sql.past),
        rowhook.key_sql(insert_sql.row_name, (c).key), rowhook.tenant_sql(insert_sql.row_name, (c).tenant), rowhook.payload_sql(c, insert_sql.row_name),
        rowhook.key_payload_sql(c, insert_sql.row_name), insert_sql.source, condition => coalesce(E'\n     WHERE ' || rowhook.holds_sql(c, insert_sql.row_name), ''))
$fn$;
COMMENT ON FUNCTION rowhook.insert_sql(rowhook.capture, text, text, text, text) IS 'The INSERT that captures inserted or deleted rows';

CREATE FUNCTION rowhook.events_sql(c rowhook.capture, op text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.events_sql(rowhook.capture, text) IS 'The INSERTs of the events of one operation, rules apart';

CREATE FUNCTION rowhook.guard_sql(c rowhook.capture, query text, says text, otherwise text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.guard_sql(rowhook.capture, text, text, text) IS 'What keeps a writer from failing where DDL has taken away what an expression needs';

CREATE FUNCTION rowhook.guarded_rows_sql(c rowhook.capture, op text, old_name text, new_name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT E'\n          FROM ' || string_agg(format('%s AS %I', CASE (c).mode WHEN 'row' THEN rowhook.row_sql(c, s.side) ELSE format('rowhook_%s_rows', s.side) END, s.name),
                                               ' CROSS JOIN ' ORDER BY s.n)
      FROM (VALUES (1, 'old', guarded_rows_sql.old_name), (2, 'new', guarded_rows_sql.new_name)) AS s (n, side, name)
     WHERE CASE guarded_rows_sql.op WHEN 'insert' THEN s.side = 'new' WHEN 'delete' THEN s.side = 'old' ELSE true END
$fn$;
COMMENT ON FUNCTION rowhook.guarded_rows_sql(rowhook.capture, text, text, text) IS 'The rows that one operation has, for what is only parsed';

CREATE FUNCTION rowhook.enriched_sql(c rowhook.capture, op text, guarded boolean, body text, bare text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN enriched_sql.body = '' OR enriched_sql.op = 'truncate' OR NOT EXISTS (SELECT FROM rowhook.enrichments(c)) THEN enriched_sql.body
                ELSE CASE WHEN enriched_sql.guarded
                          -- Executed, for no row: rights are looked at only then, and a table that was made anew has none.
                          THEN rowhook.guard_sql(c, (SELECT string_agg(f.value, ', ') FROM rowhook.far_values(c, CASE enriched_sql.op WHEN 'delete' THEN 'rowhook_old' ELSE 'rowhook_new' END) AS f)
                                   || rowhook.guarded_rows_sql(c, enriched_sql.op, 'rowhook_old', 'rowhook_new') || ' LIMIT 0', 'enrich', '_enriched := false;') ELSE '' END
                     || format(E'\n    IF _enriched THEN%s\n    ELSE%s\n    END IF;', enriched_sql.body, enriched_sql.bare) END
$fn$;
COMMENT ON FUNCTION rowhook.enriched_sql(rowhook.capture, text, boolean, text, text) IS 'What is done with further values, and without where they can''t be found';

CREATE FUNCTION rowhook.bare(c rowhook.capture) RETURNS rowhook.capture LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    c.enrich := NULL;
    RETURN c;
END
$fn$;
COMMENT ON FUNCTION rowhook.bare(rowhook.capture) IS 'A capture without its further values';

CREATE FUNCTION rowhook.taken_sql(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- A predicate's column that is gone would be looked for among the function's variables. Here each of their names is ambiguous, which
    -- is an error; the row's own columns are nearer.
    SELECT format('(SELECT %s) AS rowhook_taken', string_agg(format('0 AS "%1$s", 0 AS "%1$s"', replace(t.name, '"', '""')), ', ' ORDER BY t.name))
      FROM (SELECT unnest('{at,slot,context,chain,_now,_armed,_wrote,_op,_found,_broken,_rule,_captured,_enriched,found,tg_name,tg_when,tg_level,tg_op,tg_relid,tg_relname,tg_table_name,tg_table_schema,tg_nargs,tg_argv}'::text[])
            UNION SELECT unnest(rowhook.named_columns(c))) AS t (name)
     WHERE t.name NOT IN ('new', 'old')  -- rows as a whole
$fn$;
COMMENT ON FUNCTION rowhook.taken_sql(rowhook.capture) IS 'A row in which each name of a trigger function''s variables is there twice';

CREATE FUNCTION rowhook.body_sql(c rowhook.capture, op text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Which rows are captured can't be told by a predicate that doesn't fit: none is, as what was sent can't be taken back.
    SELECT CASE WHEN (c).predicate IS NULL OR b.sql = '' OR body_sql.op = 'truncate' THEN b.sql
                ELSE rowhook.guard_sql(c, format('%s CROSS JOIN %s WHERE false AND %s', rowhook.guarded_rows_sql(c, body_sql.op, 'rowhook_old', 'rowhook_new'),
                         rowhook.taken_sql(c), rowhook.holds_sql(c, CASE body_sql.op WHEN 'delete' THEN 'rowhook_old' ELSE 'rowhook_new' END)), 'when', '_captured := false;')
                     || format(E'\n    IF _captured THEN%s\n    END IF;', b.sql) END
      FROM (SELECT rowhook.enriched_sql(c, body_sql.op, true, rowhook.events_sql(c, body_sql.op), rowhook.events_sql(rowhook.bare(c), body_sql.op)) AS sql) AS b
$fn$;
COMMENT ON FUNCTION rowhook.body_sql(rowhook.capture, text) IS 'What a trigger function does for one operation, rules apart';

CREATE FUNCTION rowhook.operations(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT ARRAY(SELECT o FROM unnest('{insert,update,delete,truncate}'::text[]) AS o
                  WHERE o = ANY ((c).events) OR (c).name = '' AND EXISTS (SELECT FROM rowhook.rule AS r WHERE r.table_name = (c).table_name AND r.op = o))
$fn$;
COMMENT ON FUNCTION rowhook.operations(rowhook.capture) IS 'Operations that a capture, or one of the rules that it has, makes events of';

CREATE FUNCTION rowhook.rule_sql(c rowhook.capture, r rowhook.rule, source text, whole text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.rule_sql(rowhook.capture, rowhook.rule, text, text) IS 'The INSERT of one rule''s events';

CREATE FUNCTION rowhook.rules_of(c rowhook.capture, op text) RETURNS SETOF rowhook.rule LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT r.* FROM rowhook.rule AS r
     WHERE (c).name = '' AND r.table_name = (c).table_name AND r.op = rules_of.op AND r.set_aside IS NULL ORDER BY r.id
$fn$;
COMMENT ON FUNCTION rowhook.rules_of(rowhook.capture, text) IS 'A capture''s rules for one operation, but for those that are set aside';

CREATE FUNCTION rowhook.rule_guards_sql(c rowhook.capture, op text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.rule_guards_sql(rowhook.capture, text) IS 'Which rules of one operation still fit their table';

CREATE FUNCTION rowhook.numbered_sql(side text, key text[]) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('(SELECT row_number() OVER () AS rowhook_i, %2$s AS rowhook_k, CASE WHEN true THEN rowhook_%1$s.* END AS rowhook_row, rowhook_%1$s.* FROM rowhook_%1$s_rows AS rowhook_%1$s)',
                  numbered_sql.side, rowhook.key_sql('rowhook_' || numbered_sql.side, numbered_sql.key))
$fn$;
COMMENT ON FUNCTION rowhook.numbered_sql(text, text[]) IS 'Old or new rows of an update, by their columns, with number and key';

CREATE FUNCTION rowhook.rule_inserts_sql(c rowhook.capture, op text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.rule_inserts_sql(rowhook.capture, text) IS 'The INSERTs of the events of one operation''s rules';

CREATE FUNCTION rowhook.rules_sql(c rowhook.capture, op text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT rowhook.rule_guards_sql(c, rules_sql.op)
        || rowhook.enriched_sql(c, rules_sql.op, rules_sql.op <> ALL ((c).events), rowhook.rule_inserts_sql(c, rules_sql.op),
                                rowhook.rule_inserts_sql(rowhook.bare(c), rules_sql.op))
$fn$;
COMMENT ON FUNCTION rowhook.rules_sql(rowhook.capture, text) IS 'What a trigger function does for the rules of one operation';

CREATE FUNCTION rowhook.steps_sql(c rowhook.capture, body text, rules text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.steps_sql(rowhook.capture, text, text) IS 'What a trigger function does: the capture''s events, the rules'', the bell';

CREATE FUNCTION rowhook.function_sql(c rowhook.capture, name text, body text, rules text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.function_sql(rowhook.capture, text, text, text) IS 'CREATE FUNCTION of a trigger function';

CREATE FUNCTION rowhook.trigger_names(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Triggers fire in the order of their names: "!" sorts first, so "created" precedes what the user's own triggers cause.
    SELECT ARRAY(SELECT quote_ident('!rowhook_' || e || rowhook.trigger_suffix(c)) FROM unnest(rowhook.operations(c)) AS e WHERE e = 'truncate' OR (c).mode = 'statement')
        || CASE WHEN (c).mode = 'row' AND rowhook.operations(c) && '{insert,update,delete}' THEN ARRAY[quote_ident(rowhook.row_trigger(c))] ELSE '{}' END
$fn$;
COMMENT ON FUNCTION rowhook.trigger_names(rowhook.capture) IS 'The triggers of a capture, quoted';

CREATE FUNCTION rowhook.drop_ddl(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce((SELECT string_agg(format(E'DROP TRIGGER IF EXISTS %I ON %s;\n', t.tgname, (c).table_name), '' ORDER BY t.tgname)
                       FROM pg_trigger AS t WHERE t.tgrelid = (c).table_name AND t.tgparentid = 0
                        AND t.tgname ~ format('^!rowhook_(row_%s|(row|insert|update|delete|truncate)%s)$', (c).id, rowhook.trigger_suffix(c))), '')
        || coalesce((SELECT string_agg(format(E'DROP FUNCTION rowhook.%I();\n', p.proname), '' ORDER BY p.proname)
                       FROM pg_proc AS p WHERE p.pronamespace = 'rowhook'::regnamespace
                        AND p.proname ~ format('^capture_%s_(row|insert|update|delete|truncate)$', (c).id)), '')
$fn$;
COMMENT ON FUNCTION rowhook.drop_ddl(rowhook.capture) IS 'The SQL that removes a capture''s triggers and functions';

CREATE FUNCTION rowhook.by_operation_sql(operations text[], bodies text[]) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce(string_agg(format(E'\n    %s _op = %L THEN%s', CASE n WHEN 1 THEN 'IF' ELSE 'ELSIF' END, upper(op), body), '' ORDER BY n)
                    || E'\n    END IF;', '')
      FROM (SELECT op, body, row_number() OVER (ORDER BY n) AS n
              FROM unnest(by_operation_sql.operations, by_operation_sql.bodies) WITH ORDINALITY AS o (op, body, n) WHERE body <> '') AS o
$fn$;
COMMENT ON FUNCTION rowhook.by_operation_sql(text[], text[]) IS 'What a row trigger does, told by its operation';

CREATE FUNCTION rowhook.functions_ddl(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN (c).mode = 'row' AND rows.operations <> '{}'
        THEN rowhook.function_sql(c, format('capture_%s_row', (c).id),
                rowhook.by_operation_sql(rows.operations, ARRAY(SELECT rowhook.body_sql(c, op) FROM unnest(rows.operations) WITH ORDINALITY AS o (op, n) ORDER BY n)),
                rowhook.by_operation_sql(rows.operations, ARRAY(SELECT rowhook.rules_sql(c, op) FROM unnest(rows.operations) WITH ORDINALITY AS o (op, n) ORDER BY n)))
        ELSE '' END
    || coalesce((SELECT string_agg(rowhook.function_sql(c, format('capture_%s_%s', (c).id, op), rowhook.body_sql(c, op), rowhook.rules_sql(c, op)), '' ORDER BY n)
                   FROM unnest(rowhook.operations(c)) WITH ORDINALITY AS o (op, n)
                  WHERE op = 'truncate' OR (c).mode = 'statement'), '')
      FROM (SELECT array_remove(rowhook.operations(c), 'truncate') AS operations) AS rows
$fn$;
COMMENT ON FUNCTION rowhook.functions_ddl(rowhook.capture) IS 'The SQL that makes a capture''s functions, or makes them anew';

CREATE FUNCTION rowhook.triggers_ddl(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.triggers_ddl(rowhook.capture) IS 'The SQL that makes a capture''s triggers, where there are none';

CREATE FUNCTION rowhook.capture_ddl(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT rowhook.drop_ddl(c) || rowhook.grants_sql(c) || rowhook.functions_ddl(c) || rowhook.triggers_ddl(c)
$fn$;
COMMENT ON FUNCTION rowhook.capture_ddl(rowhook.capture) IS 'The SQL that installs a capture and its rules';
