-- name: arm
-- Writers ring until then. All times are the server's.
SELECT setval('rowhook.doorbell', (extract(epoch FROM clock_timestamp() + %(until)s::interval) * 1000)::bigint)

-- name: disarm
SELECT setval('rowhook.doorbell', 0)

-- name: holders
-- Who has written events and not ended: a statement of its own, after arming and before looking. A reader's lock or a vacuum's
-- is of another mode. A writer that inserted after the arming reads the flag and rings, but is listed all the same.
SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}') AS holders
  FROM pg_locks AS l
 WHERE l.locktype = 'relation' AND l.relation = 'rowhook.event'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.pid IS DISTINCT FROM pg_backend_pid()

-- name: queue
-- Whether a commit waits for another's NOTIFY, which holds a lock of the whole cluster from before its flush until after it.
SELECT EXISTS (SELECT FROM pg_locks AS l
                WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.objid = 0 AND NOT l.granted) AS waits

-- name: probe
-- Rings through a real trigger, as a writer does.
UPDATE rowhook.probe SET rung_at = clock_timestamp()

-- name: two_phase
SELECT current_setting('max_prepared_transactions') <> '0' AS two_phase

-- name: missed
-- For doctor and metrics; written only when there is one.
UPDATE rowhook.instance SET missed_rings = %(missed)s WHERE id = %(instance)s
