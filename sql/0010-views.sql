-- Views for people: what was sent to whom, when, and what did they say.
-- depends: 0009-emit

CREATE VIEW rowhook.delivery_history AS
SELECT rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS event_id,
       rowhook.public_id('dlv', d.created_at, d.id)          AS delivery_id,
       e.type                                                AS event_type,
       e.tenant,
       e.row_key,
       p.public_id                                           AS endpoint_id,
       p.url,
       a.number                                              AS attempt,
       a.started_at,
       round((extract(epoch FROM a.duration) * 1000)::numeric, 3) AS duration_ms,
       a.status_code,
       a.error_class,
       a.error,
       a.response_excerpt,
       d.state                                               AS delivery_status,
       d.due_at                                              AS next_attempt_at
  FROM rowhook.attempt AS a
  JOIN rowhook.delivery AS d ON d.id = a.delivery_id
  JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
  LEFT JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot;
COMMENT ON VIEW rowhook.delivery_history IS 'One row per attempt';

CREATE VIEW rowhook.event_trail AS
SELECT rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS event_id,
       e.type                                                AS event_type,
       e.occurred_at,
       e.table_name,
       e.row_key,
       e.tenant,
       p.public_id                                           AS endpoint_id,
       d.state                                               AS delivery_status,
       d.attempts,
       CASE WHEN d.state = 'delivered' THEN d.ended_at END   AS delivered_at
  FROM rowhook.event AS e
  LEFT JOIN rowhook.delivery AS d ON d.event_id = e.id AND d.event_slot = e.slot
  LEFT JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
 WHERE e.op <> 'probe';
COMMENT ON VIEW rowhook.event_trail IS 'One row per event and endpoint; endpoint_id is null where none wanted it';

CREATE VIEW rowhook.endpoint_health AS
SELECT p.public_id AS endpoint_id,
       p.url,
       p.tenant,
       p.state,
       p.state_reason,
       p.ordered,
       p.failing_since,
       p.circuit,
       p.opened_at,
       p.probe_at,
       p.ramp,
       coalesce(d.pending, 0)   AS pending,
       coalesce(d.leased, 0)    AS leased,
       coalesce(d.delivered, 0) AS delivered,
       coalesce(d.dead, 0)      AS dead,
       coalesce(d.cancelled, 0) AS cancelled,
       d.last_delivered_at,
       d.oldest_pending_at
  FROM rowhook.endpoint AS p
  LEFT JOIN (SELECT endpoint_id,
                    count(*) FILTER (WHERE state = 'pending')   AS pending,
                    count(*) FILTER (WHERE state = 'leased')    AS leased,
                    count(*) FILTER (WHERE state = 'delivered') AS delivered,
                    count(*) FILTER (WHERE state = 'dead')      AS dead,
                    count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
                    max(ended_at) FILTER (WHERE state = 'delivered')  AS last_delivered_at,
                    min(created_at) FILTER (WHERE state = 'pending')  AS oldest_pending_at
               FROM rowhook.delivery GROUP BY endpoint_id) AS d ON d.endpoint_id = p.id;
COMMENT ON VIEW rowhook.endpoint_health IS 'One row per endpoint: its state, and how many deliveries are in which state';

CREATE VIEW rowhook.dead_letters AS
SELECT rowhook.public_id('dlv', d.created_at, d.id)          AS delivery_id,
       rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS event_id,
       e.type                                                AS event_type,
       e.tenant,
       e.row_key,
       p.public_id                                           AS endpoint_id,
       p.url,
       d.attempts,
       d.ended_at                                            AS died_at,
       a.status_code,
       a.error_class,
       a.error
  FROM rowhook.delivery AS d
  JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
  LEFT JOIN rowhook.event AS e ON e.id = d.event_id AND e.slot = d.event_slot
  LEFT JOIN rowhook.attempt AS a ON a.delivery_id = d.id AND a.number = d.attempts
 WHERE d.state = 'dead';
COMMENT ON VIEW rowhook.dead_letters IS 'Deliveries that ended without success, with their last attempt; rowhook replay sends them again';

-- Columns of views mean the same wherever they have the same name.
DO $do$
DECLARE
    _comment record;
BEGIN
    FOR _comment IN
        SELECT c.oid::regclass AS view_name, a.attname AS col, m.says
          FROM pg_catalog.pg_class AS c
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
          JOIN (VALUES
            ('event_id', 'Public id of the event, evt_…; receivers see it as webhook-id'),
            ('delivery_id', 'Public id of the delivery, dlv_…'),
            ('endpoint_id', 'Public id of the endpoint, end_…'),
            ('event_type', 'Event type, e.g. expense.created'),
            ('occurred_at', 'When the change was made'),
            ('table_name', 'Captured table, with its schema unless that is public'),
            ('row_key', 'Primary key as text; a JSON array of texts for several columns'),
            ('tenant', 'Whose event or endpoint it is'),
            ('url', 'Where the endpoint takes its events'),
            ('attempt', 'Number of the attempt within the delivery'),
            ('attempts', 'Tries so far'),
            ('started_at', 'When the request was begun'),
            ('duration_ms', 'How long it took, in milliseconds'),
            ('status_code', 'HTTP status, where an answer came'),
            ('error_class', 'What kind of failure; null for success'),
            ('error', 'The failure in words'),
            ('response_excerpt', 'The first 4 kB of the answer''s body'),
            ('delivery_status', 'State of the delivery: pending, leased, delivered, dead or cancelled'),
            ('next_attempt_at', 'When it may be tried next, while it is pending'),
            ('delivered_at', 'When it was delivered'),
            ('died_at', 'When it became a dead letter'),
            ('state', 'State of the endpoint: active, paused, disabled or removed'),
            ('state_reason', 'Why it is not active'),
            ('ordered', 'Whether events of one row are sent one after the other'),
            ('failing_since', 'When the first request that failed since the last success was begun'),
            ('circuit', 'closed: sends freely; open: one probe at a time; ramping: more and more at once'),
            ('opened_at', 'When the circuit opened; null while it is closed'),
            ('probe_at', 'Circuit open: when the next probe may be sent'),
            ('ramp', 'Circuit ramping: how many deliveries may be out at once'),
            ('pending', 'Deliveries that wait'),
            ('leased', 'Deliveries that a relay holds'),
            ('delivered', 'Deliveries that succeeded'),
            ('dead', 'Dead letters'),
            ('cancelled', 'Deliveries that were cancelled'),
            ('last_delivered_at', 'The last success'),
            ('oldest_pending_at', 'When the oldest waiting delivery was dispatched')
          ) AS m (col, says) ON m.col = a.attname
         WHERE c.relnamespace = 'rowhook'::regnamespace AND c.relkind = 'v'
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', _comment.view_name, _comment.col, _comment.says);
    END LOOP;
END
$do$;
