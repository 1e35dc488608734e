-- name: one
-- A delivery with its event, while that is kept, and its endpoint as it is now.
SELECT d.id, rowhook.public_id('dlv', d.created_at, d.id) AS public_id, d.state, d.created_at, d.due_at AS next_attempt_at, d.leased_at, d.ended_at,
       d.attempts, d.failures, d.last_try, d.webhook_id,
       CASE WHEN d.attempts > 0 THEN d.shape ELSE nullif(p.shape, 'standard') END AS shape, d.body, d.event_id, d.event_slot, d.endpoint_id,
       p.public_id AS endpoint_public_id, p.tenant AS endpoint_tenant, p.state AS endpoint_state, p.url, p.header_names
  FROM rowhook.delivery AS d JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
 WHERE d.id = %(delivery)s

-- name: cancel
-- Given up by a person. What waits is cancelled; what is out ends as it ends, but is not tried again.
WITH picked AS MATERIALIZED (
    SELECT d.id, d.state FROM rowhook.delivery AS d WHERE d.id = %(delivery)s FOR UPDATE
), given_up AS (
    UPDATE rowhook.delivery AS d
       SET state = CASE k.state WHEN 'pending' THEN 'cancelled' ELSE k.state END,
           ended_at = CASE k.state WHEN 'pending' THEN clock_timestamp() END,
           due_at = NULL, last_try = k.state = 'leased'
      FROM picked AS k WHERE d.id = k.id AND k.state IN ('pending', 'leased')
    RETURNING d.id
)
SELECT k.state AS was FROM picked AS k
