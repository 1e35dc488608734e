-- One look of the dispatcher: what has become visible since the last one becomes deliveries.
-- depends: 0024-schema-versions
--
-- A function, because a look is one round trip then, and one statement to Postgres. In READ COMMITTED each statement within it has a
-- snapshot of its own, and so it must be: the cursor is locked by one (with lock and window in one, its row would be re-read after a wait
-- under an old snapshot), the target is the snapshot of the next, taken once it is locked, and the window is read by a third: later,
-- never earlier. Whoever stores a snapshot writes no events: its own id counts as visible in it.

CREATE FUNCTION rowhook.look(
    instance bigint, system bigint, disarm boolean, chunk integer, most_size bigint,
    capacity integer, room_for_size bigint, endpoint_room integer, endpoints bigint[], rooms integer[]
) RETURNS TABLE (
    refusal text, events bigint, more boolean, parked bigint, parked_for bigint[], size bigint,
    id bigint, created_at timestamptz, endpoint_id bigint, revision bigint, number integer, failures integer, free_tries integer, webhook_id text,
    shape text, body text, event_id bigint, event_slot smallint, occurred_at timestamptz, type text, tenant text, table_name text, row_key text,
    moved boolean, data json, previous json, context json, truncated boolean, looped boolean
) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _cursor    rowhook.cursor;
    _is_old    boolean;  -- the window was opened by a look before, and knows nothing of what has committed since
    _late_from bigint;
    _late_by   timestamptz;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a look needs read committed: elsewhere all its statements have one snapshot, and events are lost';
    END IF;
    IF look.disarm THEN
        PERFORM setval('rowhook.doorbell', 0);
    END IF;
    -- Held until commit: who marks this instance dead waits, or has been and this finds no row.
    PERFORM FROM rowhook.instance AS i WHERE i.id = look.instance AND i.state = 'live' FOR KEY SHARE;
    IF NOT FOUND THEN
        refusal := 'dead';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT c.* INTO _cursor FROM rowhook.cursor AS c FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR _cursor.system_identifier <> look.system THEN
        refusal := CASE WHEN FOUND THEN 'elsewhere' ELSE 'skipped' END;
        RETURN NEXT;
        RETURN;
    END IF;
    _is_old := _cursor.target IS NOT NULL;
    IF _cursor.target IS NULL THEN
        -- Where a window begins, in event ids: among the transactions that were in progress at "seen" (late), and among those that began
        -- after it (fresh). "+ 0": for min(id) by itself the planner walks the primary key from the first event ever; so it reads (xid, id),
        -- and of it only the window.
        SELECT t.target,
               (SELECT min(e.id + 0) FROM rowhook.event AS e
                 WHERE e.xid >= pg_snapshot_xmax(_cursor.seen) AND e.xid < pg_snapshot_xmax(t.target)
                   AND pg_visible_in_snapshot(e.xid, t.target)),
               (SELECT min(e.id) FROM pg_snapshot_xip(_cursor.seen) AS x (xid)
                 CROSS JOIN LATERAL (SELECT e.id FROM rowhook.event AS e
                                      WHERE e.xid = x.xid AND pg_visible_in_snapshot(e.xid, t.target)
                                      ORDER BY e.id LIMIT 1) AS e)
          INTO _cursor.target, _cursor.fresh_from, _late_from
          FROM (SELECT pg_current_snapshot() AS target) AS t;
        _cursor.position := least(_cursor.fresh_from, _late_from) - 1;
        IF _cursor.position IS NULL THEN
            RETURN;
        END IF;
        _cursor.fresh_from := coalesce(_cursor.fresh_from, 9223372036854775807);
    END IF;
    _late_by := clock_timestamp() + interval '4 s';
    -- One chunk of the window in id order: its deliveries, those that fit leased at once, and the cursor's move. Late transactions are
    -- read one by one through (xid, id), fresh ones along the primary key from the first of them on: neither reads what lies between.
    RETURN QUERY
    WITH late AS (
        SELECT e.* FROM pg_snapshot_xip(_cursor.seen) AS x (xid)
         CROSS JOIN LATERAL (SELECT e.* FROM rowhook.event AS e
                              WHERE e.xid = x.xid AND e.id > _cursor.position AND pg_visible_in_snapshot(e.xid, _cursor.target)
                              ORDER BY e.id LIMIT look.chunk) AS e
    ), fresh AS (
        SELECT e.* FROM rowhook.event AS e
         WHERE e.id > greatest(_cursor.position, _cursor.fresh_from - 1)
           AND e.xid >= pg_snapshot_xmax(_cursor.seen) AND e.xid < pg_snapshot_xmax(_cursor.target)
           AND pg_visible_in_snapshot(e.xid, _cursor.target)
         ORDER BY e.id LIMIT look.chunk
    ), sized AS (
        SELECT w.*, coalesce(CASE WHEN pg_column_compression(w.data) IS NULL THEN pg_column_size(w.data) ELSE octet_length(w.data::text) END, 0)
               + coalesce(CASE WHEN pg_column_compression(w.previous) IS NULL THEN pg_column_size(w.previous) ELSE octet_length(w.previous::text) END, 0) AS size
          FROM (SELECT * FROM late UNION ALL SELECT * FROM fresh) AS w ORDER BY w.id LIMIT look.chunk
    ), chunk AS MATERIALIZED (
        -- Its end is where it is large enough, one event at the least: what is left waits for the next look, since what is parked for
        -- want of bytes would be read, and unpacked, a second time.
        SELECT s.*
          FROM (SELECT s.*, sum(s.size) OVER in_turn - s.size AS before, lead(s.id) OVER in_turn AS next_id
                  FROM sized AS s WINDOW in_turn AS (ORDER BY s.id)) AS s
         WHERE s.before < greatest(look.most_size, 1)
    ), candidate AS MATERIALIZED (
        SELECT t.type, k.pattern COLLATE "C" AS pattern  -- compared as bytes: a language's order costs ten times as much
          FROM (SELECT DISTINCT c.type FROM chunk AS c WHERE c.op <> 'probe') AS t CROSS JOIN LATERAL rowhook.pattern_candidates(t.type) AS k (pattern)
    ), subscribed AS MATERIALIZED (
        SELECT unnest(p.events) COLLATE "C" AS pattern, p.id AS endpoint_id, p.tenant, p.ordered,
               p.state = 'active' AND p.circuit = 'closed' AS active,
               -- What has a rate is parked: only claim knows when its next request is due.
               CASE WHEN p.rate IS NULL THEN coalesce(b.room, p.max_in_flight * 2, look.endpoint_room) ELSE 0 END AS room,
               p.filter IS NOT NULL AS filtered, nullif(p.shape, 'standard') AS shape
          FROM rowhook.endpoint AS p
          LEFT JOIN unnest(look.endpoints, look.rooms) AS b (endpoint_id, room) ON b.endpoint_id = p.id
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
               CASE WHEN clock_timestamp() < _late_by THEN rowhook.filter_document(c.type, c.data, c.previous, c.context)
                    ELSE to_jsonb(rowhook.filters_take_too_long(look.chunk = 1)) END AS document
          FROM chunk AS c
         WHERE (c.endpoint_id IS NULL OR c.table_name IS NOT NULL)
           AND EXISTS (SELECT FROM wanted AS w WHERE w.filtered AND w.type = c.type AND w.addressee IS NOT DISTINCT FROM c.endpoint_id
                          AND (w.tenant IS NULL OR w.tenant = c.tenant))
    ), filtered AS MATERIALIZED (
        SELECT a.id, w.endpoint_id,
               CASE WHEN clock_timestamp() < _late_by THEN rowhook.filter_verdict(p.filter, a.document)
                    ELSE rowhook.filters_take_too_long(look.chunk = 1) END AS verdict
          FROM asked AS a
          JOIN wanted AS w ON w.filtered AND w.type = a.type AND w.addressee IS NOT DISTINCT FROM a.endpoint_id
                          AND (w.tenant IS NULL OR w.tenant = a.tenant)
          JOIN rowhook.endpoint AS p ON p.id = w.endpoint_id
    ), pair AS (
        -- A filter that fails ends that one delivery. Of an ordered endpoint what has a key is parked: only claim looks whether those
        -- before it have ended.
        SELECT c.id, c.slot, w.endpoint_id, CASE WHEN w.ordered THEN coalesce(coalesce(c.table_name, '') || ':' || c.row_key, '#' || c.id) END AS order_key,
               w.active AS claimable,
               w.active AND c.before < look.room_for_size AND NOT (w.ordered AND c.row_key IS NOT NULL) AS active, w.room, w.shape, nullif(f.verdict, 'matched') AS fault,
               row_number() OVER (PARTITION BY w.endpoint_id ORDER BY c.id) AS nth
          FROM chunk AS c JOIN wanted AS w ON w.type = c.type AND w.addressee IS NOT DISTINCT FROM c.endpoint_id
          LEFT JOIN filtered AS f ON f.id = c.id AND f.endpoint_id = w.endpoint_id
         WHERE (w.tenant IS NULL OR w.tenant = c.tenant) AND (NOT w.filtered OR f.verdict NOT IN ('not matched', 'unknown') OR c.endpoint_id IS NOT NULL AND c.table_name IS NULL)
    ), placed AS (
        SELECT p.*, p.active AND p.nth <= p.room AND p.fault IS NULL
                    AND sum((p.active AND p.nth <= p.room)::int) OVER (ORDER BY p.id, p.endpoint_id) <= look.capacity AS leased
          FROM pair AS p
    ), made AS (
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, state, instance_id, attempts, leased_at, due_at, ended_at, shape)
        SELECT p.id, p.slot, p.endpoint_id, p.order_key,
               CASE WHEN p.leased THEN 'leased' WHEN p.fault IS NULL THEN 'pending' ELSE 'dead' END,
               CASE WHEN p.leased THEN look.instance END,
               (p.leased OR p.fault IS NOT NULL)::int,
               CASE WHEN p.leased THEN clock_timestamp() END,
               CASE WHEN NOT p.leased AND p.fault IS NULL THEN clock_timestamp() END,
               CASE WHEN p.fault IS NOT NULL THEN clock_timestamp() END,
               CASE WHEN p.leased OR p.fault IS NOT NULL THEN p.shape END
          FROM placed AS p ORDER BY p.id, p.endpoint_id
        ON CONFLICT DO NOTHING
        RETURNING id, event_id, endpoint_id, created_at, state, shape
    ), failed AS (
        -- The filters of these failed: an attempt that never became a request says why.
        INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, error_class, error)
        SELECT m.id, m.endpoint_id, 1, look.instance, clock_timestamp(), 'internal', 'the endpoint''s filter ' || p.fault
          FROM made AS m JOIN placed AS p ON p.id = m.event_id AND p.endpoint_id = m.endpoint_id WHERE m.state = 'dead'
    ), read AS (
        SELECT count(*) AS events, max(c.id) AS last_id, coalesce(sum(c.size), 0)::bigint AS size,
               count(*) < look.chunk AND (max(c.next_id) > max(c.id)) IS NOT TRUE AS is_whole
          FROM chunk AS c
    ), moved AS (
        -- Within the window, or past it.
        UPDATE rowhook.cursor AS c
           SET seen = CASE WHEN r.is_whole THEN _cursor.target ELSE _cursor.seen END,
               target = CASE WHEN NOT r.is_whole THEN _cursor.target END,
               position = CASE WHEN NOT r.is_whole THEN r.last_id END,
               fresh_from = CASE WHEN NOT r.is_whole THEN _cursor.fresh_from END,
               highest_id = greatest(_cursor.highest_id, r.last_id), moved_at = clock_timestamp()
          FROM read AS r
    ), parked AS (
        SELECT (SELECT count(*) FROM made AS m WHERE m.state = 'pending') AS parked,
               (SELECT coalesce(array_agg(DISTINCT p.endpoint_id), '{}') FROM placed AS p WHERE p.claimable AND NOT p.leased) AS parked_for
    )
    -- What it came to is the last row, and not repeated in each: that cost a fiftieth of all that a delivery does.
    (SELECT NULL::text, NULL::bigint, NULL::boolean, NULL::bigint, NULL::bigint[], NULL::bigint,
            m.id, m.created_at, m.endpoint_id, m.revision, 1, 0, 0, NULL::text, m.shape, NULL::text, m.event_id, e.slot,
            -- What the body could not say (infinity, BC) makes that body fail, and not the reading of all others.
            CASE WHEN e.occurred_at BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN e.occurred_at END,
            e.type, e.tenant, e.table_name, e.row_key, e.moved, e.data, e.previous, e.context, e.truncated, e.looped
       FROM (SELECT m.id, m.created_at, m.endpoint_id, q.revision, m.shape, m.event_id,
                    row_number() OVER (PARTITION BY m.event_id ORDER BY m.endpoint_id) AS nth
               FROM made AS m JOIN rowhook.endpoint AS q ON q.id = m.endpoint_id
              WHERE m.state = 'leased') AS m
       LEFT JOIN chunk AS e ON e.id = m.event_id AND m.nth = 1
      ORDER BY m.event_id, m.endpoint_id)
    UNION ALL
    SELECT NULL, r.events, _is_old OR NOT r.is_whole, k.parked, k.parked_for, r.size,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
      FROM read AS r CROSS JOIN parked AS k;
END
$fn$;
COMMENT ON FUNCTION rowhook.look(bigint, bigint, boolean, integer, bigint, integer, bigint, integer, bigint[], integer[]) IS
    'Dispatch the next chunk of at most so many events and, but for the first, bytes: each delivery that was leased, and at last what it came to; or why it was no look (refusal)';

REVOKE EXECUTE ON FUNCTION rowhook.look(bigint, bigint, boolean, integer, bigint, integer, bigint, integer, bigint[], integer[]) FROM PUBLIC;
SELECT rowhook.grant_to_roles();
