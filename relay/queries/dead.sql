-- name: tell
-- Of these deliveries those that have just died, to whoever asked to know: an event of Rowhook's own for each, in the transaction that
-- recorded the death (xmin: it wrote the row).
-- None for the delivery of such an event itself, or they would go on for ever; none where no endpoint would get it.
WITH told AS MATERIALIZED (
    SELECT DISTINCT p.tenant FROM rowhook.endpoint AS p WHERE 'delivery.dead' = ANY (p.events) AND p.state <> 'removed'
)
INSERT INTO rowhook.event (op, type, row_key, tenant, data)
SELECT 'own', 'delivery.dead', x.delivery_id, p.tenant,
       json_build_object('delivery_id', x.delivery_id, 'endpoint_id', p.public_id, 'url', p.url,
                         'event_id', rowhook.public_id('evt', e.occurred_at, e.id, e.slot), 'event_type', e.type, 'attempts', d.attempts,
                         'error_class', a.error_class, 'status_code', a.status_code)
  FROM rowhook.delivery AS d
  JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
 CROSS JOIN LATERAL (SELECT e.id, e.slot, e.occurred_at, e.type FROM rowhook.event AS e WHERE e.id = d.event_id AND e.slot = d.event_slot LIMIT 1) AS e
 CROSS JOIN LATERAL (SELECT rowhook.public_id('dlv', d.created_at, d.id) AS delivery_id) AS x
  LEFT JOIN rowhook.attempt AS a ON a.delivery_id = d.id AND a.number = d.attempts
 WHERE d.id = ANY (%(deliveries)s::bigint[]) AND d.state = 'dead' AND d.xmin = pg_current_xact_id()::xid
   AND e.type <> 'delivery.dead' AND EXISTS (SELECT FROM told AS t WHERE t.tenant IS NULL OR t.tenant = p.tenant)
 ORDER BY d.id
RETURNING row_key
