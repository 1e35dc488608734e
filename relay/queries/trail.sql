-- name: event
-- Whether it has been dispatched: what the cursor has seen, and of the window that is under way what lies up to its position.
SELECT e.id, e.slot, rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS public_id, e.occurred_at, e.op::text AS op, e.type, e.table_name,
       e.row_key, e.tenant, e.moved, e.endpoint_id AS addressee,
       pg_visible_in_snapshot(e.xid, c.seen)
       OR c.target IS NOT NULL AND pg_visible_in_snapshot(e.xid, c.target) AND e.id <= c.position AS dispatched
  FROM rowhook.event AS e CROSS JOIN rowhook.cursor AS c
 WHERE e.id = %(event)s AND e.slot = %(event_slot)s

-- name: endpoints
-- Every endpoint beside what became of the event there. Those removed that never wanted it are nobody's concern.
SELECT p.id, p.public_id AS endpoint_id, p.url, p.tenant, p.events, p.state AS endpoint_state, p.state_reason, p.created_at AS added_at,
       p.circuit, p.probe_at, p.rate, p.filter,
       CASE WHEN p.filter IS NOT NULL AND d.id IS NULL AND %(addressee)s::bigint IS NULL
            THEN (SELECT rowhook.filter_verdict(p.filter, e.type, e.data, e.previous, e.context)
                    FROM rowhook.event AS e WHERE e.id = %(event)s AND e.slot = %(event_slot)s) END AS verdict,
       CASE WHEN %(addressee)s::bigint IS NULL THEN EXISTS (SELECT FROM rowhook.pattern_candidates(%(type)s) AS k WHERE k = ANY (p.events))
            ELSE p.id = %(addressee)s END AS wants,
       d.id AS delivery, d.created_at, d.state, d.attempts, d.due_at, d.due_at > clock_timestamp() AS is_early, d.ended_at,
       a.status_code, a.error_class, a.error,
       d.order_key IS NOT NULL AND EXISTS (SELECT FROM rowhook.delivery AS o
                                            WHERE o.endpoint_id = d.endpoint_id AND o.order_key = d.order_key AND o.state IN ('pending', 'leased')
                                              AND o.event_id < d.event_id) AS is_behind
  FROM rowhook.endpoint AS p
  LEFT JOIN rowhook.delivery AS d ON d.event_id = %(event)s AND d.event_slot = %(event_slot)s AND d.endpoint_id = p.id
  LEFT JOIN LATERAL (SELECT a.status_code, a.error_class, a.error FROM rowhook.attempt AS a
                      WHERE a.delivery_id = d.id ORDER BY a.number DESC LIMIT 1) AS a ON true
 WHERE (%(tenant)s::text IS NULL OR p.tenant = %(tenant)s)
   AND (p.state <> 'removed' OR d.id IS NOT NULL
        OR p.id = %(addressee)s
        OR %(addressee)s::bigint IS NULL AND EXISTS (SELECT FROM rowhook.pattern_candidates(%(type)s) AS k WHERE k = ANY (p.events)))
 ORDER BY d.id IS NULL, p.id LIMIT %(most)s
