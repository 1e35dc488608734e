-- name: take_role
-- One dispatcher at a time. Tried, never waited for: a session blocked in pg_advisory_lock pins xmin.
SELECT pg_try_advisory_lock(%(key)s) AS taken

-- name: system
SELECT s.system_identifier FROM pg_control_system() AS s

-- name: live
-- Held until commit: who marks this instance dead waits, or has been and this finds no row.
SELECT 1 AS live FROM rowhook.instance WHERE id = %(instance)s AND state = 'live' FOR KEY SHARE

-- name: cursor
-- The lock, in a statement of its own: with lock and window in one, the row would be re-read after a wait under an old snapshot.
SELECT c.seen::text AS seen, c.target::text AS target, c.position, c.fresh_from, c.highest_id, c.system_identifier
  FROM rowhook.cursor AS c FOR UPDATE SKIP LOCKED

-- name: peek
-- Is anything new? One statement without a lock, for an idle relay. LATERAL with LIMIT: each late transaction is looked up by itself,
-- where a join may read all events.
SELECT c.target IS NOT NULL OR c.system_identifier <> %(system)s
    OR EXISTS (SELECT FROM rowhook.event AS e
                WHERE e.xid >= pg_snapshot_xmax(c.seen) AND e.xid < pg_snapshot_xmax(pg_current_snapshot()))
    OR EXISTS (SELECT FROM pg_snapshot_xip(c.seen) AS x (xid)
                CROSS JOIN LATERAL (SELECT FROM rowhook.event AS e WHERE e.xid = x.xid LIMIT 1) AS e) AS found
  FROM rowhook.cursor AS c

-- name: open_window
-- The target is this statement's snapshot, which is taken once the cursor is locked, whose "seen" is as it was locked then; the chunks
-- are read later, never earlier. No row within a window. Where a window begins, in event ids: among the transactions that were in
-- progress at "seen" (late), and among those that began after it (fresh). "+ 0": for min(id) by itself the planner walks the primary
-- key from the first event ever; so it reads (xid, id), and of it only the window.
SELECT t.target::text AS target,
       (SELECT min(e.id + 0) FROM rowhook.event AS e
         WHERE e.xid >= pg_snapshot_xmax(c.seen) AND e.xid < pg_snapshot_xmax(t.target)
           AND pg_visible_in_snapshot(e.xid, t.target)) AS fresh_from,
       (SELECT min(e.id) FROM pg_snapshot_xip(c.seen) AS x (xid)
         CROSS JOIN LATERAL (SELECT e.id FROM rowhook.event AS e
                              WHERE e.xid = x.xid AND pg_visible_in_snapshot(e.xid, t.target)
                              ORDER BY e.id LIMIT 1) AS e) AS late_from
  FROM (SELECT pg_current_snapshot() AS target) AS t CROSS JOIN rowhook.cursor AS c
 WHERE c.target IS NULL

-- name: dispatch
-- One chunk of the window in id order: its deliveries, those that fit leased at once. Late transactions are read one by one through
-- (xid, id), fresh ones along the primary key from the first of them on: neither reads what lies between.
WITH late AS (
    SELECT e.* FROM pg_snapshot_xip(%(seen)s::pg_snapshot) AS x (xid)
     CROSS JOIN LATERAL (SELECT e.* FROM rowhook.event AS e
                          WHERE e.xid = x.xid AND e.id > %(position)s AND pg_visible_in_snapshot(e.xid, %(target)s::pg_snapshot)
                          ORDER BY e.id LIMIT %(chunk)s) AS e
), fresh AS (
    SELECT e.* FROM rowhook.event AS e
     WHERE e.id > greatest(%(position)s, %(fresh_from)s - 1)
       AND e.xid >= pg_snapshot_xmax(%(seen)s::pg_snapshot) AND e.xid < pg_snapshot_xmax(%(target)s::pg_snapshot)
       AND pg_visible_in_snapshot(e.xid, %(target)s::pg_snapshot)
     ORDER BY e.id LIMIT %(chunk)s
), sized AS (
    SELECT w.*, coalesce(CASE WHEN pg_column_compression(w.data) IS NULL THEN pg_column_size(w.data) ELSE octet_length(w.data::text) END, 0)
           + coalesce(CASE WHEN pg_column_compression(w.previous) IS NULL THEN pg_column_size(w.previous) ELSE octet_length(w.previous::text) END, 0) AS size
      FROM (SELECT * FROM late UNION ALL SELECT * FROM fresh) AS w ORDER BY w.id LIMIT %(chunk)s
), chunk AS MATERIALIZED (
    SELECT s.*, sum(s.size) OVER (ORDER BY s.id) - s.size AS before FROM sized AS s
), candidate AS MATERIALIZED (
    SELECT t.type, k.pattern COLLATE "C" AS pattern  -- compared as bytes: a language's order costs ten times as much
      FROM (SELECT DISTINCT c.type FROM chunk AS c WHERE c.op <> 'probe') AS t CROSS JOIN LATERAL rowhook.pattern_candidates(t.type) AS k (pattern)
), subscribed AS MATERIALIZED (
    SELECT unnest(p.events) COLLATE "C" AS pattern, p.id AS endpoint_id, p.tenant, p.ordered,
           p.state = 'active' AND p.circuit = 'closed' AS active,
           -- What has a rate is parked: only claim knows when its next request is due.
           CASE WHEN p.rate IS NULL THEN coalesce(b.room, p.max_in_flight * 2, %(endpoint_room)s) ELSE 0 END AS room,
           p.filter IS NOT NULL AS filtered, nullif(p.shape, 'standard') AS shape
      FROM rowhook.endpoint AS p
      LEFT JOIN unnest(%(endpoints)s::bigint[], %(rooms)s::int[]) AS b (endpoint_id, room) ON b.endpoint_id = p.id
     WHERE p.state <> 'removed'
), wanted AS MATERIALIZED (
    SELECT DISTINCT k.type, NULL::bigint AS addressee, s.endpoint_id, s.tenant, s.active, s.ordered, s.room, s.filtered, s.shape
      FROM candidate AS k JOIN subscribed AS s ON s.pattern = k.pattern
    UNION ALL  -- An event for one endpoint goes there whatever its patterns are, and nowhere else.
    SELECT DISTINCT a.type, a.endpoint_id, s.endpoint_id, s.tenant, s.active, s.ordered, s.room, s.filtered, s.shape
      FROM (SELECT DISTINCT c.type, c.endpoint_id FROM chunk AS c WHERE c.endpoint_id IS NOT NULL) AS a
      JOIN subscribed AS s ON s.endpoint_id = a.endpoint_id
), asked AS MATERIALIZED (
    -- Filters, and nothing where there are none. An event is parsed once for all of them. What takes too long is given up: with
    -- fewer events at once, or for the one. What is for one endpoint and tells of no row (a ping) goes there unasked.
    SELECT c.id, c.type, c.tenant, c.endpoint_id,
           CASE WHEN clock_timestamp() < statement_timestamp() + interval '4 s' THEN rowhook.filter_document(c.type, c.data, c.previous, c.context)
                ELSE to_jsonb(rowhook.filters_take_too_long(%(chunk)s = 1)) END AS document
      FROM chunk AS c
     WHERE (c.endpoint_id IS NULL OR c.table_name IS NOT NULL)
       AND EXISTS (SELECT FROM wanted AS w WHERE w.filtered AND w.type = c.type AND w.addressee IS NOT DISTINCT FROM c.endpoint_id
                      AND (w.tenant IS NULL OR w.tenant = c.tenant))
), filtered AS MATERIALIZED (
    SELECT a.id, w.endpoint_id,
           CASE WHEN clock_timestamp() < statement_timestamp() + interval '4 s' THEN rowhook.filter_verdict(p.filter, a.document)
                ELSE rowhook.filters_take_too_long(%(chunk)s = 1) END AS verdict
      FROM asked AS a
      JOIN wanted AS w ON w.filtered AND w.type = a.type AND w.addressee IS NOT DISTINCT FROM a.endpoint_id
                      AND (w.tenant IS NULL OR w.tenant = a.tenant)
      JOIN rowhook.endpoint AS p ON p.id = w.endpoint_id
), pair AS (
    -- A filter that fails ends that one delivery. Of an ordered endpoint what has a key is parked: only claim looks whether those
    -- before it have ended.
    SELECT c.id, c.slot, w.endpoint_id, CASE WHEN w.ordered THEN coalesce(coalesce(c.table_name, '') || ':' || c.row_key, '#' || c.id) END AS order_key,
           w.active AS claimable,
           w.active AND c.before < %(size)s AND NOT (w.ordered AND c.row_key IS NOT NULL) AS active, w.room, w.shape, nullif(f.verdict, 'matched') AS fault,
           row_number() OVER (PARTITION BY w.endpoint_id ORDER BY c.id) AS nth
      FROM chunk AS c JOIN wanted AS w ON w.type = c.type AND w.addressee IS NOT DISTINCT FROM c.endpoint_id
      LEFT JOIN filtered AS f ON f.id = c.id AND f.endpoint_id = w.endpoint_id
     WHERE (w.tenant IS NULL OR w.tenant = c.tenant) AND (NOT w.filtered OR f.verdict NOT IN ('not matched', 'unknown') OR c.endpoint_id IS NOT NULL AND c.table_name IS NULL)
), placed AS (
    SELECT p.*, p.active AND p.nth <= p.room AND p.fault IS NULL
                AND sum((p.active AND p.nth <= p.room)::int) OVER (ORDER BY p.id, p.endpoint_id) <= %(capacity)s AS leased
      FROM pair AS p
), made AS (
    INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, state, instance_id, attempts, leased_at, due_at, ended_at, shape)
    SELECT p.id, p.slot, p.endpoint_id, p.order_key,
           CASE WHEN p.leased THEN 'leased' WHEN p.fault IS NULL THEN 'pending' ELSE 'dead' END,
           CASE WHEN p.leased THEN %(instance)s::bigint END,
           (p.leased OR p.fault IS NOT NULL)::int,
           CASE WHEN p.leased THEN clock_timestamp() END,
           CASE WHEN NOT p.leased AND p.fault IS NULL THEN clock_timestamp() END,
           CASE WHEN p.fault IS NOT NULL THEN clock_timestamp() END,
           CASE WHEN p.leased OR p.fault IS NOT NULL THEN p.shape END
      FROM placed AS p ORDER BY p.id, p.endpoint_id
    ON CONFLICT DO NOTHING
    RETURNING id, event_id, endpoint_id, created_at, state, shape
), read AS (
    SELECT count(*) AS events, max(c.id) AS last_id, coalesce(sum(c.size), 0)::bigint AS size FROM chunk AS c
), parked AS (
    SELECT (SELECT count(*) FROM made AS m WHERE m.state = 'pending') AS parked,
           (SELECT coalesce(array_agg(DISTINCT p.endpoint_id), '{}') FROM placed AS p WHERE p.claimable AND NOT p.leased) AS parked_for
), failed AS (
    SELECT array_agg(m.id) AS deliveries, array_agg(p.fault) AS faults
      FROM made AS m JOIN placed AS p ON p.id = m.event_id AND p.endpoint_id = m.endpoint_id WHERE m.state = 'dead'
)
SELECT r.events, r.last_id, k.parked, k.parked_for, r.size, b.deliveries, b.faults, l.*
  FROM read AS r CROSS JOIN parked AS k CROSS JOIN failed AS b
  LEFT JOIN (SELECT m.id, m.created_at, m.endpoint_id, m.revision, 1 AS number, 0 AS failures, 0 AS free_tries, NULL::text AS webhook_id,
                    m.shape, NULL::text AS body, m.event_id, e.slot AS event_slot,
                    -- What the body could not say (infinity, BC) makes that body fail, and not the reading of all others.
                    CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END AS occurred_at,
                    e.type, e.tenant, e.table_name, e.row_key, e.moved,
                    e.data, e.previous, e.context, e.truncated, e.looped
               FROM (SELECT m.id, m.created_at, m.endpoint_id, q.revision, m.shape, m.event_id,
                            row_number() OVER (PARTITION BY m.event_id ORDER BY m.endpoint_id) AS nth
                       FROM made AS m JOIN rowhook.endpoint AS q ON q.id = m.endpoint_id
                      WHERE m.state = 'leased') AS m
               LEFT JOIN chunk AS e ON e.id = m.event_id AND m.nth = 1) AS l ON true
 ORDER BY l.event_id, l.endpoint_id

-- name: record_faults
-- The filters of these failed: an attempt that never became a request says why.
INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class, error)
SELECT d.id, d.endpoint_id, 1, %(instance)s, clock_timestamp(), 'internal', 'the endpoint''s filter ' || f.fault
  FROM unnest(%(deliveries)s::bigint[], %(faults)s::text[]) AS f (delivery_id, fault) JOIN rowhook.delivery AS d ON d.id = f.delivery_id

-- name: move
-- Within the window, or past it. A transaction that stores a snapshot writes no events: its own id counts as visible in it.
UPDATE rowhook.cursor
   SET seen = coalesce(%(seen)s::pg_snapshot, seen), target = %(target)s::pg_snapshot, position = %(position)s, fresh_from = %(fresh_from)s,
       highest_id = greatest(highest_id, %(last_id)s), moved_at = clock_timestamp()

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
