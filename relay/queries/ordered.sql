-- name: hold_dispatch
-- In the transaction that makes an endpoint ordered: whoever dispatches after it gives keys, what was dispatched before it is there.
SELECT 1 AS held FROM rowhook.cursor FOR UPDATE

-- name: give_keys
-- What an endpoint that has become ordered has open, a batch at a time in order of id.
WITH picked AS MATERIALIZED (
    SELECT d.id, CASE WHEN e.row_key IS NULL THEN '#' || d.event_id ELSE coalesce(e.table_name, '') || ':' || e.row_key END AS order_key
      FROM rowhook.delivery AS d
      LEFT JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
     WHERE d.endpoint_id = %(id)s AND d.state IN ('pending', 'leased') AND d.order_key IS NULL
     ORDER BY d.id LIMIT %(batch)s FOR UPDATE OF d
), given AS (
    UPDATE rowhook.delivery AS d SET order_key = k.order_key FROM picked AS k WHERE d.id = k.id RETURNING d.id
)
SELECT count(*) AS given FROM given

-- name: open_keys
-- Of the endpoint's rows with this key those that something waits for; in several tables there may be one.
SELECT DISTINCT d.order_key, e.table_name
  FROM rowhook.delivery AS d
  JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
 WHERE d.endpoint_id = %(id)s AND d.order_key IS NOT NULL AND d.state IN ('pending', 'leased')
   AND right(d.order_key, length(%(key)s::text) + 1) = ':' || %(key)s
   AND e.row_key = %(key)s AND (%(table)s::text IS NULL OR e.table_name = %(table)s)
 ORDER BY d.order_key

-- name: skip
-- The first that has not ended, or all: cancelled where it waits; where it is out, that try is its last.
WITH picked AS MATERIALIZED (
    SELECT d.id, d.state FROM rowhook.delivery AS d
     WHERE d.endpoint_id = %(id)s AND d.order_key = %(order_key)s AND d.state IN ('pending', 'leased')
     ORDER BY d.event_id LIMIT %(most)s::bigint FOR UPDATE
), skipped AS (
    UPDATE rowhook.delivery AS d
       SET state = CASE k.state WHEN 'pending' THEN 'cancelled' ELSE k.state END,
           ended_at = CASE k.state WHEN 'pending' THEN clock_timestamp() END,
           due_at = NULL, last_try = k.state = 'leased'
      FROM picked AS k WHERE d.id = k.id
    RETURNING k.state
)
SELECT count(*) FILTER (WHERE s.state = 'pending') AS cancelled, count(*) FILTER (WHERE s.state = 'leased') AS out FROM skipped AS s
