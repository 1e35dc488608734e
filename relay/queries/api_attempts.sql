-- name: page
-- The next of an endpoint's attempts, newest first: so many of them are looked at (walked), and those wanted are returned. Where fewer
-- are wanted than were walked, "last" says how far the walk has come.
WITH walked AS MATERIALIZED (
    SELECT a.* FROM rowhook.attempt AS a
     WHERE a.endpoint_id = %(endpoint)s AND a.id < %(before)s AND a.id >= %(from)s
     ORDER BY a.id DESC LIMIT %(walk)s
), wanted AS (
    SELECT w.id, w.number, w.started_at, w.recorded_at, round((extract(epoch FROM w.duration) * 1000)::numeric, 3)::float8 AS latency_ms,
           w.status_code, w.error_class, w.error, w.response_excerpt,
           d.id AS delivery, d.created_at, d.state, d.due_at AS next_attempt_at,
           e.id AS event, e.slot, CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END AS occurred_at,
           e.type AS event_type, e.row_key
      FROM walked AS w
      JOIN rowhook.delivery AS d ON d.id = w.delivery_id
      LEFT JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
     WHERE (%(since)s::timestamptz IS NULL OR w.recorded_at >= %(since)s)
       AND (%(state)s::text IS NULL OR d.state = %(state)s)
       AND (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s) OR e.type ^@ ANY (%(prefixes)s::text[]))
     ORDER BY w.id DESC LIMIT %(limit)s
)
SELECT x.walked, x.last, w.*
  FROM (SELECT count(*) AS walked, min(k.id) AS last FROM walked AS k) AS x LEFT JOIN wanted AS w ON true
 ORDER BY w.id DESC

-- name: of_delivery
SELECT a.id, a.number, a.started_at, a.recorded_at, round((extract(epoch FROM a.duration) * 1000)::numeric, 3)::float8 AS latency_ms,
       a.status_code, a.error_class, a.error, a.response_excerpt
  FROM rowhook.attempt AS a WHERE a.delivery_id = %(delivery)s ORDER BY a.number DESC LIMIT %(limit)s
