-- Settings of a writer's session that would change the text of its values.
-- depends: 0008-capture-expressions

CREATE FUNCTION rowhook.settings_sql(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
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
$fn$;
COMMENT ON FUNCTION rowhook.settings_sql(rowhook.capture) IS 'Settings of trigger functions without which the text of values would be the writer''s session''s';
