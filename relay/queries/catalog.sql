-- name: captures
-- What is captured, under the name that events have.
SELECT c.id, c.table_name::oid::bigint AS table, c.labels[cardinality(c.labels)] AS label, c.type_prefix, c.events, c.include, c.exclude, c.tenant, c.tenant IS NOT NULL AS has_tenant,
       obj_description(c.table_name, 'pg_class') AS comment, c.redact, c.enrich, c.max_size, c.key,
       (SELECT coalesce(json_agg(json_build_object('type', r.type, 'op', r.op, 'description', r.description, 'set_aside', r.set_aside) ORDER BY r.id), '[]')
          FROM rowhook.rule AS r WHERE c.name = '' AND r.table_name = c.table_name) AS rules
  FROM rowhook.capture AS c ORDER BY c.type_prefix, c.id

-- name: columns
-- Of tables and of composite types.
SELECT a.attrelid::bigint AS of, a.attname AS name, a.atttypid::bigint AS type, a.atttypmod AS modifier, a.attnotnull AS is_required,
       col_description(a.attrelid, a.attnum) AS comment
  FROM pg_attribute AS a
 WHERE a.attrelid = ANY (%(of)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum

-- name: types
-- These types and all that they are made of, as row_to_json tells them apart: by what lies under a domain; json by itself, or by a
-- cast to it that somebody made.
WITH RECURSIVE needed AS (
    SELECT unnest(%(types)s::oid[]) AS oid
    UNION
    SELECT p.oid
      FROM needed AS n JOIN pg_type AS t ON t.oid = n.oid
     CROSS JOIN LATERAL (SELECT t.typbasetype AS oid UNION ALL SELECT CASE WHEN t.typcategory = 'A' THEN t.typelem END
                         UNION ALL SELECT a.atttypid FROM pg_attribute AS a
                                    WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS p
     WHERE p.oid <> 0
)
SELECT t.oid::bigint AS oid, format_type(t.oid, NULL) AS name, t.typtype::text AS kind, t.typbasetype::bigint AS base, t.typtypmod AS modifier,
       CASE WHEN t.typcategory = 'A' THEN t.typelem::bigint END AS element, CASE WHEN t.typtype = 'c' THEN t.typrelid::bigint END AS relation,
       ARRAY(SELECT v.enumlabel::text FROM pg_enum AS v WHERE v.enumtypid = t.oid ORDER BY v.enumsortorder) AS labels,
       t.oid >= 16384 AND EXISTS (SELECT FROM pg_cast AS c WHERE c.castsource = t.oid AND c.casttarget = 'json'::regtype AND c.castmethod = 'f') AS has_cast
  FROM needed AS n JOIN pg_type AS t ON t.oid = n.oid
