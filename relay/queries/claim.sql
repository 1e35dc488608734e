-- name: claim
-- Parked and retried work that is due, per endpoint within its room, leased to this instance; the try is counted here. Endpoints in
-- random order, so that none starves. Only while this instance's own row is live.
WITH me AS (
    SELECT i.id FROM rowhook.instance AS i WHERE i.id = %(instance)s AND i.state = 'live' FOR SHARE
), open AS MATERIALIZED (
    SELECT p.id, p.revision, coalesce(p.max_in_flight, %(endpoint_room)s) * 2 - coalesce(b.busy, 0) AS room
      FROM rowhook.endpoint AS p
      LEFT JOIN unnest(%(busy_endpoints)s::bigint[], %(busy_counts)s::int[]) AS b (endpoint_id, busy) ON b.endpoint_id = p.id
     WHERE p.state = 'active' ORDER BY random()
), picked AS MATERIALIZED (
    SELECT d.id, o.revision
      FROM open AS o
     CROSS JOIN LATERAL (SELECT d.id FROM rowhook.delivery AS d
                          WHERE d.endpoint_id = o.id AND d.state = 'pending' AND d.due_at <= clock_timestamp()
                          ORDER BY d.due_at, d.id LIMIT greatest(least(o.room, %(capacity)s), 0)
                            FOR UPDATE SKIP LOCKED) AS d
     LIMIT %(capacity)s
), leased AS (
    UPDATE rowhook.delivery AS d
       SET state = 'leased', instance_id = me.id, attempts = d.attempts + 1, leased_at = clock_timestamp(), due_at = NULL
      FROM picked AS k, me
     WHERE d.id = k.id
    RETURNING d.*, k.revision
)
SELECT EXISTS (SELECT FROM me) AS live, l.*
  FROM (SELECT) AS one
  LEFT JOIN (SELECT d.id, d.created_at, d.endpoint_id, d.revision, d.attempts AS number, d.failures, d.free_tries, d.webhook_id,
                    e.id AS event_id, e.slot AS event_slot, e.occurred_at, e.type, e.tenant, e.row_key, e.moved,
                    e.data::text AS data, e.previous::text AS previous
               FROM leased AS d
               JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot) AS l ON true
 ORDER BY l.id

-- name: reclaim
-- What the dead held: the try that was counted becomes an attempt of unknown outcome, the delivery is due at once. Five in a row,
-- and it is dead: an event that kills its relay can't do so for ever. Looked for always, not once per death.
WITH left_behind AS (
    SELECT d.id, d.instance_id FROM rowhook.delivery AS d
     WHERE d.state = 'leased'
       AND NOT EXISTS (SELECT FROM rowhook.instance AS i WHERE i.id = d.instance_id AND i.state = 'live')
     ORDER BY d.id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE rowhook.delivery AS d
       SET state = CASE WHEN d.free_tries + 1 >= %(most_lost)s THEN 'dead' ELSE 'pending' END,
           due_at = CASE WHEN d.free_tries + 1 >= %(most_lost)s THEN NULL ELSE clock_timestamp() END,
           ended_at = CASE WHEN d.free_tries + 1 >= %(most_lost)s THEN clock_timestamp() END,
           free_tries = d.free_tries + 1, instance_id = NULL
      FROM left_behind AS b
     WHERE d.id = b.id
    RETURNING d.id, b.instance_id, d.leased_at, d.attempts
), lost AS (
    INSERT INTO rowhook.attempt (delivery_id, number, instance_id, started_at, error_class, error)
    SELECT f.id, f.attempts, f.instance_id, f.leased_at, 'lost', 'the relay that held it ended before it recorded an outcome'
      FROM freed AS f
    ON CONFLICT DO NOTHING
)
SELECT count(*) AS freed FROM freed

-- name: release
-- Leased ahead and never sent: given back, and the try was none.
UPDATE rowhook.delivery AS d
   SET state = 'pending', due_at = clock_timestamp(), instance_id = NULL, attempts = d.attempts - 1
 WHERE d.id = ANY (%(deliveries)s) AND d.state = 'leased' AND d.instance_id = %(instance)s
