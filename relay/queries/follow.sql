-- name: allocated
-- The highest id that any attempt was given so far, committed or not. Not a look at the table: idle, following costs this much.
SELECT coalesce(pg_sequence_last_value('rowhook.attempt_id_seq'), 0) AS id

-- name: recording
-- Who writes attempts at this moment, and may hold ids that were given before. The lock is there before an id is drawn, and until
-- what was written can be seen.
SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}') AS recording
  FROM pg_locks AS l
 WHERE l.locktype = 'relation' AND l.relation = 'rowhook.attempt'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid IS DISTINCT FROM pg_backend_pid()

-- name: attempts
-- Those of these tenants' endpoints (null: of all) within a range of ids, in their order: one look at the index for each endpoint.
WITH taken AS MATERIALIZED (
    SELECT a.*, p.public_id AS endpoint_id_shown, p.tenant
      FROM rowhook.endpoint AS p
     CROSS JOIN LATERAL (SELECT a.id, a.delivery_id, a.number, a.started_at, a.recorded_at, a.duration, a.status_code, a.error_class, a.error
                           FROM rowhook.attempt AS a
                          WHERE a.endpoint_id = p.id AND a.id > %(after)s AND a.id <= %(upto)s
                          ORDER BY a.id LIMIT %(limit)s) AS a
     WHERE %(tenants)s::text[] IS NULL OR p.tenant = ANY (%(tenants)s)
     ORDER BY a.id LIMIT %(limit)s
)
SELECT t.id, t.number, t.started_at, t.recorded_at, t.duration,
       t.status_code, t.error_class, left(t.error, 1000) AS error, t.endpoint_id_shown AS endpoint_id, t.tenant,
       d.id AS delivery, d.created_at, d.state, d.due_at AS next_attempt_at,
       e.id AS event, e.slot, CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END AS occurred_at,
       e.type AS event_type, e.row_key
  FROM taken AS t
  JOIN rowhook.delivery AS d ON d.id = t.delivery_id
  LEFT JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
 ORDER BY t.id
