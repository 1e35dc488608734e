-- name: server
-- What this server is.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
       pg_is_in_recovery() AS standby, current_database() AS database, current_user AS role,
       current_setting('max_prepared_transactions')::int AS max_prepared, pg_notification_queue_usage() AS queue_usage

-- name: backend
-- Behind a transaction pooler, this may be another with each statement.
SELECT pg_backend_pid() AS pid

-- name: armed
-- Whether writers ring now.
SELECT coalesce(pg_sequence_last_value('rowhook.doorbell'), 0) > extract(epoch FROM clock_timestamp()) * 1000 AS armed

-- name: give_role_back
SELECT pg_advisory_unlock(%(key)s)

-- name: log
-- The ids of events are those of commit order per row only when no session takes several ahead; and which cluster the cursor knows.
SELECT q.seqcache AS cache, c.system_identifier <> s.system_identifier AS renumbered
  FROM pg_sequence AS q, rowhook.cursor AS c, pg_control_system() AS s
 WHERE q.seqrelid = pg_get_serial_sequence('rowhook.event', 'id')::regclass

-- name: capture_owner
-- Who asks must be one that captures.
SELECT rowhook.capture_owner() AS wanted

-- name: relay_lacks
-- What the relay's own role may not do.
SELECT array_remove(ARRAY[
           CASE WHEN NOT has_schema_privilege(%(role)s, 'rowhook', 'USAGE') THEN 'USAGE on schema rowhook' END,
           CASE WHEN NOT has_sequence_privilege(%(role)s, 'rowhook.doorbell', 'UPDATE') THEN 'UPDATE on rowhook.doorbell' END,
           CASE WHEN NOT has_any_column_privilege(%(role)s, 'rowhook.probe', 'UPDATE') THEN 'UPDATE on rowhook.probe' END]
       || ARRAY(SELECT CASE WHEN NOT has_table_privilege(%(role)s, w.name, w.verb) THEN format('%%s on %%s', w.verb, w.name) END
                  FROM (VALUES ('rowhook.event', 'SELECT'), ('rowhook.event', 'INSERT'), ('rowhook.endpoint', 'SELECT'), ('rowhook.endpoint', 'UPDATE'),
                               ('rowhook.secret', 'SELECT'), ('rowhook.delivery', 'SELECT'), ('rowhook.delivery', 'INSERT'),
                               ('rowhook.delivery', 'UPDATE'), ('rowhook.attempt', 'INSERT'), ('rowhook.attempt', 'UPDATE'),
                               ('rowhook.instance', 'INSERT'), ('rowhook.instance', 'UPDATE'), ('rowhook.instance', 'DELETE'),
                               ('rowhook.cursor', 'UPDATE'), ('rowhook.delivery', 'DELETE'), ('rowhook.attempt', 'DELETE'),
                               ('rowhook.event_0', 'TRUNCATE'), ('rowhook.ring', 'UPDATE')) AS w (name, verb)), NULL) AS lacks

-- name: captures
-- Each capture, its triggers as they should be and as they are, why it is row by row, and what its options ask for and the table no
-- longer has.
SELECT coalesce(rowhook.table_label(c.table_name), array_to_string(c.labels[cardinality(c.labels):], '')) AS "table", c.name,
       c.table_name::oid AS oid, rowhook.table_label(c.table_name) IS NULL AS table_gone, c.paused, c.on_error,
       ARRAY(SELECT w FROM unnest(rowhook.trigger_names(c)) AS w
              WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.table_name AND quote_ident(t.tgname) = w)) AS missing,
       ARRAY(SELECT quote_ident(t.tgname) FROM pg_trigger AS t
              WHERE t.tgrelid = c.table_name AND quote_ident(t.tgname) = ANY (rowhook.trigger_names(c))
                AND (t.tgenabled = 'D' OR t.tgenabled <> 'A' AND rowhook.subscribed(c.table_name))) AS disabled,
       CASE c.mode WHEN 'row' THEN rowhook.row_reasons(c.table_name, c.key) END AS row_reasons,
       CASE WHEN c.events <> '{}' THEN rowhook.table_label(rowhook.captured_above(c.table_name)) END AS within,
       rowhook.heirs(c.table_name, c.name) AS heirs,
       CASE WHEN rowhook.table_label(c.table_name) IS NULL THEN '{}' ELSE rowhook.set_aside(rowhook.followed(c)) END AS set_aside,
       CASE WHEN rowhook.table_label(c.table_name) IS NOT NULL THEN rowhook.predicate_problem(c) END AS unfit,
       (SELECT count(*) FROM rowhook.capture_failure AS f
         WHERE f.table_name = ANY (c.labels) AND f.name = c.name AND f.occurred_at > clock_timestamp() - interval '7 days') AS failures,
       (SELECT f.message FROM rowhook.capture_failure AS f WHERE f.table_name = ANY (c.labels) AND f.name = c.name ORDER BY f.id DESC LIMIT 1) AS last_failure
  FROM rowhook.capture AS c ORDER BY 1, c.name

-- name: outdated
-- Captures that rowhook.capture() would make otherwise today: a column or a trigger of the user's own came, the table was renamed.
SELECT rowhook.table_label(c.table_name) AS "table", c.name, c.mode, p.mode AS mode_now
  FROM rowhook.capture AS c CROSS JOIN LATERAL rowhook.capture_plan(c.table_name, name => c.name) AS p
 WHERE rowhook.table_label(c.table_name) = ANY (%(tables)s) AND (p.fingerprint <> c.fingerprint OR rowhook.is_behind(c)) ORDER BY 1, 2

-- name: rules
-- Rules, and why they can't be evaluated today.
SELECT r.type, rowhook.table_label(r.table_name) AS "table", coalesce(rowhook.rule_problem(r), r.set_aside || ' (no longer; rowhook run or rowhook capture restores it)') AS problem
  FROM rowhook.rule AS r WHERE rowhook.table_label(r.table_name) = ANY (%(tables)s) ORDER BY 2, r.id

-- name: writers
-- Transactions that hold events back: they have written some and not ended.
SELECT 'session' AS kind, l.pid::text AS id, a.usename::text AS who, a.application_name AS application, a.state,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age
  FROM (SELECT DISTINCT l.pid FROM pg_locks AS l
         WHERE l.locktype = 'relation' AND l.relation = 'rowhook.event'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
           AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())) AS l
  JOIN pg_stat_activity AS a ON a.pid = l.pid
UNION ALL
SELECT 'prepared', x.gid, x.owner::text, '', 'prepared', extract(epoch FROM clock_timestamp() - x.prepared)::float8
  FROM pg_prepared_xacts AS x
 WHERE x.database = current_database()
   AND EXISTS (SELECT FROM pg_locks AS l JOIN pg_locks AS t ON t.virtualtransaction = l.virtualtransaction
                WHERE l.locktype = 'relation' AND l.relation = 'rowhook.event'::regclass AND l.mode = 'RowExclusiveLock' AND l.pid IS NULL
                  AND t.locktype = 'transactionid' AND t.transactionid = x.transaction AND t.pid IS NULL)
ORDER BY age DESC NULLS LAST LIMIT 5

-- name: xmin_holders
-- What keeps vacuum from cleaning: the oldest snapshot, prepared transaction and replication slot.
SELECT * FROM (
    (SELECT 'session' AS kind, a.pid::text AS id, a.usename::text AS who, a.application_name AS application,
            extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age, age(coalesce(a.backend_xmin, a.backend_xid))::bigint AS xids
       FROM pg_stat_activity AS a
      WHERE coalesce(a.backend_xmin, a.backend_xid) IS NOT NULL AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
        AND a.datname = current_database()
      ORDER BY a.xact_start LIMIT 1)
    UNION ALL
    (SELECT 'prepared', x.gid, x.owner::text, '', extract(epoch FROM clock_timestamp() - x.prepared)::float8, age(x.transaction)::bigint
       FROM pg_prepared_xacts AS x WHERE x.database = current_database() ORDER BY x.prepared LIMIT 1)
    UNION ALL
    (SELECT 'slot', s.slot_name::text, '', '', NULL, age(coalesce(s.xmin, s.catalog_xmin))::bigint
       FROM pg_replication_slots AS s WHERE s.xmin IS NOT NULL ORDER BY age(s.xmin) DESC LIMIT 1)) AS h
 ORDER BY h.age DESC NULLS LAST

-- name: relays
-- Those on record, whether they hold their lock, when they last gave a sign of life.
WITH held AS MATERIALIZED (
    SELECT (l.classid::bigint << 32) | l.objid::bigint AS id, l.pid
      FROM pg_locks AS l
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
       AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
)
SELECT i.id, i.name, i.state, i.missed_rings, EXISTS (SELECT FROM held AS h WHERE h.id = i.id) AS holds_lock,
       extract(epoch FROM clock_timestamp() - i.beat_at)::float8 AS silent,
       EXISTS (SELECT FROM held AS h JOIN pg_stat_activity AS a ON a.pid = h.pid
                WHERE h.id = %(role)s AND a.application_name = 'rowhook dispatch ' || lpad(to_hex(i.id), 16, '0')) AS dispatches
  FROM rowhook.instance AS i ORDER BY i.started_at

-- name: leases_of_dead
-- Deliveries that a relay holds which is not alive any more.
SELECT count(*) AS deliveries, extract(epoch FROM clock_timestamp() - min(d.leased_at))::float8 AS age
  FROM rowhook.delivery AS d
 WHERE d.state = 'leased' AND d.instance_id <> ALL (%(live)s)

-- name: lag
-- Events that are visible and not dispatched: after the cursor's snapshot, and not passed in the window that is open. Counted to a
-- limit. Behind a long snapshot list each late transaction is looked up by itself, as the dispatcher does.
WITH open AS (
    SELECT e.id, e.xid, e.occurred_at FROM rowhook.cursor AS c CROSS JOIN LATERAL (
           SELECT f.id, f.xid, f.occurred_at FROM rowhook.event AS f
            WHERE f.xid >= pg_snapshot_xmax(c.seen) AND f.op <> 'probe' LIMIT %(most)s) AS e
    UNION ALL
    SELECT e.id, e.xid, e.occurred_at FROM rowhook.cursor AS c CROSS JOIN pg_snapshot_xip(c.seen) AS x (xid) CROSS JOIN LATERAL (
           SELECT f.id, f.xid, f.occurred_at FROM rowhook.event AS f WHERE f.xid = x.xid AND f.op <> 'probe' LIMIT %(most)s) AS e
)
SELECT count(*) AS events, extract(epoch FROM clock_timestamp() - min(o.occurred_at))::float8 AS age
  FROM open AS o CROSS JOIN rowhook.cursor AS c
 WHERE NOT (c.target IS NOT NULL AND o.id <= c.position AND pg_visible_in_snapshot(o.xid, c.target))

-- name: waiting
-- What a relay would claim now: due, of endpoints that are active, whose circuit is closed and that have no rate; of ordered ones the first
-- of each key.
SELECT count(*) AS deliveries, extract(epoch FROM clock_timestamp() - min(n.due_at))::float8 AS age
  FROM rowhook.endpoint AS p
 CROSS JOIN LATERAL (SELECT d.due_at FROM rowhook.delivery AS d
                      WHERE d.endpoint_id = p.id AND d.state = 'pending' AND d.due_at < clock_timestamp()
                        AND (NOT p.ordered OR d.order_key IS NULL
                             OR NOT EXISTS (SELECT FROM rowhook.delivery AS b
                                             WHERE b.endpoint_id = d.endpoint_id AND b.order_key = d.order_key AND b.event_id < d.event_id
                                               AND b.order_key IS NOT NULL AND b.state IN ('pending', 'leased')))
                      ORDER BY d.due_at LIMIT %(most)s) AS n
 WHERE p.state = 'active' AND p.circuit = 'closed' AND p.rate IS NULL

-- name: endpoints
-- Those that are there, what waits for them (to a limit) and what died, in all and of late.
SELECT p.id, p.public_id, p.url, p.state, p.state_reason, p.circuit, extract(epoch FROM clock_timestamp() - p.failing_since)::float8 AS failing,
       (SELECT count(*) FROM (SELECT FROM rowhook.delivery AS d
                               WHERE d.endpoint_id = p.id AND d.state = 'pending' LIMIT %(most)s) AS l) AS pending,
       (SELECT count(*) FROM (SELECT FROM rowhook.delivery AS d
                               WHERE d.endpoint_id = p.id AND d.state = 'dead' LIMIT %(most)s) AS l) AS dead,
       (SELECT count(*) FROM (SELECT FROM rowhook.delivery AS d WHERE d.endpoint_id = p.id AND d.state = 'dead'
                                 AND d.ended_at > clock_timestamp() - interval '1 day' LIMIT %(most)s) AS l) AS dead_today
  FROM rowhook.endpoint AS p WHERE p.state <> 'removed' ORDER BY p.id

-- name: bloat
-- Tables of Rowhook's in which dead rows have gathered, and when autovacuum last came by.
SELECT s.relname AS "table", s.n_dead_tup AS dead, s.n_live_tup AS live, s.last_autovacuum, current_setting('autovacuum')::boolean AS autovacuum
  FROM pg_stat_user_tables AS s WHERE s.schemaname = 'rowhook' ORDER BY s.n_dead_tup DESC LIMIT 1

-- name: retention
-- Who keeps house and how far it is: the slot that should have gone, by the setting of the relay that ran last, and who holds it.
WITH late AS (
    SELECT r.slot, extract(epoch FROM clock_timestamp() - r.closed_at - t.keep)::float8 AS overdue
      FROM rowhook.ring AS r CROSS JOIN rowhook.retention AS t
     WHERE r.closed_at <= clock_timestamp() - t.keep ORDER BY r.closed_at LIMIT 1
)
SELECT t.keep, extract(epoch FROM clock_timestamp() - t.ran_at)::float8 AS idle, t.trouble, l.slot, l.overdue,
       (SELECT array_agg(DISTINCT k.pid) FROM pg_locks AS k
         WHERE k.relation = to_regclass('rowhook.event_' || l.slot) AND k.granted AND k.pid <> pg_backend_pid()) AS holders
  FROM rowhook.retention AS t LEFT JOIN late AS l ON true
