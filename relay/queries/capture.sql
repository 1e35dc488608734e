-- name: find
-- By the search_path of a normal session: the one place where a name that a person typed becomes a table. That path may lead through
-- other people's schemas, so no operator is left to it.
SELECT c.oid, c.relname AS name, rowhook.table_label(c.oid::pg_catalog.regclass) AS label
  FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%(name)s::pg_catalog.text)::pg_catalog.oid

-- name: tables
-- What could have been meant: the application's own tables.
SELECT rowhook.table_label(c.oid::regclass) AS label
  FROM pg_catalog.pg_class AS c
 WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND c.relname !~ '^_?yoyo_'
   AND c.relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema', 'rowhook', 'pg_toast']::regnamespace[])
 ORDER BY label LIMIT 1000

-- name: current
-- A capture's options; without a table those of all captures.
SELECT rowhook.table_label(c.table_name) AS "table", c.name, c.mode, c.events, c.type_prefix, c.tenant, c.include, c.exclude, c.key,
       c.on_error, c.paused, c.redact, c.max_size, c.enrich, c.predicate
  FROM rowhook.capture AS c
 WHERE %(table)s::oid IS NULL OR c.table_name = %(table)s::oid::regclass AND c.name = %(name)s::text ORDER BY 1, c.name

-- name: plan
-- What install would do and what it would cost; for a transaction that is undone.
SELECT CASE WHEN c.id IS NULL THEN 'installed'
            WHEN c.fingerprint = p.fingerprint AND rowhook.capture_is_whole(p) THEN 'unchanged'
            ELSE 'changed' END AS result,
       p.mode, p.events, p.type_prefix, p.tenant, p.include, p.exclude, p.key, p.on_error, p.paused, p.redact, p.max_size, p.enrich, p.predicate,
       rowhook.capture_ddl(p) AS sql,
       (SELECT json_agg(m) FROM rowhook.cost(p) AS m) AS cost
  FROM rowhook.capture_plan(
           %(table)s::oid::regclass, tenant => %(tenant)s::text, include => %(include)s::text[], exclude => %(exclude)s::text[],
           key => %(key)s::text[], events => %(events)s::text[], type_prefix => %(type_prefix)s::text,
           on_error => %(on_error)s::text, paused => %(paused)s::boolean, redact => %(redact)s::jsonb, max_size => %(max_size)s::integer,
           enrich => %(enrich)s::jsonb, predicate => %(predicate)s::text, name => %(name)s::text) AS p
  LEFT JOIN rowhook.capture AS c ON c.id = p.id

-- name: install
SELECT rowhook.capture(
           %(table)s::oid::regclass, tenant => %(tenant)s::text, include => %(include)s::text[], exclude => %(exclude)s::text[],
           key => %(key)s::text[], events => %(events)s::text[], type_prefix => %(type_prefix)s::text,
           on_error => %(on_error)s::text, paused => %(paused)s::boolean, redact => %(redact)s::jsonb, max_size => %(max_size)s::integer,
           enrich => %(enrich)s::jsonb, predicate => %(predicate)s::text, name => %(name)s::text) AS result

-- name: remove
SELECT rowhook.uncapture(%(table)s::oid::regclass, %(name)s::text) AS result

-- name: holders
-- Who stands in the way of a trigger: writers and DDL on this table, oldest first.
SELECT format('by process %%s%%s', l.pid, CASE WHEN a.application_name <> '' THEN ', ' || a.application_name ELSE '' END) AS holder
  FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.relation = %(table)s::oid AND l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
   AND l.pid <> pg_catalog.pg_backend_pid()
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
 GROUP BY l.pid, a.application_name, a.xact_start ORDER BY a.xact_start LIMIT 3
