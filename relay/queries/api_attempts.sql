-- name: page
-- The next of an endpoint's attempts, newest first: so many of them are looked at (walked), and those wanted are returned. Where fewer
-- are wanted than were walked, "last" says how far the walk has come. What follows these two is read by its place, as in "newest".
WITH walked AS MATERIALIZED (
    SELECT a.* FROM rowhook.attempt AS a
     WHERE a.endpoint_id = %(endpoint)s AND a.id < %(before)s AND a.id >= %(from)s
     ORDER BY a.id DESC LIMIT %(walk)s
), tried AS MATERIALIZED (
    SELECT w.*, d.created_at, d.state, d.due_at, d.event_id, d.event_slot
      FROM walked AS w
      -- LATERAL with LIMIT: one look for each, also by a plan of a time when the table was small.
     CROSS JOIN LATERAL (SELECT d.created_at, d.state, d.due_at, d.event_id, d.event_slot
                           FROM rowhook.delivery AS d WHERE d.id = w.delivery_id LIMIT 1) AS d
     WHERE (%(since)s::timestamptz IS NULL OR w.recorded_at >= %(since)s)
       AND (%(state)s::text IS NULL OR d.state = %(state)s)
), told AS MATERIALIZED (
    -- All at once: one look into each partition, instead of one for each attempt.
    SELECT e.id, e.slot, e.occurred_at, e.type, e.row_key
      FROM rowhook.event AS e WHERE e.id = ANY (ARRAY(SELECT t.event_id FROM tried AS t))
), wanted AS (
    SELECT t.id, t.number, t.started_at, t.recorded_at, t.duration, t.status_code, t.error_class, t.error, t.response_excerpt,
           t.delivery_id AS delivery, t.created_at, t.state, t.due_at AS next_attempt_at,
           e.id AS event, e.slot, CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END AS occurred_at,
           e.type AS event_type, e.row_key
      FROM tried AS t
      LEFT JOIN told AS e ON e.id = t.event_id AND e.slot = t.event_slot
     WHERE (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s) OR e.type ^@ ANY (%(prefixes)s::text[]))
     ORDER BY t.id DESC LIMIT %(limit)s
)
SELECT x.walked, x.last, w.*
  FROM (SELECT count(*) AS walked, min(k.id) AS last FROM walked AS k) AS x LEFT JOIN wanted AS w ON true
 ORDER BY w.id DESC

-- name: newest
-- The same where all are wanted, which is what is asked most. A walk that copies each row once; the few that it finds are put in order by
-- who asks. Whose endpoint it is, and that it is there, is seen to on the way: no row says too little. What is asked for stands in
-- sub-selects, where the planner doesn't look: plans for values would seem cheaper than the one for all, and be made each time.
WITH tried AS MATERIALIZED (
    SELECT a.id, a.number, a.started_at, a.recorded_at, a.duration, a.status_code, a.error_class, a.error, a.response_excerpt,
           a.delivery_id, d.created_at, d.state, d.due_at, d.event_id, d.event_slot
      FROM (SELECT a.* FROM rowhook.attempt AS a
             WHERE a.endpoint_id = (SELECT p.id FROM rowhook.endpoint AS p
                                     WHERE p.id = %(endpoint)s AND p.state <> 'removed'
                                       AND (%(public_id)s::text IS NULL OR lower(p.public_id) = lower(%(public_id)s))
                                       AND (%(tenant)s::text IS NULL OR p.tenant = %(tenant)s))
               AND a.id < (SELECT %(before)s)
             ORDER BY a.id DESC LIMIT (SELECT %(limit)s)) AS a
      LEFT JOIN LATERAL (SELECT d.created_at, d.state, d.due_at, d.event_id, d.event_slot
                           FROM rowhook.delivery AS d WHERE d.id = a.delivery_id LIMIT 1) AS d ON true
), told AS MATERIALIZED (
    -- In order, or each partition would sort them.
    SELECT e.id, e.slot, e.occurred_at, e.type, e.row_key
      FROM rowhook.event AS e WHERE e.id = ANY (ARRAY(SELECT t.event_id FROM tried AS t ORDER BY t.event_id))
)
SELECT t.id, t.number, t.started_at, t.recorded_at, t.duration, t.status_code, t.error_class, t.error, t.response_excerpt,
       t.delivery_id AS delivery, t.created_at, t.state, t.due_at AS next_attempt_at,
       e.id AS event, e.slot, CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END AS occurred_at,
       e.type AS event_type, e.row_key
  FROM tried AS t
  LEFT JOIN told AS e ON e.id = t.event_id AND e.slot = t.event_slot

-- name: of_delivery
SELECT a.id, a.number, a.started_at, a.recorded_at, a.duration,
       a.status_code, a.error_class, a.error, a.response_excerpt
  FROM rowhook.attempt AS a WHERE a.delivery_id = %(delivery)s ORDER BY a.number DESC LIMIT %(limit)s
