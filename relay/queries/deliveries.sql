-- name: history
-- One row per attempt, newest deliveries first, those without an attempt included: the columns of rowhook.delivery_history and
-- the webhook-id, but found by internal ids, which have indexes.
SELECT rowhook.public_id('dlv', d.created_at, d.id) AS delivery_id,
       rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS event_id,
       coalesce(d.webhook_id, rowhook.public_id('evt', e.occurred_at, e.id, e.slot)) AS webhook_id,
       e.type AS event_type, e.tenant, e.row_key, p.public_id AS endpoint_id, p.url,
       a.number AS attempt, a.started_at, round((extract(epoch FROM a.duration) * 1000)::numeric, 3)::float8 AS duration_ms,
       a.status_code, a.error_class, a.error, a.response_excerpt,
       d.state AS delivery_status, d.due_at AS next_attempt_at, d.created_at
  FROM rowhook.delivery AS d
  JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
  LEFT JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
  LEFT JOIN rowhook.attempt AS a ON a.delivery_id = d.id
 WHERE (%(endpoint)s::bigint IS NULL OR d.endpoint_id = %(endpoint)s)
   AND (%(event)s::bigint IS NULL OR d.event_id = %(event)s AND d.event_slot = %(event_slot)s)
   AND (%(state)s::text IS NULL OR d.state = %(state)s)
 ORDER BY d.id DESC, a.number DESC LIMIT %(limit)s
