-- name: take_role
-- One dispatcher at a time. Tried, never waited for: a session blocked in pg_advisory_lock pins xmin.
SELECT pg_try_advisory_lock(%(key)s) AS taken

-- name: system
SELECT s.system_identifier FROM pg_control_system() AS s

-- name: live
-- Before it begins anew, as in a look. Held until commit: who marks this instance dead waits, or has been and this finds no row.
SELECT 1 AS live FROM rowhook.instance WHERE id = %(instance)s AND state = 'live' FOR KEY SHARE

-- name: cursor
-- The lock, in a statement of its own, as in a look.
SELECT c.system_identifier FROM rowhook.cursor AS c FOR UPDATE SKIP LOCKED

-- name: peek
-- Is anything new? One statement without a lock, for an idle relay. LATERAL with LIMIT: each late transaction is looked up by itself,
-- where a join may read all events.
SELECT c.target IS NOT NULL OR c.system_identifier <> %(system)s
    OR EXISTS (SELECT FROM rowhook.event AS e
                WHERE e.xid >= pg_snapshot_xmax(c.seen) AND e.xid < pg_snapshot_xmax(pg_current_snapshot()))
    OR EXISTS (SELECT FROM pg_snapshot_xip(c.seen) AS x (xid)
                CROSS JOIN LATERAL (SELECT FROM rowhook.event AS e WHERE e.xid = x.xid LIMIT 1) AS e) AS found
  FROM rowhook.cursor AS c

-- name: look
-- The next chunk in one statement, and so in one transaction: sql/0025-look.sql.
SELECT * FROM rowhook.look(
    instance => %(instance)s, system => %(system)s, disarm => %(disarm)s, chunk => %(chunk)s, most_size => %(most_size)s,
    capacity => %(capacity)s, room_for_size => %(size)s, endpoint_room => %(endpoint_room)s,
    endpoints => %(endpoints)s::bigint[], rooms => %(rooms)s::integer[])

-- name: reseed
-- Another cluster: its transaction ids mean nothing to "seen". What is open gets its deliveries (parked), ids that would come into
-- a window once more (not begun here yet, or in progress) are frozen, and the cursor begins anew. ON CONFLICT: what had deliveries keeps them.
WITH open AS MATERIALIZED (
    SELECT e.id, e.slot, e.type, e.tenant, e.endpoint_id, e.op, e.table_name, e.row_key FROM rowhook.event AS e, rowhook.cursor AS c
     WHERE e.id > c.highest_id OR NOT pg_visible_in_snapshot(e.xid, c.seen)
), wanted AS (
    SELECT DISTINCT t.type, NULL::bigint AS addressee, p.id AS endpoint_id, p.tenant, p.ordered, p.filter, nullif(p.shape, 'standard') AS shape
      FROM (SELECT DISTINCT o.type FROM open AS o WHERE o.op <> 'probe') AS t
     CROSS JOIN LATERAL rowhook.pattern_candidates(t.type) AS k (pattern)
      JOIN rowhook.endpoint AS p ON k.pattern = ANY (p.events) AND p.state <> 'removed'
    UNION ALL
    SELECT DISTINCT o.type, p.id, p.id, p.tenant, p.ordered, p.filter, nullif(p.shape, 'standard')
      FROM open AS o JOIN rowhook.endpoint AS p ON p.id = o.endpoint_id AND p.state <> 'removed'
), pair AS MATERIALIZED (
    SELECT o.id, o.slot, w.endpoint_id, CASE WHEN w.ordered THEN coalesce(coalesce(o.table_name, '') || ':' || o.row_key, '#' || o.id) END AS order_key,
           w.shape,
           CASE WHEN w.filter IS NOT NULL AND (o.endpoint_id IS NULL OR o.table_name IS NOT NULL)
                THEN (SELECT rowhook.filter_verdict(w.filter, e.type, e.data, e.previous, e.context) FROM rowhook.event AS e WHERE e.id = o.id AND e.slot = o.slot)
                ELSE 'matched' END AS verdict
      FROM open AS o JOIN wanted AS w ON w.type = o.type AND w.addressee IS NOT DISTINCT FROM o.endpoint_id
     WHERE w.tenant IS NULL OR w.tenant = o.tenant
), made AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, state, attempts, shape, due_at, ended_at)
    SELECT p.id, p.slot, p.endpoint_id, p.order_key, CASE WHEN p.verdict = 'matched' THEN 'pending' ELSE 'dead' END, (p.verdict <> 'matched')::int,
           CASE WHEN p.verdict <> 'matched' THEN p.shape END,
           CASE WHEN p.verdict = 'matched' THEN clock_timestamp() END, CASE WHEN p.verdict <> 'matched' THEN clock_timestamp() END
      FROM pair AS p WHERE p.verdict NOT IN ('not matched', 'unknown')
     ORDER BY p.id, p.endpoint_id
    ON CONFLICT DO NOTHING RETURNING id, event_id, endpoint_id, state
), failed AS (
    INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class, error)
    SELECT m.id, m.endpoint_id, 1, %(instance)s, clock_timestamp(), 'internal', 'the endpoint''s filter ' || p.verdict
      FROM made AS m JOIN pair AS p ON p.id = m.event_id AND p.endpoint_id = m.endpoint_id WHERE m.state = 'dead'
), frozen AS (
    UPDATE rowhook.event AS e SET xid = '3'::xid8 WHERE NOT pg_visible_in_snapshot(e.xid, pg_current_snapshot()) RETURNING e.id
), moved AS (
    UPDATE rowhook.cursor AS c
       SET seen = pg_current_snapshot(), target = NULL, position = NULL, fresh_from = NULL, system_identifier = %(system)s,
           highest_id = greatest(c.highest_id, (SELECT max(o.id) FROM open AS o)), moved_at = clock_timestamp()
), marked AS (
    UPDATE rowhook.horizon AS h SET xid = pg_snapshot_xmax(pg_current_snapshot())
)
SELECT (SELECT count(*) FROM made) AS parked, (SELECT count(*) FROM frozen) AS frozen

-- name: tell_peers
-- Other relays sleep; parked deliveries are for whoever has room.
SELECT pg_notify('rowhook_work', '')
