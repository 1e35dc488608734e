-- name: claim
-- Parked and retried work that is due, per endpoint within its room, leased to this instance; the try is counted here. Endpoints in
-- random order, so that none starves. Only while this instance's own row is live. Those with open or ramping circuits, and those with
-- a rate whose next request is due, knock: they are claimed for by themselves, "gated", under their locks (circuit.sql).
--
-- An event is found by its id, in whatever slot it is kept by now. LATERAL with LIMIT: there is one, and a slot that was never analysed
-- makes no plan that reads all of it.
--
-- Ordered endpoints: of one key only the first that has not ended. Their index over open ones is walked from key to key, so that many
-- that wait behind one cost nothing; from the key that has waited longest on, then round from the first. Others pay nothing.
-- Why no snapshot of READ COMMITTED lets a second one through:
-- - A delivery is open (pending or leased) in every snapshot from its dispatch to its end: failing, being lost, reclaimed or given back
--   are one UPDATE each. So if this snapshot shows those before it as ended, they had ended, whatever commits meanwhile.
-- - Two claims: both see the same first one as open. One gets it, the other skips its lock; nobody gets the second.
-- - Dispatch: who sees a row's later event sees its earlier one, which committed before the later was written. Both come in order of id,
--   in one chunk or two, and dispatch never leases what has a key of an ordered endpoint: that is left to this statement.
-- - Replay opens an earlier one again: it goes before those of its key that wait; one that was claimed just then is not called back.
WITH me AS (
    SELECT i.id FROM rowhook.instance AS i WHERE i.id = %(instance)s AND i.state = 'live' FOR KEY SHARE
), open AS MATERIALIZED (
    SELECT p.id, p.revision, p.ordered, nullif(p.shape, 'standard') AS shape, coalesce(b.room, p.max_in_flight * 2, %(endpoint_room)s) AS room
      FROM rowhook.endpoint AS p
      LEFT JOIN unnest(%(endpoints)s::bigint[], %(rooms)s::int[]) AS b (endpoint_id, room) ON b.endpoint_id = p.id
     WHERE p.state = 'active'
       AND CASE WHEN %(gated)s::bigint[] IS NULL THEN p.circuit = 'closed' AND p.rate IS NULL ELSE p.id = ANY (%(gated)s::bigint[]) END
     ORDER BY random()
), picked AS MATERIALIZED (
    SELECT d.id, o.revision, o.shape, d.event_id, d.event_slot
      FROM open AS o
     CROSS JOIN LATERAL (SELECT d.id, d.event_id, d.event_slot FROM rowhook.delivery AS d
                          WHERE d.endpoint_id = o.id AND d.state = 'pending' AND d.due_at <= clock_timestamp()
                          ORDER BY d.due_at, d.id LIMIT greatest(least(o.room, %(capacity)s), 0)
                            FOR UPDATE SKIP LOCKED) AS d
     WHERE NOT o.ordered
     LIMIT %(capacity)s
), first_of_key AS MATERIALIZED (
    SELECT d.id, o.revision, o.shape, d.event_id, d.event_slot
      FROM open AS o
     CROSS JOIN LATERAL (SELECT d.id, d.order_key FROM rowhook.delivery AS d
                          WHERE d.endpoint_id = o.id AND d.state = 'pending' AND d.due_at <= clock_timestamp()
                          ORDER BY d.due_at, d.id LIMIT 1) AS longest
     CROSS JOIN LATERAL (
         SELECT d.id, d.event_id, d.event_slot
           FROM (VALUES (1, longest.order_key, NULL), (2, '', longest.order_key)) AS part (nth, low, high)
          CROSS JOIN LATERAL (
              WITH RECURSIVE walk AS (
                  (SELECT d.order_key, d.id, d.state, d.due_at FROM rowhook.delivery AS d
                    WHERE d.endpoint_id = o.id AND d.order_key IS NOT NULL AND d.state IN ('pending', 'leased')
                      AND d.order_key >= part.low AND (part.high IS NULL OR d.order_key < part.high)
                    ORDER BY d.order_key, d.event_id LIMIT 1)
                  UNION ALL
                  SELECT n.* FROM walk AS w
                   CROSS JOIN LATERAL (SELECT d.order_key, d.id, d.state, d.due_at FROM rowhook.delivery AS d
                                        WHERE d.endpoint_id = o.id AND d.order_key IS NOT NULL AND d.state IN ('pending', 'leased')
                                          AND d.order_key > w.order_key AND (part.high IS NULL OR d.order_key < part.high)
                                        ORDER BY d.order_key, d.event_id LIMIT 1) AS n
              )
              SELECT w.id FROM walk AS w WHERE w.state = 'pending' AND w.due_at <= clock_timestamp()
              -- Without a key: made ordered by hand, past the command that gives keys. One at a time, but not never.
              UNION ALL SELECT longest.id WHERE longest.order_key IS NULL AND part.nth = 1) AS w
          CROSS JOIN LATERAL (SELECT d.id, d.event_id, d.event_slot FROM rowhook.delivery AS d
                               WHERE d.id = w.id AND d.state = 'pending' AND d.due_at <= clock_timestamp() FOR UPDATE SKIP LOCKED) AS d
          LIMIT greatest(least(o.room, %(capacity)s), 0)) AS d
     WHERE o.ordered
     LIMIT %(capacity)s
), fits AS MATERIALIZED (
    SELECT s.*, row_number() OVER (PARTITION BY s.event_id ORDER BY s.delivery_id) AS nth
      FROM (SELECT z.*, sum(z.size) OVER (ORDER BY z.delivery_id) - z.size AS before
              FROM (SELECT k.id AS delivery_id, k.revision, k.shape, e.id AS event_id, e.slot, e.occurred_at, e.type, e.tenant, e.table_name, e.row_key, e.moved,
                           e.data, e.previous, e.context, e.truncated, e.looped,
                           coalesce(CASE WHEN pg_column_compression(e.data) IS NULL THEN pg_column_size(e.data) ELSE octet_length(e.data::text) END, 0)
                           + coalesce(CASE WHEN pg_column_compression(e.previous) IS NULL THEN pg_column_size(e.previous) ELSE octet_length(e.previous::text) END, 0) AS size
                      FROM (SELECT * FROM picked UNION ALL SELECT * FROM first_of_key LIMIT %(capacity)s) AS k
                     CROSS JOIN LATERAL (SELECT e.* FROM rowhook.event AS e WHERE e.id = k.event_id AND e.slot = k.event_slot LIMIT 1) AS e) AS z) AS s
     WHERE s.before < %(size)s
), leased AS (
    UPDATE rowhook.delivery AS d
       SET state = 'leased', instance_id = me.id, attempts = d.attempts + 1, leased_at = clock_timestamp(), due_at = NULL,
           -- What a request may have carried it keeps. From a template nothing was sent before there was a body.
           body = CASE WHEN d.attempts > 0 THEN d.body END,
           shape = CASE WHEN d.attempts = 0 OR d.shape = 'template' AND d.body IS NULL THEN k.shape ELSE d.shape END
      FROM fits AS k, me
     WHERE d.id = k.delivery_id
    RETURNING d.*, k.revision, k.nth
)
SELECT EXISTS (SELECT FROM me) AS live,
       EXISTS (SELECT FROM rowhook.endpoint AS p
                WHERE (p.circuit <> 'closed' OR p.rate IS NOT NULL) AND p.state = 'active' AND (p.probe_at IS NULL OR p.probe_at <= clock_timestamp())
                  AND (p.rate IS NULL
                       OR NOT EXISTS (SELECT FROM rowhook.rate_clock AS c WHERE c.endpoint_id = p.id AND c.next_at > clock_timestamp())
                          AND EXISTS (SELECT FROM rowhook.delivery AS d
                                       WHERE d.endpoint_id = p.id AND d.state = 'pending' AND d.due_at <= clock_timestamp()))) AS knocking,
       l.*
  FROM (SELECT) AS one
  LEFT JOIN (SELECT d.id, d.created_at, d.endpoint_id, d.revision, d.attempts AS number, d.failures, d.free_tries, d.webhook_id,
                    d.shape, d.body, d.event_id, d.event_slot,
                    -- As in dispatch: what the body could not say makes that body fail, and not the reading of all others.
                    CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END AS occurred_at,
                    e.type, e.tenant, e.table_name, e.row_key, e.moved,
                    e.data, e.previous, e.context, e.truncated, e.looped
               FROM leased AS d LEFT JOIN fits AS e ON e.delivery_id = d.id AND d.nth = 1) AS l ON true
 ORDER BY l.event_id, l.id

-- name: reclaim
-- What the dead held: the try that was counted becomes an attempt of unknown outcome, the delivery is due at once. Five in a row,
-- and it is dead: an event that kills its relay can't do so for ever. Given up meanwhile (last_try, or its endpoint was removed), it
-- is cancelled. Looked for always, not once per death.
WITH left_behind AS (
    SELECT d.id, d.instance_id,
           CASE WHEN d.last_try OR EXISTS (SELECT FROM rowhook.endpoint AS p WHERE p.id = d.endpoint_id AND p.state = 'removed') THEN 'cancelled'
                WHEN d.free_tries + 1 >= %(most_lost)s THEN 'dead' ELSE 'pending' END AS next
      FROM rowhook.delivery AS d
     WHERE d.state = 'leased'
       AND NOT EXISTS (SELECT FROM rowhook.instance AS i WHERE i.id = d.instance_id AND i.state = 'live')
     ORDER BY d.id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE rowhook.delivery AS d
       SET state = b.next,
           due_at = CASE WHEN b.next = 'pending' THEN clock_timestamp() END,
           ended_at = CASE WHEN b.next <> 'pending' THEN clock_timestamp() END,
           free_tries = d.free_tries + 1, instance_id = NULL
      FROM left_behind AS b
     WHERE d.id = b.id
    RETURNING d.id, d.endpoint_id, b.instance_id, d.leased_at, d.attempts, d.state
), lost AS (
    INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class, error)
    SELECT f.id, f.endpoint_id, f.attempts, f.instance_id, f.leased_at, 'lost', 'the relay that held it ended before it recorded an outcome'
      FROM freed AS f
    ON CONFLICT DO NOTHING
)
SELECT count(*) AS freed, array_agg(f.id) FILTER (WHERE f.state = 'dead') AS died FROM freed AS f

-- name: release
-- Leased ahead and never sent: given back, and the try was none. Given up meanwhile, it is cancelled.
WITH held AS MATERIALIZED (
    SELECT d.id, CASE WHEN d.last_try OR EXISTS (SELECT FROM rowhook.endpoint AS p WHERE p.id = d.endpoint_id AND p.state = 'removed')
                      THEN 'cancelled' ELSE 'pending' END AS next
      FROM rowhook.delivery AS d
     WHERE d.id = ANY (%(deliveries)s) AND d.state = 'leased' AND d.instance_id = %(instance)s ORDER BY d.id FOR UPDATE
)
UPDATE rowhook.delivery AS d
   SET state = h.next, due_at = CASE WHEN h.next = 'pending' THEN clock_timestamp() END,
       ended_at = CASE WHEN h.next <> 'pending' THEN clock_timestamp() END, instance_id = NULL, attempts = d.attempts - 1
  FROM held AS h WHERE d.id = h.id
