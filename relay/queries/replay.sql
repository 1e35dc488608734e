-- name: ago
SELECT clock_timestamp() - %(ago)s::interval AS moment

-- name: event
SELECT rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS public_id
  FROM rowhook.event AS e WHERE e.id = %(event)s AND e.slot = %(event_slot)s

-- name: delivery
SELECT d.id, d.state, rowhook.public_id('dlv', d.created_at, d.id) AS public_id
  FROM rowhook.delivery AS d WHERE d.id = %(delivery)s

-- name: look
-- What a replay would take, by endpoint. An event whose slot of the ring was emptied can't be sent again; of what type it was, or of
-- which row, nobody knows. LATERAL with LIMIT: each event is looked up by itself, where a join may read all of them.
SELECT p.public_id, p.state, count(*) AS total, count(e.id) AS kept, max(d.id) AS last_id
  FROM rowhook.delivery AS d
  JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
  LEFT JOIN LATERAL (SELECT e.id, e.type, e.row_key FROM rowhook.event AS e WHERE e.id = d.event_id AND e.slot = d.event_slot LIMIT 1) AS e ON true
 WHERE d.state = ANY (%(states)s)
   AND (%(event)s::bigint IS NULL OR d.event_id = %(event)s AND d.event_slot = %(event_slot)s)
   AND (%(delivery)s::bigint IS NULL OR d.id = %(delivery)s)
   AND (%(endpoint)s::bigint IS NULL OR d.endpoint_id = %(endpoint)s)
   AND (%(since)s::timestamptz IS NULL OR d.created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR d.created_at <= %(until)s)
   AND d.id BETWEEN %(first_id)s AND %(last_id)s
   AND (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s) OR e.type ^@ ANY (%(prefixes)s::text[]))
   AND (%(row_key)s::text IS NULL OR e.row_key = %(row_key)s)
   AND (%(tenant)s::text IS NULL OR p.tenant = %(tenant)s)
 GROUP BY p.id

-- name: replay
-- The next batch. What a relay changes at this moment is waited for and then judged anew, so only ended ones move. A new
-- webhook-id can't be an event's: their slots are 0 to 9.
WITH picked AS MATERIALIZED (
    SELECT d.id,
           CASE WHEN p.ordered THEN (SELECT coalesce(coalesce(e.table_name, '') || ':' || e.row_key, '#' || e.id)
                                       FROM rowhook.event AS e WHERE e.id = d.event_id AND e.slot = d.event_slot) END AS order_key
      FROM rowhook.delivery AS d
      JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id AND p.state <> 'removed'
     WHERE d.id > %(after)s AND d.id <= %(last_id)s AND d.state = ANY (%(states)s)
       AND (%(event)s::bigint IS NULL OR d.event_id = %(event)s AND d.event_slot = %(event_slot)s)
       AND (%(delivery)s::bigint IS NULL OR d.id = %(delivery)s)
       AND (%(endpoint)s::bigint IS NULL OR d.endpoint_id = %(endpoint)s)
       AND (%(since)s::timestamptz IS NULL OR d.created_at >= %(since)s)
       AND (%(until)s::timestamptz IS NULL OR d.created_at <= %(until)s)
       AND EXISTS (SELECT FROM rowhook.event AS e WHERE e.id = d.event_id AND e.slot = d.event_slot
                      AND (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s) OR e.type ^@ ANY (%(prefixes)s::text[]))
                      AND (%(row_key)s::text IS NULL OR e.row_key = %(row_key)s))
       AND (%(tenant)s::text IS NULL OR p.tenant = %(tenant)s)
     ORDER BY d.id LIMIT %(batch)s
       FOR UPDATE OF d FOR SHARE OF p
), replayed AS (
    UPDATE rowhook.delivery AS d
       SET state = 'pending', due_at = clock_timestamp(), ended_at = NULL, failures = 0, free_tries = 0, last_try = false,
           order_key = coalesce(k.order_key, d.order_key),
           webhook_id = CASE WHEN %(new_id)s
                             THEN rowhook.public_id('evt', clock_timestamp(), d.id, (10 + d.attempts %% 30000)::smallint)
                             ELSE d.webhook_id END
      FROM picked AS k WHERE d.id = k.id
    RETURNING d.id
)
SELECT (SELECT count(*) FROM replayed) AS replayed, (SELECT max(k.id) FROM picked AS k) AS last_id

-- name: names
-- Public ids of what was selected, for the record.
SELECT (SELECT rowhook.public_id('dlv', d.created_at, d.id) FROM rowhook.delivery AS d WHERE d.id = %(delivery)s) AS delivery,
       (SELECT rowhook.public_id('evt', e.occurred_at, e.id, e.slot) FROM rowhook.event AS e
         WHERE e.id = %(event)s AND e.slot = %(event_slot)s) AS event,
       (SELECT p.public_id FROM rowhook.endpoint AS p WHERE p.id = %(endpoint)s) AS endpoint,
       (SELECT p.tenant FROM rowhook.endpoint AS p
         WHERE p.id = coalesce(%(endpoint)s::bigint, (SELECT d.endpoint_id FROM rowhook.delivery AS d WHERE d.id = %(delivery)s))) AS tenant

-- name: states
SELECT d.state, count(*) AS total
  FROM rowhook.delivery AS d
 WHERE d.state = ANY (%(states)s)
   AND (%(event)s::bigint IS NULL OR d.event_id = %(event)s AND d.event_slot = %(event_slot)s)
   AND (%(delivery)s::bigint IS NULL OR d.id = %(delivery)s)
   AND (%(endpoint)s::bigint IS NULL OR d.endpoint_id = %(endpoint)s)
 GROUP BY d.state
