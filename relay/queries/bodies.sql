-- name: keep
-- What templates made, before it is sent: only of a try that still is this relay's. Locks in id order, as everybody's.
WITH b AS MATERIALIZED (
    SELECT b.* FROM unnest(%(deliveries)s::bigint[], %(instances)s::bigint[], %(numbers)s::int[], %(bodies)s::text[])
        AS b (delivery_id, instance_id, number, body)
), locked AS MATERIALIZED (
    SELECT b.delivery_id, b.body
      FROM (SELECT * FROM b ORDER BY b.delivery_id) AS b
     CROSS JOIN LATERAL (SELECT FROM rowhook.delivery AS d
                          WHERE d.id = b.delivery_id AND d.state = 'leased' AND d.instance_id = b.instance_id AND d.attempts = b.number
                            FOR UPDATE) AS d
)
UPDATE rowhook.delivery AS d SET body = l.body FROM locked AS l WHERE d.id = l.delivery_id RETURNING d.id
