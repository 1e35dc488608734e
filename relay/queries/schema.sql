-- name: behind
-- Captures whose tables have changed since they were made, and what is in the way: another mode needs other triggers.
SELECT c.id, c.name AS capture, c.table_name::oid::bigint AS oid, coalesce(rowhook.table_label(c.table_name), c.labels[cardinality(c.labels)]) AS label,
       c.mode <> rowhook.capture_mode(c.table_name, c.key) AND t.relkind IN ('r', 'p') AS wants_triggers,
       quote_ident(n.nspname) || '.' || quote_ident(t.relname) AS name
  FROM rowhook.capture AS c
  LEFT JOIN pg_class AS t ON t.oid = c.table_name
  LEFT JOIN pg_namespace AS n ON n.oid = t.relnamespace
 WHERE rowhook.is_behind(c) ORDER BY c.id

-- name: take_turns
-- As rowhook.capture() does: relays that start at once.
LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE

-- name: follow
SELECT rowhook.follow(c) AS result FROM rowhook.capture AS c WHERE c.id = %(capture)s AND rowhook.is_behind(c)

-- name: watch
-- Whether captures follow DDL at once, and whether this role could make them.
SELECT EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = 'rowhook_follow_ddl' AND t.evtenabled <> 'D') AS watched,
       EXISTS (SELECT FROM pg_event_trigger AS t WHERE t.evtname = 'rowhook_follow_ddl' AND t.evtenabled = 'D') AS disabled,
       (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) AS may_watch

-- name: versions
-- What the events of each capture held, from when on.
SELECT v.capture_id AS capture, v.version, v.since, v.table_name AS "table", v.compatible, v.changes
  FROM rowhook.schema_version AS v ORDER BY v.capture_id, v.version
