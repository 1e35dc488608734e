-- name: take_lock
-- The instance's life: whoever asks pg_locks sees at once when this session is gone. Taken before the row is inserted.
SELECT pg_try_advisory_lock(%(instance)s) AS taken

-- name: register
INSERT INTO rowhook.instance (id, name) VALUES (%(instance)s, %(name)s)

-- name: beat
-- A sign of life, and in the same statement all that an idle relay must know of the others: who died, who is frozen, whether
-- work of the dead lies about, when the next parked delivery is due.
WITH beat AS (
    UPDATE rowhook.instance SET beat_at = clock_timestamp()
     WHERE id = %(instance)s AND state = 'live' RETURNING id
), held AS MATERIALIZED (
    SELECT (l.classid::bigint << 32) | l.objid::bigint AS id
      FROM pg_locks AS l
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT EXISTS (SELECT FROM beat) AS alive,
       ARRAY(SELECT i.id FROM rowhook.instance AS i WHERE i.state = 'live' AND i.id <> %(instance)s
                AND i.id NOT IN (SELECT h.id FROM held AS h)) AS dead,
       ARRAY(SELECT i.id FROM rowhook.instance AS i WHERE i.state = 'live' AND i.id <> %(instance)s
                AND i.id IN (SELECT h.id FROM held AS h)
                AND i.beat_at < clock_timestamp() - %(frozen_after)s::interval) AS frozen,
       (SELECT count(*) FROM rowhook.instance AS i WHERE i.state = 'live' AND i.id <> %(instance)s) AS peers,
       %(role)s NOT IN (SELECT h.id FROM held AS h) AS role_is_free,
       EXISTS (SELECT FROM rowhook.delivery AS d WHERE d.state = 'leased'
                  AND NOT EXISTS (SELECT FROM rowhook.instance AS i WHERE i.id = d.instance_id AND i.state = 'live')) AS orphans,
       (SELECT extract(epoch FROM least(min(greatest(n.due_at, p.probe_at, c.next_at)), clock_timestamp() + interval '1 day') - clock_timestamp())::float8
          FROM rowhook.endpoint AS p
          LEFT JOIN rowhook.rate_clock AS c ON c.endpoint_id = p.id AND p.rate IS NOT NULL
         CROSS JOIN LATERAL (SELECT d.due_at FROM rowhook.delivery AS d
                              WHERE d.endpoint_id = p.id AND d.state = 'pending' ORDER BY d.due_at LIMIT 1) AS n
         WHERE p.state = 'active') AS next_due

-- name: bury
-- Mark the dead first; claims and dispatches hold FOR KEY SHARE on their own live row, which a beat doesn't wait for and FOR UPDATE
-- does: so no lease is committed after this.
WITH doomed AS MATERIALIZED (
    SELECT i.id FROM rowhook.instance AS i WHERE i.id = ANY (%(instances)s) AND i.state = 'live' ORDER BY i.id FOR UPDATE
)
UPDATE rowhook.instance AS i SET state = 'dead', ended_at = clock_timestamp()
  FROM doomed AS d
 WHERE i.id = d.id AND i.state = 'live'
   AND NOT EXISTS (SELECT FROM pg_locks AS l
                    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                      AND (l.classid::bigint << 32) | l.objid::bigint = i.id)
RETURNING i.id

-- name: retire
-- This instance ends itself: after draining, or because it lost its lock and goes on under a new id.
WITH doomed AS MATERIALIZED (
    SELECT i.id FROM rowhook.instance AS i WHERE i.id = %(instance)s AND i.state = 'live' FOR UPDATE
)
UPDATE rowhook.instance AS i SET state = 'dead', ended_at = clock_timestamp() FROM doomed AS d WHERE i.id = d.id AND i.state = 'live'

-- name: end_sessions
-- A frozen relay keeps its lock, and may hold the cursor's row: its backends are ended. All carry its id in their name.
SELECT count(pg_terminate_backend(a.pid)) AS ended
  FROM pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.application_name = ANY (%(names)s)
   AND pg_has_role(a.usesysid, 'USAGE')  -- a stronger role's are not ours to end: asking would be an error

-- name: forget
-- Dead instances of long ago, once nothing is leased to them.
DELETE FROM rowhook.instance AS i
 WHERE i.state = 'dead' AND i.ended_at < clock_timestamp() - interval '7 days'
   AND NOT EXISTS (SELECT FROM rowhook.delivery AS d WHERE d.state = 'leased' AND d.instance_id = i.id)
