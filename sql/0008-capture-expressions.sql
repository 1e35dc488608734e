-- What of a row goes into its event: SQL expressions that the generated functions are made of.
-- depends: 0007-capture-source

CREATE FUNCTION rowhook.key_sql(row_name text, columns text[]) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE cardinality(key_sql.columns)
           WHEN 0 THEN 'NULL::text'
           WHEN 1 THEN format('%s.%I::text', key_sql.row_name, key_sql.columns[1])
           ELSE (SELECT 'json_build_array(' || string_agg(format('%s.%I::text', key_sql.row_name, c), ', ' ORDER BY n) || ')::text'
                   FROM unnest(key_sql.columns) WITH ORDINALITY AS u (c, n)) END
$fn$;
COMMENT ON FUNCTION rowhook.key_sql(text, text[]) IS 'SQL expression of a row key';

CREATE FUNCTION rowhook.tenant_sql(row_name text, column_name text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN tenant_sql.column_name IS NULL THEN 'NULL::text'
                ELSE format('%s.%I::text', tenant_sql.row_name, tenant_sql.column_name) END
$fn$;
COMMENT ON FUNCTION rowhook.tenant_sql(text, text) IS 'SQL expression of a tenant';

CREATE FUNCTION rowhook.captured_columns(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN (c).include IS NOT NULL
                THEN ARRAY(SELECT u.col FROM unnest((c).include) WITH ORDINALITY AS u (col, n)
                            WHERE u.col = ANY (rowhook.columns_of((c).table_name)) ORDER BY n)
                WHEN (c).exclude IS NOT NULL
                THEN ARRAY(SELECT u.col FROM unnest(rowhook.columns_of((c).table_name)) WITH ORDINALITY AS u (col, n)
                            WHERE u.col <> ALL ((c).exclude) ORDER BY n) END
$fn$;
COMMENT ON FUNCTION rowhook.captured_columns(rowhook.capture) IS 'The columns that go into events; null: the whole row';

CREATE FUNCTION rowhook.redacted_sql(value text, method text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- "value" is SQL of a text. A mask says nothing of its length; of a short value even the last four would say too much.
    SELECT CASE redacted_sql.method
           WHEN 'sha256' THEN format('encode(sha256(convert_to(%s, %L)), %L)', redacted_sql.value, 'UTF8', 'hex')
           WHEN 'mask' THEN format('CASE WHEN %s IS NOT NULL THEN %L END', redacted_sql.value, '****')
           WHEN 'last4' THEN format('CASE WHEN length(%1$s) >= 8 THEN %2$L || right(%1$s, 4) WHEN %1$s IS NOT NULL THEN %2$L END', redacted_sql.value, '****') END
$fn$;
COMMENT ON FUNCTION rowhook.redacted_sql(text, text) IS 'SQL expression of a value made unreadable';

CREATE FUNCTION rowhook.enrichments(c rowhook.capture, OUT name text, OUT near text, OUT far regclass, OUT far_key text, OUT far_column text)
RETURNS SETOF record LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT DISTINCT ON (e.key) e.key, n.attname::text, f.confrelid::regclass, k.attname::text, split_part(e.value, '.', 2)
      FROM jsonb_each_text((c).enrich) AS e
      JOIN pg_attribute AS n ON n.attrelid = (c).table_name AND n.attname = split_part(e.value, '.', 1)
      JOIN pg_constraint AS f ON f.conrelid = n.attrelid AND f.contype = 'f' AND f.conkey = ARRAY[n.attnum]
      JOIN pg_attribute AS k ON k.attrelid = f.confrelid AND k.attnum = f.confkey[1]
     WHERE EXISTS (SELECT FROM pg_attribute AS v WHERE v.attrelid = f.confrelid AND v.attname = split_part(e.value, '.', 2) AND v.attnum > 0)
     ORDER BY e.key, f.conname
$fn$;
COMMENT ON FUNCTION rowhook.enrichments(rowhook.capture) IS 'Where a capture''s further values are found: the row that a foreign key leads to';

CREATE FUNCTION rowhook.grants_sql(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.grants_sql(rowhook.capture) IS 'The rights that a capture''s functions lack for its further values';

CREATE FUNCTION rowhook.far_values(c rowhook.capture, row_name text, OUT name text, OUT value text) RETURNS SETOF record LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT e.name, format('(SELECT rowhook_far.%I FROM %s AS rowhook_far WHERE rowhook_far.%I = %s.%I)', e.far_column, e.far, e.far_key, far_values.row_name, e.near)
      FROM rowhook.enrichments(c) AS e ORDER BY e.name
$fn$;
COMMENT ON FUNCTION rowhook.far_values(rowhook.capture, text) IS 'A capture''s further values, and the SQL expressions that find them';

CREATE FUNCTION rowhook.chosen_sql(c rowhook.capture, row_name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN rowhook.captured_columns(c) IS NOT NULL OR (c).redact IS NOT NULL OR (c).enrich IS NOT NULL OR rowhook.needs_names((c).table_name)
                THEN concat_ws(', ',
        (SELECT string_agg(CASE WHEN (c).redact ? u.col
                    THEN rowhook.redacted_sql(rowhook.column_sql((c).table_name, chosen_sql.row_name, u.col) || '::text', (c).redact ->> u.col)
                    ELSE rowhook.column_sql((c).table_name, chosen_sql.row_name, u.col) END || format(' AS %I', u.col), ', ' ORDER BY u.n)
           FROM unnest(coalesce(rowhook.captured_columns(c), rowhook.columns_of((c).table_name))) WITH ORDINALITY AS u (col, n)),
        (SELECT string_agg(format('%s AS %I', f.value, f.name), ', ' ORDER BY f.name) FROM rowhook.far_values(c, chosen_sql.row_name) AS f)) END
$fn$;
COMMENT ON FUNCTION rowhook.chosen_sql(rowhook.capture, text) IS 'What is SELECTed of a row for its event''s data; null: the whole row as it is';

CREATE FUNCTION rowhook.payload_sql(c rowhook.capture, row_name text, whole text DEFAULT '*') RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- The whole row follows ADD, DROP and RENAME COLUMN by itself; row_to_json keeps numeric scale and survives odd json.
    -- ".*" is the whole row even where a column has the row's name.
    SELECT coalesce('(SELECT row_to_json(_r.*) FROM (SELECT ' || rowhook.chosen_sql(c, payload_sql.row_name) || ') AS _r)',
                    format('row_to_json(%s.%s)', payload_sql.row_name, payload_sql.whole))
$fn$;
COMMENT ON FUNCTION rowhook.payload_sql(rowhook.capture, text, text) IS 'SQL expression of an event''s data; whole: what stands for the whole row';

CREATE FUNCTION rowhook.holds_sql(c rowhook.capture, row_name text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Nothing is nearer than the row itself, which is also called new: so a column may have any name. The predicate ends with its line,
    -- since it may end in a comment.
    SELECT CASE WHEN (c).predicate IS NOT NULL
                THEN format(E'EXISTS (SELECT FROM (SELECT %s.*) AS new WHERE (%s\n     ))', holds_sql.row_name, (c).predicate) END
$fn$;
COMMENT ON FUNCTION rowhook.holds_sql(rowhook.capture, text) IS 'SQL expression of whether a row is one that is captured; null: all are';

CREATE FUNCTION rowhook.record_sql(c rowhook.capture, row_name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- In a list of what is SELECTed, ".*" alone would be all columns.
    SELECT coalesce('(SELECT CASE WHEN true THEN _r.* END FROM (SELECT ' || rowhook.chosen_sql(c, record_sql.row_name) || ') AS _r)',
                    format('CASE WHEN true THEN %s.* END', record_sql.row_name))
$fn$;
COMMENT ON FUNCTION rowhook.record_sql(rowhook.capture, text) IS 'SQL expression of the record whose JSON is an event''s data';

CREATE FUNCTION rowhook.compared_sql(old_record text, new_record text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- With line feeds, row_to_json puts two bytes more before each column but the first. (No backslashes: they would make the bodies
    -- of generated functions hard to read.)
    SELECT format($sql$(
           SELECT v.*, string_to_array(v.was, ',' || chr(10) || ' ') AS olds, string_to_array(v.becomes, ',' || chr(10) || ' ') AS news,
                  (octet_length(v.becomes) - octet_length(v.data::text)) / 2 + 1 AS columns
             FROM (SELECT row_to_json(%1$s, true)::text AS was, row_to_json(%2$s, true)::text AS becomes, row_to_json(%2$s) AS data OFFSET 0) AS v OFFSET 0)$sql$,
        compared_sql.old_record, compared_sql.new_record)
$fn$;
COMMENT ON FUNCTION rowhook.compared_sql(text, text) IS 'SQL of a row that holds an old and a new record as JSON, column by column';

CREATE FUNCTION rowhook.changed_sql(compared text, old_data text, new_data text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.changed_sql(text, text, text) IS 'SQL expression of the old values of the columns that differ';

CREATE FUNCTION rowhook.key_payload_sql(c rowhook.capture, row_name text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce((SELECT format('(SELECT row_to_json(_k.*) FROM (SELECT %s) AS _k)', string_agg(format('%s.%I', key_payload_sql.row_name, u.col), ', ' ORDER BY u.n))
                       FROM unnest((c).key) WITH ORDINALITY AS u (col, n)
                      WHERE u.col = ANY (coalesce(rowhook.captured_columns(c), (c).key)) HAVING count(*) > 0), $sql$'{}'::json$sql$)
$fn$;
COMMENT ON FUNCTION rowhook.key_payload_sql(rowhook.capture, text) IS 'SQL expression of an event''s data where its row is too large';

-- What DDL may do to a table must not fail its writers, also before the functions are made anew (0024-schema-versions), so these
-- have two shields that cost nothing or little:
-- - A column that is named and gone is looked for among variables: plpgsql asks its blocks where a table has no such column. Blocks that
--   are called as the rows are, rowhook_old and rowhook_new, hold a null for each. That needs "variable_conflict use_column", and in
--   each statement another variable (rowhook_now's), without which plpgsql has no values at hand.
-- - A row trigger's statements don't depend on its table, so a session would go on with what it planned for another type. The constant
--   '12345'::regclass makes them: they are planned anew after each ALTER TABLE.

CREATE FUNCTION rowhook.named_columns(c rowhook.capture) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT ARRAY(SELECT DISTINCT u.col FROM unnest((c).key || (c).tenant || rowhook.captured_columns(c)
            || CASE WHEN (c).redact IS NOT NULL OR (c).enrich IS NOT NULL THEN rowhook.columns_of((c).table_name) END) AS u (col)
                  WHERE u.col IS NOT NULL ORDER BY u.col)
$fn$;
COMMENT ON FUNCTION rowhook.named_columns(rowhook.capture) IS 'The columns whose names are in a capture''s functions';

CREATE FUNCTION rowhook.nulls_sql(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Always in quotes: quote_ident() doesn't know plpgsql's own words (if, loop).
    SELECT string_agg(format(E'<<rowhook_%s>>\nDECLARE%s\nBEGIN\n', side, (
               SELECT string_agg(format(' "%s" text;', replace(u.col, '"', '""')), '') FROM unnest(rowhook.named_columns(c)) AS u (col))), '')
      FROM unnest('{old,new}'::text[]) AS side
     WHERE rowhook.named_columns(c) <> '{}'
$fn$;
COMMENT ON FUNCTION rowhook.nulls_sql(rowhook.capture) IS 'The blocks in which a column that is gone is null; each wants an END';

CREATE FUNCTION rowhook.row_sql(c rowhook.capture, side text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT format('(SELECT %s.* WHERE %L::regclass IS NOT NULL)', upper(row_sql.side), (c).table_name::oid)
$fn$;
COMMENT ON FUNCTION rowhook.row_sql(rowhook.capture, text) IS 'A row trigger''s OLD or NEW row, planned anew when its table changes';
