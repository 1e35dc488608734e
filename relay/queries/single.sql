-- name: send
-- Due at once; of an ordered endpoint it has a key of its own, and so waits for nothing. When it is dispatched, there it is already.
WITH event AS (
    INSERT INTO rowhook.event (op, type, tenant, endpoint_id, data)
    VALUES ('own', %(type)s, %(tenant)s::text, %(endpoint)s, %(data)s::json)
    RETURNING id, slot, occurred_at
), delivery AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, due_at, order_key)
    SELECT e.id, e.slot, p.id, clock_timestamp(), CASE WHEN p.ordered THEN '#' || e.id END
      FROM event AS e, rowhook.endpoint AS p WHERE p.id = %(endpoint)s
    RETURNING id, created_at
)
SELECT rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS event, rowhook.public_id('dlv', d.created_at, d.id) AS delivery
  FROM event AS e, delivery AS d
